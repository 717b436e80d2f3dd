"""Which model from the Hub should serve: the requested one, or of a namespace the best that can."""

import math
from typing import NamedTuple

from PIL import Image

from landmark_models import models
from landmark_models.classifier import LandmarkClassifier
from landmark_models.errors import LandmarkError, ModelError, UnavailableError

_MOST_REASONS = 3  # why a better model doesn't serve


class Choice(NamedTuple):
    """A loaded model, why it serves, and whether it is what was requested, fresh from the Hub."""

    loaded: models.LoadedModel
    why: str
    as_requested: bool


def choose_model(model: str) -> Choice:
    """A MODEL of the Hub, or its copy in the cache.

    Raises:
        ModelError: it can't be loaded.
    """
    loaded = models.load(model)
    return Choice(loaded, loaded.note, not loaded.note)


def choose_best(namespace: str, serving: str | None, has_served: bool) -> Choice:
    """The best model of a namespace that loads and answers a photo with finite scores.

    Args:
        namespace: a user or organisation on the Hub.
        serving: the commit that has answered already, so that it needn't be tried again.
        has_served: whether a model of this namespace can go on. Then the Hub's failure to send a better one doesn't
            make another one serve: it will send it soon.

    Raises:
        ModelError: there is none, or the Hub fails.
    """
    best = models.best(namespace)
    reasons: list[str] = []
    for place, candidate in enumerate(best.ranked):
        try:
            loaded = models.load(candidate.model)
            if candidate.commit != serving:
                tested(LandmarkClassifier(loaded, "cpu", "torch"))
        except UnavailableError as error:
            if has_served:
                raise
            reasons.append(str(error))
        except LandmarkError as error:
            reasons.append(str(error))
        except Exception as error:  # whatever a stranger's model raises as it computes
            reasons.append(cannot_serve(candidate.model, error))
        else:
            why = " ".join(filter(None, (best.why(place), *reasons[:_MOST_REASONS], loaded.note)))
            return Choice(loaded, why, not (reasons or loaded.note))
    raise ModelError(f"No model of {namespace} can serve. {' '.join(reasons[:_MOST_REASONS])}")


def tested(classifier: LandmarkClassifier) -> LandmarkClassifier:
    """The classifier, once it has answered a photo with finite scores."""
    scores = [candidate.score for candidate in classifier.predict(Image.radial_gradient("L").convert("RGB"))]
    if not all(map(math.isfinite, scores)):
        raise ModelError(f"{classifier.source} answers a photo with scores that are not finite numbers.")
    return classifier


def cannot_serve(model: str, error: Exception) -> str:
    """A sentence for whatever a model raises as it is moved to a device or computes."""
    return f"{model} can't serve: {str(error)[:300] or type(error).__name__}."

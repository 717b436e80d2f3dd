"""Which model answers: the one asked for, a namespace's best, the last good copy of either, or the embedded one."""

import json
import math
import threading
from pathlib import Path
from typing import NamedTuple

import torch
from huggingface_hub import cached_assets_path
from PIL import Image

from landmark_models import hub
from landmark_models.classifier import LandmarkClassifier
from landmark_models.errors import LandmarkError, ModelError

__all__ = ["Serving"]

PATIENCE = 10.0  # seconds that a start waits for the Hub
LOOK_AGAIN = 3 * 3600.0  # seconds between two looks at the Hub
LOOK_AGAIN_AFTER_FAILURE = 600.0


class _Now(NamedTuple):
    classifier: LandmarkClassifier
    why: str


class Serving:
    """A classifier that is always there, and a sentence on why it is this one.

    A model on the Hub is looked for in a thread of its own. Where that takes longer than `patience` or fails, the last
    copy that answered serves, else the embedded model. It is looked for again every few hours, and takes over once it
    has answered a photo.

    Args:
        model: a MODEL; without, the `namespace` decides.
        namespace: a user or organisation on the Hub whose best model serves; without, the embedded one does.
        device: where models compute.
        patience: seconds that the start waits for the Hub.
        look_again: whether later looks may change the model; where not, the one of the start stays.
    """

    def __init__(
        self,
        model: str | None = None,
        namespace: str | None = None,
        device: str | torch.device = "cpu",
        *,
        patience: float = PATIENCE,
        look_again: bool = True,
    ):
        self._model, self._namespace, self._device = model, namespace, device
        self._now: _Now | None = None
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._look_again = look_again
        if not self._on_hub:
            self._look()
        else:
            looked = threading.Event()
            threading.Thread(target=self._watch, args=[looked], name="model-watch", daemon=True).start()
            if not looked.wait(patience):
                self._stay(f"The Hub has not answered within {patience:.0f} s.")
        if not look_again:
            self._closed.set()

    @property
    def classifier(self) -> LandmarkClassifier:
        """The model that answers now."""
        assert self._now is not None, "a start always ends with a model"
        return self._now.classifier

    @property
    def why(self) -> str:
        """Why it is this one, in a sentence or two."""
        return self._now.why if self._now else ""

    def close(self) -> None:
        """Look no more."""
        self._closed.set()

    @property
    def _on_hub(self) -> bool:
        return self._model.startswith(hub.PREFIX) if self._model else bool(self._namespace)

    def _watch(self, looked: threading.Event) -> None:
        while True:
            found = self._look()
            looked.set()
            if self._closed.wait(LOOK_AGAIN if found else LOOK_AGAIN_AFTER_FAILURE):
                return

    def _look(self) -> bool:
        """Take the model that should serve; False where it can't, and what served goes on."""
        try:
            model, why = self._choose()
            loaded = hub.load(model)
            why = f"{why} {loaded.note}".strip()
            if self._now and loaded.revision and loaded.revision == self._now.classifier.revision:
                classifier = self._now.classifier
            else:
                classifier = _answering(LandmarkClassifier(loaded, self._device))
        except LandmarkError as error:
            self._stay(str(error))
            return False
        except Exception as error:  # whatever a strange model raises as it is moved to a device or computes
            self._stay(f"{self._model or self._namespace} can't serve: {str(error)[:300] or type(error).__name__}.")
            return False
        with self._lock:
            if self._closed.is_set() and self._now:
                return False
            self._now = _Now(classifier, why)
        if loaded.revision:
            _remember(self._model or f"best of {self._namespace}", f"{_name(model)}@{loaded.revision}")
        return not loaded.note

    def _choose(self) -> tuple[str, str]:
        """The MODEL that should serve, and why."""
        if self._model:
            return self._model, ""
        if not self._namespace:
            return "default", ""
        best = hub.best(self._namespace)
        if best.compared == 1:
            return best.model, f"It is the only model of {self._namespace} with test figures."
        return best.model, f"It is the best of {best.compared} models of {self._namespace} on the same test photos."

    def _stay(self, why: str) -> None:
        """Go on with what serves; at the start with the last copy that answered, else with the embedded model."""
        with self._lock:
            if self._now:
                self._now = self._now._replace(why=f"{why} So this one goes on serving.")
                return
            last = _last_good(self._model or f"best of {self._namespace}") if self._on_hub else None
            if last:
                try:
                    classifier = _answering(LandmarkClassifier(hub.load(last, cached_only=True), self._device))
                    self._now = _Now(classifier, f"{why} So the last copy that served does.")
                    return
                except Exception:  # the copy is gone or damaged; the embedded model is neither
                    pass
            self._now = _Now(LandmarkClassifier.load(device=self._device), f"{why} So the embedded model serves.")


def _answering(classifier: LandmarkClassifier) -> LandmarkClassifier:
    """The classifier, once it has answered a photo.

    Raises:
        ModelError: its scores are no numbers.
    """
    scores = [candidate.score for candidate in classifier.predict(Image.radial_gradient("L").convert("RGB"))]
    if not all(map(math.isfinite, scores)):
        raise ModelError(f"{classifier.source} answers a photo with scores that are no numbers.")
    return classifier


def _name(model: str) -> str:
    """A MODEL on the Hub without its revision."""
    return model.partition("@")[0]


def _record() -> Path:
    return Path(cached_assets_path("landmark_models", "serving")) / "last_good.json"


def _last_good(wanted: str) -> str | None:
    """The MODEL, with its commit, that last served where `wanted` was asked for."""
    try:
        model = json.loads(_record().read_text(encoding="utf-8")).get(wanted)
    except (OSError, ValueError, AttributeError):
        return None
    return model if isinstance(model, str) and model.startswith(hub.PREFIX) else None


def _remember(wanted: str, model: str) -> None:
    """Note what served for `wanted`; a cache that can't be written is no reason not to serve."""
    try:
        file = _record()
        known = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
        scratch = file.with_suffix(".part")
        scratch.write_text(json.dumps({**known, wanted: model}), encoding="utf-8")
        scratch.replace(file)
    except (OSError, ValueError, TypeError):
        return

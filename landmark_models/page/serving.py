"""Which model answers: the one asked for, a namespace's best, the last good copy of either, or the embedded one."""

import json
import math
import os
import threading
from concurrent.futures import Future
from pathlib import Path
from typing import Any, NamedTuple

import torch
from huggingface_hub import cached_assets_path
from PIL import Image

from landmark_models import models
from landmark_models.classifier import LandmarkClassifier, right_of_100
from landmark_models.errors import LandmarkError, ModelError
from landmark_models.models.failures import in_background
from landmark_models.text import for_markdown

__all__ = ["Now", "Serving"]

PATIENCE = 10.0  # seconds that a start waits for the Hub
LOOK_AGAIN = 3 * 3600.0  # seconds between two looks at the Hub
LOOK_AGAIN_AFTER_FAILURE = 600.0

_LIMITS = (
    "**Limits.** It knows these landmarks as its training photos show them; rare views, such as by night or from "
    "inside, may be missed, and a photo of something else may be taken for one of them. Don't use it where a wrong "
    "name could harm anyone."
)


class Now(NamedTuple):
    """What answers at a moment, and why it is this, in a sentence or two."""

    classifier: LandmarkClassifier
    why: str

    @property
    def facts(self) -> str:
        """Which model it is, why, and how accurate it was measured to be, as Markdown."""
        classifier = self.classifier
        name = f"Model **{for_markdown(classifier.source.removeprefix(models.PREFIX).partition('@')[0])}**"
        if classifier.source in models.EMBEDDED:
            name = "The embedded model" if classifier.source == "default" else f"The embedded model {classifier.source}"
        revision = f", revision `{classifier.revision[:12]}`," if classifier.revision else ""
        facts = [f"{name}{revision} knows {len(classifier.labels)} landmarks."]
        if test := classifier.landmark.get("test"):
            low, high = (100 * bound for bound in test["top1_ci95"])
            facts.append(
                f"Right first time on {100 * test['top1']:.1f} % of {test['n']} test photos "
                f"(95 % interval {low:.1f} to {high:.1f} %, {for_markdown(test['data'])})."
            )
        else:
            facts.append("It has no test figure.")
        if elsewhere := classifier.landmark.get("elsewhere"):
            facts += _elsewhere(elsewhere)
        if classifier.landmark.get("calibration"):
            facts.append("Of its answers with a score of 80 % to photos of these landmarks, about 80 in 100 are right.")
        else:
            facts.append("Its scores are not calibrated: they do not say how often it is right.")
        facts.append(for_markdown(self.why))
        return f"{' '.join(facts).strip()}\n\n{_LIMITS}"


def _elsewhere(figures: dict[str, Any]) -> list[str]:
    """What was measured on photos from elsewhere, in Markdown sentences; whatever a config lacks is left out."""
    low, high = (100 * bound for bound in figures["top1_ci95"])
    sentences = [
        f"On {figures['n']} photos from elsewhere ({for_markdown(figures['data'])}) it is right first time on "
        f"{100 * figures['top1']:.1f} % (95 % interval {low:.1f} to {high:.1f} %)."
    ]
    shares = []
    if (named := figures.get("named")) and named["photos"]:
        right = f" ({right_of_100(named)} of 100 such answers right)" if named["named"] else ""
        shares.append(f"{100 * named['named'] / named['photos']:.0f} % of them{right}")
    others = figures.get("others", {})
    for group, what in (("near", "other landmarks, streets and buildings"), ("far", "anything else")):
        if (part := others.get(group)) and part["n"]:
            shares.append(f"{100 * part['named'] / part['n']:.0f} % of {part['n']} photos of {what}")
    if shares:
        listed = shares[0] if len(shares) == 1 else f"{', '.join(shares[:-1])}, and {shares[-1]}"
        sentences.append(f"It names {listed}.")
    return sentences


class Serving:
    """A classifier that is always there, and why it is this one.

    A model on the Hub is looked for in the background. Where that takes longer than `patience` or fails, the last copy
    that answered serves, else the embedded model. It is looked for again every few hours, and takes over once it has
    answered a photo.

    Args:
        model: a MODEL; without, the `namespace` decides.
        namespace: a user or organisation on the Hub whose best model serves; without, the embedded one does.
        device: where models compute.
        patience: seconds that the start waits for the Hub.
        look_again: whether later looks may change the model. Where not, the one of the start stays, and is moved to the
            device by the thread that starts, as a Space with ZeroGPU needs it.
    """

    def __init__(
        self,
        model: str | None = None,
        namespace: str | None = None,
        device: str | torch.device = "cpu",
        *,
        patience: float | None = None,
        look_again: bool = True,
    ):
        self._model, self._namespace, self._device = model, namespace, device
        self._wanted = model or f"best of {namespace}"
        self._now: Now | None = None
        self._lock = threading.Lock()
        self._closed = threading.Event()
        patience = PATIENCE if patience is None else patience
        on_hub = model.startswith(models.PREFIX) if model else bool(namespace)
        found = in_background(self._find)
        late = False
        try:
            found.exception(patience if on_hub else None)
        except TimeoutError:
            late = True
            self._stay(f"The Hub has not answered within {patience:.0f} s.")
        went_well = not late and self._take(found)
        if on_hub and look_again:
            threading.Thread(
                target=self._watch, args=[found if late else None, went_well], name="model-watch", daemon=True
            ).start()

    @property
    def now(self) -> Now:
        """The model that answers, and why it is this one."""
        assert self._now is not None, "a start always ends with a model"
        return self._now

    def close(self) -> None:
        """Look no more."""
        self._closed.set()

    def _watch(self, late: "Future[tuple[models.LoadedModel, str]] | None", went_well: bool) -> None:
        """Take what the start did not wait for, then look again and again."""
        if late:
            went_well = self._take(late)
        while not self._closed.wait(LOOK_AGAIN if went_well else LOOK_AGAIN_AFTER_FAILURE):
            went_well = self._take(in_background(self._find))

    def _find(self) -> tuple[models.LoadedModel, str]:
        """The model that should serve, and why.

        Raises:
            ModelError: it can't be had.
        """
        if self._model or not self._namespace:
            loaded = models.load(self._model or "default")
            return loaded, loaded.note
        best = models.best(self._namespace)
        loaded = models.load(best.model)
        why = f"It is the only model of {self._namespace} with test figures."
        if best.compared > 1:
            why = f"It is the best of {best.compared} models of {self._namespace} on the same test photos."
        return loaded, f"{why} {loaded.note}".strip()

    def _take(self, found: "Future[tuple[models.LoadedModel, str]]") -> bool:
        """Let what was found serve, once it has answered a photo; False where what served goes on."""
        try:
            loaded, why = found.result()
            now = self._now
            if now and loaded.revision and loaded.revision == now.classifier.revision:
                classifier = now.classifier
            else:
                classifier = _answering(LandmarkClassifier(loaded, self._device))
        except LandmarkError as error:
            self._stay(str(error))
            return False
        except Exception as error:  # whatever a strange model raises as it is moved to a device or computes
            self._stay(f"{self._wanted} can't serve: {str(error)[:300] or type(error).__name__}.")
            return False
        with self._lock:
            self._now = Now(classifier, why)
        if loaded.revision:
            _remember(self._wanted, f"{loaded.source.partition('@')[0]}@{loaded.revision}")
        return not loaded.note

    def _stay(self, why: str) -> None:
        """Go on with what serves; at the start with the last copy that answered, else with the embedded model."""
        with self._lock:
            if self._now:
                self._now = self._now._replace(why=f"{why} So this one goes on serving.")
                return
            if last := _last_good(self._wanted):
                try:
                    classifier = _answering(LandmarkClassifier(models.load(last, cached_only=True), self._device))
                    self._now = Now(classifier, f"{why} So the last copy that served does.")
                    return
                except Exception:  # the copy is gone or damaged; the embedded model is neither
                    pass
            try:
                classifier = LandmarkClassifier.load(device=self._device)
            except Exception:  # the device fails, not the model
                classifier = LandmarkClassifier.load()
            self._now = Now(classifier, f"{why} So the embedded model serves.")


def _answering(classifier: LandmarkClassifier) -> LandmarkClassifier:
    """The classifier, once it has answered a photo.

    Raises:
        ModelError: its scores are no numbers.
    """
    scores = [candidate.score for candidate in classifier.predict(Image.radial_gradient("L").convert("RGB"))]
    if not all(map(math.isfinite, scores)):
        raise ModelError(f"{classifier.source} answers a photo with scores that are no numbers.")
    return classifier


def _record() -> Path:
    """The file in huggingface_hub's cache that says what served last, by what was asked for."""
    return Path(cached_assets_path("landmark_models", "serving")) / "last_good.json"


def _recorded() -> dict[str, str]:
    """What the record says; nothing where it can't be read."""
    try:
        record = json.loads(_record().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def _last_good(wanted: str) -> str | None:
    """The MODEL, with its commit, that last served where `wanted` was asked for."""
    model = _recorded().get(wanted)
    return model if isinstance(model, str) and model.startswith(models.PREFIX) else None


def _remember(wanted: str, model: str) -> None:
    """Note what served for `wanted`; a cache that can't be written is no reason not to serve."""
    try:
        file = _record()
        scratch = file.with_suffix(f".{os.getpid()}.part")
        scratch.write_text(json.dumps({**_recorded(), wanted: model}), encoding="utf-8")
        scratch.replace(file)
    except OSError:
        return

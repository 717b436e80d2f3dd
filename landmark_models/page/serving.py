"""Which model answers: the requested one, a namespace's best, the last good copy of either, or the embedded one."""

import json
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import torch
from huggingface_hub import cached_assets_path

from landmark_models import models
from landmark_models.classifier import LandmarkClassifier
from landmark_models.errors import LandmarkError, ModelError
from landmark_models.files import write_json
from landmark_models.models.failures import endpoint, in_background
from landmark_models.page.choice import Choice, cannot_serve, choose_best, choose_model, tested
from landmark_models.teaching import AddOn, AddOnError
from landmark_models.teaching.taught_file import Change, TaughtFile
from landmark_models.text import listed

HUB_TIMEOUT = 10.0  # seconds that a start waits for the Hub
CHECK_INTERVAL = 3 * 3600.0  # seconds between two checks for a newer model
RETRY_INTERVAL = 600.0  # seconds, after a check that failed


class Served(NamedTuple):
    """The model that answers at a moment, and the reason in a sentence or two."""

    classifier: LandmarkClassifier
    why: str


class Serving:
    """Always has a classifier, and says why it is this one.

    A model on the Hub is loaded in the background, one at a time; of a namespace, the best that loads and answers a
    photo. If that takes longer than `HUB_TIMEOUT` or fails, the last copy that answered serves, else the embedded
    model. The Hub is checked again every few hours; a new model takes over once it has answered a photo. A model on
    this machine is there or isn't, so nothing stands in for it.

    Args:
        model: a MODEL; without it, the `namespace` decides.
        namespace: a user or organisation on the Hub whose best model serves; without it, the embedded one does.
        device: the device to run models on.
        keep_checking: whether later checks may change the model. Otherwise the first one stays, and the starting thread
            itself moves it to the device, as a Space with ZeroGPU requires.
        addons: landmarks that whatever model serves knows, too, if they were taught to it.
        taught: the file that keeps what visitors teach, for everybody; without it, nothing is kept.

    Raises:
        ModelError: a model that isn't on the Hub can't be loaded, or doesn't answer.
        AddOnError: the file of what visitors teach can't be read or written, or a model on this machine can't use it.
    """

    def __init__(
        self,
        model: str | None = None,
        namespace: str | None = None,
        device: str | torch.device = "cpu",
        keep_checking: bool = True,
        addons: Sequence[AddOn] = (),
        taught: TaughtFile | None = None,
    ):
        self._model, self._namespace, self._device = model, namespace, device
        self._request = model or f"best of {namespace}"
        self._addons, self._taught = tuple(addons), taught
        self._addon: AddOn | None = None
        self._features: str | None = None  # the digest of those of the model that serves, if it can be taught
        self._seen: tuple[tuple[int, ...], ...] = ()  # the state of the file when it was read
        self._current: Served | None = None
        self._why = ""  # without sentences about what was taught
        self._lock = threading.RLock()
        self._closed = threading.Event()
        on_hub = models.on_hub(model) if model else bool(namespace)
        if taught:
            taught.check()
        if not on_hub:
            classifier = _local(model, device) if model else _embedded(device)
            if taught:
                _check_fits(taught, classifier)
            self._serve(classifier, "")
            return
        loading, late = in_background(self._load), False
        try:
            loading.exception(HUB_TIMEOUT)
        except TimeoutError:
            late = True
            self._fall_back(f"The Hub has not answered within {HUB_TIMEOUT:.0f} s at {endpoint()}.")
        succeeded = not late and self._adopt(loading)
        if keep_checking:
            arguments = [loading if late else None, succeeded]
            threading.Thread(target=self._watch, args=arguments, name="model-watch", daemon=True).start()

    @property
    def current(self) -> Served:
        """The model that answers now, and why it is this one. It knows what other programs have taught meanwhile."""
        assert self._current is not None, "a start always ends with a model"
        if self._outdated():
            with self._lock:
                if self._outdated():
                    self._serve(self._current.classifier, self._why)
        return self._current

    @property
    def keeps(self) -> bool:
        """Whether what visitors teach is kept here, for everybody."""
        return self._taught is not None

    @property
    def addon(self) -> AddOn | None:
        """What visitors have taught the model that answers, where it is kept here."""
        return self._addon if self.current else None

    def change_taught(self, change: Change) -> None:
        """Replace what visitors have taught by what `change` makes of it; answers use it at once.

        Raises:
            AddOnError: the file can't be read or written, or `change` raises it.
        """
        assert self._taught is not None, "only for pages that keep what is taught"
        with self._lock:
            classifier = self.current.classifier
            self._taught.change(change, classifier.features_digest)
            self._serve(classifier, self._why)

    def close(self) -> None:
        """Stop checking the Hub."""
        self._closed.set()

    def _outdated(self) -> bool:
        """Whether the file of what visitors teach has changed since it was read."""
        return self._taught is not None and self._taught.state(self._features) != self._seen

    def _serve(self, classifier: LandmarkClassifier, why: str) -> None:
        """Have a model answer, with what it was taught; the reason also says where that doesn't fit the model."""
        self._addon, misfits = self._kept_for(classifier)
        classifier = classifier.with_taught()
        for addon in (*self._addons, *([self._addon] if self._addon else [])):
            try:
                classifier = classifier.with_more(addon)
            except AddOnError:
                misfits.append(f"{_unknown(addon)}.")
        self._why = why
        self._current = Served(classifier, " ".join(filter(None, (why, *misfits))))

    def _kept_for(self, classifier: LandmarkClassifier) -> tuple[AddOn | None, list[str]]:
        """What visitors have taught a model, and sentences about what they have taught another one."""
        if not self._taught:
            return None, []
        self._features = classifier.features_digest if classifier.served.has_statistics else None
        self._seen = self._taught.state(self._features)  # first: what changes while it is read is read again
        try:
            own, others = self._taught.read_for(self._features) if self._features else (None, self._taught.read())
        except AddOnError:
            return None, ["What visitors have taught can't be read."]
        if not others:
            return own, []
        sentence = f"{_unknown(others)} and stays in {self._taught.file.name}"
        if self._features:
            sentence += f"; what is taught now is kept in {self._taught.beside(self._features).name}"
        return own, [f"{sentence}."]

    def _watch(self, late: Future[Choice] | None, succeeded: bool) -> None:
        """Adopt the model that the start did not wait for, then check the Hub again and again."""
        if late:
            succeeded = self._adopt(late)
        while not self._closed.wait(CHECK_INTERVAL if succeeded else RETRY_INTERVAL):
            succeeded = self._adopt(in_background(self._load))

    def _load(self) -> Choice:
        """Load the model that should serve."""
        if self._model:
            return choose_model(self._model)
        assert self._namespace, "what is on the Hub has a name there"
        current = self._current.classifier.revision if self._current else None
        has_served = current is not None or self._request in _record()
        return choose_best(self._namespace, current, has_served)

    def _adopt(self, loading: Future[Choice]) -> bool:
        """Let a loaded model serve once it has answered a photo; False where the current one stays."""
        try:
            loaded, why, as_requested = loading.result()
            current = self._current
            if current and loaded.revision and loaded.revision == current.classifier.revision:
                classifier = current.classifier
            else:
                classifier = tested(LandmarkClassifier(loaded, self._device))
        except LandmarkError as error:
            self._fall_back(str(error))
            return False
        except Exception as error:  # whatever a stranger's model raises as it is moved to a device or computes
            self._fall_back(cannot_serve(self._request, error))
            return False
        with self._lock:
            self._serve(classifier, why)
        if loaded.revision:
            _remember(self._request, f"{loaded.source.partition('@')[0]}@{loaded.revision}")
        return as_requested

    def _fall_back(self, why: str) -> None:
        """Keep the current model; at the start take the last copy that answered, else the embedded model."""
        with self._lock:
            if self._current:
                self._serve(self._current.classifier, f"{why} So this one continues to serve.")
            elif last := self._last_good_copy():
                self._serve(last, f"{why} So the last copy that worked serves.")
            else:
                self._serve(_embedded(self._device), f"{why} So the embedded model serves.")

    def _last_good_copy(self) -> LandmarkClassifier | None:
        """The copy in the cache of the model that last served this request, if it still answers."""
        model = _record().get(self._request)
        if not isinstance(model, str) or not models.on_hub(model):
            return None
        try:
            return tested(LandmarkClassifier(models.load(model, cached_only=True), self._device))
        except Exception:  # the copy is gone or damaged; the embedded model is neither
            return None


def _local(model: str, device: str | torch.device) -> LandmarkClassifier:
    loaded = models.load(model)
    try:
        return tested(LandmarkClassifier(loaded, device))
    except LandmarkError:
        raise
    except Exception as error:  # whatever a model raises as it is moved to a device or computes
        raise ModelError(cannot_serve(model, error)) from None


def _check_fits(taught: TaughtFile, classifier: LandmarkClassifier) -> None:
    """See that a model that stays can use a file.

    Raises:
        AddOnError: the model can't be taught, or the file was taught to another one.
    """
    own, others = taught.read_for(classifier.features_digest)
    if others and not own:
        raise AddOnError(
            f"{taught.file} holds {listed(others.labels, 3)}, taught to {others.model or 'another model'}, whose "
            f"features aren't those of {classifier.source}. Serve the model that was taught, or choose another file."
        )


def _unknown(addon: AddOn) -> str:
    return f"It doesn't know {listed(addon.labels, 3)}, which was taught to {addon.model or 'another model'}"


def _embedded(device: str | torch.device) -> LandmarkClassifier:
    try:
        return LandmarkClassifier.load(device=device)
    except Exception:  # the device fails, not the model
        return LandmarkClassifier.load()


def _record_file() -> Path:
    """The file in huggingface_hub's cache that holds the model that last served, by request."""
    return Path(cached_assets_path("landmark_models", "serving")) / "last_good.json"


def _record() -> dict[str, str]:
    try:
        record = json.loads(_record_file().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        record = None
    return record if isinstance(record, dict) else {}


def _remember(request: str, model: str) -> None:
    """Record what served a request; a cache that can't be written must not stop the page."""
    with suppress(OSError):
        write_json(_record_file(), {**_record(), request: model})

"""Logits, scores and features of many photos, from a model as it is served, in one view of each photo or more."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2
from tqdm.auto import tqdm

from landmark_models.classifier import LandmarkClassifier
from landmark_models.devices import available_cores, best_device, fast_precision
from landmark_models.errors import PhotoError
from landmark_models.photo import open_photo
from landmark_models.preprocess import required_side, serving_transform
from landmark_models.rejection import KnownRule
from landmark_models.teaching import AddOn
from train.measure import TTA

Change = Callable[[Image.Image], Image.Image]
_SPEED_BATCH = 32  # photos at a time when the speed is measured
_VIEWS: dict[TTA | None, int] = {None: 1, TTA.flip: 2, TTA.crops: 10}


class _Views(Dataset[Tensor | str]):
    """Photos as `(views, 3, H, W)`, or the reason why one can't be read; decoded in worker processes.

    A single view is what the classifier is served. Ten crops (Krizhevsky et al. 2012) are taken from the photo resized
    to a seventh more than that.
    """

    def __init__(
        self,
        classifier: LandmarkClassifier,
        files: Sequence[Path],
        tta: TTA | None = None,
        change: Change | None = None,
    ):
        self.files, self.tta, self.change = files, tta, change
        cfg = dict(classifier.pretrained_cfg)
        if tta is TTA.crops:
            self.crop = v2.TenCrop(cfg["input_size"][1:])
            height, width = (math.ceil(8 / 7 * side) for side in cfg["input_size"][1:])
            cfg.update(input_size=(3, height, width), crop_mode="center")
        self.transform, self.min_side = serving_transform(cfg), required_side(cfg)

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Tensor | str:
        try:
            photo = open_photo(self.files[index], self.min_side)
            image = self.transform(self.change(photo) if self.change else photo)
        except PhotoError as error:
            return str(error)
        if self.tta is TTA.crops:
            return torch.stack(self.crop(image))
        return torch.stack([image, image.flip(-1)]) if self.tta else image.unsqueeze(0)


def _collate(items: list[Tensor | str]) -> tuple[Tensor, list[str | None]]:
    """The photos that could be read, `(n, views, 3, H, W)`, and for each item None or the reason why it couldn't."""
    images = [item for item in items if isinstance(item, Tensor)]
    return torch.stack(images) if images else torch.empty(0), [None if isinstance(i, Tensor) else i for i in items]


class Logits(NamedTuple):
    """What a model makes of photos, of which `n` can be read.

    `plain` are the network's own logits for the (first) view, as timm gives them; None if they differ from `logits`
    only by the temperature, or if the model was taught landmarks that the network doesn't have.
    """

    logits: Tensor  # (n, classes), temperature applied; of several views the logarithms of their mean probabilities
    scores: Tensor  # (n,), of the model's rejection rule, for the (first) view
    plain: Tensor | None  # (n, classes)
    readable: list[int]  # the positions of the n photos
    failures: dict[int, str]  # why the others can't be read, by position


@torch.inference_mode()
def predict_logits(
    classifier: LandmarkClassifier,
    files: Sequence[Path],
    batch_size: int = 64,
    tta: TTA | None = None,
    change: Change | None = None,
    title: str = "predicting",
) -> Logits:
    """Logits of photos as they are served, after `change`, averaged over the views of `tta`."""
    none, own = torch.empty(0), len(classifier.own_labels)
    rows = [(none.view(0, len(classifier.labels)), none, none.view(0, own))]
    failures: dict[int, str] = {}
    for images, count in _batches(_Views(classifier, files, tta, change), title, failures, batch_size):
        body = classifier.body(images)
        outputs = (*classifier.head(body), classifier.served.plain_logits(body).cpu())
        logits, scores, plain = (output.unflatten(0, (count, -1)) for output in outputs)
        rows.append((logits.log_softmax(2).logsumexp(1) if tta else logits[:, 0], scores[:, 0], plain[:, 0]))
    logits, scores, plain = (torch.cat(parts) for parts in zip(*rows, strict=True))
    differ = classifier.served.has_statistics and classifier.taught is None
    return Logits(logits, scores, plain if differ else None, _readable(len(files), failures), failures)


def predict_features(
    classifier: LandmarkClassifier, files: Sequence[Path], title: str, tta: TTA | None = None
) -> tuple[Tensor, list[int]]:
    """Features `(n, D)`, the input of the network's classifier, of photos as they are served; and their positions.

    With `tta`, they are those of each view, `(n, views, D)`.
    """
    failures: dict[int, str] = {}
    parts = []
    for images, count in _batches(_Views(classifier, files, tta), title, failures):
        features = classifier.features(images)
        parts.append(features.unflatten(0, (count, -1)) if tta else features)
    return torch.cat(parts or [torch.empty(0)]), _readable(len(files), failures)


@torch.inference_mode()
def whitened_batches(
    classifier: LandmarkClassifier, files: Sequence[Path], batch_size: int, title: str, failures: dict[int, str]
) -> Iterator[tuple[Tensor, list[int]]]:
    """Whitened features of photos, a batch at a time: float32 `(n, D)` on the CPU, and the positions of the n photos.

    They are computed in the device's fastest type. Why the others can't be read is put into `failures`, by position.
    """
    position = 0
    for images, count in _batches(_Views(classifier, files), title, failures, batch_size):
        features = classifier.body(images, fast_precision(classifier.device))
        readable: list[int] = []
        while len(readable) < count:
            if position not in failures:
                readable.append(position)
            position += 1
        yield classifier.served.whitened(features).cpu(), readable


@torch.inference_mode()
def predict_scores(
    classifier: LandmarkClassifier, files: Sequence[Path], title: str
) -> tuple[dict[str, Tensor], list[int], Tensor]:
    """Every score that a rejection rule could use, by name, `(n,)` each.

    Also the positions of the photos that could be read, and the index of each one's most likely label, `(n,)`.
    """
    served = classifier.served
    failures: dict[int, str] = {}
    parts: list[dict[str, Tensor]] = []
    for images, _ in _batches(_Views(classifier, files), title, failures):
        body = classifier.body(images)
        logits = served.logits(body)
        scores = {name: served.score(name, body, logits).cpu() for name in served.available_scores}
        parts.append(scores | {"": logits.argmax(1).cpu()})
    joined = {name: torch.cat([part[name] for part in parts]) for name in parts[0]} if parts else {}
    labels = joined.pop("", torch.empty(0))
    return joined, _readable(len(files), failures), labels


@dataclass(frozen=True)
class Subject:
    """What is evaluated: anything that has labels and turns photos into logits."""

    labels: Sequence[str]
    own: int  # how many of them, the first ones, weren't taught
    temperature: float  # what the network's logits are divided by
    rule: KnownRule  # its threshold applies to the scores of `predict`
    device: torch.device
    predict: Callable[..., Logits]  # takes files and the options of `predict_logits`
    photos_per_second: Callable[[], float]  # its speed, once it has predicted something
    speed_of: str = f"the network alone, in float32 and batches of {_SPEED_BATCH}"
    has_options: bool = True  # whether it takes several views of a photo, photos of other things, and corrupted photos


def served_model(model: str | Path, addons: Sequence[AddOn] = ()) -> Subject:
    """A MODEL as it is served, with what it was taught, but computed by PyTorch on the best device."""
    classifier = LandmarkClassifier.load(model, best_device(), "torch").with_taught(*addons)
    return Subject(
        classifier.labels,
        len(classifier.own_labels),
        classifier.temperature,
        classifier.known_rule,
        classifier.device,
        partial(predict_logits, classifier),
        partial(inference_speed, classifier),
    )


def inference_speed(classifier: LandmarkClassifier, batch_size: int = _SPEED_BATCH, seconds: float = 1.0) -> float:
    """Photos per second of the network alone, on batches in memory."""
    images = torch.rand(batch_size, *classifier.pretrained_cfg["input_size"])
    classifier.logits(images)
    started, count = time.perf_counter(), 0
    while (elapsed := time.perf_counter() - started) < seconds:
        classifier.logits(images)  # its result is on the CPU, so no device is still busy
        count += batch_size
    return count / elapsed


def _batches(views: _Views, title: str, failures: dict[int, str], batch_size: int = 64) -> Iterator[tuple[Tensor, int]]:
    """Batches `(photos * views, 3, H, W)` of about `batch_size` images, with the number of photos in each.

    Why the others can't be read is put into `failures`, by position.
    """
    photos = max(batch_size // _VIEWS[views.tta], 1)
    workers = min(available_cores(), 8) if len(views) > photos else 0  # starting them takes longer than one batch
    loader = DataLoader(views, photos, num_workers=workers, collate_fn=_collate)
    with tqdm(total=len(views), desc=title, unit="photo", leave=False) as bar:
        for images, reasons in loader:
            failures |= {index: reason for index, reason in enumerate(reasons, start=bar.n) if reason is not None}
            if len(images):
                yield images.flatten(0, 1), len(images)
            bar.update(len(reasons))


def _readable(count: int, failures: dict[int, str]) -> list[int]:
    return [index for index in range(count) if index not in failures]

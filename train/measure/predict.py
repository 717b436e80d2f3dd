"""Photos as a classifier sees them, in one view or more, and what it makes of each."""

import math
from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2
from tqdm.auto import tqdm

from landmark_models.classifier import LandmarkClassifier
from landmark_models.devices import available_cores
from landmark_models.errors import PhotoError
from landmark_models.photo import open_photo
from landmark_models.preprocess import required_side, serving_transform

__all__ = ["TTA", "Logits", "predict_features", "predict_logits", "predict_scores"]

Change = Callable[[Image.Image], Image.Image]


class TTA(StrEnum):
    """Test-time augmentation: views whose scores are averaged, a photo and its mirror image, or ten crops."""

    flip = "flip"
    crops = "crops"


VIEWS: dict[TTA | None, int] = {None: 1, TTA.flip: 2, TTA.crops: 10}


class Views(Dataset[Tensor | str]):
    """Photos as `(views, 3, H, W)`, or the reason why they can't be read; decoded in worker processes.

    One view is what the classifier would see. Ten (Krizhevsky et al. 2012) are taken where the photo is resized to a
    seventh more than is served.
    """

    def __init__(self, classifier: LandmarkClassifier, files: Sequence[Path], tta: TTA | None, change: Change | None):
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


def _together(items: list[Tensor | str]) -> tuple[Tensor, list[str | None]]:
    """The photos that could be read, `(n, views, 3, H, W)`, and for each item None or the reason why it could not."""
    images = [item for item in items if isinstance(item, Tensor)]
    return torch.stack(images) if images else torch.empty(0), [None if isinstance(i, Tensor) else i for i in items]


class Logits(NamedTuple):
    """What a classifier made of photos.

    `logits` `(n, classes)` are of one view as the classifier gives them, of more the logarithms of mean probabilities;
    `scores` `(n,)` those of its rule for the (first) view, `plain` `(n, classes)` the logits of its network alone, as
    timm gives them, for it; `readable` says which photos they are of, `failures` why others could not be read, by
    position.
    """

    logits: Tensor
    scores: Tensor
    plain: Tensor
    readable: list[int]
    failures: dict[int, str]


@torch.inference_mode()
def predict_logits(
    classifier: LandmarkClassifier,
    files: Sequence[Path],
    batch_size: int = 64,
    tta: TTA | None = None,
    change: Change | None = None,
    title: str = "looking",
) -> Logits:
    """Logits of photos by the serving path, in several views where `tta` says so, changed first by `change`."""
    none = torch.empty(0, len(classifier.labels))
    rows = [(none, torch.empty(0), none)]
    failures: dict[int, str] = {}
    views = Views(classifier, files, tta, change)
    for images, count in _batches(views, max(batch_size // VIEWS[tta], 1), title, failures):
        body = classifier.body(images)
        outputs = (*classifier.served.head(body), classifier.served.plain_logits(body))
        logits, scores, plain = (output.cpu().unflatten(0, (count, -1)) for output in outputs)
        rows.append((logits.log_softmax(2).logsumexp(1) if tta else logits[:, 0], scores[:, 0], plain[:, 0]))
    logits, scores, plain = (torch.cat(parts) for parts in zip(*rows, strict=True))
    return Logits(logits, scores, plain, _others(len(files), failures), failures)


def predict_features(
    classifier: LandmarkClassifier, files: Sequence[Path], title: str = "features"
) -> tuple[Tensor, list[int]]:
    """What the network's classifier is given for photos as they are served, `(n, D)`, and which photos these are."""
    failures: dict[int, str] = {}
    batches = _batches(Views(classifier, files, None, None), 64, title, failures)
    return torch.cat([classifier.features(images) for images, _ in batches]), _others(len(files), failures)


@torch.inference_mode()
def predict_scores(
    classifier: LandmarkClassifier, files: Sequence[Path], title: str = "scores"
) -> tuple[dict[str, Tensor], list[int], Tensor]:
    """Every score that the classifier could go by for photos, `(n,)` each, which photos these are, and their labels.

    The labels are indices of the most likely ones, `(n,)`.
    """
    served = classifier.served
    failures: dict[int, str] = {}
    parts: list[dict[str, Tensor]] = []
    for images, _ in _batches(Views(classifier, files, None, None), 64, title, failures):
        body = classifier.body(images)
        logits = served.logits(body)
        scores = {name: served.score(name, body, logits).cpu() for name in served.available_scores}
        parts.append(scores | {"": logits.argmax(1).cpu()})
    joined = {name: torch.cat([part[name] for part in parts]) for name in parts[0]} if parts else {}
    labels = joined.pop("", torch.empty(0))
    return joined, _others(len(files), failures), labels


def _batches(views: Views, at_once: int, title: str, failures: dict[int, str]) -> Iterator[tuple[Tensor, int]]:
    """Batches of views `(photos * views, 3, H, W)` with the number of their photos; `failures` gets the others."""
    workers = min(available_cores(), 8)
    loader = DataLoader(views, at_once, num_workers=workers, collate_fn=_together)
    with tqdm(total=len(views), desc=title, unit="photo", leave=False) as bar:
        for images, reasons in loader:
            failures |= {index: reason for index, reason in enumerate(reasons, start=bar.n) if reason is not None}
            if len(images):
                yield images.flatten(0, 1), len(images)
            bar.update(len(reasons))


def _others(count: int, failures: dict[int, str]) -> list[int]:
    return [index for index in range(count) if index not in failures]

"""Photos as a classifier sees them, in one view or more, and what it makes of each."""

import math
from collections.abc import Callable, Sequence
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
from train.exported import ExportedModel, photo_tensor

__all__ = ["TTA", "Looked", "look", "look_exported"]

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


class Looked(NamedTuple):
    """What a classifier made of photos.

    `logits` `(n, classes)` are of one view as the classifier gives them, of more the logarithms of mean probabilities;
    `readable` says which photos they are of, `failures` why others could not be read, by position.
    """

    logits: Tensor
    readable: list[int]
    failures: dict[int, str]


def look(
    classifier: LandmarkClassifier,
    files: Sequence[Path],
    batch_size: int = 64,
    tta: TTA | None = None,
    change: Change | None = None,
    title: str = "looking",
) -> Looked:
    """Logits of photos by the serving path, in several views where `tta` says so, changed first by `change`."""
    at_once = max(batch_size // VIEWS[tta], 1)
    workers = min(available_cores(), 8)
    loader = DataLoader(Views(classifier, files, tta, change), at_once, num_workers=workers, collate_fn=_together)
    rows = [torch.empty(0, len(classifier.labels))]
    failures: dict[int, str] = {}
    with tqdm(total=len(files), desc=title, unit="photo", leave=False) as bar:
        for images, reasons in loader:
            failures |= {index: reason for index, reason in enumerate(reasons, start=bar.n) if reason is not None}
            if len(images):
                views = classifier.logits(images.flatten(0, 1)).unflatten(0, images.shape[:2])
                rows.append(views.log_softmax(2).logsumexp(1) if tta else views[:, 0])
            bar.update(len(reasons))
    return Looked(torch.cat(rows), [index for index in range(len(files)) if index not in failures], failures)


def look_exported(model: ExportedModel, files: Sequence[Path]) -> Looked:
    """Logits of photos by a file of `train.export`, which takes them whole: the logarithms of its probabilities."""
    rows = [torch.empty(0, len(model.labels))]
    failures: dict[int, str] = {}
    for index, file in enumerate(tqdm(files, desc="looking", unit="photo", leave=False)):
        try:
            rows.append(model.probabilities(photo_tensor(file)).clamp_min(1e-30).log().unsqueeze(0))
        except PhotoError as error:
            failures[index] = str(error)
    return Looked(torch.cat(rows), [index for index in range(len(files)) if index not in failures], failures)

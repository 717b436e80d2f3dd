"""Look for what is wrong in a folder of photos: unreadable, tiny, duplicate, leaking, mislabelled-looking.

python -m train.data scan photos/ --fix runs/scan
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from tqdm.auto import tqdm

from landmark_models.classifier import LandmarkClassifier
from landmark_models.devices import available_cores, best_device
from landmark_models.errors import PhotoError, reason
from landmark_models.files import sha256, write_json, write_text
from landmark_models.photo import open_photo
from train.data.duplicates import Picture, find_pairs, groups
from train.data.errors import DataError
from train.data.folders import SPLITS, Photos, find_photos
from train.data.mislabelled import suspects
from train.data.torchvision_sets import data_folder

__all__ = ["Finding", "Scan", "scan"]

KINDS = {
    "unreadable": "can't be read",
    "tiny": "shorter side below --min-side",
    "conflict": "one picture under two labels",
    "leak": "one picture in two splits",
    "duplicate": "one picture twice in a split",
    "mislabelled": "looks like another class",
}


@dataclass(frozen=True)
class Finding:
    """One photo, what is the matter with it, and whether training does better without it."""

    kind: str
    path: str
    split: str
    label: str
    detail: str
    leave_out: bool
    other: str | None = None


@dataclass(frozen=True)
class Scan:
    """What was looked at, and what was found."""

    data: str
    model: str
    photos: dict[str, int]
    findings: list[Finding]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def exclusions(self) -> list[Finding]:
        """One finding for each photo to leave out."""
        return list({finding.path: finding for finding in reversed(self.findings) if finding.leave_out}.values())[::-1]

    def write_fix(self, folder: str | Path) -> Path:
        """Write `exclude.txt`, for `--exclude` of `fit` and `evaluate`, and `scan.json`; returns the former."""
        folder = Path(folder)
        lines = [f"# What to leave out of {self.data}; take lines away to keep photos."]
        for finding in self.exclusions():
            if "\n" in finding.path or "\r" in finding.path:
                raise DataError(f"{finding.path!r} has a line break in its name and can't be listed; rename it.")
            name = f"./{finding.path}" if finding.path.startswith("#") else finding.path
            lines += [f"# {finding.kind}: {' '.join(finding.detail.split())}", name]
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_text(folder / "exclude.txt", "\n".join(lines) + "\n")
            write_json(folder / "scan.json", self.as_json())
        except OSError as error:
            raise DataError(f"{folder} can't be written: {reason(error)}.") from None
        return folder / "exclude.txt"


@dataclass(frozen=True)
class _Looked:
    """What is kept of a photo that could be read."""

    picture: Picture
    side: int
    pixels: int
    tensor: Tensor


class _Photos(Dataset[_Looked | str]):
    """Photos looked at in worker processes; the reason where one can't be read."""

    def __init__(self, files: Sequence[Path], classifier: LandmarkClassifier):
        self.files, self.transform, self.min_side = files, classifier.transform, classifier.min_side

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> _Looked | str:
        file = self.files[index]
        try:
            image = open_photo(file, self.min_side)
        except PhotoError as error:
            return str(error)
        with Image.open(file) as original:  # open_photo may have decoded it smaller
            size = original.size
        return _Looked(Picture.of(image, sha256(file)), min(size), size[0] * size[1], self.transform(image))


def _find_all(data: str | Path) -> tuple[Photos, list[str]]:
    """The photos of all splits, and the split of each."""
    found = {split: photos for split in SPLITS if (photos := find_photos(data, split))}
    if not found:
        raise DataError(f"{data} has no photos.")
    labels = tuple(dict.fromkeys(label for photos in found.values() for label in photos.labels))
    index = {label: position for position, label in enumerate(labels)}
    paths = tuple(path for photos in found.values() for path in photos.paths)
    targets = tuple(index[photos.labels[target]] for photos in found.values() for target in photos.targets)
    return Photos(data_folder(data), paths, targets, labels), [s for s, photos in found.items() for _ in photos.paths]


def scan(data: str | Path, model: str | Path = "default", min_side: int = 64) -> Scan:
    """Look at every photo of DATA, in all its splits.

    Args:
        data: the DATA folder.
        model: the MODEL whose features tell which photos look mislabelled; it need not know their classes.
        min_side: a shorter side below this, in pixels, is tiny.

    Raises:
        LandmarkError: the data or the model can't be had.
    """
    classifier = LandmarkClassifier.load(model, best_device())
    photos, splits = _find_all(data)
    findings: list[Finding] = []

    def found(kind: str, index: int, detail: str, leave_out: bool, other: int | None = None) -> None:
        path, label = photos.paths[index], photos.labels[photos.targets[index]]
        other_path = None if other is None else photos.paths[other]
        findings.append(Finding(kind, path, splits[index], label, detail, leave_out, other_path))

    looked, features = _look(photos.files(), classifier)
    readable = [index for index, item in enumerate(looked) if isinstance(item, _Looked)]
    seen: dict[int, _Looked] = {index: item for index, item in enumerate(looked) if isinstance(item, _Looked)}
    for index, item in enumerate(looked):
        if isinstance(item, str):
            found("unreadable", index, item.removeprefix(f"{photos.root / photos.paths[index]} "), True)
        elif item.side < min_side:
            found("tiny", index, f"shorter side {item.side} px", splits[index] != "test")

    pairs = find_pairs([seen[index].picture for index in readable])
    kinds = {frozenset([readable[pair.first], readable[pair.second]]): pair.kind for pair in pairs}

    def copy(index: int, other: int) -> str:
        return f"{kinds.get(frozenset([index, other]), 'near')} copy"

    leaders = groups(pairs, len(readable))
    members: dict[int, list[int]] = defaultdict(list)
    for position, leader in enumerate(leaders):
        members[leader].append(readable[position])
    for group in members.values():
        # The test split stays as it is where it can: figures are compared on it.
        group.sort(key=lambda i: (-SPLITS.index(splits[i]), -seen[i].pixels, photos.paths[i]))
        if len({photos.targets[i] for i in group}) > 1:
            for i in group:
                other = next(j for j in group if photos.targets[j] != photos.targets[i])
                found("conflict", i, f"{copy(i, other)} as {photos.labels[photos.targets[other]]}", True, other)
            continue
        kept = group[0]
        for i in group[1:]:
            kind = "duplicate" if splits[i] == splits[kept] else "leak"
            found(kind, i, f"{copy(i, kept)} of {photos.paths[kept]}", True, kept)

    targets = [photos.targets[index] for index in readable]
    judges = np.array([splits[index] == "train" for index in readable])
    for position, (target, probability) in suspects(features, targets, leaders, judges).items():
        index = readable[position]
        detail = f"looks like {photos.labels[target]} ({probability:.0%})"
        # A test photo that a model gets wrong stays, or the test would be made to please the model.
        found("mislabelled", index, detail, splits[index] == "train")
    findings.sort(key=lambda finding: list(KINDS).index(finding.kind))
    return Scan(str(data), str(model), dict(Counter(splits)), findings)


def _look(files: Sequence[Path], classifier: LandmarkClassifier) -> tuple[list[_Looked | str], NDArray[np.float32]]:
    """Each photo looked at, and the model's features `(N, D)` of those that could be read."""
    loader = DataLoader(
        _Photos(files, classifier), 64, num_workers=min(max(available_cores() - 1, 1), 8), collate_fn=list
    )
    looked: list[_Looked | str] = []
    features: list[Tensor] = []
    empty = torch.empty(0)
    with tqdm(total=len(files), desc="scanning", unit="photo", leave=False) as bar:
        for batch in loader:
            readable = [item for item in batch if isinstance(item, _Looked)]
            if readable:
                features.append(classifier.features(torch.stack([item.tensor for item in readable])))
            looked += [
                _Looked(item.picture, item.side, item.pixels, empty) if isinstance(item, _Looked) else item
                for item in batch
            ]
            bar.update(len(batch))
    if not features:
        raise DataError(f"None of the {len(files)} photos can be read.")
    return looked, torch.cat(features).numpy()

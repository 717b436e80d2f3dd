"""Find what is wrong in a folder of photos: unreadable, tiny, duplicate, leaking, mislabelled-looking.

python -m train.data scan photos/ --fix runs/scan
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from tqdm.auto import tqdm

from landmark_models.classifier import LandmarkClassifier
from landmark_models.devices import available_cores, best_device
from landmark_models.errors import PhotoError, reason
from landmark_models.files import sha256, write_json, write_text
from landmark_models.photo import read_photo
from train.data import DataError
from train.data.duplicates import Picture, find_pairs, groups
from train.data.folders import SPLITS, find_splits
from train.data.mislabelled import suspects
from train.data.photos import Photos
from train.data.torchvision_sets import data_folder

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
    """One photo, what is wrong with it, and whether training is better off without it."""

    kind: str
    path: str
    split: str
    label: str
    detail: str
    leave_out: bool
    other: str | None = None


@dataclass(frozen=True)
class Scan:
    """How many photos of each split were scanned, with which model, and what was found."""

    data: str
    model: str
    photos: dict[str, int]
    findings: list[Finding]
    left_out: dict[str, int] = field(default_factory=dict)  # what was not even looked at, and how often

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def exclusions(self) -> list[Finding]:
        """One finding for each photo to leave out."""
        return list({finding.path: finding for finding in reversed(self.findings) if finding.leave_out}.values())[::-1]

    def write_fix(self, folder: str | Path) -> Path:
        """Write `exclude.txt`, for `--exclude` of `fit` and `evaluate`, and `scan.json`; return the former's path.

        Raises:
            DataError: the folder can't be written, or a path can't be listed.
        """
        folder = Path(folder)
        lines = [f"# What to leave out of {self.data}; delete the lines of photos to keep."]
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
class _Description:
    """What is kept of a photo that could be read."""

    picture: Picture
    side: int
    pixels: int
    tensor: Tensor


class _Photos(Dataset[_Description | str]):
    """Photos described in worker processes, or the reason why one can't be read."""

    def __init__(self, files: Sequence[Path], classifier: LandmarkClassifier):
        self.files, self.transform, self.min_side = files, classifier.transform, classifier.min_side

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> _Description | str:
        file = self.files[index]
        try:
            image, _, size, _ = read_photo(file, self.min_side)
        except PhotoError as error:
            return str(error)
        return _Description(Picture.of(image, sha256(file)), min(size), size[0] * size[1], self.transform(image))


@dataclass(frozen=True)
class _Collection:
    """The photos of all splits, the split of each, and the description of each one that could be read, by index."""

    photos: Photos
    splits: list[str]
    descriptions: dict[int, _Description]

    def finding(
        self, kind: str, index: int, detail: str, *, leave_out: bool = True, other: int | None = None
    ) -> Finding:
        path, label = self.photos.paths[index], self.photos.labels[self.photos.targets[index]]
        other_path = None if other is None else self.photos.paths[other]
        return Finding(kind, path, self.splits[index], label, detail, leave_out, other_path)


def scan(data: str | Path, model: str | Path = "default", min_side: int = 64) -> Scan:
    """Scan every photo of DATA, in all its splits.

    The features of `model`, a MODEL, tell which photos look mislabelled; it need not know their classes. A photo whose
    shorter side is below `min_side` px is tiny.

    Raises:
        LandmarkError: the data or the model isn't available.
    """
    classifier = LandmarkClassifier.load(model, best_device())
    left_out: Counter[str] = Counter()
    photos, splits = _find_all(data, left_out)
    descriptions, failures, features = _describe(photos.files(), classifier)
    collection = _Collection(photos, splits, descriptions)
    findings = [
        collection.finding("unreadable", index, failure.removeprefix(f"{photos.root / photos.paths[index]} "))
        for index, failure in failures.items()
    ]
    findings += [
        collection.finding("tiny", index, f"shorter side {item.side} px", leave_out=splits[index] != "test")
        for index, item in descriptions.items()
        if item.side < min_side
    ]
    readable = list(descriptions)
    pairs = find_pairs([item.picture for item in descriptions.values()])
    leaders = groups(pairs, len(readable))
    kinds = {frozenset([readable[pair.first], readable[pair.second]]): pair.kind for pair in pairs}
    findings += _copies(collection, leaders, kinds)
    findings += _mislabelled(collection, features, leaders)
    findings.sort(key=lambda finding: list(KINDS).index(finding.kind))
    counts = Counter(splits)
    scanned = {split: counts[split] for split in SPLITS if split in counts}
    return Scan(str(data), str(model), scanned, findings, dict(left_out))


def _find_all(data: str | Path, left_out: Counter[str]) -> tuple[Photos, list[str]]:
    """The photos of all splits, and the split of each."""
    by_split = find_splits(data, left_out)
    labels = next(iter(by_split.values())).labels
    paths = tuple(path for photos in by_split.values() for path in photos.paths)
    targets = tuple(target for photos in by_split.values() for target in photos.targets)
    splits = [split for split, photos in by_split.items() for _ in photos.paths]
    return Photos(data_folder(data), paths, targets, labels), splits


def _describe(
    files: Sequence[Path], classifier: LandmarkClassifier
) -> tuple[dict[int, _Description], dict[int, str], NDArray[np.float32]]:
    """Descriptions of the photos by index, why others can't be read, and the features `(N, D)` of the former."""
    workers = min(max(available_cores() - 1, 1), 8)
    loader = DataLoader(_Photos(files, classifier), 64, num_workers=workers, collate_fn=list)
    descriptions: dict[int, _Description] = {}
    failures: dict[int, str] = {}
    features: list[Tensor] = []
    empty = torch.empty(0)
    with tqdm(total=len(files), desc="scanning", unit="photo", leave=False) as bar:
        for batch in loader:
            tensors = [item.tensor for item in batch if isinstance(item, _Description)]
            if tensors:
                features.append(classifier.features(torch.stack(tensors)))
            for index, item in enumerate(batch, start=bar.n):
                if isinstance(item, _Description):
                    descriptions[index] = replace(item, tensor=empty)  # pixels aren't needed any more
                else:
                    failures[index] = item
            bar.update(len(batch))
    if not features:
        raise DataError(f"None of the {len(files)} photos can be read.")
    return descriptions, failures, torch.cat(features).numpy()


def _copies(collection: _Collection, leaders: Sequence[int], kinds: Mapping[frozenset[int], str]) -> Iterator[Finding]:
    """Pictures that occur twice: under two labels, in two splits, or in one split; all photos of each but one."""
    photos, splits, descriptions = collection.photos, collection.splits, collection.descriptions
    readable = list(descriptions)
    members: dict[int, list[int]] = defaultdict(list)
    for position, leader in enumerate(leaders):
        members[leader].append(readable[position])

    def copy(index: int, other: int) -> str:
        return f"{kinds.get(frozenset([index, other]), 'near')} copy"

    for group in members.values():
        # The test split stays complete where possible, because figures are compared on it.
        group.sort(key=lambda i: (-SPLITS.index(splits[i]), -descriptions[i].pixels, photos.paths[i]))
        if len({photos.targets[i] for i in group}) > 1:
            for i in group:
                other = next(j for j in group if photos.targets[j] != photos.targets[i])
                detail = f"{copy(i, other)} as {photos.labels[photos.targets[other]]}"
                yield collection.finding("conflict", i, detail, other=other)
            continue
        kept = group[0]
        for i in group[1:]:
            kind = "duplicate" if splits[i] == splits[kept] else "leak"
            yield collection.finding(kind, i, f"{copy(i, kept)} of {photos.paths[kept]}", other=kept)


def _mislabelled(collection: _Collection, features: NDArray[np.float32], leaders: Sequence[int]) -> Iterator[Finding]:
    """Photos that look as if they were in the wrong class folder."""
    photos, splits, readable = collection.photos, collection.splits, list(collection.descriptions)
    targets = [photos.targets[index] for index in readable]
    fitted = np.array([splits[index] == "train" for index in readable])
    for position, (target, probability) in suspects(features, targets, leaders, fitted).items():
        index = readable[position]
        detail = f"looks like {photos.labels[target]} ({probability:.0%})"
        # A test photo that a model gets wrong stays: otherwise the test set would be shaped to please the model.
        yield collection.finding("mislabelled", index, detail, leave_out=splits[index] == "train")

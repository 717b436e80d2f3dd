"""Find what is wrong in a folder of photos: unreadable, tiny, duplicate, leaking, mislabelled-looking.

python -m train.data scan photos/ --fix runs/scan
"""

from collections import Counter
from collections.abc import Iterator, Sequence
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
from landmark_models.files import write_json, write_text
from landmark_models.photo import read_photo
from landmark_models.text import percent
from train.data import DataError
from train.data.copies import KINDS, Collection, Description, Finding, find_copies
from train.data.duplicates import find_pairs, groups
from train.data.folders import find_splits
from train.data.location import data_folder
from train.data.mislabelled import suspects
from train.data.photos import Photos
from train.data.splits import SPLITS

__all__ = ["KINDS", "Finding", "Scan", "scan"]


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


class _Photos(Dataset[Description | str]):
    """Photos described in worker processes, or the reason why one can't be read."""

    def __init__(self, files: Sequence[Path], classifier: LandmarkClassifier):
        self.files, self.transform, self.min_side = files, classifier.transform, classifier.min_side

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Description | str:
        file = self.files[index]
        try:
            image, _, size, _ = read_photo(file, self.min_side)
        except PhotoError as error:
            return str(error)
        return Description.of(file, image, size, self.transform(image))


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
    collection = Collection(photos, splits, descriptions)
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
    findings += find_copies(collection, leaders, kinds, min_side)
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
) -> tuple[dict[int, Description], dict[int, str], NDArray[np.float32]]:
    """Descriptions of the photos by index, why others can't be read, and the features `(N, D)` of the former."""
    workers = min(max(available_cores() - 1, 1), 8)
    loader = DataLoader(_Photos(files, classifier), 64, num_workers=workers, collate_fn=list)
    descriptions: dict[int, Description] = {}
    failures: dict[int, str] = {}
    features: list[Tensor] = []
    empty = torch.empty(0)
    with tqdm(total=len(files), desc="scanning", unit="photo", leave=False) as bar:
        for batch in loader:
            tensors = [item.tensor for item in batch if isinstance(item, Description)]
            if tensors:
                features.append(classifier.features(torch.stack(tensors)))
            for index, item in enumerate(batch, start=bar.n):
                if isinstance(item, Description):
                    descriptions[index] = replace(item, tensor=empty)  # pixels aren't needed any more
                else:
                    failures[index] = item
            bar.update(len(batch))
    if not features:
        raise DataError(f"None of the {len(files)} photos can be read.")
    return descriptions, failures, torch.cat(features).numpy()


def _mislabelled(collection: Collection, features: NDArray[np.float32], leaders: Sequence[int]) -> Iterator[Finding]:
    """Photos that look as if they were in the wrong class folder."""
    photos, splits, readable = collection.photos, collection.splits, list(collection.descriptions)
    targets = [photos.targets[index] for index in readable]
    fitted = np.array([splits[index] == "train" for index in readable])
    for position, (target, probability) in suspects(features, targets, leaders, fitted).items():
        index = readable[position]
        detail = f"looks like {photos.labels[target]} ({percent(probability)})"
        # It stays until a person has looked at it: a model's opinion alone would shape the set to please the model.
        yield collection.finding("mislabelled", index, detail, leave_out=False)

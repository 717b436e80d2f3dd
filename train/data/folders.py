"""Which photos there are, of which class, in which split.

DATA is a folder with any of `train/`, `val/`, `test/`, each of `CLASS/*`, or a folder of bare `CLASS/*`; or it is
`torch/NAME`, one of torchvision's own datasets.
"""

import os
import re
from collections.abc import Container, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from landmark_models.errors import reason
from landmark_models.files import find_photos_below, is_photo_name
from train.data import DataError
from train.data.torchvision_sets import data_folder

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Photos:
    """Photos of one split: paths relative to `root`, and for each the index of its label in `labels`."""

    root: Path
    paths: tuple[str, ...]
    targets: tuple[int, ...]
    labels: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.paths)

    def files(self) -> list[Path]:
        return [self.root / path for path in self.paths]

    def excluding(self, paths: Container[str]) -> "Photos":
        """These photos without those whose relative path is on a list (`read_exclusions`)."""
        return self.take([index for index, path in enumerate(self.paths) if path not in paths])

    def only(self, paths: Sequence[str]) -> "Photos":
        """The photos with these relative paths, in this order. Each must exist."""
        positions = {path: index for index, path in enumerate(self.paths)}
        return self.take([positions[path] for path in paths])

    def take(self, indices: Sequence[int]) -> "Photos":
        """The photos at these indices, in this order."""
        return Photos(
            self.root, tuple(self.paths[i] for i in indices), tuple(self.targets[i] for i in indices), self.labels
        )

    def joined(self, others: "Photos") -> "Photos":
        """These photos, followed by others with the same root and labels."""
        return Photos(self.root, self.paths + others.paths, self.targets + others.targets, self.labels)


def label_of(folder: str) -> str:
    """The label of a class folder: without its order prefix (`09.`), underscores as spaces.

    >>> label_of("09.Golden_Gate_Bridge")
    'Golden Gate Bridge'
    """
    return re.sub(r"^\d+\.(?=.)", "", folder).replace("_", " ").strip()


def _class_folders(folder: Path) -> list[Path]:
    return sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def find_photos(data: str | Path, split: str, labels: Sequence[str] | None = None) -> Photos | None:
    """The photos of one split of DATA, or None where the folder has no such split.

    A folder of bare classes is its own `train`, and for evaluation `all`.

    Args:
        data: the folder, or `torch/NAME`. Links are followed once.
        split: `train`, `val`, `test`, or `all` for a folder of bare classes.
        labels: the labels that targets index; by default those of the folder, sorted by folder name.

    Raises:
        DataError: the folder is missing or has no photo, two folders have one label, or a label isn't in `labels`.
    """
    root = data_folder(data)
    has_splits = any((root / name).is_dir() for name in SPLITS)
    if not has_splits and split not in ("train", "all"):
        return None
    if has_splits and split == "all":
        raise DataError(
            f"{root} has splits ({', '.join(s for s in SPLITS if (root / s).is_dir())}); choose one of them."
        )
    top = root / split if has_splits else root
    if not top.is_dir():
        return None

    folders: dict[str, Path] = {}
    for folder in _class_folders(top):
        label = label_of(folder.name)
        if label in folders:
            raise DataError(f"{folders[label]} and {folder} have the same label {label!r}; merge them or rename one.")
        folders[label] = folder
    paths_of = {
        label: sorted(
            os.path.relpath(entry, root) for entry in folder.iterdir() if is_photo_name(entry.name) and entry.is_file()
        )
        for label, folder in folders.items()
    }
    if not any(paths_of.values()):
        raise DataError(f"{top} has no photo in a class folder; it needs a folder of photos for each landmark.")
    if labels is None:
        labels = [label for label, paths in paths_of.items() if paths]
    index = {label: position for position, label in enumerate(labels)}
    if unknown := sorted(label for label, paths in paths_of.items() if paths and label not in index):
        raise DataError(f"{top} has {_some(unknown)}, which the model does not know; leave those folders out.")
    pairs = [(path, index[label]) for label, paths in paths_of.items() for path in paths]
    return Photos(root, tuple(p for p, _ in pairs), tuple(t for _, t in pairs), tuple(labels))


def photos_below(folder: str | Path) -> list[Path]:
    """All photos in a folder and below it, sorted; hidden ones are left out, links followed once.

    If subfolders can't be listed or links lead nowhere, it prints how many.

    Raises:
        DataError: it isn't a folder, or has no photo.
    """
    if not Path(folder).is_dir():
        raise DataError(f"There is no folder {folder} of photos.")
    entries = list(find_photos_below(folder))
    if failures := [entry for entry in entries if entry.error]:
        first = f"{failures[0].path}: {failures[0].error}"
        print(
            f"Folders and links in {folder} that can't be read and are left out: {len(failures)}. The first is {first}"
        )
    if not (files := sorted(Path(entry.path) for entry in entries if not entry.error)):
        raise DataError(f"{folder} has no photo in it or in its subfolders.")
    return files


def find_unlabelled(folders: Sequence[Path], data: str | Path) -> tuple[list[str], list[str]]:
    """Absolute paths of all photos in these folders and below them, hidden ones left out.

    Returns:
        Those outside the splits of DATA, then those inside: test photos may be among the latter.

    Raises:
        DataError: one isn't a folder, or has no photo.
    """
    found = dict.fromkeys(file.resolve() for folder in folders for file in photos_below(folder))
    root = data_folder(data).resolve()
    splits = [root / split for split in SPLITS if (root / split).is_dir()] or [root]
    own = [str(file) for file in found if any(file.is_relative_to(split) for split in splits)]
    known = set(own)
    return [str(file) for file in found if str(file) not in known], own


def read_exclusions(file: str | Path) -> frozenset[str]:
    """The paths in a list of photos to leave out: one per line, relative to DATA; `#` starts a comment.

    Raises:
        DataError: the list can't be read.
    """
    try:
        lines = Path(file).read_text(encoding="utf-8", errors="surrogateescape").split("\n")
    except OSError as error:
        raise DataError(f"The list {file} can't be read: {reason(error)}.") from None
    return frozenset(os.path.normpath(line) for line in lines if line.strip() and not line.startswith("#"))


def _some(names: Sequence[str], most: int = 3) -> str:
    shown = ", ".join(map(repr, names[:most]))
    return shown + (f" and {len(names) - most} more labels" if len(names) > most else "")


def split_off(photos: Photos, fraction: float, seed: int) -> tuple[Photos, Photos]:
    """Draw a validation split: the same fraction of every class, at least one photo of a class that has two or more.

    Returns:
        The training photos and the validation photos. The same seed and photos give the same split.

    Raises:
        DataError: no photo would be left to validate on.
    """
    generator = np.random.default_rng(seed)
    chosen: set[int] = set()
    targets = np.asarray(photos.targets)
    for target in range(len(photos.labels)):
        members = generator.permutation(np.flatnonzero(targets == target))
        count = min(max(round(len(members) * fraction), 1), len(members) - 1) if fraction and len(members) else 0
        chosen.update(members[: max(count, 0)].tolist())
    if not chosen:
        raise DataError(
            f"No photo of {photos.root} is left for validation: set val_fraction above 0, or give a class two photos."
        )
    order = range(len(photos))
    return photos.take([i for i in order if i not in chosen]), photos.take([i for i in order if i in chosen])


def train_and_val(
    data: str | Path, val_fraction: float, seed: int, exclusions: frozenset[str] = frozenset()
) -> tuple[Photos, Photos]:
    """The training and validation photos of DATA, without exclusions; a missing validation split is drawn from train.

    Raises:
        DataError: there is nothing to train on, or nothing to validate on.
    """
    train = find_photos(data, "train")
    if train is None:
        raise DataError(f"{data} has no train folder.")
    if len(train.labels) < 2:
        raise DataError(f"{data} has one class only, {train.labels[0]!r}; a classifier needs at least two.")
    val = find_photos(data, "val", train.labels)
    if val is not None:
        return train.excluding(exclusions), val.excluding(exclusions)
    return split_off(train.excluding(exclusions), val_fraction, seed)

"""Photos with their labels, and how a part of them is taken."""

from collections.abc import Container, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from train.data import DataError
from train.data.labels import nfc


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
        """These photos without those whose relative path, or its form in NFC, is among `paths`."""
        return self.take([index for index, path in enumerate(self.paths) if not is_listed(path, paths)])

    def only(self, paths: Sequence[str]) -> "Photos":
        """The photos with these relative paths, in this order. Each must exist."""
        positions = {path: index for index, path in enumerate(self.paths)}
        return self.take([positions[path] for path in paths])

    def take(self, indices: Sequence[int]) -> "Photos":
        """The photos at these indices, in this order."""
        return Photos(
            self.root, tuple(self.paths[i] for i in indices), tuple(self.targets[i] for i in indices), self.labels
        )

    def of_labels(self, labels: Sequence[str]) -> "Photos":
        """The photos of these labels, numbered anew, and photos without a label, whose target is above all labels."""
        before = {label: position for position, label in enumerate(self.labels)}
        number = {before[label]: position for position, label in enumerate(labels) if label in before}
        number[len(self.labels)] = len(labels)
        kept = self.take([index for index, target in enumerate(self.targets) if target in number])
        return Photos(self.root, kept.paths, tuple(number[target] for target in kept.targets), tuple(labels))

    def present_labels(self) -> list[str]:
        """The labels that have a photo."""
        present = set(self.targets)
        return [label for position, label in enumerate(self.labels) if position in present]

    def of_label(self, label: str) -> "Photos":
        """The photos of one label, which keep their targets."""
        position = self.labels.index(label)
        return self.take([index for index, target in enumerate(self.targets) if target == position])

    def joined(self, others: "Photos") -> "Photos":
        """These photos, followed by others with the same root and labels."""
        return Photos(self.root, self.paths + others.paths, self.targets + others.targets, self.labels)


def is_listed(path: str, paths: Container[str]) -> bool:
    """Whether a path is among `paths`, as it is or in NFC, as `read_exclusions` returns them."""
    return path in paths or nfc(path) in paths


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

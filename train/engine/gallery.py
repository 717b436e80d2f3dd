"""An add-on for any number of landmarks: the means of their photos' whitened features, in fewer dimensions.

The dimensions are the principal ones of the means' directions, around the origin that cosines are measured from. Each
mean is written to a file as soon as its photos are done, so that a run of hours can be continued, and a million means
needn't fit into memory.
"""

import hashlib
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from landmark_models.classifier import LandmarkClassifier
from landmark_models.errors import LandmarkError, reason
from landmark_models.teach import checked_label
from landmark_models.teaching import SUFFIX, AddOn
from train.data import DataError, Photos, find_photos, print_left_out
from train.data.left_out import some
from train.measure.predict import whitened_batches

_ROWS = 8192  # means in memory at a time


class Gallery(NamedTuple):
    """An add-on, from how many photos it was made, and how long this run took, in seconds."""

    addon: AddOn
    photos: int
    seconds: float


def make_gallery(
    classifier: LandmarkClassifier,
    data: str | Path,
    output: Path,
    split: str = "train",
    dimensions: int = 256,
    batch_size: int = 64,
    resume: bool = False,
) -> Gallery:
    """Write the add-on of all classes of a split of DATA, and print what was left out.

    The other parameters are options of `python -m train.gallery`.

    Raises:
        LandmarkError: the model can't be taught, no photo can be read, the output is there already or can't be written,
            or the file of an interrupted run is in the way.
    """
    started = time.monotonic()
    features = classifier.features_digest
    if not output.name.endswith(SUFFIX):
        raise LandmarkError(f"The output {output} must be named NAME{SUFFIX}.")
    if output.exists():
        raise LandmarkError(f"{output} is there already; name another file, or delete it.")
    left_out: Counter[str] = Counter()
    photos = find_photos(data, split, left_out=left_out)
    if photos is None:
        raise DataError(f"The folder {data} has no {split} folder.")
    photos = photos.take(sorted(range(len(photos)), key=photos.targets.__getitem__))
    means = _Means(output, features, photos, classifier.served.mean.numel(), resume)
    unreadable = _add_means(classifier, photos, means, batch_size)
    counts = means.counts()
    used, empty = int(counts.sum()), [photos.labels[index] for index in np.flatnonzero(counts == 0)]
    if used < len(photos):
        left_out[f"photo that can't be read ({some(unreadable) or 'before'})"] = len(photos) - used
    if empty:
        left_out[f"class of which no photo can be read ({some(empty)})"] = len(empty)
    print_left_out(data, left_out)
    if not used:
        raise DataError(f"No photo in {data} can be read.")
    projection = _projection(means, dimensions)
    addon = AddOn(
        features,
        tuple(checked_label(photos.labels[index]) for index in np.flatnonzero(counts)),
        torch.from_numpy(counts[counts > 0].astype(np.int32)),
        torch.cat([(rows if projection is None else rows @ projection.float().T).half() for rows in means.rows()]),
        projection=projection,
        model=classifier.public_name,
    )
    addon.write(output)
    means.file.unlink()
    return Gallery(addon, used, time.monotonic() - started)


class _Means:
    """The means of the first `done` classes, in a file: a digest of features and photos, then one record per class."""

    def __init__(self, output: Path, features: str, photos: Photos, width: int, resume: bool):
        self.file, self.width = output.with_name(output.name + ".partial"), width
        self._record = np.dtype([("count", "<u4"), ("mean", "<f2", (width,))])
        names = "\0".join([features, *photos.labels, *photos.paths])
        digest = hashlib.sha256(names.encode(errors="surrogateescape")).digest()
        self._start = len(digest)
        try:
            output.parent.mkdir(parents=True, exist_ok=True)
            with self.file.open("a+b") as file:
                size = file.seek(0, 2)
                file.seek(0)
                own = file.read(self._start) == digest
                if size >= self._start and not resume:
                    raise LandmarkError(f"A run was interrupted: continue it with --resume, or delete {self.file}.")
                if size >= self._start and not own:
                    raise LandmarkError(f"{self.file} is from other photos or another model; delete it to begin anew.")
                self.done = max(size - self._start, 0) // self._record.itemsize
                file.truncate(self._start + self.done * self._record.itemsize if own else 0)
                if not own:
                    file.write(digest)
        except OSError as error:
            raise LandmarkError(f"{self.file} can't be written: {reason(error)}.") from None

    def append(self, file: BinaryIO, total: Tensor, count: int) -> None:
        """Add a class, with the sum of its photos' features, float64 `(D,)`, to the file."""
        mean = (total / max(count, 1)).half().numpy()
        file.write(np.array([(count, mean)], self._record).tobytes())

    def _records(self) -> np.ndarray:
        return np.memmap(self.file, self._record, "r", self._start)

    def counts(self) -> np.ndarray:
        """The number of photos of each class, `(C,)`."""
        return np.array(self._records()["count"])

    def rows(self) -> Iterator[Tensor]:
        """The means of the classes that have a photo, float32 `(n, D)`, in parts."""
        records = self._records()
        for start in range(0, len(records), _ROWS):
            part = records[start : start + _ROWS]
            yield torch.from_numpy(part["mean"][part["count"] > 0].astype(np.float32))


def _add_means(classifier: LandmarkClassifier, photos: Photos, means: _Means, batch_size: int) -> list[str]:
    """Compute the means that aren't there yet; returns the paths of the photos that can't be read."""
    rest = photos.take([index for index, target in enumerate(photos.targets) if target >= means.done])
    current, failures = means.done, dict[int, str]()
    total, count = torch.zeros(means.width, dtype=torch.float64), 0
    with means.file.open("ab") as file:
        for features, positions in whitened_batches(classifier, rest.files(), batch_size, "teaching", failures):
            for position, feature in zip(positions, features, strict=True):
                while current < rest.targets[position]:
                    means.append(file, total, count)
                    total, count, current = torch.zeros_like(total), 0, current + 1
                total, count = total + feature, count + 1
        for _ in range(current, len(photos.labels)):
            means.append(file, total, count)
            total, count = torch.zeros_like(total), 0
    return [rest.paths[index] for index in failures]


def _projection(means: _Means, dimensions: int) -> Tensor | None:
    """The principal dimensions of the means, float16 `(dimensions, D)`; None if there are no more means than that."""
    if dimensions >= min(int((means.counts() > 0).sum()), means.width):
        return None
    return principal_dimensions(means.rows(), dimensions).half()


def principal_dimensions(parts: Iterable[Tensor], dimensions: int) -> Tensor:
    """The dimensions that keep most of the directions of vectors, given in parts, float32 `(n, D)`.

    Returns:
        Orthonormal rows, float32 `(dimensions, D)`. The vectors' mean isn't subtracted, as cosines are to the origin.
    """
    units = (nn.functional.normalize(part, dim=1) for part in parts)
    moment: Tensor = sum((part.T @ part).double() for part in units)  # type: ignore[assignment]
    return torch.linalg.eigh(moment).eigenvectors.flip(1).T[:dimensions].float().contiguous()

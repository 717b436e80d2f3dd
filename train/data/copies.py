"""What `scan` knows of each photo, and which photos it takes for copies of others."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from torch import Tensor

from landmark_models.errors import PhotoError
from landmark_models.files import sha256
from landmark_models.imaging.containers import open_container
from train.data.duplicates import Picture
from train.data.photos import Photos
from train.data.splits import SPLITS

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
class Description:
    """What is kept of a photo that could be read: size in px, whether it has EXIF data, bytes and time of its file."""

    picture: Picture
    side: int
    pixels: int
    has_exif: bool
    bytes: int
    modified: float
    tensor: Tensor

    @classmethod
    def of(cls, file: Path, image: Image.Image, size: tuple[int, int], tensor: Tensor) -> "Description":
        """Describe a file whose upright picture is `image`, stored in this size, as `tensor` for a network."""
        stored = file.stat()
        times = stored.st_size, stored.st_mtime
        return cls(Picture.of(image, sha256(file)), min(size), size[0] * size[1], _has_exif(file), *times, tensor)

    def originality(self) -> tuple[float, ...]:
        """The larger, the likelier that its copies were made from it: they have fewer pixels, no EXIF data, ..."""
        return self.pixels, self.has_exif, self.bytes, -self.modified


def _has_exif(file: Path) -> bool:
    with suppress(PhotoError):  # a file that was read in spite of its damage
        return "exif" in open_container(file.read_bytes(), str(file)).info
    return False


@dataclass(frozen=True)
class Collection:
    """The photos of all splits, the split of each, and the description of each one that could be read, by index."""

    photos: Photos
    splits: list[str]
    descriptions: dict[int, Description]

    def finding(
        self, kind: str, index: int, detail: str, *, leave_out: bool = True, other: int | None = None
    ) -> Finding:
        path, label = self.photos.paths[index], self.photos.labels[self.photos.targets[index]]
        other_path = None if other is None else self.photos.paths[other]
        return Finding(kind, path, self.splits[index], label, detail, leave_out, other_path)


def find_copies(
    collection: Collection, leaders: Sequence[int], kinds: Mapping[frozenset[int], str], min_side: int
) -> Iterator[Finding]:
    """Pictures that occur twice: under two labels, in two splits, or in one split.

    All photos of a picture but one are to be left out: what stays is the likeliest original.
    """
    photos, splits, descriptions = collection.photos, collection.splits, collection.descriptions
    readable = list(descriptions)
    members: dict[int, list[int]] = defaultdict(list)
    for position, leader in enumerate(leaders):
        members[leader].append(readable[position])

    def copy(index: int, other: int) -> str:
        return f"{kinds.get(frozenset([index, other]), 'near')} copy"

    def order(index: int) -> tuple[bool, bool, int, tuple[float, ...]]:
        # The test split stays complete where possible, because figures are compared on it.
        item = descriptions[index]
        return splits[index] == "test", item.side >= min_side, SPLITS.index(splits[index]), item.originality()

    for group in members.values():
        kept, *copies = sorted(sorted(group, key=lambda i: photos.paths[i]), key=order, reverse=True)
        for i in (kept, *copies):
            others = [j for j in (kept, *copies) if photos.targets[j] != photos.targets[i]]
            if others and (i == kept or kept in others):
                detail = f"{copy(i, others[0])} as {photos.labels[photos.targets[others[0]]]}"
                yield collection.finding("conflict", i, detail, leave_out=i != kept, other=others[0])
            elif i != kept:
                kind = "duplicate" if splits[i] == splits[kept] else "leak"
                yield collection.finding(kind, i, f"{copy(i, kept)} of {photos.paths[kept]}", other=kept)

"""Find photos that show the same picture: identical files, near duplicates, mirror images."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import imagehash
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from torch import Tensor

_HASH_SIDE = 16  # 256 bits
_THUMBNAIL = 32
# Bits of 256 that may differ between hashes (about 128 do in unrelated photos), and the thumbnails' least correlation.
_LIMITS = ((40, 0.82), (60, 0.95))
_CHUNK = 1024


@dataclass(frozen=True)
class Picture:
    """What is compared: SHA-256 of the file, difference hash (also of the mirror image), gray thumbnail `(32, 32)`."""

    digest: str
    bits: NDArray[np.bool_]
    mirrored_bits: NDArray[np.bool_]
    thumbnail: NDArray[np.float32]

    @classmethod
    def of(cls, image: Image.Image, digest: str) -> "Picture":
        """Describe an RGB image whose file has this digest."""
        gray = image.convert("L")
        bits, mirrored = (
            imagehash.dhash(picture, _HASH_SIDE).hash.reshape(-1) for picture in (gray, ImageOps.mirror(gray))
        )
        pixels = np.asarray(gray.resize((_THUMBNAIL, _THUMBNAIL), Image.Resampling.BOX), dtype=np.float32)
        pixels -= pixels.mean()
        norm = float(np.linalg.norm(pixels))
        return cls(digest, bits, mirrored, pixels / norm if norm else pixels)


@dataclass(frozen=True)
class Pair:
    """Two photos, by index with `first < second`, that show the same picture."""

    first: int
    second: int
    kind: Literal["exact", "near", "mirrored"]


def find_pairs(pictures: Sequence[Picture]) -> list[Pair]:
    """All pairs that show the same picture.

    A pair is `near` where its 256-bit difference hashes and its gray 32 x 32 thumbnails both agree: the hash finds
    recompressed, resized, brightened and slightly cropped copies (2% a side, not 5%); the thumbnails' correlation
    rejects chance matches of pictures with little detail. Every photo is compared with every other: O(n^2), with a
    small constant.
    """
    if len(pictures) < 2:
        return []
    signs = torch.from_numpy(np.stack([picture.bits for picture in pictures])).float() * 2 - 1
    mirrored = torch.from_numpy(np.stack([picture.mirrored_bits for picture in pictures])).float() * 2 - 1
    thumbnails = torch.from_numpy(np.stack([picture.thumbnail for picture in pictures]))
    kinds: dict[tuple[int, int], Literal["exact", "near", "mirrored"]] = {}
    for first, second in _close(signs, mirrored, thumbnails.flip(2), thumbnails):
        kinds[first, second] = "mirrored"
    for first, second in _close(signs, signs, thumbnails, thumbnails):
        same = pictures[first].digest == pictures[second].digest
        kinds[first, second] = "exact" if same else "near"
    by_digest: dict[str, int] = {}
    for index, picture in enumerate(pictures):  # the hash says nothing about a picture of one color, its bytes do
        if (first := by_digest.setdefault(picture.digest, index)) != index:
            kinds[first, index] = "exact"
    return [Pair(first, second, kind) for (first, second), kind in sorted(kinds.items())]


def _close(signs: Tensor, others: Tensor, thumbnails: Tensor, other_thumbnails: Tensor) -> Iterator[tuple[int, int]]:
    """Pairs (i, j), i < j, whose hashes (signs of bits) and thumbnails both agree."""
    bits = signs.shape[1]
    columns = torch.arange(len(signs))
    for start in range(0, len(signs), _CHUNK):
        rows = slice(start, start + _CHUNK)
        distances = (bits - signs[rows] @ others.T) / 2
        correlations = thumbnails[rows].flatten(1) @ other_thumbnails.flatten(1).T
        agree = torch.zeros_like(distances, dtype=torch.bool)
        for distance, correlation in _LIMITS:
            agree |= (distances <= distance) & (correlations >= correlation)
        agree &= columns[rows, None] < columns
        for row, column in torch.nonzero(agree).tolist():
            yield start + row, column


def groups(pairs: Sequence[Pair], count: int) -> list[int]:
    """For each of `count` photos, the smallest index in its connected component."""
    ends = ([pair.first for pair in pairs], [pair.second for pair in pairs])
    component = connected_components(coo_matrix(([1] * len(pairs), ends), (count, count)), directed=False)[1]
    smallest: NDArray[np.intp] = np.unique(component, return_index=True)[1]
    return smallest[component].tolist()

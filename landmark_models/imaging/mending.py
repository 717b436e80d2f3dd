"""Files that Pillow refuses although their pixels are whole, or all but the last rows of them are."""

import contextlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from PIL import Image

from landmark_models.errors import PhotoError
from landmark_models.imaging import jpeg, png, webp

_FEW_ROWS = 8  # that may be missing at the end, of a file of any size
_FEW = 0.01  # of the rows
_JUNK = b"\0\t\n\r \xef\xbb\xbf"  # that scripts and servers write before a file, the last three as a byte order mark


class DamagedError(PhotoError):
    """A file that isn't an image, or whose pixels can't all be decoded."""


class Decoded(NamedTuple):
    """Pixels as the file stores them: neither upright nor RGB yet."""

    image: Image.Image
    raw_mode: str  # of a pixel in the file, in Pillow's terms, such as "RGB;16B"
    size: tuple[int, int]  # as stored: the image may be smaller
    reduction: int  # by which it is still to be made smaller


Decode = Callable[[bytes], Decoded]


def decode_or_mend(data: bytes, decode: Decode) -> Decoded:
    """The result of `decode`, if need be for the file without damaged metadata, or with the end that it lacks.

    Raises:
        DamagedError: what `decode` raised, if nothing helps.
    """
    try:
        return decode(data)
    except DamagedError:
        with contextlib.suppress(Exception):  # what is wrong with the file as it came is the better message
            if len(photo := data.lstrip(_JUNK)) < len(data):
                return decode_or_mend(photo, decode)
            mend = next((mend for start, mend in _MENDERS if data.startswith(start)), None)
            if mend and (decoded := mend(data, decode)):
                return decoded
        raise


def _png(data: bytes, decode: Decode) -> Decoded:
    content, profile = png.without_extras(data)
    decoded = decode(content)
    if profile:
        decoded.image.info["icc_profile"] = profile
    return decoded


def _webp(data: bytes, decode: Decode) -> Decoded:
    return decode(webp.without_extras(data))


def _jpeg(data: bytes, decode: Decode) -> Decoded | None:
    data = jpeg.without_extras(data)
    with contextlib.suppress(DamagedError):
        return decode(data)
    frame = jpeg.frame_of(data)
    if not frame or not frame.has_all_scans:
        return None
    first, second = map(decode, jpeg.completions(data))
    return first if _is_nearly_whole(np.asarray(first.image), np.asarray(second.image)) else None


def _is_nearly_whole(first: np.ndarray, second: np.ndarray) -> bool:
    """Whether two completions differ in so few pixels, counted from the first one to the end, that few were missing."""
    differing = first != second
    if differing.ndim == 3:
        differing = differing.any(axis=2)
    rows = np.flatnonzero(differing.any(axis=1))
    if not rows.size:
        return True
    height, width = differing.shape
    block = min(16, height - rows[0])
    missing = (height - rows[0]) - block * int(differing[rows[0]].argmax()) / width
    return bool(missing <= max(_FEW_ROWS, _FEW * height))


def _uncompressed(data: bytes, decode: Decode) -> Decoded:
    """BMP and TIFF may hold their rows as they are; the few bytes that lack at the end become black."""
    return decode(data + bytes(16 + int(_FEW * len(data))))


_MENDERS = (
    (b"\xff\xd8\xff", _jpeg),
    (b"\x89PNG", _png),
    (b"RIFF", _webp),
    (b"BM", _uncompressed),
    (b"II*\0", _uncompressed),
    (b"MM\0*", _uncompressed),
)

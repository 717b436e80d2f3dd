"""Open a photo from an untrusted source: `open_photo("holiday.heic")` is an upright RGB image, or raises `PhotoError`.

Formats are JPEG, MPO, PNG, WebP, GIF, TIFF, BMP, HEIC and AVIF. Neither the file's name nor its header is trusted.
"""

import contextlib
import io
import math
import os
import threading
from pathlib import Path
from typing import IO, NamedTuple

from PIL import ExifTags, Image
from PIL.JpegImagePlugin import JpegImageFile

from landmark_models.errors import PhotoError, reason
from landmark_models.imaging import png
from landmark_models.imaging.containers import MAX_ASPECT, MAX_PIXELS, check_size, open_container
from landmark_models.imaging.kinds import unsupported_kind
from landmark_models.imaging.mending import DamagedError, Decoded, decode_or_mend
from landmark_models.imaging.pixels import to_rgb
from landmark_models.imaging.position import position_of

__all__ = [
    "DECODED_MARGIN", "MAX_ASPECT", "MAX_BYTES", "MAX_PIXELS", "Photo", "ReadPhoto", "open_photo", "photo_name",
    "photo_position", "photo_size", "read_photo", "thumbnail",
]  # fmt: skip

Photo = str | os.PathLike[str] | bytes | bytearray | memoryview | IO[bytes] | Image.Image

DECODED_MARGIN = 1.5  # so that a 12-megapixel photo is decoded at 1/8 for a network of up to 250 px
MAX_BYTES = 64 * 2**20
_LARGE = 40_000_000  # pixels; of such photos one is decoded at a time, for the sake of memory

_TRANSPOSITIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SAYING_HOW_TO_TURN = ("exif", "Raw profile type exif", "xmp", "XML:com.adobe.xmp")  # entries in an image's `info`


class ReadPhoto(NamedTuple):
    """A photo, decoded once, and the facts of its file."""

    image: Image.Image  # upright, RGB
    bytes: int | None  # size of the file; None for a Pillow image
    size: tuple[int, int]  # width and height in px as stored
    position: tuple[float, float] | None  # latitude and longitude in WGS 84 degrees


def photo_name(photo: Photo) -> str:
    """What messages call the photo: its file name, or "the photo"."""
    if isinstance(photo, str | os.PathLike):
        return os.fspath(photo)
    name = getattr(photo, "filename", None) or getattr(photo, "name", None)
    return os.path.basename(name) if isinstance(name, str) and name else "the photo"


def _content(photo: str | os.PathLike[str] | bytes | bytearray | memoryview | IO[bytes], name: str) -> bytes:
    if isinstance(photo, bytes | bytearray | memoryview):
        data = bytes(photo)
    elif isinstance(photo, str | os.PathLike):
        if not os.fspath(photo):
            raise PhotoError("The path of the photo is empty.")
        if os.path.isdir(photo):
            raise PhotoError(f"{name} is a folder, not a photo.")
        if os.path.exists(photo) and not os.path.isfile(photo):
            raise PhotoError(f"{name} is a pipe, a socket or a device, not a photo.")  # opening it could block forever
        try:
            with Path(photo).open("rb") as file:
                data = file.read(MAX_BYTES + 1)
        except FileNotFoundError:
            raise PhotoError(f"{name} does not exist.") from None
        except (OSError, ValueError) as error:
            raise PhotoError(f"{name} can't be read: {reason(error)}.") from None
    else:
        try:
            data = photo.read(MAX_BYTES + 1)
        except (AttributeError, OSError, ValueError) as error:
            raise PhotoError(f"{name} is neither a path, bytes, an open binary file nor an image: {error}.") from None
    if not data:
        raise PhotoError(f"{name} is empty (0 bytes).")
    if len(data) > MAX_BYTES:
        raise PhotoError(f"{name} is larger than {MAX_BYTES // 2**20} MiB; send a smaller copy.")
    return data


def read_photo(photo: Photo, min_side: int | None = None) -> ReadPhoto:
    """The results of `open_photo` and `photo_position` and the file's facts, reading and decoding the photo once.

    It takes the arguments of `open_photo`.

    Raises:
        PhotoError: as `open_photo` does.
    """
    name = photo_name(photo)
    if isinstance(photo, Image.Image):
        check_size(photo, photo.size, b"", name)
        return _upright_rgb(_load(photo, name, photo.size, math.floor(1 / _scale(photo.size, min_side))), name, None)
    return _read_bytes(_content(photo, name), name, min_side)


def open_photo(photo: Photo, min_side: int | None = None) -> Image.Image:
    """Open a photo as an upright RGB image (uint8, `(height, width, 3)` as an array), in sRGB.

    An animation or a multi-picture file gives its first image; a TIFF the first that isn't a reduced copy.

    Args:
        photo: a path, the file's bytes, a binary file object, or a Pillow image.
        min_side: the shorter side, in pixels, that the caller will resize to. The photo is then read at the smallest
            size that still leaves `DECODED_MARGIN` times as many: a JPEG is decoded at one of its scales (1/1 to 1/8),
            which is several times faster; otherwise, each block of pixels becomes their mean.

    Raises:
        PhotoError: the photo doesn't exist, is empty, exceeds `MAX_BYTES`, `MAX_PIXELS` (a JPEG may have more if
            `min_side` lets it be decoded at a smaller scale) or `MAX_ASPECT`, isn't an image of a kind that is
            supported, or is damaged.
    """
    return read_photo(photo, min_side).image


def photo_position(photo: Photo) -> tuple[float, float] | None:
    """The camera's latitude and longitude from a photo's EXIF, in WGS 84 degrees; None if it gives no valid ones.

    Raises:
        PhotoError: the photo doesn't exist, is empty or too large, or isn't an image.
    """
    if isinstance(photo, Image.Image):
        return position_of(photo)
    name = photo_name(photo)
    data = _content(photo, name)
    try:
        return position_of(open_container(data, name))
    except DamagedError:
        return _read_bytes(data, name, 1).position


def photo_size(photo: Photo) -> tuple[int, int]:
    """The width and height in px of an upright photo, from its file's header alone where that is whole.

    Raises:
        PhotoError: as `photo_position` does.
    """
    if isinstance(photo, Image.Image):
        return photo.size
    name = photo_name(photo)
    data = _content(photo, name)
    try:
        image = open_container(data, name)
    except DamagedError:
        return _read_bytes(data, name, None).image.size
    with contextlib.suppress(Exception):  # malformed EXIF
        # For TIFF, Pillow gives the size of the upright photo.
        if image.format != "TIFF" and image.getexif()[ExifTags.Base.Orientation] in (5, 6, 7, 8):
            return image.size[::-1]
    return image.size


def thumbnail(photo: Photo, side: int = 96) -> bytes:
    """A JPEG of a photo whose longer side is at most `side` pixels, without metadata.

    Raises:
        PhotoError: the photo can't be read.
    """
    image = open_photo(photo, side).copy()
    image.thumbnail((side, side))
    image.info.clear()
    content = io.BytesIO()
    image.save(content, "JPEG", quality=80)
    return content.getvalue()


def _read_bytes(data: bytes, name: str, min_side: int | None) -> ReadPhoto:
    with contextlib.ExitStack() as turn:
        try:
            decoded = decode_or_mend(data, lambda content: _decode(content, name, min_side, turn))
        except DamagedError:
            if sentence := unsupported_kind(data, name):
                raise DamagedError(sentence) from None
            raise
        return _upright_rgb(decoded, name, len(data))


def _decode(data: bytes, name: str, min_side: int | None, turn: contextlib.ExitStack) -> Decoded:
    """Decode a file, at a reduced scale where that suffices; a large one waits for its `turn`."""
    image = open_container(data, name)
    size, scale, reduction = image.size, _scale(image.size, min_side), 1
    if scale < 1 and image.draft(None, (math.ceil(size[0] * scale), math.ceil(size[1] * scale))) is None:
        reduction = math.floor(1 / scale)
    check_size(image, size, data, name)
    if isinstance(image, JpegImageFile):
        image.decodermaxblock = len(data)  # an arithmetic decoder can't wait for the next block
    if math.prod(image.size) > _LARGE:
        turn.enter_context(_large_photos)
    again = open_container(data, name) if png.has_transparent_color_of_16_bits(image) else None
    return _load(image, name, size, reduction, again)


def _scale(size: tuple[int, int], min_side: int | None) -> float:
    least = math.inf if min_side is None else DECODED_MARGIN * min_side
    return least / min(size) if min(size) > least else 1.0


def _load(
    image: Image.Image, name: str, size: tuple[int, int], reduction: int, again: Image.Image | None = None
) -> Decoded:
    tiles = getattr(image, "tile", None)
    mode = tiles[0][3] if tiles else ""
    try:
        if again:
            png.make_transparent(image, again)
        image.load()
    except Exception as error:
        raise _damaged(name, error) from None
    return Decoded(image, mode if isinstance(mode, str) else str(mode[0]) if mode else "", size, reduction)


def _damaged(name: str, error: Exception) -> DamagedError:
    """The error for a photo whose pixels can't be decoded; the decoder's own words are a note for programmers."""
    damaged = DamagedError(f"{name} is damaged and can't be decoded; send another copy.")
    damaged.add_note(f"The decoder says: {error}")
    return damaged


def _upright_rgb(decoded: Decoded, name: str, length: int | None) -> ReadPhoto:
    try:
        image = to_rgb(decoded.image, decoded.raw_mode, decoded.reduction)
        return ReadPhoto(_upright(image, decoded.image), length, decoded.size, position_of(decoded.image))
    except Exception as error:
        raise _damaged(name, error) from None


def _upright(image: Image.Image, original: Image.Image) -> Image.Image:
    """An image turned as the EXIF of the one that it was made from says."""
    with contextlib.suppress(Exception):  # malformed EXIF: the photo itself is fine
        turned = image.transpose(_TRANSPOSITIONS[original.getexif()[ExifTags.Base.Orientation]])
        for key in _SAYING_HOW_TO_TURN:  # or it would be turned again when it is opened again
            turned.info.pop(key, None)
        return turned
    return image


_large_photos = threading.RLock()


def _after_fork() -> None:
    global _large_photos
    _large_photos = threading.RLock()  # another thread may have held the parent's


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)

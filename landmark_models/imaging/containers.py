"""From a file's bytes to an opened image: by its content, whatever its name, and without touching Pillow's globals."""

import functools
import io
import math
from collections.abc import Callable
from typing import IO

from PIL import Image, TiffImagePlugin

from landmark_models.errors import PhotoError
from landmark_models.imaging.jpeg import frame_of
from landmark_models.imaging.kinds import unsupported_kind
from landmark_models.imaging.mending import DamagedError

MAX_PIXELS = 128_000_000
MAX_JPEG_PIXELS = 400_000_000  # of one that is decoded at a reduced size
MAX_ASPECT = 50  # resizing the shorter side of a 1 x 20,000 px photo to a network's input would take gigabytes
_MAX_WEBP_PIXELS = 60_000_000  # its decoder takes 16 bytes for each
_MAX_SCANS, _MAX_SCANNED = 200, 2_500_000_000  # of a JPEG, and the pixels of all scans: each takes time anew

_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF", "HEIF")  # never EPS, PDF and the like
_MAX_PAGES = 8  # of a TIFF, that are looked at for one at full size
_TAG_SUBFILE_TYPE, _REDUCED = 254, 1
_TAG_BITS, _PLANES = 258, tuple("RGBACMYK")

_Format = tuple[str, Callable[[bytes], bool | str], Callable[[IO[bytes], str], Image.Image]]


@functools.cache
def _formats() -> list[_Format]:
    """The formats that this installation can read: the name, what recognises a beginning, and what opens a file."""
    Image.init()
    found: list[_Format] = []
    for name in _FORMATS:
        if name == "HEIF":
            try:
                import pi_heif
            except ImportError:
                continue
            # Registered with Pillow, it would change what the rest of the process can open.
            found.append((name, lambda start: pi_heif.is_supported(io.BytesIO(start)), pi_heif.HeifImageFile))
        elif name in Image.OPEN:
            factory, accept = Image.OPEN[name]
            found.append((name, accept or (lambda start: True), factory))
    return found


def open_container(data: bytes, name: str) -> Image.Image:
    """An image whose pixels aren't decoded yet.

    Raises:
        PhotoError: it isn't an image, one of a kind that can't be read, or its header is damaged; `name` stands in it.
    """
    for kind, accept, factory in _formats():
        try:
            if accept(data[:32]) is True:
                image = factory(io.BytesIO(data), "")
                return _whole_samples(_full_size_page(image)) if kind == "TIFF" else image
        except Exception:  # each of Pillow's plug-ins raises its own errors on a malformed header
            continue
    raise DamagedError(
        unsupported_kind(data, name)
        or f"{name} is not an image that can be read (JPEG, PNG, WebP, GIF, TIFF, BMP, HEIC or AVIF)."
    )


def _full_size_page(image: Image.Image) -> Image.Image:
    """The first page of a TIFF that isn't a reduced copy of another one; the first, if all are."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile) or not _is_reduced(image):
        return image
    try:
        for page in range(1, _MAX_PAGES):
            image.seek(page)
            if not _is_reduced(image):
                return image
    except Exception:  # no more pages, or a damaged one
        pass
    image.seek(0)
    return image


def _whole_samples(image: Image.Image) -> Image.Image:
    """A TIFF whose uncompressed planes of 16 bits are decoded as such; Pillow takes them for planes of 8."""
    if isinstance(image, TiffImagePlugin.TiffImageFile) and image.tag_v2.get(_TAG_BITS, (8,))[0] == 16:
        order = "L" if image.tag_v2.prefix == b"II" else "B"
        image.tile = [
            tile._replace(args=(f"{tile.args[0]};16{order}", *tile.args[1:]))
            if tile.codec_name == "raw" and isinstance(tile.args, tuple) and tile.args[0] in _PLANES
            else tile
            for tile in image.tile
        ]
    return image


def _is_reduced(page: TiffImagePlugin.TiffImageFile) -> bool:
    kind = page.tag_v2.get(_TAG_SUBFILE_TYPE, 0)
    return isinstance(kind, int) and bool(kind & _REDUCED)


def check_size(image: Image.Image, stored: tuple[int, int], data: bytes, name: str) -> None:
    """Refuse a photo that would take too much memory or time to decode.

    Args:
        image: the opened image, with the size that it will be decoded at.
        stored: its width and height in the file, in px.
        data: the file.
        name: what messages call it.

    Raises:
        PhotoError: it has no pixels, too many, or sides that are too different.
    """
    width, height = stored
    if min(stored) < 1:
        raise PhotoError(f"{name} has {width} x {height} pixels: there is nothing to see.")
    if max(stored) > MAX_ASPECT * min(stored):
        raise PhotoError(
            f"{name} has {width} x {height} pixels, more than {MAX_ASPECT} times as long as wide; crop it."
        )
    most = _MAX_WEBP_PIXELS if image.format == "WEBP" else MAX_PIXELS
    if image.format in ("JPEG", "MPO") and (frame := frame_of(data, most_scans=1)):
        # A decoder keeps all coefficients of a buffered JPEG, whatever size it reduces it to, and reads each scan.
        most_scans = min(_MAX_SCANS, _MAX_SCANNED // (width * height))
        if frame.is_buffered and (scans := data.count(b"\xff\xda")) > most_scans:
            raise PhotoError(f"{name} is a JPEG of {scans} scans, more than {most_scans}; save it without progression.")
        if not frame.is_buffered and math.prod(image.size) <= MAX_PIXELS:
            most = MAX_JPEG_PIXELS
    if width * height > most:
        raise PhotoError(
            f"{name} has {width} x {height} pixels, more than the {most // 10**6} million that are accepted; "
            "send a smaller copy."
        )

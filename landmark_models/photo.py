"""Open a photo from an untrusted source: `open_photo("holiday.heic")` is an upright RGB image, or raises `PhotoError`.

Formats are JPEG, MPO, PNG, WebP, GIF, TIFF, BMP, HEIC and AVIF. Neither the file's name nor its header is trusted.
"""

import contextlib
import functools
import io
import math
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import numpy as np
from PIL import ExifTags, Image, ImageCms, ImageOps

from landmark_models.errors import PhotoError, reason

__all__ = [
    "DECODED_MARGIN", "MAX_ASPECT", "MAX_BYTES", "MAX_PIXELS", "Photo", "open_photo", "photo_name",
    "photo_position", "read_photo", "thumbnail",
]  # fmt: skip

# Pillow warns about odd metadata and about large images; here a photo is either read or refused with a `PhotoError`.
warnings.filterwarnings("ignore", module=r"PIL\.")

Photo = str | os.PathLike[str] | bytes | bytearray | memoryview | IO[bytes] | Image.Image

DECODED_MARGIN = 1.5  # so that a 12-megapixel photo is decoded at 1/8 for a network of up to 250 px
MAX_BYTES = 64 * 2**20
MAX_PIXELS = 128_000_000
MAX_ASPECT = 50  # resizing the shorter side of a 1 x 20,000 px photo to a network's input would take gigabytes

_FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "GIF", "TIFF", "BMP", "HEIF", "AVIF")


@functools.cache
def _readable_formats() -> tuple[str, ...]:
    """The formats we accept that this installation of Pillow can read; never EPS, PDF and the like."""
    try:
        import pi_heif
    except ImportError:
        pass
    else:
        pi_heif.register_heif_opener()
    Image.init()
    return tuple(name for name in _FORMATS if name in Image.OPEN)


def photo_name(photo: Photo) -> str:
    """What messages call the photo: its file name, or "the photo"."""
    if isinstance(photo, str | os.PathLike):
        return os.fspath(photo)
    name = getattr(photo, "filename", None) or getattr(photo, "name", None)
    return os.path.basename(name) if isinstance(name, str) and name else "the photo"


def _read(photo: str | os.PathLike[str] | bytes | bytearray | memoryview | IO[bytes], name: str) -> bytes:
    if isinstance(photo, bytes | bytearray | memoryview):
        data = bytes(photo)
    elif isinstance(photo, str | os.PathLike):
        path = Path(photo)
        if os.path.isdir(path):
            raise PhotoError(f"{name} is a folder, not a photo.")
        try:
            with path.open("rb") as file:
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


def _check_pixels(size: tuple[int, int], name: str) -> None:
    if max(size) > MAX_ASPECT * min(size):
        raise PhotoError(
            f"{name} has {size[0]} x {size[1]} pixels, more than {MAX_ASPECT} times as long as wide; crop it."
        )
    if math.prod(size) > MAX_PIXELS:
        raise PhotoError(
            f"{name} has {size[0]} x {size[1]} pixels, more than the {MAX_PIXELS // 10**6} million that are accepted; "
            "send a smaller copy."
        )


def _to_rgb(image: Image.Image) -> Image.Image:
    """Any Pillow mode to RGB: transparency over white, 16 bits scaled to 8, CMYK with its own colour profile."""
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    if image.mode.startswith("I") or image.mode == "F":
        values = np.nan_to_num(np.asarray(image, dtype=np.float32))
        # 16-bit files use 0..65535, floating-point ones 0..1; values within 0..255 stay as they are.
        scale = 255 / 65535 if values.max() > 255 else 255.0 if image.mode == "F" and values.max() <= 1 else 1.0
        return Image.fromarray((values * scale).clip(0, 255).astype(np.uint8)).convert("RGB")
    if image.mode == "CMYK" and (profile := image.info.get("icc_profile")):
        with contextlib.suppress(ImageCms.PyCMSError, OSError):  # damaged: the conversion below is better than no photo
            source, target = ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB")
            if converted := ImageCms.profileToProfile(image, source, target, outputMode="RGB"):
                return converted
    return image.convert("RGB")


def _open(data: bytes, name: str) -> Image.Image:
    """An image whose pixels aren't decoded yet."""
    try:
        return Image.open(io.BytesIO(data), formats=_readable_formats())
    except Image.DecompressionBombError:
        raise PhotoError(
            f"{name} has more than the {MAX_PIXELS // 10**6} million pixels that are accepted; send a smaller copy."
        ) from None
    except Exception:  # each of Pillow's plug-ins raises its own errors on a malformed header
        raise PhotoError(
            f"{name} is not an image that can be read (JPEG, PNG, WebP, GIF, TIFF, BMP, HEIC or AVIF)."
        ) from None


def photo_position(photo: Photo) -> tuple[float, float] | None:
    """The camera's latitude and longitude from a photo's EXIF, in WGS 84 degrees; None if it gives no valid ones.

    Raises:
        PhotoError: the photo doesn't exist, is empty or too large, or isn't an image.
    """
    if not isinstance(photo, Image.Image):
        name = photo_name(photo)
        photo = _open(_read(photo, name), name)
    try:
        gps = photo.getexif().get_ifd(ExifTags.IFD.GPSInfo)
        latitude = _degrees(gps[ExifTags.GPS.GPSLatitude], gps[ExifTags.GPS.GPSLatitudeRef], "S")
        longitude = _degrees(gps[ExifTags.GPS.GPSLongitude], gps[ExifTags.GPS.GPSLongitudeRef], "W")
    except Exception:  # missing or malformed
        return None
    # Some cameras write zeros or nonsense until they receive a satellite.
    if not (abs(latitude) <= 90 and abs(longitude) <= 180) or (latitude, longitude) == (0, 0):
        return None
    return latitude, longitude


def _degrees(value: Sequence[float], reference: str, negative: str) -> float:
    degrees, minutes, seconds = map(float, value)
    size = degrees + minutes / 60 + seconds / 3600
    return -size if reference.strip("\0 ").upper() == negative else size


def open_photo(photo: Photo, min_side: int | None = None) -> Image.Image:
    """Open a photo as an upright RGB image (uint8, `(height, width, 3)` as an array).

    An animation or a multi-picture file gives its first image.

    Args:
        photo: a path, the file's bytes, a binary file object, or a Pillow image.
        min_side: the shorter side, in pixels, that the caller will resize to. A JPEG is then decoded at the smallest
            of its scales (1/1 to 1/8) that still leaves `DECODED_MARGIN` times as many. That is several times faster,
            and the last step uses the caller's filter, which is better than the decoder's. Other formats are decoded
            at full size.

    Raises:
        PhotoError: the photo doesn't exist, is empty, exceeds `MAX_BYTES`, `MAX_PIXELS` or `MAX_ASPECT`, isn't an
            image, or is damaged.
    """
    name = photo_name(photo)
    image = photo if isinstance(photo, Image.Image) else _open(_read(photo, name), name)
    _check_pixels(image.size, name)
    return _decode(image, name, None if image is photo else min_side)


def thumbnail(photo: Photo, side: int = 96) -> bytes:
    """A JPEG of a photo whose longer side is at most `side` pixels, without metadata.

    Raises:
        PhotoError: the photo can't be read.
    """
    image = open_photo(photo, side)
    image.thumbnail((side, side))
    image.info.clear()
    content = io.BytesIO()
    image.save(content, "JPEG", quality=80)
    return content.getvalue()


def read_photo(
    file: str | os.PathLike[str], min_side: int
) -> tuple[Image.Image, int, tuple[int, int], tuple[float, float] | None]:
    """The results of `open_photo` and `photo_position`, reading the file once.

    Between them are the file's size in bytes, and the photo's width and height in px as stored.

    Raises:
        PhotoError: as `open_photo` does.
    """
    name = photo_name(file)
    if os.path.exists(file) and not os.path.isfile(file) and not os.path.isdir(file):
        raise PhotoError(f"{name} is a pipe, a socket or a device, not a photo.")  # opening it could block forever
    data = _read(file, name)
    image = _open(data, name)
    _check_pixels(image.size, name)
    size = image.size
    # Pillow decodes a PNG to find its EXIF, which would hide errors in its pixels from `_decode`.
    position = None if image.format == "PNG" else photo_position(image)
    decoded = _decode(image, name, min_side)
    return decoded, len(data), size, photo_position(image) if image.format == "PNG" else position


def _decode(image: Image.Image, name: str, min_side: int | None) -> Image.Image:
    """Decode an opened image, at a reduced scale where that suffices; the result is upright and RGB."""
    try:
        if min_side is not None and DECODED_MARGIN * min_side < min(image.size):
            scale = DECODED_MARGIN * min_side / min(image.size)
            image.draft(None, (math.ceil(image.width * scale), math.ceil(image.height * scale)))
        image.load()
        with contextlib.suppress(Exception):  # malformed EXIF: the photo itself is fine
            image = ImageOps.exif_transpose(image)
        return _to_rgb(image)
    except Exception as error:
        raise PhotoError(f"{name} is damaged and can't be decoded ({error}); send another copy.") from None

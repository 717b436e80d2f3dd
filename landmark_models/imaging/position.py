"""The position in a photo's EXIF, read as exiftool reads it; a hemisphere that isn't stated is never guessed."""

import math
import re
from collections.abc import Iterable
from typing import Any

from PIL import ExifTags, Image

_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[Ee][+-]\d+)?")


def position_of(image: Image.Image) -> tuple[float, float] | None:
    """Latitude and longitude in WGS 84 degrees from an image's EXIF; None if it doesn't state a valid position.

    GPSStatus isn't looked at: some drones mark good positions as void.
    """
    try:
        gps = image.getexif().get_ifd(ExifTags.IFD.GPSInfo)
        latitude = _degrees(gps[ExifTags.GPS.GPSLatitude]) * _sign(gps[ExifTags.GPS.GPSLatitudeRef], "NS")
        longitude = _degrees(gps[ExifTags.GPS.GPSLongitude]) * _sign(gps[ExifTags.GPS.GPSLongitudeRef], "EW")
    except Exception:  # missing or malformed
        return None
    # Some cameras write zeros or nonsense until they receive a satellite.
    if not (abs(latitude) <= 90 and abs(longitude) <= 180) or (latitude, longitude) == (0, 0):
        return None
    return latitude, longitude


def _degrees(value: Any) -> float:
    """Degrees, minutes and seconds, of which the last one or two may be missing, to degrees; never negative.

    The sign of the numbers is redundant: the hemisphere has its own field.
    """
    degrees, minutes, seconds, *_ = [*map(float, _numbers(value)), 0.0, 0.0]
    size = abs(degrees + minutes / 60 + seconds / 3600)
    if not math.isfinite(size):  # a denominator of zero
        raise ValueError(f"{value!r} isn't an angle")
    return size


def _numbers(value: Any) -> Iterable[Any]:
    if isinstance(value, bytes) and len(value) <= 3:  # typed BYTE: one for each number
        return value
    if isinstance(value, bytes):
        value = value.decode("latin-1")
    if isinstance(value, str):
        return _NUMBER.findall(value)[:3]
    return value[:3] if isinstance(value, tuple) else (value,)


def _sign(reference: str | bytes, letters: str) -> int:
    """1 or -1 for a reference such as "N", "south" or b"W", by its first letter, of which `letters` gives both."""
    text = reference.decode("latin-1") if isinstance(reference, bytes) else reference
    return 1 - 2 * letters.index(text.strip("\0 ").upper()[0])

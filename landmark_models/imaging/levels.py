"""Which values of a grey or floating-point image are black and white, and the image in eight bits."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_SAMPLE = 1_000_000  # pixels that the range of values is estimated from, at most
_TAG_BITS, _TAG_PHOTOMETRIC, _TAG_SAMPLE_FORMAT = 258, 262, 339
_TAGS_MIN, _TAGS_MAX = (340, 280), (341, 281)  # of samples of any type, of integers
_WHITE_IS_ZERO, _UNSIGNED, _SIGNED = 0, 1, 2


@dataclass(frozen=True)
class Levels:
    """The values that are shown as black and as white."""

    black: float
    white: float
    kind: type[np.generic] | None = None  # of the values, where Pillow takes their bits for another one's

    @classmethod
    def of(cls, image: Image.Image, raw_mode: str) -> "Levels | None":
        """The levels of a decoded image; None if its eight bits are its values.

        They are what the file states. Where it states nothing, they come from percentiles, never from single pixels.
        """
        tags = getattr(image, "tag_v2", {})
        if image.mode in ("RGB", "RGBA") and ";16" in raw_mode and tags:
            return cls._of_high_bytes(image)
        kind = _misread_type(image.mode, tags)
        if not (image.mode.startswith("I") or image.mode == "F" or kind):
            return None
        if image.format == "PNG":
            return cls(0, 65535)
        levels = cls(*_range(_sample(image, kind), tags, image.mode == "F"), kind)
        inverted = image.mode != "L" and tags.get(_TAG_PHOTOMETRIC) == _WHITE_IS_ZERO
        return cls(levels.white, levels.black, kind) if inverted else levels

    @classmethod
    def _of_high_bytes(cls, image: Image.Image) -> "Levels | None":
        """For colours of 16 bits, of which Pillow keeps the upper eight: 12 or 14 bits would look black."""
        high = _percentile(np.asarray(image.reduce(max(1, round(math.sqrt(math.prod(image.size) / _SAMPLE))))), 99.5)
        white = next((white for white in (3, 15, 63) if high <= white), 255)
        return cls(0, white) if high > 0 and white < 255 else None

    def apply(self, strip: Image.Image, transparent: Any = None) -> Image.Image:
        """A strip of the image in 8 bits: RGB, RGBA, L, or LA if some values are `transparent`. NaN becomes black."""
        values = _values(strip, self.kind)
        with np.errstate(invalid="ignore", over="ignore"):
            shares = (values.astype(np.float32) - self.black) / ((self.white - self.black) or 1)
        eight_bits = (np.nan_to_num(shares, nan=0.0, posinf=1.0, neginf=0.0).clip(0, 1) * 255 + 0.5).astype(np.uint8)
        result = Image.fromarray(eight_bits)
        if isinstance(transparent, int):
            result.putalpha(Image.fromarray(np.where(values == transparent, 0, 255).astype(np.uint8)))
        return result


def _misread_type(mode: str, tags: Any) -> type[np.generic] | None:
    """The type of a TIFF's samples, where Pillow takes unsigned ones for signed ones or the other way round."""
    bits, sample_format = _number(tags, _TAG_BITS), _number(tags, _TAG_SAMPLE_FORMAT)
    if mode == "I" and bits == 32 and sample_format in (None, _UNSIGNED):
        return np.uint32
    return np.int8 if mode == "L" and bits == 8 and sample_format == _SIGNED else None


def _values(image: Image.Image, kind: type[np.generic] | None) -> NDArray[Any]:
    values = np.asarray(image)
    return values.view(kind) if kind else values


def _sample(image: Image.Image, kind: type[np.generic] | None) -> NDArray[Any]:
    """Evenly spaced pixels of the image, those of whole rows; only finite ones."""
    step = math.ceil(math.prod(image.size) / _SAMPLE)
    rows = [_values(image.crop((0, y, image.width, y + 1)), kind) for y in range(0, image.height, step)]
    values = np.concatenate(rows, axis=None)
    return values[np.isfinite(values)]


def _range(sample: NDArray[Any], tags: Any, is_float: bool) -> tuple[float, float]:
    """The values of black and white."""
    if not sample.size:
        return 0, 1
    low, high = _percentile(sample, 0.5), _percentile(sample, 99.5)
    stated = _stated(tags, high)
    if stated:
        return stated
    if low < 0:
        return low, high
    bits = _number(tags, _TAG_BITS) or 0
    bits -= _number(tags, _TAG_SAMPLE_FORMAT) == _SIGNED  # the sign's
    if 0 < bits < 15 and not is_float:
        return 0, 2**bits - 1
    if is_float and (positive := sample[sample > 0]).size:
        typical = _percentile(positive, 75)
        if 1 / 64 <= typical <= 1.5:
            return 0, 1
        if typical <= 8:  # neither 0 to 1 nor 0 to 255
            return 0, high or typical
        if typical <= 255:
            return 0, 255
    if high > 65535:
        return 0, high
    used = max(8, 2 * math.ceil(math.log2(high + 1) / 2))  # 8, 10, 12, 14 or 16 bits
    return 0, 2 ** min(used, bits or used) - 1


def _stated(tags: Any, high: float) -> tuple[float, float] | None:
    """The range that a TIFF states, unless most of its values contradict it or it says only how many bits there are."""
    white = next((value for tag in _TAGS_MAX if (value := _number(tags, tag)) is not None), None)
    black = next((value for tag in _TAGS_MIN if (value := _number(tags, tag)) is not None), 0.0)
    if white is None or not math.isfinite(white - black) or white <= black or high > white:
        return None
    return None if white == 2 ** (_number(tags, _TAG_BITS) or 0) - 1 else (black, white)


def _number(tags: Any, tag: int) -> float | None:
    value = tags.get(tag)
    value = value[0] if isinstance(value, tuple) and value else value
    return float(value) if isinstance(value, int | float) else None


def _percentile(values: NDArray[Any], share: float) -> float:
    return float(np.percentile(values, share, method="lower" if share > 50 else "higher"))

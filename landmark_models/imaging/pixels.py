"""From any mode that Pillow decodes to RGB as a person would see it: depth, transparency, colour profile.

The work is done in strips, so that a large image needs little memory beside its own pixels.
"""

import functools
import io
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from PIL import Image, ImageCms

from landmark_models.imaging.levels import Levels

_STRIP = 4_000_000  # pixels that are converted at a time
_LARGEST_PROFILE = 8 * 2**20  # bytes
_NEARLY_SRGB = 3  # of 255: a profile that changes no colour by more isn't worth a conversion

_Conversion = Callable[[Image.Image], Image.Image]


def to_rgb(image: Image.Image, raw_mode: str = "", reduction: int = 1) -> Image.Image:
    """A decoded image as RGB: transparency over white, any depth as 8 bits, any embedded profile as sRGB.

    Args:
        image: an image of any mode, with its pixels decoded.
        raw_mode: how the file stores a pixel, in Pillow's terms, such as "RGB;16B"; "" if that isn't known.
        reduction: each side becomes this many times smaller. A pixel is then the mean of those that it replaces.
    """
    levels = Levels.of(image, raw_mode)
    transparent = _transparent_value(image, raw_mode)
    opaque = not image.has_transparency_data if transparent is None else False
    # An alpha channel of nothing but zeros is one that the program which wrote the bitmap didn't know of.
    opaque = opaque or (
        image.format in ("BMP", "DIB") and image.mode == "RGBA" and image.getchannel("A").getextrema() == (0, 0)
    )
    to_srgb = _conversion(image)
    if image.mode == "RGB" and opaque and not levels and not to_srgb:
        return image.reduce(reduction) if reduction > 1 else image
    result = Image.new("RGB", (-(-image.width // reduction), -(-image.height // reduction)))
    for top, strip in _strips(image, reduction):
        strip = levels.apply(strip, transparent) if levels else _averageable(strip, transparent, opaque)
        strip = strip.reduce(reduction) if reduction > 1 else strip
        result.paste(_over_white(strip, to_srgb), (0, top // reduction))
    return result


def _strips(image: Image.Image, reduction: int) -> Iterator[tuple[int, Image.Image]]:
    rows = max(_STRIP // image.width // reduction, 1) * reduction
    for top in range(0, image.height, rows):
        yield top, image.crop((0, top, image.width, min(top + rows, image.height)))


def _transparent_value(image: Image.Image, raw_mode: str) -> Any:
    """What is transparent in the decoded image: a grey value, a colour, a palette index or all their alphas."""
    value = image.info.get("transparency")
    if raw_mode in ("L;2", "L;4") and isinstance(value, int):  # Pillow spreads the pixels over 0 to 255, not this
        return value * (85 if raw_mode == "L;2" else 17)
    if raw_mode.startswith("RGB;16") or (isinstance(value, tuple) and max(value) > 255):
        return None  # the eight bits that are left can't tell it from its 255 neighbours
    return value


def _averageable(strip: Image.Image, transparent: Any, opaque: bool) -> Image.Image:
    """A strip in a mode whose pixels have a mean: RGB, RGBA, L, LA, CMYK or LAB."""
    grey = strip.mode in ("1", "L", "LA", "La")
    if opaque or (transparent is None and "transparency" in strip.info and not strip.mode.endswith(("A", "a"))):
        strip.info.pop("transparency", None)
        return strip if strip.mode in ("CMYK", "LAB") else strip.convert("L" if grey else "RGB")
    if strip.mode == "1":
        strip = strip.convert("L")
    if transparent is not None:
        strip.info["transparency"] = transparent
    return strip.convert("LA" if grey else "RGBA")


def _over_white(strip: Image.Image, to_srgb: _Conversion | None) -> Image.Image:
    alpha = strip.getchannel("A") if strip.mode in ("LA", "RGBA") else None
    colors = strip.convert(strip.mode[:-1]) if alpha else strip
    colors = to_srgb(colors) if to_srgb else colors.convert("RGB")
    if alpha is None:
        return colors
    white = Image.new("RGB", strip.size, "white")
    white.paste(colors, mask=alpha)
    return white


def _conversion(image: Image.Image) -> _Conversion | None:
    """What turns an opaque strip of this image into sRGB; None where that is Pillow's own conversion."""
    if image.mode == "LAB":
        profile, mode = None, "LAB"
    else:
        profile = image.info.get("icc_profile")
        mode = "CMYK" if image.mode == "CMYK" else "RGB" if image.mode[:1] in "RPY" or image.mode == "HSV" else "L"
        if not profile or len(profile) > _LARGEST_PROFILE or _is_nearly_srgb(profile, mode):
            return None
    transform = _transform(profile, mode, threading.get_ident())
    return lambda strip: transform.apply(strip)


@functools.lru_cache(maxsize=16)
def _transform(profile: bytes | None, mode: str, thread: int) -> ImageCms.ImageCmsTransform:
    """From a profile, or Lab, to sRGB; one for each thread, since a transform keeps a state.

    Raises:
        ValueError: the profile is damaged, or one of other colours than the mode's.
    """
    del thread
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile) if profile else ImageCms.createProfile("LAB"))
        space = source.profile.xcolor_space.strip()
        if profile and space != {"L": "GRAY"}.get(mode, mode):
            raise ValueError(f"a profile of {space}, not of {mode}")
        return ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
    except (ImageCms.PyCMSError, OSError) as error:
        raise ValueError(str(error)) from None


@functools.lru_cache(maxsize=16)
def _is_nearly_srgb(profile: bytes, mode: str) -> bool:
    """Whether a profile changes no colour visibly; also true of one that can't be used."""
    try:
        transform = _transform(profile, mode, threading.get_ident())
    except ValueError:
        return True
    if mode == "CMYK":
        return False
    steps = np.linspace(0, 255, 7 if mode == "RGB" else 256).astype(np.uint8)
    grid = np.stack(np.meshgrid(*[steps] * len(mode)), axis=-1).reshape(1, -1, len(mode))
    converted = transform.apply(Image.fromarray(grid.squeeze(2) if mode == "L" else grid))
    return bool(np.abs(np.asarray(converted, dtype=int) - grid).max() <= _NEARLY_SRGB)

"""What Pillow leaves out of PNG: pixels of a file with damaged chunks, and one transparent colour of 16 bits."""

import struct
import zlib
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PIXELS = (b"IHDR", b"PLTE", b"IDAT")
_EXTRAS = (b"tRNS", b"eXIf")
_LARGEST_PROFILE = 8 * 2**20  # bytes
_STRIP = 256  # rows that are compared at a time


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes, int]]:
    """Type, content and stated checksum of each chunk; the last one may be cut short."""
    position = len(_SIGNATURE)
    while position + 8 <= len(data):
        length, kind = struct.unpack(">I4s", data[position : position + 8])
        content = data[position + 8 : position + 8 + length]
        end = data[position + 8 + length : position + 12 + length]
        # What the end of the file cut off can't be checked.
        yield kind, content, struct.unpack(">I", end)[0] if len(end) == 4 else zlib.crc32(kind + content)
        position += 12 + length


def without_extras(data: bytes) -> tuple[bytes, bytes | None]:
    """The file with nothing but its pixels, their transparency and EXIF, and an end; and its colour profile.

    A wrong checksum counts in the pixels alone. Other chunks are left out if theirs is wrong.
    """
    kept, profile = [_SIGNATURE], None
    for kind, content, checksum in _chunks(data):
        is_whole = zlib.crc32(kind + content) == checksum
        if kind in _PIXELS or (kind in _EXTRAS and is_whole):
            kept.append(struct.pack(">I4s", len(content), kind) + content + struct.pack(">I", checksum))
        elif kind == b"iCCP" and is_whole:
            profile = _profile(content)
        elif kind == b"IEND":
            break
    end = struct.pack(">I4sI", 0, b"IEND", zlib.crc32(b"IEND"))
    return b"".join([*kept, end]), profile


def _profile(content: bytes) -> bytes | None:
    """A profile from its name, a zero, the method (0) and its compressed bytes."""
    try:
        profile = zlib.decompressobj().decompress(content.partition(b"\0")[2][1:], _LARGEST_PROFILE)
    except zlib.error:
        return None
    return profile or None


def has_transparent_color_of_16_bits(image: Image.Image) -> bool:
    """Whether an opened image, not decoded yet, is a PNG that needs `make_transparent`."""
    return (
        image.format == "PNG"
        and "transparency" in image.info
        and any(tile.args == "RGB;16B" for tile in getattr(image, "tile", ()))
    )


def make_transparent(image: Image.Image, again: Image.Image) -> None:
    """Decode an image with a transparent colour of 16 bits, and give it an alpha channel.

    Pillow keeps the upper eight bits, in which other colours look like the transparent one.

    Args:
        image: the opened image of mode RGB, of 16 bits, not decoded yet.
        again: the same file, opened a second time; it is closed.
    """
    assert isinstance(again, ImageFile.ImageFile)
    color = image.info.pop("transparency")
    again.tile = [tile._replace(args="RGB;16L") for tile in again.tile]  # the lower eight bits
    clear = _where(again, [value & 255 for value in color])
    again.close()  # before the other one needs as much memory
    clear &= _where(image, [value >> 8 for value in color])
    image.putalpha(Image.fromarray(~(clear.view(np.uint8) * np.uint8(255))))


def _where(image: Image.Image, color: Sequence[int]) -> NDArray[np.bool_]:
    """Which pixels have this colour, found in strips for the sake of memory."""
    found = []
    for top in range(0, image.height, _STRIP):
        strip = image.crop((0, top, image.width, min(top + _STRIP, image.height)))
        red, green, blue = (np.asarray(strip.getchannel(band)) == value for band, value in enumerate(color))
        found.append(red & green & blue)
    return np.concatenate(found)

"""A PNG file without the chunks that Pillow refuses it for, although its pixels are whole."""

import struct
import zlib
from collections.abc import Iterator

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PIXELS = (b"IHDR", b"PLTE", b"IDAT")
_EXTRAS = (b"tRNS", b"eXIf")
_LARGEST_PROFILE = 8 * 2**20  # bytes


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

"""A WebP file without the chunks that it is refused for, although its pixels are whole."""

import struct

_PIXELS = (b"ANIM", b"ANMF", b"ALPH", b"VP8 ", b"VP8L")
_EXTRAS = {b"ICCP": 0x20, b"EXIF": 0x08, b"XMP ": 0x04}  # and their flags in the header


def without_extras(data: bytes) -> bytes:
    """The file with its pixels, and its colour profile and EXIF where those are whole; sizes and flags fit again."""
    header, chunks, flags = b"", [], 0
    position = 12
    while position + 8 <= len(data):
        kind, length = struct.unpack("<4sI", data[position : position + 8])
        content = data[position + 8 : position + 8 + length]
        if kind == b"VP8X":
            header = content
        elif len(content) == length and (kind in _PIXELS or kind in (b"ICCP", b"EXIF")):
            chunks.append(_chunk(kind, content))
            flags |= _EXTRAS.get(kind, 0)
        position += 8 + length + length % 2
    if header:
        chunks.insert(0, _chunk(b"VP8X", bytes([header[0] & ~sum(_EXTRAS.values()) | flags]) + header[1:]))
    content = b"WEBP" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(content)) + content


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack("<4sI", kind, len(content)) + content + bytes(len(content) % 2)

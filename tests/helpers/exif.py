"""EXIF with GPS fields of any type, as careless writers leave them."""

import struct

BYTE, ASCII, SHORT, LONG, RATIONAL, UNDEFINED, SIGNED_RATIONAL, DOUBLE = 1, 2, 3, 4, 5, 7, 10, 12
_FORMATS = {BYTE: "B", SHORT: "H", LONG: "I", RATIONAL: "II", SIGNED_RATIONAL: "ii", DOUBLE: "d"}

Field = tuple[int, object]


def _field(kind: int, value) -> tuple[int, bytes]:
    """Count and content of a field; rationals are pairs."""
    if kind in (ASCII, UNDEFINED):
        content = value if isinstance(value, bytes) else value.encode() + b"\0" * (kind == ASCII)
        return len(content), content
    values = value if isinstance(value, list) else [value]
    pack = "<" + _FORMATS[kind]
    return len(values), b"".join(struct.pack(pack, *(v if isinstance(v, tuple) else (v,))) for v in values)


def gps_exif(latitude: Field, latitude_ref: Field | None, longitude: Field, longitude_ref: Field | None) -> bytes:
    """EXIF as a JPEG holds it, with the four fields of a position, each of a type and a value."""
    fields = [(tag, field) for tag, field in enumerate((latitude_ref, latitude, longitude_ref, longitude), 1) if field]
    directory, extra, start = b"", b"", 26 + 2 + 12 * len(fields) + 4
    for tag, (kind, value) in fields:
        count, content = _field(kind, value)
        if len(content) > 4:
            place = struct.pack("<I", start + len(extra))
            extra += content + b"\0" * (len(content) % 2)
        else:
            place = content.ljust(4, b"\0")
        directory += struct.pack("<HHI", tag, kind, count) + place
    root = struct.pack("<HHHII", 1, 0x8825, 4, 1, 26) + struct.pack("<I", 0)
    gps = struct.pack("<H", len(fields)) + directory + struct.pack("<I", 0) + extra
    return b"Exif\0\0" + b"II*\0" + struct.pack("<I", 8) + root + gps

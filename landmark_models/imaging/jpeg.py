"""The structure of a JPEG file (ITU-T T.81): its frame and scans, and whether all that is missing is its end."""

import re
import struct
from typing import NamedTuple

_MARKER = re.compile(rb"\xff([\xc0-\xcf\xd8-\xfe])")
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_SCAN, _END = 0xDA, 0xD9
_KEPT = ((b"Exif\0", 0), (b"ICC_PROFILE\0", 0), (b"Adobe", 16), (b"JFIF\0", 18))  # and their least lengths, bytes
_WITHOUT_LENGTH = (0xD8, _END)


class Scan(NamedTuple):
    """Which components and coefficients a scan brings; `low` is the lowest bit of them that is known after it."""

    components: bytes
    first: int
    last: int
    low: int


class Frame(NamedTuple):
    """What a JPEG is: the start-of-frame marker, bits per sample, components, and the scans that begin in the file."""

    marker: int
    bits: int
    components: bytes
    scans: list[Scan]

    @property
    def is_progressive(self) -> bool:
        return self.marker == 0xC2

    @property
    def is_buffered(self) -> bool:
        """Whether a decoder must hold all coefficients in memory, since a scan doesn't bring all of a pixel."""
        return self.is_progressive or any(len(scan.components) < len(self.components) for scan in self.scans[:1])

    @property
    def has_all_scans(self) -> bool:
        """Whether each coefficient's lowest bit is in a scan that begins in the file."""
        needed = {(component, k) for component in self.components for k in (range(64) if self.is_progressive else [0])}
        for scan in self.scans:
            if scan.low == 0:
                needed -= {(component, k) for component in scan.components for k in range(scan.first, scan.last + 1)}
        return not needed


def frame_of(data: bytes, most_scans: int | None = None) -> Frame | None:
    """The frame of a JPEG file; None if the file ends before its first scan, or isn't a JPEG.

    Reading all scans takes a millisecond for a few megabytes; `most_scans` stops earlier.
    """
    frame: Frame | None = None
    position = 0
    while (frame is None or len(frame.scans) != most_scans) and (found := _MARKER.search(data, position)):
        marker, position = found[1][0], found.end()
        if marker == _END:
            break
        if marker in _WITHOUT_LENGTH:
            continue
        segment = data[position + 2 : position + struct.unpack(">H", data[position : position + 2].ljust(2, b"\0"))[0]]
        position += 2 + len(segment)
        if marker in _FRAMES and frame is None and len(segment) >= 6:
            frame = Frame(marker, segment[0], segment[6::3], [])
        elif marker == _SCAN and frame and segment and len(segment) >= 4 + 2 * segment[0]:
            count = segment[0]
            first, last, bits = segment[1 + 2 * count : 4 + 2 * count]
            frame.scans.append(Scan(segment[1 : 1 + 2 * count : 2], first, last, bits & 15))
    return frame if frame and frame.scans else None


def without_extras(data: bytes) -> bytes:
    """The file with nothing but its pixels, EXIF, profile and colour transform: without what may be damaged."""
    kept = bytearray(data[:2])
    position = 2
    while data[position : position + 1] == b"\xff" and data[position + 1] != _SCAN:
        length = struct.unpack(">H", data[position + 2 : position + 4])[0]
        marker, segment = data[position + 1], data[position : position + 2 + length]
        is_extra = 0xE0 <= marker <= 0xEF or marker == 0xFE
        if not is_extra or any(segment.startswith(mark, 4) and len(segment) >= least for mark, least in _KEPT):
            kept += segment
        position += 2 + length
    return bytes(kept) + data[position:]


def completions(data: bytes) -> tuple[bytes, bytes]:
    """A file without its end, completed in two ways: pixels that differ between them are those that are missing."""
    whole = data.rstrip(b"\xff")  # half of a marker
    return whole + b"\xff\xd9", whole + bytes(range(1, 255)) * 4 + b"\xff\xd9"

"""Colour profiles (ICC.1:2001) of a few numbers: primaries and a gamma."""

import struct

SRGB = ((0.4361, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7142))  # XYZ at D50: red, green, blue
DISPLAY_P3 = ((0.5151, 0.2412, -0.0011), (0.2920, 0.6922, 0.0419), (0.1571, 0.0666, 0.7841))
ADOBE_RGB = ((0.6097, 0.3111, 0.0195), (0.2053, 0.6257, 0.0609), (0.1492, 0.0632, 0.7446))
PROPHOTO = ((0.7977, 0.2880, 0.0), (0.1352, 0.7119, 0.0), (0.0313, 0.0001, 0.8249))
_WHITE = (0.9642, 1.0, 0.8249)


def _xyz(values: tuple[float, float, float]) -> bytes:
    return b"XYZ \0\0\0\0" + b"".join(struct.pack(">i", round(value * 65536)) for value in values)


def profile(primaries=None, gamma: float = 2.2, padding: int = 0) -> bytes:
    """A profile of an RGB space, or of greys without primaries; `padding` is the size of a text in it, bytes."""
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"
    text = b"desc\0\0\0\0" + struct.pack(">I", 2) + b"x\0" + bytes(78)
    tags = {b"desc": text, b"cprt": b"text\0\0\0\0" + b"x" * padding + b"\0", b"wtpt": _xyz(_WHITE)}
    if primaries:
        tags |= {b"rXYZ": _xyz(primaries[0]), b"gXYZ": _xyz(primaries[1]), b"bXYZ": _xyz(primaries[2])}
        tags |= {b"rTRC": curve, b"gTRC": curve, b"bTRC": curve}
    else:
        tags[b"kTRC"] = curve
    table, content, start = struct.pack(">I", len(tags)), b"", 132 + 12 * len(tags)
    for name, data in tags.items():
        data = data.ljust(-(-len(data) // 4) * 4, b"\0")
        table += struct.pack(">4sII", name, start + len(content), len(data))
        content += data
    space = b"RGB " if primaries else b"GRAY"
    header = struct.pack(">I4sI4s4s4s", start + len(content), b"lcms", 0x02400000, b"mntr", space, b"XYZ ")
    header += bytes(12) + b"acsp" + bytes(28) + struct.pack(">iii", *(round(v * 65536) for v in _WHITE))
    return header.ljust(128, b"\0") + table + content

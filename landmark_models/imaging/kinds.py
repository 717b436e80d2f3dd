"""What a file is that can't be read, in words."""

import io
from typing import Any

from PIL import TiffImagePlugin, TiffTags

from landmark_models.imaging.jpeg import frame_of

_OTHERS = (  # where the mark stands, the mark, and what it tells
    (0, b"\xff\x0a", "a JPEG XL image"),
    (4, b"JXL \r\n\x87\n", "a JPEG XL image"),
    (0, b"\xff\x4f\xff\x51", "a JPEG 2000 image"),
    (4, b"jP  \r\n\x87\n", "a JPEG 2000 image"),
    (4, b"ftypcrx", "a camera's raw image"),
    (0, b"FUJIFILMCCD-RAW", "a camera's raw image"),
    (0, b"IIRO", "a camera's raw image"),
    (0, b"IIRS", "a camera's raw image"),
    (0, b"IIU\0", "a camera's raw image"),
    (0, b"8BPS", "a Photoshop document"),
    (0, b"\x76\x2f\x31\x01", "an OpenEXR image"),
    (0, b"%PDF", "a PDF document"),
    (0, b"<svg", "an SVG drawing"),
    (4, b"ftypqt", "a video"),
    (4, b"ftypisom", "a video"),
    (4, b"ftypmp4", "a video"),
    (0, b"\x1a\x45\xdf\xa3", "a video"),
    (8, b"AVI LIST", "a video"),
)
_SAMPLES = {1: "integers", 2: "signed integers", 3: "floating-point numbers", 5: "complex integers", 6: "complex"}


def unsupported_kind(data: bytes, name: str) -> str | None:
    """A sentence that names the kind of a file that isn't supported; None if the file tells nothing."""
    for position, mark, kind in _OTHERS:
        if data.startswith(mark, position):
            return f"{name} is {kind}, which isn't supported; save it as JPEG."
    if data.startswith(b"\xff\xd8\xff") and (jpeg := _jpeg_kind(data)):
        return f"{name} is a JPEG {jpeg}, which isn't supported; save it as a common JPEG."
    if data.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
        return f"{name} is damaged, or a kind of TIFF that isn't supported: {_tiff_kind(data)}. Save it as JPEG."
    return None


def _jpeg_kind(data: bytes) -> str | None:
    if not (frame := frame_of(data)):
        return None
    if frame.bits != 8:
        return f"of {frame.bits} bits"
    if frame.marker in (0xC3, 0xC7, 0xCB, 0xCF):
        return "without loss"
    if frame.marker >= 0xC9:
        return "with arithmetic coding"
    if frame.marker >= 0xC5:
        return "in several frames"
    return None if len(frame.components) in (1, 3, 4) else f"of {len(frame.components)} components"


def _tiff_kind(data: bytes) -> str:
    """The samples and compression of the first page of a TIFF."""
    try:
        tags = TiffImagePlugin.ImageFileDirectory_v2(data[: 16 if 43 in data[2:4] else 8])  # 43: 64-bit offsets
        file = io.BytesIO(data)
        file.seek(tags.next)
        tags.load(file)
    except Exception:
        return "its header can't be read"

    def value(tag: int, default: Any) -> Any:
        found = tags.get(tag, default)
        return found[0] if isinstance(found, tuple) and found else found

    compression = value(259, 1)
    known = TiffTags.lookup(259).enum
    method = next((name for name, number in known.items() if number == compression), None)
    method = TiffImagePlugin.COMPRESSION_INFO.get(compression, method) or f"method {compression}"
    return (
        f"{value(277, 1)} samples a pixel, {_SAMPLES.get(value(339, 1), 'samples')} of {value(258, 1)} bits, "
        f"compression {method}"
    )

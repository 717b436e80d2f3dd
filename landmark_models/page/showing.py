"""What the browser shows of a photo: the file itself if it can, else a JPEG of it."""

import tempfile
from pathlib import Path

from PIL import Image

_MARKS = (  # where a file's mark stands, and the mark
    (0, b"\xff\xd8\xff"),  # JPEG
    (0, b"\x89PNG\r\n\x1a\n"),
    (0, b"GIF8"),
    (8, b"WEBP"),
    (4, b"ftypavif"),
    (0, b"BM"),
)


def browsers_show(file: Path) -> bool:
    """Whether every browser of today shows files of this kind; none but Safari shows HEIC or TIFF."""
    with file.open("rb") as content:
        head = content.read(16)
    return any(head.startswith(mark, position) for position, mark in _MARKS)


def write_picture(picture: Image.Image, folder: Path) -> Path:
    """A picture as a JPEG without metadata, in a new folder in `folder`."""
    file = Path(tempfile.mkdtemp(dir=folder)) / "photo.jpg"
    picture.save(file, "JPEG", quality=85)
    return file

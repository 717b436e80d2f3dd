"""Atomic file writes, digests, and the recursive search for photos."""

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from landmark_models.errors import reason

PART = ".part"  # suffix of an unfinished file

PHOTO_SUFFIXES = frozenset(
    [".jpg", ".jpeg", ".jpe", ".mpo", ".png", ".webp", ".gif", ".tif", ".tiff", ".bmp", ".heic", ".heif", ".avif"]
)


@contextmanager
def atomic_path(file: Path) -> Iterator[Path]:
    """A scratch path to write to, renamed to `file` when the block succeeds; otherwise `file` stays as it was."""
    scratch = file.with_name(f".{file.name}{PART}")
    scratch.unlink(missing_ok=True)  # left by a kill, or a link that would lead the content elsewhere
    try:
        yield scratch
        scratch.replace(file)
    finally:
        scratch.unlink(missing_ok=True)


def sha256(file: Path) -> str:
    """The SHA-256 of a file's content, as 64 hexadecimal digits."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def write_text(file: Path, content: str) -> None:
    """Write a text file (UTF-8) atomically."""
    with atomic_path(file) as scratch:
        scratch.write_text(content, encoding="utf-8", errors="surrogateescape")  # file names may not be UTF-8


def write_json(file: Path, content: Any) -> None:
    """Write a JSON file atomically."""
    write_text(file, json.dumps(content, indent=1) + "\n")


class Entry(NamedTuple):
    """The path of a photo, as Python decodes file names; or of something that can't be listed, and why not."""

    path: str
    error: str = ""


def is_photo_name(name: str) -> bool:
    """Whether a file name ends like a photo's and isn't hidden."""
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in PHOTO_SUFFIXES


def find_photos_below(folder: str | os.PathLike[str], walked: set[tuple[int, int]] | None = None) -> Iterator[Entry]:
    """The photos in a folder and all folders below it, by suffix, as they are found; hidden ones are left out.

    Links are followed, but no folder is listed twice, whichever way leads to it: folders are listed where they are, and
    a link is followed only if it leads outside everything walked so far. Paths begin with `folder` as it is given.
    Folders that can't be read and links to nowhere become entries with an `error`.

    `walked` are the roots of earlier walks, device and inode; this walk leaves out what those list, and adds its own.
    """
    walked = set() if walked is None else walked
    root = os.fspath(folder)
    if _is_below(os.path.realpath(root), walked):
        return
    if identity := _identity(root):
        walked.add(identity)
    links: list[str] = []
    failures: list[OSError] = []
    for parent, folders, names in os.walk(root, onerror=failures.append):
        folders[:] = [name for name in folders if not name.startswith(".")]
        links += filter(os.path.islink, (os.path.join(parent, name) for name in folders))
        folders[:] = [name for name in folders if _identity(os.path.join(parent, name)) not in walked]
        for name in filter(is_photo_name, names):
            path = os.path.join(parent, name)
            if not os.path.islink(path):
                yield Entry(path)
            elif entry := _linked_photo(path, walked):
                yield entry
    for link in links:
        yield from find_photos_below(link, walked)
    for error in failures:
        yield Entry(str(error.filename), f"The folder can't be listed: {reason(error)}.")


def _linked_photo(link: str, walked: set[tuple[int, int]]) -> Entry | None:
    """The photo that a link leads to; None where it is listed in its own place."""
    try:
        target = os.path.realpath(link, strict=True)
    except OSError as error:
        return Entry(link, f"The link leads nowhere: {reason(error)}.")
    return None if is_photo_name(os.path.basename(target)) and _is_below(target, walked) else Entry(link)


def _is_below(path: str, walked: set[tuple[int, int]]) -> bool:
    """Whether a walk reaches a real path: it starts at or above it, with no hidden folder in between."""
    for folder in [Path(path), *Path(path).parents]:
        if _identity(str(folder)) in walked:
            return True
        if folder.name.startswith("."):
            return False
    return False


def _identity(path: str) -> tuple[int, int] | None:
    """Device and inode; None where the path doesn't exist or may not be read."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino

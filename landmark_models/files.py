"""Files that are whole at any moment: written beside under another name, then renamed."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["PART", "atomic_path", "sha256", "write_json", "write_text"]

PART = ".part"  # how the name of an unfinished file ends


@contextmanager
def atomic_path(file: Path) -> Iterator[Path]:
    """A path to write to, which takes the name of `file` when the block has ended well; else `file` is as it was."""
    scratch = file.with_name(f".{file.name}{PART}")
    scratch.unlink(missing_ok=True)  # what a kill left there, or a link that would lead the content elsewhere
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
    """Write a text file (UTF-8), at once."""
    with atomic_path(file) as scratch:
        scratch.write_text(content, encoding="utf-8", errors="surrogateescape")  # names of files may be no UTF-8


def write_json(file: Path, content: Any) -> None:
    """Write a JSON file, at once."""
    write_text(file, json.dumps(content, indent=1) + "\n")

"""Files that are whole at any moment: written beside under another name, then renamed."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["PART", "beside", "write_json", "write_text"]

PART = ".part"  # how the name of an unfinished file ends


@contextmanager
def beside(file: Path) -> Iterator[Path]:
    """A path to write to, which takes the name of `file` when the block has ended well; else `file` is as it was."""
    scratch = file.with_name(f".{file.name}{PART}")
    scratch.unlink(missing_ok=True)  # what a kill left there, or a link that would lead the content elsewhere
    try:
        yield scratch
        scratch.replace(file)
    finally:
        scratch.unlink(missing_ok=True)


def write_text(file: Path, content: str) -> None:
    """Write a text file (UTF-8), at once."""
    with beside(file) as scratch:
        scratch.write_text(content, encoding="utf-8", errors="surrogateescape")  # names of files may be no UTF-8


def write_json(file: Path, content: Any) -> None:
    """Write a JSON file, at once."""
    write_text(file, json.dumps(content, indent=1) + "\n")

"""The photos in folders, lists and streams, one at a time."""

import codecs
import io
import os
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import cast
from urllib.parse import unquote_to_bytes

from landmark_models.errors import LandmarkError, reason
from landmark_models.files import PHOTO_SUFFIXES, Entry, find_photos_below, is_photo_content

_LONGEST_PATH = 32_768  # bytes, of a line in a list
_MARK = 64  # bytes that tell what a file is
_UNWRITABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def check_sources(sources: Sequence[str]) -> None:
    """Raise a LandmarkError if a source doesn't exist, or is a file that is neither a photo nor a list."""
    for source in sources:
        if source != "-" and not os.path.exists(source):
            raise LandmarkError(
                f"{source} doesn't exist; name folders, photos, text files of paths, or - for standard input."
            )
        if os.path.isfile(source) and not _is_photo_suffix(source):
            with _list_opened(source) as file:
                if not is_photo_content(start := file.read1(_LONGEST_PATH)):
                    _check_list(start, source)


def can_be_read_twice(sources: Sequence[str]) -> bool:
    """Whether none of them is a stream, such as standard input."""
    return all(source != "-" and (os.path.isdir(source) or os.path.isfile(source)) for source in sources)


def find_entries(sources: Sequence[str], left_out: Counter[str] | None = None) -> Iterator[Entry]:
    """Photos, in no particular order.

    A source is a folder, searched as `find_photos_below` does; a photo, known by its suffix or its first bytes; a text
    file of paths, one a line, or separated by NUL as `find -print0` writes them; or `-`, such a list on standard input.
    `left_out` counts what is left out of folders.

    Raises:
        LandmarkError: a list can't be read, or isn't one.
    """
    walked: set[tuple[int, int]] = set()
    for source in sources:
        if source == "-":
            yield from _listed(cast(io.BufferedReader, sys.stdin.buffer), "standard input")
        elif os.path.isdir(source):
            yield from find_photos_below(source, walked, left_out)
        elif _is_photo_suffix(source):
            yield Entry(source)
        else:
            with _list_opened(source) as file:
                if is_photo_content(file.peek(_MARK)):
                    yield Entry(source)
                else:
                    yield from _listed(file, source)


def written_path(path: str) -> str:
    """A path as the output has it: absolute, on one line and in UTF-8, so that it identifies the photo.

    A name with control characters or bytes that aren't UTF-8 becomes a `file:` URI (RFC 8089).
    """
    # beyond a link ".." is not where the path seems to lead
    path = os.path.join(os.getcwd(), path) if os.pardir in path.split(os.sep) else os.path.abspath(path)
    return Path(path).as_uri() if _UNWRITABLE.search(path) else path


def original_path(written: str) -> str:
    """The absolute path that `written_path` has written."""
    return os.fsdecode(unquote_to_bytes(written[len("file://") :])) if written.startswith("file:///") else written


def _is_photo_suffix(source: str) -> bool:
    return os.path.splitext(source)[1].lower() in PHOTO_SUFFIXES


@contextmanager
def _list_opened(source: str) -> Iterator[io.BufferedReader]:
    try:
        with open(source, "rb") as file:
            yield file
    except OSError as error:
        raise LandmarkError(f"The list {source} can't be read: {reason(error)}.") from None


def _check_list(start: bytes, name: str) -> None:
    if b"\0\0" in start or start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise LandmarkError(f"{name} isn't a list of paths: it must be UTF-8 text, one path a line.")


def _listed(file: io.BufferedReader, name: str) -> Iterator[Entry]:
    """The paths in a list."""
    start = file.read1(_LONGEST_PATH).removeprefix(codecs.BOM_UTF8)
    _check_list(start, name)
    end = b"\0" if b"\0" in start else b"\n"
    while start:
        *lines, rest = start.split(end)
        for line in lines:
            if path := line.removesuffix(b"\r") if end == b"\n" else line:
                yield Entry(os.fsdecode(path))
        if len(rest) > _LONGEST_PATH:
            raise LandmarkError(f"{name} isn't a list of paths: it has a line of more than {_LONGEST_PATH} bytes.")
        more = file.read1(_LONGEST_PATH)
        if not more and rest:
            yield Entry(os.fsdecode(rest.removesuffix(b"\r")))
        start = rest + more if more else b""

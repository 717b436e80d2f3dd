"""The photos in folders, lists and streams, one at a time: a library of millions takes no more memory than one of ten.

for entry in find_entries(["photos/", "more.txt"]):
    entry.path, entry.error
"""

import codecs
import io
import os
import re
import stat
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, cast

from landmark_models.errors import LandmarkError, reason
from landmark_models.photo import PHOTO_SUFFIXES

__all__ = ["Entry", "can_be_read_twice", "check_sources", "find_entries", "written_path"]

_LONGEST_PATH = 32_768  # bytes, of a line in a list
_UNWRITABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


class Entry(NamedTuple):
    """The path of a photo, as Python reads names of files; or of what can't be listed, and why not."""

    path: str
    error: str = ""


def check_sources(sources: Sequence[str]) -> None:
    """Look whether what a person named is there.

    Raises:
        LandmarkError: it is not.
    """
    for source in sources:
        if source != "-" and not os.path.exists(source):
            raise LandmarkError(
                f"There is no {source}; name folders, photos, text files of paths, or - for standard input."
            )


def can_be_read_twice(sources: Sequence[str]) -> bool:
    """Whether none of them is a stream, such as standard input."""
    return all(source != "-" and (os.path.isdir(source) or os.path.isfile(source)) for source in sources)


def find_entries(sources: Sequence[str]) -> Iterator[Entry]:
    """Photos, in no particular order.

    A source is a folder, whose photos are found by their suffix, hidden files and folders left out; a photo; a text
    file of paths, one a line, or ended by NUL as `find -print0` writes them; or `-`, such a list on standard input.
    Links are followed, but no folder is listed twice, whichever way leads there.

    Raises:
        LandmarkError: a list can't be read, or is none.
    """
    walk = _Walk()
    for source in sources:
        if source == "-":
            yield from _listed(cast(io.BufferedReader, sys.stdin.buffer), "standard input")
        elif os.path.isdir(source):
            yield from walk.folder(source)
        elif Path(source).suffix.lower() in PHOTO_SUFFIXES:
            yield Entry(source)
        else:
            try:
                with open(source, "rb") as file:
                    yield from _listed(file, source)
            except OSError as error:
                raise LandmarkError(f"The list {source} can't be read: {reason(error)}.") from None


def written_path(path: str) -> str:
    """A path as the output has it: absolute, on one line and in UTF-8, so that it says which photo it is.

    A name with control characters or bytes that are no UTF-8 becomes a `file:` URI (RFC 8089).
    """
    # beyond a link ".." is not where the path seems to lead
    path = os.path.join(os.getcwd(), path) if os.pardir in path.split(os.sep) else os.path.abspath(path)
    return Path(path).as_uri() if _UNWRITABLE.search(path) else path


def _listed(file: io.BufferedReader, name: str) -> Iterator[Entry]:
    """The paths of a list."""
    start = file.read1(_LONGEST_PATH).removeprefix(b"\xef\xbb\xbf")
    if b"\0\0" in start or start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise LandmarkError(f"{name} is no list of paths: they must be text in UTF-8, one a line.")
    end = b"\0" if b"\0" in start else b"\n"
    while start:
        *lines, rest = start.split(end)
        for line in lines:
            if path := line.removesuffix(b"\r") if end == b"\n" else line:
                yield Entry(os.fsdecode(path))
        if len(rest) > _LONGEST_PATH:
            raise LandmarkError(f"{name} is no list of paths: it has a line of more than {_LONGEST_PATH} bytes.")
        more = file.read1(_LONGEST_PATH)
        if not more and rest:
            yield Entry(os.fsdecode(rest.removesuffix(b"\r")))
        start = rest + more if more else b""


class _Walk:
    """Walks through folders that remember one another.

    A folder is entered where it stands. A link to one is entered where it leads outside all walks so far: so what is
    remembered are their starts alone, however large the folders are.
    """

    def __init__(self) -> None:
        self.starts: set[tuple[int, int] | None] = set()  # of None there is none

    def folder(self, root: str) -> Iterator[Entry]:
        """Photos of a folder and those within, the open folders above being all that is held in memory."""
        if self._walked(os.path.realpath(root)):
            return
        self._start(root)
        levels: list[tuple[str, os._ScandirIterator[str]]] = []
        folder: str | None = root
        while folder is not None or levels:
            if folder is not None:
                try:
                    levels.append((folder, os.scandir(folder)))
                except OSError as error:
                    yield Entry(folder, f"The folder can't be listed: {reason(error)}.")
            if not levels:
                return
            folder = None
            path, entries = levels[-1]
            try:
                for entry in entries:
                    found = self._look_at(entry)
                    if isinstance(found, Entry):
                        yield found
                    elif found is not None:
                        folder = found
                        break
                else:
                    levels.pop()
            except OSError as error:  # a disk that fails, a folder that vanishes
                yield Entry(path, f"The folder can't be listed to its end: {reason(error)}.")
                entries.close()
                levels.pop()

    def _look_at(self, entry: os.DirEntry[str]) -> Entry | str | None:
        """A photo, the path of a folder to go into, or nothing of interest."""
        if entry.name.startswith("."):
            return None
        is_photo = os.path.splitext(entry.name)[1].lower() in PHOTO_SUFFIXES
        if not entry.is_symlink():
            if entry.is_dir(follow_symlinks=False):
                return None if _identity(entry.path) in self.starts else entry.path
            return Entry(entry.path) if is_photo else None
        try:
            target = os.path.realpath(entry.path, strict=True)
            mode = os.stat(target).st_mode
        except OSError as error:
            return Entry(entry.path, f"The link leads nowhere: {reason(error)}.") if is_photo else None
        if stat.S_ISDIR(mode):
            if self._walked(target):
                return None
            self._start(target)
            return entry.path
        if not is_photo or (os.path.splitext(target)[1].lower() in PHOTO_SUFFIXES and self._walked(target)):
            return None  # where it leads the photo is listed, or will be
        return Entry(entry.path)

    def _start(self, folder: str) -> None:
        if identity := _identity(folder):
            self.starts.add(identity)

    def _walked(self, path: str) -> bool:
        """Whether a walk comes by a real path: it has started above, and no hidden folder lies between."""
        for folder in [Path(path), *Path(path).parents]:
            if _identity(str(folder)) in self.starts:
                return True
            if folder.name.startswith("."):
                return False
        return False


def _identity(path: str) -> tuple[int, int] | None:
    """What tells a file from all others; None of one that vanished, or may not be looked at."""
    try:
        state = os.stat(path)
    except OSError:
        return None
    return state.st_dev, state.st_ino

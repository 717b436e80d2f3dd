"""Lists of photos to leave out, as `python -m train.data scan --fix` writes them."""

import codecs
import os
import unicodedata
from pathlib import Path

from landmark_models.errors import reason
from train.data import DataError
from train.data.labels import nfc
from train.data.location import data_folder


def read_exclusions(file: str | Path, data: str | Path | None = None) -> frozenset[str]:
    """The paths in a list of photos to leave out, in NFC: one per line, relative to DATA; `#` starts a comment.

    The list may have been edited elsewhere: with a byte order mark, in UTF-16, with Windows' line ends and backslashes.

    Raises:
        DataError: the list can't be read, or lists photos of which `data`, if it is given, has none.
    """
    try:
        content = Path(file).read_bytes()
    except OSError as error:
        raise DataError(f"The list {file} can't be read: {reason(error)}.") from None
    is_utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    text = content.decode("utf-16" if is_utf16 else "utf-8-sig", errors="replace" if is_utf16 else "surrogateescape")
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    paths = [listed_path(line) for line in lines if line.strip() and not line.startswith("#")]
    if data is not None and paths:
        root = data_folder(data)
        if not any(
            (root / form).is_file() for path in paths for form in (path, nfc(path), unicodedata.normalize("NFD", path))
        ):
            raise DataError(f"None of the {len(paths)} photos listed in {file} is in {data}: is it another set's list?")
    return frozenset(map(nfc, paths))


def listed_path(line: str) -> str:
    """The path that a line or a cell of a list names; only one written on Windows has backslashes and no slash."""
    return os.path.normpath(line if "/" in line else line.replace("\\", "/"))

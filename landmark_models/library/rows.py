"""Rows, one for each photo: counts over them, and their file formats, JSON lines and CSV."""

import csv
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import IO, Any, NamedTuple

from landmark_models.errors import LandmarkError

Row = dict[str, Any]

_MAX_REASONS = 1000
_DELIMITERS = (",", ";", "\t")  # Excel's, where the comma is the decimal point, and for "Unicode text"
_NEEDED = {"path", "name", "error", "model", "revision"}


@dataclass
class Summary:
    """Counts over a job's output: photos in total, with a known landmark, without one, and failed.

    `new` counts the photos answered since the last start, `landmarks` the names, `reasons` the errors, `sidecars` what
    became of them ("failed", too) and `sidecar_reasons` why they failed; `shared` are those named PHOTO.xmp. `left_out`
    is what the search for photos has left out.
    """

    total: int = 0
    new: int = 0
    recognised: int = 0
    unknown: int = 0
    failed: int = 0
    landmarks: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    sidecars: Counter[str] = field(default_factory=Counter)
    sidecar_reasons: Counter[str] = field(default_factory=Counter)
    shared: int = 0
    left_out: Counter[str] = field(default_factory=Counter)

    def count(self, row: Row) -> None:
        """Count a row by its path, name, error and sidecar."""
        self.total += 1
        sidecar = sidecar_of(row)
        if sidecar.what:
            self.sidecars[sidecar.what] += 1
        if sidecar.error:
            count_reason(self.sidecar_reasons, sidecar.error.replace(row["path"], "the photo"))
        if sidecar.file and PurePath(sidecar.file).stem != PurePath(row["path"]).name:
            self.shared += 1
        if row["error"]:
            self.failed += 1
            count_reason(self.reasons, row["error"].replace(row["path"], "the photo"))
        elif row["name"]:
            self.recognised += 1
            self.landmarks[row["name"]] += 1
        else:
            self.unknown += 1


class SidecarFacts(NamedTuple):
    """What became of a photo's sidecar ("" for nothing), which it is, and why it couldn't be written."""

    what: str = ""
    file: str = ""
    error: str = ""


def sidecar_of(row: Row) -> SidecarFacts:
    """What a row of either format says of the sidecar."""
    return SidecarFacts(
        row.get("sidecar") or "",
        row.get("sidecarFile", row.get("sidecar_file")) or "",
        row.get("sidecarError", row.get("sidecar_error")) or "",
    )


def count_reason(reasons: Counter[str], reason: str) -> None:
    """Count a reason, of which there may be one for each of millions of photos."""
    reasons[reason if reason in reasons or len(reasons) < _MAX_REASONS else "other"] += 1


class JsonLines:
    """One JSON object a line."""

    def read(self, file: IO[str]) -> Iterator[Row]:
        for number, line in enumerate(file, 1):
            text = line.removeprefix("\ufeff").strip()  # an editor adds a mark, blank lines, or no last line end
            if not text:
                continue
            if not (row := _row(text + "\n")):
                raise LandmarkError(
                    f"{file.name} was not written by this command, or was changed: line {number} isn't a row. "
                    "Name another output."
                )
            yield row

    def write(self, file: IO[str], rows: Iterable[Row]) -> None:
        for row in rows:
            file.write(json.dumps(row) + "\n")

    @staticmethod
    def unfinished_rows(part: Path) -> Iterator[Row]:
        """The rows of a file that is still written; lines that a kill or a power cut has left broken are skipped."""
        with part.open(encoding="utf-8", errors="replace") as file:
            yield from filter(None, map(_row, file))


def _row(line: str) -> Row | None:
    try:
        row = json.loads(line) if line.endswith("\n") else None
    except ValueError:
        return None
    return row if isinstance(row, dict) and row.keys() >= _NEEDED else None


class Csv:
    """A CSV file with a header of these columns, separated by commas, or by what a spreadsheet has put in their place.

    What is written has the separator and the byte order mark of what was read.
    """

    def __init__(self, columns: Sequence[str]):
        self.columns = columns
        self.delimiter, self.mark = ",", ""

    def read(self, file: IO[str]) -> Iterator[Row]:
        start = file.read(1)
        self.mark = start if start == "\ufeff" else ""
        header = ("" if self.mark else start) + file.readline()
        for self.delimiter in _DELIMITERS:
            if next(csv.reader([header], delimiter=self.delimiter), None) == list(self.columns):
                break
        else:
            raise LandmarkError(f"{file.name} has other columns than this command writes; name another output.")
        # Excel saves no separators after the last cell with text
        rows = csv.DictReader(file, self.columns, restval="", strict=True, delimiter=self.delimiter)
        for row in rows:
            if not any(row.values()):  # a spreadsheet's empty row
                continue
            if None in row or not (row["path"] and row["model"]):
                line = rows.line_num + 1
                raise LandmarkError(f"{file.name} was changed: line {line} has other columns than the first.")
            yield row

    def write(self, file: IO[str], rows: Iterable[Row]) -> None:
        file.write(self.mark)
        writer = csv.DictWriter(file, self.columns, delimiter=self.delimiter)
        writer.writeheader()
        writer.writerows(rows)

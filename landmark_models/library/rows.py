"""Rows, one for each photo: counts over them, and their file formats, JSON lines and CSV."""

import csv
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import IO, Any

from landmark_models.errors import LandmarkError

Row = dict[str, Any]

_MAX_REASONS = 1000
_NEEDED = {"path", "name", "error", "model", "revision"}


@dataclass
class Summary:
    """Counts over a job's output: photos in total, with a recognised landmark, without one, and failed.

    `new` counts the photos done since the last start, `landmarks` the names, `reasons` the errors.
    """

    total: int = 0
    new: int = 0
    recognised: int = 0
    unknown: int = 0
    failed: int = 0
    landmarks: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)

    def count(self, row: Row) -> None:
        """Count a row by its `path`, `name` and `error`."""
        self.total += 1
        if row["error"]:
            self.failed += 1
            reason = row["error"].replace(row["path"], "the photo")
            self.reasons[reason if reason in self.reasons or len(self.reasons) < _MAX_REASONS else "other"] += 1
        elif row["name"]:
            self.recognised += 1
            self.landmarks[row["name"]] += 1
        else:
            self.unknown += 1


class JsonLines:
    """One JSON object a line. In an `unfinished` file, lines that a kill or a power cut left broken are skipped."""

    def __init__(self, unfinished: bool = False):
        self.unfinished = unfinished

    def read(self, file: IO[str]) -> Iterator[Row]:
        for line in file:
            try:
                row = json.loads(line) if line.endswith("\n") else None
            except ValueError:
                row = None
            if isinstance(row, dict) and row.keys() >= _NEEDED:
                yield row
            elif not self.unfinished:
                raise LandmarkError(f"{file.name} was not written by this command; name another output.")

    def write(self, file: IO[str], rows: Iterable[Row]) -> None:
        for row in rows:
            file.write(json.dumps(row) + "\n")


class Csv:
    """A CSV file with a header of these columns."""

    def __init__(self, columns: Sequence[str]):
        self.columns = columns

    def read(self, file: IO[str]) -> Iterator[Row]:
        rows = csv.DictReader(file, strict=True)
        if list(rows.fieldnames or []) != list(self.columns):
            raise LandmarkError(f"{file.name} has other columns than this command writes; name another output.")
        for row in rows:
            if None in row or None in row.values():
                raise LandmarkError(f"{file.name} was changed: line {rows.line_num} has other columns than the first.")
            yield row

    def write(self, file: IO[str], rows: Iterable[Row]) -> None:
        writer = csv.DictWriter(file, self.columns)
        writer.writeheader()
        writer.writerows(rows)

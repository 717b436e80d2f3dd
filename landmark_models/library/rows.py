"""File formats for rows, one for each photo: JSON lines and CSV."""

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, Any, Protocol

from landmark_models.errors import LandmarkError

__all__ = ["Csv", "JsonLines", "Row", "RowFile"]

Row = dict[str, Any]

_NEEDED = {"path", "name", "error", "model", "revision"}


class RowFile(Protocol):
    """A format for rows in a file."""

    def read(self, file: IO[str]) -> Iterator[Row]: ...

    def write(self, file: IO[str], rows: Iterable[Row]) -> None: ...


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

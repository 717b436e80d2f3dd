"""Tables as plain data, and how they are written as Markdown and CSV."""

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from landmark_models.files import write_text

__all__ = ["Table", "as_markdown", "write_csv"]


@dataclass(frozen=True)
class Table:
    """A table for a terminal or a page.

    Raises:
        ValueError: a row has more or fewer cells than there are headers.
    """

    title: str
    headers: Sequence[str]
    rows: Sequence[Sequence[object]]

    def __post_init__(self) -> None:
        if any(len(row) != len(self.headers) for row in self.rows):
            raise ValueError(f"The table {self.title!r} needs {len(self.headers)} cells in each row.")


def as_markdown(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; its cells must be Markdown already."""
    lines = [headers, ["---"] * len(headers), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def write_csv(file: Path, headers: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a CSV file (UTF-8), atomically.

    Raises:
        OSError: it can't be written.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(headers)
    writer.writerows(rows)
    write_text(file, text.getvalue())

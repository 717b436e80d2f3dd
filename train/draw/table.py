"""Tables as plain data, and how they are written as Markdown and CSV."""

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from landmark_models.files import write_text

__all__ = ["Table", "as_markdown", "write_csv"]


class Table(NamedTuple):
    """A table for a terminal or a page."""

    title: str
    headers: Sequence[str]
    rows: Sequence[Sequence[str]]


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

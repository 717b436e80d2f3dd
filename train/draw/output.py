"""What is written to files: matplotlib figures, tables as Markdown and CSV, HTML pages from the templates beside this.

Pages open offline, with their pictures as files beside them.
"""

import csv
import io
import os
import re
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from landmark_models.files import atomic_path, write_text
from train.draw.fonts import use_fonts

if TYPE_CHECKING:
    from jinja2 import Environment
    from matplotlib.figure import Figure

_MARGIN = 0.04  # inches around what a figure shows, as its layout leaves
_NUMBER = re.compile(r"[-+]?\d[\d,.]*( ?%)?")
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


@contextmanager
def figure(file: Path, width: float, height: float) -> "Iterator[Figure]":
    """A new figure of this size in inches, saved atomically as a PNG with 100 dots per inch when the block ends.

    It grows where what it shows would be cut off.
    """
    from matplotlib.figure import Figure  # takes a while to import, and not every command draws
    from matplotlib.transforms import Bbox

    drawing = Figure(figsize=(width, height), layout="constrained")
    yield drawing
    if boxes := use_fonts(drawing):
        print(f"No font on this machine has the letters of {boxes} texts in {file}; they are drawn as boxes.")
    with atomic_path(file) as scratch, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing", UserWarning)  # the tables beside it show names in full
        drawing.draw_without_rendering()  # lays it out, which may leave no room for long names
        drawing.set_layout_engine("none")  # saving would lay it out once more, a little differently
        content = Bbox.union([drawing.bbox_inches, drawing.get_tightbbox().padded(_MARGIN)])
        drawing.savefig(scratch, dpi=100, format="png", bbox_inches=content)


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
    """Write a CSV file (UTF-8), atomically."""
    text = io.StringIO(newline="")
    csv.writer(text).writerows([headers, *rows])
    write_text(file, text.getvalue())


def write_page(file: Path, template: str, **content: Any) -> None:
    """Fill in a template and write the page (HTML, UTF-8), atomically.

    Any text in `content` may be a stranger's: it is escaped, and what isn't text (control characters, bytes of a file
    name that aren't UTF-8) is shown as U+FFFD.
    """
    write_text(file, _environment().get_template(template).render(content, headings=[]))


@cache
def _environment() -> "Environment":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_printable,
        extensions=["jinja2.ext.do"],
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["address"] = _address
    environment.tests["numeric"] = lambda cell: _NUMBER.fullmatch(str(cell)) is not None
    return environment


def _printable(value: Any) -> Any:
    is_text = isinstance(value, str) and not hasattr(value, "__html__")  # the page's own markup is fine as it is
    return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", value) if is_text else value


def _address(path: str | PurePath) -> str:
    """A path relative to the page, as a link; thanks to the `./` a colon in it doesn't make a scheme."""
    return "./" + quote(os.fsencode(PurePath(path).as_posix()))

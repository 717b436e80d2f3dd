"""A page of results that opens offline: headings, sentences, tables, pictures beside it, nothing from elsewhere.

page = HtmlPage("Photos of landmarks")
page.add_heading("Classes")
page.add_table(["class", "photos"], [["Eiffel Tower", 120]])
page.add_picture("classes.png", "Bars, one for each class", "How many photos each class has.")
page.write(folder / "index.html")
"""

import os
import re
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path, PurePath
from urllib.parse import quote

from landmark_models.files import write_text

__all__ = ["HtmlPage"]

_STYLE = """
:root { color-scheme: light dark; }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 80rem; margin: 0 auto; padding: 1rem; }
h1, h2 { line-height: 1.2; }
h2 { margin-top: 2.5rem; }
nav a { display: inline-block; margin-right: 1rem; }
p, figcaption { overflow-wrap: anywhere; }
p { max-width: 50rem; }
.table { overflow-x: auto; }
table { border-collapse: collapse; }
th, td { text-align: left; vertical-align: top; padding: .2rem .8rem .2rem 0; border-bottom: 1px solid #8886; }
td.number, th.number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
figure { display: inline-block; vertical-align: top; margin: 1rem 2rem 1rem 0; max-width: 100%; }
figcaption { max-width: 18rem; }
img { max-width: 100%; height: auto; display: block; }
"""
_NUMBER = re.compile(r"[-+]?\d[\d,.]*( %)?")


class HtmlPage:
    """A page put together from top to bottom, then written.

    Every text may be a stranger's: it is escaped, and what is no text (control characters, bytes of a file's name that
    are not UTF-8) is shown as U+FFFD. The page follows the reader's choice of light or dark.
    """

    def __init__(self, title: str):
        self._title = _safe(title)
        self._headings: list[str] = []
        self._parts: list[str] = []

    def add_heading(self, text: str) -> None:
        """Begin a section; the top of the page links to it."""
        self._headings.append(_safe(text))
        self._parts.append(f'<h2 id="s{len(self._headings)}">{_safe(text)}</h2>')

    def add_text(self, text: str) -> None:
        """A paragraph."""
        self._parts.append(f"<p>{_safe(text)}</p>")

    def add_table(self, headers: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """A table; cells are shown as `str` has them, those that are numbers (12, -0.5, 1,234, 93.1 %) to the right.

        Raises:
            ValueError: a row has more or fewer cells than there are headers.
        """
        cells = [[str(cell) for _, cell in zip(headers, row, strict=True)] for row in rows]
        numeric = [bool(cells) and all(_NUMBER.fullmatch(row[i]) for row in cells) for i in range(len(headers))]
        head = "".join(_cell("th", text, right) for text, right in zip(headers, numeric, strict=True))
        body = "\n".join(
            f"<tr>{''.join(_cell('td', t, bool(_NUMBER.fullmatch(t))) for t in row)}</tr>" for row in cells
        )
        self._parts.append(f'<div class="table"><table>\n<tr>{head}</tr>\n{body}\n</table></div>')

    def add_picture(self, path: str | PurePath, alt: str, caption: str = "") -> None:
        """A picture, by its path relative to the page.

        Args:
            path: of the picture's file, e.g. `confusion.png`.
            alt: what it shows, for those who don't see it.
            caption: the sentence below it.
        """
        below = f"<figcaption>{_safe(caption)}</figcaption>" if caption else ""
        self._parts.append(f'<figure><img src="{_address(path)}" alt="{_safe(alt)}">{below}</figure>')

    def add_link(self, path: str | PurePath, text: str) -> None:
        """A line that opens another file, by its path relative to the page."""
        self._parts.append(f'<p><a href="{_address(path)}">{_safe(text)}</a></p>')

    def write(self, file: Path) -> None:
        """Write the page (HTML, UTF-8), at once.

        Raises:
            OSError: it can't be written.
        """
        links = [f'<a href="#s{number}">{heading}</a>' for number, heading in enumerate(self._headings, 1)]
        lines = [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{self._title}</title><style>{_STYLE}</style></head><body>",
            f"<h1>{self._title}</h1>",
            *([f"<nav>{' '.join(links)}</nav>"] if len(links) > 1 else []),
            *self._parts,
            "</body></html>",
        ]
        write_text(file, "\n".join(lines) + "\n")


def _cell(tag: str, text: str, right: bool) -> str:
    kind = ' class="number"' if right else ""
    return f"<{tag}{kind}>{_safe(text)}</{tag}>"


def _safe(text: str) -> str:
    """A text as HTML shows it, in an element or in a quoted attribute."""
    return escape(re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]", "\N{REPLACEMENT CHARACTER}", text))


def _address(path: str | PurePath) -> str:
    """A relative path as a link has it; `./` so that a colon in it is no scheme."""
    return "./" + quote(os.fsencode(PurePath(path).as_posix()))

"""Fonts for the names of classes, which may be in any script.

matplotlib's own has Latin, Greek, Cyrillic, Arabic and a few others; a text falls back to any font of this machine that
has its letters.
"""

import unicodedata
from collections.abc import Iterable
from functools import cache
from textwrap import shorten
from typing import TYPE_CHECKING

from landmark_models.text import for_terminal

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DEFAULT = "DejaVu Sans"  # comes with matplotlib
_LONGEST = 40  # characters of a name in a picture


def is_drawable(text: str) -> bool:
    """Whether fonts on this machine have all letters of a text."""
    return not _missing(text) - _drawable(frozenset(_missing(text)))[0]


def display_width(text: str) -> int:
    """The width of a text in a picture, in average Latin letters; those of East Asia take two."""
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


def shorten_name(name: str, longest: int = _LONGEST) -> str:
    """A name of at most `longest` characters for a picture, shortened between words if possible."""
    name = for_terminal(name)
    if len(name) <= longest:
        return name
    short = shorten(name, longest, placeholder="…")
    return short if len(short) > longest // 2 else f"{name[: longest - 1]}…"


def use_fonts(drawing: "Figure") -> int:
    """Give each text of a figure the fonts for its letters; returns how many texts have letters that none has."""
    from matplotlib.text import Text

    boxes = 0
    for text in drawing.findobj(Text):
        if missing := _missing(text.get_text()):
            found, families = _drawable(frozenset(missing))
            text.set_fontfamily([_DEFAULT, *families])
            boxes += bool(missing - found)
    return boxes


def _missing(text: str) -> set[str]:
    """The letters of a text that matplotlib's own font lacks."""
    from matplotlib.font_manager import findfont

    return {letter for letter in text if not letter.isspace()} - _letters(findfont(_DEFAULT))


@cache
def _drawable(letters: frozenset[str]) -> tuple[set[str], list[str]]:
    """Which of the letters this machine's fonts have, and the families that have them."""
    from matplotlib.font_manager import fontManager

    found: set[str] = set()
    families: list[str] = []
    for entry in fontManager.ttflist:
        if found == letters:
            break
        if entry.name.startswith("Last Resort"):  # it has a box for everything
            continue
        if more := (letters - found) & _letters(entry.fname):
            found |= more
            families.append(entry.name)
    return found, families


@cache
def _letters(file: str) -> frozenset[str]:
    from matplotlib.ft2font import FT2Font

    try:
        codes: Iterable[int] = FT2Font(file).get_charmap()
    except (OSError, RuntimeError):  # a font that can't be read
        return frozenset()
    return frozenset(map(chr, codes))

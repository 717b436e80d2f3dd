"""Text for people: untrusted text, such as labels and file names, escaped for where it is shown; shares in per cent."""

import html
import re
import unicodedata
from collections.abc import Iterable

_ORDER = re.compile(r"^\d+\.(?=\D)")  # `09.Golden_Gate_Bridge`, but not `3.14_Tower`

# What a score means where a landmark is named but not recognised.
SCORE_NOTE = (
    "Scores only compare the landmarks known here with each other; a photo that doesn't look enough like any of them "
    "is not recognised, however high its score."
)


def for_markdown(text: str) -> str:
    """Text for one line or table cell of Markdown; neither markup nor HTML in it takes effect."""
    return html.escape(re.sub(r"([\\`*_{}\[\]#|~$])", r"\\\1", " ".join(text.split())), quote=False)


_JOINERS = "\u200c\u200d"  # without width; spelling needs them in Arabic and Indic scripts


def for_terminal(text: str) -> str:
    """Text for a terminal; control characters in it are shown as the replacement character."""
    return "".join(
        character if character.isprintable() or character in _JOINERS else "\N{REPLACEMENT CHARACTER}"
        for character in text
    )


def is_line(text: str) -> bool:
    """Whether text is one line that can be shown as it is: without control characters, also of the direction."""
    return text.isprintable() or for_terminal(text) == text


def is_name(text: str) -> bool:
    """Whether text is such a line, and there is something to see."""
    return is_line(text) and bool(text.strip(f" {_JOINERS}"))


def for_spreadsheet(text: str) -> str:
    """Text for a cell of a CSV file; spreadsheets won't take it for a formula (OWASP, "CSV injection")."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r", "\n")) else text


def percent(share: float, digits: int = 0) -> str:
    """A share from 0 to 1 in per cent, e.g. "97%"; "100%" and "0%" are only ever exact, else it is ">99%" or "<1%"."""
    text, step = f"{share:.{digits}%}", 10.0 ** -(digits + 2)
    if share < 1 and text == f"{1:.{digits}%}":
        return f">{1 - step:.{digits}%}"
    if share > 0 and text == f"{0:.{digits}%}":
        return f"<{step:.{digits}%}"
    return text


def from_spreadsheet(cell: str) -> str:
    """The text of which `for_spreadsheet` has made a cell."""
    return cell[1:] if cell.startswith("'") and for_spreadsheet(cell[1:]) == cell else cell


def label_of(folder: str) -> str:
    """The label of a class folder: without its order number (`09.`), underscores as spaces, in NFC.

    Archives made on macOS have decomposed file names; in NFC, equal names are equal strings.

    >>> label_of("09.Golden_Gate_Bridge")
    'Golden Gate Bridge'
    >>> label_of("9.11_Memorial")
    '9.11 Memorial'
    """
    return _ORDER.sub("", unicodedata.normalize("NFC", folder)).replace("_", " ").strip()


def searchable(text: str) -> str:
    """A text without case and accents, in which a query, treated alike, is looked up."""
    return "".join(
        letter for letter in unicodedata.normalize("NFKD", text) if not unicodedata.combining(letter)
    ).casefold()


def listed(labels: Iterable[str], most: int = 10) -> str:
    """Labels in a sentence; of many, only the first."""
    labels = list(labels)
    more = f" and {len(labels) - most:,} more" if len(labels) > most else ""
    return (", ".join(map(for_terminal, labels[:most])) or "nothing") + more

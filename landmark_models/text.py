"""Texts that strangers chose, such as labels and file names, made harmless for where they are shown."""

import html
import re

__all__ = ["for_markdown", "for_spreadsheet", "for_terminal"]


def for_markdown(text: str) -> str:
    """A text for one line or table cell of Markdown: neither markup nor HTML in it is obeyed."""
    return html.escape(re.sub(r"([\\`*_{}\[\]#|~$])", r"\\\1", " ".join(text.split())), quote=False)


def for_terminal(text: str) -> str:
    """A text for a terminal: control characters are shown, not obeyed."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def for_spreadsheet(text: str) -> str:
    """A text for a cell of a CSV file: a spreadsheet takes it for no formula (OWASP, "CSV injection")."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r", "\n")) else text

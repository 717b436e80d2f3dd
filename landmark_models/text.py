"""Escape untrusted text, such as labels and file names, for the place where it is shown."""

import html
import re


def for_markdown(text: str) -> str:
    """Text for one line or table cell of Markdown; neither markup nor HTML in it takes effect."""
    return html.escape(re.sub(r"([\\`*_{}\[\]#|~$])", r"\\\1", " ".join(text.split())), quote=False)


def for_terminal(text: str) -> str:
    """Text for a terminal; control characters in it are shown as the replacement character."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def for_spreadsheet(text: str) -> str:
    """Text for a cell of a CSV file; spreadsheets won't take it for a formula (OWASP, "CSV injection")."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r", "\n")) else text

"""HTML pages from the templates beside this file: they open offline, with their pictures as files beside them.

write_page(folder / "index.html", "evaluation.html.j2", title="Default model on photos", ...)
"""

import os
import re
from functools import cache
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from landmark_models.files import write_text

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["write_page"]

_NUMBER = re.compile(r"[-+]?\d[\d,.]*( %)?")
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def write_page(file: Path, template: str, **content: Any) -> None:
    """Fill in a template and write the page (HTML, UTF-8).

    Any text in `content` may be a stranger's: it is escaped, and what isn't text (control characters, bytes of a file
    name that aren't UTF-8) is shown as U+FFFD.

    Raises:
        OSError: the page can't be written; an existing one is left alone.
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
    """What is inserted into the page, before it is escaped."""
    is_text = isinstance(value, str) and not hasattr(value, "__html__")  # the page's own markup is fine as it is
    return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", value) if is_text else value


def _address(path: str | PurePath) -> str:
    """A path relative to the page, as a link; thanks to the `./` a colon in it doesn't make a scheme."""
    return "./" + quote(os.fsencode(PurePath(path).as_posix()))

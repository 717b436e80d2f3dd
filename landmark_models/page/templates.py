"""The page's own HTML: jinja templates in the folder `assets`, in the page's languages; every text is escaped."""

import base64
import functools
import json
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

from landmark_models.page.languages import in_language
from landmark_models.page.theme import asset


def macros(template: str, language: str) -> Any:
    """The macros of a template in a language, as functions that return `Markup`."""
    return _macros(template, in_language(language).code)


def text(markup: Markup) -> str:
    """What a macro returned, as a component takes it."""
    return str(markup).strip()


@functools.cache
def _macros(template: str, language: str) -> Any:
    say = in_language(language)
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.globals |= {"_": say, "plural": say.plural, "percent": say.percent, "number": say.number}
    environment.filters |= {
        "data_uri": _data_uri,
        "json": functools.partial(json.dumps, indent=1),
    }
    return environment.from_string(asset(template)).module


def _data_uri(content: str | bytes, type: str) -> str:
    data = content.encode() if isinstance(content, str) else content
    return f"data:{type};base64,{base64.b64encode(data).decode()}"

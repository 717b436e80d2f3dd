"""A table of many answers."""

import base64
import functools
import json
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from jinja2 import Environment

from landmark_models.page.results import PhotoResult, as_csv, as_jsonl, as_sidecars
from landmark_models.text import SCORE_NOTE, percent


def table_html(results: Sequence[PhotoResult]) -> str:
    """A table of many photos with the answer to each, or why it can't be read, and downloads of them all."""
    downloads = {
        "csv": "\ufeff" + as_csv(results),  # the byte order mark tells Excel that it is UTF-8
        "jsonl": as_jsonl(results),
        "sidecars": as_sidecars(results),
        "sidecars_with_positions": as_sidecars(results, camera_position=True),
    }
    return str(_macros().table(results, downloads)).strip()


@functools.cache
def _macros() -> Any:
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.globals["score_note"] = SCORE_NOTE
    environment.filters |= {
        "percent": percent,
        "data_uri": _data_uri,
        "json": functools.partial(json.dumps, indent=1),
        "map_url": _map_url,
    }
    return environment.from_string(files(__package__).joinpath("answers.html").read_text(encoding="utf-8")).module


def _data_uri(content: str | bytes, type: str) -> str:
    data = content.encode() if isinstance(content, str) else content
    return f"data:{type};base64,{base64.b64encode(data).decode()}"


def _map_url(position: tuple[float, float]) -> str:
    latitude, longitude = position
    box = f"{longitude - 0.01},{latitude - 0.006},{longitude + 0.01},{latitude + 0.006}"
    return f"https://www.openstreetmap.org/export/embed.html?bbox={box}&marker={latitude},{longitude}"

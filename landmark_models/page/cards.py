"""The answer to a photo in HTML, in the page's languages; every text in it is escaped."""

import base64
import functools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

from landmark_models.classifier import LandmarkClassifier
from landmark_models.page.languages import in_language
from landmark_models.page.results import PhotoResult
from landmark_models.page.theme import asset
from landmark_models.tagging.gazetteer import find
from landmark_models.tagging.tags import Tags

SHOWN = 5  # candidates
_LEAST = 0.005  # of a share that is shown: less would read 0%
_MOST = 0.9949  # as large as a share is shown: more would read 100%


@dataclass(frozen=True)
class Knows:
    """What the model that answers says of itself: its number of landmarks, and how many of 100 answers were right."""

    count: int
    right_of_100: int | None

    @classmethod
    def of(cls, classifier: LandmarkClassifier) -> "Knows":
        return cls(len(classifier.labels), classifier.right_of_100)


def headline(result: PhotoResult, knows: Knows, language: str, rank: int = 0) -> str:
    """What the photo shows and how far to trust that, or why it can't be read; for `rank` > 0, another candidate."""
    language = in_language(language).code
    macros = _macros(language)
    if result.tags is None:
        return _text(macros.unreadable(result.name, result.error, language))
    label = result.tags.predictions[rank].label
    return _text(macros.headline(result.tags, find(label, language), name_of(label, language), rank, knows))


def details(result: PhotoResult, language: str, rank: int = 0) -> str:
    """What is known of the landmark, its tags, and the files to save; of another candidate only the first."""
    if result.tags is None:
        return ""
    landmark = find(result.tags.predictions[rank].label, language)
    return _text(
        _macros(in_language(language).code).details(
            result.tags, landmark, rank, result.name, _camera(result.tags, language)
        )
    )


def candidates(tags: Tags, language: str) -> dict[str, float]:
    """The shares of the best candidates by name, for `gr.Label`: those that it wouldn't round to 0%, at least two."""
    ranked = enumerate(tags.named(SHOWN, language).items())
    return {name: min(score, _MOST) for rank, (name, score) in ranked if rank < 2 or score >= _LEAST}


def alt_text(result: PhotoResult | None, language: str, where: int | None = None) -> str:
    """What the photo shows, for somebody who can't see it; it may be coloured for the candidate of the rank `where`."""
    say = in_language(language)
    if result is None or result.tags is None:
        return say("Your photo")
    name, landmark = name_of(result.tags.best.label, language), find(result.tags.best.label, language)
    if not result.tags.known:
        text = say("A photo in which no landmark was recognised.")
    elif landmark is None:
        text = say("Photo of {name}.", name=name)
    else:
        text = say("Photo of {name}, {kind} in {place}.", name=name, kind=landmark.kind, place=landmark.address)
    if where is None:
        return text
    looked_for = name_of(result.tags.predictions[where].label, language)
    return f"{text} {say('It is coloured where the model looked for {name}.', name=looked_for)}"


def examples_html(examples: Sequence[tuple[str, bytes]], language: str) -> str:
    """Buttons for photos to try, given as caption and small JPEG."""
    return _text(_macros(in_language(language).code).examples(examples))


def name_of(label: str, language: str) -> str:
    """The proper name of a landmark; its label if the gazetteer has none."""
    landmark = find(label, language)
    return landmark.name if landmark else label


def _camera(tags: Tags, language: str) -> str:
    """What the photo's own position says."""
    if not tags.photo_position or tags.distance_km is None:
        return ""
    say = in_language(language)
    return say("The photo's own position agrees: {km} km from it.", km=say.number(round(tags.distance_km, 1)))


@functools.cache
def _macros(language: str) -> Any:
    say = in_language(language)
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.globals |= {"_": say, "percent": say.percent, "number": say.number}
    environment.filters |= {
        "data_uri": _data_uri,
        "json": functools.partial(json.dumps, indent=1),
    }
    return environment.from_string(asset("answer.html")).module


def _text(markup: Markup) -> str:
    return str(markup).strip()


def _data_uri(content: str | bytes, type: str) -> str:
    data = content.encode() if isinstance(content, str) else content
    return f"data:{type};base64,{base64.b64encode(data).decode()}"

"""The answer to a photo in HTML, in the page's languages; every text in it is escaped."""

from collections.abc import Sequence
from dataclasses import dataclass

from landmark_models.classifier import LandmarkClassifier
from landmark_models.page.languages import in_language
from landmark_models.page.results import PhotoResult
from landmark_models.page.templates import macros, text
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
    answer = macros("answer.html", language)
    if result.tags is None:
        return text(answer.unreadable(result.name, result.error, language))
    tags, label = result.tags, result.tags.predictions[rank].label
    taught = tags.taught.get(label)
    return text(
        answer.headline(
            tags, tags.entry(label, language), tags.name_of(label, language), rank, knows, taught and taught.photos
        )
    )


def details(result: PhotoResult, language: str, rank: int = 0) -> str:
    """What is known of the landmark, its tags, and the files to save; of another candidate only the first."""
    if result.tags is None:
        return ""
    landmark = result.tags.entry(result.tags.predictions[rank].label, language)
    return text(
        macros("answer.html", language).details(
            result.tags, landmark, rank, result.name, _camera(result.tags, language)
        )
    )


def candidates(tags: Tags, language: str) -> dict[str, float]:
    """The shares of the best candidates by name, for `gr.Label`: those that it wouldn't round to 0%, at least two."""
    say = in_language(language)
    shares: dict[str, float] = {}
    for rank, (name, score) in enumerate(tags.named(SHOWN, language).items()):
        if rank < 2 or score >= _LEAST:
            taught = tags.predictions[rank].label in tags.taught
            shares[say("{name} (taught)", name=name) if taught else name] = min(score, _MOST)
    return shares


def alt_text(result: PhotoResult | None, language: str, where: int | None = None) -> str:
    """What the photo shows, for somebody who can't see it; it may be coloured for the candidate of the rank `where`."""
    say = in_language(language)
    if result is None or result.tags is None:
        return say("Your photo")
    best = result.tags.best.label
    name, landmark = result.tags.name_of(best, language), result.tags.entry(best, language)
    if not result.tags.known:
        said = say("A photo in which no landmark was recognised.")
    elif landmark is None or not landmark.address:
        said = say("Photo of {name}.", name=name)
    elif not landmark.kind:
        said = say("Photo of {name} in {place}.", name=name, place=landmark.address)
    else:
        said = say("Photo of {name}, {kind} in {place}.", name=name, kind=landmark.kind, place=landmark.address)
    if where is None:
        return said
    looked_for = result.tags.name_of(result.tags.predictions[where].label, language)
    return f"{said} {say('It is coloured where the model looked for {name}.', name=looked_for)}"


def examples_html(examples: Sequence[tuple[str, bytes]], language: str) -> str:
    """Buttons for photos to try, given as caption and small JPEG."""
    return text(macros("answer.html", language).examples(examples))


def _camera(tags: Tags, language: str) -> str:
    """What the photo's own position says."""
    if not tags.photo_position or tags.distance_km is None:
        return ""
    say = in_language(language)
    return say("The photo's own position agrees: {km} km from it.", km=say.number(round(tags.distance_km, 1)))

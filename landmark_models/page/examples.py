"""Photos to try the page on: those of the model that serves, and some that come with the page and with gradio."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from landmark_models import models
from landmark_models.classifier import LandmarkClassifier
from landmark_models.errors import PhotoError
from landmark_models.page.languages import deferred, in_language
from landmark_models.photo import open_photo, thumbnail
from landmark_models.tagging.gazetteer import find

THUMBNAIL_SIDE = 240  # px, the longer side


@dataclass(frozen=True)
class Example:
    """A photo to try; `label` is the landmark that it shows, or `caption` says in English what it is."""

    file: Path
    label: str = ""
    caption: str = ""

    def name(self, language: str) -> str:
        """What stands below it."""
        if not self.label:
            return in_language(language)(self.caption)
        landmark = find(self.label, language)
        return landmark.name if landmark else self.label


# What the page comes with, then what gradio comes with. Those without a label show none of the models' landmarks.
_PHOTOS = (
    ("page", "hawa_mahal.jpg", "Hawa Mahal", ""),
    ("gradio", "tower.jpg", "Eiffel Tower", ""),
    ("page", "great_wall.jpg", "Great Wall of China", ""),
    ("page", "palais_des_papes.jpg", "Avignon palais des papes", ""),
    ("page", "machu_picchu.jpg", "", deferred("One it doesn't know")),
    ("gradio", "lion.jpg", "", deferred("Not a landmark")),
)


def _file(home: str, name: str) -> Path:
    if home == "gradio":
        return Path(str(files("gradio"))) / "media_assets" / "images" / name
    return Path(str(files(__package__))) / "examples" / name


BUNDLED = tuple(Example(_file(home, name), label, caption) for home, name, label, caption in _PHOTOS)


def example_photos(classifier: LandmarkClassifier) -> list[Example]:
    """The photos in the folder `examples` of a model, then those of `BUNDLED` that it answers as their captions say."""
    examples = []
    for photo in models.examples(classifier.source, classifier.revision):
        with suppress(PhotoError):  # a stranger may have made it
            answer = classifier.predict(photo, 1)
            examples.append(
                Example(photo, answer[0].label) if answer.known else Example(photo, caption=deferred("Example"))
            )
    for example in BUNDLED:
        answer = classifier.predict(example.file, 1)
        if answer[0].label == example.label if answer.known else not example.label:
            examples.append(example)
    return examples


def thumbnails(examples: Sequence[Example]) -> list[bytes]:
    """A small JPEG of each example."""
    return [thumbnail(open_photo(example.file, THUMBNAIL_SIDE), THUMBNAIL_SIDE) for example in examples]

"""The two functions that the field's best-known coursework asks for, with the embedded model or another.

predict_landmarks("holiday.jpg", 3)  # ['Taj Mahal', "Humayun's Tomb", 'Charminar']
suggest_locations("holiday.jpg")  # a figure: the photo, and where it may have been taken
"""

from functools import lru_cache
from typing import TYPE_CHECKING

from landmark_models.classifier import LandmarkClassifier
from landmark_models.errors import LandmarkError
from landmark_models.photo import Photo, read_photo
from landmark_models.tagging.tags import Tags
from landmark_models.text import percent

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["predict_landmarks", "suggest_locations"]

_SIDE = 512  # px, of the photo in the figure


@lru_cache(maxsize=1)
def _classifier(model: str) -> LandmarkClassifier:
    return LandmarkClassifier.load(model)


def predict_landmarks(img_path: Photo, k: int = 3, model: str = "default") -> list[str]:
    """The proper names of the `k` most likely landmarks in a photo, most likely first.

    Raises:
        ModelError: the MODEL can't be loaded.
        PhotoError: the photo can't be read.
        ValueError: `k` is below 1.
    """
    answer = _classifier(model).predict(img_path, k)
    return list(Tags.of(answer).named(len(answer)))


def suggest_locations(img_path: Photo, model: str = "default") -> "Figure":
    """A photo with its three most likely landmarks, as a matplotlib figure, which a notebook displays.

    Raises:
        LandmarkError: matplotlib isn't installed.
        ModelError: the MODEL can't be loaded.
        PhotoError: the photo can't be read.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise LandmarkError("suggest_locations draws with matplotlib: run `pip install matplotlib`.") from None

    classifier = _classifier(model)
    photo = read_photo(img_path, max(_SIDE, classifier.min_side))
    tags = Tags.of(classifier.predict(photo.image, 3), photo.position)
    names = [f"{name} ({percent(score)})" for name, score in tags.named(3).items()]
    figure = Figure(figsize=(7, 6), layout="constrained")
    axes = figure.subplots()
    axes.imshow(photo.image)
    axes.axis("off")
    title = f"Is this {', or '.join(names)}?"
    if tags.contradicted:
        title = f"Not recognised. {tags.statement}."
    elif not tags.known:
        title = f"Not recognised; the nearest, compared with each other only:\n{', '.join(names)}"
    axes.set_title(title, wrap=True, parse_math=False)
    return figure

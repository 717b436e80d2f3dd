"""The two functions that the field's best-known coursework asks for, with the embedded model or another.

predict_landmarks("holiday.jpg", 3)  # ['Taj Mahal', 'Humayun s Tomb', 'charminar']
suggest_locations("holiday.jpg")  # a figure: the photo, and where it may have been taken
"""

from functools import lru_cache
from typing import TYPE_CHECKING

from landmark_models.classifier import LandmarkClassifier
from landmark_models.errors import LandmarkError
from landmark_models.photo import Photo, open_photo, photo_position
from landmark_models.tagging.tags import Tags

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["predict_landmarks", "suggest_locations"]

_SIDE = 512  # px, of the photo in the figure


@lru_cache(maxsize=1)
def _classifier(model: str) -> LandmarkClassifier:
    return LandmarkClassifier.load(model)


def predict_landmarks(img_path: Photo, k: int = 3, model: str = "default") -> list[str]:
    """The labels of the `k` most likely landmarks in a photo, most likely first.

    Raises:
        ModelError: the MODEL can't be loaded.
        PhotoError: the photo can't be read.
        ValueError: `k` is below 1.
    """
    return [candidate.label for candidate in _classifier(model).predict(img_path, k)]


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

    image = open_photo(img_path, _SIDE)
    tags = Tags.of(_classifier(model).predict(image, 3), photo_position(img_path))
    names = [f"{name} ({score:.0%})" for name, score in tags.named(3).items()]
    figure = Figure(figsize=(7, 6), layout="constrained")
    axes = figure.subplots()
    axes.imshow(image)
    axes.axis("off")
    question = f"Is this {', or '.join(names)}?"
    axes.set_title(question if tags.recognised else f"Not recognised; the nearest:\n{', '.join(names)}", wrap=True)
    return figure

"""Photos that a visitor can try: the model's own, and some that come with gradio."""

from importlib.resources import files
from pathlib import Path

from landmark_models import models
from landmark_models.page.serving import Serving
from landmark_models.tagging.tags import Tags

__all__ = ["GRADIO_EXAMPLES", "example_photos", "gradio_examples"]

_LANDMARK = "Eiffel Tower"
GRADIO_EXAMPLES = {"tower.jpg": _LANDMARK, "lion.jpg": "A lion: not a landmark"}  # with captions


def gradio_examples() -> dict[Path, str]:
    """Photos that come with the installed gradio, with their captions: a landmark, and something else."""
    folder = Path(str(files("gradio"))) / "media_assets" / "images"
    return {folder / name: caption for name, caption in GRADIO_EXAMPLES.items()}


def example_photos(serving: Serving) -> dict[Path, str]:
    """The photos in the folder `examples` of the model that serves, then Gradio's, with their captions.

    Gradio's are left out where the model's answer differs from the caption: it may know other landmarks.
    """
    classifier = serving.current.classifier
    own = models.examples(classifier.source, classifier.revision)
    examples = {photo: f"Example {number}" for number, photo in enumerate(own, start=1)}
    for photo, caption in gradio_examples().items():
        answer = classifier.predict(photo, 1)
        if Tags.of(answer).name == caption if answer.known else caption != _LANDMARK:
            examples[photo] = caption
    return examples

"""The photos that a visitor can try."""

import shutil

import pytest
from helpers.photos import noisy_photo

from landmark_models import LandmarkClassifier
from landmark_models.page.facts import example_photos, gradio_examples
from landmark_models.page.serving import Serving
from landmark_models.tagging.tags import Tags


def test_a_models_own_examples_come_before_gradios(run, tmp_path):
    folder = shutil.copytree(run.model, tmp_path / "model")
    (folder / "examples").mkdir()
    own = folder / "examples" / "01.jpg"
    noisy_photo((200, 40, 40), 1).save(own)
    tower, _ = gradio_examples()
    examples = example_photos(Serving(str(folder)))
    assert next(iter(examples.items())) == (own, "Example 1")
    assert tower not in examples  # this model does not know it


@pytest.mark.parametrize(("model", "offered"), [("default", ["tower.jpg", "lion.jpg"]), ("compact", ["lion.jpg"])])
def test_an_embedded_model_answers_the_examples_as_their_captions_say(model, offered):
    classifier = LandmarkClassifier.load(model)
    examples = example_photos(Serving(model))
    assert [photo.name for photo in examples] == offered
    for photo, caption in examples.items():
        tags = Tags.of(classifier.predict(photo))
        assert tags.known == (caption == "Eiffel Tower")
        assert tags.name == caption or not tags.known

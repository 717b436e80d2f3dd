"""The photos to try."""

import shutil

import pytest
from helpers.photos import noisy_photo

from landmark_models import LandmarkClassifier
from landmark_models.page.examples import BUNDLED, example_photos, thumbnails


def test_a_models_own_examples_come_first_and_only_those_that_it_answers_rightly(run, tmp_path):
    folder = shutil.copytree(run.model, tmp_path / "model")
    (folder / "examples").mkdir()
    noisy_photo((200, 40, 40), 1).save(folder / "examples" / "01.jpg")
    (folder / "examples" / "02.jpg").write_text("no photo")
    examples = example_photos(LandmarkClassifier.load(folder))
    assert examples[0].file.name == "01.jpg"
    assert "02.jpg" not in [example.file.name for example in examples]
    assert not any(example.label for example in examples[1:])  # this model doesn't know the Eiffel Tower


@pytest.mark.parametrize(("model", "least"), [("default", 6), ("compact", 4)])
def test_an_embedded_model_answers_the_examples_as_their_captions_say(model, least):
    classifier = LandmarkClassifier.load(model)
    examples = example_photos(classifier)
    assert len(examples) >= least
    for example in examples:
        answer = classifier.predict(example.file)
        assert answer.known == bool(example.label), example
        assert not answer.known or answer[0].label == example.label
    assert not examples[-1].label  # the last one is no landmark


def test_examples_have_names_in_each_language_and_small_pictures():
    assert [example.name("en") for example in BUNDLED[-2:]] == ["One it doesn't know", "Not a landmark"]
    assert "Eiffel Tower" in [example.name("en") for example in BUNDLED]
    assert "Tour Eiffel" in [example.name("fr") for example in BUNDLED]
    assert all(len(picture) < 30_000 for picture in thumbnails(BUNDLED))

import sys

import pytest
from helpers.model_folders import renamed
from helpers.photos import noisy_photo, with_gps
from matplotlib.figure import Figure
from PIL import Image

from landmark_models import LandmarkClassifier, LandmarkError, PhotoError, predict_landmarks, suggest_locations


def test_the_likeliest_landmarks_are_named(sure, famous_model, photo):
    expected = [candidate.label for candidate in LandmarkClassifier.load(sure).predict(photo, 2)]
    assert predict_landmarks(photo, 2, str(sure)) == expected
    named = renamed(sure, famous_model.parent / "apostrophe", {"Red Tower": "humayun s tomb"})
    assert predict_landmarks(photo, 1, str(named)) == ["Humayun's Tomb"]
    assert len(predict_landmarks(photo)) == 3
    with pytest.raises(ValueError, match="top_k=0"):
        predict_landmarks(photo, 0)


def test_a_figure_shows_the_photo_and_asks_or_says_that_nothing_is_recognised(sure, photo, tmp_path):
    figure = suggest_locations(photo, str(sure))
    assert isinstance(figure, Figure)
    (axes,) = figure.axes
    assert axes.get_title().startswith("Is this Red Tower (")
    assert axes.images[0].get_array().shape == (48, 64, 3)
    assert suggest_locations(photo).axes[0].get_title().startswith("Not recognised")  # it shows no landmark
    with pytest.raises(PhotoError):
        suggest_locations(tmp_path / "gone.jpg")


def test_every_kind_of_photo_is_taken(sure, photo):
    with photo.open("rb") as file, Image.open(photo) as image:
        for kind in (str(photo), photo.read_bytes(), file, image):
            assert suggest_locations(kind, str(sure)).axes[0].get_title().startswith("Is this Red Tower (")


def test_a_photo_taken_elsewhere_is_said_to_be(famous_model, tmp_path):
    with_gps(tmp_path / "agra.jpg", image=noisy_photo((200, 40, 40), 1))
    title = suggest_locations(tmp_path / "agra.jpg", str(famous_model)).axes[0].get_title()
    assert title.startswith("Not recognised. Looks like Eiffel Tower, but the photo was taken")


def test_without_matplotlib_a_sentence_says_what_to_install(photo, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(LandmarkError, match="pip install matplotlib"):
        suggest_locations(photo)

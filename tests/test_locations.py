import sys

import pytest
from matplotlib.figure import Figure

from landmark_models import LandmarkClassifier, LandmarkError, PhotoError, predict_landmarks, suggest_locations


def test_the_likeliest_landmarks_are_named_by_their_labels(sure, photo):
    expected = [candidate.label for candidate in LandmarkClassifier.load(sure).predict(photo, 2)]
    assert predict_landmarks(photo, 2, str(sure)) == expected
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


def test_without_matplotlib_a_sentence_says_what_to_install(photo, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(LandmarkError, match="pip install matplotlib"):
        suggest_locations(photo)

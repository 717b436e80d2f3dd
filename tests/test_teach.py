from pathlib import Path

import pytest
import torch
from helpers.photos import COLORS, MORE_COLORS, noisy_photo
from PIL import Image

import landmark_models
from landmark_models import LandmarkClassifier
from landmark_models.teach import teach
from landmark_models.teaching import AddOnError, Facts

YELLOW = MORE_COLORS["03.Yellow_Gate"]
RED = COLORS["00.Red_Tower"]


@pytest.fixture
def examples() -> Path:
    return Path(landmark_models.__file__).parent / "page" / "examples"


@pytest.fixture(scope="module")
def classifier(teachable) -> LandmarkClassifier:
    return LandmarkClassifier.load(teachable.path, engine="torch")


def photos(color, count, first=0):
    return [noisy_photo(color, seed) for seed in range(first, first + count)]


def test_a_landmark_is_recognised_after_five_photos_and_others_are_as_before(classifier):
    lesson = teach(classifier, " Yellow Gate ", photos(YELLOW, 5))
    assert (lesson.label, lesson.used, lesson.unreadable) == ("Yellow Gate", (0, 1, 2, 3, 4), {})
    assert lesson.recognised == len(lesson.left_out) == 5
    assert (lesson.odd, lesson.confused_with) == ([], None)
    taught = classifier.with_taught(lesson.addon)
    for photo in photos(YELLOW, 3, first=50):
        answer = taught.predict(photo)
        assert answer[0].label == "Yellow Gate"
        assert answer.known
    for photo in photos(RED, 3, first=50):
        before, after = classifier.predict(photo), taught.predict(photo)
        assert (before[0].label, before.known) == (after[0].label, after.known)
    assert classifier.predict(photos(YELLOW, 1)[0])[0].label in classifier.labels


def test_a_photo_unlike_the_others_is_marked(examples):
    palace, wall = (Image.open(examples / name) for name in ("palais_des_papes.jpg", "great_wall.jpg"))
    width, height = palace.size
    views = [palace.crop((shift, 0, width - 40 + shift, height)) for shift in (0, 10, 20, 30, 40)]
    classifier = LandmarkClassifier.load(engine="torch")
    lesson = teach(classifier, "A palace", [*views, wall])
    assert lesson.odd == [5]
    assert [photo.recognised for photo in lesson.left_out] == [True] * 5 + [False]
    assert lesson.confused_with == ("Great Wall of China", 1)
    assert teach(classifier, "A palace", views).odd == []


def test_what_cannot_be_read_is_told_and_left_out(classifier, tmp_path):
    (tmp_path / "bad.jpg").write_text("no photo")
    some = photos(YELLOW, 2)
    counted = []
    lesson = teach(classifier, "Yellow Gate", [some[0], tmp_path / "bad.jpg", some[1]], progress=counted.append)
    assert lesson.used == (0, 2)
    assert list(lesson.unreadable) == [1]
    assert "not an image" in lesson.unreadable[1]
    assert (lesson.addon.counts.tolist(), sum(counted)) == ([2], 3)
    with pytest.raises(AddOnError, match=r"Gate can't be taught without a photo that can be read\. .*not an image"):
        teach(classifier, "Gate", [tmp_path / "bad.jpg"])
    with pytest.raises(AddOnError, match="without a photo"):
        teach(classifier, "Gate", [])


def test_one_photo_teaches_without_an_estimate(classifier):
    lesson = teach(classifier, "Yellow Gate", photos(YELLOW, 1))
    assert lesson.left_out == ()
    assert (lesson.recognised, lesson.odd, lesson.confused_with) == (0, [], None)
    assert classifier.with_taught(lesson.addon).predict(photos(YELLOW, 1)[0])[0].label == "Yellow Gate"


def test_a_photo_and_its_mirror_image_teach_the_same(classifier):
    photo = Image.effect_noise((64, 64), 100).convert("RGB")
    mirrored = photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    one, other = (teach(classifier, "gate", [each]).addon.vectors.float() for each in (photo, mirrored))
    assert torch.cosine_similarity(one, other) > 0.999


@pytest.mark.parametrize("label", ["", "  ", "\x1b[31m", "a" * 256, "a\nb"])
def test_a_label_is_a_name(classifier, label):
    with pytest.raises(AddOnError, match="name"):
        teach(classifier, label, photos(YELLOW, 1))


def test_another_name_of_a_known_landmark_adds_to_it(classifier):
    default = LandmarkClassifier.load(engine="torch")
    some = photos(YELLOW, 1)
    assert teach(default, "Fontaine de la Rotonde", some).label == "Aix rotonde"
    assert teach(default, "TAJ MAHAL", some).label == "Taj Mahal"
    with pytest.raises(AddOnError, match="The model knows Taj Mahal and where it is"):
        teach(default, "Taj Mahal", some, Facts(place="Bath"))
    taught = default.with_taught(teach(default, "Café", some).addon)
    for spelling in ("Cafe\u0301", "cafe", "CAFÉ"):
        assert teach(taught, spelling, some).label == "Café"

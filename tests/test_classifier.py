import itertools
import math
import re
import shutil
from pathlib import Path

import pytest
import torch
from helpers.model_folders import forget_rule
from helpers.photos import noisy_photo, with_gps
from PIL import Image

from landmark_models import LandmarkClassifier, LandmarkError, ModelError, PhotoError, Prediction, open_photo
from landmark_models.answer import right_of_100
from landmark_models.networks.served import Outputs
from landmark_models.preprocess import required_side, serving_transform


@pytest.fixture(scope="module")
def classifier(run):
    return LandmarkClassifier.load(run.path)


def test_predictions_are_ranked_probabilities(classifier, photo):
    predictions = classifier.predict(photo, top_k=3)
    assert [type(prediction) for prediction in predictions] == [Prediction] * 3
    assert {prediction.label for prediction in predictions} == {"Red Tower", "Green Bridge", "Blue Lake"}
    scores = [prediction.score for prediction in predictions]
    assert scores == sorted(scores, reverse=True)
    assert sum(scores) == pytest.approx(1)


def test_its_repr_says_which_model_it_is(classifier, run, evaluated):
    assert repr(classifier) == f"<LandmarkClassifier {run.path}: landmark_net, 3 labels, torch on cpu>"
    measured = LandmarkClassifier.from_pretrained(evaluated.path)
    assert f", {measured.right_of_100} of 100 answers right>" in repr(measured)


def test_a_model_without_a_rule_claims_nothing_of_its_answers(evaluated, tmp_path):
    folder = shutil.copytree(evaluated.model, tmp_path / "model")
    known = Outputs(torch.tensor([[9.0, 0.0, 0.0]]), torch.tensor([math.inf]))
    assert "of 100 such answers were right" in LandmarkClassifier.load(folder).rank(known)[0].verdict
    forget_rule(folder)
    classifier = LandmarkClassifier.load(folder)
    assert classifier.right_of_100 is None
    assert "of 100" not in classifier.rank(known)[0].verdict


def test_it_is_called_as_a_pipeline_of_transformers_is(classifier, photo):
    answer = classifier.predict(photo)
    expected = [{"label": candidate.label, "score": candidate.score} for candidate in answer]
    assert classifier(photo) == classifier(photo.read_bytes()) == expected
    assert classifier(photo, top_k=1) == expected[:1]
    assert classifier(photo, top_k=None) == expected
    several = classifier([photo, Image.open(photo)], top_k=2)
    assert [[candidate["label"] for candidate in one] for one in several] == [[c["label"] for c in expected[:2]]] * 2
    assert classifier([]) == []
    with pytest.raises(PhotoError):
        classifier([photo, b"no photo"])
    with pytest.raises(ValueError, match="top_k=0"):
        classifier(photo, top_k=0)


def test_from_pretrained_takes_folders_and_refuses_a_revision_for_them(run, monkeypatch, photo):
    monkeypatch.chdir(run.path.parent)
    (run.path.parent / "alice").mkdir()
    (run.path.parent / "alice" / "landmarks").symlink_to(run.model)
    by_name = LandmarkClassifier.from_pretrained("alice/landmarks")
    assert by_name(photo) == LandmarkClassifier.load(run.path)(photo)
    with pytest.raises(ModelError, match=r"alice/landmarks can't be loaded at the revision v1: it isn't on the Hub"):
        LandmarkClassifier.from_pretrained("alice/landmarks", revision="v1")
    with pytest.raises(ModelError, match="the revision v1: it has one already"):
        LandmarkClassifier.from_pretrained("bob/landmarks@v2", revision="v1")
    for path in ("./nope", "../nope", "~/nope", "/nope", "runs/nope/model", Path("runs/nope")):
        with pytest.raises(ModelError, match=f"There is no model folder {re.escape(str(path))};"):
            LandmarkClassifier.from_pretrained(path)


def test_top_k_is_at_most_what_the_model_knows_and_at_least_one(classifier, photo):
    assert len(classifier.predict(photo, top_k=99)) == 3
    assert len(classifier.predict(photo, top_k=1)) == 1
    with pytest.raises(ValueError, match="at least 1"):
        classifier.predict(photo, top_k=0)
    with pytest.raises(ValueError, match="at least 1"):
        classifier.predict_many([photo], top_k=0)
    with pytest.raises(ValueError, match="batch_size"):
        classifier.predict_many([photo], batch_size=0)


def test_every_form_of_a_photo_gives_the_same(classifier, photo):
    expected = classifier.predict(photo)
    with photo.open("rb") as file:
        assert classifier.predict(file) == expected
    assert classifier.predict(photo.read_bytes()) == expected
    with Image.open(photo) as image:
        assert classifier.predict(image) == expected


def test_many_photos_are_answered_like_single_ones_and_a_bad_one_affects_no_other(classifier, shared_data):
    paths = sorted((shared_data / "test").rglob("*.jpg"))
    answers = list(classifier.predict_many([*paths[:4], b"no photo", *paths[4:]], top_k=2, batch_size=4))
    assert isinstance(answers[4], PhotoError)
    for path, answer in zip(paths, answers[:4] + answers[5:], strict=True):
        alone = classifier.predict(path, top_k=2)
        assert [p.label for p in answer] == [p.label for p in alone]
        assert [p.score for p in answer] == pytest.approx([p.score for p in alone], abs=1e-4)
    assert list(classifier.predict_many([])) == []


def test_something_that_is_not_a_photo_affects_no_other(classifier, photo):
    closed = photo.open("rb")
    closed.close()
    answers = list(classifier.predict_many([None, closed, bytearray(photo.read_bytes())]))
    assert [isinstance(answer, PhotoError) for answer in answers] == [True, True, False]


def test_a_single_photo_is_not_taken_for_many(classifier, photo):
    content = photo.read_bytes()
    for one in (str(photo), photo, content, bytearray(content), memoryview(content), Image.new("RGB", (4, 4)), None):
        with pytest.raises(LandmarkError, match="for one photo call predict"):
            classifier.predict_many(one)
    with photo.open("rb") as file, pytest.raises(LandmarkError, match="for one photo call predict"):
        classifier.predict_many(file)


def test_a_photo_without_pixels_affects_no_other(classifier, photo):
    empty = Image.new("RGB", (0, 0))
    with pytest.raises(PhotoError):
        classifier.predict(empty)
    answers = list(classifier.predict_many([empty, Image.new("L", (0, 5)), photo]))
    assert [isinstance(answer, PhotoError) for answer in answers] == [True, True, False]


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_a_sideways_photo_that_was_opened_before_is_not_turned_twice(format, classifier, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    file = tmp_path / "sideways"
    noisy_photo((200, 40, 40), 1, (64, 32)).save(file, format, exif=exif)
    image = open_photo(file)
    assert image.size == open_photo(image).size == (32, 64)
    assert classifier.predict(image) == classifier.predict(file)


def test_photos_are_taken_a_batch_at_a_time(classifier, photo):
    endless = classifier.predict_many(itertools.repeat(photo), batch_size=2)
    assert len(list(itertools.islice(endless, 5))) == 5


def test_the_temperature_softens_and_keeps_the_order(run, photo):
    sharp, soft = LandmarkClassifier.load(run.path), LandmarkClassifier.load(run.path)
    soft.served.temperature = 10.0
    a, b = sharp.predict(photo), soft.predict(photo)
    assert [p.label for p in a] == [p.label for p in b]
    assert b[0].score < a[0].score


def test_the_estimated_accuracy_is_never_100():
    assert right_of_100({"named": 176, "right": 176}) == 99
    assert right_of_100({"named": 190, "right": 184}) == 96


def test_the_serving_transform_is_what_the_config_says():
    cfg = {"input_size": (3, 20, 20), "crop_pct": 0.5, "mean": (0.5,) * 3, "std": (0.25,) * 3}
    image = Image.new("RGB", (80, 40), (255, 128, 0))
    tensor = serving_transform(cfg)(image)
    assert tensor.shape == (3, 20, 20)
    assert tensor.dtype == torch.float32
    assert tensor[:, 10, 10].tolist() == pytest.approx([2, 0.0078, -2], abs=1e-3)
    assert required_side(cfg) == 40


def test_an_answer_has_the_photos_own_position(classifier, tmp_path):
    file = with_gps(tmp_path / "a.jpg")
    position = (pytest.approx(27.175), pytest.approx(78.0421, abs=1e-4))
    assert classifier.predict(file).position == position
    answers = list(classifier.predict_many([file, tmp_path / "none.jpg", Image.new("RGB", (64, 48))]))
    assert answers[0].position == position
    assert isinstance(answers[1], PhotoError)
    assert answers[2].position is None

import json
import shutil
import subprocess
import sys

import pytest
from helpers.photos import COLORS, MORE_COLORS, write_data
from PIL import Image

from landmark_models import LandmarkClassifier, LandmarkError
from landmark_models.teach import teach
from landmark_models.text import label_of
from train.data import DataError
from train.measure.few_shot import few_shot
from train.measure.few_shot_tables import few_shot_tables


@pytest.fixture(scope="module")
def more_data(tmp_path_factory):
    """Photos of two more classes than the model knows."""
    return write_data(tmp_path_factory.mktemp("more") / "photos", train=7, test=4, colors=COLORS | MORE_COLORS)


@pytest.fixture(scope="module")
def negatives(tmp_path_factory):
    folder = tmp_path_factory.mktemp("negatives")
    for index, kind in enumerate(["food", "food", "other_landmarks"]):
        (folder / kind).mkdir(exist_ok=True)
        Image.effect_noise((48, 48), 60 + index).save(folder / kind / f"{index}.png")
    return folder


def test_classes_that_the_model_does_not_know_are_taught_and_all_are_measured(
    teachable, more_data, negatives, tmp_path
):
    metrics = few_shot(
        teachable.path, more_data, tmp_path / "out", shots=[5, 1], draws=2, elsewhere=more_data, negatives=negatives
    )
    assert json.loads((tmp_path / "out" / "metrics.json").read_text()) == metrics
    assert (metrics["known"], metrics["unknown"], metrics["taught"]) == (3, ["Yellow Gate", "White Dome"], 2)
    assert [(line["draw"], line["photos"]) for line in metrics["draws"]] == [(1, 1), (1, 5), (2, 1), (2, 5)]
    for line in metrics["draws"]:
        assert line["elsewhere"] == line["test"]  # the same photos
        assert (line["test"]["known"]["n"], line["test"]["taught"]["n"]) == (12, 8)
        right = sum(right for _, right in line["test"]["per_class"].values())
        assert line["test"]["taught"]["top1"] == right / 8
        assert (line["others"]["near"]["n"], line["others"]["far"]["n"]) == (1, 2)
    fives = [line["test"]["taught"]["top1"] for line in metrics["draws"] if line["photos"] == 5]
    assert metrics["summary"]["5"]["test.taught.top1"] == {
        "mean": sum(fives) / 2,
        "low": min(fives),
        "high": max(fives),
    }
    titles = [table.title for table in few_shot_tables(metrics)]
    assert len(titles) == 5


def test_the_figures_are_those_of_the_serving_path(teachable, more_data, tmp_path):
    metrics = few_shot(teachable.path, more_data, tmp_path / "out", shots=[7], draws=1)  # all photos
    classifier = LandmarkClassifier.load(teachable.path)
    addons = [
        teach(classifier, label_of(name), sorted((more_data / "train" / name).iterdir())).addon for name in MORE_COLORS
    ]
    paths = sorted((more_data / "test").rglob("*.jpg"))
    answers = list(classifier.with_taught(*addons).predict_many(paths))
    right = [answer[0].label == label_of(path.parent.name) for answer, path in zip(answers, paths, strict=True)]
    named = [hit and answer.known for hit, answer in zip(right, answers, strict=True)]
    figures = metrics["draws"][0]["test"]
    assert figures["taught"]["top1"] == pytest.approx(sum(right[12:]) / 8)
    assert figures["taught"]["named_rightly"] == pytest.approx(sum(named[12:]) / 8)
    assert figures["known"]["top1"] == pytest.approx(sum(right[:12]) / 12)


def test_each_draw_chooses_among_more_classes_than_are_taught_and_the_seed_repeats_it(teachable, more_data, tmp_path):
    def taught(seed):
        metrics = few_shot(teachable.path, more_data, tmp_path / "out", classes=1, shots=[2], draws=6, seed=seed)
        return [(*line["test"]["per_class"],) for line in metrics["draws"]]

    first = taught(0)
    assert set(first) == {("Yellow Gate",), ("White Dome",)}
    assert taught(0) == first
    assert taught(1) != first


def test_what_cannot_be_measured_gives_a_sentence(teachable, run, shared_data, more_data, tmp_path):
    with pytest.raises(DataError, match=r"knows all 3 classes of .*--exclude"):
        few_shot(teachable.path, shared_data, tmp_path / "out")
    with pytest.raises(LandmarkError, match="can't be taught"):
        few_shot(run.path, more_data, tmp_path / "out")
    with pytest.raises(DataError, match="needs train/"):
        few_shot(teachable.path, more_data / "train", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_photo_that_cannot_be_read_teaches_nothing(teachable, more_data, tmp_path, capsys):
    data = shutil.copytree(more_data, tmp_path / "photos")
    for name in MORE_COLORS:
        for photo in sorted((data / "train" / name).iterdir())[1:]:
            photo.write_bytes(b"no photo")
    metrics = few_shot(teachable.path, data, tmp_path / "out", shots=[7], draws=1)
    assert "12 of the 14 photos" in capsys.readouterr().out
    assert set(metrics["draws"][0]["test"]["per_class"]) == {"Yellow Gate", "White Dome"}


def test_the_command_prints_tables(teachable, more_data, tmp_path):
    command = [
        sys.executable,
        "-m",
        "train.few_shot",
        teachable.path,
        "--data",
        more_data,
        "--output",
        tmp_path / "out",
    ]
    result = subprocess.run([*command, "--shots", "2", "--draws", "2"], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "taught: top-1" in result.stdout
    assert "2 photos" in result.stdout
    assert "White Dome" in result.stdout

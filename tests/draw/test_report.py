import csv
import re

import pytest
import torch
from helpers.photos import COLORS

from landmark_models import LandmarkClassifier
from train.draw.report import confusion_order, most_confused
from train.measure.evaluation import evaluate


def test_the_most_frequent_mistakes_come_first():
    targets, named = torch.tensor([0, 0, 0, 1, 1, 2, 2]), torch.tensor([1, 1, 0, 1, 2, 0, 0])
    assert most_confused(named, targets) == [(0, 1, 2), (2, 0, 2), (1, 2, 1)]
    assert most_confused(targets, targets) == []


def test_classes_that_are_mistaken_for_one_another_are_neighbours():
    targets = torch.tensor([0] * 10 + [1] * 10 + [2] * 10 + [3] * 10)
    named = torch.tensor([0] * 5 + [3] * 5 + [1] * 6 + [2] * 4 + [2] * 6 + [1] * 4 + [3] * 5 + [0] * 5)
    order = confusion_order(named, targets, 4)
    assert sorted(order) == [0, 1, 2, 3]
    assert abs(order.index(0) - order.index(3)) == abs(order.index(1) - order.index(2)) == 1
    assert confusion_order(targets[:20], targets[:20], 2) == [0, 1]


@pytest.fixture(scope="module")
def report(run, shared_data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    evaluate(run.model, shared_data, "test", folder)
    return folder


def test_every_photo_is_named_as_it_is_served(report, run, shared_data):
    rows = list(csv.DictReader((report / "predictions.csv").read_text().splitlines()))
    assert len(rows) == 9
    classifier = LandmarkClassifier.load(run.path)
    for row in rows:
        best = classifier.predict(shared_data / row["path"], 1)[0]
        assert (row["named"], float(row["confidence"])) == (best.label, pytest.approx(best.score, abs=1e-3))


def test_the_page_opens_offline_with_everything_it_shows(report):
    page = (report / "report" / "index.html").read_text()
    assert "http" not in page
    for name in re.findall(r'src="\./([^"]+)"', page):
        assert (report / "report" / name).is_file(), name
    assert {"reliability.png", "answered.png"} <= {f.name for f in (report / "report").iterdir()}
    for heading in ("Confidence", "Most confused", "Most confident mistakes", "Classes", "weighted F1"):
        assert heading in page
    rows = list(csv.reader((report / "report" / "confusion.csv").read_text().splitlines()))
    assert sorted(rows[0][1:]) == sorted(name.partition(".")[2].replace("_", " ") for name in COLORS)
    assert sum(int(cell) for row in rows[1:] for cell in row[1:]) == 9

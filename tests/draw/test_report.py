import csv
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.photos import COLORS
from PIL import Image

from landmark_models import LandmarkClassifier
from landmark_models.errors import run_command
from train.draw.output import write_page
from train.draw.report import confusion_order, draw_answered, draw_confusion, draw_reliability, most_confused
from train.measure.evaluation import evaluate
from train.measure.tables import print_tables


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
    assert re.search(r"[\d,]+ photos/s \(the network alone, in float32 and batches of 32\) on CPU, \d thread", page)
    rows = list(csv.reader((report / "report" / "confusion.csv").read_text().splitlines()))
    assert sorted(rows[0][1:]) == sorted(name.partition(".")[2].replace("_", " ") for name in COLORS)
    assert sum(int(cell) for row in rows[1:] for cell in row[1:]) == 9


def picture(file: Path) -> np.ndarray:
    with Image.open(file) as image:
        return np.asarray(image.convert("RGB"))


def edge(pixels: np.ndarray) -> np.ndarray:
    """The outermost pixels of a picture, which nothing in it may touch."""
    return np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])


LONG = ["Basilica of Our Lady of the Sacred Heart upon the Hill", "Name_without_spaces_" * 5]
OTHER_SCRIPTS = ["Красная площадь", "ताजमहल", "天坛", "\U0001e290 without a font", "$x^2$"]


def mistaken(classes: int) -> tuple[torch.Tensor, torch.Tensor]:
    targets = torch.arange(classes).repeat(3)
    return torch.where(torch.arange(len(targets)) % 7 == 0, (targets + 1) % classes, targets), targets


@pytest.mark.parametrize("classes", [2, 12, 60, 300])
def test_nothing_in_a_confusion_matrix_is_cut_off(classes, tmp_path):
    draw_confusion(*mistaken(classes), [*LONG, *OTHER_SCRIPTS, *map(str, range(classes))][:classes], tmp_path / "c.png")
    pixels = picture(tmp_path / "c.png")
    assert (edge(pixels) == 255).all()
    assert max(pixels.shape) < 2200  # so that a screen shows its names


def test_of_very_many_classes_those_most_often_mistaken_are_drawn(tmp_path, monkeypatch):
    drawn = {}
    monkeypatch.setattr(
        "train.draw.report._draw_matrix",
        lambda counts, totals, names, title, file: drawn.update(counts=counts, names=names, title=title),
    )
    targets = torch.arange(300).repeat(3)
    predicted = targets.clone()
    predicted[[5, 305, 9]] = torch.tensor([7, 7, 200])
    draw_confusion(predicted, targets, [f"n{index}" for index in range(300)], tmp_path / "x.png")
    assert {"n5", "n7", "n9", "n200"} <= set(drawn["names"])
    assert drawn["title"] == "The 40 of 300 landmarks most often mistaken, n = 900 photos"
    assert drawn["counts"][drawn["names"].index("n5"), drawn["names"].index("n7")] == 2


def test_a_name_that_no_font_has_is_shown_as_its_row_in_the_table(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr("train.draw.report._draw_matrix", lambda *arguments: drawn.extend(arguments))
    draw_confusion(*mistaken(2), ["\U0001e290", "Taj Mahal"], tmp_path / "x.png")
    assert drawn[2] == ["no. 1", "Taj Mahal"]
    assert "row N of report/confusion.csv" in drawn[3]


@pytest.mark.parametrize("confidences", [[1.0], [0.0, 1.0], [0.5, 0.99, 1.0, 1.0], list(np.linspace(0.01, 1, 400))])
def test_nothing_in_the_pictures_of_confidence_is_cut_off(confidences, tmp_path):
    values = torch.tensor(confidences)
    for correct in (torch.ones(len(values)).bool(), torch.arange(len(values)) % 3 > 0):
        draw_reliability(values, correct, 15, tmp_path / "reliability.png")
        draw_answered(values, correct, tmp_path / "answered.png")
        for name in ("reliability.png", "answered.png"):
            assert (edge(picture(tmp_path / name)) == 255).all()


def test_file_names_break_between_folders(tmp_path):
    page = tmp_path / "index.html"
    shown = [{"picture": "a.jpg", "caption": "a", "path": "test/Red_Tower/1 & 2.jpg"}]
    write_page(page, "evaluation.html.j2", title="t", summary="s", tables=[], confused=shown, mistakes=[])
    assert "<span>test/</span><span>Red_Tower/</span><span>1 &amp; 2.jpg</span>" in page.read_text()


def test_a_report_in_an_encoding_without_its_letters_is_printed(report, run, shared_data, tmp_path, monkeypatch):
    metrics = json.loads((report / "metrics.json").read_text())
    metrics["per_class"]["ताजमहल"] = metrics["per_class"].pop("Red Tower")
    output = io.TextIOWrapper(io.BytesIO(), encoding="cp1252")
    monkeypatch.setattr("sys.stdout", output)
    run_command(lambda: print_tables(metrics))
    output.flush()
    shown = output.buffer.getvalue().decode("cp1252")
    assert "macro F1" in shown
    assert "\\u0924" in shown

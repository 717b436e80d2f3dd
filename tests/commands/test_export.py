import json
import re

import pytest
from helpers.exports import in_this_process
from helpers.programs import invoke

from landmark_models.errors import LandmarkError
from train import export, exported
from train.data import DataError
from train.evaluate import open_exported
from train.hub import single_file
from train.hub.exported_model import ExportedModel
from train.measure.evaluation import evaluate


@pytest.fixture(autouse=True)
def quick_check(monkeypatch):
    monkeypatch.setattr(single_file, "in_fresh_process", in_this_process)


def test_export_writes_the_courseworks_file_and_prints_what_it_measured(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    output = invoke(export.command, run.path).output
    assert "synthetic photos (no --photos)" in output
    assert re.search(r"checkpoints/transfer_exported\.pt: torchscript, 0\.\d MB\.", output)
    assert "probabilities differ by at most" in output
    model = ExportedModel(tmp_path / "checkpoints" / "transfer_exported.pt")
    assert model.labels == ["Red Tower", "Green Bridge", "Blue Lake"]


def test_export_prints_the_accuracy_on_photos_and_a_mistake_is_a_sentence(run, shared_data, tmp_path):
    file = tmp_path / "m.onnx"
    output = invoke(export.command, run.path, "--format", "onnx", "--output", file, "--photos", shared_data).output
    assert "on 33 of 33" in output
    assert "accuracy on the 33 photos" in output
    error = invoke(export.command, run.path, "--format", "pt2", "--output", file).exception
    assert isinstance(error, LandmarkError)
    assert str(error) == "A file of the format pt2 must be named *.pt2, not m.onnx."


def test_an_exported_file_is_used_and_evaluated_like_a_model(sure, shared_data, photo, tmp_path):
    file = tmp_path / "model.pt"
    invoke(export.command, sure, "--output", file)
    (tmp_path / "bad.jpg").write_text("no photo")
    result = invoke(exported.command, file, photo, tmp_path / "bad.jpg", "-k", 2)
    good, bad = map(json.loads, result.stdout.splitlines())
    assert result.exit_code == 1
    assert (good["predictions"][0]["label"], len(good["predictions"]), good["known"]) == ("Red Tower", 2, True)
    assert "bad.jpg is not an image" in bad["error"]
    of_file = evaluate(file, shared_data, "test", tmp_path / "file", subject=open_exported(file))
    of_model = evaluate(sure, shared_data, "test", tmp_path / "model")
    assert of_file["top1"] == of_model["top1"]
    assert of_file["ece"] == pytest.approx(of_model["ece"], abs=0.02)  # its resize differs a little
    assert (of_file["digest"], of_file["temperature"]) == (of_model["digest"], of_model["temperature"])
    with pytest.raises(DataError, match="measured as it is"):
        evaluate(file, shared_data, "test", tmp_path / "file", robustness=True, subject=open_exported(file))

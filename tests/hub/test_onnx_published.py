import json
import shutil
from pathlib import Path

import pytest
import torch
from helpers.browsers import opened_browser
from helpers.loaders import in_onnxruntime, in_timm, in_transformers, in_transformers_js
from helpers.runtimes import use_installed_runtime
from huggingface_hub import HfApi, hf_hub_download

from landmark_models import LandmarkClassifier, models
from landmark_models.errors import LandmarkError
from train.benchmarks.web import ASK, START, served
from train.hub.metadata import ONNX_FILE
from train.hub.publishing import publish
from train.hub.transformers_js import _preprocessing, add_onnx
from train.hub.web_page import write_page

LABELS = ["Red Tower", "Green Bridge", "Blue Lake"]


@pytest.fixture
def online(hub_server, monkeypatch):
    """Processes that are started ask the Hub on loopback."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")


@pytest.mark.slow
@pytest.mark.usefixtures("online")
@pytest.mark.parametrize("ours", [False, True], ids=["timm's network", "our own"])
def test_one_repository_answers_the_same_everywhere(owner, run, evaluated, photo, ours, tmp_path, monkeypatch):
    name, trained = f"{owner}/net", run if ours else evaluated
    publish(trained.path, name, allow_unevaluated=ours)
    classifier = LandmarkClassifier.from_pretrained(name)
    pixels = classifier.preprocess(photo).unsqueeze(0)
    with torch.inference_mode():
        expected = classifier.network(pixels)
    first = LABELS[int(expected.argmax())]
    assert first == classifier.predict(photo)[0].label
    scores = dict(zip(LABELS, expected[0].softmax(0).tolist(), strict=True))

    def check(answer, tolerance=1e-4):
        assert torch.allclose(torch.tensor(answer["logits"]), expected, atol=1e-4)
        assert answer.get("labels", LABELS) == LABELS
        if predictions := answer.get("predictions"):
            assert predictions[0]["label"] == first
            assert {each["label"]: each["score"] for each in predictions} == pytest.approx(scores, abs=tolerance)

    check(in_timm(f"hf-hub:{name}", pixels, ours=ours))
    check(in_onnxruntime(hf_hub_download(name, ONNX_FILE), pixels))
    there = in_transformers(name, pixels, photo, ours=ours)
    check(there)
    assert torch.allclose(torch.tensor(there["pixels"]), pixels, atol=1e-6)
    there = in_transformers_js(name, pixels, [photo], tmp_path)
    check(there | {"predictions": there["predictions"][0]}, tolerance=0.02)  # it resizes otherwise

    use_installed_runtime(monkeypatch)
    there, here = on_a_static_page(f"hf-hub:{name}", photo, tmp_path / "page"), classifier.predict(photo)
    assert there["candidates"][0][0] == first
    assert there["known"] == here.known
    assert dict(there["candidates"]) == pytest.approx({each.label: each.score for each in here}, abs=0.02)


def on_a_static_page(model: str, photo: Path, folder: Path) -> dict:
    """The answer to a photo of the page that runs in the visitor's browser."""
    write_page(model, folder)
    with served(folder, [photo]) as url, opened_browser() as browser:
        page = browser.new_page()
        page.goto(url)
        page.evaluate(START)
        return page.evaluate(ASK, 0)


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.usefixtures("online")
def test_real_photos_get_the_same_first_label_in_transformers_js(hub_server, owner, real_data, tmp_path):
    model = models.load("default")
    folder = shutil.copytree(models.EMBEDDED["default"], tmp_path / "model")
    add_onnx(model, folder)
    content = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    hub_server.commit(f"{owner}/default", content)
    photos = sorted((real_data / "test").rglob("*.jpg"))[::15]
    classifier = LandmarkClassifier(model, engine="torch")
    pixels = torch.stack([classifier.preprocess(photo) for photo in photos])
    with torch.inference_mode():
        expected = model.network(pixels)
    there = in_transformers_js(f"{owner}/default", pixels[:2], photos, tmp_path)
    assert torch.allclose(torch.tensor(there["logits"]), expected[:2], atol=1e-4)
    same, differences = 0, []
    for ranked, scores in zip(there["predictions"], expected.softmax(1).tolist(), strict=True):
        given = {each["label"]: each["score"] for each in ranked}
        here = dict(zip(model.labels, scores, strict=True))
        same += ranked[0]["label"] == max(here, key=lambda label: here[label])
        differences.append(max(abs(given[label] - score) for label, score in here.items()))
    print(f"{same} of {len(photos)} first labels are the same; scores differ by {sorted(differences)[-3:]} at most")
    assert same >= 0.98 * len(photos)
    assert sorted(differences)[int(0.9 * len(photos))] < 0.02


def test_the_files_beside_it_say_how_photos_are_prepared(run, tmp_path):
    model = models.load(run.model)
    folder = shutil.copytree(run.model, tmp_path / "model")
    before = json.loads((folder / "config.json").read_text())
    add_onnx(model, folder)
    config = json.loads((folder / "config.json").read_text())
    assert {key: config[key] for key in before} == before
    assert config["id2label"] == {"0": "Red Tower", "1": "Green Bridge", "2": "Blue Lake"}
    (python,) = config["configuration_files"]
    assert json.loads((folder / python).read_text()) == before
    prepared = json.loads((folder / "preprocessor_config.json").read_text())
    assert prepared["size"] == {"shortest_edge": 32}
    assert prepared["crop_size"] == {"height": 32, "width": 32}
    assert prepared["image_mean"] == list(model.pretrained_cfg["mean"])
    assert models.load(folder).labels == model.labels

    wide = {"input_size": (3, 32, 48), "crop_pct": 0.8}
    assert _preprocessing(wide | {"crop_mode": "squash"}, "it")["size"] == {"height": 40, "width": 60}
    for unlike in (wide, {"input_size": (3, 32, 32), "crop_mode": "border"}):
        with pytest.raises(LandmarkError, match=r"transformers\.js can't prepare photos as it does, with crop_mode"):
            _preprocessing(unlike, "it")


@pytest.mark.parametrize("mistake", ["crop", "packages", "logits"])
def test_a_model_that_cannot_be_written_as_onnx_is_published_without(
    hub_server, owner, run, mistake, monkeypatch, capsys
):
    publish(run.path, f"{owner}/net", allow_unevaluated=True)
    capsys.readouterr()
    if mistake == "crop":
        monkeypatch.setattr("train.hub.transformers_js._preprocessing", refuse)
    elif mistake == "packages":
        monkeypatch.setattr("train.hub.onnx_graph.find_spec", lambda _: None)
    else:
        monkeypatch.setattr("train.hub.transformers_js.TOLERANCE", -1)
    publish(run.path, f"{owner}/net", allow_unevaluated=True)
    assert "Without ONNX, so transformers.js can't run it: " in capsys.readouterr().out
    names = HfApi().list_repo_files(f"{owner}/net")
    assert "config.json" in names
    assert not [name for name in names if "onnx" in name or name.startswith(("preprocessor", "config.4"))]
    config = json.loads(Path(hf_hub_download(f"{owner}/net", "config.json")).read_text())
    assert not {"model_type", "id2label", "configuration_files"} & config.keys()


def refuse(*_):
    raise LandmarkError("no such crop")

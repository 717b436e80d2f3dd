import json
import os
import shutil
import subprocess
import sys
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image

from landmark_models import LandmarkClassifier
from landmark_models.errors import LandmarkError
from landmark_models.models.folder import save
from landmark_models.preprocess import serving_transform
from train import export as export_module
from train.data import DataError
from train.evaluate import open_exported
from train.export import TOLERANCE, Agreement, Format, export, in_fresh_process
from train.hub.exported_model import INFO, ExportedModel, photo_tensor
from train.hub.exported_module import Exported, Preprocessing
from train.measure.evaluation import evaluate

FORMATS = list(Format)
LABELS = ["Red Tower", "Green Bridge", "Blue Lake"]


def random_photo(height: int, width: int, seed: int = 0) -> torch.Tensor:
    pixels = np.random.default_rng(seed).integers(0, 256, (3, height, width), dtype=np.uint8)
    return torch.from_numpy(pixels)


def file_of(folder: Path, kind: Format) -> Path:
    return folder / f"model{kind.suffix}"


@pytest.fixture(scope="session")
def files(sure, shared_data, tmp_path_factory):
    """The small run's model in every format, and how each agreed with it on nine photos."""
    folder = tmp_path_factory.mktemp("exported")
    agreements = {kind: export(str(sure), kind, file_of(folder, kind), shared_data / "test") for kind in FORMATS}
    return folder, agreements


@pytest.mark.parametrize(
    ("crop_mode", "interpolation"), list(product(["center", "squash", "border"], ["bilinear", "bicubic"]))
)
@pytest.mark.parametrize(("input_size", "crop_pct"), [((32, 32), 0.9), ((40, 56), 1.0), ((33, 24), 1.25)])
def test_the_preprocessing_is_the_serving_paths_to_a_level(crop_mode, interpolation, input_size, crop_pct):
    cfg = {
        "input_size": (3, *input_size), "crop_pct": crop_pct, "crop_mode": crop_mode, "interpolation": interpolation,
        "mean": (0.4, 0.5, 0.6), "std": (0.2, 0.25, 0.3),
    }  # fmt: skip
    serving, exported = serving_transform(cfg), Preprocessing(cfg)
    for height, width in [(64, 48), (48, 65), (31, 97), (7, 5), (1, 3), (211, 300), (32, 32), (33, 29)]:
        photo = random_photo(height, width)
        expected = serving(Image.fromarray(photo.permute(1, 2, 0).numpy()))
        levels = (exported(photo.unsqueeze(0))[0] - expected).abs() * exported.std * 255
        assert levels.shape == (3, *input_size)
        assert levels.max() < 1.2, (height, width)  # Pillow rounds twice
        assert levels.mean() < 0.5, (height, width)


def test_a_filter_that_can_not_be_exported_is_refused():
    with pytest.raises(LandmarkError, match="'lanczos'; an export can do bilinear and bicubic"):
        Preprocessing({"input_size": (3, 32, 32), "interpolation": "lanczos"})


def test_exporting_leaves_the_classifier_as_it_was(sure, photo):
    classifier = LandmarkClassifier.load(sure)
    weight = next(classifier.network.parameters())
    before = classifier.predict(photo), weight.stride(), weight.requires_grad
    probabilities, known = Exported(classifier)(photo_tensor(photo).unsqueeze(0))
    assert known.tolist() == [before[0].known]
    assert (classifier.predict(photo), weight.stride(), weight.requires_grad) == before
    assert probabilities.sum() == pytest.approx(1)
    assert probabilities.max() == pytest.approx(before[0][0].score, abs=0.01)  # the temperature is in it


@pytest.mark.parametrize("kind", FORMATS)
def test_a_file_agrees_with_module_and_serving_path(files, kind):
    agreement = files[1][kind]
    assert agreement.difference <= TOLERANCE
    assert (agreement.n, agreement.same_top1, agreement.same_known, agreement.labelled) == (9, 9, 9, 9)
    assert agreement.right == agreement.right_served > 4


@pytest.mark.parametrize("kind", FORMATS)
def test_batch_height_and_width_are_free(files, sure, kind):
    module, model = Exported(LandmarkClassifier.load(sure)), ExportedModel(file_of(files[0], kind))
    for height, width in [(48, 64), (64, 48), (1, 1), (5, 7), (32, 32), (400, 300), (30, 900)]:
        photo = random_photo(height, width)
        probabilities, known = model.probabilities(photo)
        assert known is bool(module(photo.unsqueeze(0))[1][0])
        assert (probabilities.shape, probabilities.dtype) == ((3,), torch.float32)
        assert torch.allclose(probabilities, module(photo.unsqueeze(0))[0][0], atol=TOLERANCE)
    for count in (1, 2, 5):
        photos = torch.stack([random_photo(50, 70, seed) for seed in range(count)])
        for output, expected in zip(model._forward(photos), module(photos), strict=True):
            assert torch.allclose(output.float(), expected.float(), atol=TOLERANCE)


@pytest.mark.parametrize("kind", FORMATS)
def test_labels_are_inside_and_predictions_are_the_classifiers(files, sure, photo, kind):
    model = ExportedModel(file_of(files[0], kind))
    assert (model.labels, model.source, model.temperature) == (LABELS, str(sure), 0.05)
    expected = {candidate.label: candidate.score for candidate in LandmarkClassifier.load(sure).predict(photo, 3)}
    predictions = model.predict(photo_tensor(photo))
    assert predictions[0].label == next(iter(expected))
    assert {candidate.label: candidate.score for candidate in predictions} == pytest.approx(expected, abs=0.01)
    scores = [candidate.score for candidate in predictions]
    assert scores == sorted(scores, reverse=True)
    assert model.predict(photo_tensor(photo), 2) == predictions[:2]
    with pytest.raises(ValueError, match="top_k=0"):
        model.predict(photo_tensor(photo), 0)
    for wrong in (random_photo(8, 8).float(), random_photo(8, 8)[:1], random_photo(8, 8).unsqueeze(0)):
        with pytest.raises(ValueError, match="uint8"):
            model.probabilities(wrong)


@pytest.mark.parametrize("kind", FORMATS)
def test_timms_own_networks_are_written_too(kind, tmp_path, monkeypatch):
    monkeypatch.setattr(export_module, "_PHOTOS", 6)
    torch.manual_seed(0)
    network = timm.create_model("test_vit", num_classes=3, img_size=64)
    network.pretrained_cfg.update(input_size=(3, 64, 64), crop_pct=0.9)
    save(network, tmp_path / "model", labels=LABELS, model_args={"img_size": 64}, landmark={})
    agreement = export(str(tmp_path / "model"), kind, file_of(tmp_path, kind))
    assert agreement.difference <= TOLERANCE
    assert (agreement.n, agreement.labelled) == (6, 0)


def test_a_fresh_process_answers_for_every_photo_and_says_why_it_can_not(files, photo, tmp_path):
    (tmp_path / "bad.jpg").write_text("no photo")
    file = file_of(files[0], Format.torchscript)
    good, bad = in_fresh_process(file, [photo, tmp_path / "bad.jpg"])
    assert {candidate["label"] for candidate in good["predictions"]} == set(LABELS)
    assert (good["error"], bad["predictions"]) == (None, [])
    assert "bad.jpg is not an image" in bad["error"]
    (tmp_path / "broken.pt").write_bytes(file.read_bytes()[:1000])
    with pytest.raises(LandmarkError, match=r"A fresh process could not use the file: .*broken.pt is damaged"):
        list(in_fresh_process(tmp_path / "broken.pt", [photo]))


@pytest.mark.parametrize(
    ("agreement", "sentence"),
    [
        (Agreement(9, 2e-3, 9, 9, 9, 9, 9), r"differ by up to 0.002 from the model's, more than 0.0001"),
        (Agreement(9, float("nan"), 9, 9, 9, 9, 9), r"differ by up to nan"),
        (Agreement(50, 0.0, 48, 50, 0, 0, 0), r"another landmark than the model as served for 2 of 50 photos"),
    ],
)
def test_a_file_that_differs_is_not_kept_and_an_earlier_one_stays(
    run, shared_data, tmp_path, monkeypatch, agreement, sentence
):
    monkeypatch.setattr(export_module, "check", lambda *_: agreement)
    file = tmp_path / "out" / "model.pt"
    with pytest.raises(LandmarkError, match=sentence):
        export(str(run.path), Format.torchscript, file, shared_data)
    assert list(file.parent.iterdir()) == []
    file.write_text("an earlier one")
    with pytest.raises(LandmarkError, match=sentence):
        export(str(run.path), Format.torchscript, file, shared_data)
    assert file.read_text() == "an earlier one"
    assert list(file.parent.iterdir()) == [file]


def test_one_in_fifty_may_differ_and_synthetic_photos_are_not_judged(run, shared_data, tmp_path, monkeypatch):
    monkeypatch.setattr(export_module, "check", lambda *_: Agreement(50, 5e-5, 49, 50, 0, 0, 0))
    export(str(run.path), Format.torchscript, tmp_path / "a.pt", shared_data)
    monkeypatch.setattr(export_module, "check", lambda *_: Agreement(50, 5e-5, 30, 50, 0, 0, 0))
    export(str(run.path), Format.torchscript, tmp_path / "b.pt")
    assert {path.name for path in tmp_path.glob("*.pt")} == {"a.pt", "b.pt"}


def test_the_check_sees_a_file_that_is_another_model(evaluated, run, shared_data, tmp_path, monkeypatch):
    other, write = Exported(LandmarkClassifier.load(evaluated.path)), export_module._write
    monkeypatch.setattr(export_module, "_write", lambda module, *rest: write(other, *rest))
    with pytest.raises(LandmarkError, match=r"was not kept: in a fresh process its probabilities differ by up to"):
        export(str(run.path), Format.torchscript, tmp_path / "model.pt", shared_data / "test")
    assert not (tmp_path / "model.pt").exists()


def test_a_network_that_an_exporter_can_not_follow_is_a_sentence(run, tmp_path, monkeypatch):
    def branching(self, photos):
        return photos.float().mean((2, 3)) if photos.sum() > 0 else photos.float().amax((2, 3))

    monkeypatch.setattr(Exported, "forward", branching)
    with pytest.raises(LandmarkError, match="can't be written as pt2: ") as caught:
        export(str(run.path), Format.pt2, tmp_path / "model.pt2")
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_mistakes_are_sentences_and_cost_no_time(run, data, tmp_path, monkeypatch):
    with pytest.raises(LandmarkError, match=r"must be named \*.onnx, not model.pt"):
        export(str(run.path), Format.onnx, tmp_path / "model.pt")
    with pytest.raises(LandmarkError, match="no model folder"):
        export(str(tmp_path / "nothing"), Format.pt2, tmp_path / "model.pt2")
    with pytest.raises(LandmarkError, match=r"There is no folder .*none of photos"):
        export(str(run.path), Format.pt2, tmp_path / "model.pt2", tmp_path / "none")
    (tmp_path / "folder.pt").mkdir()
    with pytest.raises(LandmarkError, match="is a folder; name a file"):
        export(str(run.path), Format.torchscript, tmp_path / "folder.pt")
    (tmp_path / "file").write_text("precious")
    with pytest.raises(LandmarkError, match=r"can't be written: (Not a directory|File exists)"):
        export(str(run.path), Format.torchscript, tmp_path / "file" / "model.pt")
    for photo in data.rglob("*.jpg"):
        photo.write_bytes(b"no photo")
    with pytest.raises(LandmarkError, match="None of the 33 photos"):
        export(str(run.path), Format.torchscript, tmp_path / "model.pt", data)
    monkeypatch.setattr(export_module, "find_spec", lambda name: None)
    with pytest.raises(LandmarkError, match="pip install onnx onnxruntime onnxscript"):
        export(str(run.path), Format.onnx, tmp_path / "model.onnx")
    assert not list(tmp_path.glob("model*"))


@pytest.mark.parametrize("kind", FORMATS)
def test_a_file_that_is_none_of_ours_is_a_sentence(files, tmp_path, kind):
    with pytest.raises(LandmarkError, match="There is no exported model"):
        ExportedModel(file_of(tmp_path, kind))
    damaged = shutil.copyfile(file_of(files[0], kind), file_of(tmp_path, kind))
    damaged.write_bytes(damaged.read_bytes()[: damaged.stat().st_size // 2])
    with pytest.raises(LandmarkError, match="is damaged or not a") as caught:
        ExportedModel(damaged)
    assert "\n" not in str(caught.value)
    with pytest.raises(LandmarkError, match=r"must end in \.pt, \.onnx, \.pt2"):
        ExportedModel(tmp_path / "model.safetensors")


def test_a_file_without_labels_is_none_of_ours(tmp_path, run):
    classifier = LandmarkClassifier.load(run.path)
    module, example = Exported(classifier), random_photo(8, 9).expand(2, -1, -1, -1)
    without_temperature = json.dumps({"label_names": LABELS, "source": "x"})
    for kind, about in zip(FORMATS, ("[]", without_temperature, ""), strict=True):
        file = file_of(tmp_path, kind)
        getattr(export_module, f"_write_{kind}")(module, example, file, about)
        with pytest.raises(LandmarkError, match="has no labels in it"):
            ExportedModel(file)


def test_onnx_says_its_labels_and_sizes_to_any_reader(files):
    import onnx

    model = onnx.load(file_of(files[0], Format.onnx))
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(metadata[INFO])["label_names"] == LABELS
    (photos,), (probabilities, known) = model.graph.input, model.graph.output
    assert [axis.dim_param or axis.dim_value for axis in photos.type.tensor_type.shape.dim] == [
        "batch", 3, "height", "width",
    ]  # fmt: skip
    assert (photos.name, probabilities.name, known.name) == ("photos", "probabilities", "known")
    assert photos.type.tensor_type.elem_type == onnx.TensorProto.UINT8


def command(*arguments, cwd):
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    line = [sys.executable, "-m", "train.export", *map(str, arguments)]
    return subprocess.run(line, capture_output=True, text=True, cwd=cwd, env=environment)


def test_the_command_writes_the_courseworks_file_and_says_what_it_measured(run, tmp_path):
    result = command(run.path, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "synthetic photos (no --photos)" in result.stdout
    assert "checkpoints/transfer_exported.pt: torchscript, 0.0 MB" in result.stdout.replace("0.1 MB", "0.0 MB")
    assert "probabilities differ by at most" in result.stdout
    assert "Warning" not in result.stderr
    assert ExportedModel(tmp_path / "checkpoints" / "transfer_exported.pt").labels == LABELS


def test_the_command_reports_accuracy_on_photos_and_says_mistakes_in_one_sentence(run, shared_data, tmp_path):
    result = command(run.path, "--format", "onnx", "--output", "m.onnx", "--photos", shared_data, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "on 33 of 33" in result.stdout
    assert "accuracy on the 33 photos" in result.stdout
    assert "Warning" not in result.stderr
    result = command(run.path, "--format", "pt2", "--output", "m.onnx", cwd=tmp_path)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == "Error: A file of the format pt2 must be named *.pt2, not m.onnx.\n"


def test_an_exported_file_is_evaluated_like_a_model(sure, shared_data, tmp_path):
    file = tmp_path / "model.pt"
    export(str(sure), Format.torchscript, file)
    of_file = evaluate(file, shared_data, "test", tmp_path / "file", subject=open_exported(file))
    of_model = evaluate(sure, shared_data, "test", tmp_path / "model")
    assert of_file["top1"] == of_model["top1"]
    assert of_file["ece"] == pytest.approx(of_model["ece"], abs=0.02)  # its resize differs a little
    assert (of_file["digest"], of_file["temperature"]) == (of_model["digest"], of_model["temperature"])
    with pytest.raises(DataError, match="measured as it is"):
        evaluate(file, shared_data, "test", tmp_path / "file", robustness=True, subject=open_exported(file))

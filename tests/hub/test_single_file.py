import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from helpers.exports import in_this_process

from landmark_models import LandmarkClassifier
from landmark_models.errors import LandmarkError
from landmark_models.models.folder import save
from train.hub import Format, single_file
from train.hub.exported_model import INFO, ExportedModel, photo_tensor
from train.hub.exported_module import Exported
from train.hub.single_file import TOLERANCE, Agreement, export, in_fresh_process

FORMATS = list(Format)
LABELS = ["Red Tower", "Green Bridge", "Blue Lake"]


@pytest.fixture
def quick_check(monkeypatch):
    monkeypatch.setattr(single_file, "in_fresh_process", in_this_process)


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


@pytest.mark.slow
@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.usefixtures("quick_check")
def test_timms_own_networks_are_written_too(kind, tmp_path, monkeypatch):
    monkeypatch.setattr(single_file, "_PHOTOS", 6)
    torch.manual_seed(0)
    network = timm.create_model("test_vit", num_classes=3, img_size=64)
    network.pretrained_cfg.update(input_size=(3, 64, 64), crop_pct=0.9)
    save(network, tmp_path / "model", labels=LABELS, model_args={"img_size": 64}, landmark={})
    agreement = export(str(tmp_path / "model"), kind, file_of(tmp_path, kind))
    assert agreement.difference <= TOLERANCE
    assert (agreement.n, agreement.labelled) == (6, 0)


def test_a_fresh_process_answers_for_every_photo_or_says_why_it_cannot(files, photo, tmp_path):
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
    monkeypatch.setattr(single_file, "check", lambda *_: agreement)
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
    monkeypatch.setattr(single_file, "check", lambda *_: Agreement(50, 5e-5, 49, 50, 0, 0, 0))
    export(str(run.path), Format.torchscript, tmp_path / "a.pt", shared_data)
    monkeypatch.setattr(single_file, "check", lambda *_: Agreement(50, 5e-5, 30, 50, 0, 0, 0))
    export(str(run.path), Format.torchscript, tmp_path / "b.pt")
    assert {path.name for path in tmp_path.glob("*.pt")} == {"a.pt", "b.pt"}


@pytest.mark.slow
@pytest.mark.usefixtures("quick_check")
def test_the_check_notices_a_file_of_another_model(evaluated, run, shared_data, tmp_path, monkeypatch):
    other, write = Exported(LandmarkClassifier.load(evaluated.path)), single_file._write
    monkeypatch.setattr(single_file, "_write", lambda module, *rest: write(other, *rest))
    with pytest.raises(LandmarkError, match=r"was not kept: in a fresh process its probabilities differ by up to"):
        export(str(run.path), Format.torchscript, tmp_path / "model.pt", shared_data / "test")
    assert not (tmp_path / "model.pt").exists()


def test_a_network_that_an_exporter_cannot_follow_gives_a_sentence(run, tmp_path, monkeypatch):
    def branching(self, photos):
        return photos.float().mean((2, 3)) if photos.sum() > 0 else photos.float().amax((2, 3))

    monkeypatch.setattr(Exported, "forward", branching)
    with pytest.raises(LandmarkError, match="can't be written as pt2: ") as caught:
        export(str(run.path), Format.pt2, tmp_path / "model.pt2")
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("quick_check")
def test_mistakes_give_sentences_and_cost_no_time(run, data, tmp_path, monkeypatch):
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
    monkeypatch.setattr("train.hub.onnx_graph.find_spec", lambda name: None)
    with pytest.raises(LandmarkError, match="pip install onnx onnxruntime onnxscript"):
        export(str(run.path), Format.onnx, tmp_path / "model.onnx")
    assert not list(tmp_path.glob("model*"))


@pytest.mark.parametrize("kind", FORMATS)
def test_a_file_that_is_not_ours_gives_a_sentence(files, tmp_path, kind):
    with pytest.raises(LandmarkError, match="There is no exported model"):
        ExportedModel(file_of(tmp_path, kind))
    damaged = shutil.copyfile(file_of(files[0], kind), file_of(tmp_path, kind))
    damaged.write_bytes(damaged.read_bytes()[: damaged.stat().st_size // 2])
    with pytest.raises(LandmarkError, match="is damaged or not a") as caught:
        ExportedModel(damaged)
    assert "\n" not in str(caught.value)
    with pytest.raises(LandmarkError, match=r"must end in \.pt, \.onnx, \.pt2"):
        ExportedModel(tmp_path / "model.safetensors")


def test_a_file_without_labels_is_not_ours(tmp_path, run):
    classifier = LandmarkClassifier.load(run.path)
    module, example = Exported(classifier), random_photo(8, 9).expand(2, -1, -1, -1)
    without_temperature = json.dumps({"label_names": LABELS, "source": "x"})
    for kind, about in zip(FORMATS, ("[]", without_temperature, ""), strict=True):
        file = file_of(tmp_path, kind)
        getattr(single_file, f"_write_{kind}")(module, example, file, about)
        with pytest.raises(LandmarkError, match="has no labels in it"):
            ExportedModel(file)


def test_onnx_does_not_say_where_the_code_lies(files):
    content = file_of(files[0], Format.onnx).read_bytes()
    assert b"site-packages" not in content
    assert str(Path(single_file.__file__).parents[2]).encode() not in content


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

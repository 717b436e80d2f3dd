import dataclasses

import onnx
import onnxruntime
import pytest
import timm
import torch

from landmark_models import LandmarkClassifier, models
from landmark_models.errors import LandmarkError
from landmark_models.rejection import FEATURE_SCORES, LOGIT_SCORES
from train.hub.onnx_graph import OPSET, Graph, _Triangle, write_onnx


def outputs_of(file, images):
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    values = session.run(None, {"pixel_values": images.numpy()})
    names = [output.name for output in session.get_outputs()]
    return {name: torch.from_numpy(value) for name, value in zip(names, values, strict=True)}


def images_for(model, count=3):
    return torch.randn(count, *model.pretrained_cfg["input_size"], generator=torch.Generator().manual_seed(1))


def with_rule(model, score, threshold=0.3):
    landmark = model.landmark | {"temperature": 0.7, "known": {"score": score, "threshold": threshold}}
    return dataclasses.replace(model, config=model.config | {"landmark": landmark})


@pytest.mark.parametrize("score", [*FEATURE_SCORES, "standardized_max_logit"])
def test_the_outputs_are_those_of_serving(teachable, tmp_path, score):
    model = with_rule(models.load(teachable.path), score)
    write_onnx(model, tmp_path / "onnx" / "model.onnx")
    images = images_for(model)
    there = outputs_of(tmp_path / "onnx" / "model.onnx", images)
    assert {name: (value.shape, value.dtype) for name, value in there.items()} == {
        "logits": ((3, 3), torch.float32), "scale": ((3,), torch.float32), "score": ((3,), torch.float32),
    }  # fmt: skip
    with torch.inference_mode():
        assert torch.allclose(there["logits"], model.network(images), atol=1e-4)
    here = LandmarkClassifier(model, engine="torch").outputs(images)
    assert torch.allclose(there["logits"] * there["scale"].unsqueeze(1) / 0.7, here.logits, atol=1e-4)
    assert torch.allclose(there["score"], here.scores, atol=1e-4)
    assert (there["score"] >= 0.3).tolist() == (here.scores >= 0.3).tolist()
    assert outputs_of(tmp_path / "onnx" / "model.onnx", images[:1])["logits"].shape == (1, 3)


@pytest.mark.parametrize("score", LOGIT_SCORES)
def test_a_model_without_statistics_has_no_scale(run, tmp_path, score):
    model = with_rule(models.load(run.path), score)
    write_onnx(model, tmp_path / "model.onnx")
    images = images_for(model)
    there, here = outputs_of(tmp_path / "model.onnx", images), LandmarkClassifier(model, engine="torch").outputs(images)
    assert there.keys() == {"logits", "score"}
    assert torch.allclose(there["logits"] / 0.7, here.logits, atol=1e-4)
    assert torch.allclose(there["score"], here.scores, atol=1e-4)


def test_inputs_and_operators_are_those_that_browsers_have(teachable, tmp_path):
    write_onnx(models.load(teachable.path), tmp_path / "model.onnx")
    content = onnx.load(tmp_path / "model.onnx")
    onnx.checker.check_model(content, full_check=True)
    (pixels,) = content.graph.input
    assert pixels.name == "pixel_values"
    assert [axis.dim_param or axis.dim_value for axis in pixels.type.tensor_type.shape.dim] == ["batch", 3, 64, 64]
    assert [(entry.domain, entry.version) for entry in content.opset_import] == [("", OPSET)]
    assert not content.functions
    assert not any(node.domain for node in content.graph.node)


def test_a_file_is_the_same_each_time_and_does_not_say_where_the_code_lies(teachable, tmp_path):
    model = models.load(teachable.path)
    for name in ("first.onnx", "second.onnx"):
        write_onnx(model, tmp_path / name)
    content = (tmp_path / "first.onnx").read_bytes()
    assert content == (tmp_path / "second.onnx").read_bytes()
    assert b".py" not in content
    assert b"site-packages" not in content


def test_float16_halves_the_file_and_hardly_changes_the_answer(teachable, tmp_path):
    model = models.load(teachable.path)
    images = images_for(model)
    write_onnx(model, tmp_path / "full.onnx")
    write_onnx(model, tmp_path / "half.onnx", half=True)
    full, half = (outputs_of(tmp_path / f"{name}.onnx", images) for name in ("full", "half"))
    assert (tmp_path / "half.onnx").stat().st_size < 0.75 * (tmp_path / "full.onnx").stat().st_size
    assert {value.dtype for value in half.values()} == {torch.float32}
    for name, value in full.items():
        assert torch.allclose(half[name], value, rtol=5e-3, atol=5e-3)
        assert not torch.equal(half[name], value)


def test_weights_that_are_float16_numbers_take_half_the_space_without_loss(tmp_path):
    torch.manual_seed(0)
    network = timm.create_model("test_resnet", num_classes=3).eval()
    network.pretrained_cfg.update(input_size=(3, 64, 64))
    sizes = []
    for half in (False, True):
        models.save(network, tmp_path, labels=["a", "b", "c"], model_args={}, landmark={}, half=half)
        model = models.load(tmp_path)
        write_onnx(model, tmp_path / "model.onnx")
        sizes.append((tmp_path / "model.onnx").stat().st_size)
        images = images_for(model)
        with torch.inference_mode():
            expected = model.network(images)
        assert torch.allclose(outputs_of(tmp_path / "model.onnx", images)["logits"], expected, atol=1e-5)
    assert sizes[1] < 0.75 * sizes[0]


@pytest.mark.slow
@pytest.mark.data
def test_float16_changes_no_answer_of_the_embedded_model(real_data, tmp_path):
    model = models.load("default")
    write_onnx(model, tmp_path / "half.onnx", half=True)
    assert (tmp_path / "half.onnx").stat().st_size < 15e6
    classifier = LandmarkClassifier(model, engine="torch")
    photos = sorted((real_data / "test").rglob("*.jpg"))[::8]
    for first in range(0, len(photos), 16):
        images = torch.stack([classifier.preprocess(photo) for photo in photos[first : first + 16]])
        here, there = classifier.outputs(images), outputs_of(tmp_path / "half.onnx", images)
        logits = there["logits"] * there["scale"].unsqueeze(1) / classifier.temperature
        assert torch.allclose(logits.softmax(1), here.logits.softmax(1), atol=1e-3)
        assert logits.argmax(1).equal(here.logits.argmax(1))
        threshold = classifier.known_rule.threshold
        assert (there["score"] >= threshold).equal(here.scores >= threshold)


@pytest.mark.parametrize("width", [1, 2, 3, 8, 11])
def test_a_triangle_is_stored_in_half_its_space(width):
    triangle, packed = torch.randn(width, width).triu(), _Triangle()
    rectangle = packed.right_inverse(triangle)
    assert rectangle.numel() <= (width + 1) ** 2 / 2
    assert torch.equal(packed(rectangle), triangle)


def test_mistakes_give_sentences(run, tmp_path, monkeypatch):
    model = models.load(run.path)
    (tmp_path / "file").write_text("precious")
    with pytest.raises(LandmarkError, match=r"model.onnx can't be written: (Not a directory|File exists)"):
        write_onnx(model, tmp_path / "file" / "model.onnx")

    def branching(self, pixel_values):
        return pixel_values.mean((2, 3)) if pixel_values.sum() > 0 else pixel_values.amax((2, 3))

    monkeypatch.setattr(Graph, "forward", branching)
    with pytest.raises(LandmarkError, match="can't be written as ONNX: ") as caught:
        write_onnx(model, tmp_path / "model.onnx")
    assert "\n" not in str(caught.value)
    monkeypatch.setattr("train.hub.onnx_graph.find_spec", lambda name: None)
    with pytest.raises(LandmarkError, match="pip install onnx onnxruntime onnxscript"):
        write_onnx(model, tmp_path / "model.onnx")
    with pytest.raises(LandmarkError, match="can't be served: its rule uses fdbd, which needs statistics"):
        Graph(with_rule(model, "fdbd"))
    assert [path.name for path in tmp_path.iterdir()] == ["file"]

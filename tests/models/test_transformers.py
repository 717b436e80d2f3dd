import json
import shutil

import pytest
import timm
import torch
from helpers.loaders import in_transformers

from landmark_models import models, open_photo
from landmark_models.models import EMBEDDED
from landmark_models.preprocess import serving_transform


def check(folder, photo, *, ours=False):
    """That a folder loads in transformers with the labels, the preprocessing and the logits that it has here."""
    model = models.load(folder)
    pixels = serving_transform(model.pretrained_cfg)(open_photo(photo)).unsqueeze(0)
    with torch.inference_mode():
        expected = model.network(pixels)
    there = in_transformers(str(folder), pixels, photo, ours=ours)
    assert (there["labels"], there["dtype"]) == (model.labels, "torch.float32")
    assert torch.allclose(torch.tensor(there["pixels"]), pixels, atol=1e-6)
    assert torch.allclose(torch.tensor(there["logits"]), expected, atol=1e-4)
    scores, indices = expected[0].softmax(0).topk(3)
    assert [each["label"] for each in there["predictions"]] == [model.labels[index] for index in indices]
    assert [each["score"] for each in there["predictions"]] == pytest.approx(scores.tolist(), abs=1e-4)


@pytest.mark.slow
def test_transformers_alone_loads_a_timm_backbone(tmp_path, photo):
    torch.manual_seed(0)
    network = timm.create_model("test_vit", num_classes=3, img_size=64).eval()
    network.pretrained_cfg.update(input_size=(3, 64, 64), crop_pct=0.9, interpolation="bilinear")
    arguments, labels = {"img_size": 64}, ["Red Tower", "Green Bridge", "Blue Lake"]
    models.save(network, tmp_path / "model", labels=labels, model_args=arguments, landmark={}, half=True)
    check(tmp_path / "model", photo)


@pytest.mark.slow
def test_transformers_loads_our_own_networks_once_we_are_imported(run, photo):
    check(run.model, photo, ours=True)


@pytest.mark.parametrize(
    "name", [pytest.param("default", marks=pytest.mark.slow), pytest.param("compact", marks=pytest.mark.nightly)]
)
def test_transformers_loads_the_embedded_models(name, photo):
    check(EMBEDDED[name], photo, ours=name == "compact")


def test_a_config_holds_only_what_neither_timm_nor_transformers_passes_itself(tmp_path):
    for architecture, arguments, kept in [
        ("test_resnet", {}, None),
        ("test_resnet", {"global_pool": "max"}, {"global_pool": "max"}),
        ("test_resnet", {"num_classes": 3}, None),
        ("test_vit", {"img_size": 64}, {"img_size": [64, 64]}),
    ]:
        network = timm.create_model(architecture, **{"num_classes": 3, **arguments})
        models.save(network, tmp_path, labels=["a", "b", "c"], model_args=arguments, landmark={})
        config = json.loads((tmp_path / "config.json").read_text())
        assert config.get("model_args") == kept
        assert (config["num_classes"], config["dtype"]) == (3, "float32")


def test_models_of_earlier_versions_still_load(run, tmp_path):
    folder = shutil.copytree(run.model, tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    del config["dtype"]
    config["model_args"] |= {"num_classes": 3, "in_chans": 3, "global_pool": "avg"}
    (folder / "config.json").write_text(json.dumps(config))
    images = torch.randn(2, 3, 32, 32)
    assert torch.equal(models.load(folder).network(images), models.load(run.model).network(images))

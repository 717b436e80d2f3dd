import json
import pickle
import shutil
import subprocess
import sys

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from landmark_models import ModelError, models


@pytest.fixture
def folder(run, tmp_path):
    return shutil.copytree(run.model, tmp_path / "model")


def edit(folder, **changes):
    file = folder / "config.json"
    config = json.loads(file.read_text()) | changes
    file.write_text(json.dumps({key: value for key, value in config.items() if value is not None}))


def test_a_saved_model_can_be_loaded(tmp_path):
    network = timm.create_model("landmark_net", num_classes=2, channels=[8], depths=[1], strides=[1], stem=8).eval()
    network.pretrained_cfg.update(input_size=(3, 40, 40), mean=(0.1, 0.2, 0.3), crop_pct=0.9)
    arguments = {"channels": [8], "depths": [1], "strides": [1], "stem": 8}
    models.save(network, tmp_path, labels=["a", "b"], model_args=arguments, landmark={"temperature": 1.5})
    loaded = models.load(tmp_path)
    images = torch.randn(2, 3, 40, 40)
    assert torch.equal(loaded.network(images), network(images))
    assert not loaded.network.training
    assert loaded.labels == ["a", "b"]
    assert loaded.landmark["temperature"] == 1.5
    assert loaded.config["label_descriptions"] == {"a": "a", "b": "b"}
    assert tuple(loaded.pretrained_cfg["input_size"]) == (3, 40, 40)
    assert tuple(loaded.pretrained_cfg["mean"]) == (0.1, 0.2, 0.3)

    models.save(network, tmp_path, labels=["a", "b"], model_args=arguments, landmark={}, half=True)
    stored = load_file(tmp_path / "model.safetensors")
    assert {t.dtype for t in stored.values() if t.ndim > 1} == {torch.float16}
    assert stored["stages.0.blocks.0.conv1.norm.running_var"].dtype == torch.float32
    assert {p.dtype for p in models.load(tmp_path).network.parameters()} == {torch.float32}
    assert torch.allclose(models.load(tmp_path).network(images), network(images), atol=1e-2)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["config.json", "model.safetensors"]


def test_loading_leaves_the_callers_random_numbers_as_they_are(folder):
    before = torch.get_rng_state()
    models.load(folder)
    assert torch.equal(torch.get_rng_state(), before)


def test_timm_alone_loads_our_folder_with_labels(tmp_path):
    network = timm.create_model("resnet18", num_classes=2).eval()
    models.save(network, tmp_path, labels=["a", "b"], model_args={}, landmark={})
    script = (
        "import sys, timm, torch, numpy\n"
        f"model = timm.create_model('local-dir:{tmp_path}', pretrained=True).eval()\n"
        "assert 'landmark_models' not in sys.modules\n"
        "assert list(model.pretrained_cfg['label_names']) == ['a', 'b']\n"
        f"numpy.save(r'{tmp_path}/logits.npy', model(torch.ones(1, 3, 64, 64)).detach().numpy())\n"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    if "UnpicklingError" in result.stderr:
        pytest.skip("this timm takes every local-dir: for a pickle")
    assert result.returncode == 0, result.stderr
    ours = models.load(tmp_path).network(torch.ones(1, 3, 64, 64)).detach().numpy()
    assert np.allclose(np.load(tmp_path / "logits.npy"), ours, atol=1e-5)


def test_timms_older_form_of_a_config_loads(folder):
    """All at the top, the labels as `labels`, as `nateraw`'s and timm's own first repositories have it."""
    images = torch.randn(2, 3, 40, 40)
    expected = models.load(folder)
    config = json.loads((folder / "config.json").read_text())
    flat = config["pretrained_cfg"] | {key: config[key] for key in ("architecture", "model_args", "num_classes")}
    for labels in ({"labels": expected.labels}, {"label_names": expected.labels}):
        (folder / "config.json").write_text(json.dumps(flat | labels))
        loaded = models.load(folder)
        assert loaded.labels == expected.labels
        assert loaded.pretrained_cfg["input_size"] == expected.pretrained_cfg["input_size"]
        assert torch.equal(loaded.network(images), expected.network(images))
    (folder / "config.json").write_text(json.dumps(flat))
    with pytest.raises(ModelError, match="label_names"):
        models.load(folder)


def test_a_run_and_its_model_folder_are_the_same_model(run):
    assert models.load(run.path).labels == models.load(run.model).labels == ["Red Tower", "Green Bridge", "Blue Lake"]


def test_a_folder_with_a_pickle_but_no_safetensors_is_refused(folder):
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({}))
    with pytest.raises(ModelError, match=r"no model\.safetensors"):
        models.load(folder)


FIGURES = {"data": "x", "n": 3, "top1": 0.5, "top1_ci95": [0, 1]}
COUNTS = {"photos": 3, "named": 2, "right": 1}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"architecture": "no_such_net"}, "no_such_net"),
        ({"architecture": None}, "lacks the architecture"),
        ({"pretrained_cfg": "x"}, "pretrained_cfg"),
        ({"label_names": ["only one"]}, "label_names"),
        ({"label_names": None}, "label_names"),
        ({"model_args": {"channels": [8, 16, 32], "depths": [1, 1, 1], "strides": [1, 1, 1]}}, "don't fit"),
        ({"model_args": {"nonsense": 1}}, "don't fit"),
        ({"model_args": {"checkpoint_path": "evil.pth"}}, "checkpoint_path"),
        ({"label_names": [1, 2, 3]}, "label_names"),
        ({"label_names": ["a", "a", "b"]}, "the same label"),
        ({"model_args": [1]}, "mappings"),
        ({"model_args": {"act": "zzz"}}, "don't fit"),
        ({"model_args": {"global_pool": "zzz"}}, "don't fit"),
        ({"model_args": {"channels": [65537], "depths": [1], "strides": [1]}}, "larger numbers"),
        ({"model_args": {"channels": [60000, 60000], "depths": [1, 1], "strides": [2, 2]}}, "billion"),
        ({"model_args": {"channels": [8], "depths": [65536], "strides": [2]}}, "billion"),
        ({"architecture": "swin_tiny_patch4_window7_224", "model_args": {"img_size": 65536}}, "billion"),
        ({"architecture": "resnet18", "model_args": {"\x1b]0;evil": 1}}, "\N{REPLACEMENT CHARACTER}]0;evil"),
        ({"architecture": "resnet18", "model_args": {"features_only": True}}, "doesn't take"),
        ({"label_names": ["a", "b", "\ud800"]}, "aren't text"),
        ({"label_names": ["a", "b", "c" * 300]}, "aren't text"),
        ({"pretrained_cfg": {"input_size": [3, 99999, 99999]}}, "no valid preprocessing"),
        ({"pretrained_cfg": {"crop_pct": 1e-6}}, "no valid preprocessing"),
        ({"landmark": {"test": {"data": "x", "n": 1, "top1": 2, "top1_ci95": [0, 1]}}}, "impossible figures"),
        ({"landmark": {"test": {"data": "\ud800", "n": 1, "top1": 1, "top1_ci95": [0, 1]}}}, "impossible figures"),
        ({"landmark": [1]}, "mappings"),
        ({"landmark": {"temperature": 0}}, "temperature"),
        ({"landmark": {"temperature": "warm"}}, "temperature"),
        ({"landmark": {"test": {"top1": 0.9}}}, "incomplete"),
        ({"landmark": {"elsewhere": {"top1": 0.9}}}, "its block `elsewhere`"),
        ({"landmark": {"elsewhere": FIGURES | {"named": {"photos": 3, "named": 2, "right": 3}}}}, "impossible figures"),
        ({"landmark": {"elsewhere": FIGURES | {"named": [1], "others": {}}}}, "impossible figures"),
        (
            {"landmark": {"elsewhere": FIGURES | {"named": COUNTS, "others": {"far": {"n": 1, "named": 2}}}}},
            "impossible",
        ),
        ({"landmark": {"elsewhere": FIGURES | {"named": COUNTS, "others": {"far": 3}}}}, "impossible figures"),
        ({"landmark": {"test": FIGURES | {"top3": 0.9, "top3_ci95": [0.95, 0.99]}}}, "impossible figures"),
        ({"landmark": {"test": FIGURES | {"per_class": {"a": [3, 4]}}}}, "impossible figures"),
        ({"pretrained_cfg": {"input_size": "x"}}, "no valid preprocessing"),
        ({"pretrained_cfg": {"interpolation": "magic"}}, "no valid preprocessing"),
        ({"pretrained_cfg": {"std": [0, 0, 0]}}, "no valid preprocessing"),
    ],
)
def test_an_invalid_config_is_refused_with_a_sentence(changes, words, folder):
    edit(folder, **changes)
    with pytest.raises(ModelError, match=words):
        models.load(folder)


def test_damaged_files_and_missing_folders_are_refused(folder, tmp_path):
    good = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(good[: len(good) // 2])
    with pytest.raises(ModelError, match="don't fit"):
        models.load(folder)
    state = {"wrong.weight": torch.zeros(1)}
    save_file(state, folder / "model.safetensors")
    with pytest.raises(ModelError, match="don't fit"):
        models.load(folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(ModelError, match="can't be read"):
        models.load(folder)
    with pytest.raises(ModelError, match="no model folder"):
        models.load(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match=r"no config\.json"):
        models.load(tmp_path / "empty")

# ruff: noqa: E402
"""What several tests need: small photos, a small data folder, a small trained run."""

import gc
import json
import os
import shutil
import tempfile
import uuid
from pathlib import Path
from types import SimpleNamespace

from helpers.hub_server import HubServer, Store

# Nothing is read from or left in the user's own caches, and nothing asks the network: the Hub is one on loopback, and
# even that is off limits but in tests that use `hub_server`. The libraries look when imported.
_caches = tempfile.TemporaryDirectory()
_hub_server = HubServer()
os.environ |= {
    "HF_ENDPOINT": _hub_server.url,
    "HF_HUB_DISABLE_XET": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "LANDMARK_CACHE": f"{_caches.name}/photos",
    "HF_HOME": f"{_caches.name}/hub",
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "0",  # `datasets` reads it once; huggingface_hub, by which it asks, is told each time
    "HF_UPDATE_DOWNLOAD_COUNTS": "0",
    "LANDMARK_ENGINE": "torch",  # converting takes seconds; tests of the other engine ask for it
    "GRADIO_ANALYTICS_ENABLED": "False",
    "GRADIO_TEMP_DIR": f"{_caches.name}/gradio",
    "MPLCONFIGDIR": f"{_caches.name}/matplotlib",
}

os.environ.pop("HF_TOKEN", None)

import huggingface_hub.constants
import pytest
import timm
import torch
from helpers.model_folders import renamed
from helpers.photos import write_data
from helpers.runs import TINY
from hypothesis import HealthCheck, settings
from safetensors.torch import save_file

from train.engine.training import fit
from train.measure.evaluation import evaluate
from train.recipe import Recipe

settings.register_profile("project", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("project")
gc.freeze()  # accelerate collects garbage after each training; what is imported needn't be walked through each time


@pytest.fixture
def data(tmp_path) -> Path:
    return write_data(tmp_path / "photos")


@pytest.fixture(scope="session")
def shared_data(tmp_path_factory) -> Path:
    """The same, for tests that only read it."""
    return write_data(tmp_path_factory.mktemp("shared") / "photos")


@pytest.fixture(scope="session")
def run(shared_data, tmp_path_factory):
    """A run of the real training loop on the small data; tests only read it."""
    return fit(Recipe.from_values({**TINY, "ema_decay": 0.5}), shared_data, tmp_path_factory.mktemp("runs") / "tiny")


@pytest.fixture(scope="session")
def teachable(shared_data, tmp_path_factory):
    """A run whose model has statistics of its features, so that it can be taught."""
    knobs = {"model": "test_resnet", "model_args": {}, "image_size": 64, "head": "whitened_cosine"}
    return fit(Recipe.from_values({**TINY, **knobs}), shared_data, tmp_path_factory.mktemp("runs") / "teachable")


@pytest.fixture(scope="session")
def pretrained(tmp_path_factory) -> Path:
    """A file of weights as timm's own repositories have them, with the classifier of another task."""
    torch.manual_seed(5)
    file = tmp_path_factory.mktemp("weights") / "model.safetensors"
    save_file(timm.create_model("test_resnet", num_classes=7).state_dict(), file)
    return file


@pytest.fixture
def hub_server(monkeypatch):
    """The Hub on loopback, empty, and huggingface_hub logged in there as alice; no wait between attempts."""
    _hub_server.store = Store({})
    _hub_server.requests.clear()
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr("landmark_models.models.failures._FIRST_WAIT", 0.01)
    monkeypatch.setattr("huggingface_hub.utils._http.time", SimpleNamespace(sleep=lambda _: None))
    monkeypatch.setenv("HF_TOKEN", "hf_alice")
    yield _hub_server
    _hub_server.faults.clear()
    _hub_server.down()
    _hub_server.up()
    assert not _hub_server.errors


@pytest.fixture
def owner(hub_server) -> str:
    """A namespace of alice's that no other test has had, so that no cache knows it."""
    name = f"team-{uuid.uuid4().hex[:8]}"
    hub_server.store.organizations[name] = {"alice"}
    return name


@pytest.fixture(scope="session")
def evaluated(shared_data, tmp_path_factory):
    """A small run of one of timm's own networks, measured on its test split."""
    knobs = {"model": "test_resnet", "model_args": {}, "image_size": 64}
    run = fit(Recipe.from_values({**TINY, **knobs}), shared_data, tmp_path_factory.mktemp("runs") / "evaluated")
    evaluate(run.path, shared_data, "test", run.test.parent)
    return run


@pytest.fixture(scope="session")
def sure(run, tmp_path_factory) -> Path:
    """The small run's model, as sure of its answers as a large one would be."""
    folder = shutil.copytree(run.model, tmp_path_factory.mktemp("models") / "sure")
    config = json.loads((folder / "config.json").read_text())
    config["landmark"]["temperature"] = 0.05
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="session")
def famous_model(sure, tmp_path_factory) -> Path:
    """A model that takes red for the Eiffel Tower, which the gazetteer knows."""
    names = {"Red Tower": "Eiffel Tower", "Green Bridge": "Forth Bridge", "Blue Lake": "Dead Sea"}
    return renamed(sure, tmp_path_factory.mktemp("models") / "famous", names)


@pytest.fixture(scope="session")
def photo(shared_data) -> Path:
    return shared_data / "test" / "00.Red_Tower" / "000.jpg"


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Landmarks-60, where LANDMARK_DATA names the folder that holds it."""
    folder = os.environ.get("LANDMARK_DATA")
    if not folder:
        pytest.skip("LANDMARK_DATA does not name the folder of real photos")
    return Path(folder) / "landmarks60"

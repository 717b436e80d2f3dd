"""The CPU engine: the network's own outputs, converted once; whatever is in its way, PyTorch serves."""

import logging
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec

import pytest
import timm
import torch
from helpers.runs import TINY
from huggingface_hub.utils import _cache_assets
from safetensors.torch import save_file
from torch import nn

from landmark_models.networks import openvino_engine
from landmark_models.networks.openvino_engine import compiled, converted, openvino_body

pytestmark = pytest.mark.skipif(find_spec("openvino") is None, reason="openvino is not installed")

CFG = {"input_size": (3, 48, 32), "mean": (0.5, 0.4, 0.3), "std": (0.2, 0.2, 0.2)}


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(1)
    network = timm.create_model("landmark_net", num_classes=5, **TINY["model_args"]).eval()
    return network.to(memory_format=torch.channels_last)  # as the classifier has it


@pytest.fixture(scope="module")
def weights(network, tmp_path_factory):
    file = tmp_path_factory.mktemp("weights") / "model.safetensors"
    save_file({name: value.contiguous() for name, value in network.state_dict().items()}, file)
    return file


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A cache of the test's own."""
    monkeypatch.setattr(_cache_assets, "HF_ASSETS_CACHE", str(tmp_path / "assets"))
    return tmp_path / "assets" / "landmark_models" / "openvino"


def same(forward, network, count: int, tolerance: float = 1e-4) -> bool:
    images = torch.randn(count, *CFG["input_size"], generator=torch.Generator().manual_seed(count))
    with torch.inference_mode():
        expected = network(images)
        outputs = forward(images.to(memory_format=torch.channels_last))
    assert outputs.dtype == torch.float32
    return outputs.shape == expected.shape and bool((outputs - expected).abs().max() < tolerance)


def test_its_outputs_are_the_networks_which_stays_unchanged(network, weights, cache):
    before = {name: value.clone() for name, value in network.state_dict().items()}
    forward = openvino_body(network, CFG, weights, "tiny", convert=True)
    assert forward.precision == "f32"
    assert same(forward, network, 1)
    assert same(forward, network, 5)
    assert same(forward, network, 1)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(
        value.is_contiguous(memory_format=torch.channels_last) for value in network.parameters() if value.ndim == 4
    )
    assert not network.training


def test_networks_of_timm_are_converted_in_inference_mode_too(cache):
    network = timm.create_model("test_resnet", num_classes=7).eval()
    with torch.inference_mode():
        assert same(compiled(converted(network, CFG["input_size"]), "f32"), network, 2)


def test_a_converted_network_is_cached(network, weights, cache):
    def body(architecture: str, convert: bool):
        return openvino_body(network, CFG, weights, architecture, convert=convert)

    assert body("tiny", convert=False) is None
    first = body("tiny", convert=True)
    assert body("other", convert=False) is None
    assert openvino_body(network, {**CFG, "input_size": (3, 32, 32)}, weights, "tiny", convert=False) is None
    again = body("tiny", convert=False)
    assert same(first, network, 2)
    assert same(again, network, 5)
    (folder,) = (cache / "default").iterdir()  # and nothing unfinished
    assert {file.name for file in folder.iterdir()} == {"model.xml", "model.bin", "digests.json"}


def test_other_weights_or_arguments_are_not_served_from_its_cache(network, weights, cache, tmp_path):
    openvino_body(network, CFG, weights, "tiny", convert=True)
    other = tmp_path / "other.safetensors"
    other.write_bytes(weights.read_bytes() + b" ")
    assert openvino_body(network, CFG, other, "tiny", convert=False) is None
    assert openvino_body(nn.Sequential(network, nn.Identity()), CFG, weights, "tiny", convert=False) is None


def test_a_damaged_cache_is_replaced(network, weights, cache, caplog):
    openvino_body(network, CFG, weights, "tiny", convert=True)
    (folder,) = (cache / "default").iterdir()
    for name in ("model.xml", "model.bin", "digests.json"):
        content = (folder / name).read_bytes()
        assert same(openvino_body(network, CFG, weights, "tiny", convert=False), network, 2)
        (folder / name).write_bytes(content[: len(content) // 2])
        caplog.clear()
        assert openvino_body(network, CFG, weights, "tiny", convert=False) is None
        assert "can't be used" in caplog.text
        (folder / name).write_bytes(content)
    (folder / "model.bin").unlink()
    assert same(openvino_body(network, CFG, weights, "tiny", convert=True), network, 5)
    assert same(openvino_body(network, CFG, weights, "tiny", convert=False), network, 5)


def test_without_a_place_for_the_cache_it_still_serves(network, weights, cache, monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    cache.parents[1].write_text("a file where a folder should be")
    assert same(openvino_body(network, CFG, weights, "tiny", convert=True), network, 5)
    cache.parents[1].unlink()

    def refuse(*_: object, **__: object) -> None:
        raise OSError("Read-only file system")

    monkeypatch.setattr(openvino_engine, "write_json", refuse)
    assert same(openvino_body(network, CFG, weights, "tiny", convert=True), network, 5)
    assert "Read-only file system" in caplog.text
    assert not list((cache / "default").iterdir())


def test_without_openvino_pytorch_serves(network, weights, cache, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    assert openvino_body(network, CFG, weights, "tiny", convert=True) is None


def test_what_cannot_be_converted_is_logged(weights, cache, caplog):
    class Odd(nn.Module):
        def forward(self, images):
            return images.flatten(1)[:, : int(images.sum())]  # a shape that the values decide

    assert openvino_body(Odd().eval(), CFG, weights, "odd", convert=True) is None
    assert "PyTorch computes odd" in caplog.text


def test_threads_share_it(network, weights, cache):
    forward = openvino_body(network, CFG, weights, "tiny", convert=True)
    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(lambda count: same(forward, network, 1 + count % 5), range(40)))


@pytest.mark.skipif(sys.platform == "win32", reason="no signal there")
def test_a_process_that_has_freed_networks_survives_its_next_signal():
    code = """if True:
        import signal, subprocess
        import timm
        from landmark_models.networks.openvino_engine import compiled, converted
        model = converted(timm.create_model("test_resnet").eval(), (3, 32, 32))
        bodies = [compiled(model, "f32") for _ in range(3)]
        while bodies:
            bodies.pop(0)
        signal.signal(signal.SIGCHLD, lambda *_: print("signal"))
        subprocess.run(["true"])
    """
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout == b"signal\n"


def test_importing_the_library_imports_no_openvino_and_using_it_no_telemetry():
    code = """if True:
        import sys, landmark_models.networks.openvino_engine as engine
        assert not {"openvino", "openvino_telemetry"} & set(sys.modules)
        engine.computes_bfloat16()
        from openvino.tools.ovc import telemetry_utils
        print(telemetry_utils.tm.__name__)
    """
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.split() == ["openvino.tools.ovc.telemetry_stub"]

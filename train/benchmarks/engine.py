"""Speed of a network's forward pass on a CPU in each engine that can run it."""

import statistics
import tempfile
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from timm.data import resolve_data_config
from torch import Tensor, nn
from torch.export import Dim

from landmark_models import LandmarkClassifier
from landmark_models.networks.openvino_engine import compiled, computes_bfloat16, converted, engine_threads, photo_like
from train.benchmarks import in_turns, quantiles

ENGINES = ("PyTorch f32", "PyTorch bf16", "OpenVINO f32", "OpenVINO bf16", "ONNX Runtime f32")
BATCH = 32  # photos

_Forward = Callable[[Tensor], Any]
_WARM = 3  # forward passes before those that are timed
_PAUSE = 0.01  # seconds; OpenMP's threads, which PyTorch uses, keep spinning for a moment after their work


@dataclass(frozen=True)
class EngineTimes:
    """The measurements of each engine.

    `seconds` are for one photo, `rates` in photos per second for batches of `BATCH`, with one value a round; `absent`
    gives the reason for each engine that wasn't measured. `size` is `(height, width)` in px.
    """

    seconds: dict[str, list[float]]
    rates: dict[str, list[float]]
    absent: dict[str, str]
    architecture: str
    size: tuple[int, int]


def engines(model: str, rounds: int, batch_rounds: int) -> EngineTimes:
    """Time the network of a MODEL, without decoding and ranking, with the same number of threads in each engine.

    Each engine takes `rounds` turns with one photo and `batch_rounds` with a batch.
    """
    classifier = LandmarkClassifier.load(model, engine="torch")
    config = resolve_data_config({}, pretrained_cfg=classifier.pretrained_cfg)
    absent: dict[str, str] = {}
    plain = deepcopy(classifier.network).to(memory_format=torch.contiguous_format)
    forwards = {
        **_pytorch(classifier.network),
        **_openvino(plain, config["input_size"], absent),
        **_onnxruntime(plain, config["input_size"], absent),
    }
    seconds = _seconds(forwards, photo_like(config, 1), rounds)
    batches = _seconds(forwards, photo_like(config, BATCH), batch_rounds)
    rates = {name: [BATCH / value for value in values] for name, values in batches.items()}
    return EngineTimes(seconds, rates, absent, classifier.config["architecture"], tuple(config["input_size"][1:]))


def print_engines(result: EngineTimes) -> None:
    """Print a table of the measurements, and the reasons for what wasn't measured."""
    from rich.console import Console
    from rich.table import Table

    table = Table("engine", "one photo, median", "p95", f"batch of {BATCH}, median")
    for name, seconds in result.seconds.items():
        median, late = quantiles(seconds)
        rate = statistics.median(result.rates[name])
        table.add_row(name, f"{1000 * median:.1f} ms", f"{1000 * late:.1f} ms", f"{rate:.1f} photos/s")
    Console().print(table)
    for name, why in result.absent.items():
        print(f"{name} was not measured: {why}.")


@torch.inference_mode()
def _seconds(forwards: dict[str, _Forward], images: Tensor, rounds: int) -> dict[str, list[float]]:
    return in_turns({name: partial(forward, images) for name, forward in forwards.items()}, rounds, _WARM, _PAUSE)


def _pytorch(network: nn.Module) -> dict[str, _Forward]:
    def float32(images: Tensor) -> Tensor:
        return network(images.contiguous(memory_format=torch.channels_last))

    def bfloat16(images: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return float32(images)

    return {"PyTorch f32": float32, "PyTorch bf16": bfloat16}


def _openvino(network: nn.Module, input_size: tuple[int, int, int], absent: dict[str, str]) -> dict[str, _Forward]:
    names = ("OpenVINO f32", "OpenVINO bf16")
    try:
        bfloat16 = computes_bfloat16()
    except ImportError:
        absent |= dict.fromkeys(names, "openvino isn't installed")
        return {}
    if not bfloat16:
        absent["OpenVINO bf16"] = "this CPU doesn't compute in bfloat16"
    model = converted(network, input_size)
    forwards: dict[str, _Forward] = {"OpenVINO f32": compiled(model, "f32")}
    if bfloat16:
        forwards["OpenVINO bf16"] = compiled(model, "bf16")
    return forwards


def _onnxruntime(network: nn.Module, input_size: tuple[int, int, int], absent: dict[str, str]) -> dict[str, _Forward]:
    name = "ONNX Runtime f32"
    missing = [package for package in ("onnx", "onnxscript", "onnxruntime") if find_spec(package) is None]
    if missing:
        absent[name] = f"{' and '.join(missing)} isn't installed"
        return {}
    import onnxruntime

    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "network.onnx"
        torch.onnx.export(
            network,
            (torch.zeros(2, *input_size),),
            file,
            dynamic_shapes=({0: Dim("batch")},),
            dynamo=True,
            external_data=False,
            verbose=False,
            input_names=["images"],
        )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = engine_threads()
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # it keeps cores busy
        session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    return {name: lambda images: session.run(None, {"images": images.numpy()})}

"""Run a network with OpenVINO, several times as fast as PyTorch on a CPU: converted once, then cached."""

import hashlib
import json
import logging
import math
import platform
import shutil
import sys
import tempfile
import threading
from copy import deepcopy
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, cast

import torch
from huggingface_hub import cached_assets_path
from timm.data import resolve_data_config
from torch import Tensor, nn
from torch.export import Dim

from landmark_models.devices import available_cores, instruction_set
from landmark_models.files import PART, sha256, write_json

Precision = Literal["f32", "bf16"]

# The largest relative difference (Euclidean norm) from PyTorch's outputs for an image. bfloat16 is faster on CPUs that
# have it, but EfficientNetV2-B0's features then differ by 0.03. That moved probabilities by up to 0.04 and changed
# whether a photo is named for 3 of 848 test photos, so serving computes in float32.
TOLERANCE = 1e-3

_TEST_IMAGES = 4  # that a new conversion is compared with PyTorch on

_FORMAT = 1  # of the cached folder
_MODEL, _WEIGHTS, _RECORD = "model.xml", "model.bin", "digests.json"

_log = logging.getLogger(__name__)
_core_lock = threading.Lock()


class OpenVinoBody:
    """A compiled network. Maps float32 images `(B, 3, H, W)` to float32 `(B, D)`, from any number of threads at once.

    Height and width are fixed, B is free. It computes in `precision`.

    Raises:
        RuntimeError: when called with images of another size.
    """

    def __init__(self, model: Any, precision: Precision):
        self.precision = precision
        self._model = model
        self._thread = threading.local()  # an infer request handles one batch at a time

    def __call__(self, images: Tensor) -> Tensor:
        request = getattr(self._thread, "request", None)
        if request is None:
            request = self._thread.request = self._model.create_infer_request()
        inputs = images.detach().contiguous().numpy()
        return torch.from_numpy(request.infer([inputs], share_inputs=True)[0])  # outputs are copies


def openvino_body(
    body: nn.Module, pretrained_cfg: dict[str, Any], weights: Path, architecture: str, *, convert: bool
) -> OpenVinoBody | None:
    """The forward pass of `body` in OpenVINO, from the cache or newly converted; None if PyTorch has to serve.

    PyTorch has to serve if openvino isn't installed, if it can't convert or run this network on this machine (the
    reason is logged), or if no converted model is cached and `convert` is false. `body` isn't changed. A conversion
    takes seconds; a cached model loads in a fraction of a second.

    Args:
        body: on the CPU, in evaluation mode; maps float32 images `(B, 3, H, W)` to float32 features or logits `(B, D)`.
        pretrained_cfg: its `input_size` is the size of the images, `mean` and `std` their normalisation.
        weights: the file that `body` was built from, whose digest identifies it in the cache.
        architecture: its name, and which part of the network it is if not all, e.g. "resnet10t, features".
        convert: convert the network if it isn't cached.
    """
    try:
        _import_openvino()
    except (ImportError, OSError) as error:  # missing; its libraries don't load on this system
        _log.info("PyTorch computes %s: openvino can't be imported (%s).", architecture, error)
        return None
    try:
        return _load_or_convert(body, pretrained_cfg, weights, architecture, convert)
    except Exception as error:  # whatever PyTorch's exporter, OpenVINO's frontend or its plugin raise
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        _log.warning("PyTorch computes %s, which OpenVINO doesn't run here: %s", architecture, reason)
        return None


def _load_or_convert(
    body: nn.Module, pretrained_cfg: dict[str, Any], weights: Path, architecture: str, convert: bool
) -> OpenVinoBody | None:
    config = resolve_data_config({}, pretrained_cfg=pretrained_cfg)
    folder = _cache_folder(body, weights, architecture, config["input_size"])
    if folder is not None and folder.is_dir():
        try:
            return compiled(_core().read_model(_checked_model(folder)))
        except Exception as error:  # whatever a damaged file makes OpenVINO raise
            _log.warning("The converted model in %s can't be used: %s", folder, error)
    if not convert:
        return None
    model = converted(body, config["input_size"])
    forward = _checked(model, body, config)
    if folder is not None:
        try:
            _save(model, folder)
        except (OSError, RuntimeError) as error:  # OpenVINO's writer raises RuntimeError
            _log.info("The converted model can't be cached in %s: %s", folder, error)
    return forward


def converted(body: nn.Module, input_size: tuple[int, int, int]) -> Any:
    """Convert a network to an `openvino.Model` for images of `input_size` (3, H, W) with a free batch dimension.

    Raises:
        Exception: of many types, if PyTorch can't export the network or OpenVINO can't convert it.
    """
    plain = deepcopy(body).to(memory_format=torch.contiguous_format)
    images = torch.zeros(2, *input_size)  # the exporter would take a batch of 1 as fixed
    program = torch.export.export(plain, (images,), dynamic_shapes=({0: Dim("batch")},))
    model = _import_openvino().convert_model(program)
    model.reshape([-1, *input_size])  # conversion leaves height and width free, too, which is slower
    return model


def compiled(model: Any, precision: Precision = "f32") -> OpenVinoBody:
    """Compile an `openvino.Model` for this CPU and the least latency."""
    options = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": precision,
        "INFERENCE_NUM_THREADS": engine_threads(),
        "ENABLE_CPU_PINNING": False,  # a pinned thread would wait while its core decodes photos, though another is idle
    }
    return OpenVinoBody(_core().compile_model(model, "CPU", options), precision)


def engine_threads() -> int:
    """The number of threads for a forward pass: PyTorch's, but no more than there are cores."""
    return min(available_cores(), torch.get_num_threads())


def computes_bfloat16() -> bool:
    """Whether OpenVINO can compute in bfloat16 on this CPU."""
    return "BF16" in _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def _import_openvino() -> Any:
    """The package openvino, without its telemetry.

    It comes with openvino_telemetry, which reports every import and conversion to Google Analytics. If that can't be
    imported, openvino uses its own stub. In a program that has imported openvino itself, telemetry stays as it is.
    """
    sys.modules.setdefault("openvino_telemetry", cast(Any, None))
    import openvino

    return openvino


def _core() -> Any:
    """The one `openvino.Core` of this process.

    Each Core gives the thread that creates it a new signal stack, and frees it when it is deleted. With several Cores,
    a thread may be left with a freed stack; the next signal, e.g. when a child process ends, then kills this process.
    """
    with _core_lock:
        return _make_core(_import_openvino())


@cache
def _make_core(openvino: Any) -> Any:
    return openvino.Core()


def _checked(model: Any, body: nn.Module, config: dict[str, Any]) -> OpenVinoBody:
    """Compile a new conversion and check that its outputs are those of PyTorch."""
    images = photo_like(config, _TEST_IMAGES)
    forward = compiled(model)
    with torch.inference_mode():
        expected = body(images)
    outputs, difference = forward(images), math.inf
    if outputs.shape == expected.shape:
        difference = float(((outputs - expected).norm(dim=1) / expected.norm(dim=1).clamp_min(1e-12)).max())
    if not difference <= TOLERANCE:  # NaN fails, too
        raise ValueError(f"its outputs differ by {difference:.2g} from PyTorch's.")
    return forward


def photo_like(config: dict[str, Any], count: int) -> Tensor:
    """Blurred colour noise with some grain, normalised: float32 images `(count, 3, H, W)`, always the same ones.

    Size, mean and standard deviation are those of `config`, timm's data config.
    """
    generator = torch.Generator().manual_seed(0)
    _, height, width = config["input_size"]
    colors = torch.rand(count, 3, 6, 6, generator=generator)
    smooth = nn.functional.interpolate(colors, (height, width), mode="bicubic", align_corners=False)
    grain = 0.05 * torch.randn(smooth.shape, generator=generator)
    mean, std = (torch.tensor(config[name]).view(3, 1, 1) for name in ("mean", "std"))
    return ((smooth + grain).clamp(0, 1) - mean) / std


def _checked_model(folder: Path) -> Path:
    """The model file in a cached folder; an OSError or a ValueError if a file is missing or damaged."""
    if json.loads((folder / _RECORD).read_text(encoding="utf-8")) != _digests(folder):
        raise ValueError("its files are damaged.")
    return folder / _MODEL


def _save(model: Any, folder: Path) -> None:
    """Write an `openvino.Model` into its folder, atomically; an OSError or OpenVINO's RuntimeError if it can't."""
    with tempfile.TemporaryDirectory(PART, ".", folder.parent) as scratch:
        whole = Path(scratch) / folder.name  # other users can't read the scratch folder itself
        whole.mkdir()
        _import_openvino().save_model(model, whole / _MODEL, compress_to_fp16=False)
        write_json(whole / _RECORD, _digests(whole))
        shutil.rmtree(folder, ignore_errors=True)  # a damaged one; if two processes race, either copy will do
        whole.rename(folder)


def _cache_folder(body: nn.Module, weights: Path, architecture: str, input_size: tuple[int, int, int]) -> Path | None:
    """Where a converted network is cached, below huggingface_hub's assets; None if no folder can be created there."""
    try:
        parent = Path(cached_assets_path("landmark_models", "openvino"))
    except (OSError, ValueError) as error:  # a read-only disk; a file in place of a folder
        _log.info("Converted models can't be cached: %s", error)
        return None
    return parent / _key(body, weights, architecture, input_size)


def _digests(folder: Path) -> dict[str, str]:
    return {name: sha256(folder / name) for name in (_MODEL, _WEIGHTS)}


def _key(body: nn.Module, weights: Path, architecture: str, input_size: tuple[int, int, int]) -> str:
    """A digest of everything that a converted model depends on."""
    parts = {
        "format": _FORMAT,
        "weights": sha256(weights),
        "architecture": architecture,
        "modules": repr(body),  # the same weights may be built with other arguments, e.g. another activation
        "input_size": list(input_size),
        "packages": {name: version(name) for name in ("openvino", "torch", "timm")},
        "cpu": _cpu_name(),
        "instruction_set": instruction_set(),  # virtual machines give different CPUs one name, e.g. "AMD EPYC"
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _cpu_name() -> str:
    """The CPU's model name, as far as the system tells."""
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8") as lines:
            return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):  # another system than Linux; an ARM CPU
        return platform.processor() or platform.machine()

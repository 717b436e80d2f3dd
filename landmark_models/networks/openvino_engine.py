"""Run a network with OpenVINO, several times as fast as PyTorch on a CPU: converted once, then cached.

forward = openvino_body(network, network.pretrained_cfg, Path("model.safetensors"), "resnet10t", convert=True)
if forward is not None:
    logits = forward(images)
"""

import logging
import math
import sys
import threading
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any, Literal, cast

import torch
from timm.data import resolve_data_config
from torch import Tensor, nn
from torch.export import Dim

from landmark_models.devices import available_cores
from landmark_models.networks.openvino_cache import cache_folder, checked_model, save

Precision = Literal["f32", "bf16"]

# The largest relative difference (Euclidean norm) from PyTorch's outputs for an image. bfloat16 is faster on CPUs that
# have it, but EfficientNetV2-B0's features then differ by 0.03. That moved probabilities by up to 0.04 and changed
# whether a photo is named for 3 of 848 test photos, so serving computes in float32.
TOLERANCE = 1e-3

_TEST_IMAGES = 4  # that a new conversion is compared with PyTorch on

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
    folder = cache_folder(body, weights, architecture, config["input_size"])
    if folder is not None and folder.is_dir():
        try:
            return compiled(_core().read_model(checked_model(folder)))
        except Exception as error:  # whatever a damaged file makes OpenVINO raise
            _log.warning("The converted model in %s can't be used: %s", folder, error)
    if not convert:
        return None
    model = converted(body, config["input_size"])
    forward = _checked(model, body, config)
    if folder is not None:
        try:
            save(_import_openvino(), model, folder)
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

    Args:
        config: timm's data config, with `input_size`, `mean` and `std`.
        count: the number of images.
    """
    generator = torch.Generator().manual_seed(0)
    _, height, width = config["input_size"]
    colors = torch.rand(count, 3, 6, 6, generator=generator)
    smooth = nn.functional.interpolate(colors, (height, width), mode="bicubic", align_corners=False)
    grain = 0.05 * torch.randn(smooth.shape, generator=generator)
    mean, std = (torch.tensor(config[name]).view(3, 1, 1) for name in ("mean", "std"))
    return ((smooth + grain).clamp(0, 1) - mean) / std

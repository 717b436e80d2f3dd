"""What runs the body of a served network: PyTorch, or OpenVINO on a CPU where that is installed."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from landmark_models.errors import LandmarkError
from landmark_models.networks.openvino_engine import openvino_body
from landmark_models.networks.served import ServedNetwork

Engine = Literal["auto", "cached", "torch"]
_ENGINES = get_args(Engine)


def converted_body(
    served: ServedNetwork,
    engine: Engine,
    *,
    device: torch.device,
    architecture: str,
    pretrained_cfg: dict[str, Any],
    weights: Path,
) -> Callable[[Tensor], Tensor] | None:
    """The body of a network run by OpenVINO, images to `ServedNetwork.body`; None if PyTorch runs it.

    The engine is "auto" to convert the network once per machine; "cached" for OpenVINO only if it has been converted
    already; or "torch". The environment variable LANDMARK_ENGINE replaces "auto".

    Raises:
        LandmarkError: the engine, or LANDMARK_ENGINE, isn't one of these.
    """
    choice = os.environ.get("LANDMARK_ENGINE", "auto") if engine == "auto" else engine
    if choice not in _ENGINES:
        raise LandmarkError(f"The engine {choice!r} must be one of {', '.join(_ENGINES)}; see LANDMARK_ENGINE.")
    if device.type != "cpu" or choice == "torch":
        return None
    return openvino_body(_Body(served), pretrained_cfg, weights, architecture, convert=choice == "auto")


class _Body(torch.nn.Module):
    """The part of a served network that another engine can run, as a module."""

    def __init__(self, served: ServedNetwork):
        super().__init__()
        self.served = served

    def forward(self, images: Tensor) -> Tensor:
        return self.served.body(images)

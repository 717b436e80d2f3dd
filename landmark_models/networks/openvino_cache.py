"""Converted networks on disk, so that OpenVINO's conversion is needed once for each network and machine."""

import json
import logging
import platform
import shutil
import tempfile
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

from huggingface_hub import cached_assets_path
from torch import nn

from landmark_models import files
from landmark_models.devices import instruction_set
from landmark_models.files import PART, write_json

_FORMAT = 1  # of the cached folder
_MODEL, _WEIGHTS, _RECORD = "model.xml", "model.bin", "digests.json"

_log = logging.getLogger(__name__)


def checked_model(folder: Path) -> Path:
    """The model file in a cached folder.

    Raises:
        OSError: a file is missing.
        ValueError: the files are damaged.
    """
    if json.loads((folder / _RECORD).read_text(encoding="utf-8")) != _digests(folder):
        raise ValueError("its files are damaged.")
    return folder / _MODEL


def save(openvino: Any, model: Any, folder: Path) -> None:
    """Write a converted model into its folder, atomically.

    Args:
        openvino: the package.
        model: an `openvino.Model`.
        folder: the folder to create or replace.

    Raises:
        OSError: it can't be written.
        RuntimeError: likewise, from OpenVINO.
    """
    with tempfile.TemporaryDirectory(PART, ".", folder.parent) as scratch:
        whole = Path(scratch) / folder.name  # other users can't read the scratch folder itself
        whole.mkdir()
        openvino.save_model(model, whole / _MODEL, compress_to_fp16=False)
        write_json(whole / _RECORD, _digests(whole))
        shutil.rmtree(folder, ignore_errors=True)  # a damaged one; if two processes race, either copy will do
        whole.rename(folder)


def cache_folder(body: nn.Module, weights: Path, architecture: str, input_size: tuple[int, int, int]) -> Path | None:
    """Where a converted network is cached, below huggingface_hub's assets; None if no folder can be created there."""
    try:
        parent = Path(cached_assets_path("landmark_models", "openvino"))
    except (OSError, ValueError) as error:  # a read-only disk; a file in place of a folder
        _log.info("Converted models can't be cached: %s", error)
        return None
    return parent / _key(body, weights, architecture, input_size)


def _digests(folder: Path) -> dict[str, str]:
    return {name: files.sha256(folder / name) for name in (_MODEL, _WEIGHTS)}


def _key(body: nn.Module, weights: Path, architecture: str, input_size: tuple[int, int, int]) -> str:
    """A digest of everything that a converted model depends on."""
    parts = {
        "format": _FORMAT,
        "weights": files.sha256(weights),
        "architecture": architecture,
        "modules": repr(body),  # the same weights may be built with other arguments, e.g. another activation
        "input_size": list(input_size),
        "packages": {name: version(name) for name in ("openvino", "torch", "timm")},
        "cpu": _cpu_name(),
        "instruction_set": instruction_set(),  # virtual machines give different CPUs one name, e.g. "AMD EPYC"
    }
    return sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _cpu_name() -> str:
    """The CPU's model name, as far as the system tells."""
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8") as lines:
            return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):  # another system than Linux; an ARM CPU
        return platform.processor() or platform.machine()

"""A model is a folder in timm's Hub format: `save` writes one, `load` reads one from disk or from the Hub.

model, config = load("hf-hub:owner/name@main")
"""

import inspect
import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import EntryNotFoundError, HFValidationError, LocalEntryNotFoundError
from safetensors.torch import load_file, save_file
from timm.models._hub import save_config_for_hf  # timm's own writer of the format, not exported at the top
from torch import nn

import landmark_models.convnet
import landmark_models.mlp_head  # noqa: F401  (both register our architectures)
from landmark_models.errors import ModelError
from landmark_models.preprocess import required_side, serving_transform

__all__ = ["DEFAULT_FOLDER", "LoadedModel", "load", "save"]

DEFAULT_FOLDER = Path(__file__).with_name("default")
CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"

_RESERVED_ARGUMENTS = frozenset(inspect.signature(timm.create_model).parameters)


@dataclass(frozen=True)
class LoadedModel:
    """A network in evaluation mode (float32), and all that its config says of it."""

    network: nn.Module
    config: dict[str, Any]
    source: str

    @property
    def labels(self) -> list[str]:
        return list(self.config["label_names"])

    @property
    def pretrained_cfg(self) -> dict[str, Any]:
        return dict(self.config["pretrained_cfg"])

    @property
    def landmark(self) -> dict[str, Any]:
        """Our own block: temperature, test figures, recipe; empty for models of others."""
        return dict(self.config["landmark"])


def save(
    network: nn.Module,
    folder: str | Path,
    *,
    labels: list[str],
    model_args: dict[str, Any],
    landmark: dict[str, Any],
    half: bool = False,
) -> None:
    """Write a model folder: `config.json` in timm's format with our `landmark` block, and `model.safetensors`.

    Args:
        network: its `pretrained_cfg` must already say the preprocessing that it is served with.
        folder: made where it is missing; files of an earlier save are replaced, each at once.
        labels: name of each class, by position.
        model_args: arguments that `timm.create_model` needs to build it again, besides `num_classes`.
        landmark: our block.
        half: store matrices as float16 (timm widens on load); vectors, such as running statistics, stay float32.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {
        name: (tensor.half() if half and tensor.is_floating_point() and tensor.ndim > 1 else tensor).contiguous()
        for name, tensor in network.state_dict().items()
    }
    weights = folder / f".{WEIGHTS_FILE}"
    save_file(tensors, weights, metadata={"format": "pt"})
    config = folder / f".{CONFIG_FILE}"
    save_config_for_hf(network, config, {"label_names": labels, "landmark": landmark}, model_args)
    weights.replace(folder / WEIGHTS_FILE)
    config.replace(folder / CONFIG_FILE)


def load(model: str | os.PathLike[str] = "default") -> LoadedModel:
    """Load a MODEL: `default`, a model folder, a run folder (its `model/`), or `hf-hub:owner/name[@revision]`.

    Only `config.json` and `model.safetensors` are ever read; nothing is executed or unpickled.

    Raises:
        ModelError: it does not exist, can't be downloaded, or its files don't fit together.
    """
    source = os.fspath(model)
    folder = DEFAULT_FOLDER if source == "default" else None
    if source.startswith("hf-hub:"):
        files = _download(source.removeprefix("hf-hub:"))
    else:
        folder = folder or Path(source)
        if not (folder / CONFIG_FILE).is_file() and (folder / "model" / CONFIG_FILE).is_file():
            folder = folder / "model"
        files = (folder / CONFIG_FILE, folder / WEIGHTS_FILE)
        if not folder.is_dir():
            raise ModelError(
                f"There is no model folder {folder}; take a model or run folder, hf-hub:owner/name or default."
            )
        for file in files:
            if not file.is_file():
                raise ModelError(f"{folder} has no {file.name}, so it is no model folder.")
    config = _read_config(files[0], source)
    return LoadedModel(_build(config, files[1], source), config, source)


def _download(repository: str) -> tuple[Path, Path]:
    repo_id, _, revision = repository.partition("@")
    try:
        config, weights = (
            Path(hf_hub_download(repo_id, name, revision=revision or None)) for name in (CONFIG_FILE, WEIGHTS_FILE)
        )
        return config, weights
    except HFValidationError as error:
        raise ModelError(f"hf-hub:{repository} is no repository name: {error}") from None
    except LocalEntryNotFoundError:
        raise ModelError(
            f"hf-hub:{repository} can't be downloaded and is not in the local cache; is the network up?"
        ) from None
    except EntryNotFoundError as error:
        raise ModelError(f"hf-hub:{repository} has no {CONFIG_FILE} with {WEIGHTS_FILE}: {error}") from None
    except Exception as error:  # refusals of the Hub, a full disk, a connection lost half-way
        raise ModelError(f"hf-hub:{repository} can't be downloaded: {error}") from None


def _read_config(file: Path, source: str) -> dict[str, Any]:
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"The {CONFIG_FILE} of {source} can't be read: {error}") from None
    if not isinstance(config, dict):
        raise ModelError(f"The {CONFIG_FILE} of {source} is no mapping.")
    names = config.get("label_names")
    cfg = config.get("pretrained_cfg")
    if not isinstance(config.get("architecture"), str) or not isinstance(cfg, dict):
        raise ModelError(f"The {CONFIG_FILE} of {source} lacks the architecture or pretrained_cfg that timm writes.")
    if not isinstance(names, list) or len(names) != config.get("num_classes") or not all(map(_is_text, names)):
        raise ModelError(f"The {CONFIG_FILE} of {source} has no label_names for each of its classes.")
    if len(set(names)) < len(names):
        raise ModelError(f"The {CONFIG_FILE} of {source} has two classes of one label.")
    landmark, arguments = config.setdefault("landmark", {}), config.setdefault("model_args", {})
    if not isinstance(landmark, dict) or not isinstance(arguments, dict):
        raise ModelError(f"The landmark block and the model_args in the {CONFIG_FILE} of {source} must be mappings.")
    temperature = landmark.get("temperature", 1.0)
    if not isinstance(temperature, int | float) or not 0 < temperature < math.inf:
        raise ModelError(f"The temperature in the {CONFIG_FILE} of {source} must be above 0, not {temperature!r}.")
    test = landmark.get("test")
    if test is not None and not (isinstance(test, dict) and {"data", "n", "top1", "top1_ci95"} <= test.keys()):
        raise ModelError(f"The test figures in the {CONFIG_FILE} of {source} are not complete.")
    try:
        serving_transform(cfg)
        required_side(cfg)
        if not min(cfg.get("std", [1.0])) > 0:
            raise ValueError("std must be above 0")
    except Exception as error:
        raise ModelError(f"The pretrained_cfg of {source} gives no preprocessing: {error}") from None
    return config


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _build(config: dict[str, Any], weights: Path, source: str) -> nn.Module:
    architecture = config["architecture"]
    arguments = {name: value for name, value in config["model_args"].items() if name != "num_classes"}
    if not timm.is_model(architecture):
        raise ModelError(f"{source} needs the architecture {architecture!r}, which timm {timm.__version__} lacks.")
    if reserved := sorted(set(arguments) & _RESERVED_ARGUMENTS):  # `checkpoint_path` would read a pickle
        raise ModelError(f"The {CONFIG_FILE} of {source} has model_args that no model takes: {', '.join(reserved)}.")
    try:
        network = timm.create_model(architecture, pretrained=False, num_classes=config["num_classes"], **arguments)
        network.load_state_dict(load_file(weights))  # widens float16 to the network's float32
    except Exception as error:  # whatever an architecture raises on arguments that it does not know
        raise ModelError(f"The weights of {source} don't fit its {CONFIG_FILE}: {str(error)[:300]}") from None
    network.pretrained_cfg.update(config["pretrained_cfg"])
    return network.eval()

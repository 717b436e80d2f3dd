"""The format of a model: a folder with timm's `config.json`, with our `landmark` block, and `model.safetensors`."""

import inspect
import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeGuard, cast

import timm
import torch
from safetensors.torch import load_file, save_file
from timm.data import resolve_data_config
from timm.models._hub import save_config_for_hf  # timm's own writer of the format, not exported at the top
from torch import nn

from landmark_models.errors import ModelError
from landmark_models.networks.served import linear_classifier
from landmark_models.networks.statistics import STATISTICS_FILE, FeatureStatistics
from landmark_models.preprocess import required_side, serving_transform
from landmark_models.rejection import KnownRule
from landmark_models.text import for_terminal

__all__ = [
    "CONFIG_FILE",
    "MAX_CONFIG_BYTES",
    "MAX_WEIGHTS_BYTES",
    "STATISTICS_FILE",
    "WEIGHTS_FILE",
    "build",
    "read_config",
    "read_statistics",
    "save",
]

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"

# What a stranger's model may ask of the machine that serves it.
MAX_CONFIG_BYTES = 4 * 2**20
MAX_WEIGHTS_BYTES = 4 * 2**30
MAX_NUMBERS = 10**9  # in all its parameters and buffers
MAX_MODULES = 50_000
MAX_SIDE = 2048  # px of its input
MAX_ARGUMENT = 2**16  # any number among its model_args, e.g. a width
MAX_LABEL = 255  # letters

_ADDED_ARGUMENTS = frozenset(["num_classes", "in_chans", "global_pool"])  # by timm, to every model_args
_RESERVED_ARGUMENTS = frozenset(inspect.signature(timm.create_model).parameters)


def save(
    network: nn.Module,
    folder: str | Path,
    *,
    labels: list[str],
    model_args: dict[str, Any],
    landmark: dict[str, Any],
    half: bool = False,
    statistics: FeatureStatistics | None = None,
) -> None:
    """Write a model folder: `config.json` in timm's format with our `landmark` block, and `model.safetensors`.

    Args:
        network: its `pretrained_cfg` must already say the preprocessing that it is served with.
        folder: made where it is missing; files of an earlier save are replaced, each at once.
        labels: name of each class, by position.
        model_args: arguments that `timm.create_model` needs to build it again, besides `num_classes`.
        landmark: our block.
        half: store parameters as float16 (timm widens on load); running statistics stay float32, and so does a
            classifier that belongs to statistics.
        statistics: of the features, for `statistics.safetensors`; None for a model without.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    exact = set(linear_classifier(network).parameters()) if statistics else set()
    halved = {name for name, parameter in network.named_parameters() if half and parameter not in exact}
    tensors = {
        name: (tensor.half() if name in halved and tensor.is_floating_point() else tensor).contiguous()
        for name, tensor in network.state_dict().items()
    }
    weights = folder / f".{WEIGHTS_FILE}"
    save_file(tensors, weights, metadata={"format": "pt"})
    config = folder / f".{CONFIG_FILE}"
    described = {"label_names": labels, "label_descriptions": {label: label for label in labels}}
    save_config_for_hf(network, config, {**described, "landmark": landmark}, model_args)
    _leave_out_defaults(config, model_args)
    if statistics:
        statistics.write(folder / STATISTICS_FILE)
    else:
        (folder / STATISTICS_FILE).unlink(missing_ok=True)
    weights.replace(folder / WEIGHTS_FILE)
    config.replace(folder / CONFIG_FILE)


def _leave_out_defaults(config: Path, model_args: dict[str, Any]) -> None:
    """Take what timm adds to `model_args` out of a config again, unless it was asked for.

    Whatever builds the network from the file gives the number of classes itself, and would give it twice.
    """
    content = json.loads(config.read_text(encoding="utf-8"))
    added = _ADDED_ARGUMENTS - (model_args.keys() - {"num_classes"})
    kept = {name: value for name, value in content.pop("model_args", {}).items() if name not in added}
    content |= {"model_args": kept} if kept else {}
    config.write_text(json.dumps(content, indent=1), encoding="utf-8")


def read_config(file: Path, source: str) -> dict[str, Any]:
    """Read and check a `config.json`, a stranger's too; `landmark` and `model_args` are there afterwards, if empty.

    Args:
        file: it.
        source: what messages call the model that it belongs to.

    Raises:
        ModelError: it can't be read, or describes no model that could be served.
    """
    name = f"The {CONFIG_FILE} of {source}"
    try:
        if file.stat().st_size > MAX_CONFIG_BYTES:
            raise ModelError(f"{name} is larger than {MAX_CONFIG_BYTES // 2**20} MB; it is no model's.")
        config = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{name} can't be read: {error}") from None
    if not isinstance(config, dict):
        raise ModelError(f"{name} is no mapping.")
    labels, cfg = config.get("label_names"), config.get("pretrained_cfg")
    if not isinstance(config.get("architecture"), str) or not isinstance(cfg, dict):
        raise ModelError(f"{name} lacks the architecture or pretrained_cfg that timm writes.")
    if not isinstance(labels, list) or not labels or len(labels) != config.get("num_classes"):
        raise ModelError(f"{name} has no label_names for each of its classes.")
    if not all(map(_is_text, labels)):
        raise ModelError(f"{name} has label_names that are no text of at most {MAX_LABEL} letters.")
    if len(set(labels)) < len(labels):
        raise ModelError(f"{name} has two classes of one label.")
    landmark, arguments = config.setdefault("landmark", {}), config.setdefault("model_args", {})
    if not isinstance(landmark, dict) or not isinstance(arguments, dict):
        raise ModelError(f"{name} has a landmark block or model_args that are no mappings.")
    temperature = landmark.get("temperature", 1.0)
    if not _is_number(temperature) or not 0 < temperature < math.inf:
        raise ModelError(f"{name} has the temperature {temperature!r}, which must be a number above 0.")
    try:
        KnownRule.from_config(landmark)
    except ValueError as error:
        raise ModelError(f"{name} is invalid: {error}.") from None
    for block in ("test", "elsewhere"):
        if block in landmark and not _are_figures(landmark[block]):
            raise ModelError(f"{name} has incomplete or impossible figures in its block `{block}`.")
    try:
        serving_transform(cfg)
        channels, *sides = resolve_data_config({}, pretrained_cfg=cfg)["input_size"]
        if channels != 3 or not all(1 <= side <= MAX_SIDE for side in [*sides, required_side(cfg)]):
            raise ValueError(f"a photo must be 3 colours of 1 to {MAX_SIDE} px, also before it is cropped")
        if not min(cfg.get("std", [1.0])) > 0:
            raise ValueError("std must be above 0")
    except Exception as error:
        raise ModelError(f"The pretrained_cfg of {source} gives no preprocessing: {error}") from None
    return config


def build(config: dict[str, Any], weights: Path, source: str) -> nn.Module:
    """The network that a checked config describes, in evaluation mode, float32, with the weights of a safetensors file.

    It is first built without memory for its tensors, to see how large it would be and what arguments it takes.

    Raises:
        ModelError: timm lacks the architecture, it takes no such arguments, it is too large, or the weights don't fit.
    """
    name, architecture = f"The {CONFIG_FILE} of {source}", config["architecture"]
    arguments = {key: value for key, value in config["model_args"].items() if key != "num_classes"}
    if not timm.is_model(architecture):
        raise ModelError(f"{source} needs the architecture {architecture!r}, which timm {timm.__version__} lacks.")
    if reserved := sorted(set(arguments) & _RESERVED_ARGUMENTS):  # `checkpoint_path` would read a pickle
        raise ModelError(f"{name} has model_args that no model takes: {', '.join(reserved)}.")
    if any(_is_number(value) and not abs(value) <= MAX_ARGUMENT for value in _leaves(arguments)):
        raise ModelError(f"{name} has model_args with larger numbers than any model needs.")

    def create() -> nn.Module:
        return timm.create_model(architecture, pretrained=False, num_classes=config["num_classes"], **arguments)

    try:
        with torch.device("meta"), _modest(name):
            outline = create()
        makers = [timm.model_entrypoint(architecture), *type(outline).__mro__[:-1]]
        known = {parameter for maker in makers for parameter in inspect.signature(maker).parameters}
        if unknown := sorted(set(arguments) - known):
            raise ModelError(f"{name} has model_args that {architecture} does not take: {str(unknown)[:200]}.")
        network = create()
        network.load_state_dict(load_file(weights))  # widens float16 to the network's float32
    except ModelError:
        raise
    except Exception as error:  # whatever an architecture raises on arguments that it does not know
        raise ModelError(
            f"The weights of {source} don't fit its {CONFIG_FILE}: {for_terminal(str(error)[:300])}"
        ) from None
    cast(dict[str, Any], network.pretrained_cfg).update(config["pretrained_cfg"])
    return network.eval()


def read_statistics(
    config: dict[str, Any], network: nn.Module, file: Path | None, source: str
) -> FeatureStatistics | None:
    """The statistics of a model's features; None where it has none.

    Args:
        config: as `read_config` gave it.
        network: as `build` gave it.
        file: its `statistics.safetensors`, which may be missing.
        source: what messages call the model.

    Raises:
        ModelError: the file is damaged or belongs to another network, or the model's rule needs it and it is missing.
    """
    rule = KnownRule.from_config(config["landmark"])
    if file is None or not file.is_file():
        if rule.needs_statistics:
            raise ModelError(f"{source} has no {STATISTICS_FILE}, which its rule, {rule.score}, needs.")
        return None
    try:
        width = linear_classifier(network).in_features
    except ValueError as error:
        raise ModelError(f"{source} has a {STATISTICS_FILE} that can't be used: {error}.") from None
    return FeatureStatistics.read(file, width, source)


@contextmanager
def _modest(name: str) -> Iterator[None]:
    """Stop what is built meanwhile, on the meta device, as soon as it is larger than what is served.

    Raises:
        ModelError: it is; `name` says whose config describes it.
    """
    numbers = modules = 0

    def count(_module: nn.Module, _name: str, part: nn.Module | torch.Tensor | None) -> None:
        nonlocal numbers, modules
        modules += 1
        numbers += part.numel() if isinstance(part, torch.Tensor) else 0
        if numbers > MAX_NUMBERS or modules > MAX_MODULES:
            raise ModelError(f"{name} describes a network of more than {MAX_NUMBERS / 1e9:.0f} billion numbers.")

    registered = nn.modules.module
    hooks = [
        registered.register_module_parameter_registration_hook(count),
        registered.register_module_buffer_registration_hook(count),
        registered.register_module_module_registration_hook(count),
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _leaves(value: object) -> Iterator[object]:
    """The numbers and texts in nested lists and mappings."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _leaves(item)
    else:
        yield value


def _is_text(value: object) -> bool:
    """Whether it is a text that any page could show: no halves of surrogate pairs, and not endless."""
    return isinstance(value, str) and len(value) <= MAX_LABEL and not any("\ud800" <= c <= "\udfff" for c in value)


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _are_figures(figures: object) -> bool:
    """Whether a stranger's figures are complete and possible; models are chosen by them, and the page tells them."""
    if not isinstance(figures, dict) or not _is_text(figures.get("data")):
        return False
    n, top1, interval = figures.get("n"), figures.get("top1"), figures.get("top1_ci95")
    if not isinstance(interval, list) or len(interval) != 2 or not isinstance(n, int) or n < 1:
        return False
    low, high = interval
    if not all(map(_is_number, (low, top1, high))) or not 0 <= low <= top1 <= high <= 1:
        return False
    if "named" not in figures:  # figures of older models end here
        return True
    named = figures["named"]
    if not isinstance(named, dict):
        return False
    others = figures.get("others", {})
    if not isinstance(others, dict) or not all(isinstance(group, dict) for group in others.values()):
        return False
    return _are_counts(named, "right", "named", "photos") and all(_are_counts(g, "named", "n") for g in others.values())


def _are_counts(block: dict[str, Any], *names: str) -> bool:
    """Whether these are whole numbers from 0 on, none above the next."""
    counts = [block.get(name) for name in names]
    whole = [count for count in counts if isinstance(count, int) and not isinstance(count, bool)]
    return len(whole) == len(names) and [0, *whole] == sorted([0, *whole])

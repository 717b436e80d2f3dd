"""A model folder: `config.json` in timm's format, `model.safetensors` and, for some, `statistics.safetensors`."""

import inspect
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import timm
import torch
from safetensors.torch import load_file, save_file
from timm.models._hub import save_config_for_hf  # timm's public save_for_hf can't store weights as float16
from torch import nn

from landmark_models.errors import ModelError
from landmark_models.models.config import CONFIG_FILE, read_config
from landmark_models.networks.served import linear_classifier
from landmark_models.networks.statistics import STATISTICS_FILE, FeatureStatistics
from landmark_models.rejection import KnownRule, is_number
from landmark_models.text import for_terminal

__all__ = [
    "CONFIG_FILE", "MAX_WEIGHTS_BYTES", "STATISTICS_FILE", "WEIGHTS_FILE", "build", "for_every_loader", "read_config",
    "read_statistics", "save",
]  # fmt: skip

WEIGHTS_FILE = "model.safetensors"

# Limits for what an untrusted model may take on the machine that serves it.
MAX_WEIGHTS_BYTES = 4 * 2**30
MAX_NUMBERS = 10**9  # in all its parameters and buffers
MAX_MODULES = 50_000
MAX_ARGUMENT = 2**16  # any number among its model_args, e.g. a width

_ADDED_ARGUMENTS = frozenset(["in_chans", "global_pool"])  # timm adds them to every model_args
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
    """Write a model folder.

    Args:
        network: its `pretrained_cfg` must already describe the preprocessing it is served with.
        folder: created if missing; each file of an earlier save is replaced atomically.
        labels: the name of each class, by index.
        model_args: the arguments that `timm.create_model` needs to rebuild it, besides `num_classes`.
        landmark: our block of the config.
        half: store parameters as float16 (timm widens them on loading). Running statistics stay float32, and so does
            the classifier if there are feature statistics, which must match it exactly.
        statistics: the features' statistics, for `statistics.safetensors`.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    exact = set(linear_classifier(network).parameters()) if statistics else set()
    halved = {name for name, parameter in network.named_parameters() if half and parameter not in exact}
    tensors = {
        name: (tensor.half() if name in halved and tensor.is_floating_point() else tensor).contiguous()
        for name, tensor in network.state_dict().items()
    }
    weights, config = folder / f".{WEIGHTS_FILE}", folder / f".{CONFIG_FILE}"
    save_file(tensors, weights, metadata={"format": "pt"})
    described = {"label_names": labels, "label_descriptions": {label: label for label in labels}}
    save_config_for_hf(network, config, {**described, "landmark": landmark}, model_args)
    content = json.loads(config.read_text(encoding="utf-8"))
    added = _ADDED_ARGUMENTS - model_args.keys()
    arguments = content.get("model_args", {})
    content["model_args"] = {name: value for name, value in arguments.items() if name not in added}
    config.write_text(json.dumps(for_every_loader(content), indent=1), encoding="utf-8")
    if statistics:
        statistics.write(folder / STATISTICS_FILE)
    else:
        (folder / STATISTICS_FILE).unlink(missing_ok=True)
    weights.replace(folder / WEIGHTS_FILE)
    config.replace(folder / CONFIG_FILE)


def for_every_loader(config: dict[str, Any]) -> dict[str, Any]:
    """A config that transformers can read too.

    It passes `num_classes` itself, as timm does, so that mustn't be among the `model_args`; and it would compute in
    the type of stored weights, which is float16 for many models.
    """
    arguments = {name: value for name, value in config.get("model_args", {}).items() if name != "num_classes"}
    others = {name: value for name, value in config.items() if name != "model_args"}
    return others | ({"model_args": arguments} if arguments else {}) | {"dtype": "float32"}


def build(config: dict[str, Any], weights: Path, source: str) -> nn.Module:
    """Build the network that a checked config describes, with a safetensors file's weights.

    It is in evaluation mode and float32, whatever type the weights are stored in. First it is built on the
    meta device, to learn its size and its arguments before any memory is allocated.

    Raises:
        ModelError: timm lacks the architecture, or it doesn't take these arguments, is too large, or doesn't fit the
            weights.
    """
    name, architecture = f"The {CONFIG_FILE} of {source}", config["architecture"]
    arguments = {key: value for key, value in config["model_args"].items() if key != "num_classes"}
    if not timm.is_model(architecture):
        raise ModelError(f"{source} needs the architecture {architecture!r}, which timm {timm.__version__} lacks.")
    if reserved := sorted(set(arguments) & _RESERVED_ARGUMENTS):  # `checkpoint_path` would read a pickle
        raise ModelError(f"{name} has model_args that aren't allowed: {', '.join(reserved)}.")
    if any(is_number(value) and not abs(value) <= MAX_ARGUMENT for value in _leaves(arguments)):
        raise ModelError(f"{name} has model_args with larger numbers than any model needs.")

    def create() -> nn.Module:
        return timm.create_model(architecture, pretrained=False, num_classes=config["num_classes"], **arguments)

    try:
        with torch.device("meta"), _size_limit(name):
            outline = create()
        makers = [timm.model_entrypoint(architecture), *type(outline).__mro__[:-1]]
        known = {parameter for maker in makers for parameter in inspect.signature(maker).parameters}
        if unknown := sorted(set(arguments) - known):
            raise ModelError(f"{name} has model_args that {architecture} doesn't take: {str(unknown)[:200]}.")
        with torch.random.fork_rng(devices=[]):  # building draws weights; the caller's random numbers stay as they are
            network = create()
        network.load_state_dict(load_file(weights))  # widens float16 to the network's float32
    except ModelError:
        raise
    except Exception as error:  # whatever an architecture raises for arguments it can't use
        raise ModelError(
            f"The weights of {source} don't fit its {CONFIG_FILE}: {for_terminal(str(error)[:300])}"
        ) from None
    cast(dict[str, Any], network.pretrained_cfg).update(config["pretrained_cfg"])
    return network.eval()


def read_statistics(config: dict[str, Any], network: nn.Module, file: Path, source: str) -> FeatureStatistics | None:
    """The statistics of a model's features from a file, which may be missing; None if it has none.

    Raises:
        ModelError: the file is damaged or belongs to another network, or is missing and the model's rule needs it.
    """
    rule = KnownRule.from_config(config["landmark"])
    if not file.is_file():
        if rule.needs_statistics:
            raise ModelError(f"{source} has no {STATISTICS_FILE}, which its rule, {rule.score}, needs.")
        return None
    try:
        width = linear_classifier(network).in_features
    except ValueError as error:
        raise ModelError(f"{source} has a {STATISTICS_FILE} that can't be used: {error}.") from None
    return FeatureStatistics.read(file, width, source)


@contextmanager
def _size_limit(name: str) -> Iterator[None]:
    """Stop building a network on the meta device as soon as it exceeds what is served; `name` is its config's."""
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
    """The scalars in nested lists and mappings."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _leaves(item)
    else:
        yield value

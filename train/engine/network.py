"""From a recipe to a network: any timm architecture, random or pretrained weights, its head, what is frozen."""

import hashlib
from collections.abc import Collection
from copy import deepcopy
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import timm
import torch
from huggingface_hub import hf_hub_download
from safetensors import SafetensorError, safe_open
from timm.models import group_parameters
from torch import nn

from landmark_models.errors import LandmarkError
from landmark_models.files import sha256
from landmark_models.networks.mlp_head import put_mlp_head
from train.recipe import Recipe, RecipeError

_SHOWN = 3  # tensors that an error message names


def weights_from(recipe: Recipe, weights: Path | None = None) -> str:
    """Where the initial weights come from, in a few words, for the run's environment and the model's config."""
    if not recipe.pretrained:
        return "random weights"
    file = _pretrained_file(recipe, weights)
    cfg = timm.get_pretrained_cfg(recipe.model)
    if weights is None and cfg is not None:
        return f"{cfg.hf_hub_id} on the Hub"
    return f"{file.name}, sha256 {sha256(file)[:12]}"


def build_network(recipe: Recipe, num_classes: int, weights: Path | None = None) -> nn.Module:
    """Build the recipe's architecture and head, with a `pretrained_cfg` that says how it will be served.

    With `pretrained`, everything but the head is pretrained. Serving keeps the backbone's own mean, standard deviation,
    crop and interpolation unless the recipe sets others. `weights` is a safetensors file with the pretrained weights;
    None for timm's own from the Hub.

    Raises:
        RecipeError: timm has no such architecture, or it doesn't support the recipe's arguments, photo sizes or
            freezing.
        LandmarkError: the pretrained weights aren't available, or don't fit.
    """
    _refuse_unknown(recipe.model)
    arguments = _arguments(recipe)
    rates = {"drop_rate": recipe.drop_rate, "drop_path_rate": recipe.drop_path_rate}
    arguments |= {name: rate for name, rate in rates.items() if rate is not None}
    file = _pretrained_file(recipe, weights) if recipe.pretrained else None
    try:
        if file is None:
            network = timm.create_model(recipe.model, pretrained=False, num_classes=num_classes, **arguments)
        else:
            network = _pretrained(recipe.model, file, arguments)
            network.reset_classifier(num_classes)  # type: ignore[operator]
        if recipe.head_hidden:
            put_mlp_head(network, recipe.head_hidden, recipe.drop_rate or 0.0)
    except LandmarkError:
        raise
    except Exception as error:  # each architecture raises its own for arguments it lacks
        raise RecipeError(f"{recipe.model} can't be built with {arguments}: {error}") from None
    network.eval()
    for what in {recipe.freeze, "backbone" if recipe.head_epochs else recipe.freeze}:
        frozen_parameters(network, what)  # raises now what would go wrong later
    sides = {recipe.crop_side(epoch) for epoch in range(1, recipe.epochs + 1)}
    for size in sorted({*sides, recipe.serving_size}):
        try:
            with torch.inference_mode():
                network(torch.zeros(1, 3, size, size))
        except Exception as error:
            raise RecipeError(f"{recipe.model} with {arguments} can't take photos of {size} px: {error}") from None
    served = {"crop_pct": recipe.crop_pct, "crop_mode": recipe.crop_mode, "interpolation": recipe.interpolation}
    network.pretrained_cfg.update({name: value for name, value in served.items() if value is not None})
    network.pretrained_cfg.update(input_size=(3, recipe.serving_size, recipe.serving_size))
    # The pretrained weights' own test settings don't apply to the new ones.
    network.pretrained_cfg.update(test_input_size=None, test_crop_pct=None, pool_size=None)
    return network


@torch.no_grad()
def average_with_pretrained(network: nn.Module, recipe: Recipe, weights: Path | None = None) -> None:
    """Average a trained network, except its classifier, with the pretrained one that it started from, in place.

    Running statistics are averaged, too. The average keeps what the pretrained network knew beside what it learned here
    (WiSE-FT, Wortsman et al. 2022). The classifier must then be refitted. `weights` is as in `build_network`.

    Raises:
        LandmarkError: the pretrained weights aren't available.
    """
    share = recipe.average_with_pretrained
    pretrained = _pretrained(recipe.model, _pretrained_file(recipe, weights), _arguments(recipe)).state_dict()
    head = head_parameters(network)
    for name, tensor in network.state_dict().items():
        if name not in head and tensor.is_floating_point():
            tensor.lerp_(pretrained[name].to(tensor), share)


def weights_digest(network: nn.Module, leave_out: Collection[str] = ()) -> str:
    """The SHA-256 of names, shapes, types and values of a network's tensors, in hexadecimal."""
    digest = hashlib.sha256()
    for name, tensor in network.state_dict().items():
        if name not in leave_out:
            digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
            digest.update(tensor.cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _refuse_unknown(model: str) -> None:
    name, _, tag = model.partition(".")
    if not timm.is_model(name):
        near = get_close_matches(name, timm.list_models(), n=5, cutoff=0.5)
        raise RecipeError(f"timm {timm.__version__} has no model {name!r}; nearest: {', '.join(near) or 'none'}.")
    known = [other.partition(".")[2] for other in timm.list_pretrained(f"{name}.*")]
    if tag and tag not in known:
        raise RecipeError(f"{name} has no pretrained weights {tag!r}; timm knows {', '.join(known) or 'none'}.")


def served_arguments(recipe: Recipe) -> dict[str, Any]:
    """The arguments with which `timm.create_model` rebuilds the recipe's trained network."""
    arguments = _arguments(recipe)
    return arguments | {"backbone": recipe.model, "hidden": recipe.head_hidden} if recipe.head_hidden else arguments


def _arguments(recipe: Recipe) -> dict[str, Any]:
    """The recipe's `model_args`, plus the photo size if the architecture is built for a fixed one."""
    cfg = timm.get_pretrained_cfg(recipe.model)
    fixed = cfg is not None and cfg.fixed_input_size and "img_size" not in recipe.model_args
    return recipe.model_args | {"img_size": recipe.serving_size} if fixed else dict(recipe.model_args)


def _pretrained_file(recipe: Recipe, weights: Path | None) -> Path:
    """The safetensors file with the pretrained weights."""
    instead = "pass a file with --pretrained-weights FILE.safetensors, or start from random weights (pretrained=false)."
    if weights is not None:
        if not weights.is_file():
            raise LandmarkError(f"There is no file {weights} with pretrained weights.")
        if weights.suffix != ".safetensors":
            raise LandmarkError(f"Pretrained weights must be a .safetensors file, which {weights} isn't.")
        return weights
    cfg = timm.get_pretrained_cfg(recipe.model)
    if cfg is None or not cfg.hf_hub_id:
        raise LandmarkError(f"timm has no pretrained weights for {recipe.model}: {instead}")
    name = cfg.hf_hub_filename or "model.safetensors"
    tried = f"{name} of https://huggingface.co/{cfg.hf_hub_id}"
    if not name.endswith(".safetensors"):
        raise LandmarkError(f"Pretrained weights for {recipe.model} are {tried}, which isn't safetensors: {instead}")
    try:
        return Path(hf_hub_download(cfg.hf_hub_id, name))
    except Exception as error:  # no network, no such file, a refusal, a full disk
        why = str(error).strip().splitlines()[0].rstrip(".") if str(error).strip() else type(error).__name__
        raise LandmarkError(
            f"Pretrained weights for {recipe.model} aren't available: {tried} is not in the local cache and can't be "
            f"downloaded ({why}). Try again with a network connection, or {instead}"
        ) from None


def _pretrained(model: str, file: Path, arguments: dict[str, Any]) -> nn.Module:
    """The architecture with exactly the file's weights, including a classifier as wide as the file's."""
    try:
        with safe_open(file, "pt") as content:
            shapes = {name: list(content.get_slice(name).get_shape()) for name in content.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise LandmarkError(f"{file} can't be read as safetensors: {error}") from None
    cfg = timm.get_pretrained_cfg(model)
    classifier = cfg.classifier if cfg and isinstance(cfg.classifier, str) else "head.fc"
    classes = shapes[f"{classifier}.weight"][0] if f"{classifier}.weight" in shapes else None
    mismatch = ""
    # A classifier of another name may be as wide as the original's; or there may be none.
    for rows in [classes] if classes else [cfg.num_classes if cfg else 1000, 0]:
        overlay = {"file": str(file), "num_classes": rows, "custom_load": False, "label_offset": 0}
        overlay["classifier"] = classifier
        try:
            return timm.create_model(
                model, pretrained=True, num_classes=rows, pretrained_cfg_overlay=overlay, **arguments
            )
        except (RuntimeError, KeyError) as error:
            mismatch = str(error)[:300]
    plain = timm.create_model(model, pretrained=False, num_classes=classes or 0, **arguments)
    wanted = {name: list(tensor.shape) for name, tensor in plain.state_dict().items()}
    raise LandmarkError(f"The weights in {file} don't fit {model}: {_first_differences(wanted, shapes) or mismatch}")


def _first_differences(wanted: dict[str, list[int]], found: dict[str, list[int]]) -> str:
    """The first tensors that differ between the file and the architecture, in words."""
    differences = [
        f"{name} is {found[name]} in the file and {shape} in the architecture"
        if name in found
        else f"{name} is missing"
        for name, shape in wanted.items()
        if found.get(name) != shape
    ]
    differences += [f"{name} isn't a tensor of the architecture" for name in found if name not in wanted]
    more = f"; and {len(differences) - _SHOWN} more" if len(differences) > _SHOWN else ""
    return "; ".join(differences[:_SHOWN]) + more + "." * bool(differences)


def frozen_parameters(network: nn.Module, what: str | int) -> frozenset[str]:
    """Names of the parameters that `freeze` leaves untrained: none, the backbone's, or those of the first N stages.

    Stages are timm's coarse groups; the stem belongs to the first.

    Raises:
        RecipeError: there aren't that many stages, or timm doesn't define any.
    """
    if what == "none" or what == 0:
        return frozenset()
    own: Any = network
    if what == "backbone":
        head = head_parameters(network)
        return frozenset(name for name, _ in network.named_parameters() if name not in head)
    if not hasattr(own, "group_matcher"):
        raise RecipeError(f"freeze={what}: timm doesn't define the stages of this network; use freeze=backbone.")
    matcher = own.group_matcher(coarse=True)
    groups = group_parameters(network, matcher)
    stem = {"stem": matcher["stem"]} if isinstance(matcher, dict) and "stem" in matcher else None
    has_stem = stem is None or len(group_parameters(network, stem)) > 1
    stages = len(groups) - 1 - has_stem  # the last group is the head
    if int(what) > stages:
        raise RecipeError(f"freeze={what}: this network has {stages} stages; freeze=backbone freezes all but the head.")
    return frozenset(name for group in range(int(what) + has_stem) for name in groups[group])


def head_parameters(network: nn.Module) -> frozenset[str]:
    """Names of the parameters of the classifier, or of all classifiers if there are several."""
    own: Any = network
    classifier = own.get_classifier()
    modules = classifier if isinstance(classifier, tuple | list | nn.ModuleList) else [classifier]
    ids = {id(parameter) for module in modules for parameter in module.parameters()}
    return frozenset(name for name, parameter in network.named_parameters() if id(parameter) in ids)


def freeze(network: nn.Module, frozen: Collection[str]) -> None:
    """Put a network into training mode, except these parameters and modules that have no others.

    Frozen modules are in evaluation mode: normalisation uses its running statistics unchanged, dropout is off.
    """
    network.train()
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name not in frozen)
    for module in network.modules():
        parameters = list(module.parameters())
        if parameters and not any(parameter.requires_grad for parameter in parameters):
            module.eval()


def needs_pairs(network: nn.Module, recipe: Recipe) -> bool:
    """Whether a single photo at a time is too few to train the network on.

    Batch normalisation of a photo's only value in a channel, e.g. after global pooling, has no variance to divide by.
    """
    trial = deepcopy(network)
    side = min(recipe.crop_side(epoch) for epoch in range(1, recipe.epochs + 1))
    stages = {recipe.freeze, "backbone" if recipe.head_epochs else recipe.freeze}
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        for frozen in stages:
            freeze(trial, frozen_parameters(trial, frozen))
            try:
                trial(torch.zeros(1, 3, side, side))
            except ValueError:  # as PyTorch checks the size of the batch
                return True
    return False


def memory_layout(recipe: Recipe, device: torch.device) -> torch.memory_format:
    """How images and weights lie in memory on a device in training.

    Channels last is not used on MPS, where the backward pass of batch normalisation fails in some PyTorch versions
    (github.com/pytorch/pytorch/issues/140902).
    """
    return torch.channels_last if recipe.channels_last and device.type != "mps" else torch.contiguous_format

"""Read a model's `config.json`, an untrusted one too: timm's format with our `landmark` block."""

import json
import math
from pathlib import Path
from typing import Any

from timm.data import resolve_data_config

from landmark_models.errors import ModelError
from landmark_models.preprocess import required_side, serving_transform
from landmark_models.rejection import KnownRule, is_number

CONFIG_FILE = "config.json"

MAX_CONFIG_BYTES = 4 * 2**20
MAX_SIDE = 2048  # px of the input
MAX_LABEL = 255  # characters


def read_config(file: Path, source: str) -> dict[str, Any]:
    """Read and check a `config.json`. The result always has `landmark` and `model_args`, which may be empty.

    Messages call the model `source`.

    Raises:
        ModelError: it can't be read, or doesn't describe a model that could be served.
    """
    name = f"The {CONFIG_FILE} of {source}"
    try:
        if file.stat().st_size > MAX_CONFIG_BYTES:
            raise ModelError(f"{name} is larger than {MAX_CONFIG_BYTES // 2**20} MB, too large for a model's config.")
        config = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{name} can't be read: {error}") from None
    if not isinstance(config, dict):
        raise ModelError(f"{name} isn't a mapping.")
    config = _in_todays_form(config)
    if not isinstance(config.get("architecture"), str) or not isinstance(config.get("pretrained_cfg"), dict):
        raise ModelError(f"{name} lacks the architecture or pretrained_cfg that timm writes.")
    if not all(isinstance(config.setdefault(block, {}), dict) for block in ("landmark", "model_args")):
        raise ModelError(f"{name} has a landmark block or model_args that aren't mappings.")
    _check_labels(config, name)
    _check_landmark(config["landmark"], name)
    _check_preprocessing(config["pretrained_cfg"], source)
    return config


def _in_todays_form(config: dict[str, Any]) -> dict[str, Any]:
    """A config in timm's present form; the older one had all in one mapping, the labels as `labels`."""
    if "pretrained_cfg" not in config and "architecture" in config:
        own: dict[str, Any] = {
            key: config.pop(key) for key in ("architecture", "model_args", "landmark") if key in config
        }
        config = {**own, "pretrained_cfg": config}
    cfg = config.get("pretrained_cfg")
    named = [block.get(key) for block in (config, cfg) if isinstance(block, dict) for key in ("label_names", "labels")]
    if isinstance(cfg, dict) and (labels := next((names for names in named if names is not None), None)):
        config["label_names"] = labels
        config.setdefault("num_classes", cfg.get("num_classes", len(labels) if isinstance(labels, list) else None))
    return config


def _check_labels(config: dict[str, Any], name: str) -> None:
    labels = config.get("label_names")
    if not isinstance(labels, list) or not labels or len(labels) != config.get("num_classes"):
        raise ModelError(f"{name} doesn't have one entry in label_names for each class.")
    if not all(map(is_text, labels)):
        raise ModelError(f"{name} has label_names that aren't text of at most {MAX_LABEL} characters.")
    if len(set(labels)) < len(labels):
        raise ModelError(f"{name} has two classes with the same label.")


def _check_landmark(landmark: dict[str, Any], name: str) -> None:
    temperature = landmark.get("temperature", 1.0)
    if not is_number(temperature) or not 0 < temperature < math.inf:
        raise ModelError(f"{name} has the temperature {temperature!r}, which must be a number above 0.")
    try:
        KnownRule.from_config(landmark)
    except ValueError as error:
        raise ModelError(f"{name} is invalid: {error}.") from None
    for block in ("test", "elsewhere"):
        if block in landmark and not _are_figures(landmark[block]):
            raise ModelError(f"{name} has incomplete or impossible figures in its block `{block}`.")


def _check_preprocessing(cfg: dict[str, Any], source: str) -> None:
    try:
        serving_transform(cfg)
        channels, *sides = resolve_data_config({}, pretrained_cfg=cfg)["input_size"]
        if channels != 3 or not all(1 <= side <= MAX_SIDE for side in [*sides, required_side(cfg)]):
            raise ValueError(f"the input must have 3 channels and sides of 1 to {MAX_SIDE} px, also before cropping")
        if not min(cfg.get("std", [1.0])) > 0:
            raise ValueError("std must be above 0")
    except Exception as error:  # whatever timm and torchvision raise
        raise ModelError(f"The pretrained_cfg of {source} gives no valid preprocessing: {error}") from None


def is_text(value: object) -> bool:
    """Whether any page could show a value as text: no lone surrogates, not too long."""
    return isinstance(value, str) and len(value) <= MAX_LABEL and not any("\ud800" <= c <= "\udfff" for c in value)


def _are_figures(figures: object) -> bool:
    """Whether test figures are complete and possible; models are chosen by them, and the page shows them."""
    if not isinstance(figures, dict) or not is_text(figures.get("data")):
        return False
    n, others, classes = figures.get("n"), figures.get("others", {}), figures.get("per_class", {})
    return (
        (isinstance(n, int) and n >= 1)
        and all(_is_share(figures, name) for name in ("top1", *({"top3", "top5"} & figures.keys())))
        and ("named" not in figures or _are_counts(figures["named"], "right", "named", "photos"))
        and isinstance(others, dict)
        and all(_are_counts(group, "named", "n") for group in others.values())
        and isinstance(classes, dict)
        and all(isinstance(pair, list) and _are_counts(dict(enumerate(pair)), 1, 0) for pair in classes.values())
    )


def _is_share(figures: dict[str, Any], name: str) -> bool:
    """Whether there is a share of this name, from 0 to 1, within its interval."""
    interval = figures.get(f"{name}_ci95")
    if not isinstance(interval, list) or len(interval) != 2:
        return False
    low, share, high = interval[0], figures.get(name), interval[1]
    return all(map(is_number, (low, share, high))) and 0 <= low <= share <= high <= 1


def _are_counts(block: object, *names: str | int) -> bool:
    """Whether these are whole numbers from 0, none greater than the next."""
    counts = [block.get(name) for name in names] if isinstance(block, dict) else [None]
    return all(type(count) is int for count in counts) and [0, *counts] == sorted([0, *counts])

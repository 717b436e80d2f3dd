"""The one preprocessing: from a model's own `pretrained_cfg` to the transform that serves it everywhere."""

import math
from typing import Any

from timm.data import create_transform, resolve_data_config
from torchvision.transforms import Compose


def serving_transform(pretrained_cfg: dict[str, Any]) -> Compose:
    """The transform from an RGB Pillow image to a normalised float32 tensor `(3, H, W)`.

    Size, crop, interpolation, mean and standard deviation come from `pretrained_cfg`, as timm reads them.
    """
    return create_transform(**resolve_data_config({}, pretrained_cfg=pretrained_cfg), is_training=False)


def required_side(pretrained_cfg: dict[str, Any]) -> int:
    """The shorter side in pixels that a photo needs so that `serving_transform` never has to enlarge it."""
    config = resolve_data_config({}, pretrained_cfg=pretrained_cfg)
    return math.ceil(max(config["input_size"][1:]) / config["crop_pct"])


def crop_box(pretrained_cfg: dict[str, Any], size: tuple[int, int]) -> tuple[float, float, float, float]:
    """The part of a photo of `(width, height)` px that `serving_transform` keeps.

    Returns:
        Left, top, right and bottom in px; outside the photo where the transform pads it.
    """
    config = resolve_data_config({}, pretrained_cfg=pretrained_cfg)
    width, height = size
    rows, columns = config["input_size"][1:]
    share, mode = config["crop_pct"], config["crop_mode"]
    if mode == "squash":
        kept = (width * share, height * share)
    else:  # one scale for both sides: the shorter side's, or with a border the longer one's
        scale = (max if mode == "border" else min)(width / columns, height / rows) * share
        kept = (columns * scale, rows * scale)
    left, top = (width - kept[0]) / 2, (height - kept[1]) / 2
    return left, top, left + kept[0], top + kept[1]

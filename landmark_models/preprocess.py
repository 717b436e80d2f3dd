"""The one preprocessing: from a model's own `pretrained_cfg` to the transform that serves it everywhere."""

import math
from typing import Any

from timm.data import create_transform, resolve_data_config
from torchvision.transforms import Compose

__all__ = ["required_side", "serving_transform"]


def serving_transform(pretrained_cfg: dict[str, Any]) -> Compose:
    """The transform from an RGB Pillow image to a normalised float32 tensor `(3, H, W)`.

    Size, crop, interpolation, mean and standard deviation are those that `pretrained_cfg` states, as timm reads them.
    """
    return create_transform(**resolve_data_config({}, pretrained_cfg=pretrained_cfg), is_training=False)


def required_side(pretrained_cfg: dict[str, Any]) -> int:
    """The shorter side in pixels that a photo needs, so that `serving_transform` never has to enlarge it."""
    config = resolve_data_config({}, pretrained_cfg=pretrained_cfg)
    return math.ceil(max(config["input_size"][1:]) / config["crop_pct"])

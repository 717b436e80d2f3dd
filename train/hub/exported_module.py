"""A classifier as one module: a decoded photo in, calibrated probabilities and whether it is known out."""

import copy
import math
from typing import Any

import torch
from timm.data import resolve_data_config
from torch import Tensor, nn

from landmark_models.classifier import LandmarkClassifier
from landmark_models.errors import LandmarkError


class Preprocessing(nn.Module):
    """`serving_transform` as tensor operations that can be exported: uint8 `(B, 3, H, W)` to float32 `(B, 3, h, w)`.

    Resizing and cropping are two matrix products with the weights of Pillow's antialiasing filters. Sizes are computed
    as tensors, so B, H and W stay dynamic. Unlike Pillow, it doesn't round to whole levels after each product.

    Raises:
        LandmarkError: the config resizes with a filter other than bilinear or bicubic.
    """

    mean: Tensor
    std: Tensor
    fill: Tensor
    out_rows: Tensor
    out_columns: Tensor

    def __init__(self, pretrained_cfg: dict[str, Any]):
        super().__init__()
        config = resolve_data_config({}, pretrained_cfg=pretrained_cfg)
        if config["interpolation"] not in ("bilinear", "bicubic"):
            raise LandmarkError(
                f"The model resizes photos with {config['interpolation']!r}; exports support bilinear and bicubic only."
            )
        self.bicubic = config["interpolation"] == "bicubic"
        self.crop_mode = config["crop_mode"]
        self.crop: tuple[int, int] = tuple(config["input_size"][1:])
        self.target = [math.floor(side / config["crop_pct"]) for side in self.crop]
        fill = [round(255 * mean) if self.crop_mode == "border" else 0 for mean in config["mean"]]
        for name, values in (("mean", config["mean"]), ("std", config["std"]), ("fill", fill)):
            self.register_buffer(name, torch.tensor(values, dtype=torch.float32).view(3, 1, 1))
        self.register_buffer("out_rows", torch.arange(self.crop[0]))
        self.register_buffer("out_columns", torch.arange(self.crop[1]))

    def forward(self, photos: Tensor) -> Tensor:
        rows, columns = _positions(photos[0, 0, :, 0]), _positions(photos[0, 0, 0, :])
        resized = self._resized(rows[-1] + 1, columns[-1] + 1)
        down, inside_rows = self._weights(rows, resized[0], self.out_rows)
        across, inside_columns = self._weights(columns, resized[1], self.out_columns)
        x = (photos.float() @ across.T).clamp(0, 255)
        x = (down @ x).clamp(0, 255)
        x = torch.where(inside_rows.unsqueeze(1) & inside_columns, x, self.fill)
        return (x / 255 - self.mean) / self.std

    def _resized(self, height: Tensor, width: Tensor) -> tuple[Tensor, Tensor]:
        """Height and width of the whole resized photo, rounded as torchvision and timm do."""
        rows, columns = self.target
        if self.crop_mode == "squash":
            return torch.full_like(height, rows), torch.full_like(width, columns)
        if self.crop_mode != "border" and rows == columns:
            shorter = torch.minimum(height, width)
            return rows * height // shorter, rows * width // shorter
        choose = torch.maximum if self.crop_mode == "border" else torch.minimum
        ratio = choose(height.double() / rows, width.double() / columns)
        return (height / ratio).round().long(), (width / ratio).round().long()

    def _weights(self, positions: Tensor, resized: Tensor, out: Tensor) -> tuple[Tensor, Tensor]:
        """The weight of each pixel of a side in each of the crop, `(out, side)`; which of these the photo covers."""
        excess = resized - out.shape[0]
        half = excess / 2
        index = out + torch.where(excess >= 0, half.round(), half.trunc()).long()
        inside = (index >= 0) & (index < resized)
        scale = (positions[-1] + 1) / resized
        center = (torch.minimum(index.clamp(min=0), resized - 1).float() + 0.5) * scale
        x = ((positions.float() + 0.5 - center.unsqueeze(1)) / scale.clamp(min=1)).abs()
        if self.bicubic:  # Keys 1981 with a = -1/2
            near, far = (1.5 * x - 2.5) * x * x + 1, ((2.5 - 0.5 * x) * x - 4) * x + 2
            weights = torch.where(x < 1, near, torch.where(x < 2, far, torch.zeros_like(x)))
        else:
            weights = (1 - x).clamp(min=0)
        return weights / weights.sum(1, keepdim=True), inside


def _positions(line: Tensor) -> Tensor:
    """0, 1, 2, ... along a line of pixels, int64; unlike `torch.arange`, it ties an exported file to no device."""
    return torch.ones_like(line, dtype=torch.int64).cumsum(0) - 1


class Exported(nn.Module):
    """A classifier as one module: RGB photos, uint8 `(B, 3, H, W)`, to probabilities and whether they are known.

    Probabilities are float32 `(B, classes)`; known is bool `(B,)`: whether a photo shows one of the model's landmarks.

    Raises:
        LandmarkError: the classifier's preprocessing can't be exported.
    """

    def __init__(self, classifier: LandmarkClassifier):
        super().__init__()
        self.preprocessing = Preprocessing(classifier.pretrained_cfg)
        # A copy: the classifier keeps its channels_last weights, about which torch.export would warn.
        self.served = copy.deepcopy(classifier.served).to(memory_format=torch.contiguous_format)
        self.threshold = classifier.known_rule.threshold
        self.eval().requires_grad_(False)

    def forward(self, photos: Tensor) -> tuple[Tensor, Tensor]:
        logits, scores = self.served(self.preprocessing(photos))
        return logits.softmax(1), scores >= self.threshold

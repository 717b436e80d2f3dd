"""Where in a photo an answer comes from: Grad-CAM (Selvaraju et al. 2017) on the last feature map, by captum.

explain(classifier, "taj.jpg").save("why.jpg")
"""

from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from landmark_models.classifier import LandmarkClassifier
from landmark_models.errors import LandmarkError
from landmark_models.photo import Photo, open_photo
from landmark_models.preprocess import seen_region

__all__ = ["NoExplanationError", "explain", "heat_map"]

_SHOWN_SIDE = 480  # px, least shorter side of the picture, where the photo has it
_MAX_SIDE = 2048  # px of its longer side
_STRENGTH = 0.65  # of the colour where the heat is greatest
# From cold to hot, dark violet over red to yellow, which also differ in lightness for those who see few colours.
_COLORS = np.array([[30, 10, 80], [120, 20, 110], [200, 50, 70], [245, 125, 20], [252, 230, 90]], dtype=np.float32)


class NoExplanationError(LandmarkError):
    """A network whose answers have no map of the photo to come from, such as most transformers."""


class _FromFeatures(nn.Module):
    """What a network makes of its own last feature map `(B, C, h, w)`."""

    def __init__(self, network: nn.Module, channels_last: bool):
        super().__init__()
        self.network, self.channels_last = network, channels_last
        self.features = nn.Identity()

    def forward(self, features: Tensor) -> Tensor:
        features = self.features(features)
        network: Any = self.network
        return network.forward_head(features.permute(0, 2, 3, 1) if self.channels_last else features)


def heat_map(classifier: LandmarkClassifier, image: Tensor, label: str | None = None) -> np.ndarray:
    """How much each part of what the network sees speaks for a label.

    Only the network's head is differentiated, so this takes hardly longer than a prediction.

    Args:
        classifier: of convolutional features, ours or timm's.
        image: a preprocessed photo, float32 `(3, H, W)`.
        label: one of the classifier's; without, its most likely one.

    Returns:
        float32 `(h, w)`, as large as the last feature map, from 0 to 1; all 0 where nothing speaks for the label.

    Raises:
        NoExplanationError: the network has no such map.
        ValueError: the classifier does not know the label.
    """
    from captum.attr import LayerGradCam

    if label is not None and label not in classifier.labels:
        raise ValueError(f"The model does not know {label!r}.")
    network: Any = classifier.network
    batch = image.unsqueeze(0).to(classifier.device, memory_format=torch.channels_last)
    with torch.no_grad():
        features = network.forward_features(batch)
    if not isinstance(features, Tensor) or features.ndim != 4 or min(features.shape) < 1:
        name = classifier.config["architecture"]
        raise NoExplanationError(f"{name} keeps no map of the photo, so what its answer comes from can't be shown.")
    channels_last = features.shape[1] != network.num_features and features.shape[-1] == network.num_features
    if channels_last:
        features = features.permute(0, 3, 1, 2)
    head = _FromFeatures(network, channels_last)
    with torch.enable_grad():
        target = classifier.labels.index(label) if label is not None else int(head(features).argmax())
        attribution = LayerGradCam(head, head.features).attribute(
            features.requires_grad_(), target, relu_attributions=True
        )
    heat = attribution[0, 0].detach().float().cpu().numpy()
    peak = float(heat.max())
    return heat / peak if np.isfinite(peak) and peak > 0 else np.zeros_like(heat)


def explain(classifier: LandmarkClassifier, photo: Photo, label: str | None = None) -> Image.Image:
    """The photo, upright and with its own proportions, coloured where the answer comes from; grey is what was not seen.

    Args:
        classifier: as in `heat_map`.
        photo: as in `LandmarkClassifier.predict`.
        label: as in `heat_map`.

    Raises:
        NoExplanationError: the network has no map of the photo.
        PhotoError: the photo can't be read.
        ValueError: the classifier does not know the label.
    """
    shown = open_photo(photo, max(classifier.min_side, _SHOWN_SIDE))
    shown.thumbnail((_MAX_SIDE, _MAX_SIDE), reducing_gap=2)  # only a JPEG comes small already
    heat = heat_map(classifier, classifier.transform(shown), label)
    left, top, right, bottom = (round(edge) for edge in seen_region(classifier.pretrained_cfg, shown.size))
    seen = Image.fromarray(heat).resize((max(right - left, 1), max(bottom - top, 1)), Image.Resampling.BICUBIC)
    over = Image.new("F", shown.size, -1.0)
    over.paste(seen, (left, top))
    return _colored(shown, np.asarray(over))


def _colored(photo: Image.Image, heat: np.ndarray) -> Image.Image:
    """Colours over a photo `(height, width)`, by heat from 0 to 1; where it is below -0.5, the photo in grey."""
    pixels = np.asarray(photo, dtype=np.float32)
    strength = heat.clip(0, 1)[..., None]
    position = strength[..., 0] * (len(_COLORS) - 1)
    colors = np.stack([np.interp(position, range(len(_COLORS)), channel) for channel in _COLORS.T], axis=-1)
    mixed = pixels + _STRENGTH * strength**0.75 * (colors - pixels)
    grey = np.asarray(photo.convert("L").convert("RGB"), dtype=np.float32)
    return Image.fromarray(np.where(heat[..., None] < -0.5, grey, mixed).round().clip(0, 255).astype(np.uint8))

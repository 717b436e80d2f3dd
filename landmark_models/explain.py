"""Heat maps of which part of a photo an answer comes from: Grad-CAM (Selvaraju et al. 2017) on the last feature map.

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
from landmark_models.preprocess import crop_box

_MIN_SIDE = 480  # px, of the picture's shorter side, unless the photo is smaller
_MAX_SIDE = 2048  # px, of its longer side
_OPACITY = 0.65  # of the colour where the heat is greatest
# From cold to hot: dark violet, red, yellow. They differ in lightness, too, for people who are colour-blind.
_COLORS = np.array([[30, 10, 80], [120, 20, 110], [200, 50, 70], [245, 125, 20], [252, 230, 90]], dtype=np.float32)


class NoExplanationError(LandmarkError):
    """The network, like most transformers, keeps no spatial feature map to explain its answers with."""


def heat_map(classifier: LandmarkClassifier, image: Tensor, label: str | None = None) -> np.ndarray:
    """How strongly each part of the network's input speaks for a label.

    The gradient goes through the network's head only, so this takes hardly longer than a prediction.

    Args:
        classifier: one with convolutional features.
        image: a preprocessed photo, float32 `(3, H, W)`.
        label: one of the classifier's labels; by default its most likely one.

    Returns:
        float32 `(h, w)`, the size of the last feature map, scaled to 0..1; all 0 if nothing speaks for the label.

    Raises:
        NoExplanationError: the network has no spatial feature map.
        ValueError: the classifier doesn't know the label.
    """
    if label is not None and label not in classifier.labels:
        raise ValueError(f"The model doesn't know {label!r}.")
    network: Any = classifier.network
    batch = image.unsqueeze(0).to(classifier.device, memory_format=torch.channels_last)
    with torch.no_grad():
        features = network.forward_features(batch)
    if not isinstance(features, Tensor) or features.ndim != 4 or min(features.shape) < 1:
        raise NoExplanationError(
            f"{classifier.config['architecture']} keeps no map of the photo, so its answers can't be explained by one."
        )
    with torch.enable_grad():
        (gradient,) = torch.autograd.grad(_evidence(classifier, features.requires_grad_(), label), features)
    channels = 3 if features.shape[1] != network.num_features == features.shape[3] else 1
    spatial = (1, 2) if channels == 3 else (2, 3)
    heat = (gradient.mean(spatial, keepdim=True) * features).sum(channels).relu()[0].detach().float().cpu().numpy()
    peak = float(heat.max())
    return heat / peak if np.isfinite(peak) and peak > 0 else np.zeros_like(heat)


def _evidence(classifier: LandmarkClassifier, features: Tensor, label: str | None) -> Tensor:
    """How much a feature map, as a batch of one, speaks for a label: its logit, or the cosine to what was taught."""
    network: Any = classifier.network
    if classifier.taught:
        body = network.forward_head(features, pre_logits=True)
        if label is None:
            label = classifier.labels[int(classifier.head(body.detach()).logits.argmax())]
        mean = classifier.taught.mean(label)
        if mean is not None:
            return classifier.served.directions(body)[0] @ nn.functional.normalize(mean, dim=0).to(body.device)
    logits = network.forward_head(features)[0]
    return logits[int(logits.argmax()) if label is None else classifier.labels.index(label)]


def explain(classifier: LandmarkClassifier, photo: Photo, label: str | None = None) -> Image.Image:
    """The photo, upright and whole, coloured by how strongly each part speaks for a label.

    The parts that the preprocessing crops away are grey.

    Raises:
        PhotoError: the photo can't be read.
        NoExplanationError, ValueError: as in `heat_map`.
    """
    picture = open_photo(photo, max(classifier.min_side, _MIN_SIDE))
    picture.thumbnail((_MAX_SIDE, _MAX_SIDE), reducing_gap=2)  # formats other than JPEG are decoded at full size
    heat = heat_map(classifier, classifier.transform(picture), label)
    left, top, right, bottom = (round(edge) for edge in crop_box(classifier.pretrained_cfg, picture.size))
    enlarged = Image.fromarray(heat).resize((max(right - left, 1), max(bottom - top, 1)), Image.Resampling.BICUBIC)
    over = Image.new("F", picture.size, -1.0)
    over.paste(enlarged, (left, top))
    return _colored(picture, np.asarray(over))


def _colored(photo: Image.Image, heat: np.ndarray) -> Image.Image:
    """Blend colours into a photo by heat `(height, width)` in 0..1; where the heat is below -0.5 the photo is grey."""
    pixels = np.asarray(photo, dtype=np.float32)
    heat, cropped = heat.clip(0, 1), heat[..., None] < -0.5
    steps = np.linspace(0, 1, len(_COLORS))
    colors = np.stack([np.interp(heat, steps, channel) for channel in _COLORS.T], axis=-1)
    mixed = pixels + _OPACITY * heat[..., None] ** 0.75 * (colors - pixels)
    grey = np.asarray(photo.convert("L").convert("RGB"), dtype=np.float32)
    return Image.fromarray(np.where(cropped, grey, mixed).round().clip(0, 255).astype(np.uint8))

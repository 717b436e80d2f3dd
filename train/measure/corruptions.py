"""A model's accuracy on photos that are corrupted as happens in practice."""

import io
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageFilter

from train.data import Photos
from train.measure.figures import share
from train.measure.predict import Change, Subject


def _blurred(image: Image.Image) -> Image.Image:
    """With a Gaussian whose standard deviation is 1% of the shorter side."""
    return image.filter(ImageFilter.GaussianBlur(0.01 * min(image.size)))


def _noisy(image: Image.Image) -> Image.Image:
    """With Gaussian noise of 25 levels, the same for all photos of a size."""
    noise = np.random.default_rng(0).normal(0, 25, (image.height, image.width, 3))
    return Image.fromarray((np.asarray(image) + noise).round().clip(0, 255).astype(np.uint8))


def _compressed(image: Image.Image) -> Image.Image:
    content = io.BytesIO()
    image.save(content, "JPEG", quality=30)
    return Image.open(content).convert("RGB")


def _dark(image: Image.Image) -> Image.Image:
    """With 30% of the light."""
    return image.point(lambda level: 0.3 * level)


def _coarse(image: Image.Image) -> Image.Image:
    return image.resize([max(side // 2, 1) for side in image.size], Image.Resampling.BICUBIC).resize(image.size)


# Each takes an RGB photo, as opened for the network, and returns one of the same size (the last: with sides swapped).
CORRUPTIONS: dict[str, Change] = {
    "blurred": _blurred,
    "noisy": _noisy,
    "JPEG of quality 30": _compressed,
    "dark": _dark,
    "half the resolution": _coarse,
    "turned by 90 degrees": lambda image: image.transpose(Image.Transpose.ROTATE_90),
}


def robustness_figures(subject: Subject, photos: Photos, batch_size: int) -> dict[str, Any]:
    """The accuracy on the same photos under each of `CORRUPTIONS`."""
    targets, result = torch.tensor(photos.targets), {}
    for name, change in CORRUPTIONS.items():
        logits = subject.predict(photos.files(), batch_size, change=change, title=name).logits
        result[name] = {"n": len(targets)} | share(logits.argmax(1) == targets, "top1")
    return result

"""Pictures of photos before a model is trained on them: histograms, a batch, strips of thumbnails."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from torch import Tensor

from landmark_models.files import atomic_path
from landmark_models.photo import open_photo
from train.data import PhotoCache, Photos
from train.draw.figure import figure

__all__ = ["CHANNELS", "COLUMNS", "ROWS", "draw_batch", "draw_histograms", "write_strip"]

ROWS, COLUMNS = 4, 8  # of the batch that is shown
CHANNELS = {"red": "#d62728", "green": "#2ca02c", "blue": "#1f77b4"}
_THUMBNAIL = 160  # px


def draw_histograms(photos: Photos, cache: PhotoCache, mean: Sequence[float], std: Sequence[float], file: Path) -> None:
    """Draw the shares of pixel values, 0 to 255, in each channel, and their density after normalisation, as a PNG."""
    counts = np.zeros((3, 256))
    for photo in photos.files():
        counts += [np.bincount(channel, minlength=256) for channel in cache[photo].reshape(-1, 3).T]
    shares = counts / counts.sum(1, keepdims=True)
    edges = np.arange(257) - 0.5
    with figure(file, 12, 3.5) as drawing:
        before, after = drawing.subplots(1, 2)
        for share, (name, color), m, s in zip(shares, CHANNELS.items(), mean, std, strict=True):
            before.stairs(share, edges, color=color, label=name)
            after.stairs(share * 255 * s, (edges / 255 - m) / s, color=color, label=name)
        before.set(xlabel="pixel value", ylabel="share of pixels", title="before normalisation")
        after.set(xlabel="normalised value", ylabel="density", title="after normalisation")
        before.legend()


def draw_batch(images: Tensor, names: Sequence[str], file: Path) -> None:
    """Draw images `(ROWS * COLUMNS, 3, H, W)`, in 0..1, with their names above, as a PNG."""
    with figure(file, 1.6 * COLUMNS, 2 * ROWS) as drawing:
        for axes, image, name in zip(drawing.subplots(ROWS, COLUMNS).flat, images, names, strict=True):
            axes.imshow(image.clamp(0, 1).permute(1, 2, 0).numpy())
            axes.set_title(name, fontsize=8, parse_math=False)
            axes.set_axis_off()


def write_strip(files: Sequence[Path], file: Path) -> None:
    """Write thumbnails side by side, eight to a row, as a JPEG."""
    columns = min(len(files), COLUMNS)
    sheet = Image.new("RGB", (columns * _THUMBNAIL, -(-len(files) // columns) * _THUMBNAIL), "white")
    for place, photo in enumerate(files):
        row, column = divmod(place, columns)
        thumbnail = ImageOps.fit(open_photo(photo, _THUMBNAIL), (_THUMBNAIL - 4, _THUMBNAIL - 4))
        sheet.paste(thumbnail, (column * _THUMBNAIL, row * _THUMBNAIL))
    with atomic_path(file) as scratch:
        sheet.save(scratch, "JPEG", quality=85)

"""Pictures of photos before they are trained on: histograms, a batch, strips of samples."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageOps
from torch import Tensor

from landmark_models.files import atomic_path
from landmark_models.photo import open_photo
from train.data import PhotoCache, Photos

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["CHANNELS", "COLUMNS", "ROWS", "batch_figure", "histograms", "new_figure", "save_figure", "write_strip"]

ROWS, COLUMNS = 4, 8  # of the batch that is shown; each row is augmented as a batch of its own
_THUMBNAIL = 160  # px
CHANNELS = {"red": "#d62728", "green": "#2ca02c", "blue": "#1f77b4"}


def histograms(photos: Photos, cache: PhotoCache, mean: Sequence[float], std: Sequence[float]) -> "Figure":
    """Shares of pixels by value, 0 to 255, for each channel, and the same after normalisation."""
    counts = np.zeros((3, 256))
    for file in photos.files():
        counts += [np.bincount(channel, minlength=256) for channel in cache[file].reshape(-1, 3).T]
    shares = counts / counts.sum(1, keepdims=True)
    edges = np.arange(257) - 0.5
    figure = new_figure(12, 3.5)
    before, after = figure.subplots(1, 2)
    for share, (name, color), m, s in zip(shares, CHANNELS.items(), mean, std, strict=True):
        before.stairs(share, edges, color=color, label=name)
        after.stairs(share * 255 * s, (edges / 255 - m) / s, color=color, label=name)
    before.set(xlabel="pixel value", ylabel="share of pixels", title="before")
    after.set(xlabel="normalised value", ylabel="density", title="after normalisation")
    before.legend()
    return figure


def batch_figure(images: Tensor, names: Sequence[str]) -> "Figure":
    """Images `(B, 3, H, W)` in 0..1 with their names above."""
    figure = new_figure(1.6 * COLUMNS, 2 * ROWS)
    for axes, image, name in zip(figure.subplots(ROWS, COLUMNS).flat, images, names, strict=True):
        axes.imshow(image.clamp(0, 1).permute(1, 2, 0).numpy())
        axes.set_title(name, fontsize=8, parse_math=False)
        axes.set_axis_off()
    return figure


def write_strip(files: Sequence[Path], file: Path) -> None:
    """Thumbnails side by side, eight to a row, as a JPEG."""
    columns = min(len(files), COLUMNS)
    sheet = Image.new("RGB", (columns * _THUMBNAIL, -(-len(files) // columns) * _THUMBNAIL), "white")
    for place, photo in enumerate(files):
        row, column = divmod(place, columns)
        thumbnail = ImageOps.fit(open_photo(photo, _THUMBNAIL), (_THUMBNAIL - 4, _THUMBNAIL - 4))
        sheet.paste(thumbnail, (column * _THUMBNAIL, row * _THUMBNAIL))
    with atomic_path(file) as scratch:
        sheet.save(scratch, "JPEG", quality=85)


def new_figure(width: float, height: float) -> "Figure":
    """An empty figure of so many inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def save_figure(figure: "Figure", file: Path) -> None:
    """Write a figure as a PNG."""
    with atomic_path(file) as scratch, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing", UserWarning)  # the page's tables have these names whole
        figure.savefig(scratch, dpi=100, format="png")

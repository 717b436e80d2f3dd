"""Pictures of results."""

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from train.files import beside

__all__ = ["draw_confusion"]


def draw_confusion(predicted: Tensor, targets: Tensor, labels: Sequence[str], file: Path) -> None:
    """Draw how many photos of each landmark were given each name, as a share of the landmark's photos, as a PNG.

    Args:
        predicted: class indices `(N,)`.
        targets: class indices `(N,)`; landmarks without a photo have an empty row.
        labels: name of each class, by position.
        file: replaced where it is there.
    """
    from matplotlib.figure import Figure
    from sklearn.metrics import confusion_matrix

    shares = confusion_matrix(targets, predicted, labels=range(len(labels)))
    shares = shares / shares.sum(axis=1, keepdims=True).clip(min=1)
    side = max(4.0, 2.5 + 0.16 * len(labels))
    figure = Figure(figsize=(side, side), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    names = [label if label.isprintable() else "?" for label in labels]
    size = max(4.0, min(9.0, 360 / len(labels)))
    axes.set_xticks(range(len(labels)), names, rotation=90, fontsize=size, parse_math=False)
    axes.set_yticks(range(len(labels)), names, fontsize=size, parse_math=False)
    axes.set(xlabel="named", ylabel="shown", title=f"What each landmark's photos were named, n = {len(targets)}")
    figure.colorbar(image, shrink=0.5)
    with beside(file) as scratch:
        figure.savefig(scratch, dpi=100, format="png")

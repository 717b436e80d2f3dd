"""Pictures of results."""

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from landmark_models.text import for_terminal
from train.files import beside

__all__ = ["draw_confusion"]

_MAX_NAMED = 120  # classes whose names can be read beside the picture


def draw_confusion(predicted: Tensor, targets: Tensor, labels: Sequence[str], file: Path) -> None:
    """Draw what each landmark's photos were named, as shares of its photos, as a PNG.

    Args:
        predicted: class indices `(N,)`.
        targets: class indices `(N,)`; landmarks without a photo have an empty row.
        labels: name of each class, by position; of many classes the names are left out.
        file: replaced where it is there.
    """
    from matplotlib.figure import Figure
    from sklearn.metrics import confusion_matrix

    shares = confusion_matrix(targets, predicted, labels=range(len(labels)))
    shares = shares / shares.sum(axis=1, keepdims=True).clip(min=1)
    side = max(4.0, 2.5 + 0.16 * min(len(labels), _MAX_NAMED))
    figure = Figure(figsize=(side, side), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    if len(labels) <= _MAX_NAMED:
        names = [for_terminal(label) for label in labels]
        size = max(4.0, min(9.0, 360 / len(labels)))
        axes.set_xticks(range(len(labels)), names, rotation=90, fontsize=size, parse_math=False)
        axes.set_yticks(range(len(labels)), names, fontsize=size, parse_math=False)
    axes.set(xlabel="named", ylabel="shown", title=f"What each landmark's photos were named, n = {len(targets)}")
    figure.colorbar(image, shrink=0.5)
    with beside(file) as scratch:
        figure.savefig(scratch, dpi=100, format="png")

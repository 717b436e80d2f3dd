"""Pictures of results."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform
from sklearn.metrics import confusion_matrix
from torch import Tensor

from landmark_models.files import atomic_path
from landmark_models.text import for_terminal

__all__ = ["confusion_order", "draw_answered", "draw_confusion", "draw_reliability"]

_MAX_NAMED = 120  # classes whose names can be read beside the picture


def confusion_order(predicted: Tensor, targets: Tensor, classes: int) -> list[int]:
    """Class indices so that classes which are taken for one another stand together (average linkage)."""
    if classes < 3:
        return list(range(classes))
    shares = _shares(predicted, targets, range(classes))
    distance = 1 - (shares + shares.T) / 2
    np.fill_diagonal(distance, 0)
    clusters = linkage(squareform(distance.clip(min=0), checks=False), "average", optimal_ordering=True)
    return [int(index) for index in leaves_list(clusters)]


def _shares(predicted: Tensor, targets: Tensor, order: Sequence[int]) -> NDArray[np.float64]:
    counts = confusion_matrix(targets, predicted, labels=order)
    return counts / counts.sum(axis=1, keepdims=True).clip(min=1)


def draw_confusion(predicted: Tensor, targets: Tensor, labels: Sequence[str], file: Path) -> None:
    """Draw what each landmark's photos were named, as shares of its photos, as a PNG; confused ones stand together.

    Args:
        predicted: class indices `(N,)`.
        targets: class indices `(N,)`; landmarks without a photo have an empty row.
        labels: name of each class, by position; of many classes the names are left out.
        file: replaced where it is there.
    """
    from matplotlib.figure import Figure

    order = confusion_order(predicted, targets, len(labels))
    shares = _shares(predicted, targets, order)
    side = max(4.0, 2.5 + 0.16 * min(len(labels), _MAX_NAMED))
    figure = Figure(figsize=(side, side), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    if len(labels) <= _MAX_NAMED:
        names = [for_terminal(labels[index]) for index in order]
        size = max(4.0, min(9.0, 360 / len(labels)))
        axes.set_xticks(range(len(labels)), names, rotation=90, fontsize=size, parse_math=False)
        axes.set_yticks(range(len(labels)), names, fontsize=size, parse_math=False)
    axes.set(xlabel="named", ylabel="shown", title=f"What each landmark's photos were named, n = {len(targets)}")
    figure.colorbar(image, shrink=0.5)
    with atomic_path(file) as scratch:
        figure.savefig(scratch, dpi=100, format="png")


def draw_reliability(confidences: Tensor, correct: Tensor, bins: int, file: Path) -> None:
    """Draw how often scores are right, in bins of equal width (DeGroot and Fienberg 1983), and how many are in each.

    Args:
        confidences: of the class that was named, `(N,)`, 0 to 1.
        correct: whether it was right, bool `(N,)`.
        bins: number of bins.
        file: replaced where it is there.
    """
    from matplotlib.figure import Figure

    which = (confidences * bins).long().clamp(max=bins - 1)
    counts = which.bincount(minlength=bins)
    used = counts > 0
    sure, right = (
        which.bincount(weights=values.double(), minlength=bins)[used] / counts[used]
        for values in (confidences, correct)
    )
    figure = Figure(figsize=(5, 6), layout="constrained")
    diagram, share = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    diagram.plot([0, 1], [0, 1], color="grey", linestyle="--", linewidth=0.8, label="perfect")
    diagram.plot(sure.tolist(), right.tolist(), marker="o", label="measured")
    diagram.set(ylabel="accuracy", title=f"How often scores are right, n = {len(correct)}", xlim=(0, 1), ylim=(0, 1))
    diagram.legend()
    middles = [(index + 0.5) / bins for index in range(bins)]
    share.bar(middles, (counts / counts.sum()).tolist(), width=0.9 / bins)
    share.set(xlabel="score", ylabel="share of photos")
    for axes in (diagram, share):
        axes.grid(alpha=0.3)
    with atomic_path(file) as scratch:
        figure.savefig(scratch, dpi=100, format="png")


def draw_answered(confidences: Tensor, correct: Tensor, file: Path) -> None:
    """Draw the accuracy on the surest photos against their share of all (El-Yaniv and Wiener 2010).

    Args:
        confidences: as in `draw_reliability`.
        correct: likewise.
        file: replaced where it is there.
    """
    from matplotlib.figure import Figure

    answered = torch.arange(1, len(correct) + 1)
    accuracy = correct[confidences.argsort(descending=True)].cumsum(0) / answered
    figure = Figure(figsize=(5, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot((answered / len(correct)).tolist(), accuracy.tolist())
    axes.set(xlabel="share of photos answered, the surest first", ylabel="accuracy", xlim=(0, 1), ylim=(None, 1.005))
    axes.grid(alpha=0.3)
    with atomic_path(file) as scratch:
        figure.savefig(scratch, dpi=100, format="png")

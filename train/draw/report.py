"""The report of an evaluation, one page that opens offline with its tables and the mistakes; and its pictures."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix
from torch import Tensor

from landmark_models.errors import PhotoError
from landmark_models.files import atomic_path
from landmark_models.photo import thumbnail
from landmark_models.text import for_spreadsheet, for_terminal
from train.data import Photos
from train.draw.output import Table, figure, write_csv, write_page

_MISTAKES, _PAIRS = 24, 10  # shown at most
_SIDE = 160  # px, of a photo on the page
_MAX_NAMED = 120  # with more classes than this their names would be too small to read


def write_report(
    folder: Path, title: str, summary: str, tables: Sequence[Table], photos: Photos, logits: Tensor, bins: int
) -> None:
    """Write `index.html` with its pictures, except `../confusion.png`, and `confusion.csv`.

    The summary is the first sentence on the page, and each table is a section of it. `logits` are those of the photos,
    `(N, classes)`, temperature applied; `bins` are those of the reliability diagram.
    """
    (folder / "photos").mkdir(parents=True, exist_ok=True)
    labels, targets = photos.labels, torch.tensor(photos.targets)
    confidences, predicted = logits.softmax(1).max(1)
    correct = predicted == targets
    order = confusion_order(predicted, targets, len(labels))
    names = [for_spreadsheet(labels[index]) for index in order]
    counts = confusion_matrix(targets, predicted, labels=order).tolist()
    rows = ([name, *row] for name, row in zip(names, counts, strict=True))
    write_csv(folder / "confusion.csv", ["shown \\ named", *names], rows)
    draw_reliability(confidences, correct, bins, folder / "reliability.png")
    draw_answered(confidences, correct, folder / "answered.png")

    pairs = list(zip(targets.tolist(), predicted.tolist(), strict=True))
    confused = [
        (pairs.index((shown, named)), f"{labels[shown]}, named {labels[named]}: {n} of {int((targets == shown).sum())}")
        for shown, named, n in most_confused(predicted, targets)
    ]
    wrong = [index for index in confidences.argsort(descending=True).tolist() if not correct[index]]
    mistakes = [
        (index, f"{labels[pairs[index][0]]}, named {labels[pairs[index][1]]} ({confidences[index]:.0%})")
        for index in wrong[:_MISTAKES]
    ]
    write_page(
        folder / "index.html",
        "evaluation.html.j2",
        title=title,
        summary=summary,
        tables=tables,
        confused=_write_photos(folder, photos, confused),
        mistakes=_write_photos(folder, photos, mistakes),
    )


def _write_photos(folder: Path, photos: Photos, captions: Iterable[tuple[int, str]]) -> list[dict[str, str]]:
    """Write thumbnails of the photos at these positions, and return what the page shows."""
    shown = []
    for index, caption in captions:
        try:
            content = thumbnail(photos.files()[index], _SIDE)
        except PhotoError:  # it has been removed since it was measured
            continue
        picture = f"photos/{index}.jpg"
        with atomic_path(folder / picture) as scratch:
            scratch.write_bytes(content)
        shown.append({"picture": picture, "caption": caption, "path": photos.paths[index]})
    return shown


def most_confused(predicted: Tensor, targets: Tensor) -> list[tuple[int, int, int]]:
    """The most frequent mistakes: class shown, class predicted, how often."""
    pairs = Counter((t, p) for t, p in zip(targets.tolist(), predicted.tolist(), strict=True) if t != p)
    return [(*pair, n) for pair, n in sorted(pairs.items(), key=lambda item: (-item[1], item[0]))[:_PAIRS]]


def confusion_order(predicted: Tensor, targets: Tensor, classes: int) -> list[int]:
    """Class indices in an order that puts classes which are mistaken for one another together (average linkage)."""
    from scipy.cluster.hierarchy import leaves_list, linkage
    from scipy.spatial.distance import squareform

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
    """Draw the confusion matrix, each row as shares of that landmark's photos, as a PNG.

    `predicted` and `targets` are class indices `(N,)`; landmarks without a photo have an empty row. The names of very
    many classes are left out.
    """
    order = confusion_order(predicted, targets, len(labels))
    side = max(4.0, 2.5 + 0.16 * min(len(labels), _MAX_NAMED))
    with figure(file, side, side) as drawing:
        axes = drawing.subplots()
        image = axes.imshow(_shares(predicted, targets, order), cmap="Blues", vmin=0, vmax=1)
        if len(labels) <= _MAX_NAMED:
            names = [for_terminal(labels[index]) for index in order]
            size = max(4.0, min(9.0, 360 / len(labels)))
            axes.set_xticks(range(len(labels)), names, rotation=90, fontsize=size, parse_math=False)
            axes.set_yticks(range(len(labels)), names, fontsize=size, parse_math=False)
        axes.set(xlabel="predicted", ylabel="shown", title=f"Confusion matrix, n = {len(targets)}")
        drawing.colorbar(image, shrink=0.5)


def draw_reliability(confidences: Tensor, correct: Tensor, bins: int, file: Path) -> None:
    """Draw a reliability diagram (DeGroot and Fienberg 1983) above the share of photos in each bin, as a PNG.

    `confidences` are those of the predicted class, `(N,)`, 0 to 1; `correct`, bool `(N,)`, says whether it was right.
    The `bins` have equal width.
    """
    which = (confidences * bins).long().clamp(max=bins - 1)
    counts = which.bincount(minlength=bins)
    used = counts > 0
    confidence, accuracy = (
        which.bincount(weights=values.double(), minlength=bins)[used] / counts[used]
        for values in (confidences, correct)
    )
    with figure(file, 5, 6) as drawing:
        diagram, share = drawing.subplots(2, 1, sharex=True, height_ratios=[3, 1])
        diagram.plot([0, 1], [0, 1], color="grey", linestyle="--", linewidth=0.8, label="perfect")
        diagram.plot(confidence.tolist(), accuracy.tolist(), marker="o", label="measured")
        diagram.set(ylabel="accuracy", title=f"Reliability, n = {len(correct)}", xlim=(0, 1), ylim=(0, 1))
        diagram.legend()
        middles = [(index + 0.5) / bins for index in range(bins)]
        share.bar(middles, (counts / counts.sum()).tolist(), width=0.9 / bins)
        share.set(xlabel="confidence", ylabel="share of photos")
        for axes in (diagram, share):
            axes.grid(alpha=0.3)


def draw_answered(confidences: Tensor, correct: Tensor, file: Path) -> None:
    """Draw accuracy against coverage: only the most confident share of the photos is answered, as a PNG.

    See El-Yaniv and Wiener (2010). The arguments are those of `draw_reliability`.
    """
    answered = torch.arange(1, len(correct) + 1)
    accuracy = correct[confidences.argsort(descending=True)].cumsum(0) / answered
    with figure(file, 5, 4) as drawing:
        axes = drawing.subplots()
        axes.plot((answered / len(correct)).tolist(), accuracy.tolist())
        axes.set(xlabel="share of photos answered, most confident first", ylabel="accuracy")
        axes.set(xlim=(0, 1), ylim=(None, 1.005))
        axes.grid(alpha=0.3)

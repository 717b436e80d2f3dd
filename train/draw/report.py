"""The report of an evaluation, one page that opens offline with its tables and the mistakes; and its pictures."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix
from torch import Tensor

from landmark_models.errors import PhotoError
from landmark_models.files import atomic_path
from landmark_models.photo import thumbnail
from landmark_models.text import for_spreadsheet, percent
from train.data import Photos
from train.draw.fonts import display_width, is_drawable, shorten_name
from train.draw.output import Table, figure, write_csv, write_page

_MISTAKES, _PAIRS = 24, 10  # shown at most
_SIDE = 160  # px, of a photo on the page
_MAX_DRAWN = 60  # classes in a confusion matrix that a screen shows
_MOST_MISTAKEN = 40  # classes of it that are drawn if there are more


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
        (index, f"{labels[pairs[index][0]]}, named {labels[pairs[index][1]]} ({percent(float(confidences[index]))})")
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


def _most_mistaken(predicted: Tensor, targets: Tensor, classes: int) -> set[int]:
    """The classes in the most mistakes, whether shown or named; as many as a picture can name."""
    wrong = predicted != targets
    mistakes = torch.cat([predicted[wrong], targets[wrong]]).bincount(minlength=classes)
    return set(mistakes.argsort(descending=True, stable=True)[:_MOST_MISTAKEN].tolist())


def draw_confusion(predicted: Tensor, targets: Tensor, labels: Sequence[str], file: Path) -> None:
    """Draw the confusion matrix, each row as shares of that landmark's photos, as a PNG.

    `predicted` and `targets` are class indices `(N,)`; landmarks without a photo have an empty row. Of very many
    classes only those are drawn that are most often mistaken for others.
    """
    rows = {index: row for row, index in enumerate(confusion_order(predicted, targets, len(labels)), 1)}
    chosen = _most_mistaken(predicted, targets, len(labels)) if len(labels) > _MAX_DRAWN else set(rows)
    order = [index for index in rows if index in chosen]
    names = [shorten_name(labels[index]) for index in order]
    lacking = [not is_drawable(name) for name in names]
    names = [f"no. {rows[index]}" if lacks else name for index, name, lacks in zip(order, names, lacking, strict=True)]
    counts = confusion_matrix(targets, predicted, labels=list(rows))
    places = [rows[index] - 1 for index in order]
    counts, totals = counts[np.ix_(places, places)], counts.sum(axis=1)[places]
    title = f"Confusion matrix, n = {len(targets):,} photos"
    if len(order) < len(labels):
        title = f"The {len(order)} of {len(labels)} landmarks most often mistaken, n = {len(targets):,} photos"
    if any(lacking):
        title += "\nno. N: row N of report/confusion.csv,\nbecause no font here has the letters of its name"
    _draw_matrix(counts, totals, names, title, file)


def _draw_matrix(
    counts: NDArray[np.int64], totals: NDArray[np.int64], names: Sequence[str], title: str, file: Path
) -> None:
    cell = max(0.21, min(0.6, 3 / len(names)))  # inches
    matrix, margin = cell * len(names), 0.085 * max(display_width(name) for name in names)
    with figure(file, max(5.5, matrix + margin + 2), max(matrix, 2) + margin + 1.2) as drawing:
        axes = drawing.subplots()
        image = axes.imshow(counts / totals.clip(min=1)[:, None], cmap="Blues", vmin=0, vmax=1)
        axes.set_xticks(range(len(names)), names, rotation=90, fontsize=9, parse_math=False)
        axes.set_yticks(range(len(names)), names, fontsize=9, parse_math=False)
        axes.set(xlabel="named", ylabel="shown")
        drawing.suptitle(title, fontsize=11)
        if len(names) <= _MOST_MISTAKEN:
            style: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 8 if cell >= 0.25 else 6}
            for row, column in zip(*counts.nonzero(), strict=True):
                color = "white" if counts[row, column] > totals[row] / 2 else "black"
                axes.text(column, row, counts[row, column], color=color, **style)
        drawing.colorbar(image, shrink=min(1.0, 2 / matrix), label="share of the photos shown", aspect=12)


def draw_reliability(confidences: Tensor, correct: Tensor, bins: int, file: Path) -> None:
    """Draw a reliability diagram (DeGroot and Fienberg 1983) above the number of photos in each bin, as a PNG.

    `confidences` are those of the predicted class, `(N,)`, 0 to 1; `correct`, bool `(N,)`, says whether it was right.
    The `bins` have equal width; the area of each mark is in proportion to their photos, its bar a 95% interval
    (Wilson 1927).
    """
    from scipy.stats import binomtest  # comes with scikit-learn

    which = (confidences * bins).long().clamp(max=bins - 1)
    counts = which.bincount(minlength=bins)
    used = counts > 0
    confidence, accuracy = (
        (which.bincount(weights=values.double(), minlength=bins)[used] / counts[used]).numpy()
        for values in (confidences, correct)
    )
    rights = which[correct].bincount(minlength=bins)[used].tolist()
    tests = [binomtest(right, count) for right, count in zip(rights, counts[used].tolist(), strict=True)]
    bounds = np.array([tuple(test.proportion_ci(method="wilson")) for test in tests]).T
    with figure(file, 5.5, 6.5) as drawing:
        diagram, photos = drawing.subplots(2, 1, sharex=True, height_ratios=[3, 1])
        diagram.plot([0, 1], [0, 1], color="grey", linestyle="--", linewidth=0.8, label="perfectly calibrated")
        bars = np.abs(bounds - accuracy).clip(min=0)
        diagram.errorbar(confidence, accuracy, bars, fmt="none", color="C0", linewidth=1, clip_on=False)
        areas = (300 * counts[used] / counts.sum()).clamp(min=6).tolist()
        label = "measured, area by photos, with 95% interval"
        diagram.scatter(confidence, accuracy, areas, color="C0", clip_on=False, zorder=3, label=label)
        diagram.set(xlim=(0, 1), ylim=(0, 1), ylabel="share of answers that are right")
        diagram.set_title(f"How far confidences can be trusted, n = {len(correct):,}", pad=12)
        diagram.legend(loc="best")
        photos.stairs(counts.tolist(), np.linspace(0, 1, bins + 1), fill=True)
        photos.set(xlabel="confidence of the answer", ylabel="photos")
        for axes in (diagram, photos):
            axes.grid(alpha=0.3)


def draw_answered(confidences: Tensor, correct: Tensor, file: Path) -> None:
    """Draw accuracy against coverage: only the most confident share of the photos is answered, as a PNG.

    See El-Yaniv and Wiener (2010). The arguments are those of `draw_reliability`.
    """
    answered = torch.arange(1, len(correct) + 1)
    accuracy = correct[confidences.argsort(descending=True)].cumsum(0) / answered
    with figure(file, 5, 4) as drawing:
        axes = drawing.subplots()
        marker = "o" if len(correct) == 1 else ""
        axes.plot((answered / len(correct)).tolist(), accuracy.tolist(), marker=marker, clip_on=False)
        axes.set(xlabel="share of photos answered, most confident first", ylabel="share of answers that are right")
        axes.set(xlim=(0, 1), ylim=(min(0.9, float(accuracy.min())), 1))
        axes.set_title(f"Right answers if unsure ones are withheld, n = {len(correct):,}", pad=12)
        axes.grid(alpha=0.3)

"""What an evaluation found, for a person: one page that opens offline, with tables, pictures and the mistakes."""

import csv
import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform
from sklearn.metrics import confusion_matrix
from torch import Tensor

from landmark_models.batch import thumbnail
from landmark_models.errors import PhotoError
from landmark_models.text import for_spreadsheet
from train.data import Photos
from train.files import beside, write_text
from train.html_page import HtmlPage
from train.pictures import draw_answered, draw_confusion, draw_reliability

__all__ = ["most_confused", "write_predictions", "write_report"]

_SHOWN = 24  # most confident mistakes
_PAIRS = 10
_SIDE = 160  # px, of a photo in the page


def write_predictions(file: Path, photos: Photos, probabilities: Tensor) -> None:
    """A CSV row for each photo: its path, label, what it was named, and the probability `(N, classes)` of that."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(["path", "label", "named", "confidence"])
    scores, named = probabilities.max(1)
    for path, target, index, score in zip(photos.paths, photos.targets, named.tolist(), scores.tolist(), strict=True):
        cells = (path, photos.labels[target], photos.labels[index])
        writer.writerow([*map(for_spreadsheet, cells), f"{score:.4f}"])
    write_text(file, text.getvalue())


def most_confused(predicted: Tensor, targets: Tensor, count: int = _PAIRS) -> list[tuple[int, int, int]]:
    """The most frequent mistakes: class shown, class named, how often."""
    pairs = Counter((t, p) for t, p in zip(targets.tolist(), predicted.tolist(), strict=True) if t != p)
    return [(shown, named, n) for (shown, named), n in sorted(pairs.items(), key=lambda item: (-item[1], item[0]))][
        :count
    ]


def confusion_order(predicted: Tensor, targets: Tensor, classes: int) -> list[int]:
    """Class indices so that classes which are taken for one another stand together (average linkage)."""
    if classes < 3:
        return list(range(classes))
    shares = confusion_matrix(targets, predicted, labels=range(classes)).astype(float)
    shares /= shares.sum(axis=1, keepdims=True).clip(min=1)
    distance = 1 - (shares + shares.T) / 2
    np.fill_diagonal(distance, 0)
    clusters = linkage(squareform(distance.clip(min=0), checks=False), "average", optimal_ordering=True)
    return [int(index) for index in leaves_list(clusters)]


def write_report(folder: Path, metrics: dict[str, Any], photos: Photos, logits: Tensor) -> None:
    """Write `index.html`, its pictures and `confusion.csv`.

    Args:
        folder: made, or used again.
        metrics: what `train.evaluate` measured.
        photos: those that were measured.
        logits: of them, `(N, classes)`, temperature applied.
    """
    (folder / "photos").mkdir(parents=True, exist_ok=True)
    probabilities, labels = logits.softmax(1), photos.labels
    scores, predicted = probabilities.max(1)
    targets = logits.new_tensor(photos.targets).long()
    order = confusion_order(predicted, targets, len(labels))
    place = np.argsort(order)
    draw_confusion(
        predicted.new_tensor(place)[predicted], predicted.new_tensor(place)[targets], [labels[i] for i in order],
        folder / "confusion.png",
    )  # fmt: skip
    _write_confusion(folder / "confusion.csv", predicted, targets, [labels[i] for i in order], order)
    draw_reliability(scores, predicted == targets, folder / "reliability.png")
    draw_answered(scores, predicted == targets, folder / "answered.png")

    page = HtmlPage(f"{metrics['model']} on {metrics['data']}, {metrics['split']} split")
    page.add_text(
        f"{metrics['n']} photos, {metrics['device']}, {metrics['photos_per_second']} photos/s of the network alone."
    )
    page.add_heading("Figures")
    rows = [[f"top-{k}", _percent(metrics[f"top{k}"]), _interval(metrics[f"top{k}_ci95"])] for k in (1, 3, 5)]
    names = ("macro_precision", "macro_recall", "macro_f1", "weighted_precision", "weighted_recall", "weighted_f1")
    rows += [[name.replace("_", " "), _percent(metrics[name]), ""] for name in names]
    page.add_table(["", "%", "95 % interval"], rows)
    if metrics["per_source"]:
        sources = metrics["per_source"].items()
        rows = [[name, str(part["n"]), _percent(part["top1"]), _interval(part["top1_ci95"])] for name, part in sources]
        page.add_table(["source", "photos", "top-1, %", "95 % interval"], rows)
    page.add_heading("How sure")
    page.add_text(
        f"Expected calibration error {_percent(metrics['ece'])} %, without the temperature of "
        f"{metrics['temperature']:.3f} {_percent(metrics['ece_uncalibrated'])} %; perfect scores would show "
        f"{_percent(metrics['ece_if_perfect'])} % on so many photos."
    )
    page.add_picture("reliability.png", "Accuracy against confidence, in bins", "How often a score is right.")
    page.add_picture(
        "answered.png", "Accuracy against the share of photos answered", "If the least sure are not answered."
    )
    if negatives := metrics.get("negatives"):
        page.add_heading("Photos of none of the landmarks")
        rows = [["AUROC", _percent(negatives["auroc"]), ""]]
        for key, words in (("true_accepts", "landmarks named"), ("false_accepts", "others named")):
            rows.append([words, _percent(negatives[key]), _interval(negatives[f"{key}_ci95"])])
        rows.append(["others named where 95 % of landmarks are", _percent(negatives["false_accepts_at_95"]), ""])
        page.add_table([f"{negatives['n']} photos, {negatives['score']}", "%", "95 % interval"], rows)
    if "robustness" in metrics:
        page.add_heading("Changed photos")
        changes = metrics["robustness"].items()
        rows = [[name, _percent(part["top1"]), _interval(part["top1_ci95"])] for name, part in changes]
        page.add_table(["photos that are", "top-1, %", "95 % interval"], rows)
    page.add_heading("Most confused")
    pairs = most_confused(predicted, targets)
    wrong = [(int(t), int(p)) for t, p in zip(targets, predicted, strict=True)]
    for shown, named, count in pairs:
        page.add_text(f"{labels[shown]}, named {labels[named]}: {count} of {int((targets == shown).sum())}")
        _add_photo(page, folder, photos, wrong.index((shown, named)), f"{labels[shown]}, named {labels[named]}")
    page.add_heading("Most confident mistakes")
    mistakes = [i for i in scores.argsort(descending=True).tolist() if predicted[i] != targets[i]][:_SHOWN]
    for index in mistakes:
        caption = f"{labels[int(targets[index])]}, named {labels[int(predicted[index])]} ({scores[index]:.0%})"
        _add_photo(page, folder, photos, index, caption)
    page.add_heading("Classes, the hardest first")
    classes = sorted(metrics["per_class"].items(), key=lambda item: item[1]["f1"])
    page.add_table(
        ["class", "photos", "precision, %", "recall, %", "F1, %"],
        [
            [name, str(c["n"]), _percent(c["precision"]), _percent(c["recall"]), _percent(c["f1"])]
            for name, c in classes
        ],
    )
    page.add_heading("Confusion")
    page.add_picture("confusion.png", "What each landmark's photos were named", "Confused classes stand together.")
    page.add_link("confusion.csv", "The same as CSV")
    page.write(folder / "index.html")


def _add_photo(page: HtmlPage, folder: Path, photos: Photos, index: int, caption: str) -> None:
    name = f"photos/{index}.jpg"
    try:
        content = thumbnail(photos.files()[index], _SIDE)
    except PhotoError:  # it went away meanwhile
        return
    with beside(folder / name) as scratch:
        scratch.write_bytes(content)
    page.add_picture(name, caption, f"{caption}: {photos.paths[index]}")


def _write_confusion(file: Path, predicted: Tensor, targets: Tensor, labels: Sequence[str], order: list[int]) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    names = [for_spreadsheet(label) for label in labels]
    writer.writerow(["shown \\ named", *names])
    counts = confusion_matrix(targets, predicted, labels=order)
    writer.writerows([name, *row] for name, row in zip(names, counts.tolist(), strict=True))
    write_text(file, text.getvalue())


def _percent(share: float) -> str:
    return f"{100 * share:.2f}"


def _interval(bounds: Sequence[float]) -> str:
    return f"{_percent(bounds[0])} to {_percent(bounds[1])}"

"""What an evaluation found, for a person: one page that opens offline, with tables, pictures and the mistakes."""

import csv
import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from sklearn.metrics import confusion_matrix
from torch import Tensor

from landmark_models.errors import PhotoError
from landmark_models.files import atomic_path, write_text
from landmark_models.photo import thumbnail
from landmark_models.text import for_spreadsheet
from train.calibration import BINS
from train.data import Photos
from train.draw.html_page import HtmlPage
from train.draw.results import confusion_order, draw_answered, draw_reliability

__all__ = ["most_confused", "tables", "write_predictions", "write_report"]

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
    ranked = sorted(pairs.items(), key=lambda item: (-item[1], item[0]))[:count]
    return [(shown, named, n) for (shown, named), n in ranked]


def tables(metrics: dict[str, Any]) -> list[tuple[str, list[str], list[list[str]]]]:
    """What `train.evaluate` measured, as tables for a terminal or a page: title, headers, rows."""
    rows = [[f"top-{k}", _percent(metrics[f"top{k}"]), _interval(metrics[f"top{k}_ci95"])] for k in (1, 3, 5)]
    names = ("macro_precision", "macro_recall", "macro_f1", "weighted_precision", "weighted_recall", "weighted_f1")
    rows += [[name.replace("_", " "), _percent(metrics[name]), ""] for name in names]
    result = [("Figures", ["", "%", "95 % interval"], rows)]
    if "ece" in metrics:
        errors = (
            ("as served", "ece"),
            ("without the temperature", "ece_uncalibrated"),
            ("plain softmax of the network, as timm gives it", "ece_plain_softmax"),
            ("if perfect", "ece_if_perfect"),
        )
        rows = [[words, _percent(metrics[key])] for words, key in errors if key in metrics]
        result.append(("Expected calibration error", ["scores", "%"], rows))
    if named := metrics.get("named"):
        rows = [
            [f"named {key}" if key != "not" else "not named", _percent(named[key]), _interval(named[f"{key}_ci95"])]
            for key in ("rightly", "wrongly", "not")
        ]
        result.append(("Photos of landmarks, by the model's rule", ["", "%", "95 % interval"], rows))
    if rejection := metrics.get("rejection"):
        parts = rejection["kinds"] | {
            f"all {group}": rejection[group] for group in ("near", "far") if group in rejection
        }
        rows = [
            [kind or "(no kind)", str(p["n"]), _percent(p["share"]), _interval(p["share_ci95"]), _percent(p["auroc"])]
            for kind, p in parts.items()
        ]
        title = f"Photos of anything else, by {rejection['score']} of at least {rejection['threshold']:.3f}"
        result.append((title, ["kind", "photos", "named, %", "95 % interval", "AUROC, %"], rows))
    for key, title in (("robustness", "Changed photos"), ("per_source", "Sources")):
        if parts := metrics.get(key):
            rows = [[k, str(p["n"]), _percent(p["top1"]), _interval(p["top1_ci95"])] for k, p in parts.items()]
            result.append((title, ["", "photos", "top-1, %", "95 % interval"], rows))
    classes = sorted(metrics["per_class"].items(), key=lambda item: item[1]["f1"])
    rows = [[name, str(c["n"]), *(_percent(c[key]) for key in ("precision", "recall", "f1"))] for name, c in classes]
    headers = ["class", "photos", "precision, %", "recall, %", "F1, %"]
    return [*result, ("Classes, the hardest first", headers, rows)]


def write_report(folder: Path, metrics: dict[str, Any], photos: Photos, logits: Tensor) -> None:
    """Write `index.html`, its pictures but `../confusion.png`, and `confusion.csv`.

    Args:
        folder: made, or used again.
        metrics: what `train.evaluate` measured.
        photos: those that were measured.
        logits: of them, `(N, classes)`, temperature applied.
    """
    (folder / "photos").mkdir(parents=True, exist_ok=True)
    labels = photos.labels
    scores, predicted = logits.softmax(1).max(1)
    targets = torch.tensor(photos.targets)
    _write_confusion(folder / "confusion.csv", predicted, targets, labels)
    draw_reliability(scores, predicted == targets, BINS, folder / "reliability.png")
    draw_answered(scores, predicted == targets, folder / "answered.png")

    page = HtmlPage(f"{metrics['model']} on {metrics['data']}, {metrics['split']} split")
    page.add_text(f"{metrics['n']} photos, {metrics['device']}, {metrics['photos_per_second']} photos/s.")
    for title, headers, rows in tables(metrics):
        page.add_heading(title)
        page.add_table(headers, rows)
    page.add_heading("How sure")
    page.add_picture("reliability.png", "Accuracy against confidence, in bins", "How often a score is right.")
    page.add_picture("answered.png", "Accuracy against the share answered", "If the least sure are not answered.")
    page.add_heading("Most confused")
    wrong = list(zip(targets.tolist(), predicted.tolist(), strict=True))
    for shown, named, count in most_confused(predicted, targets):
        pair = f"{labels[shown]}, named {labels[named]}: {count} of {int((targets == shown).sum())}"
        _add_photo(page, folder, photos, wrong.index((shown, named)), pair)
    page.add_heading("Most confident mistakes")
    mistakes = [i for i in scores.argsort(descending=True).tolist() if predicted[i] != targets[i]][:_SHOWN]
    for index in mistakes:
        caption = f"{labels[int(targets[index])]}, named {labels[int(predicted[index])]} ({scores[index]:.0%})"
        _add_photo(page, folder, photos, index, caption)
    page.add_heading("Confusion")
    page.add_picture("../confusion.png", "What each landmark's photos were named", "Confused classes stand together.")
    page.add_link("confusion.csv", "The same as CSV")
    page.write(folder / "index.html")


def _add_photo(page: HtmlPage, folder: Path, photos: Photos, index: int, caption: str) -> None:
    name = f"photos/{index}.jpg"
    try:
        content = thumbnail(photos.files()[index], _SIDE)
    except PhotoError:  # it went away meanwhile
        return
    with atomic_path(folder / name) as scratch:
        scratch.write_bytes(content)
    page.add_picture(name, caption, f"{caption}: {photos.paths[index]}")


def _write_confusion(file: Path, predicted: Tensor, targets: Tensor, labels: Sequence[str]) -> None:
    order = confusion_order(predicted, targets, len(labels))
    names = [for_spreadsheet(labels[index]) for index in order]
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(["shown \\ named", *names])
    counts = confusion_matrix(targets, predicted, labels=order)
    writer.writerows([name, *row] for name, row in zip(names, counts.tolist(), strict=True))
    write_text(file, text.getvalue())


def _percent(share: float) -> str:
    return f"{100 * share:.2f}"


def _interval(bounds: Sequence[float]) -> str:
    return f"{_percent(bounds[0])} to {_percent(bounds[1])}"

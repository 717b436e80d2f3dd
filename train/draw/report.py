"""The report of an evaluation: one page that opens offline, with tables, pictures and the mistakes."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from sklearn.metrics import confusion_matrix
from torch import Tensor

from landmark_models.errors import PhotoError
from landmark_models.files import atomic_path
from landmark_models.photo import thumbnail
from landmark_models.text import for_spreadsheet
from train.data import Photos
from train.draw.page import write_page
from train.draw.results import confusion_order, draw_answered, draw_reliability
from train.draw.table import Table, write_csv

__all__ = ["most_confused", "write_report"]

_MISTAKES, _PAIRS = 24, 10  # shown at most
_SIDE = 160  # px, of a photo on the page


class _Photo(NamedTuple):
    picture: str
    caption: str
    path: str


def most_confused(predicted: Tensor, targets: Tensor, count: int = _PAIRS) -> list[tuple[int, int, int]]:
    """The most frequent mistakes: class shown, class predicted, how often."""
    pairs = Counter((t, p) for t, p in zip(targets.tolist(), predicted.tolist(), strict=True) if t != p)
    ranked = sorted(pairs.items(), key=lambda item: (-item[1], item[0]))[:count]
    return [(shown, named, n) for (shown, named), n in ranked]


def write_report(
    folder: Path, title: str, summary: str, tables: Sequence[Table], photos: Photos, logits: Tensor, bins: int
) -> None:
    """Write `index.html` with its pictures, except `../confusion.png`, and `confusion.csv`.

    Args:
        folder: created if it doesn't exist.
        title: the page's.
        summary: the first sentence on the page.
        tables: each becomes a section of the page.
        photos: those that were measured.
        logits: their logits, `(N, classes)`, temperature applied.
        bins: of the reliability diagram.

    Raises:
        OSError: something can't be written.
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


def _write_photos(folder: Path, photos: Photos, captions: Iterable[tuple[int, str]]) -> list[_Photo]:
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
        shown.append(_Photo(picture, caption, photos.paths[index]))
    return shown

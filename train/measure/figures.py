"""Figures that follow from logits and targets, with their 95% intervals, also by the source of the photos."""

import csv
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from train.data import DataError, Photos
from train.data.exclusions import listed_path
from train.data.labels import nfc


def share(flags: Tensor, name: str) -> dict[str, Any]:
    """The share of flags that are set, as `name`, and its 95% Wilson interval (Wilson 1927), as `name_ci95`."""
    from scipy.stats import binomtest  # comes with scikit-learn

    count, n = int(flags.sum()), len(flags)
    low, high = binomtest(count, n).proportion_ci(confidence_level=0.95, method="wilson")
    return {name: count / n, f"{name}_ci95": [float(low), float(high)]}


def figures(logits: Tensor, targets: Tensor, labels: Sequence[str]) -> dict[str, Any]:
    """Accuracy, precision, recall and F1 from logits `(N, classes)` and target indices `(N,)`, fit for JSON.

    Macro figures are means over the classes that have a photo among the targets.
    """
    from sklearn.metrics import precision_recall_fscore_support  # slow to import, and training does not need it

    ranked = logits.argsort(dim=1, descending=True, stable=True)
    position = (ranked == targets.unsqueeze(1)).int().argmax(dim=1)
    result: dict[str, Any] = {"n": len(targets)}
    for k in (1, 3, 5):
        result |= share(position < k, f"top{k}")
    present = targets.unique().tolist()
    scores = precision_recall_fscore_support(targets, ranked[:, 0], labels=present, zero_division=0)
    for name, values in zip(("precision", "recall", "f1"), scores, strict=False):
        result[f"macro_{name}"] = float(values.mean())
        result[f"weighted_{name}"] = float((values * scores[3]).sum() / scores[3].sum())
    result["per_class"] = {
        labels[index]: {"n": int(support), "precision": float(precision), "recall": float(recall), "f1": float(f1)}
        for index, precision, recall, f1, support in zip(present, *scores, strict=True)
    }
    return result


def named_figures(known: Tensor, right: Tensor) -> dict[str, Any]:
    """How many photos of landmarks the model names, rightly and wrongly, and how many it rejects.

    Both arguments are bool `(N,)`: whether the model's rule accepts a photo, and whether its top label is right.
    """
    rightly, wrongly = known & right, known & ~right
    result: dict[str, Any] = {"photos": len(known), "named": int(known.sum()), "right": int(rightly.sum())}
    for name, flags in (("rightly", rightly), ("wrongly", wrongly), ("not", ~known)):
        result |= share(flags, name)
    return result


def read_sources(root: Path) -> dict[str, str]:
    """The `source` of each `file` in `root/sources.csv`; empty if there is no such table.

    Raises:
        DataError: the table can't be read, or lacks a column.
    """
    table = root / "sources.csv"
    if not table.is_file():
        return {}
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
        if rows and "repository" in rows[0]:  # hundreds of sources, with a few photos each
            return {}
        return {nfc(listed_path(row["file"])): row["source"] for row in rows}
    except (KeyError, TypeError, ValueError, csv.Error, OSError):
        raise DataError(f"{table} isn't a table with the columns `file` and `source`; correct or remove it.") from None


def source_figures(photos: Photos, sources: Mapping[str, str], right: Tensor) -> dict[str, Any]:
    """The accuracy on the photos of each source; `right` is bool `(N,)`, whether a photo's top label is right."""
    if not sources:
        return {}
    outcomes: dict[str, list[bool]] = defaultdict(list)
    for path, hit in zip(photos.paths, right.tolist(), strict=True):
        outcomes[sources.get(nfc(path), "not in sources.csv")].append(hit)
    return {name: {"n": len(hits)} | share(torch.tensor(hits), "top1") for name, hits in sorted(outcomes.items())}

"""Accuracy by where the photos come from, for data with a `sources.csv`."""

import csv
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from train.data import DataError, Photos
from train.measure.figures import Share

__all__ = ["read_sources", "source_figures"]


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
        return {row["file"]: row["source"] for row in rows}
    except (KeyError, ValueError, csv.Error, OSError):
        raise DataError(f"{table} isn't a table with the columns `file` and `source`; mend or remove it.") from None


def source_figures(photos: Photos, sources: Mapping[str, str], right: Tensor) -> dict[str, Any]:
    """The accuracy on the photos of each source; `right` says which were predicted rightly, bool `(N,)`."""
    if not sources:
        return {}
    outcomes: dict[str, list[bool]] = defaultdict(list)
    for path, hit in zip(photos.paths, right.tolist(), strict=True):
        outcomes[sources.get(path, "not in sources.csv")].append(hit)
    return {
        name: {"n": len(hits)} | Share(sum(hits), len(hits)).as_json("top1") for name, hits in sorted(outcomes.items())
    }

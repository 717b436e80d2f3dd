"""Runs side by side: a table of several, and a test of whether two differ by more than chance."""

import csv
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from landmark_models import models
from landmark_models.errors import LandmarkError, reason
from landmark_models.files import write_text
from landmark_models.networks.served import parameter_count
from train.draw.table import as_markdown
from train.run import RunFolder, duration

__all__ = ["compare", "put_between_marks", "table"]

_HEADERS = (
    "model", "parameters, M", "GFLOPs", "input, px", "weights from", "test top-1, % (95 % interval)", "macro F1, %",
    "trained in", "photos/s",
)  # fmt: skip


def table(runs: Sequence[Path]) -> str:
    """A Markdown table with a row for each run, the best first, from what the run has recorded.

    GFLOPs are floating-point operations for one photo; a multiplication and an addition count as two.

    Raises:
        LandmarkError: a folder isn't a run, or wasn't evaluated on its test split or on the same photos as the rest.
    """
    folders = [RunFolder(run) for run in runs]
    tests = [run.measured() for run in folders]
    if len({test["digest"] for test in tests}) > 1:
        names = "; ".join(f"{run}: {test['n']} of {test['data']}" for run, test in zip(runs, tests, strict=True))
        raise LandmarkError(f"These runs were tested on different photos, so they can't share a table: {names}.")
    ranked = sorted(zip(folders, tests, strict=True), key=lambda pair: -pair[1]["top1"])
    return as_markdown(_HEADERS, [_row(run, test) for run, test in ranked])


def _row(run: RunFolder, test: dict[str, Any]) -> list[str]:
    model = models.load(run.path)
    side = model.pretrained_cfg["input_size"][-1]
    parameters = parameter_count(model.network)
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        model.network(torch.zeros(1, *model.pretrained_cfg["input_size"]))
    low, high = (100 * bound for bound in test["top1_ci95"])
    origin = model.landmark.get("weights_from", "")
    if teacher := model.landmark.get("teacher"):
        origin += f"; taught by {teacher}"
    return [
        run.path.resolve().name,
        f"{parameters / 1e6:.2f}",
        f"{counter.get_total_flops() / 1e9:.2f}",
        str(side),
        origin,
        f"{100 * test['top1']:.2f} ({low:.2f} to {high:.2f})",
        f"{100 * test['macro_f1']:.2f}",
        f"{duration(run.seconds())}, {run.environment()['device']}",
        f"{test['photos_per_second']:.0f}",
    ]


def compare(run_a: Path, run_b: Path) -> dict[str, Any]:
    """Whether two runs differ by more than chance on the same test photos: McNemar's exact test (1947).

    Returns:
        `n` photos, right in `both`, `neither`, `only_a`, `only_b`, and the two-sided `p`.

    Raises:
        LandmarkError: a run wasn't evaluated on its test split, or the two were evaluated on different photos.
    """
    from scipy.stats import binomtest

    digests, outcomes = [], []
    for run in map(RunFolder, (run_a, run_b)):
        digests.append(run.measured()["digest"])
        file = run.test.with_name("predictions.csv")
        if not file.is_file():
            raise LandmarkError(f"{run.path} has no {file.name} of its test photos; run train.evaluate on it again.")
        with file.open(newline="", encoding="utf-8") as rows:
            outcomes.append({row["path"]: row["label"] == row["named"] for row in csv.DictReader(rows)})
    a, b = outcomes
    if digests[0] != digests[1] or a.keys() != b.keys():
        raise LandmarkError(f"{run_a} and {run_b} were not evaluated on the same photos, so they can't be compared.")
    counts = Counter((a[path], b[path]) for path in a)
    only_a, only_b = counts[True, False], counts[False, True]
    p = float(binomtest(only_a, only_a + only_b).pvalue) if only_a + only_b else 1.0
    both, neither = counts[True, True], counts[False, False]
    return {"n": len(a), "both": both, "neither": neither, "only_a": only_a, "only_b": only_b, "p": p}


def put_between_marks(file: Path, text: str, name: str) -> None:
    """Replace what stands between the two marks of this name in a Markdown file.

    Raises:
        LandmarkError: the file can't be read or written, or has no such marks.
    """
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    try:
        before = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise LandmarkError(f"{file} can't be read: {reason(error)}.") from None
    pattern = re.compile(f"(?<={re.escape(begin)}\n).*?(?={re.escape(end)})", re.DOTALL)
    if not pattern.search(before):
        raise LandmarkError(f"{file} has no lines {begin} and {end} to put the table between.")
    try:
        write_text(file, pattern.sub(lambda _: f"\n{text}\n", before, count=1))
    except OSError as error:
        raise LandmarkError(f"{file} can't be written: {reason(error)}.") from None

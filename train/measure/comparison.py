"""Runs side by side: a table of several, a test of whether two differ by more than chance, and a ladder.

The rungs of a ladder build on one another, so that its table and its picture show what each ingredient gains.
"""

import csv
import re
import statistics
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from landmark_models import models
from landmark_models.errors import LandmarkError, reason
from landmark_models.files import write_text
from landmark_models.networks.served import parameter_count
from landmark_models.text import for_markdown
from train.draw.curves import RungCurves, draw_ladder
from train.draw.output import as_markdown
from train.recipe import Recipe
from train.run import RunFolder, duration

_RUNG_FIGURES = {
    "accuracy": "top1", "macro precision": "macro_precision", "macro recall": "macro_recall", "macro F1": "macro_f1",
}  # fmt: skip


def table(paths: Sequence[Path]) -> str:
    """A Markdown table with a row for each run, the best first, from what the run has recorded.

    GFLOPs are floating-point operations for one photo; a multiplication and an addition count as two.

    Raises:
        LandmarkError: a folder isn't a run, or wasn't evaluated on its test split or on the same photos as the rest.
    """
    runs, tests = _measured(paths, "table")
    ranked = sorted(zip(runs, tests, strict=True), key=lambda pair: -pair[1]["top1"])
    rows = [_row(run, test) for run, test in ranked]
    return as_markdown(list(rows[0]), [list(row.values()) for row in rows])


def _measured(paths: Sequence[Path], what: str) -> tuple[list[RunFolder], list[dict[str, Any]]]:
    """Runs and their test figures, which must be of the same photos to be shown in one `what`."""
    runs = [RunFolder(path) for path in paths]
    tests = [run.measured() for run in runs]
    photos: dict[str, str] = {}
    for path, test in zip(paths, tests, strict=True):
        photos.setdefault(test["digest"], f'{path}: {test["n"]} of "{test["data"]}"')
    if len(photos) > 1:
        names = "; ".join(photos.values())
        raise LandmarkError(f"These runs were tested on different photos, so they can't share a {what}: {names}.")
    return runs, tests


def _row(run: RunFolder, test: dict[str, Any]) -> dict[str, str]:
    model = models.load(run.path)
    size = model.pretrained_cfg["input_size"]
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        model.network(torch.zeros(1, *size))
    low, high = (100 * bound for bound in test["top1_ci95"])
    origin = model.landmark.get("weights_from", "")
    if teacher := model.landmark.get("teacher"):
        origin += f"; taught by {teacher}"
    return {
        "model": run.path.resolve().name,
        "parameters, M": f"{parameter_count(model.network) / 1e6:.2f}",
        "GFLOPs": f"{counter.get_total_flops() / 1e9:.2f}",
        "input, px": str(size[-1]),
        "weights from": origin,
        "test top-1, % (95% interval)": f"{100 * test['top1']:.2f} ({low:.2f} to {high:.2f})",
        "macro F1, %": f"{100 * test['macro_f1']:.2f}",
        "trained in": f"{run.training_time()}, {run.environment()['device']}",
        "photos/s": f"{test['photos_per_second']:.0f}",
    }


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


@dataclass(frozen=True)
class Rung:
    """Runs that differ only in their seed, with what each measured on the test split."""

    runs: list[RunFolder]
    tests: list[dict[str, Any]]

    @property
    def name(self) -> str:
        """The name of the first run's folder, without its seed."""
        return re.sub(r"[-_.]seed[-_]?\d+$", "", self.runs[0].path.resolve().name)

    def curves(self) -> RungCurves | None:
        """Means over its runs in the epochs that all of them have, and the first run's gradient norms.

        None if a run has no epochs, because its head was fitted on cached features.
        """
        lines = [_epochs(run) for run in self.runs]
        if not all(lines):
            return None
        together = list(zip(*lines, strict=False))

        def mean(value: Callable[[dict[str, Any]], float]) -> list[float]:
            return [statistics.mean(map(value, epoch)) for epoch in together]

        first, last = (line.get("gradient_norms", {}) for line in (lines[0][0], lines[0][-1]))
        return RungCurves(
            self.name,
            epochs=[epoch[0]["epoch"] for epoch in together],
            val_top1=mean(lambda line: line["val_top1"]),
            train_loss=mean(lambda line: line["train_loss"]),
            val_loss=mean(lambda line: line["val_loss"]),
            first_norms=[first.get(layer, 0) for layer in last],
            last_norms=list(last.values()),
        )


def find_rungs(paths: Sequence[Path]) -> list[Rung]:
    """The runs in the order in which they are given, with those that differ only in their seed together.

    Raises:
        LandmarkError: a folder isn't a run, wasn't evaluated on its test split or on the same photos as the rest, or
            is given twice.
    """
    rungs: dict[str, Rung] = {}
    known: dict[tuple[str, int], Path] = {}
    for run, test in zip(*_measured(paths, "ladder"), strict=True):
        run.seconds()  # raises if there is nothing to draw yet
        key, seed = run.key_without_seed(), Recipe.read(run.recipe).seed
        if (key, seed) in known:
            raise LandmarkError(
                f"{known[key, seed]} and {run.path} have the same recipe and seed; leave one of them out."
            )
        known[key, seed] = run.path
        rung = rungs.setdefault(key, Rung([], []))
        rung.runs.append(run)
        rung.tests.append(test)
    return list(rungs.values())


def ladder(rungs: Sequence[Rung]) -> str:
    """A Markdown table with a row for each rung: test figures and time, as means over its runs with their range."""
    rows = []
    for rung in rungs:
        devices = dict.fromkeys(run.environment()["device"] for run in rung.runs)
        epochs = [len(_epochs(run)) for run in rung.runs]
        few, many = min(epochs), max(epochs)
        rows.append(
            [
                for_markdown(rung.name),
                str(len(rung.runs)),
                *(_spread([100 * test[key] for test in rung.tests]) for key in _RUNG_FIGURES.values()),
                f"{few} to {many}" if few < many else str(many or "-"),
                f"{_training_time(rung.runs)}, {' and '.join(devices)}",
            ]
        )
    markdown = as_markdown(["rung", "seeds", *(f"{name}, %" for name in _RUNG_FIGURES), "epochs", "time"], rows)
    n, data = rungs[0].tests[0]["n"], rungs[0].tests[0]["data"]
    note = f'On the {n:,} test photos of "{for_markdown(data)}", one crop; means over the seeds, with their range.'
    return f"{markdown}\n{note}\n"


def draw_rungs(rungs: Sequence[Rung], file: Path) -> None:
    """Draw the curves of all rungs that have epochs, as one PNG; a LandmarkError if it can't be written."""
    try:
        draw_ladder([curves for rung in rungs if (curves := rung.curves())], file)
    except OSError as error:
        raise LandmarkError(f"{file} can't be written: {reason(error)}.") from None


def _epochs(run: RunFolder) -> list[dict[str, Any]]:
    """The lines of its metrics that are about an epoch; none if its head was fitted on cached features."""
    return [line for line in run.metrics() if "epoch" in line and "val_top1" in line]


def _training_time(runs: Sequence[RunFolder]) -> str:
    return runs[0].training_time() if len(runs) == 1 else duration(statistics.mean(run.seconds() for run in runs))


def _spread(values: Sequence[float]) -> str:
    mean = f"{statistics.mean(values):.2f}"
    return mean if len(values) == 1 else f"{mean} ({min(values):.2f} to {max(values):.2f})"


def put_between_marks(file: Path, text: str, name: str) -> None:
    """Replace what is between the two marks of this name in a Markdown file; a LandmarkError if that is impossible."""
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

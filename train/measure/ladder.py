"""Runs that build on one another, rung by rung: what each ingredient gains, as a table and as a picture.

python -m train.report ladder runs/1-baseline-seed0 runs/1-baseline-seed1 runs/2-batchnorm-seed0 --output ladder.png
"""

import re
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from landmark_models.errors import LandmarkError, reason
from landmark_models.text import for_markdown
from train.draw.curves import RungCurves, draw_ladder
from train.draw.table import as_markdown
from train.recipe import Recipe
from train.run import RunFolder, duration

__all__ = ["Rung", "draw_rungs", "find_rungs", "ladder"]

_FIGURES = {
    "accuracy": "top1",
    "macro precision": "macro_precision",
    "macro recall": "macro_recall",
    "macro F1": "macro_f1",
}


@dataclass(frozen=True)
class Rung:
    """Runs that differ only in their seed, with what each measured on the test split."""

    runs: tuple[RunFolder, ...]
    tests: tuple[dict[str, Any], ...]

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


def find_rungs(runs: Sequence[Path]) -> list[Rung]:
    """The runs in the order in which they are given, with those that differ only in their seed together.

    Raises:
        LandmarkError: a folder isn't a run, wasn't evaluated on its test split or on the same photos as the rest, or
            is given twice.
    """
    rungs: dict[str, Rung] = {}
    paths: dict[tuple[str, int], Path] = {}
    photos: dict[str, str] = {}
    for path in runs:
        run = RunFolder(path)
        test = run.measured()
        run.seconds()  # raises if there is nothing to draw yet
        photos.setdefault(test["digest"], f"{path}: {test['n']} of {test['data']}")
        key, seed = run.key_without_seed(), Recipe.read(run.recipe).seed
        if (key, seed) in paths:
            raise LandmarkError(f"{paths[key, seed]} and {path} have the same recipe and seed; leave one of them out.")
        paths[key, seed] = path
        before = rungs.get(key, Rung((), ()))
        rungs[key] = Rung((*before.runs, run), (*before.tests, test))
    if len(photos) > 1:
        names = "; ".join(photos.values())
        raise LandmarkError(f"These runs were tested on different photos, so they can't share a ladder: {names}.")
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
                *(_spread([100 * test[key] for test in rung.tests]) for key in _FIGURES.values()),
                f"{few} to {many}" if few < many else str(many or "-"),
                f"{duration(statistics.mean(run.seconds() for run in rung.runs))}, {' and '.join(devices)}",
            ]
        )
    table = as_markdown(["rung", "seeds", *(f"{name}, %" for name in _FIGURES), "epochs", "time"], rows)
    n, data = rungs[0].tests[0]["n"], rungs[0].tests[0]["data"]
    note = f"On the {n:,} test photos of {for_markdown(data)}, one crop; means over the seeds, with their range."
    return f"{table}\n{note}\n"


def draw_rungs(rungs: Sequence[Rung], file: Path) -> None:
    """Draw the curves of all rungs that have epochs, as one PNG; see `draw_ladder`.

    Raises:
        LandmarkError: the file can't be written.
    """
    try:
        draw_ladder([curves for rung in rungs if (curves := rung.curves())], file)
    except OSError as error:
        raise LandmarkError(f"{file} can't be written: {reason(error)}.") from None


def _epochs(run: RunFolder) -> list[dict[str, Any]]:
    """The lines of its metrics that are about an epoch; none if its head was fitted on cached features."""
    return [line for line in run.metrics() if "epoch" in line and "val_top1" in line]


def _spread(values: Sequence[float]) -> str:
    mean = f"{statistics.mean(values):.2f}"
    return mean if len(values) == 1 else f"{mean} ({min(values):.2f} to {max(values):.2f})"

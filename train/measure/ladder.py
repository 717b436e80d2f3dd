"""Runs that build on one another, rung by rung: what each ingredient gives, as a table and as a picture.

python -m train.report ladder runs/1-baseline-seed0 runs/1-baseline-seed1 runs/2-batchnorm-seed0 --output ladder.png
"""

import re
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from landmark_models.errors import LandmarkError, reason
from landmark_models.files import atomic_path
from landmark_models.text import for_markdown, for_terminal
from train.recipe import Recipe
from train.run import RunFolder, duration

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Rung", "draw_ladder", "find_rungs", "ladder"]

_FIGURES = {
    "accuracy": "top1",
    "macro precision": "macro_precision",
    "macro recall": "macro_recall",
    "macro F1": "macro_f1",
}


@dataclass(frozen=True)
class Rung:
    """Runs that differ in their seed alone, with what each measured on the test split."""

    runs: tuple[RunFolder, ...]
    tests: tuple[dict[str, Any], ...]

    @property
    def name(self) -> str:
        """The name of the first one's folder, without its seed."""
        return re.sub(r"[-_.]seed[-_]?\d+$", "", self.runs[0].path.resolve().name)

    def over_epochs(self, value: Callable[[dict[str, Any]], float]) -> tuple[list[int], list[float]]:
        """The epochs that all its runs have, and the mean of a figure in each."""
        lines = list(zip(*map(_epochs, self.runs), strict=False))
        return [line[0]["epoch"] for line in lines], [statistics.mean(map(value, line)) for line in lines]


def find_rungs(runs: Sequence[Path]) -> list[Rung]:
    """The runs, those that differ in their seed alone together, in the order in which they are named.

    Raises:
        LandmarkError: one is no run, has not been evaluated on its test split or on other photos than the rest, or
            comes twice.
    """
    rungs: dict[str, Rung] = {}
    seen: dict[tuple[str, int], Path] = {}
    photos: dict[str, str] = {}
    for path in runs:
        run = RunFolder(path)
        test = run.measured()
        run.seconds()  # raises where there is nothing to draw yet
        photos.setdefault(test["digest"], f"{path}: {test['n']} of {test['data']}")
        kind, seed = run.key_without_seed(), Recipe.read(run.recipe).seed
        if (kind, seed) in seen:
            raise LandmarkError(f"{seen[kind, seed]} and {path} are of one recipe and one seed; leave one of them out.")
        seen[kind, seed] = path
        before = rungs.get(kind, Rung((), ()))
        rungs[kind] = Rung((*before.runs, run), (*before.tests, test))
    if len(photos) > 1:
        names = "; ".join(photos.values())
        raise LandmarkError(f"These runs were tested on different photos, so they make no ladder: {names}.")
    return list(rungs.values())


def ladder(rungs: Sequence[Rung]) -> str:
    """A Markdown table with a row for each rung: test figures and time, means over its runs with their range."""
    header = ["rung", "seeds", *(f"{name}, %" for name in _FIGURES), "epochs", "time"]
    lines = [header, ["---"] * len(header)]
    for rung in rungs:
        seconds = [run.seconds() for run in rung.runs]
        devices = dict.fromkeys(run.environment()["device"] for run in rung.runs)
        epochs = [len(_epochs(run)) for run in rung.runs]
        few, many = min(epochs), max(epochs)
        lines.append(
            [
                for_markdown(rung.name),
                str(len(rung.runs)),
                *(_spread([100 * test[key] for test in rung.tests]) for key in _FIGURES.values()),
                f"{few} to {many}" if few < many else str(many or "-"),
                f"{duration(statistics.mean(seconds))}, {' and '.join(devices)}",
            ]
        )
    n, data = rungs[0].tests[0]["n"], rungs[0].tests[0]["data"]
    table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    note = f"On the {n:,} test photos of {for_markdown(data)}, one crop; means over the seeds, with their range."
    return f"{table}\n\n{note}\n"


def draw_ladder(rungs: Sequence[Rung], file: Path) -> None:
    """Draw all rungs' curves in one picture, a PNG: accuracy, loss, and how far gradients reach down a network.

    The last is the Euclidean norm of the gradient of each layer's weights, at the end of the first epoch and of the
    last, in the first run of a rung. Where a network does not learn, its layers near the input get next to none, or far
    too much. A rung that was fitted without epochs has no curves.

    Raises:
        LandmarkError: the file can't be written.
    """
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(13, 8), layout="constrained")
    (accuracy, loss), (first, last) = figure.subplots(2, 2)
    drawn = [rung for rung in rungs if all(map(_epochs, rung.runs))]
    colors = matplotlib.colormaps["tab10"] if len(drawn) <= 10 else matplotlib.colormaps["turbo"].resampled(len(drawn))
    curves = []
    for index, rung in enumerate(drawn):
        color = colors(index)
        curves += accuracy.plot(*rung.over_epochs(lambda line: 100 * line["val_top1"]), color=color)
        loss.plot(*rung.over_epochs(lambda line: line["train_loss"]), color=color)
        loss.plot(*rung.over_epochs(lambda line: line["val_loss"]), linestyle="--", color=color)
        lines = _epochs(rung.runs[0])
        layers = list(lines[-1].get("gradient_norms", ()))
        _draw_norms(first, layers, lines[0], color)
        _draw_norms(last, layers, lines[-1], color)
    for axes in (accuracy, loss, first, last):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
    accuracy.set(title="Validation accuracy, %", xlabel="epoch")
    loss.set(title="Loss: training (solid), validation (dashed)", xlabel="epoch")
    first.set(title="Gradient norm by layer, first epoch", xlabel="trained layer, from the input on")
    last.set(title="Gradient norm by layer, last epoch", xlabel="trained layer, from the input on")
    if curves:
        for text in accuracy.legend(curves, [for_terminal(rung.name) for rung in drawn]).get_texts():
            text.set_parse_math(False)  # a folder's name is no formula
    try:
        with atomic_path(file) as scratch:
            figure.savefig(scratch, dpi=100, format="png")
    except OSError as error:
        raise LandmarkError(f"{file} can't be written: {reason(error)}.") from None


def _epochs(run: RunFolder) -> list[dict[str, Any]]:
    """The lines of its metrics that are an epoch's; none where a head was fitted on cached features."""
    return [line for line in run.metrics() if "epoch" in line and "val_top1" in line]


def _draw_norms(axes: "Axes", layers: Sequence[str], line: dict[str, Any], color: Any) -> None:
    """The norms in a line of metrics, each at its layer's place; zero has none on a logarithmic axis."""
    norms = line.get("gradient_norms", {})
    points = [(place, norms[name]) for place, name in enumerate(layers, start=1) if norms.get(name, 0) > 0]
    if points:
        axes.semilogy(*zip(*points, strict=True), marker="o", color=color)


def _spread(values: Sequence[float]) -> str:
    mean = f"{statistics.mean(values):.2f}"
    return mean if len(values) == 1 else f"{mean} ({min(values):.2f} to {max(values):.2f})"

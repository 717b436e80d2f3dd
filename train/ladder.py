"""Runs that build on one another, rung by rung: what each ingredient gives, as a table and as a picture.

python -m train.report ladder runs/1-baseline-seed0 runs/1-baseline-seed1 runs/2-batchnorm-seed0 --output ladder.png
"""

import re
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from landmark_models.errors import LandmarkError
from landmark_models.files import beside
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
    """Runs of one recipe, which differ in their seed alone, with what each measured on the test split."""

    runs: tuple[RunFolder, ...]
    tests: tuple[dict[str, Any], ...]

    @property
    def name(self) -> str:
        """The name of the first one's folder, without its seed."""
        return re.sub(r"[-_.]seed[-_]?\d+$", "", self.runs[0].path.resolve().name)

    def over_epochs(self, value: Callable[[dict[str, Any]], float]) -> tuple[list[int], list[float]]:
        """The epochs that all its runs have, and the mean of a figure in each."""
        histories = [[line for line in run.metrics() if "epoch" in line and "val_top1" in line] for run in self.runs]
        lines = list(zip(*histories, strict=False))
        return [line[0]["epoch"] for line in lines], [statistics.mean(map(value, line)) for line in lines]


def find_rungs(runs: Sequence[Path]) -> list[Rung]:
    """The runs, those of one recipe together, in the order in which they are named.

    Raises:
        LandmarkError: one is no run, has not been evaluated on its test split, or on other photos than the rest.
    """
    rungs: dict[str, Rung] = {}
    digests = set()
    for path in runs:
        run = RunFolder(path)
        test = run.measured()
        digests.add(test["digest"])
        recipe = repr(replace(Recipe.read(run.recipe), seed=0))
        before = rungs.get(recipe, Rung((), ()))
        rungs[recipe] = Rung((*before.runs, run), (*before.tests, test))
    if len(digests) > 1:
        raise LandmarkError("These runs were tested on different photos, so they make no ladder.")
    return list(rungs.values())


def ladder(rungs: Sequence[Rung]) -> str:
    """A Markdown table with a row for each rung: test figures and time, means over its runs with their range."""
    header = ["rung", "seeds", *(f"{name}, %" for name in _FIGURES), "epochs", "time"]
    lines = [header, ["---"] * len(header)]
    for rung in rungs:
        seconds = [run.metrics()[-1]["seconds"] for run in rung.runs]
        device = rung.runs[0].environment()["device"]
        epochs, _ = rung.over_epochs(lambda line: line["val_top1"])
        lines.append(
            [
                for_markdown(rung.name),
                str(len(rung.runs)),
                *(_spread([100 * test[key] for test in rung.tests]) for key in _FIGURES.values()),
                str(len(epochs) or "-"),
                f"{duration(statistics.mean(seconds))}, {device}",
            ]
        )
    n, data = rungs[0].tests[0]["n"], rungs[0].tests[0]["data"]
    table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    note = f"On the {n:,} test photos of {for_markdown(data)}, one crop; means over the seeds, with their range."
    return f"{table}\n\n{note}\n"


def draw_ladder(rungs: Sequence[Rung], file: Path) -> None:
    """Draw all rungs' curves in one picture, a PNG: accuracy, loss, and how far gradients reach down a network.

    The last is the Euclidean norm of the gradient of each layer's weights, at the end of the first epoch and of the
    last. Where a network does not learn, its layers near the input get next to none, or far too much.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(13, 8), layout="constrained")
    (accuracy, loss), (first, last) = figure.subplots(2, 2)
    for index, rung in enumerate(rungs):
        style: dict[str, Any] = {"label": for_terminal(rung.name), "color": f"C{index}"}
        epochs, top1 = rung.over_epochs(lambda line: 100 * line["val_top1"])
        accuracy.plot(epochs, top1, **style)
        loss.plot(*rung.over_epochs(lambda line: line["train_loss"]), **style)
        loss.plot(*rung.over_epochs(lambda line: line["val_loss"]), linestyle="--", color=f"C{index}")
        lines = rung.runs[0].metrics()
        _draw_norms(first, lines[0].get("gradient_norms"), style)
        _draw_norms(last, lines[-1].get("gradient_norms"), style)
    for axes in (accuracy, loss):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    accuracy.set(title="Validation accuracy, %", xlabel="epoch")
    loss.set(title="Loss: training (solid), validation (dashed)", xlabel="epoch")
    first.set(title="Gradient norm by layer, first epoch", xlabel="layer, from the input on")
    last.set(title="Gradient norm by layer, last epoch", xlabel="layer, from the input on")
    accuracy.legend()
    for axes in (accuracy, loss, first, last):
        axes.grid(alpha=0.3)
    with beside(file) as scratch:
        figure.savefig(scratch, dpi=100, format="png")


def _draw_norms(axes: "Axes", norms: dict[str, float] | None, style: dict[str, Any]) -> None:
    if norms and any(norm > 0 for norm in norms.values()):
        axes.semilogy(range(1, len(norms) + 1), list(norms.values()), marker="o", **style)


def _spread(values: Sequence[float]) -> str:
    mean = f"{statistics.mean(values):.2f}"
    return mean if len(values) == 1 else f"{mean} ({min(values):.2f} to {max(values):.2f})"

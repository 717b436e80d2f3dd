"""Training curves: of one run, of a linear probe's search, of all the rungs of a ladder."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from landmark_models.text import for_terminal
from train.draw.output import figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_Lines = Sequence[Mapping[str, Any]]  # of metrics.jsonl
_FEW_EPOCHS = 12  # so few that each is marked; a single one would be no line at all


def draw_curves(lines: _Lines, file: Path, training: str = "training", validation: str = "validation photos") -> None:
    """Draw loss, accuracy and learning rate over the epochs, as a PNG; the last two arguments say of what."""
    from matplotlib.ticker import MaxNLocator

    best = max(lines, key=lambda line: line["val_top1"])
    with figure(file, 13, 3.8) as drawing:
        loss, accuracy, rate = drawing.subplots(1, 3)
        marker = "o" if len(lines) <= _FEW_EPOCHS else ""
        _plot_learning(lines, "epoch", loss, accuracy, marker, (training, validation))
        _mark(accuracy, best["epoch"])
        accuracy.set_title(f"Best: {100 * best['val_top1']:.1f}% in epoch {best['epoch']}")
        epochs = [line["epoch"] for line in lines]
        rate.plot(epochs, [line["learning_rate"] for line in lines], color="C2", marker=marker)
        rate.set(title="Learning rate", xlabel="epoch", ylabel="learning rate at the end of the epoch")
        rate.grid(alpha=0.3)
        for axes in (loss, accuracy, rate):
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


def draw_penalties(lines: _Lines, file: Path) -> None:
    """Draw loss and validation accuracy at each strength of regularisation that a linear probe tried, as a PNG."""
    best = min((line for line in lines if line["converged"]), key=lambda line: line["val_loss"])
    with figure(file, 10, 3.8) as drawing:
        loss, accuracy = drawing.subplots(1, 2)
        photos = ("training", "validation photos")
        _plot_learning(lines, "penalty", loss, accuracy, "o", photos, "strength of regularisation (L2 penalty)")
        accuracy.set_title(f"Chosen: {best['penalty']:.2g}, with {100 * best['val_top1']:.1f}%")
        for axes in (loss, accuracy):
            _mark(axes, best["penalty"])
            axes.set_xscale("log")


def _mark(axes: "Axes", place: float) -> None:
    axes.axvline(place, color="grey", linewidth=0.8, linestyle="--")


def _plot_learning(
    lines: _Lines,
    over: str,
    loss: "Axes",
    accuracy: "Axes",
    marker: str,
    photos: tuple[str, str],
    title: str | None = None,
) -> None:
    """Plot loss and accuracy over a quantity, on training and validation `photos` as these words say."""
    places = [line[over] for line in lines]
    loss.plot(places, [line["train_loss"] for line in lines], marker=marker, label=photos[0])
    loss.plot(places, [line["val_loss"] for line in lines], marker=marker, label=photos[1])
    loss.set(title="Loss", xlabel=title or over, ylabel="mean cross entropy")
    loss.legend(fontsize="small")
    accuracy.plot(places, [100 * line["val_top1"] for line in lines], marker=marker, color="C1")
    accuracy.set(xlabel=title or over, ylabel=f"top-1, % of the {photos[1]}")
    for axes in (loss, accuracy):
        axes.grid(alpha=0.3)


class RungCurves(NamedTuple):
    """The curves of one rung: means over its runs for each of the `epochs`.

    `first_norms` and `last_norms` are each layer's gradient norm, from the input on, in the first and the last epoch.
    """

    name: str
    epochs: Sequence[int]
    val_top1: Sequence[float]
    train_loss: Sequence[float]
    val_loss: Sequence[float]
    first_norms: Sequence[float]
    last_norms: Sequence[float]


def draw_ladder(rungs: Sequence[RungCurves], file: Path) -> None:
    """Draw the curves of all rungs as one PNG: accuracy, loss, and the gradient norm of each layer.

    Where a network doesn't learn, the layers near its input get almost no gradient, or far too much.
    """
    import matplotlib
    from matplotlib.ticker import MaxNLocator

    colors = matplotlib.colormaps["tab10"] if len(rungs) <= 10 else matplotlib.colormaps["turbo"].resampled(len(rungs))
    with figure(file, 13, 8) as drawing:
        (accuracy, loss), (first, last) = drawing.subplots(2, 2)
        for index, rung in enumerate(rungs):
            color = colors(index)
            accuracy.plot(rung.epochs, [100 * value for value in rung.val_top1], color=color)
            loss.plot(rung.epochs, rung.train_loss, color=color)
            loss.plot(rung.epochs, rung.val_loss, linestyle="--", color=color)
            for axes, norms in ((first, rung.first_norms), (last, rung.last_norms)):
                points = [(place, norm) for place, norm in enumerate(norms, 1) if norm > 0]  # the axis is logarithmic
                if points:
                    axes.semilogy(*zip(*points, strict=True), marker="o", color=color)
        for axes in (accuracy, loss, first, last):
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.grid(alpha=0.3)
        accuracy.set(title="Validation accuracy, %", xlabel="epoch")
        loss.set(title="Loss: training (solid), validation (dashed)", xlabel="epoch")
        first.set(title="Gradient norm by layer, first epoch", xlabel="trained layer, from the input on")
        last.set(title="Gradient norm by layer, last epoch", xlabel="trained layer, from the input on")
        if rungs:
            for text in accuracy.legend(accuracy.lines, [for_terminal(rung.name) for rung in rungs]).get_texts():
                text.set_parse_math(False)  # a folder's name isn't a formula

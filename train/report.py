"""Tables over several runs and comparisons of two, from what the runs themselves have left.

python -m train.report table runs/small runs/large --into README.md
python -m train.report ladder runs/1-baseline runs/2-batchnorm --output ladder.png
python -m train.report compare runs/small runs/large
"""

import csv
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from scipy.stats import binomtest
from torch.utils.flop_counter import FlopCounterMode

from landmark_models import models
from landmark_models.errors import LandmarkError, reason, run_command
from landmark_models.files import write_text
from train.measure.ladder import draw_ladder, find_rungs, ladder
from train.run import RunFolder, duration

__all__ = ["compare", "table"]

_HEADER = (
    "model", "parameters, M", "GFLOPs", "input, px", "weights from", "test top-1, % (95 % interval)", "macro F1, %",
    "trained in", "photos/s",
)  # fmt: skip


def table(runs: Sequence[Path]) -> str:
    """A Markdown table with a row for each run, the best first, from the run's model, metrics and test figures.

    GFLOPs are floating-point operations of one photo, a multiplication and an addition counting two.

    Raises:
        LandmarkError: a folder is no run, has not been evaluated on its test split, or on other photos than the rest.
    """
    rows = [_row(RunFolder(run)) for run in runs]
    if len({digest for _, digest, _ in rows}) > 1:
        names = "; ".join(f"{run}: {n_and_data}" for run, (_, _, n_and_data) in zip(runs, rows, strict=True))
        raise LandmarkError(f"These runs were tested on different photos, so they make no table: {names}.")
    cells = sorted((row for row, _, _ in rows), key=lambda row: -float(row[5].split()[0]))
    lines = [_HEADER, ["---"] * len(_HEADER), *cells]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def compare(run_a: Path, run_b: Path) -> dict[str, Any]:
    """Whether two runs differ by more than chance on the same test photos: the exact McNemar test (1947).

    Returns:
        `n` photos, right in `both`, `neither`, `only_a`, `only_b`, and the two-sided `p`.

    Raises:
        LandmarkError: a run was not evaluated on its test split, or they were on other photos.
    """
    tables, digests = [], []
    for run in map(RunFolder, (run_a, run_b)):
        digests.append(run.measured()["digest"])
        file = run.test.with_name("predictions.csv")
        if not file.is_file():
            raise LandmarkError(f"{run.path} has no {file.name} of its test photos; run train.evaluate on it again.")
        with file.open(newline="", encoding="utf-8") as rows:
            tables.append({row["path"]: row["label"] == row["named"] for row in csv.DictReader(rows)})
    a, b = tables
    if digests[0] != digests[1] or a.keys() != b.keys():
        raise LandmarkError(f"{run_a} and {run_b} were not evaluated on the same photos, so they can't be compared.")
    counts = Counter((a[path], b[path]) for path in a)
    only_a, only_b = counts[True, False], counts[False, True]
    p = binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0
    return {
        "n": len(a), "both": counts[True, True], "neither": counts[False, False], "only_a": only_a, "only_b": only_b,
        "p": float(p),
    }  # fmt: skip


def _row(run: RunFolder) -> tuple[list[str], str, str]:
    """The cells of a run's row, the digest of its test photos, and what these are in words."""
    test, environment = run.measured(), run.environment()
    model = models.load(run.path)
    parameters = sum(parameter.numel() for parameter in model.network.parameters())
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        model.network(torch.zeros(1, *model.pretrained_cfg["input_size"]))
    low, high = (100 * bound for bound in test["top1_ci95"])
    origin = model.landmark.get("weights_from", "")
    if teacher := model.landmark.get("teacher"):
        origin += f"; taught by {teacher}"
    cells = [
        run.path.resolve().name,
        f"{parameters / 1e6:.2f}",
        f"{counter.get_total_flops() / 1e9:.2f}",
        str(model.pretrained_cfg["input_size"][-1]),
        origin,
        f"{100 * test['top1']:.2f} ({low:.2f} to {high:.2f})",
        f"{100 * test['macro_f1']:.2f}",
        f"{duration(run.seconds())}, {environment['device']}",
        f"{test['photos_per_second']:.0f}",
    ]
    return cells, test["digest"], f"{test['n']} of {test['data']}"


def _put_into(file: Path, text: str, name: str) -> None:
    """Replace what stands in a Markdown file between the two marks of this name."""
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


app = typer.Typer(no_args_is_help=True, add_completion=False)


@app.callback()
def main() -> None:
    """Tables over several runs, from what the runs themselves have left."""


@app.command("table")
def table_command(
    runs: Annotated[list[Path], typer.Argument(help="Run folders, each evaluated on its test split.")],
    into: Annotated[
        Path | None, typer.Option(help="Markdown file with the marks that the table is put between.")
    ] = None,
) -> None:
    """A Markdown table of the runs: size, cost, accuracy with its interval, training time, speed."""
    text = table(runs)
    if into:
        _put_into(into, text, "results")
    print(text, end="")


@app.command("ladder")
def ladder_command(
    runs: Annotated[
        list[Path],
        typer.Argument(help="Run folders, rung by rung; those that differ in their seed alone are averaged."),
    ],
    output: Annotated[Path | None, typer.Option(help="PNG file for all rungs' curves.")] = None,
    into: Annotated[
        Path | None, typer.Option(help="Markdown file with the marks that the table is put between.")
    ] = None,
) -> None:
    """What each ingredient gives: a Markdown table of rungs, and their curves in one picture."""
    rungs = find_rungs(runs)
    text = ladder(rungs)
    if output:
        draw_ladder(rungs, output)
    if into:
        _put_into(into, text, "ladder")
    print(text, end="")


@app.command("compare")
def compare_command(
    run_a: Annotated[Path, typer.Argument(help="A run, evaluated on its test split.")],
    run_b: Annotated[Path, typer.Argument(help="Another, on the same photos.")],
) -> None:
    """Say whether one of two runs is better by more than chance (McNemar's exact test)."""
    found = compare(run_a, run_b)
    right = [found["both"] + found[only] for only in ("only_a", "only_b")]
    for run, count in zip((run_a, run_b), right, strict=True):
        typer.echo(f"{run}: right on {count} of {found['n']} photos ({count / found['n']:.2%})")
    typer.echo(
        f"Only the first is right on {found['only_a']}, only the second on {found['only_b']}; p = {found['p']:.2g}."
    )
    better = run_a if right[0] > right[1] else run_b
    typer.echo(f"{better} is better by more than chance." if found["p"] < 0.05 else "That may well be chance.")


if __name__ == "__main__":
    run_command(app)

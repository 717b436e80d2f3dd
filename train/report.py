"""Tables of several runs and comparisons of two, from what the runs have recorded.

python -m train.report table runs/small runs/large --into README.md
python -m train.report ladder runs/1-baseline runs/2-batchnorm --output ladder.png
python -m train.report compare runs/small runs/large
"""

from pathlib import Path
from typing import Annotated

import typer

from landmark_models.errors import run_command

app = typer.Typer(
    help="Tables of several runs and comparisons of two, from what the runs have recorded.",
    no_args_is_help=True,
    add_completion=False,
)

_Into = Annotated[Path | None, typer.Option(help="Markdown file with the marks to put the table between.")]


@app.command("table")
def table_command(
    runs: Annotated[list[Path], typer.Argument(help="Run folders, each evaluated on its test split.")],
    into: _Into = None,
) -> None:
    """A Markdown table of the runs: size, cost, accuracy with its interval, training time, speed."""
    from train.measure.comparison import table

    _show(table(runs), into, "results")


@app.command("ladder")
def ladder_command(
    runs: Annotated[
        list[Path], typer.Argument(help="Run folders, rung by rung; runs that differ only in their seed are averaged.")
    ],
    output: Annotated[Path | None, typer.Option(help="PNG file for the curves of all rungs.")] = None,
    into: _Into = None,
) -> None:
    """What each ingredient gains: a Markdown table of the rungs, and their curves in one picture."""
    from train.measure.comparison import draw_rungs, find_rungs, ladder

    rungs = find_rungs(runs)
    text = ladder(rungs)
    if output:
        draw_rungs(rungs, output)
    _show(text, into, "ladder")


@app.command("compare")
def compare_command(
    run_a: Annotated[Path, typer.Argument(help="A run, evaluated on its test split.")],
    run_b: Annotated[Path, typer.Argument(help="Another run, evaluated on the same photos.")],
) -> None:
    """Say whether one of two runs is better by more than chance (McNemar's exact test)."""
    from train.measure.comparison import compare

    counts = compare(run_a, run_b)
    right = [counts["both"] + counts[only] for only in ("only_a", "only_b")]
    for run, count in zip((run_a, run_b), right, strict=True):
        typer.echo(f"{run}: right on {count} of {counts['n']} photos ({count / counts['n']:.2%})")
    typer.echo(
        f"Only the first is right on {counts['only_a']}, only the second on {counts['only_b']}; p = {counts['p']:.2g}."
    )
    better = run_a if right[0] > right[1] else run_b
    typer.echo(f"{better} is better by more than chance." if counts["p"] < 0.05 else "That may well be chance.")


def _show(text: str, into: Path | None, name: str) -> None:
    from train.measure.comparison import put_between_marks

    if into:
        put_between_marks(into, text, name)
    print(text, end="")


if __name__ == "__main__":
    run_command(app)

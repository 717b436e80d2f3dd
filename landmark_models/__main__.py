"""The command line: `python -m landmark_models predict PHOTO...` and `python -m landmark_models info`."""

import json
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from landmark_models.classifier import LandmarkClassifier
from landmark_models.errors import PhotoError, run_command
from landmark_models.text import for_terminal

app = typer.Typer(
    help="Tell which landmark is in a photo.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

ModelOption = Annotated[
    str, typer.Option("--model", help="default, a model or run folder, or hf-hub:owner/name\\[@revision].")
]


@app.command()
def predict(
    photos: Annotated[list[str], typer.Argument(help="Photos to recognise.", metavar="PHOTO...", show_default=False)],
    model: ModelOption = "default",
    top_k: Annotated[int, typer.Option("-k", "--top-k", min=1, help="Candidates for each photo.")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON array instead of a table.")] = False,
) -> None:
    """Name the landmark in each photo. The exit status is 1 where a photo could not be read."""
    answers = list(zip(photos, LandmarkClassifier.load(model).predict_many(photos, top_k), strict=True))
    if as_json:
        records = [
            {
                "path": path,
                "predictions": [] if isinstance(answer, PhotoError) else [vars(candidate) for candidate in answer],
                "known": None if isinstance(answer, PhotoError) else answer.known,
                "error": str(answer) if isinstance(answer, PhotoError) else None,
            }
            for path, answer in answers
        ]
        typer.echo(json.dumps(records, indent=2, ensure_ascii=True))
    else:
        table = Table("photo", "landmark", "sure")
        for path, answer in answers:
            if isinstance(answer, PhotoError):
                table.add_row(_plain(path), _plain(str(answer)), "-", style="red", end_section=True)
                continue
            for rank, candidate in enumerate(answer):
                last = rank == len(answer) - 1
                name = "" if rank else _plain(path)
                label = _plain(candidate.label) if answer.known else f"[dim]not known; {_plain(candidate.label)}?[/dim]"
                table.add_row(name, label, f"{candidate.score:.1%}", end_section=last)
        Console().print(table)
    if any(isinstance(answer, PhotoError) for _, answer in answers):
        raise typer.Exit(1)


@app.command()
def info(model: ModelOption = "default") -> None:
    """Say what a model is, how accurate it was measured to be, and which landmarks it knows."""
    classifier = LandmarkClassifier.load(model)
    parameters = sum(parameter.numel() for parameter in classifier.network.parameters())
    typer.echo(f"{classifier.source}: {classifier.config['architecture']}, {parameters / 1e6:.2f} M parameters")
    if test := classifier.landmark.get("test"):
        low, high = test["top1_ci95"]
        interval = f"95 % interval {low:.1%} to {high:.1%}, n = {test['n']}, {test['data']}"
        typer.echo(f"test top-1 {test['top1']:.1%} ({interval})")
    else:
        typer.echo("no test figure")
    typer.echo(f"{len(classifier.labels)} landmarks: " + ", ".join(map(for_terminal, classifier.labels)))


def _plain(text: str) -> str:
    """A stranger's text for a rich table: neither control characters nor markup are obeyed."""
    return escape(for_terminal(text))


if __name__ == "__main__":
    run_command(app)

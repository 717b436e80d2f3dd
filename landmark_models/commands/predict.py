"""Name the landmark in each photo."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from landmark_models.commands.options import Model, With
from landmark_models.errors import PhotoError
from landmark_models.text import SCORE_NOTE, for_terminal, percent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from landmark_models.tagging.tags import Tags

_MIN_WIDTH = 40  # characters of a table


def predict(
    photos: Annotated[list[str], typer.Argument(help="Photos to recognise.", metavar="PHOTO", show_default=False)],
    model: Model = "default",
    taught: With = None,
    top_k: Annotated[int, typer.Option("-k", "--top-k", min=1, help="Candidates for each photo.")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON array instead of a table.")] = False,
) -> None:
    """Name the landmark in each photo. The exit status is 1 if a photo can't be read."""
    from landmark_models.classifier import LandmarkClassifier
    from landmark_models.tagging.tags import Tags
    from landmark_models.teaching import load_addon

    classifier = LandmarkClassifier.load(model, engine="cached").with_taught(*map(load_addon, taught or ()))
    answers = [
        answer if isinstance(answer, PhotoError) else Tags.of(answer)
        for answer in classifier.predict_many(photos, top_k)
    ]
    if as_json:
        records: list[dict[str, Any]] = [
            {
                "path": _in_json(path), "predictions": [], "known": None, "reason": None,
                "error": str(tags).replace(path, _in_json(path)),
            }
            if isinstance(tags, PhotoError)
            else {
                "path": _in_json(path), "predictions": list(map(vars, tags.predictions)), "known": tags.known,
                "reason": tags.reason, "error": None,
            }
            for path, tags in zip(photos, answers, strict=True)
        ]  # fmt: skip
        typer.echo(json.dumps(records, indent=2, ensure_ascii=True))
    else:
        _print_table(photos, answers)
    if any(isinstance(tags, PhotoError) for tags in answers):
        raise typer.Exit(1)


def _in_json(path: str) -> str:
    """A path as given, but as a `file:` URI if its bytes aren't UTF-8: many readers refuse JSON that holds them."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return Path(path).absolute().as_uri()
    return path


def _print_table(photos: list[str], answers: "Sequence[Tags | PhotoError]") -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Column, Table

    def plain(text: str) -> str:
        """A stranger's text: neither control characters nor markup in it take effect."""
        return escape(for_terminal(text))

    # When piped, a table is 80 characters wide; a path that doesn't fit continues on the next line.
    table = Table(Column("photo", overflow="fold"), Column("landmark", overflow="fold"), Column("score", no_wrap=True))
    for path, tags in zip(photos, answers, strict=True):
        if isinstance(tags, PhotoError):
            table.add_row(plain(path), plain(str(tags)), "-", style="red", end_section=True)
            continue
        scores = tags.named(len(tags.predictions))
        for rank, (name, score) in enumerate(scores.items()):
            text = plain(name)
            if not tags.known:
                why = plain(tags.statement) if tags.contradicted else f"nearest: {text}"
                text = f"[dim]{text if rank else f'not recognised ({why})'}[/dim]"
            table.add_row("" if rank else plain(path), text, percent(score, 1), end_section=rank == len(scores) - 1)
    console = Console()
    console.width = max(console.width, _MIN_WIDTH)  # below that, rich leaves out the text
    console.print(table)
    if any(not isinstance(tags, PhotoError) and not (tags.known or tags.contradicted) for tags in answers):
        console.print(SCORE_NOTE)

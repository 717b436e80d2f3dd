"""Publish a run's best model on the Hugging Face Hub, with a card made from its measured figures.

python -m train.publish runs/first --repo-id you/landmarks
python -m train.publish runs/first --repo-id you/landmarks --space you/which-landmark
"""

import shutil
from pathlib import Path
from typing import Annotated

import typer

from landmark_models.errors import LandmarkError, run_command


def command(
    run: Annotated[Path, typer.Argument(help="A run folder, evaluated on its test split.")],
    repo_id: Annotated[str, typer.Option(help="Where to publish it on the Hub: owner/name.")],
    private: Annotated[bool, typer.Option("--private", help="Create the repository as private.")] = False,
    space: Annotated[
        str | None, typer.Option(help="Also create, or update, a Space with the page that serves it: owner/name.")
    ] = None,
    examples: Annotated[
        Path | None, typer.Option(help="Folder of photos to show, with credits.csv of the columns file and credit.")
    ] = None,
    licence: Annotated[
        str, typer.Option("--license", help="Licence of the weights, as the Hub abbreviates it, e.g. apache-2.0.")
    ] = "unknown",
    base_model: Annotated[
        str | None, typer.Option(help="Model on the Hub that training started from, if its weights came from a file.")
    ] = None,
    allow_unevaluated: Annotated[
        bool, typer.Option("--allow-unevaluated", help="Publish without test figures; the card says so.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Write what would be uploaded; upload nothing.")] = False,
    output: Annotated[Path | None, typer.Option(help="New folder for the dry run.", show_default="RUN/publish")] = None,
) -> None:
    """Publish a run's best model on the Hugging Face Hub, with a card made from its measured figures.

    Log in with `hf auth login`, or set HF_TOKEN. Nothing is committed if nothing has changed.
    """
    if output and not dry_run:
        raise LandmarkError("--output is where --dry-run writes; add --dry-run, or leave it out.")
    target = (output or run / "publish") if dry_run else None
    if target and not output and target.is_dir() and {entry.name for entry in target.iterdir()} <= {"model", "space"}:
        shutil.rmtree(target)  # the last dry run's

    from train.hub.publishing import publish

    publish(
        run,
        repo_id,
        private=private,
        space=space,
        examples=examples,
        licence=licence,
        base_model=base_model,
        allow_unevaluated=allow_unevaluated,
        dry_run=target,
    )


if __name__ == "__main__":
    run_command(lambda: typer.run(command))

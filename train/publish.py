"""Publish a run's best model, or taught landmarks, on the Hugging Face Hub, with a card.

python -m train.publish runs/first --repo-id you/landmarks
python -m train.publish runs/first --repo-id you/landmarks --space you/which-landmark
python -m train.publish mine.landmarks.safetensors --repo-id you/town-halls
"""

from pathlib import Path
from typing import Annotated

import typer

from landmark_models.errors import LandmarkError, run_command


def command(
    run: Annotated[
        Path,
        typer.Argument(
            metavar="RUN",
            help="A run folder, evaluated on its test split; or a file of taught landmarks, *.landmarks.safetensors.",
        ),
    ],
    repo_id: Annotated[str, typer.Option(help="Where to publish it on the Hub: owner/name.")],
    private: Annotated[bool, typer.Option("--private", help="Create the repository as private.")] = False,
    space: Annotated[
        str | None,
        typer.Option(help="Also create a Space on ZeroGPU with the page that serves it, or update one: owner/name."),
    ] = None,
    examples: Annotated[
        Path | None, typer.Option(help="Folder of photos to show, with credits.csv of the columns file and credit.")
    ] = None,
    licence: Annotated[
        str | None,
        typer.Option(
            "--license",
            help="Licence of the weights, as the Hub abbreviates it, e.g. apache-2.0.",
            show_default="what the card on the Hub says, else unknown",
        ),
    ] = None,
    base_model: Annotated[
        str | None,
        typer.Option(
            help="Model on the Hub that training started from, if its weights came from a file.",
            show_default="what the card on the Hub says",
        ),
    ] = None,
    allow_unevaluated: Annotated[
        bool, typer.Option("--allow-unevaluated", help="Publish without test figures; the card says so.")
    ] = False,
    new_version_of: Annotated[
        str | None,
        typer.Option(help="Older model of yours on the Hub, owner/name, whose page is to point to this one."),
    ] = None,
    measured: Annotated[
        Path | None,
        typer.Option(help="For taught landmarks: the metrics.json of `train.evaluate --with` this file, for the card."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Write what would be uploaded; upload nothing.")] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            help="Folder for the dry run: a new one, or an earlier dry run's.",
            show_default="RUN/publish, or FILE-publish",
        ),
    ] = None,
) -> None:
    """Publish a run's best model, or taught landmarks, on the Hugging Face Hub, with a card.

    Log in with `hf auth login`, or set HF_TOKEN. Nothing is committed if nothing has changed.
    """
    if output and not dry_run:
        raise LandmarkError("--output is where --dry-run writes; add --dry-run, or leave it out.")
    is_addon = run.suffix == ".safetensors"
    own = run.with_name(f"{run.name.partition('.')[0]}-publish") if is_addon else run / "publish"
    target = (output or own) if dry_run else None
    if is_addon:
        if space or examples or allow_unevaluated or new_version_of:
            raise LandmarkError(
                "--space, --examples, --allow-unevaluated and --new-version-of are for runs, not for taught landmarks."
            )

        from train.hub.addons import publish_addon

        publish_addon(
            run, repo_id, private=private, licence=licence, base_model=base_model, measured=measured, dry_run=target
        )
        return
    if measured:
        raise LandmarkError("--measured is for taught landmarks; a run has its own figures.")

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
        new_version_of=new_version_of,
        dry_run=target,
    )


if __name__ == "__main__":
    run_command(lambda: typer.run(command))

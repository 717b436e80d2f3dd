"""The commands `python -m train.data download`, `scan`, `halves` and `upload`."""

import json
import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from landmark_models.errors import LandmarkError, run_command

if TYPE_CHECKING:
    from train.data.scan import Scan

app = typer.Typer(
    help="Download photos to train on, check them, split those to measure with, and publish them as a dataset.",
    no_args_is_help=True,
    add_completion=False,
)
_SHOWN = 10


@app.command()
def download(
    name: Annotated[str, typer.Argument(help="Which dataset: udacity.")],
    output: Annotated[Path, typer.Option(help="Folder to create, with train/ and test/ in it.")],
    url: Annotated[str | None, typer.Option(help="Download the archive from this URL instead, e.g. a mirror.")] = None,
) -> None:
    """Download a published dataset. If it is interrupted, run the same command again to resume."""
    from train.data.download import download, find_source

    source = find_source(name, url)
    download(source, output)
    print(f"{output}: " + ", ".join(f"{count} {split} photos" for split, count in source.counts.items()))


@app.command()
def scan(
    data: Annotated[
        Path,
        typer.Argument(
            help="Folder with train/, val/, test/ of CLASS/*, or of bare CLASS/*; hf:owner/name; torch/NAME."
        ),
    ],
    model: Annotated[str, typer.Option(help="MODEL whose features tell which photos look mislabelled.")] = "default",
    min_side: Annotated[int, typer.Option(min=1, help="A photo whose shorter side is below this is tiny, px.")] = 64,
    fix: Annotated[Path | None, typer.Option(help="Folder for exclude.txt (what to leave out) and scan.json.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Find unreadable, tiny, duplicate, leaking and mislabelled-looking photos. Nothing is changed."""
    from train.data import check_output, print_left_out
    from train.data.scan import scan

    if fix:
        check_output(fix, data)
    result = scan(data, model, min_side)
    listed = result.write_fix(fix) if fix else None
    if as_json:
        print(json.dumps(result.as_json(), indent=1))
        return
    _print_tables(result)
    print_left_out(data, Counter(result.left_out))
    if listed:
        print(
            f"{listed} lists {len(result.exclusions())} photos to leave out. Read it, delete the lines of photos to "
            f"keep, then pass it to train.fit and train.evaluate: --exclude {listed}"
        )


@app.command()
def halves(
    folder: Annotated[Path, typer.Argument(help="Folder of CLASS/* or KIND/*, with a sources.csv (file, repository).")],
    output: Annotated[Path, typer.Option(help="Folder to create, with links in choose/ and report/.")],
    seed: Annotated[int, typer.Option(help="Seed of the split.")] = 0,
) -> None:
    """Split photos by repository into two halves: one to choose a model or a rule on, one to report on."""
    from train.data.halves import HALVES, write_halves

    counts = write_halves(folder, output, seed)
    print(f"{output}: " + ", ".join(f"{counts.get(half, 0)} photos in {half}/" for half in HALVES))


@app.command()
def upload(
    folder: Annotated[Path, typer.Argument(help="Folder with train/, val/, test/ of CLASS/*, or of bare CLASS/*.")],
    repo_id: Annotated[str, typer.Option(help="Where to publish it on the Hub: owner/name.")],
    private: Annotated[bool, typer.Option("--private", help="Create the repository as private.")] = False,
    licence: Annotated[
        str | None,
        typer.Option(
            "--license",
            help="Licence of the photos, as the Hub abbreviates it, e.g. cc-by-sa-4.0.",
            show_default="what the card on the Hub says, else unknown",
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Write what would be uploaded; upload nothing.")] = False,
    output: Annotated[
        Path | None,
        typer.Option(help="Folder for the dry run: a new one, or an earlier dry run's.", show_default="FOLDER-upload"),
    ] = None,
) -> None:
    """Publish photos as a dataset on the Hugging Face Hub, with splits, labels and a card: --data hf:owner/name.

    Log in with `hf auth login`, or set HF_TOKEN. Files are published as they are, with what cameras wrote into them.
    Of an existing dataset, data/ is replaced; other files stay, and so does the text of a card that somebody wrote.
    """
    if output and not dry_run:
        raise LandmarkError("--output is where --dry-run writes; add --dry-run, or leave it out.")

    from train.hub.dataset import upload_dataset

    target = (output or _beside(folder)) if dry_run else None
    upload_dataset(folder, repo_id, private=private, licence=licence, dry_run=target)


def _beside(data: Path) -> Path:
    """Where a dry run is written: beside the folder, or for a dataset with a name in the current folder."""
    if not data.is_dir():
        return Path(f"{re.split('[@:]', data.name)[0]}-upload")
    if data.name in ("", ".."):
        data = data.resolve()
    if not data.name:
        raise LandmarkError(f"{data} has no folder beside it for the dry run; name one with --output.")
    return data.with_name(f"{data.name}-upload")


def _print_tables(result: "Scan") -> None:
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from train.data.scan import KINDS

    console = Console()
    counts = Counter((finding.kind, finding.split) for finding in result.findings)
    total = sum(result.photos.values())
    table = Table("", *result.photos, "what it means", title=f"{escape(result.data)}: {total} photos")
    table.add_row("photos", *map(str, result.photos.values()), "")
    for kind, meaning in KINDS.items():
        table.add_row(kind, *(str(counts[kind, split]) for split in result.photos), meaning)
    console.print(table)
    for kind in KINDS:
        findings = [finding for finding in result.findings if finding.kind == kind]
        if not findings:
            continue
        table = Table(f"{kind} photo", "why", "left out", box=box.SIMPLE)
        table.columns[0].overflow = table.columns[1].overflow = "fold"
        for finding in findings[:_SHOWN]:
            table.add_row(escape(finding.path), escape(finding.detail), "yes" if finding.leave_out else "no")
        console.print(table)
        if len(findings) > _SHOWN:
            console.print(f"  ... and {len(findings) - _SHOWN} more; --json and --fix list them all.")


if __name__ == "__main__":
    run_command(app)

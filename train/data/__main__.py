"""The commands `python -m train.data download`, `scan` and `halves`."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from landmark_models.errors import run_command
from train.data.download import SOURCES, download
from train.data.errors import DataError
from train.data.folders import SPLITS
from train.data.halves import HALVES, write_halves
from train.data.scan import KINDS, Scan, scan

app = typer.Typer(no_args_is_help=True, add_completion=False)
_SHOWN = 10


@app.callback()
def main() -> None:
    """Fetch photos to train on, look for what is wrong in them, and split those to measure with."""


@app.command("download")
def download_command(
    name: Annotated[str, typer.Argument(help=f"Which set: {', '.join(SOURCES)}.")],
    output: Annotated[Path, typer.Option(help="Folder to make, with train/ and test/ in it.")],
    url: Annotated[str | None, typer.Option(help="Fetch the archive from this address instead, e.g. a mirror.")] = None,
) -> None:
    """Fetch a published set of photos. Stopped anywhere, the same command goes on."""
    if name not in SOURCES:
        raise DataError(f"There is no set {name!r}; there are: {', '.join(SOURCES)}.")
    source = replace(SOURCES[name], url=url) if url else SOURCES[name]
    download(source, output)
    print(f"{output}: " + ", ".join(f"{count} {split} photos" for split, count in source.counts.items()))


@app.command("scan")
def scan_command(
    data: Annotated[
        Path, typer.Argument(help="Folder with train/, val/, test/ of CLASS/*, or of bare CLASS/*; or torch/NAME.")
    ],
    model: Annotated[str, typer.Option(help="MODEL whose features tell what looks mislabelled.")] = "default",
    min_side: Annotated[int, typer.Option(min=1, help="A shorter side below this is tiny, px.")] = 64,
    fix: Annotated[Path | None, typer.Option(help="Folder for exclude.txt (what to leave out) and scan.json.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Look for unreadable, tiny, duplicate, leaking and mislabelled-looking photos. Nothing is changed."""
    result = scan(data, model, min_side)
    listed = result.write_fix(fix) if fix else None
    if as_json:
        print(json.dumps(result.as_json(), indent=1))
        return
    _print_tables(result)
    if listed:
        print(
            f"{len(result.exclusions())} photos to leave out are listed in {listed}. Read it, take lines away to keep "
            f"photos, then give it to train.fit and train.evaluate: --exclude {listed}"
        )


@app.command("halves")
def halves_command(
    folder: Annotated[Path, typer.Argument(help="Folder of CLASS/* or KIND/*, with a sources.csv (file, repository).")],
    output: Annotated[Path, typer.Option(help="Folder to make, with choose/ and report/ in it, of links.")],
    seed: Annotated[int, typer.Option(help="Another one deals the repositories out otherwise.")] = 0,
) -> None:
    """Split photos by repository into two halves: one to choose a model or a rule with, one to report on."""
    counts = write_halves(folder, output, seed)
    print(f"{output}: " + ", ".join(f"{counts.get(half, 0)} photos in {half}/" for half in HALVES))


def _print_tables(result: Scan) -> None:
    console = Console()
    found = Counter((finding.kind, finding.split) for finding in result.findings)
    splits = [split for split in SPLITS if split in result.photos]
    table = Table("", *splits, "what it means", title=f"{escape(result.data)}: {sum(result.photos.values())} photos")
    table.add_row("photos", *(str(result.photos[split]) for split in splits), "")
    for kind, meaning in KINDS.items():
        table.add_row(kind, *(str(found[kind, split]) for split in splits), meaning)
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
            console.print(f"  ... and {len(findings) - _SHOWN} more, which --json and --fix show.")


if __name__ == "__main__":
    run_command(app)

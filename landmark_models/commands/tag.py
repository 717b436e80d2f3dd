"""Tag a library of photos."""

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from landmark_models.commands.options import Model, With
from landmark_models.errors import LandmarkError
from landmark_models.text import for_terminal

if TYPE_CHECKING:
    from collections import Counter

    from landmark_models.library.rows import Summary
    from landmark_models.library.sidecars import Sidecars


def tag(
    sources: Annotated[
        list[str],
        typer.Argument(
            help="Folders, searched recursively; photos; text files of paths, one a line; or - for such a list on "
            "standard input.",
            metavar="FOLDER_OR_LIST",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path | None, typer.Option(help="File to write, .jsonl or .csv; an existing one is continued.")
    ] = None,
    model: Model = "default",
    taught: With = None,
    xmp: Annotated[bool, typer.Option("--xmp", help="Write an XMP sidecar beside each photo recognised.")] = False,
    xmp_dir: Annotated[Path | None, typer.Option(help="Write the sidecars under this folder instead.")] = None,
    merge: Annotated[
        bool,
        typer.Option("--merge", help="Merge into all existing sidecars, not only into Lightroom's PHOTO.xmp."),
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", hidden=True)] = False,  # what --merge was called at first
    undo: Annotated[
        bool, typer.Option("--undo", help="Take out of sidecars again what this command has written; tags nothing.")
    ] = False,
    min_confidence: Annotated[
        float, typer.Option(min=0, max=1, help="Below this probability, a landmark doesn't count as recognised.")
    ] = 0.0,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes that decode photos.", show_default="one per core")
    ] = None,
) -> None:
    """Tag a library of photos: one line for each in a file. Photos are never changed.

    If it is interrupted, run the same command again to resume. Under `accelerate launch`, several processes share the
    work. The exit status is 1 if a photo or a sidecar failed; the next run tries those again.
    """
    from landmark_models.library.sidecars import Sidecars

    merge = merge or overwrite
    if undo:
        if out or merge:
            raise LandmarkError("--undo goes with sources and --xmp-dir alone.")
        return _undo(sources, Sidecars(xmp_dir))
    if out is None:
        raise LandmarkError("Name the file to write: --out tags.jsonl or --out tags.csv.")
    if merge and not (xmp or xmp_dir):
        raise LandmarkError("--merge needs sidecars: give --xmp or --xmp-dir, too.")
    from landmark_models.library.bulk import tag_library
    from landmark_models.teaching import load_addon

    sidecars = Sidecars(xmp_dir, merge) if xmp or xmp_dir else None
    started = time.perf_counter()
    try:
        summary = tag_library(
            sources,
            out,
            model,
            addons=[load_addon(source) for source in taught or ()],
            sidecars=sidecars,
            min_confidence=min_confidence,
            workers=workers,
        )
    except KeyboardInterrupt:
        print("What is done is kept; run the same command again to resume.", file=sys.stderr)
        raise
    if summary:
        _print_summary(summary, out, time.perf_counter() - started)
        if summary.failed or summary.sidecars["failed"]:
            raise typer.Exit(1)


def _undo(sources: list[str], sidecars: "Sidecars") -> None:
    from landmark_models.library.undo import untag_library

    counts = untag_library(sources, sidecars)
    typer.echo(
        f"{counts.photos:,} photos: {counts.deleted + counts.cleaned:,} sidecars had tags of this command; "
        f"{counts.deleted:,} held nothing else and are deleted, {counts.cleaned:,} keep the rest."
    )
    _print_counts("Failed", counts.reasons)
    if counts.reasons:
        raise typer.Exit(1)


def _print_summary(summary: "Summary", out: Path, seconds: float) -> None:
    from landmark_models.files import left_out_line

    typer.echo(
        f"{for_terminal(str(out))}: {summary.total:,} photos; {summary.recognised:,} with a landmark, "
        f"{summary.unknown:,} without a known one, {summary.failed:,} failed. "
        f"This run: {summary.new:,} in {seconds:,.0f} s, {summary.new / seconds:.1f} photos/s."
    )
    if before := summary.total - summary.new:
        typer.echo(f"{before:,} were answered by earlier runs.")
    if summary.left_out:
        typer.echo(for_terminal(left_out_line(summary.left_out)))
    if summary.sidecars:
        typer.echo(_sidecar_line(summary))
    _print_counts("Most frequent", summary.landmarks)
    _print_counts("Failed", summary.reasons)
    _print_counts("Sidecars failed", summary.sidecar_reasons)


def _sidecar_line(summary: "Summary") -> str:
    """What became of the sidecars, in a sentence or three."""
    words = {
        "written": "written", "merged": "merged into existing ones", "kept": "there already and left alone",
        "removed": "cleared of earlier tags", "failed": "failed",
    }  # fmt: skip
    line = "Sidecars: " + ", ".join(f"{n:,} {words[what]}" for what in words if (n := summary.sidecars[what])) + "."
    if summary.shared:
        line += f" {summary.shared:,} of them are named PHOTO.xmp, as Lightroom does; a second one would hide them."
    if summary.sidecars["kept"]:
        line += " With --merge, the tags are added to those that are there."
    return line


def _print_counts(title: str, counts: "Counter[str]") -> None:
    if counts:
        typer.echo(f"{title}:")
        for text, count in counts.most_common(10):
            typer.echo(f"  {count:>9,}  {for_terminal(text)}")
        if len(counts) > 10:
            typer.echo(f"             and {len(counts) - 10:,} more")

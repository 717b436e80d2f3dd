"""The command line: `landmarks predict PHOTO...`, `tag FOLDER...` and `info`, or `python -m landmark_models ...`."""

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from landmark_models import __version__
from landmark_models.errors import LandmarkError, PhotoError, run_command
from landmark_models.text import SCORE_NOTE, for_terminal, percent

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Sequence

    from landmark_models.library.rows import Summary
    from landmark_models.library.sidecars import Sidecars
    from landmark_models.tagging.tags import Tags

app = typer.Typer(
    help="Tell which landmark is in a photo, and tag photos with it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # importing rich would take longer than all the rest of --help
)

_MIN_WIDTH = 40  # characters of a table

ModelOption = Annotated[
    str, typer.Option("--model", help="default, compact, a model or run folder, or hf-hub:owner/name[@revision].")
]


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"landmarks {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None: ...


@app.command()
def predict(
    photos: Annotated[list[str], typer.Argument(help="Photos to recognise.", metavar="PHOTO", show_default=False)],
    model: ModelOption = "default",
    top_k: Annotated[int, typer.Option("-k", "--top-k", min=1, help="Candidates for each photo.")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON array instead of a table.")] = False,
) -> None:
    """Name the landmark in each photo. The exit status is 1 if a photo can't be read."""
    from landmark_models.classifier import LandmarkClassifier
    from landmark_models.tagging.tags import Tags

    classifier = LandmarkClassifier.load(model, engine="cached")
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


@app.command()
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
    model: ModelOption = "default",
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

    sidecars = Sidecars(xmp_dir, merge) if xmp or xmp_dir else None
    started = time.perf_counter()
    try:
        summary = tag_library(sources, out, model, sidecars=sidecars, min_confidence=min_confidence, workers=workers)
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


@app.command()
def info(model: ModelOption = "default") -> None:
    """Show a model's size, measured accuracy and landmarks."""
    from landmark_models.classifier import LandmarkClassifier
    from landmark_models.networks.served import parameter_count
    from landmark_models.tagging.gazetteer import search

    classifier = LandmarkClassifier.load(model, engine="cached")
    parameters = parameter_count(classifier.network)
    typer.echo(f"{classifier.source}: {classifier.config['architecture']}, {parameters / 1e6:.2f} M parameters")
    test = classifier.landmark.get("test")
    typer.echo(f"test {_measured(test)}" if test else "not tested")
    if elsewhere := classifier.landmark.get("elsewhere"):
        typer.echo(f"photos from elsewhere: {_measured(elsewhere)}")
    names = [for_terminal(row["name"]) for row in search(classifier.labels)]
    typer.echo(f"{len(names)} landmarks: {', '.join(names)}")


def _measured(figures: dict[str, Any]) -> str:
    """A block of figures from the model's config, in one line."""
    low, high = figures["top1_ci95"]
    interval = f"95% interval {percent(low, 1)} to {percent(high, 1)}"
    text = f"top-1 {percent(figures['top1'], 1)} ({interval}, n = {figures['n']}, {for_terminal(figures['data'])})"
    if named := figures.get("named"):
        text += f"; named {named['named']} of {named['photos']}, {named['right']} of them correctly"
    return text


def main() -> None:
    """The command `landmarks`."""
    run_command(app)


if __name__ == "__main__":
    main()

"""The command line: `landmarks predict PHOTO...`, `tag FOLDER...` and `info`, or `python -m landmark_models ...`."""

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from landmark_models import __version__
from landmark_models.errors import LandmarkError, PhotoError, run_command
from landmark_models.text import for_terminal

if TYPE_CHECKING:
    from landmark_models.classifier import Answer
    from landmark_models.library.rows import Summary

app = typer.Typer(
    help="Tell which landmark is in a photo, and tag photos with it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # importing rich would take longer than all the rest of --help
)

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

    classifier = LandmarkClassifier.load(model, engine="cached")
    answers = list(zip(photos, classifier.predict_many(photos, top_k), strict=True))
    if as_json:
        records: list[dict[str, Any]] = [
            {"path": path, "predictions": [], "known": None, "error": str(answer)}
            if isinstance(answer, PhotoError)
            else {"path": path, "predictions": list(map(vars, answer)), "known": answer.known, "error": None}
            for path, answer in answers
        ]
        typer.echo(json.dumps(records, indent=2, ensure_ascii=True))
    else:
        _print_table(answers)
    if any(isinstance(answer, PhotoError) for _, answer in answers):
        raise typer.Exit(1)


def _print_table(answers: "list[tuple[str, Answer | PhotoError]]") -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Column, Table

    def plain(text: str) -> str:
        """A stranger's text: neither control characters nor markup in it take effect."""
        return escape(for_terminal(text))

    # When piped, a table is 80 characters wide; a path that doesn't fit continues on the next line.
    table = Table(Column("photo", overflow="fold"), Column("landmark", overflow="fold"), "score")
    for path, answer in answers:
        if isinstance(answer, PhotoError):
            table.add_row(plain(path), plain(str(answer)), "-", style="red", end_section=True)
            continue
        for rank, candidate in enumerate(answer):
            name, label = "" if rank else plain(path), plain(candidate.label)
            if not answer.known:
                label = f"[dim]{label if rank else f'not recognised (nearest: {label})'}[/dim]"
            table.add_row(name, label, f"{candidate.score:.1%}", end_section=rank == len(answer) - 1)
    Console().print(table)


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
    out: Annotated[Path, typer.Option(help="File to write, .jsonl or .csv; an existing one is continued.")],
    model: ModelOption = "default",
    xmp: Annotated[bool, typer.Option("--xmp", help="Write an XMP sidecar beside each photo recognised.")] = False,
    xmp_dir: Annotated[Path | None, typer.Option(help="Write the sidecars under this folder instead.")] = None,
    merge: Annotated[
        bool, typer.Option("--merge", help="Merge into existing sidecars; without it they are left alone.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", hidden=True)] = False,  # what --merge was called at first
    min_confidence: Annotated[
        float, typer.Option(min=0, max=1, help="Below this probability, a landmark doesn't count as recognised.")
    ] = 0.0,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes that decode photos.", show_default="one per core")
    ] = None,
) -> None:
    """Tag a library of photos: one line for each in a file. Photos are never changed.

    If it is interrupted, run the same command again to resume. Under `accelerate launch`, several processes share the
    work. The exit status is 1 if a photo failed; the next run tries those again.
    """
    from landmark_models.library.bulk import tag_library
    from landmark_models.library.sidecars import Sidecars

    merge = merge or overwrite
    if merge and not (xmp or xmp_dir):
        raise LandmarkError("--merge needs sidecars: give --xmp or --xmp-dir, too.")
    sidecars = Sidecars(xmp_dir, merge) if xmp or xmp_dir else None
    started = time.perf_counter()
    try:
        summary = tag_library(sources, out, model, sidecars=sidecars, min_confidence=min_confidence, workers=workers)
    except KeyboardInterrupt:
        print("What is done is kept; run the same command again to resume.", file=sys.stderr)
        raise
    if summary:
        _print_summary(summary, out, time.perf_counter() - started)
        if summary.failed:
            raise typer.Exit(1)


def _print_summary(summary: "Summary", out: Path, seconds: float) -> None:
    typer.echo(
        f"{for_terminal(str(out))}: {summary.total:,} photos; {summary.recognised:,} with a landmark, "
        f"{summary.unknown:,} without a known one, {summary.failed:,} failed. "
        f"This run: {summary.new:,} in {seconds:,.0f} s, {summary.new / seconds:.1f} photos/s."
    )
    if before := summary.total - summary.new:
        typer.echo(f"{before:,} were done by earlier runs and stay as they were, without new sidecars.")
    for title, counts in (("Most frequent", summary.landmarks), ("Failed", summary.reasons)):
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

    classifier = LandmarkClassifier.load(model, engine="cached")
    parameters = parameter_count(classifier.network)
    typer.echo(f"{classifier.source}: {classifier.config['architecture']}, {parameters / 1e6:.2f} M parameters")
    test = classifier.landmark.get("test")
    typer.echo(f"test {_measured(test)}" if test else "not tested")
    if elsewhere := classifier.landmark.get("elsewhere"):
        typer.echo(f"photos from elsewhere: {_measured(elsewhere)}")
    typer.echo(f"{len(classifier.labels)} landmarks: " + ", ".join(map(for_terminal, classifier.labels)))


def _measured(figures: dict[str, Any]) -> str:
    """A block of figures from the model's config, in one line."""
    low, high = figures["top1_ci95"]
    interval = f"95 % interval {low:.1%} to {high:.1%}, n = {figures['n']}, {for_terminal(figures['data'])}"
    text = f"top-1 {figures['top1']:.1%} ({interval})"
    if named := figures.get("named"):
        text += f"; named {named['named']} of {named['photos']}, {named['right']} of them correctly"
    return text


def main() -> None:
    """The command `landmarks`."""
    run_command(app)


if __name__ == "__main__":
    main()

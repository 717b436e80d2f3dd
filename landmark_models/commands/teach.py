"""Teach landmarks from a few photos each, forget them, and list what was taught."""

import json
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from landmark_models.commands.options import Model
from landmark_models.errors import LandmarkError
from landmark_models.text import for_terminal, label_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from landmark_models.classifier import LandmarkClassifier
    from landmark_models.teach import Lesson
    from landmark_models.teaching import AddOn, Facts

_FILE = Path("taught.landmarks.safetensors")


def teach(
    name: Annotated[
        str,
        typer.Argument(help="What the landmark is called; or a folder with a folder of photos for each landmark."),
    ],
    photos: Annotated[list[str] | None, typer.Argument(help="Photos of it, or folders.", metavar="PHOTO")] = None,
    into: Annotated[Path, typer.Option(help="File to keep it in; what is in there already stays.")] = _FILE,
    model: Model = "default",
    proper_name: Annotated[str, typer.Option("--name", help="Its proper name, if that isn't NAME.")] = "",
    place: Annotated[str, typer.Option(help="Where it is, e.g. 'Bath, Somerset'.")] = "",
    country: Annotated[str, typer.Option(help="Its country, e.g. 'United Kingdom' or GB.")] = "",
    at: Annotated[str, typer.Option(metavar="LAT,LON", help="Its coordinates in degrees, e.g. 51.3815,-2.3597.")] = "",
    tags: Annotated[list[str] | None, typer.Option("--tag", help="Hashtag for it; repeatable.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of sentences.")] = False,
) -> None:
    """Teach a landmark from a few photos, without training. From 5 on it works well.

    It is told at once how often it will be recognised: each photo is left out in turn, and named by the others.
    """
    chosen = _chosen(name, photos or [])
    facts = _facts(proper_name, place, country, at, tags or [])
    if facts and not photos:
        raise LandmarkError("--name, --place, --country, --at and --tag are for one landmark, not a folder of several.")

    from landmark_models.classifier import LandmarkClassifier
    from landmark_models.teaching import AddOn, combined

    classifier = LandmarkClassifier.load(model, engine="cached")
    before = [AddOn.read(into)] if into.exists() else []
    lessons = _taught(classifier.with_taught(*before), chosen, facts)
    after = combined([*before, *(lesson.addon for lesson in lessons)])
    after.write(into)
    if as_json:
        typer.echo(json.dumps([_record(lesson, chosen[lesson.label]) for lesson in lessons], indent=2))
        return
    for lesson in lessons:
        _print_lesson(lesson, chosen[lesson.label])
    _print_counts(after, into)


def forget(
    name: Annotated[str, typer.Argument(help="The landmark, as `landmarks taught` lists it.")],
    source: Annotated[Path, typer.Option("--from", help="The file that it is in.")] = _FILE,
) -> None:
    """Forget a landmark that was taught."""
    from landmark_models.teaching import AddOn

    addon = AddOn.read(source)
    after = addon.without(name)
    if len(after):
        after.write(source)
        _print_counts(after, source)
    else:
        source.unlink()
        typer.echo(f"{for_terminal(str(source))} held nothing else, and is deleted.")


def taught(
    sources: Annotated[
        list[str] | None,
        typer.Argument(
            help="Files of taught landmarks, or hf-hub:owner/name.", metavar="FILE", show_default=str(_FILE)
        ),
    ] = None,
) -> None:
    """List what was taught: landmarks, their number of photos, and where they are."""
    from landmark_models.tagging.gazetteer import taught_landmark
    from landmark_models.teaching import Facts, load_addon

    for source in sources or [str(_FILE)]:
        addon = load_addon(source)
        _print_counts(addon, source)
        for label, count in sorted(zip(addon.labels, addon.counts.tolist(), strict=True)):
            entry = taught_landmark(label, addon.facts.get(label, Facts()))
            name = label if entry.name == label else f"{label} ({entry.name})"
            where = f", {entry.address}" if entry.address else ""
            typer.echo(for_terminal(f"{count:>7,}  {name}{where}"))


def _chosen(name: str, photos: "Sequence[str]") -> dict[str, list[str]]:
    """The photos of each landmark, by label: those given, or the ones in the folders of a folder."""
    if photos:
        return {name.strip(): _files(photos)}
    folder = Path(name)
    if not folder.is_dir():
        raise LandmarkError(f"Name photos of {for_terminal(name)!r}, or give a folder with a folder for each landmark.")
    chosen: dict[str, list[str]] = {}
    for each in sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")):
        if files := _files([str(each)], allow_none=True):
            chosen.setdefault(label_of(each.name), []).extend(files)
    if not chosen:
        raise LandmarkError(f"{folder} has no folder with photos; it needs one for each landmark.")
    return chosen


def _files(sources: "Sequence[str]", allow_none: bool = False) -> list[str]:
    """Photos, and those in folders and below; what is left out is printed."""
    from landmark_models.files import find_photos_below, left_out_line

    left_out: Counter[str] = Counter()
    files: list[str] = []
    for source in sources:
        if Path(source).is_dir():
            files += sorted(entry.path for entry in find_photos_below(source, left_out=left_out) if not entry.error)
        else:
            files.append(source)
    if left_out:
        print(for_terminal(left_out_line(left_out)), file=sys.stderr)
    if not files and not allow_none:
        raise LandmarkError(f"There is no photo in {for_terminal(', '.join(sources))}.")
    return files


def _facts(name: str, place: str, country: str, at: str, tags: "Sequence[str]") -> "Facts | None":
    """What the options say of a landmark; None if they say nothing."""
    if not any((name, place, country, at, tags)):
        return None
    from landmark_models.teaching import Facts

    latitude = longitude = None
    if at:
        try:
            latitude, longitude = (float(part) for part in at.split(","))
        except ValueError:
            raise LandmarkError(f"--at {at} must be a latitude and a longitude, e.g. 51.3815,-2.3597.") from None
    words = tuple(filter(None, (tag.strip().removeprefix("#") for tag in tags)))
    return Facts.checked(name=name, place=place, country=country, latitude=latitude, longitude=longitude, tags=words)


def _taught(
    classifier: "LandmarkClassifier", chosen: "Mapping[str, Sequence[str]]", facts: "Facts | None"
) -> "list[Lesson]":
    """Teach all that was chosen. Each is compared with those before it, too."""
    from tqdm.auto import tqdm

    from landmark_models.teach import teach as teach_one

    lessons = []
    total = sum(map(len, chosen.values()))
    with tqdm(total=total, desc="teaching", unit="photo", leave=False, disable=total < 50 or None) as bar:
        for label, files in chosen.items():
            lesson = teach_one(classifier, label, files, facts, bar.update)
            classifier = classifier.with_more(lesson.addon)
            lessons.append(lesson)
    return lessons


def _record(lesson: "Lesson", files: "Sequence[str]") -> dict[str, Any]:
    """A lesson as JSON."""
    confused = lesson.confused_with
    return {
        "label": lesson.label,
        "photos": len(lesson.used),
        "left_out": {"n": len(lesson.left_out), "recognised": lesson.recognised},
        "confused_with": {"label": confused[0], "photos": confused[1]} if confused else None,
        "odd": [files[index] for index in lesson.odd],
        "unreadable": [{"path": files[index], "error": error} for index, error in lesson.unreadable.items()],
    }


def _print_lesson(lesson: "Lesson", files: "Sequence[str]") -> None:
    from landmark_models.tagging.gazetteer import find
    from landmark_models.teach import FEW

    count = len(lesson.used)
    lines = [f"{lesson.label}: taught from {count:,} photo{'s' * (count != 1)}."]
    if lesson.left_out:
        lines.append(f"Left out in turn, {lesson.recognised} of {count} are recognised by the others.")
    if confused := lesson.confused_with:
        entry = find(confused[0])
        lines.append(f"The others look most like: {entry.name if entry else confused[0]} ({confused[1]}).")
    lines += [f"Unlike the other photos: {files[index]}" for index in lesson.odd]
    lines += [f"Not used: {error}" for error in lesson.unreadable.values()]
    if count < FEW:
        lines.append(f"That is few: from {FEW} photos on it gets useful, from 5 good.")
    for number, line in enumerate(lines):
        typer.echo(for_terminal(f"  {line}" if number else line))


def _print_counts(addon: "AddOn", file: str | Path) -> None:
    count = f"{len(addon):,} landmark{'s' * (len(addon) != 1)}"
    typer.echo(for_terminal(f"{file} holds {count}: use it with --with {file}"))

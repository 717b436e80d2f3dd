"""Teach landmarks from a few photos each, forget them, and list what was taught."""

import json
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from landmark_models.commands.options import Model
from landmark_models.errors import LandmarkError
from landmark_models.files import find_photos_below, left_out_line, why_left_out
from landmark_models.text import for_terminal, label_of

if TYPE_CHECKING:
    from collections.abc import Sequence

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
    again: Annotated[
        bool, typer.Option("--replace", help="Forget what was taught under this name before, not add to it.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of sentences.")] = False,
) -> None:
    """Teach a landmark from a few photos, without training. From 5 on it works well.

    Prints at once how well it will be recognised: each photo is left out in turn, and the others try to name it. The
    exit status is 1 if a landmark of a folder can't be taught.
    """
    if (proper_name or place or country or at or tags) and not photos:
        raise LandmarkError("--name, --place, --country, --at and --tag are for one landmark, not a folder of several.")
    chosen = _chosen(name, photos or [])
    facts = _facts(proper_name, place, country, at, tags or [])

    from landmark_models.classifier import LandmarkClassifier
    from landmark_models.teaching.taught_file import TaughtFile

    file = TaughtFile(into)
    before = file.read()
    classifier = LandmarkClassifier.load(model, engine="cached").with_taught(*[before] if before else [])
    lessons, failures = _taught(classifier, chosen, facts)
    if not lessons:
        raise LandmarkError(" ".join(failures))
    addons = [lesson.addon for lesson, _ in lessons]
    after = file.change(lambda addon: _joined(addon, addons, again))
    assert after, "something was taught"
    if as_json:
        typer.echo(json.dumps([_record(lesson, files, after) for lesson, files in lessons], indent=2))
    else:
        for lesson, files in lessons:
            _print_lesson(lesson, files, after)
        typer.echo(for_terminal(f"{_held(after, into)}: use it with --with {into}"))
    for failure in failures:
        print(f"Not taught: {for_terminal(failure)}", file=sys.stderr)
    if failures:
        raise typer.Exit(1)


def forget(
    name: Annotated[str, typer.Argument(help="The landmark, as `landmarks taught` lists it.")],
    source: Annotated[Path, typer.Option("--from", help="The file that it is in.")] = _FILE,
) -> None:
    """Forget a landmark that was taught."""
    from landmark_models.teaching.taught_file import TaughtFile

    def forgotten(addon: "AddOn | None") -> "AddOn | None":
        if addon is None:
            raise LandmarkError(f"There is no file {source}, so nothing to forget; name it with --from.")
        return addon.without(name)

    after = TaughtFile(source).change(forgotten)
    typer.echo(for_terminal(f"{_held(after, source)}." if after else f"{source} held nothing else, and is deleted."))


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
        typer.echo(for_terminal(f"{_held(addon, source)}:"))
        for label, count in sorted(zip(addon.labels, addon.counts.tolist(), strict=True)):
            entry = taught_landmark(label, addon.facts.get(label, Facts()))
            name = label if entry.name == label else f"{label} ({entry.name})"
            where = f", {entry.address}" if entry.address else ""
            typer.echo(for_terminal(f"{count:>7,}  {name}{where}"))


def _chosen(name: str, sources: "Sequence[str]") -> list[tuple[str, list[str]]]:
    """Landmarks with their photos: those given, or the ones in the folders of a folder. What is left out is printed."""
    left_out: Counter[str] = Counter()
    chosen = [(name, _photos(sources, left_out))] if sources else _folders(name, left_out)
    if left_out:
        print(for_terminal(left_out_line(left_out)), file=sys.stderr)
    if not any(files for _, files in chosen):
        where = ", ".join(sources) if sources else f"the folders in {name}, one for each landmark"
        raise LandmarkError(f"There is no photo in {for_terminal(where)}.")
    return chosen


def _folders(folder: str, left_out: "Counter[str]") -> list[tuple[str, list[str]]]:
    """The folders with photos in a folder, by label."""
    if not Path(folder).is_dir():
        raise LandmarkError(
            f"Name photos of {for_terminal(folder)!r}, or give a folder with a folder for each landmark."
        )
    chosen = []
    for path in sorted(Path(folder).iterdir()):
        if why := why_left_out(path.name, path.parent.name, path.is_dir()):
            left_out[why] += 1
        elif not path.is_dir():
            left_out.update(["file beside the folders"] * (why is None))  # no word about what systems leave
        elif files := _photos([str(path)], left_out):
            chosen.append((label_of(path.name), files))
        else:
            left_out["folder without a photo"] += 1
    return chosen


def _photos(sources: "Sequence[str]", left_out: "Counter[str]") -> list[str]:
    """Photos, and those in folders and below."""
    files: list[str] = []
    for source in sources:
        if not Path(source).is_dir():
            files.append(source)
            continue
        found = sorted(find_photos_below(source, left_out=left_out))
        files += [entry.path for entry in found if not entry.error]
        left_out.update("folder or link that can't be read" for entry in found if entry.error)
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
    classifier: "LandmarkClassifier", chosen: "Sequence[tuple[str, list[str]]]", facts: "Facts | None"
) -> "tuple[list[tuple[Lesson, list[str]]], list[str]]":
    """What was taught, with the photos, and why the rest can't be. Each is compared with those before it, too."""
    from tqdm.auto import tqdm

    from landmark_models.teach import teach as teach_one
    from landmark_models.teaching import AddOnError

    lessons, failures = [], []
    total = sum(len(files) for _, files in chosen)
    _ = classifier.features_digest  # a model that can't be taught is one mistake, not one for each landmark
    with tqdm(total=total, desc="teaching", unit="photo", leave=False, disable=total < 50 or None) as bar:
        for name, files in chosen:
            try:
                lesson = teach_one(classifier, name, files, facts, bar.update)
            except AddOnError as error:
                failures.append(str(error))
                continue
            classifier = classifier.with_more(lesson.addon)
            lessons.append((lesson, files))
    return lessons, failures


def _joined(addon: "AddOn | None", new: "Sequence[AddOn]", again: bool) -> "AddOn":
    """What was taught by now; with `again`, instead of what was taught under the same labels."""
    from landmark_models.teaching import combined

    for label in {label for each in new for label in each.labels} if again else ():
        if addon and label in addon.labels:
            addon = addon.without(label)
    return combined([addon, *new] if addon else new)


def _record(lesson: "Lesson", files: "Sequence[str]", after: "AddOn") -> dict[str, Any]:
    """A lesson as JSON."""
    confused = lesson.confused_with
    return {
        "label": lesson.label,
        "photos": len(lesson.used),
        "photos_in_all": _count(after, lesson.label),
        "left_out": {"n": len(lesson.left_out), "recognised": lesson.recognised},
        "confused_with": {"label": confused[0], "photos": confused[1]} if confused else None,
        "odd": [files[index] for index in lesson.odd],
        "unreadable": [{"path": files[index], "error": error} for index, error in lesson.unreadable.items()],
    }


def _print_lesson(lesson: "Lesson", files: "Sequence[str]", after: "AddOn") -> None:
    from landmark_models.tagging.gazetteer import find
    from landmark_models.teach import FEW

    count, total = len(lesson.used), _count(after, lesson.label)
    more = f", {total:,} with those of before" if total > count else ""
    lines = [f"{lesson.label}: taught from {count:,} photo{'s' * (count != 1)}{more}."]
    if lesson.left_out:
        lines.append(f"Left out in turn, {lesson.recognised} of {count} are recognised by the others.")
    if confused := lesson.confused_with:
        entry = find(confused[0])
        lines.append(f"The others look most like: {entry.name if entry else confused[0]} ({confused[1]}).")
    lines += [f"Unlike the other photos: {files[index]}" for index in lesson.odd]
    lines += [f"Not used: {error}" for error in lesson.unreadable.values()]
    if total < FEW:
        lines.append(f"That is few: use at least {FEW} photos, better 5 or more.")
    for number, line in enumerate(lines):
        typer.echo(for_terminal(f"  {line}" if number else line))


def _count(addon: "AddOn", label: str) -> int:
    return int(addon.counts[addon.labels.index(label)])


def _held(addon: "AddOn", file: str | Path) -> str:
    return f"{file} holds {len(addon):,} landmark{'s' * (len(addon) != 1)}"

"""What the tab for many photos shows of their answers: counts, those that are wanted, and a table, in any language."""

from dataclasses import dataclass, field
from html import escape
from pathlib import PurePath
from typing import Any

from landmark_models.page.handlers import Seen
from landmark_models.page.languages import Language, in_language
from landmark_models.page.many_handlers import MAX_SECONDS, Answers, Photos, answers_to
from landmark_models.page.results import PhotoResult, SavedFiles
from landmark_models.page.uploads import LIFETIME
from landmark_models.text import searchable

ALL, NAMED, NOT_NAMED, UNREADABLE = "all", "named", "not named", "unreadable"  # filters


@dataclass(frozen=True)
class View:
    """What the tab shows of answers."""

    status: str = ""  # HTML
    running: bool = False
    filters: tuple[tuple[str, str], ...] = ()  # text and value
    results: tuple[PhotoResult, ...] = ()  # with a picture, in the order of the gallery
    captions: tuple[str, ...] = ()
    unreadable: str = ""  # HTML
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    saved: SavedFiles = field(default_factory=SavedFiles)


def view(photos: Photos | None, answers: Answers | None, wanted: str, query: str, language: str = "en") -> View:
    """What to show of the answers to photos: those of the kind that is `wanted` whose texts contain the `query`."""
    say = in_language(language)
    if photos is None:
        return View()
    if photos.problem:
        return View(f"<p role='alert'>{escape(photos.problem)}</p>")
    if not photos.files:
        return View()
    answers = answers_to(photos, answers)
    query = searchable(query.strip())
    counts = dict.fromkeys((NAMED, NOT_NAMED, UNREADABLE), 0)
    for result in answers.results:
        counts[_kind(result)] += 1
    matching = [
        result
        for result in answers.results
        if wanted in (ALL, _kind(result)) and query in searchable(_text(result, say))
    ]
    pictured = tuple(result for result in matching if result.thumbnail)
    return View(
        status=_status(answers, counts, say),
        running=answers.state == "running",
        filters=(
            (say("All ({count})", count=say.number(len(answers.results))), ALL),
            (say("Named ({count})", count=say.number(counts[NAMED])), NAMED),
            (say("Not named ({count})", count=say.number(counts[NOT_NAMED])), NOT_NAMED),
            (say("Unreadable ({count})", count=say.number(counts[UNREADABLE])), UNREADABLE),
        ),
        results=pictured,
        captions=tuple(_words(result, say)[0] for result in pictured),
        unreadable=_listed([result.error for result in matching if result.error])
        if matching or not answers.results
        else f"<p>{say('No photo matches.')}</p>",
        columns=(say("Photo"), say("Landmark"), say("Score"), say("Place"), say("Tags"), say("Note")),
        rows=tuple(_row(result, say) for result in matching),
        saved=answers.saved,
    )


def seen_in(item: Any, photos: Photos | None, answers: Answers | None) -> Seen | None:
    """The answer to a photo that was chosen, given as the gallery's item; None if there is none any more.

    The item is what the visitor saw. Its place wouldn't do: the gallery may change while the choice is on its way.
    """
    if photos is None:
        return None
    answers = answers_to(photos, answers)
    match item:
        case {"image": {"path": str(path)}} if answers.knows:
            for result in answers.results:
                if result.thumbnail and result.thumbnail.name == PurePath(path).name:
                    return Seen(result, answers.knows)
    return None


def _status(answers: Answers, counts: dict[str, int], say: Language) -> str:
    """How far the work is, in HTML."""
    done, total = len(answers.results), len(answers.photos.files)
    numbers = {kind.replace(" ", "_"): say.number(count) for kind, count in counts.items()}
    counted = say("{named} named, {not_named} not named, {unreadable} unreadable.", **numbers)
    progress = {"done": say.number(done), "total": say.number(total), "left": say.number(total - done)}
    if answers.state == "running":
        text = say("{done} of {total} photos done:", **progress)
        return f"<p>{text} {counted}</p><progress max='{total}' value='{done}' aria-label='{escape(text)}'></progress>"
    if answers.state == "done":
        text = say.plural("{count} photo:", "{count} photos:", total)
    elif answers.state == "late":
        text = say(
            "It took more than {minutes} minutes, so {left} of {total} photos are left out; choose fewer at a time.",
            minutes=say.number(MAX_SECONDS / 60), **progress,
        )  # fmt: skip
    else:
        text = say("Stopped: {left} of {total} photos are left out.", **progress)
    kept = say("The files to save are kept for {minutes} minutes.", minutes=say.number(LIFETIME // 60)) if done else ""
    return f"<p>{text} {counted} {kept}</p>"


def _listed(sentences: list[str]) -> str:
    """Sentences as a list, in HTML."""
    return (
        f"<ul lang='en'>{''.join(f'<li>{escape(sentence)}</li>' for sentence in sentences)}</ul>" if sentences else ""
    )


def _kind(result: PhotoResult) -> str:
    if result.tags is None:
        return UNREADABLE
    return NAMED if result.tags.known else NOT_NAMED


def _words(result: PhotoResult, say: Language) -> tuple[str, str, list[str]]:
    """The name and place of the landmark, and hashtags; where none is known, only that."""
    tags = result.tags
    if tags is None:
        return "", "", []
    if not tags.known:
        return say("Not named"), "", []
    landmark = tags.entry(tags.best.label, say.code)
    return tags.name_of(tags.best.label, say.code), landmark.address if landmark else "", tags.hashtags


def _text(result: PhotoResult, say: Language) -> str:
    """All text of a result in which a visitor may search: in the page's language, and in English."""
    name, place, hashtags = _words(result, say)
    english = [result.tags.nearest, result.tags.place] if result.tags and result.tags.known else []
    return "\n".join([result.name, name, place, *hashtags, *english])


def _row(result: PhotoResult, say: Language) -> tuple[str, ...]:
    """A row of the table: photo, landmark, score, place, tags, note."""
    name, place, hashtags = _words(result, say)
    tags = result.tags
    if tags is None:
        return (result.name, "", "", "", "", result.error)
    note = "" if tags.known else say("Nearest: {name}", name=tags.name_of(tags.best.label, say.code))
    return (result.name, name, say.percent(tags.best.score), place, " ".join(hashtags), note)

"""What the tab for many photos does, without any component: it answers them in batches, and filters what is shown."""

import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from html import escape
from pathlib import Path
from typing import Any, Literal

from landmark_models.errors import PhotoError
from landmark_models.page.cards import Knows, name_of
from landmark_models.page.handlers import Seen
from landmark_models.page.languages import Language, in_language
from landmark_models.page.results import PhotoResult, SavedFiles, save, tag_photos
from landmark_models.page.serving import Serving
from landmark_models.page.uploads import LIFETIME, original_name, uploaded_file
from landmark_models.tagging.gazetteer import find

MAX_PHOTOS = 200  # at a time
_MAX_SECONDS = 300.0  # for so many

# One person's at a time, in a queue of their own, so that nobody with one photo waits behind them.
COMPUTING_MANY: dict[str, Any] = {"concurrency_id": "many", "concurrency_limit": 1, "preprocess": False}

ALL, NAMED, NOT_NAMED, UNREADABLE = "all", "named", "not named", "unreadable"  # filters


@dataclass(frozen=True)
class Photos:
    """Photos that were chosen together, as names and files, and the private folder for what is made of them.

    Its files may be read with their address alone, so the folder's name can't be guessed. A mark in it ends the work:
    unlike a variable, it also reaches a function that runs in another process, as on a Space with ZeroGPU.
    """

    files: tuple[tuple[str, Path], ...]
    folder: Path

    @property
    def stopped(self) -> bool:
        return (self.folder / "stopped").exists()

    def stop(self) -> None:
        """Have whoever answers them end after the present batch."""
        if self.folder.is_dir():  # not swept yet
            (self.folder / "stopped").touch()


@dataclass(frozen=True)
class Answers:
    """What is known of some `photos` by now."""

    photos: Photos
    knows: Knows | None = None  # of itself: the model that answers
    results: tuple[PhotoResult, ...] = ()
    state: Literal["running", "done", "stopped", "late"] = "running"
    saved: SavedFiles = field(default_factory=SavedFiles)  # once no more results will come
    problem: str = ""  # why photos are refused


@dataclass(frozen=True)
class View:
    """What the tab shows of answers."""

    status: str = ""  # HTML
    running: bool = False
    filters: tuple[tuple[str, str], ...] = ()  # text and value
    results: tuple[PhotoResult, ...] = ()  # with a picture, in the order of the gallery
    captions: tuple[str, ...] = ()
    unreadable: str = ""  # HTML
    rows: tuple[tuple[str, ...], ...] = ()
    saved: SavedFiles = field(default_factory=SavedFiles)


class ManyHandlers:
    """The functions behind the tab; `uploads` and `on_gpu` are those of `Handlers`."""

    def __init__(self, serving: Serving, uploads: Path, on_gpu: Callable[[Any], Any] | None = None):
        self._serving, self._uploads = serving, uploads
        if on_gpu:
            self.answer_many = on_gpu(self.answer_many)  # type: ignore[method-assign]

    def choose(self, uploaded: Any, earlier: Photos | None, language: str = "en") -> tuple[Photos, Answers]:
        """The photos of a visitor from now on, and no answers yet; work on `earlier` ones is stopped."""
        if earlier:
            earlier.stop()
        say = in_language(language)
        folder = self._uploads / secrets.token_urlsafe(16)
        folder.mkdir(mode=0o700)
        uploaded = uploaded if isinstance(uploaded, list) else []
        photos, problem = Photos((), folder), ""
        if len(uploaded) > MAX_PHOTOS:
            problem = say(
                "That's {count} photos; the limit is {limit} at a time. Remove some, or choose fewer.",
                count=say.number(len(uploaded)), limit=say.number(MAX_PHOTOS),
            )  # fmt: skip
        else:
            try:
                paths = [uploaded_file(photo, self._uploads) for photo in uploaded]
                names = [original_name(photo, path) for photo, path in zip(uploaded, paths, strict=True)]
                photos = Photos(tuple(zip(names, paths, strict=True)), folder)
            except PhotoError as error:
                problem = str(error)
        return photos, Answers(photos, problem=problem)

    def answer_many(self, photos: Photos) -> Iterator[Answers]:
        """The answers to photos, again and again with a batch more, until all are done or the work is stopped."""
        if not photos.files:
            return
        classifier = self._serving.current.classifier
        answers, end = Answers(photos, Knows.of(classifier)), time.monotonic() + _MAX_SECONDS
        batches = tag_photos(classifier, photos.files, photos.folder)
        while len(answers.results) < len(photos.files):
            if photos.stopped:
                yield finished(answers, "stopped")
                return
            if time.monotonic() > end:
                yield finished(answers, "late")
                return
            answers = replace(answers, results=(*answers.results, *next(batches)))
            yield answers
        yield finished(answers, "done")


def finished(answers: Answers, state: Literal["done", "stopped", "late"]) -> Answers:
    """Answers to which none will be added, with files of them to save."""
    return replace(answers, state=state, saved=save(answers.results, answers.photos.folder))


def view(photos: Photos | None, answers: Answers | None, wanted: str, query: str, language: str = "en") -> View:
    """What to show of answers: those of the kind that is `wanted` whose texts contain the `query`.

    Answers to other photos than the present ones have come too late, and aren't shown.
    """
    say = in_language(language)
    if not (photos and answers and answers.photos.folder == photos.folder):
        return View()
    if answers.problem:
        return View(f"<p role='alert'>{escape(answers.problem)}</p>")
    if not photos.files:
        return View()
    counts = dict.fromkeys((NAMED, NOT_NAMED, UNREADABLE), 0)
    for result in answers.results:
        counts[_kind(result)] += 1
    matching = [
        result
        for result in answers.results
        if wanted in (ALL, _kind(result)) and query.strip().casefold() in _searched(result, say).casefold()
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
        unreadable=_listed([result.error for result in matching if result.error]),
        rows=tuple(_row(result, say) for result in matching),
        saved=answers.saved,
    )


def seen_at(place: Any, shown: View, answers: Answers | None) -> Seen | None:
    """The answer at a place in the gallery; None if there is none any more."""
    if answers is None or answers.knows is None or not isinstance(place, int) or not 0 <= place < len(shown.results):
        return None
    return Seen(shown.results[place], answers.knows)


def _status(answers: Answers, counts: dict[str, int], say: Language) -> str:
    """How far the work is, in HTML."""
    done, total = len(answers.results), len(answers.photos.files)
    numbers = {kind.replace(" ", "_"): say.number(count) for kind, count in counts.items()}
    counted = say("{named} named, {not_named} not named, {unreadable} unreadable.", **numbers)
    progress = {"done": say.number(done), "total": say.number(total), "left": say.number(total - done)}
    if answers.state == "running":
        text = say("{done} of {total} photos done:", **progress)
        return f"<p>{text} {counted}</p><progress max='{total}' value='{done}' aria-label='{text}'></progress>"
    if answers.state == "done":
        text = say.plural("{count} photo:", "{count} photos:", total)
    elif answers.state == "late":
        text = say(
            "It took more than {minutes} minutes, so {left} of {total} photos are left out; choose fewer at a time.",
            minutes=say.number(_MAX_SECONDS / 60), **progress,
        )  # fmt: skip
    else:
        text = say("Stopped: {left} of {total} photos are left out.", **progress)
    kept = say("The files to save are kept for {minutes} minutes.", minutes=say.number(LIFETIME // 60)) if done else ""
    return f"<p>{text} {counted} {kept}</p>"


def _listed(sentences: list[str]) -> str:
    """Sentences as a list, in HTML."""
    return f"<ul>{''.join(f'<li>{escape(sentence)}</li>' for sentence in sentences)}</ul>" if sentences else ""


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
    landmark = find(tags.best.label, say.code)
    place = f"{landmark.place}, {landmark.country_name}" if landmark else ""
    return name_of(tags.best.label, say.code), place, tags.hashtags


def _searched(result: PhotoResult, say: Language) -> str:
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
    note = "" if tags.known else say("Nearest: {name}", name=name_of(tags.best.label, say.code))
    return (result.name, name, say.percent(tags.best.score), place, " ".join(hashtags), note)

"""What the tab for many photos computes, without any component: it answers them in batches."""

import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from landmark_models.errors import PhotoError
from landmark_models.page.cards import Knows
from landmark_models.page.kept import kept_text, knowing_text
from landmark_models.page.languages import Language, in_language
from landmark_models.page.results import PhotoResult, SavedFiles, save, tag_photos
from landmark_models.page.serving import Serving
from landmark_models.page.uploads import original_name, uploaded_file

MAX_PHOTOS = 200  # at a time
MAX_SECONDS = 300.0  # for so many

# One person's at a time, in a queue of their own, so that nobody with one photo waits behind them.
COMPUTING_MANY: dict[str, Any] = {"concurrency_id": "many", "concurrency_limit": 1, "preprocess": False}


@dataclass(frozen=True)
class Photos:
    """Photos that were chosen together, as names and files, and the private folder for what is made of them.

    Its files may be read with their address alone, so the folder's name can't be guessed. A mark in it ends the work:
    unlike a variable, it also reaches a function that runs in another process, as on a Space with ZeroGPU.
    """

    files: tuple[tuple[str, Path], ...]
    folder: Path
    known: tuple[PhotoResult, ...] = ()  # of the first files, which were answered before
    knows: Knows | None = None  # of itself: the model that answered those
    problem: str = ""  # why photos are refused
    kept: str = ""  # what the visitor's browser keeps of what was taught, an add-on as text

    @property
    def stopped(self) -> bool:
        return (self.folder / "stopped").exists()

    def stop(self) -> None:
        """Have whoever answers them end after the present batch."""
        self.make_folder()
        (self.folder / "stopped").touch()

    def make_folder(self) -> None:
        """Make the folder, unless it is there."""
        self.folder.mkdir(mode=0o700, exist_ok=True)


@dataclass(frozen=True)
class Answers:
    """What is known of some `photos` by now."""

    photos: Photos
    knows: Knows | None = None  # of itself: the model that answers
    results: tuple[PhotoResult, ...] = ()
    state: Literal["running", "done", "stopped", "late"] = "running"
    saved: SavedFiles = field(default_factory=SavedFiles)  # once no more results will come


class ManyHandlers:
    """The functions behind the tab; `uploads` and `on_gpu` are those of `Handlers`."""

    def __init__(self, serving: Serving, uploads: Path, on_gpu: Callable[[Any], Any] | None = None):
        self._serving, self._uploads = serving, uploads
        if on_gpu:
            self.answer_many = on_gpu(self.answer_many)  # type: ignore[method-assign]

    def choose(
        self, uploaded: Any, earlier: Photos | None, answers: Answers | None, language: str = "en", kept: Any = None
    ) -> Photos:
        """The photos of a visitor from now on, with the answers to those that were among the `earlier` ones.

        Work on those is stopped. They are answered anew if something else is `kept` of what was taught.
        """
        if earlier:
            earlier.stop()
        folder = self._uploads / secrets.token_urlsafe(16)
        try:
            files = self._files(uploaded if isinstance(uploaded, list) else [], in_language(language))
        except PhotoError as error:
            return Photos((), folder, problem=str(error))
        text = kept_text(kept, self._serving.current.classifier)
        if not earlier or earlier.kept != text:
            return Photos(tuple(files), folder, kept=text)
        answers = answers_to(earlier, answers)
        known = dict(zip(earlier.files, answers.results, strict=False))
        files.sort(key=lambda file: file not in known)
        return Photos(
            tuple(files), folder, tuple(known[file] for file in files if file in known), answers.knows, kept=text
        )

    def answer_many(self, photos: Photos) -> Iterator[Answers]:
        """The answers to photos, again and again with a batch more, until all are done or the work is stopped."""
        if not photos.files:
            return
        photos.make_folder()
        classifier = knowing_text(self._serving.current.classifier, photos.kept)
        answers = Answers(photos, Knows.of(classifier), photos.known)
        end = time.monotonic() + MAX_SECONDS
        batches = tag_photos(classifier, photos.files[len(photos.known) :], photos.folder)
        while len(answers.results) < len(photos.files):
            if photos.stopped:
                yield finished(answers, "stopped")
                return
            if time.monotonic() > end:
                yield finished(answers, "late")
                return
            answers = replace(answers, results=(*answers.results, *next(batches)))
            if not photos.stopped:  # else the page, which says so by now, would go on
                yield answers
        yield finished(answers, "done")

    def _files(self, uploaded: list[Any], say: Language) -> list[tuple[str, Path]]:
        """The names and files of uploads; a `PhotoError` if they are too many, or any was never uploaded."""
        if len(uploaded) > MAX_PHOTOS:
            raise PhotoError(
                say(
                    "That's {count} photos; the limit is {limit} at a time. Remove some, or choose fewer.",
                    count=say.number(len(uploaded)), limit=say.number(MAX_PHOTOS),
                )
            )  # fmt: skip
        paths = [uploaded_file(photo, self._uploads) for photo in uploaded]
        return [(original_name(photo, path), path) for photo, path in zip(uploaded, paths, strict=True)]


def answers_to(photos: Photos, answers: Answers | None) -> Answers:
    """What is known of photos by now; `answers` may be late ones to earlier photos, which don't count."""
    if answers and answers.photos == photos:
        return answers
    return Answers(photos, photos.knows, photos.known)


def stop(photos: Photos | None, answers: Answers | None) -> Answers | None:
    """Have whoever answers photos end, now or when their turn comes; the answers that are there."""
    if photos:
        photos.stop()
    return stopped(photos, answers)


def stopped(photos: Photos | None, answers: Answers | None) -> Answers | None:
    """The answers to photos when no more will come, whether or not the work on them has begun."""
    if photos is None:  # a visit that was forgotten
        return None
    answers = answers_to(photos, answers)
    return finished(answers, "stopped") if answers.state == "running" else answers


def finished(answers: Answers, state: Literal["done", "stopped", "late"]) -> Answers:
    """Answers to which none will be added, with files of them to save."""
    answers.photos.make_folder()
    return replace(answers, state=state, saved=save(answers.results, answers.photos.folder))

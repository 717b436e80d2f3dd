"""What the tab for many photos computes, without any component: it answers them in batches."""

import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from landmark_models.errors import PhotoError
from landmark_models.page.cards import Knows
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

    @property
    def stopped(self) -> bool:
        return (self.folder / "stopped").exists()

    def stop(self) -> None:
        """Have whoever answers them end after the present batch."""
        self.folder.mkdir(mode=0o700, exist_ok=True)
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


class ManyHandlers:
    """The functions behind the tab; `uploads` and `on_gpu` are those of `Handlers`."""

    def __init__(self, serving: Serving, uploads: Path, on_gpu: Callable[[Any], Any] | None = None):
        self._serving, self._uploads = serving, uploads
        if on_gpu:
            self.answer_many = on_gpu(self.answer_many)  # type: ignore[method-assign]

    def choose(
        self, uploaded: Any, earlier: Photos | None, answers: Answers | None, language: str = "en"
    ) -> tuple[Photos, Answers]:
        """The photos of a visitor from now on, with the answers to those that were among the `earlier` ones.

        Work on those is stopped.
        """
        if earlier:
            earlier.stop()
        folder = self._uploads / secrets.token_urlsafe(16)
        try:
            files = self._files(uploaded if isinstance(uploaded, list) else [], in_language(language))
        except PhotoError as error:
            photos = Photos((), folder)
            return photos, Answers(photos, problem=str(error))
        known = {}
        if earlier and answers and answers.photos == earlier:
            known = dict(zip(earlier.files, answers.results, strict=False))
        photos = Photos(tuple(sorted(files, key=lambda file: file not in known)), folder)
        return photos, Answers(photos, results=tuple(known[file] for file in photos.files if file in known))

    def answer_many(self, photos: Photos, answers: Answers) -> Iterator[Answers]:
        """The answers to photos, again and again with a batch more, until all are done or the work is stopped."""
        if not photos.files:
            return
        photos.folder.mkdir(mode=0o700, exist_ok=True)
        classifier = self._serving.current.classifier
        known = answers.results if answers.photos == photos else ()  # else a late answer to earlier photos
        answers = Answers(photos, Knows.of(classifier), known)
        end = time.monotonic() + MAX_SECONDS
        batches = tag_photos(classifier, photos.files[len(known) :], photos.folder)
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


def finished(answers: Answers, state: Literal["done", "stopped", "late"]) -> Answers:
    """Answers to which none will be added, with files of them to save."""
    return replace(answers, state=state, saved=save(answers.results, answers.photos.folder))

"""What the tab to teach does, without any component: photos are collected, taught, forgotten, loaded from a file."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from landmark_models.devices import available_cores
from landmark_models.errors import PhotoError
from landmark_models.page.addons import MAX_BYTES
from landmark_models.page.handlers import Seen
from landmark_models.page.kept import Kept, keep, keep_own, kept_addon, knowing, waiting
from landmark_models.page.languages import deferred, in_language
from landmark_models.page.lessons import MAX_PHOTOS
from landmark_models.page.serving import Serving
from landmark_models.page.uploads import original_name, uploaded_file
from landmark_models.photo import thumbnail
from landmark_models.teach import LeftOut, Lesson, teach
from landmark_models.teaching import AddOn, AddOnError, Facts, combined
from landmark_models.teaching.taught_file import Change

_THUMBNAIL_SIDE = 160  # px, the longer side

# One person's at a time, in a queue of their own, so that nobody with one photo waits behind them.
COMPUTING_LESSONS: dict[str, Any] = {"concurrency_id": "teach", "concurrency_limit": 1, "preprocess": False}


@dataclass(frozen=True)
class Shown:
    """A photo of a landmark to teach: its name and file, and a small JPEG of it."""

    name: str
    file: Path
    thumbnail: bytes

    @property
    def key(self) -> str:
        """What tells it from other photos."""
        return f"{self.file.parent.name}/{self.file.name}"


@dataclass
class Work:
    """The photos of one landmark that a visitor collects, and what they have taught; it is changed in place.

    `unreadable` has the names of photos that can't be read, and why; `left_out` how each photo is answered if it is
    left out; `before` is what was taught under the same label before; `problem` says why the last step failed.
    """

    photos: list[Shown] = field(default_factory=list)
    unreadable: list[tuple[str, str]] = field(default_factory=list)
    lesson: Lesson | None = None
    left_out: dict[str, LeftOut] = field(default_factory=dict)
    before: AddOn | None = None
    problem: str = ""

    def begin(self) -> None:
        """Begin another landmark."""
        vars(self).update(vars(Work()))

    def remove(self, key: Any) -> None:
        """Remove a photo by its key."""
        self.photos[:] = [photo for photo in self.photos if photo.key != key]
        self.problem = ""


class Known(NamedTuple):
    """What was taught: an add-on, and labels that wait for another model."""

    addon: AddOn | None
    waiting: Sequence[str] = ()


class TeachHandlers:
    """The functions behind the tab; `uploads` and `on_gpu` are those of `Handlers`.

    What is taught is `kept` by the visitor's browser, unless the page keeps it for everybody.
    """

    def __init__(self, serving: Serving, uploads: Path, on_gpu: Callable[[Any], Any] | None = None):
        self._serving, self._uploads = serving, uploads
        if on_gpu:
            self.learn = on_gpu(self.learn)  # type: ignore[method-assign]

    @property
    def for_everybody(self) -> bool:
        """Whether what is taught is kept on this page, and answers everybody."""
        return self._serving.keeps

    def add(self, uploaded: Any, work: Work, language: str) -> None:
        """Add photos that were uploaded now to those of before."""
        say = in_language(language)
        uploaded, work.problem, work.unreadable = uploaded if isinstance(uploaded, list) else [], "", []
        if (count := len(work.photos) + len(uploaded)) > MAX_PHOTOS:
            text = deferred("That's {count} photos; {limit} are enough. Choose fewer.")
            work.problem = say(text, count=say.number(count), limit=say.number(MAX_PHOTOS))
            return
        with ThreadPoolExecutor(available_cores()) as pool:
            for read in pool.map(self._read, uploaded):
                if not isinstance(read, Shown):
                    work.unreadable.append(read)
                elif read not in work.photos:
                    work.photos.append(read)

    def take_along(self, seen: Seen | None, work: Work) -> None:
        """Begin another landmark with a photo that was answered."""
        work.begin()
        if seen and seen.shown:
            self.add([{"path": str(seen.shown), "orig_name": seen.result.name}], work, "en")

    def _read(self, upload: Any) -> Shown | tuple[str, str]:
        name = original_name(upload, Path(str(upload.get("path")))) if isinstance(upload, dict) else ""
        try:
            file = uploaded_file(upload, self._uploads)
            return Shown(name, file, thumbnail(file, _THUMBNAIL_SIDE))
        except PhotoError as error:
            path = str(upload.get("path")) if isinstance(upload, dict) else ""
            return name, str(error).replace(path, name) if path else str(error)

    def teach(self, work: Work, name: Any, place: Any, country: Any, kept: Any, language: str) -> Kept:
        """Teach a landmark from the photos, instead of what they have taught before; what is kept from now on."""
        say, photos = in_language(language), list(work.photos)
        name, place, country = (str(text or "").strip() for text in (name, place, country))
        work.problem = ""
        if not name:
            work.problem = say("Give the landmark a name.")
            return kept
        try:
            if work.lesson and work.lesson.addon.features == self._serving.current.classifier.features_digest:
                kept = self._change(kept, lambda addon: _undone(addon, work))
            work.lesson, work.before = None, None  # that of another model waits for it
            if not photos:
                work.problem = say("Choose photos of the landmark.")
                return kept
            facts = Facts.checked(place=place, country=country)
            lesson = self.learn(name, [photo.file for photo in photos], facts, kept)
            before = _only(self.known(kept).addon, lesson.label)
            kept = self._change(kept, lambda addon: combined([addon, lesson.addon] if addon else [lesson.addon]))
        except AddOnError as error:
            work.problem = _named(str(error), photos)
            return kept
        work.lesson, work.before = lesson, before
        work.left_out = {photos[index].key: left for index, left in zip(lesson.used, lesson.left_out, strict=False)}
        gone = {index: _named(why, photos) for index, why in lesson.unreadable.items()}  # deleted meanwhile
        work.unreadable += [(photos[index].name, why) for index, why in gone.items()]
        return kept

    def learn(self, name: str, photos: Sequence[Path], facts: Facts, kept: Any) -> Lesson:
        """What photos teach the model, beside all that it knows by now.

        Raises:
            AddOnError: as `teach` does.
        """
        classifier = knowing(self._serving.current.classifier, kept)
        return teach(classifier, name, photos, facts if facts.stored() else None)

    def known(self, kept: Any) -> Known:
        """What was taught by now; nothing if that is damaged."""
        if self.for_everybody:
            return Known(self._serving.addon)
        classifier = self._serving.current.classifier
        try:
            return Known(kept_addon(kept, classifier), waiting(kept, classifier))
        except AddOnError:
            return Known(None, waiting(kept, classifier))

    def checked(self, work: Work, kept: Any, language: str) -> Kept:
        """What is kept from now on: what was, unless it is damaged, which is said."""
        classifier = self._serving.current.classifier
        try:
            kept_addon(kept, classifier)
        except AddOnError as error:
            say = in_language(language)
            work.problem = say("What this browser has kept is damaged and was dropped: {reason}", reason=error)
            return keep(kept, classifier, None)
        return kept

    def forget(self, label: str, work: Work, kept: Any) -> Kept:
        """Forget a landmark; its photos remain."""
        kept = self._change(kept, lambda addon: _without(addon, label))
        if work.lesson and work.lesson.label == label:
            work.lesson, work.before = None, None
        return kept

    def forget_others(self, kept: Any) -> Kept:
        """Forget what was taught to other models."""
        return keep_own(kept, self._serving.current.classifier)

    def load(self, upload: Any, kept: Any, language: str) -> Kept:
        """Add the landmarks of a file, instead of those with the same names.

        Raises:
            AddOnError: it isn't an add-on, is too large, or was taught to another model.
        """
        say = in_language(language)
        try:
            file = uploaded_file(upload, self._uploads)
        except PhotoError:
            raise AddOnError(say("This file was never uploaded or has been deleted; choose it again.")) from None
        name = original_name(upload, file)
        if file.stat().st_size > MAX_BYTES:
            limit = say.number(MAX_BYTES / 1e6)
            raise AddOnError(say("{name} is larger than {limit} MB, too large for this page.", name=name, limit=limit))
        new = AddOn.from_bytes(file.read_bytes(), name)
        self._serving.current.classifier.with_more(new)

        def add(addon: AddOn | None) -> AddOn:
            for label in new.labels:
                addon = _without(addon, label)
            return combined([addon, new] if addon else [new])

        return self._change(kept, add)

    def _change(self, kept: Any, change: Change) -> Kept:
        """Replace what was taught by what `change` makes of it; what is kept from now on."""
        if self.for_everybody:
            self._serving.change_taught(change)
            return kept if isinstance(kept, dict) else {}
        classifier = self._serving.current.classifier
        return keep(kept, classifier, change(self.known(kept).addon))


def _undone(addon: AddOn | None, work: Work) -> AddOn | None:
    """What was taught without what some photos have taught."""
    rest = _without(addon, work.lesson.label) if work.lesson else addon
    return combined([rest, work.before] if rest else [work.before]) if work.before else rest


def _without(addon: AddOn | None, label: str) -> AddOn | None:
    return addon.without(label) if addon and label in addon.labels else addon


def _only(addon: AddOn | None, label: str) -> AddOn | None:
    """What was taught under one label; None if that is nothing."""
    if addon is None or label not in addon.labels:
        return None
    row = addon.labels.index(label)
    facts = {label: addon.facts[label]} if label in addon.facts else {}
    part = slice(row, row + 1)
    return replace(addon, labels=(label,), counts=addon.counts[part], vectors=addon.vectors[part], facts=facts)


def _named(sentence: str, photos: Sequence[Shown]) -> str:
    """A sentence with the names of photos in place of their files."""
    for photo in photos:
        sentence = sentence.replace(str(photo.file), photo.name)
    return sentence

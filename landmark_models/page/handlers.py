"""What the page and its API do, without any component or layout."""

import contextlib
import html
import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import gradio as gr
from PIL import Image

from landmark_models.errors import PhotoError
from landmark_models.explain import NoExplanationError, explain
from landmark_models.page.cards import PhotoResult, table_html, tag_photos
from landmark_models.page.facts import model_facts
from landmark_models.page.serving import Serving
from landmark_models.page.uploads import original_name, uploaded_file
from landmark_models.photo import DECODED_MARGIN, open_photo, photo_position
from landmark_models.tagging.gazetteer import search
from landmark_models.tagging.tags import Tags

MAX_CANDIDATES = 10
MAX_PHOTOS = 200  # at a time
_DISPLAY_SIDE = 1024  # px, least shorter side of the photo as the page shows it, where the upload is as large
_COMPUTING = ("predict", "tag", "explain", "answer", "explain_answer", "answer_many")
_PROGRESS = gr.Progress()

# Options of events. Those that compute with the model: as many run at once as cores can share. Gradio would decode and
# encode some photos again before a handler gets them; without its preprocessing, the handler gets the file.
COMPUTING: dict[str, Any] = {
    "concurrency_id": "model", "concurrency_limit": min(os.cpu_count() or 1, 4), "preprocess": False,
}  # fmt: skip
# Those of the page alone, not of its API: each use counts, even while an earlier one is still running.
PAGE_ONLY: dict[str, Any] = {"api_visibility": "private", "trigger_mode": "multiple"}
# Those of the page alone that are done at once.
INSTANT: dict[str, Any] = {"queue": False, "show_progress": "hidden"} | PAGE_ONLY


class PageError(gr.Error):
    """A sentence that the page shows and the API returns; it may quote names that strangers chose."""

    def __init__(self, sentence: str):
        super().__init__(html.escape(sentence), print_exception=False)


@contextlib.contextmanager
def _photo_errors_shown() -> Iterator[None]:
    """Show the reason why a photo can't be used, or an answer can't be explained."""
    try:
        yield
    except (PhotoError, NoExplanationError) as error:
        raise PageError(str(error)) from None


class Handlers:
    """The functions behind the page: those of the API and MCP, then those of the tabs.

    A `photo` is what gradio passes on with `preprocess=False`: a mapping with the `path` of an upload. What is wrong
    with a request is raised as a `PageError`.

    Only files in `uploads`, gradio's own folder, are opened. `on_gpu` wraps each function that computes, such as
    `spaces.GPU` on a Space with ZeroGPU.
    """

    def __init__(self, serving: Serving, uploads: Path, on_gpu: Callable[[Any], Any] | None = None):
        self._serving, self._uploads = serving, uploads
        if on_gpu:
            # Bound methods, since their arguments are sent to another process, and a Serving can't be.
            for name in _COMPUTING:
                setattr(self, name, on_gpu(getattr(self, name)))

    # The API and MCP; agents read these docstrings.

    def predict(self, photo: Any, top_k: int = 5) -> tuple[dict[str, float], Image.Image, bool]:
        """Name the landmark in a photo.

        Args:
            photo: the photo (JPEG, PNG, WebP, GIF, TIFF, BMP, HEIC or AVIF).
            top_k: number of candidates, 1 to 10.

        Returns:
            The candidates with their confidences, the photo as it was read, and whether it shows a landmark that the
            model knows.
        """
        with _photo_errors_shown():
            tags, picture = self._tags_and_picture(photo)
        scores = {candidate.label: candidate.score for candidate in tags.predictions[: _count(top_k)]}
        return scores, picture, tags.known

    def tag(self, photo: Any) -> dict[str, Any]:
        """Tag a photo: landmark, place, Wikidata id, hashtags, alt text, a verdict, and whether its own GPS agrees.

        Args:
            photo: the photo (JPEG, PNG, WebP, GIF, TIFF, BMP, HEIC or AVIF).

        Returns:
            `landmarkAnnotations` in the form of Google Cloud Vision; `known`, whether the photo shows a landmark that
            the model knows; `reason`, why not: "model", or "position" if it was taken elsewhere; `verdict`, the same as
            a sentence, with how often such answers were right; `hashtags` and `altText`; `label`, the most likely;
            `name` and `place`, null if no landmark is known; `distanceKm` and `agrees`, null if the
            photo has no GPS position.
        """
        with _photo_errors_shown(), self._open(photo) as file:
            return self._tags(file).record()

    def explain(self, photo: Any) -> Image.Image:
        """Show where in a photo its answer comes from.

        Args:
            photo: the photo (JPEG, PNG, WebP, GIF, TIFF, BMP, HEIC or AVIF).

        Returns:
            The photo, coloured where the model finds its most likely landmark; parts that it did not see are grey.
        """
        return self._explain(photo, None)

    def landmarks(self, query: str = "") -> list[dict[str, str]]:
        """List the landmarks that the model knows.

        Args:
            query: lists only those whose name, other names, kind, place or country contain this text.

        Returns:
            The label, name, kind, place, country and Wikidata id of each.
        """
        return search(self._serving.current.classifier.labels, query)

    # The page

    def answer(self, photo: Any, top_k: int) -> tuple[dict[str, float] | None, Image.Image | None, PhotoResult]:
        """The candidates by proper name, the photo to show, and its result; the reason if it can't be read."""
        try:
            name = original_name(photo, uploaded_file(photo, self._uploads))
            tags, picture = self._tags_and_picture(photo)
        except PhotoError as error:  # part of the page rather than a message that goes away
            return None, None, PhotoResult("", error=str(error))
        return tags.named(_count(top_k)), picture, PhotoResult(name, tags)

    def candidates(self, result: PhotoResult | None, top_k: int) -> dict[str, float] | None:
        """The candidates of a photo that was answered, by proper name."""
        return result.tags.named(_count(top_k)) if result and result.tags else None

    def explain_answer(self, photo: Any, result: PhotoResult | None) -> Image.Image:
        """The photo, coloured where the landmark that it was answered with is."""
        return self._explain(photo, result.tags.best.label if result and result.tags else None)

    def answer_many(self, photos: Any, progress: gr.Progress = _PROGRESS) -> str:
        """The answers to many photos as a table, in HTML."""
        if not isinstance(photos, list) or not photos:
            raise PageError("There are no photos yet; choose some first.")
        if len(photos) > MAX_PHOTOS:
            raise PageError(f"That's {len(photos)} photos; the limit is {MAX_PHOTOS} at a time.")
        with _photo_errors_shown():
            paths = [uploaded_file(photo, self._uploads) for photo in photos]
            files = [(original_name(photo, path), path) for photo, path in zip(photos, paths, strict=True)]
            results = tag_photos(self._serving.current.classifier, files)
            return table_html(list(progress.tqdm(results, total=len(files), unit="photos")))

    def known_landmarks(self) -> list[list[str]]:
        """The name, kind, place and country of each landmark that the model knows."""
        return [[row[column] for column in ("name", "kind", "place", "country")] for row in self.landmarks()]

    def facts(self) -> str:
        """What is known about the model that serves, in Markdown."""
        return model_facts(*self._serving.current)

    def _open(self, photo: Any) -> IO[bytes]:
        return uploaded_file(photo, self._uploads).open("rb")

    def _tags(self, file: IO[bytes]) -> Tags:
        answer = self._serving.current.classifier.predict(file, MAX_CANDIDATES)
        file.seek(0)
        return Tags.of(answer, photo_position(file))

    def _tags_and_picture(self, photo: Any) -> tuple[Tags, Image.Image]:
        with self._open(photo) as file:
            tags = self._tags(file)
            file.seek(0)
            picture = open_photo(file, math.ceil(_DISPLAY_SIDE / DECODED_MARGIN))
        picture.thumbnail((2 * _DISPLAY_SIDE, 2 * _DISPLAY_SIDE))
        picture.info.clear()  # gradio would pass on the photo's metadata
        return tags, picture

    def _explain(self, photo: Any, label: str | None) -> Image.Image:
        classifier = self._serving.current.classifier  # may be another one than answered
        with _photo_errors_shown(), self._open(photo) as file:
            return explain(classifier, file, label if label in classifier.labels else None)


def _count(top_k: Any) -> int:
    if not isinstance(top_k, int | float):
        raise PageError(f"The number of candidates must be from 1 to {MAX_CANDIDATES}.")
    return int(min(max(1, top_k), MAX_CANDIDATES))

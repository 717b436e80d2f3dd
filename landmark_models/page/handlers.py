"""What the page and its API do, without any component or layout."""

import math
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from PIL import Image

from landmark_models import __version__, models
from landmark_models.classifier import LandmarkClassifier
from landmark_models.devices import available_cores
from landmark_models.errors import PhotoError
from landmark_models.explain import explain
from landmark_models.page.addons import with_addon
from landmark_models.page.cards import Knows
from landmark_models.page.examples import Example
from landmark_models.page.figures import trust
from landmark_models.page.kept import knowing
from landmark_models.page.languages import in_language
from landmark_models.page.lessons import taught_by, uploaded_files
from landmark_models.page.refusals import PageError, ShownError, refused_as
from landmark_models.page.results import PhotoResult
from landmark_models.page.serving import Served, Serving
from landmark_models.page.showing import browsers_show, write_picture
from landmark_models.page.uploads import original_name, uploaded_file
from landmark_models.photo import DECODED_MARGIN, ReadPhoto, read_photo
from landmark_models.tagging.gazetteer import search
from landmark_models.tagging.tags import Tags

MAX_CANDIDATES = 10
_DISPLAY_SIDE = 720  # px, least shorter side of the photo as the page shows it, where the upload is as large
_COMPUTING = ("predict", "tag", "explain", "teach", "answer", "look")

# Options of events. Those that compute with the model: as many run at once as cores can share. Gradio would decode and
# encode some photos again before a handler gets them; without its preprocessing, the handler gets the file.
COMPUTING: dict[str, Any] = {
    "concurrency_id": "model", "concurrency_limit": min(available_cores(), 4), "preprocess": False,
}  # fmt: skip
# Those of the page alone, not of its API: each use counts, even while an earlier one is still running.
PAGE_ONLY: dict[str, Any] = {"api_visibility": "private", "trigger_mode": "multiple"}
# Those of the page alone that are done at once.
INSTANT: dict[str, Any] = {"queue": False, "show_progress": "hidden"} | PAGE_ONLY


@dataclass(frozen=True)
class Seen:
    """A photo that was answered.

    `shown` is the file that shows it, `converted` whether that was made since browsers don't show the upload; `rank` is
    that of the candidate that is looked at.
    """

    result: PhotoResult
    knows: Knows
    shown: Path | None = None
    converted: bool = False
    rank: int = 0

    @property
    def label(self) -> str | None:
        """The label of the candidate that is looked at; None if the photo can't be read."""
        return self.result.tags.predictions[self.rank].label if self.result.tags else None


class Handlers:
    """The functions behind the page: those of the API and MCP, then those of the tabs.

    A `photo` is what gradio passes on with `preprocess=False`: a mapping with the `path` of an upload. What is wrong
    with a request is raised as a `PageError`, by the page's own functions as a `ShownError`.

    Only files in `uploads`, gradio's own folder, are opened. `on_gpu` wraps each function that computes, such as
    `spaces.GPU` on a Space with ZeroGPU.
    """

    def __init__(self, serving: Serving, uploads: Path, on_gpu: Callable[[Any], Any] | None = None):
        self._serving, self._uploads = serving, uploads
        if on_gpu:
            # Bound methods, since their arguments are sent to another process, and a Serving can't be.
            for name in _COMPUTING:
                setattr(self, name, on_gpu(getattr(self, name)))

    @property
    def current(self) -> Served:
        """The model that answers now, and why it is this one."""
        return self._serving.current

    @property
    def can_be_taught(self) -> bool:
        """Whether the model that answers can be taught."""
        return self.current.classifier.served.has_statistics

    @property
    def keeps_what_is_taught(self) -> bool:
        """Whether the page keeps what its visitors teach, for everybody."""
        return self._serving.keeps

    # The API and MCP; agents read these docstrings. Gradio takes each line of "Args" and "Returns" for an item.

    def predict(self, photo: Any, top_k: int = 5, addon: str = "") -> tuple[dict[str, float], Image.Image, bool]:
        """Name the landmark in a photo: candidates with their probabilities, the most likely first.

        The model knows only the landmarks that the tool `landmarks` lists, and those of the add-on. If known is false,
        the photo shows none of them, and no candidate is an answer.

        Args:
            photo: an https:// address, or data:image/jpeg;base64,...; JPEG, PNG, WebP, GIF, TIFF, BMP, HEIC or AVIF.
            top_k: how many candidates, 1 to 10.
            addon: landmarks that the tool `teach` has taught, as text; empty for none.

        Returns:
            the candidates with their probabilities
            the photo as it was read
            known: whether the photo shows a landmark that the model knows
        """
        with refused_as(PageError):
            tags, picture = self._tags_and_picture(self._with(addon), photo)
        scores = {candidate.label: candidate.score for candidate in tags.predictions[: _count(top_k)]}
        return scores, picture, tags.known

    def tag(self, photo: Any, addon: str = "") -> dict[str, Any]:
        """Name and describe the landmark in a photo: place, coordinates, Wikidata id, hashtags and alt text, as JSON.

        `known` says whether the photo shows a landmark that the model knows; `reason` why not: "model", or "position"
        if its own GPS position is elsewhere. `verdict` says it in words, with how often such answers were right.

        Args:
            photo: an https:// address, or data:image/jpeg;base64,...; JPEG, PNG, WebP, GIF, TIFF, BMP, HEIC or AVIF.
            addon: landmarks that the tool `teach` has taught, as text; empty for none.

        Returns:
            landmarkAnnotations: the candidates as Google Cloud Vision gives them
            label: the most likely one even if it is not known
            known and reason and verdict
            name and place: null if no landmark is known
            hashtags and altText
            distanceKm and agrees: from the photo's GPS position to the landmark; null without a position
        """
        with refused_as(PageError):
            classifier = self._with(addon)
            return _tags(classifier, self._read(photo, classifier.min_side)).record()

    def explain(self, photo: Any, addon: str = "") -> Image.Image:
        """Show where in a photo the model finds its most likely landmark, as a heat map (Grad-CAM).

        Args:
            photo: an https:// address, or data:image/jpeg;base64,...; JPEG, PNG, WebP, GIF, TIFF, BMP, HEIC or AVIF.
            addon: landmarks that the tool `teach` has taught, as text; empty for none.

        Returns:
            the photo coloured where the landmark is found; parts that the model did not see are grey
        """
        with refused_as(PageError):
            return self._explain(self._with(addon), photo, None)

    def teach(self, photos: Any, name: str, place: str = "", country: str = "", addon: str = "") -> dict[str, Any]:
        """Teach the model a landmark from photos of it: an add-on, which the other tools take, and how well it works.

        Nothing is kept here: who has the add-on has what was taught. The more photos, from different sides, the better.

        Args:
            photos: 1 to 30 photos of it, 5 or more if possible; each an https:// address, or data:image/jpeg;base64,...
            name: what to call the landmark; photos for a name that is known already are added to it.
            place: where it is, such as "Bath, Somerset"; empty if that doesn't matter.
            country: its country, by English name or two-letter code; empty if that doesn't matter.
            addon: what was taught before, as text; the result has it, too.

        Returns:
            label and photos: the landmark, and how many photos of it were used
            odd and unreadable: positions of photos that look unlike the others, and that can't be read; from 0
            recognised and leftOut: of so many photos left out in turn, how many the others suffice to recognise
            confusedWith: which landmark most of those look like that aren't recognised; null if all are
            warning: null, or what is wrong
            labels: all landmarks in the add-on
            addon: the add-on as text; give it to the tools predict, tag, explain and teach
        """
        with refused_as(PageError):
            files = uploaded_files(photos, self._uploads)
            return taught_by(self._serving.current.classifier, files, name, place, country, addon)

    def landmarks(self, query: str = "") -> list[dict[str, str]]:
        """List the landmarks that the model knows: label, name, kind, place, country and Wikidata id of each.

        Args:
            query: lists only those whose name, other names, kind, place or country contain this text.

        Returns:
            a list of landmarks, ordered by name; what is not known of one is empty
        """
        if not isinstance(query, str):
            raise PageError("The query must be text; leave it empty to list all landmarks.")
        classifier = self._serving.current.classifier
        taught = classifier.taught.by_label() if classifier.taught else {}
        return search(classifier.labels, query, taught={label: each.facts for label, each in taught.items()})

    def health(self) -> dict[str, Any]:
        """What a load balancer asks for: that the page answers, with which model, and why with this one."""
        classifier, why = self.current
        return {
            "status": "ok",
            "model": models.name_of(classifier.source),
            "revision": classifier.revision,
            "why": why,
            "landmarks": len(classifier.labels),
            "version": __version__,
        }

    # The page; what it sends for a photo is the mapping of an upload, too.

    def answer(self, photo: Any, kept: Any = None) -> Seen:
        """The answer to an upload, or why it can't be read, with the photo to show.

        `kept` is what the visitor's browser keeps of what was taught there.
        """
        classifier = knowing(self._serving.current.classifier, kept)
        knows = Knows.of(classifier)
        name = original_name(photo, Path(str(photo.get("path")))) if isinstance(photo, dict) else ""
        try:
            file = uploaded_file(photo, self._uploads)
            if browsers_show(file):
                return Seen(PhotoResult(name, _tags(classifier, self._read(photo, classifier.min_side))), knows, file)
            tags, picture = self._tags_and_picture(classifier, photo)
        except PhotoError as error:  # part of the page rather than a message that goes away
            return Seen(PhotoResult(name, error=str(error)), knows)
        return Seen(PhotoResult(name, tags), knows, write_picture(picture, self._uploads), converted=True)

    def look(self, seen: Seen | None, where: bool, language: str, kept: Any = None) -> Image.Image | str:
        """The photo that was answered; with `where`, coloured where the chosen candidate was found."""
        say = in_language(language)
        if seen is None or seen.shown is None or seen.label is None:
            raise ShownError(say("The answer to this photo isn't kept any more; choose the photo again."))
        if not where:
            return str(seen.shown)
        classifier = knowing(self.current.classifier, kept)
        if seen.label not in classifier.labels:
            raise ShownError(say("The model has changed since this answer; choose the photo again."))
        with refused_as(ShownError):
            return self._explain(classifier, {"path": str(seen.shown)}, seen.label)

    def take_example(self, examples: Sequence[Example], index: Any, name: Any, language: str) -> str:
        """A copy of an example among the uploads; it is named, since the examples change with the model."""
        if not (isinstance(index, int) and 0 <= index < len(examples) and examples[index].name(language) == name):
            say = in_language(language)
            raise ShownError(say("The photos to try have changed; load the page again."))
        return str(shutil.copy(examples[index].file, tempfile.mkdtemp(dir=self._uploads)))

    def trust(self, language: str) -> str:
        """How far to trust the answers, in Markdown."""
        return trust(self._serving.current.classifier.landmark, language)

    def _with(self, addon: Any) -> LandmarkClassifier:
        """The model that answers now, with what was taught to it."""
        return with_addon(self._serving.current.classifier, addon)

    def _open(self, photo: Any) -> IO[bytes]:
        return uploaded_file(photo, self._uploads).open("rb")

    def _read(self, photo: Any, min_side: int) -> ReadPhoto:
        with self._open(photo) as file:
            return read_photo(file, min_side)

    def _tags_and_picture(self, classifier: LandmarkClassifier, photo: Any) -> tuple[Tags, Image.Image]:
        read = self._read(photo, max(classifier.min_side, math.ceil(_DISPLAY_SIDE / DECODED_MARGIN)))
        tags = _tags(classifier, read)
        picture = read.image
        picture.thumbnail((2 * _DISPLAY_SIDE, 2 * _DISPLAY_SIDE))
        picture.info.clear()  # gradio would pass on the photo's metadata
        return tags, picture

    def _explain(self, classifier: LandmarkClassifier, photo: Any, label: str | None) -> Image.Image:
        with self._open(photo) as file:
            return explain(classifier, file, label)


def _tags(classifier: LandmarkClassifier, photo: ReadPhoto) -> Tags:
    return Tags.of(classifier.predict(photo.image, MAX_CANDIDATES), photo.position)


def _count(top_k: Any) -> int:
    if not isinstance(top_k, int | float):
        raise PageError(f"The number of candidates must be from 1 to {MAX_CANDIDATES}.")
    return int(min(max(1, top_k), MAX_CANDIDATES))

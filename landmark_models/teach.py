"""Teach a model a landmark from a few photos, and estimate how well it will be recognised.

lesson = teach(classifier, "Town Hall, Bath", ["1.jpg", "2.jpg", "3.jpg", "4.jpg", "5.jpg"])
classifier.with_taught(lesson.addon).predict("6.jpg")
"""

import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from landmark_models.classifier import LandmarkClassifier
from landmark_models.devices import available_cores, fast_precision
from landmark_models.errors import PhotoError
from landmark_models.models.config import MAX_LABEL, is_text
from landmark_models.photo import Photo, open_photo
from landmark_models.tagging.gazetteer import named
from landmark_models.teaching import AddOn, AddOnError, Facts
from landmark_models.teaching.taught import Correction, shrunk_means
from landmark_models.text import for_terminal, is_name, searchable

__all__ = ["LeftOut", "Lesson", "teach"]

FEW = 3  # photos; from fewer, a landmark is hardly recognised

_ODD = 0.3  # of the median likeness; a photo less like the others than that looks odd
_BATCH = 16  # photos


class LeftOut(NamedTuple):
    """How a photo is answered by what all the others have taught.

    `likeness` is its cosine to the others and `odd` whether it looks unlike them. `recognised` is whether it is named
    as the landmark, and `nearest` is the label of the other landmark that it looks most like.
    """

    likeness: float
    odd: bool
    recognised: bool
    nearest: str


@dataclass(frozen=True)
class Lesson:
    """A landmark that was taught: an add-on, and how each photo is answered if it is left out.

    `left_out` is empty if there was only one photo; `used` are the indices of the photos, `unreadable` has why each of
    the others couldn't be used, by index.
    """

    label: str
    addon: AddOn
    used: tuple[int, ...]
    unreadable: dict[int, str]
    left_out: tuple[LeftOut, ...] = ()

    @property
    def recognised(self) -> int:
        """How many of the photos are recognised by what the others have taught."""
        return sum(photo.recognised for photo in self.left_out)

    @property
    def odd(self) -> list[int]:
        """The indices of the photos that look unlike the others."""
        return [index for index, photo in zip(self.used, self.left_out, strict=False) if photo.odd]

    @property
    def confused_with(self) -> tuple[str, int] | None:
        """The label that most of the photos that aren't recognised look like, and how many do; None if all are."""
        missed = Counter(photo.nearest for photo in self.left_out if not photo.recognised)
        return missed.most_common(1)[0] if missed else None


def teach(
    classifier: LandmarkClassifier,
    label: str,
    photos: Sequence[Photo],
    facts: Facts | None = None,
    progress: Callable[[int], object] | None = None,
) -> Lesson:
    """Teach a model a landmark from photos of it; the classifier itself stays as it is.

    Args:
        classifier: one whose model has statistics of its features. What it was taught before counts for the estimate.
        label: what to call the landmark. One that is known already, by this or another of its names, keeps its label,
            and will be recognised by these photos, too.
        photos: from 1; from 5 on it works well. Each is used in two views, as it is and mirrored.
        facts: what is known of the landmark.
        progress: called with the number of photos that each step has used.

    Raises:
        AddOnError: the model can't be taught, the label isn't a name, no photo can be read, or there are facts of a
            landmark that the model knows by itself.
    """
    _ = classifier.features_digest  # its error comes before any photo is read
    label = known_as(classifier, checked_label(label))
    if facts and facts.stored() and label in classifier.own_labels:
        raise AddOnError(f"The model knows {label} and where it is, so only photos of it can be taught.")
    features, used, unreadable = _features(classifier, photos, progress or (lambda count: None))
    if not used:
        why = f" {next(iter(unreadable.values()))}" if unreadable else ""
        raise AddOnError(f"{label} can't be taught without a photo that can be read.{why}")
    whitened = whitened_photos(classifier, features)
    addon = mean_addon(classifier, label, whitened, facts)
    return Lesson(label, addon, tuple(used), unreadable, _left_out(classifier, label, features[:, 0], whitened))


@torch.inference_mode()
def whitened_photos(classifier: LandmarkClassifier, features: Tensor) -> Tensor:
    """What photos teach, float32 `(n, D)` on the CPU: the mean over the views of their whitened features `(n, 2, D)`.

    The first view of a photo is the photo as it is served, the second one is mirrored.
    """
    flat = features.flatten(0, 1).to(classifier.served.mean.device)
    return classifier.served.whitened(flat).cpu().unflatten(0, features.shape[:2]).mean(1)


def mean_addon(classifier: LandmarkClassifier, label: str, whitened: Tensor, facts: Facts | None = None) -> AddOn:
    """An add-on with one landmark, from what its photos teach, as `whitened_photos` gives it.

    Raises:
        AddOnError: the model can't be taught.
    """
    vector = whitened.mean(0, keepdim=True).half()
    if not vector.isfinite().all():
        raise AddOnError(
            f"{classifier.source} can't be taught {label}: it gives features that are not finite, or huge."
        )
    return AddOn(
        classifier.features_digest,
        (label,),
        torch.tensor([len(whitened)], dtype=torch.int32),
        vector,
        {label: facts} if facts and facts.stored() else {},
        model=classifier.public_name,
    )


def checked_label(label: str) -> str:
    """A label without spaces around it.

    Raises:
        AddOnError: it is no name that could be shown.
    """
    label = unicodedata.normalize("NFC", label.strip())
    if not is_text(label) or not is_name(label):
        raise AddOnError(f"{for_terminal(label[:50])!r} is no name for a landmark: use 1 to {MAX_LABEL} characters.")
    return label


def known_as(classifier: LandmarkClassifier, name: str) -> str:
    """The label of the landmark that a classifier knows by a name; the name itself if there is none.

    For landmarks of the model, any name of the gazetteer counts; for taught ones, only case and accents may differ.
    """
    if name in classifier.labels:
        return name
    taught = classifier.labels[len(classifier.own_labels) :]
    alike = (label for label in taught if searchable(label) == searchable(name))
    return named(classifier.own_labels, name) or next(alike, name)


def _features(
    classifier: LandmarkClassifier, photos: Sequence[Photo], progress: Callable[[int], object]
) -> tuple[Tensor, list[int], dict[int, str]]:
    """The features of photos in each view, float32 `(n, 2, D)`, which they are, and why the others can't be read."""
    used: list[int] = []
    unreadable: dict[int, str] = {}
    parts = [torch.empty(0, 2, 1)]

    def read(photo: Photo) -> Tensor | PhotoError:
        try:
            return classifier.transform(open_photo(photo, classifier.min_side))
        except PhotoError as error:
            return error

    with ThreadPoolExecutor(available_cores()) as pool:
        for start in range(0, len(photos), _BATCH):
            images = dict(enumerate(pool.map(read, photos[start : start + _BATCH]), start))
            unreadable |= {index: str(image) for index, image in images.items() if isinstance(image, PhotoError)}
            used += [index for index in images if index not in unreadable]
            readable = [image for image in images.values() if isinstance(image, Tensor)]
            if readable:
                views = torch.stack([view for image in readable for view in (image, image.flip(-1))])
                body = classifier.body(views, fast_precision(classifier.device)).cpu()
                parts.append(body.unflatten(0, (len(readable), 2)))
            progress(len(images))
    return torch.cat(parts[1:] or parts), used, unreadable


@torch.inference_mode()
def _left_out(classifier: LandmarkClassifier, label: str, features: Tensor, whitened: Tensor) -> tuple[LeftOut, ...]:
    """How each photo, of features and whitened ones `(n, D)`, is answered by what the others have taught."""
    count, served = len(whitened), classifier.served
    if count < 2:
        return ()
    others = (whitened.sum(0) - whitened) / (count - 1)
    counts = torch.full((count,), count - 1)
    means = nn.functional.normalize(shrunk_means(others, counts, served.whitened_means), dim=1)
    cosines = (served.directions(features.to(served.mean.device)).cpu() * means).sum(1)
    correction = Correction.of(others, counts, classifier.least_cosine)
    scores = cosines * correction.factors + correction.bonuses
    logits = classifier.head(features.to(served.mean.device)).logits
    if label in classifier.labels:
        logits[:, classifier.labels.index(label)] = -torch.inf
    best, nearest = (logits / served.logits_per_cosine).max(1)
    recognised = (scores > best) & (correction.margins(scores, torch.arange(count)) >= 0)
    odd = cosines < _ODD * cosines.median() if count > 2 else torch.zeros(count, dtype=torch.bool)
    names = [classifier.labels[index] for index in nearest.tolist()]
    return tuple(map(LeftOut, cosines.tolist(), odd.tolist(), recognised.tolist(), names))

"""A landmark taught over the API: an add-on, and a report on how well it will be recognised."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from landmark_models.classifier import LandmarkClassifier
from landmark_models.errors import PhotoError
from landmark_models.page.addons import check_teachable, decoded, encoded, with_addon
from landmark_models.page.uploads import uploaded_file
from landmark_models.teach import FEW, Lesson, teach
from landmark_models.teaching import AddOnError, Facts, combined

MAX_PHOTOS = 30  # of a landmark
MAX_TOTAL = 256 * 2**20  # bytes, of all of them
TOO_MANY = f"A landmark is taught from 1 to {MAX_PHOTOS} photos here; send fewer."


def uploaded_files(photos: Any, folder: Path) -> list[Path]:
    """The uploaded files in `folder` that a list refers to; `uploaded_file` checks each.

    Raises:
        PhotoError: it is no list, too long, has something else in it, or its files are too large together.
    """
    if not isinstance(photos, list) or not photos:
        raise PhotoError(f"There are no photos yet; send a list of 1 to {MAX_PHOTOS}.")
    if len(photos) > MAX_PHOTOS:
        raise PhotoError(TOO_MANY)
    files = [uploaded_file(photo, folder) for photo in photos]
    if sum(file.stat().st_size for file in files) > MAX_TOTAL:
        raise PhotoError(f"The photos are larger than {MAX_TOTAL >> 20} MiB together; send smaller copies.")
    return files


def taught_by(
    classifier: LandmarkClassifier, files: Sequence[Path], name: Any, place: Any, country: Any, addon: Any
) -> dict[str, Any]:
    """A report as JSON, with the add-on as text that photos teach beside what was taught before.

    Raises:
        AddOnError: an argument is no text or can't be used, no photo can be read, or the add-on gets too large.
    """
    if not isinstance(name, str):
        raise AddOnError("The name must be text: what to call the landmark.")
    check_teachable(classifier)
    facts = Facts.checked(place=place, country=country)
    before = [decoded(addon)] if addon else []
    lesson = teach(with_addon(classifier, addon), name, files, facts)
    merged = combined([*before, lesson.addon])
    return {**_report(lesson), "labels": list(merged.labels), "addon": encoded(merged)}


def _report(lesson: Lesson) -> dict[str, Any]:
    confused, used = lesson.confused_with, len(lesson.used)
    return {
        "label": lesson.label,
        "photos": used,
        "odd": lesson.odd,
        "unreadable": [{"photo": index, "reason": reason} for index, reason in lesson.unreadable.items()],
        "recognised": lesson.recognised,
        "leftOut": len(lesson.left_out),
        "confusedWith": {"label": confused[0], "photos": confused[1]} if confused else None,
        "warning": f"Taught from fewer than {FEW} photos, a landmark is hardly recognised." if used < FEW else None,
    }

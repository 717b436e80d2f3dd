"""Many photos: each with its tags or the reason why it has none; all of them as CSV, JSON lines and XMP sidecars."""

import csv
import io
import json
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from landmark_models.classifier import LandmarkClassifier
from landmark_models.errors import PhotoError
from landmark_models.photo import photo_position, thumbnail
from landmark_models.tagging.tags import CSV_COLUMNS, Tags
from landmark_models.text import for_spreadsheet

__all__ = ["Tagged", "as_csv", "as_jsonl", "sidecars", "tag_photos"]


@dataclass(frozen=True)
class Tagged:
    """A photo by its name, and either its tags and a small JPEG of it, or the reason why it could not be read."""

    name: str
    tags: Tags | None = None
    thumbnail: bytes = b""
    error: str = ""


def tag_photos(classifier: LandmarkClassifier, photos: Sequence[tuple[str, Path]], top_k: int = 5) -> Iterator[Tagged]:
    """Recognise photos, given by name and file, in turn; a bad one is a result like any other."""
    answers = classifier.predict_many((file for _, file in photos), top_k, batch_size=16)
    for (name, file), answer in zip(photos, answers, strict=True):
        try:
            if isinstance(answer, PhotoError):
                raise answer
            yield Tagged(name, Tags.of(answer, photo_position(file)), thumbnail(file))
        except PhotoError as error:
            yield Tagged(name, error=str(error).replace(str(file), name))


def as_csv(photos: Iterable[Tagged]) -> str:
    """A CSV file with `CSV_COLUMNS`, a row for each photo."""
    file = io.StringIO(newline="")
    writer = csv.DictWriter(file, CSV_COLUMNS, restval="")
    writer.writeheader()
    for photo in photos:
        row = photo.tags.row(photo.name) if photo.tags else {"path": for_spreadsheet(photo.name)}
        writer.writerow(row | {"error": for_spreadsheet(photo.error)})
    return file.getvalue()


def as_jsonl(photos: Iterable[Tagged]) -> str:
    """A line of JSON for each photo: `path`, what `Tags.record` says, `error`."""
    records = (
        {"path": photo.name, **(photo.tags.record() if photo.tags else {}), "error": photo.error or None}
        for photo in photos
    )
    return "".join(json.dumps(record) + "\n" for record in records)


def sidecars(photos: Iterable[Tagged], camera_position: bool = False) -> bytes:
    """A zip archive of an XMP sidecar, PHOTO.EXT.xmp, for each photo that was recognised.

    Args:
        photos: any.
        camera_position: as in `Tags.xmp`.
    """
    content, taken = io.BytesIO(), set()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for photo in photos:
            if photo.tags is None or not photo.tags.recognised:
                continue
            name = PurePath(photo.name.replace("\\", "/")).name or "photo"
            stem, number = name, 1
            while name in taken:
                number += 1
                name = f"{number}-{stem}"
            taken.add(name)
            entry = zipfile.ZipInfo(f"{name}.xmp", date_time=(1980, 1, 1, 0, 0, 0))  # nothing of the server
            archive.writestr(entry, photo.tags.xmp(camera_position), zipfile.ZIP_DEFLATED)
    return content.getvalue()

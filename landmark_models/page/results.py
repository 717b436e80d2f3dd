"""The results of many photos, and the files to save them in: CSV, JSON lines, XMP sidecars in a zip archive."""

import csv
import io
import json
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import NamedTuple
from unicodedata import normalize

import torch
from torch import Tensor

from landmark_models.classifier import LandmarkClassifier
from landmark_models.devices import available_cores
from landmark_models.errors import PhotoError
from landmark_models.photo import read_photo, thumbnail
from landmark_models.tagging.tags import CSV_COLUMNS, NO_RECORD, Tags
from landmark_models.text import for_spreadsheet

_BATCH = 16  # photos
_THUMBNAIL_SIDE = 96  # px, the longer side


class _Read(NamedTuple):
    """What is kept of a photo after it was decoded."""

    image: Tensor  # the network's input, (3, H, W)
    position: tuple[float, float] | None
    thumbnail: bytes


@dataclass(frozen=True)
class PhotoResult:
    """A photo's file name and either its tags, with a small JPEG where it is to be listed, or why it can't be read."""

    name: str
    tags: Tags | None = None
    thumbnail: bytes = b""
    error: str = ""


def tag_photos(classifier: LandmarkClassifier, photos: Sequence[tuple[str, Path]]) -> Iterator[PhotoResult]:
    """Tag photos, given as name and file, one after the other; a photo that can't be read has a result too."""

    def read(photo: tuple[str, Path]) -> _Read | PhotoError:
        try:
            image, _, _, position = read_photo(photo[1], max(classifier.min_side, _THUMBNAIL_SIDE))
            return _Read(classifier.preprocess(image), position, thumbnail(image, _THUMBNAIL_SIDE))
        except PhotoError as error:
            return error

    with ThreadPoolExecutor(available_cores()) as pool:
        for start in range(0, len(photos), _BATCH):
            batch = photos[start : start + _BATCH]
            inputs = list(pool.map(read, batch))
            images = [item.image for item in inputs if isinstance(item, _Read)]
            answers = iter(classifier.rank(classifier.outputs(torch.stack(images))) if images else [])
            for (name, file), item in zip(batch, inputs, strict=True):
                if isinstance(item, PhotoError):
                    yield PhotoResult(name, error=str(item).replace(str(file), name))
                else:
                    yield PhotoResult(name, Tags.of(next(answers), item.position), item.thumbnail)


def as_csv(results: Iterable[PhotoResult]) -> str:
    """A CSV file with `CSV_COLUMNS` and a row for each photo."""
    file = io.StringIO(newline="")
    writer = csv.DictWriter(file, CSV_COLUMNS, restval="")
    writer.writeheader()
    for result in results:
        row = result.tags.row(result.name) if result.tags else {"path": for_spreadsheet(result.name)}
        writer.writerow(row | {"error": for_spreadsheet(result.error)})
    return file.getvalue()


def as_jsonl(results: Iterable[PhotoResult]) -> str:
    """A line of JSON for each photo: `path`, the fields of `Tags.record`, `error`."""
    records = (
        {"path": result.name, **(result.tags.record() if result.tags else NO_RECORD), "error": result.error or None}
        for result in results
    )
    return "".join(json.dumps(record) + "\n" for record in records)


def as_sidecars(results: Iterable[PhotoResult], camera_position: bool = False) -> bytes:
    """A zip archive with an XMP sidecar, PHOTO.EXT.xmp, for each photo that was recognised.

    A second photo of the same name, whatever its case, gets a number. `camera_position` is that of `Tags.xmp`.
    """
    content, used = io.BytesIO(), set[str]()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for result in results:
            if result.tags is None or not result.tags.recognised:
                continue
            name = base = PurePath(result.name.replace("\\", "/")).name or "photo"
            number = 1
            while (key := normalize("NFC", name).casefold()) in used:  # Windows and macOS would unpack only one of them
                number += 1
                name = f"{number}-{base}"
            used.add(key)
            entry = zipfile.ZipInfo(f"{name}.xmp", date_time=(1980, 1, 1, 0, 0, 0))  # nothing about the server
            archive.writestr(entry, result.tags.xmp(camera_position), zipfile.ZIP_DEFLATED)
    return content.getvalue()

"""The results of many photos, and the files to save them in: CSV, JSON lines, XMP sidecars in a zip archive."""

import csv
import io
import json
import secrets
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
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

_FIRST_BATCH, _BATCH = 4, 16  # photos; the first answers come soon
_THUMBNAIL_SIDE = 240  # px, the longer side


class _Read(NamedTuple):
    """What is kept of a photo after it was decoded."""

    image: Tensor  # the network's input, (3, H, W)
    position: tuple[float, float] | None
    thumbnail: Path


@dataclass(frozen=True)
class PhotoResult:
    """A photo's file name and either its tags, with a small JPEG where it is to be listed, or why it can't be read."""

    name: str
    tags: Tags | None = None
    thumbnail: Path | None = None
    error: str = ""


class SavedFiles(NamedTuple):
    """The files of many results, where there is something to put into them."""

    csv: Path | None = None
    jsonl: Path | None = None
    sidecars: Path | None = None
    sidecars_with_positions: Path | None = None


def tag_photos(
    classifier: LandmarkClassifier, photos: Sequence[tuple[str, Path]], folder: Path
) -> Iterator[list[PhotoResult]]:
    """Tag photos, given as name and file, a batch after the other; a photo that can't be read has a result too.

    Thumbnails are written to the folder.
    """

    def read(number: int) -> _Read | PhotoError:
        try:
            image, _, _, position = read_photo(photos[number][1], max(classifier.min_side, _THUMBNAIL_SIDE))
        except PhotoError as error:
            return error
        small = folder / f"{secrets.token_hex(8)}.jpg"  # by which the page tells results of several calls apart
        small.write_bytes(thumbnail(image, _THUMBNAIL_SIDE))
        return _Read(classifier.transform(image), position, small)

    with ThreadPoolExecutor(available_cores()) as pool:
        starts = [0, *range(_FIRST_BATCH, len(photos), _BATCH)]
        for start, end in pairwise([*starts, len(photos)]):
            inputs = list(pool.map(read, range(start, end)))
            images = [item.image for item in inputs if isinstance(item, _Read)]
            answers = iter(classifier.rank(classifier.outputs(torch.stack(images))) if images else [])
            yield [
                PhotoResult(name, error=str(item).replace(str(file), name))
                if isinstance(item, PhotoError)
                else PhotoResult(name, Tags.of(next(answers), item.position), item.thumbnail)
                for (name, file), item in zip(photos[start:end], inputs, strict=True)
            ]


def save(results: Sequence[PhotoResult], folder: Path) -> SavedFiles:
    """Write the files that a visitor can save; without results there are none, without names no sidecars."""

    def written(name: str, content: bytes) -> Path:
        (folder / name).write_bytes(content)
        return folder / name

    if not results:
        return SavedFiles()
    tables = (
        written("landmarks.csv", as_csv(results).encode("utf-8-sig")),  # which Excel takes for UTF-8
        written("landmarks.jsonl", as_jsonl(results).encode()),
    )
    if not any(result.tags and result.tags.known for result in results):
        return SavedFiles(*tables)
    return SavedFiles(
        *tables,
        written("sidecars.zip", as_sidecars(results)),
        written("sidecars-with-positions.zip", as_sidecars(results, camera_position=True)),
    )


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

"""The photos of a dataset to be uploaded, each decoded once: with our reader, and as the `datasets` library will."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from PIL import ExifTags, Image, ImageOps
from tqdm.auto import tqdm

from landmark_models.devices import available_cores
from landmark_models.errors import PhotoError
from landmark_models.photo import read_photo
from train.data import Photos

_SIDE = 64  # px; photos are decoded at about this size, to see whether they can be
_UNREADABLE = "photo that can't be read"
_NOT_BY_DATASETS = "photo that the datasets library can't read: convert it to JPEG"


@dataclass(frozen=True)
class Checked:
    """The photos of a split that can be read, and how many of them say where they were taken."""

    photos: Photos
    bytes: list[int]  # of each file
    with_position: int


def check_photos(photos: Photos, left_out: Counter[str]) -> Checked:
    """Decode each photo of a split; `left_out` counts those that can't be read, and they are printed."""
    positions, failures = 0, set()
    with ThreadPoolExecutor(available_cores()) as pool:  # Pillow releases the GIL
        for path, (why, detail, has_position) in tqdm(
            zip(photos.paths, pool.map(_check, photos.files()), strict=True), "checking", len(photos), unit="photo"
        ):
            if why:
                tqdm.write(f"Left out: {detail}")
                failures.add(path)
                left_out[why] += 1
            else:
                positions += has_position
    readable = photos.excluding(failures)
    return Checked(readable, [file.stat().st_size for file in readable.files()], positions)


def _check(file: Path) -> tuple[str, str, bool]:
    """Why a photo is left out, in the words of `left_out_line` and in a sentence; and whether it says where it was."""
    try:
        has_position = read_photo(file, _SIDE).position is not None
    except PhotoError as error:
        return _UNREADABLE, str(error), False
    try:
        _decode_plainly(file)
    except Exception as error:  # each of Pillow's plug-ins raises its own
        detail = f"{file}: the datasets library can't read it ({error or type(error).__name__}); convert it to JPEG."
        return _NOT_BY_DATASETS, detail, False
    return "", "", has_position


def _decode_plainly(file: Path) -> None:
    """Decode a photo as `datasets.Image` does: with Pillow alone, without HEIC and without mending what is damaged."""
    with Image.open(file) as image:
        image.draft(None, (_SIDE, _SIDE))
        image.load()
        if image.getexif().get(ExifTags.Base.Orientation) is not None:
            ImageOps.exif_transpose(image)

"""Download a published dataset and lay it out as a DATA folder.

python -m train.data download udacity --output photos/udacity
"""

import json
import shutil
import stat
import zipfile
import zlib
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from filelock import Timeout
from huggingface_hub import get_session
from huggingface_hub.file_download import http_get  # retries, resumes and shows a bar; works for any address
from tqdm.auto import tqdm

from landmark_models.errors import reason
from landmark_models.files import PHOTO_SUFFIXES, write_json
from train.data import DataError
from train.data.scratch import locked

_WORK = ".download"


@dataclass(frozen=True)
class Source:
    """A zip archive of `top/SPLIT/CLASS/*`, and how many photos each split must have."""

    url: str
    top: str
    counts: dict[str, int]


SOURCES = {
    "udacity": Source(  # 50 classes of Google Landmarks v2; most published figures are measured on it
        "https://udacity-dlnfd.s3-us-west-1.amazonaws.com/datasets/landmark_images.zip",
        "landmark_images",
        {"train": 4996, "test": 1250},
    )
}


def find_source(name: str, url: str | None = None) -> Source:
    """The dataset of this name, downloaded from `url` where one is given.

    Raises:
        DataError: no dataset has this name.
    """
    if name not in SOURCES:
        raise DataError(f"There is no dataset {name!r}; choose from: {', '.join(SOURCES)}.")
    return replace(SOURCES[name], url=url) if url else SOURCES[name]


def download(source: Source, output: str | Path) -> Path:
    """Download, check and unpack into `output/SPLIT/CLASS/*`. If it is interrupted, the next call resumes.

    Raises:
        DataError: it can't be downloaded or unpacked, or isn't what it should be; `output` then holds no photo of it.
    """
    output = Path(output)
    work = output / _WORK
    if all((output / split).is_dir() for split in source.counts):
        _check_counts(_counts(output, source), source, str(output))
        shutil.rmtree(work, ignore_errors=True)
        return output
    # interrupted between two splits, an earlier call left one
    ours = {_WORK, *source.counts} if work.is_dir() else {_WORK}
    if output.is_dir() and any(entry.name not in ours for entry in output.iterdir()):
        raise DataError(f"{output} holds other files; choose another --output.")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with locked(output, blocking=False):
            _download(source, output, work)
    except Timeout:
        raise DataError(f"Another command is downloading to {output}; let it finish first.") from None
    except OSError as error:
        raise DataError(f"{output} can't be written: {reason(error)}. Fix that and run the command again.") from None
    return output


def _download(source: Source, output: Path, work: Path) -> None:
    work.mkdir(parents=True, exist_ok=True)
    archive = _fetch(source.url, work)
    unpacked = _unpack(archive, work / "unpacked", source)
    _check_counts(_counts(unpacked, source), source, source.url)
    for split in source.counts:
        shutil.rmtree(output / split, ignore_errors=True)
        (unpacked / split).rename(output / split)
    shutil.rmtree(work)


def _fetch(url: str, work: Path) -> Path:
    """The archive, resuming what an earlier call downloaded of the same file."""
    archive, about = work / "archive.zip", work / "about.json"
    try:
        head = get_session().head(url, follow_redirects=True, timeout=30)
        head.raise_for_status()
    except Exception as error:  # whatever the HTTP library raises
        raise DataError(
            f"{url} can't be reached: {error}. Check the network, then run the command again to resume."
        ) from None
    length = head.headers.get("content-length")
    size = int(length) if length else None
    description = {"url": url, "etag": head.headers.get("etag"), "bytes": size}
    if _read_json(about) != description:
        archive.unlink(missing_ok=True)  # of another file
        write_json(about, description)
    with archive.open("ab") as file:
        try:
            http_get(url, file, resume_size=file.tell(), expected_size=size, displayed_filename=url)
        except Exception as error:
            why = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise DataError(f"The download of {url} stopped early: {why}. Run the command again to resume.") from None
    return archive


def _read_json(file: Path) -> Any:
    """The content of a JSON file; None if it is missing or was cut off."""
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _unpack(archive: Path, folder: Path, source: Source) -> Path:
    """Unpack the photos of the splits, and nothing else in the archive, under `folder`."""
    shutil.rmtree(folder, ignore_errors=True)
    try:
        with zipfile.ZipFile(archive) as content:
            members = {}
            for member in content.infolist():
                path = PurePosixPath(member.filename)
                outside = path.is_absolute() or ".." in path.parts or "\\" in member.filename
                if outside or stat.S_ISLNK(member.external_attr >> 16):
                    raise DataError(f"The archive from {source.url} is refused: {member.filename!r} leaves its folder.")
                inside = len(path.parts) == 4 and path.parts[0] == source.top and path.parts[1] in source.counts
                if inside and path.suffix.lower() in PHOTO_SUFFIXES and not path.name.startswith("."):
                    members[folder.joinpath(*path.parts[1:])] = member
            needed, free = sum(member.file_size for member in members.values()), shutil.disk_usage(archive.parent).free
            if needed > free:
                raise DataError(
                    f"Unpacking {source.url} takes {needed / 1e9:.1f} GB, but only {free / 1e9:.1f} GB are free."
                )
            for target, member in tqdm(members.items(), desc="unpacking", unit="photo", leave=False):
                target.parent.mkdir(parents=True, exist_ok=True)
                with content.open(member) as packed, target.open("wb") as file:
                    shutil.copyfileobj(packed, file)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        archive.unlink()
        raise DataError(
            f"The archive from {source.url} is damaged ({error}). Run the command again to download it afresh."
        ) from None
    return folder


def _counts(folder: Path, source: Source) -> dict[str, int]:
    files = (path for split in source.counts for path in (folder / split).glob("*/[!.]*"))
    found = Counter(path.relative_to(folder).parts[0] for path in files if path.suffix.lower() in PHOTO_SUFFIXES)
    return {split: found[split] for split in source.counts}


def _check_counts(found: dict[str, int], source: Source, where: str) -> None:
    if found != source.counts:
        shown = ", ".join(f"{found[split]} {split} photos instead of {count}" for split, count in source.counts.items())
        raise DataError(f"{where} has {shown}, so it isn't the expected dataset.")

"""The rows of an image dataset on the Hub as photos in class folders.

What is written are the photos' own bytes, which `landmark_models.photo` reads later.
"""

import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from huggingface_hub import HfFileSystem
from tqdm.auto import tqdm

from landmark_models.files import PHOTO_SUFFIXES, left_out_line
from landmark_models.photo import MAX_BYTES
from landmark_models.text import is_name, label_of
from train.data import DataError
from train.data.hub_tables import failures_of, open_rows
from train.data.labels import label_folders
from train.data.left_out import some
from train.data.splits import SPLIT_NAMES, SPLITS

_MAX_LABEL = 200  # bytes; a folder's name has at most 255
_THREADS = 16  # that read photos which are files of their own
_WINDOW = 64  # photos in memory at a time
_NO_PHOTO, _NO_LABEL = "row without a photo", "row without a label"


def write_rows(repo_id: str, commit: str, config: str, folder: Path) -> dict[str, dict[str, int]]:
    """Write the photos of a dataset as `SPLIT/NUMBER._LABEL/ROW.jpg`; return what was left out of each split.

    Classes are numbered as the dataset numbers them, or in the order of their labels if these are text; rows as they
    come. What is left out is counted in the words of `left_out_line`, under "" if it belongs to none of the splits.

    Raises:
        DataError: it can't be read, has no photos with labels, or a label can't be used.
        OSError: the folder can't be written.
    """
    source = f"hf:{repo_id}" + (f":{config}" if config else "")
    with tempfile.TemporaryDirectory() as empty:  # where `datasets` finds no older state to fall back on
        rows = open_rows(repo_id, commit, config, source, empty)
        splits, others = _splits_of(rows.splits, source)
        left_out: dict[str, dict[str, int]] = {"": dict(rows.left_out | others)}
        numbers = {name: number for number, name in enumerate(rows.names or ())}
        for split, name in splits.items():
            bar = tqdm(rows.splits[name], f"reading {source}, {name}", rows.counts.get(name), unit="photo")
            photos = _with_content(bar, f"hf://datasets/{repo_id}@{commit}/", source)
            left_out[split] = _write_split(photos, folder, split, numbers)
            if not (folder / split).is_dir():
                left_out[split][f"split without a photo that has a label ({split})"] = 1
    if not any(folder.iterdir()):
        why = left_out_line(Counter({why: count for part in left_out.values() for why, count in part.items()}))
        raise DataError(f"{source} has no photo with a label. {why}".rstrip())
    _name_folders(folder, numbers if rows.names else {name: numbers[name] for name in sorted(numbers)}, source)
    return left_out


def _splits_of(rows: Mapping[str, Any], source: str) -> tuple[dict[str, str], Counter[str]]:
    """The dataset's own name of each split, and what is left out besides."""
    found: dict[str, str] = {}
    others = []
    for name in map(str, rows):
        split = SPLIT_NAMES.get(name.lower())
        if split in found:
            raise DataError(f"{source} has the splits {found[split]} and {name}, which are both the {split} split.")
        if split:
            found[split] = name
        else:
            others.append(name)
    if not found:
        raise DataError(f"{source} has none of the splits train, validation and test, but {some(others)}.")
    left_out = Counter({f"split beside train, validation and test ({some(others)})": len(others)} if others else {})
    return {split: found[split] for split in SPLITS if split in found}, left_out


def _with_content(
    rows: Iterable[tuple[Any, str | None]], prefix: str, source: str
) -> Iterator[tuple[str, bytes | None, str | None]]:
    """The suffix and the bytes of each photo, and its label. A photo that isn't in the dataset itself has no bytes."""
    with failures_of(source), ThreadPoolExecutor(_THREADS) as pool:
        rows = iter(rows)
        while window := list(islice(rows, _WINDOW)):
            contents = pool.map(partial(_content, prefix=prefix), (photo for photo, _ in window))
            for (photo, label), content in zip(window, contents, strict=True):
                suffix = Path((isinstance(photo, dict) and photo.get("path")) or "").suffix.lower()
                yield suffix if suffix in PHOTO_SUFFIXES else ".jpg", content, label


def _content(photo: Any, prefix: str) -> bytes | None:
    """A photo's bytes, from its row or from a file of the dataset; of a file too large to be a photo only the start."""
    if not isinstance(photo, dict):
        return None
    if photo.get("bytes") is not None:
        return photo["bytes"]
    path = photo.get("path") or ""
    if not path.startswith(prefix) or ".." in path.split("/"):  # neither this computer's files nor the network's
        return None
    with HfFileSystem().open(path, "rb", block_size=0) as file:  # in one request
        return file.read(MAX_BYTES + 1)


def _write_split(
    photos: Iterator[tuple[str, bytes | None, str | None]], folder: Path, split: str, numbers: dict[str, int]
) -> dict[str, int]:
    """Write a split's photos into folders named by the `numbers` of their labels; new labels are added to these."""
    left_out: dict[str, list[str]] = defaultdict(list)
    for row, (suffix, content, label) in enumerate(photos):
        if content is None or label is None:
            left_out[_NO_PHOTO if content is None else _NO_LABEL].append(f"{split}/{row:06}")
            continue
        file = folder / split / str(numbers.setdefault(label, len(numbers))) / f"{row:06}{suffix}"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return {f"{why} ({some(rows)})": len(rows) for why, rows in left_out.items()}


def _name_folders(folder: Path, numbers: Mapping[str, int], source: str) -> None:
    """Give the numbered folders names that begin with the classes' order and end with their labels."""
    digits = max(4, len(str(len(numbers))))
    names = {
        number: f"{order:0{digits}}._{_label(name, source)}" for order, (name, number) in enumerate(numbers.items())
    }
    try:
        label_folders([Path(name) for name in names.values()])
    except DataError as error:
        raise DataError(f"{source} can't be used: {error}") from None
    for path in list(folder.glob("*/*")):
        path.rename(path.with_name(names[int(path.name)]))


def _label(name: str, source: str) -> str:
    """The label of a class, read as a folder's name is."""
    label = label_of(name.replace("/", "-").replace("\\", "-"))
    if not is_name(label) or len(label.encode(errors="replace")) > _MAX_LABEL:
        raise DataError(
            f"{source} has a class {name[:_MAX_LABEL]!r}, which can't be a label: it must be one line of visible text, "
            f"at most {_MAX_LABEL} bytes long."
        )
    return label

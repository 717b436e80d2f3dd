"""The rows of an image dataset on the Hub as photos in class folders.

The `datasets` library finds the data files of a commit and streams their rows; it neither runs code from a repository
nor decodes a photo here. What is written are the photos' own bytes, which `landmark_models.photo` reads later.
"""

import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from huggingface_hub import HfFileSystem
from tqdm.auto import tqdm

from landmark_models.errors import LandmarkError
from landmark_models.files import PHOTO_SUFFIXES, left_out_line
from landmark_models.models.failures import describe_failure
from landmark_models.photo import MAX_BYTES
from landmark_models.text import is_name, label_of
from train.data import DataError
from train.data.labels import label_folders
from train.data.left_out import some
from train.data.splits import SPLIT_NAMES, SPLITS

_TEXT_COLUMNS = ("label", "labels", "class", "landmark")  # which may hold labels as text
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
        with _failures_of(source):
            rows, counts = _open(repo_id, commit, config, empty)
        image, label, names = _columns(next(iter(rows.values())).features or {}, source)
        splits, left_out = _splits_of(rows, source)
        numbers = {name: number for number, name in enumerate(names or ())}
        for split, name in splits.items():
            bar = tqdm(
                rows[name].decode(False).select_columns([image, label]),
                f"reading {source}, {name}",
                counts.get(name),
                unit="photo",
            )
            label_name = partial(_label_name, names=names)
            pairs = ((row[image], label_name(row[label])) for row in bar)
            photos = _with_content(pairs, f"hf://datasets/{repo_id}@{commit}/", source)
            left_out[split] = _write_split(photos, folder, split, numbers)
    if not any(folder.iterdir()):
        why = left_out_line(Counter({why: count for part in left_out.values() for why, count in part.items()}))
        raise DataError(f"{source} has no photo with a label. {why}".rstrip())
    _name_folders(folder, numbers if names else {name: numbers[name] for name in sorted(numbers)}, source)
    return left_out


@contextmanager
def _failures_of(source: str) -> Iterator[None]:
    """Turn whatever `datasets`, pyarrow, fsspec and huggingface_hub raise inside the block into a DataError."""
    try:
        yield
    except LandmarkError:
        raise
    except Exception as error:
        raise DataError(describe_failure(f"{source} can't be read", error)) from None


def _open(repo_id: str, commit: str, config: str, cache: str) -> tuple[Mapping[str, Any], dict[str, int]]:
    """The rows of each split, and how many there are, as far as that is known."""
    from datasets import get_dataset_config_names, load_dataset_builder

    path = f"hf://datasets/{repo_id}"
    try:
        builder = load_dataset_builder(path, config or None, revision=commit, cache_dir=cache)
    except ValueError:
        configs = get_dataset_config_names(path, revision=commit)
        if config in configs or (not config and len(configs) == 1):
            raise
        raise DataError(
            f"hf:{repo_id} has {'no configuration ' + repr(config) if config else 'several configurations'}: choose "
            f"one of {some(configs)}, e.g. hf:{repo_id}:{configs[0]}."
        ) from None
    for file in (str(file) for files in (builder.config.data_files or {}).values() for file in files):
        if not file.startswith(f"{path}@{commit}/"):
            raise DataError(f"hf:{repo_id} is refused: it takes its rows from elsewhere ({file[:200]}).")
        if file.endswith(".zip"):  # `datasets` loses the labels of what it streams from one
            raise DataError(f"hf:{repo_id} has its photos in archives ({Path(file).name}), which can't be streamed.")
    infos = builder.info.splits or {}
    return builder.as_streaming_dataset(), {name: info.num_examples for name, info in infos.items()}


def _columns(features: Mapping[str, Any], source: str) -> tuple[str, str, list[str] | None]:
    """The column of photos, that of labels, and the labels' names; None if the labels are text."""
    from datasets import ClassLabel, Image, Value

    images = [name for name, kind in features.items() if isinstance(kind, Image)]
    labels = [name for name, kind in features.items() if isinstance(kind, ClassLabel)]
    if not labels:
        texts = [name for name, kind in features.items() if isinstance(kind, Value) and "string" in kind.dtype]
        labels = [name for name in texts if name in _TEXT_COLUMNS]
    image, label = _one_of(images, "image"), _one_of(labels, "label")
    if image and label:
        return image, label, getattr(features[label], "names", None)
    kinds = [f"{name} ({getattr(kind, 'dtype', type(kind).__name__)})" for name, kind in features.items()]
    raise DataError(
        f"{source} must have one column of images and one ClassLabel, or text in a column named label. "
        f"Its columns are: {', '.join(kinds)[:500] or 'none'}."
    )


def _one_of(names: list[str], preferred: str) -> str | None:
    """The only name, or among several the preferred one."""
    return names[0] if len(names) == 1 else preferred if preferred in names else None


def _splits_of(rows: Mapping[str, Any], source: str) -> tuple[dict[str, str], dict[str, dict[str, int]]]:
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
    left_out = {"": {f"split beside train, validation and test ({some(others)})": len(others)}} if others else {}
    return {split: found[split] for split in SPLITS if split in found}, left_out


def _label_name(value: Any, names: list[str] | None) -> str | None:
    """The label of a row; None if it has none, which a ClassLabel says with -1."""
    if names is None:
        return value.strip() or None if isinstance(value, str) else None
    return names[value] if isinstance(value, int) and 0 <= value < len(names) else None


def _with_content(
    rows: Iterable[tuple[Any, str | None]], prefix: str, source: str
) -> Iterator[tuple[str, bytes | None, str | None]]:
    """The suffix and the bytes of each photo, and its label. A photo that isn't in the dataset itself has no bytes."""
    with _failures_of(source), ThreadPoolExecutor(_THREADS) as pool:
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

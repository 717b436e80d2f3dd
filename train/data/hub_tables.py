"""The rows of an image dataset on the Hub: the photo and the label of each, by split.

The `datasets` library finds the data files of a commit and streams their rows; it neither runs code from a repository
nor decodes a photo here.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from landmark_models.errors import LandmarkError
from landmark_models.models.failures import describe_failure
from train.data import DataError
from train.data.hub_files import UNLISTED, check_card, class_folders, photos_beside
from train.data.left_out import some

_TEXT_COLUMNS = ("label", "labels", "class", "landmark")  # which may hold labels as text
_BATCH = 64  # rows of a Parquet file in memory at a time


@dataclass(frozen=True)
class Rows:
    """The rows of a dataset: of each of its splits, pairs of a photo and a label, which may be None."""

    splits: Mapping[str, Iterable[tuple[Any, str | None]]]
    names: Sequence[str] | None  # the classes in their order; None if the labels are text
    counts: Mapping[str, int]  # of rows in a split, as far as that is known
    left_out: Counter[str]


def open_rows(repo_id: str, commit: str, config: str, source: str, cache: str) -> Rows:
    """The rows of a dataset, of which none is read yet; `datasets` keeps what it needs in the folder `cache`.

    Raises:
        DataError: it can't be read, takes its rows from elsewhere, or has no photos with labels.
    """
    with failures_of(source):
        check_card(repo_id, commit)
        return _rows(_open(repo_id, commit, config, cache), repo_id, commit, source)


@contextmanager
def failures_of(source: str) -> Iterator[None]:
    """Turn whatever `datasets`, pyarrow, fsspec and huggingface_hub raise inside the block into a DataError."""
    try:
        yield
    except LandmarkError:
        raise
    except Exception as error:
        raise DataError(describe_failure(f"{source} can't be read", error)) from None


def _open(repo_id: str, commit: str, config: str, cache: str) -> Any:
    """The builder of `datasets` for a configuration, which has listed the data files and read none of them."""
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
    return builder


def _rows(builder: Any, repo_id: str, commit: str, source: str) -> Rows:
    """The rows of a dataset, as its files have them or, for photos in class folders, as these are named."""
    left_out: Counter[str] = Counter()
    if builder.name == "imagefolder":
        unlisted = photos_beside(repo_id, commit, builder.EXTENSIONS)
        files = [Path(file).name for files in builder.config.data_files.values() for file in files]
        if not builder.config.drop_labels and not set(files) & set(builder.METADATA_FILENAMES):
            return _rows_of_folders(builder, f"hf://datasets/{repo_id}@{commit}/", unlisted, source)
        if unlisted:
            left_out[f"{UNLISTED} ({some(unlisted)})"] = len(unlisted)
    if builder.name == "parquet":
        builder.config.batch_size = _BATCH  # its default is that of the first row group, which may have none
    tables = builder.as_streaming_dataset()
    image, label, names = _columns(next(iter(tables.values())).features or {}, source)
    pairs = {
        name: _pairs(table.decode(False).select_columns([image, label]), image, label, names)
        for name, table in tables.items()
    }
    counts = {name: info.num_examples for name, info in (builder.info.splits or {}).items()}
    return Rows(pairs, names, counts, left_out)


def _rows_of_folders(builder: Any, prefix: str, unlisted: Sequence[str], source: str) -> Rows:
    """The rows of photos in class folders, which the card of a dataset may put in an order."""
    listed = {
        str(split): [str(file).removeprefix(prefix) for file in files]
        for split, files in builder.config.data_files.items()
    }
    found, left_out = class_folders(listed, unlisted, source)
    names = getattr((builder.info.features or {}).get("label"), "names", None)
    return Rows(
        {split: [({"path": prefix + path}, label) for path, label in photos] for split, photos in found.items()},
        names or sorted({label for photos in found.values() for _, label in photos}),
        {split: len(photos) for split, photos in found.items()},
        left_out,
    )


def _pairs(table: Any, image: str, label: str, names: Sequence[str] | None) -> Iterator[tuple[Any, str | None]]:
    """The photo and the label of each row."""
    for row in table:
        yield row[image], _label_name(row[label], names)


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


def _label_name(value: Any, names: Sequence[str] | None) -> str | None:
    """The label of a row; None if it has none, which a ClassLabel says with -1."""
    if names is None:
        return value.strip() or None if isinstance(value, str) else None
    return names[value] if isinstance(value, int) and 0 <= value < len(names) else None

"""The files of an image dataset on the Hub: where its card says that they are, and photos in class folders."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import yaml
from huggingface_hub import DatasetCard, HfApi, hf_hub_download
from huggingface_hub.errors import RemoteEntryNotFoundError
from huggingface_hub.hf_api import RepoFile

from landmark_models.files import is_photo_name, why_left_out
from train.data import DataError
from train.data.left_out import some
from train.data.splits import SPLITS, split_name

_CARDS = ("README.md", ".huggingface.yaml")  # which may configure a dataset
UNLISTED = "photo that the datasets library doesn't list"
_PLACES = ("data_files", "data_dir")


def check_card(repo_id: str, commit: str) -> None:
    """Check that a dataset's card takes its rows from the repository alone; `datasets` would look wherever it says.

    Raises:
        DataError: it names an address, or a path outside the repository.
    """
    for name in _CARDS:
        try:
            text = Path(hf_hub_download(repo_id, name, revision=commit, repo_type="dataset")).read_text(
                encoding="utf-8"
            )
        except RemoteEntryNotFoundError:
            continue
        about = DatasetCard(text).data.to_dict() if name.endswith(".md") else yaml.safe_load(text) or {}
        configs = [config for config in about.get("configs") or [] if isinstance(config, dict)]
        for place in _texts([config.get(key) for config in configs for key in _PLACES]):
            if _is_elsewhere(place):
                raise DataError(f"hf:{repo_id} is refused: it takes its rows from elsewhere ({place[:200]!r}).")


def _texts(value: Any) -> Iterator[str]:
    """The texts in what YAML holds; what it refers to twice is looked at once."""
    waiting, seen = [value], set()
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, dict | list) and id(value) not in seen:
            seen.add(id(value))
            waiting += value.values() if isinstance(value, dict) else value


def _is_elsewhere(place: str) -> bool:
    """Whether a pattern may lead out of a repository: it is an address, absolute, or goes up."""
    path = PureWindowsPath(place)  # which splits at both slashes
    return "://" in place or "::" in place or bool(path.drive or path.root) or ".." in path.parts


def photos_beside(repo_id: str, commit: str, suffixes: Iterable[str]) -> list[str]:
    """The paths of a dataset's files that are named like photos and have none of these suffixes, sorted."""
    entries = HfApi().list_repo_tree(repo_id, recursive=True, revision=commit, repo_type="dataset")
    paths = [PurePosixPath(entry.path) for entry in entries if isinstance(entry, RepoFile)]
    return sorted(str(path) for path in paths if is_photo_name(path.name) and path.suffix.lower() not in suffixes)


def class_folders(
    listed: Mapping[str, Sequence[str]], unlisted: Sequence[str], source: str
) -> tuple[dict[str, list[tuple[str, str]]], Counter[str]]:
    """The paths and labels of each split's photos, which are in folders named by the labels; and what is left out.

    Args:
        listed: the files of each split, as `datasets` lists them: without HEIC, AVIF and others.
        unlisted: the photos that it doesn't list; they belong to the split that has class folders beside theirs.
        source: what messages call the dataset.

    Raises:
        DataError: some photos are deeper than others, so that the labels aren't clear.
    """
    found: dict[str, list[tuple[str, str]]] = {split: [] for split in listed}
    splits_with: dict[PurePosixPath, set[str]] = defaultdict(set)  # class folders, by the folder that they are in
    left_out: dict[str, list[str]] = defaultdict(list)

    def put(path: PurePosixPath, splits: set[str]) -> None:
        if why := why_left_out(path.name):
            left_out[why].append(str(path))
        elif not path.parent.name or split_name(path.parent.name) in SPLITS:
            left_out["photo outside a class folder"].append(str(path))
        elif len(splits) != 1:
            left_out[UNLISTED].append(str(path))
        else:
            found[next(iter(splits))].append((str(path), path.parent.name))
            splits_with[path.parent.parent] |= splits

    for split, paths in listed.items():
        for path in map(PurePosixPath, paths):
            put(path, {split})
    for path in map(PurePosixPath, unlisted):
        put(path, splits_with[path.parent.parent])
    _check_depths([path for rows in found.values() for path, _ in rows], source)
    named = Counter({f"{why} ({some(paths)})": len(paths) for why, paths in left_out.items()})
    return {split: sorted(rows) for split, rows in found.items()}, named


def _check_depths(paths: Sequence[str], source: str) -> None:
    """Raise a DataError that names the first photo which is less or more deep in folders than most are."""
    depths = Counter(path.count("/") for path in paths).most_common()
    if len(depths) > 1:
        usual, odd = (next(path for path in paths if path.count("/") == depth) for depth, _ in depths[:2])
        raise DataError(
            f"{source} has photos in class folders like {usual}, and others at another depth, like {odd}, so its "
            "labels aren't clear. Download it with `hf download`, move these, and pass the folder."
        )

"""Which photos there are, of which class, in which split.

DATA is a folder with any of `train/`, `val/` (or `valid/`, `validation/`) and `test/`, each of `CLASS/*`, or a folder
of bare `CLASS/*`; or it is a dataset with a name: `hf:owner/name` or `torch/NAME`.
"""

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from landmark_models.errors import reason
from landmark_models.files import find_photos_below, left_out_line, why_left_out
from train.data import DataError
from train.data.hub_datasets import left_out_of
from train.data.labels import find_alike, label_folders, match_folders
from train.data.left_out import some
from train.data.location import data_folder
from train.data.photos import Photos, is_listed, split_off
from train.data.splits import SPLIT_NAMES, SPLITS, split_name

_NOT_SPLITS = ("training", "testing", "tests", "eval", "evaluation", "dev")


def split_folders(root: Path) -> dict[str, Path]:
    """The folders of the splits that DATA has; none for a folder of bare classes.

    Raises:
        DataError: two folders are the same split.
    """
    found: dict[str, Path] = {}
    folders = _subfolders(root)
    for folder in folders:
        split = split_name(folder.name)
        if split in SPLITS and split in found:
            raise DataError(f"{found[split]} and {folder} are both the {split} split; merge them or rename one.")
        if split in SPLITS:
            found[split] = folder
    if not found and (others := [repr(folder.name) for folder in folders if folder.name.lower() in _NOT_SPLITS]):
        raise DataError(
            f"The folder {root} has {some(others)}, which would be a class; "
            "name the folders of splits train, val and test."
        )
    return {split: found[split] for split in SPLITS if split in found}


def find_photos(
    data: str | Path, split: str, labels: Sequence[str] | None = None, left_out: Counter[str] | None = None
) -> Photos | None:
    """The photos of one split of DATA, or None where the folder has no such split.

    A folder of bare classes is its own `train`, and for evaluation `all`. A class has all photos in its folder and
    below it, without hidden ones and those in folders of the system.

    Args:
        data: the folder, `hf:owner/name` or `torch/NAME`. Links are followed once.
        split: `train`, `val`, `test`, or `all` for a folder of bare classes.
        labels: the labels that targets index; by default those of the folder, sorted by folder name.
        left_out: counts what is left out, in the words of `left_out_line`.

    Raises:
        DataError: the folder is missing or has no photo, two folders have one label, or a label isn't in `labels`.
    """
    left_out = Counter() if left_out is None else left_out
    root, split = data_folder(data), split_name(split)
    splits = split_folders(root)
    if not splits and split not in ("train", "all"):
        return None
    if splits and split == "all":
        names = ", ".join(folder.name for folder in splits.values())
        raise DataError(f"The folder {root} has splits ({names}); choose one of them.")
    top = splits.get(split, root / split) if splits else root
    if not top.is_dir():
        left_out |= left_out_of(root, split)  # which may be all rows of a split
        return None
    photos = _find_classes(root, top, splits, labels, left_out)
    if not len(photos):
        raise DataError(
            f"The folder {top} has no photo in a class folder; it needs a folder of photos for each landmark. "
            f"{left_out_line(left_out)}".rstrip()
        )
    return photos


def find_splits(data: str | Path, left_out: Counter[str]) -> dict[str, Photos]:
    """The photos of each split of DATA that has some, with the same labels; bare classes are `train`.

    Raises:
        DataError: DATA has no photo in a class folder, or two of its folders have one label.
    """
    root = data_folder(data)
    splits = split_folders(root)
    found = {
        split: _find_classes(root, top, splits, None, left_out) for split, top in (splits or {"train": root}).items()
    }
    for split in set(SPLITS) - splits.keys():
        left_out |= left_out_of(root, split)
    labels = tuple(dict.fromkeys(label for photos in found.values() for label in photos.labels))
    if not labels:
        find_photos(data, next(iter(found)))
    if alike := find_alike(labels):
        raise DataError(
            f"The folder {root} has one name in two forms, {' and '.join(map(repr, alike))}; rename a class folder."
        )
    return {split: photos.of_labels(labels) for split, photos in found.items() if len(photos)}


def check_output(output: str | Path, data: str | Path) -> None:
    """Check that a command that reads DATA can make its output folder.

    Raises:
        DataError: a file is in its way, it can't be written, or it is where DATA's classes are.
    """
    output = Path(output)
    there = next(path for path in (output, *output.absolute().parents) if path.exists())
    if not there.is_dir():
        raise DataError(f"The output {output} can't be made: {there} is a file; name a folder.")
    if not os.access(there, os.W_OK | os.X_OK):
        raise DataError(f"The output {output} can't be made: {there} can't be written by this user; name another.")
    root = data_folder(data)
    for top in split_folders(root).values() or [root]:
        if output.resolve().is_relative_to(top.resolve()):
            raise DataError(
                f"The output {output} is in the data folder {top}, where it would be taken for a class; name another."
            )


def _find_classes(
    root: Path, top: Path, splits: Mapping[str, Path], labels: Sequence[str] | None, left_out: Counter[str]
) -> Photos:
    """The photos in the class folders of `top`, which is a split or, without splits, DATA itself."""
    if splits and (others := [folder.name for folder in _subfolders(root) if folder not in (*splits.values(), top)]):
        left_out[f"folder beside the splits ({some(others)})"] = len(others)
    left_out |= left_out_of(root, split_name(top.name))
    folders = _subfolders(top, left_out)
    if not splits and (nested := next((f for f in folders if any((f / name).is_dir() for name in SPLIT_NAMES)), None)):
        raise DataError(f"The folder {nested} has splits, so it isn't a class but a data folder: pass it as DATA.")
    by_label = label_folders(folders) if labels is None else match_folders(folders, labels)
    tops = [os.path.realpath(folder) for folder in splits.values() or [root]]
    paths_of = {label: sorted(_paths(folder, root, tops, left_out)) for label, folder in by_label.items()}
    if empty := [by_label[label].name for label, paths in paths_of.items() if not paths]:
        left_out[f"class folder without a photo ({some(empty)})"] += len(empty)
    if labels is None:
        labels = [label for label, paths in paths_of.items() if paths]
    index = {label: position for position, label in enumerate(labels)}
    if unknown := sorted(label for label, paths in paths_of.items() if paths and label not in index):
        alike = find_alike([*labels, *unknown])
        hint = f" (it has {alike[0]!r})" if alike else ""
        raise DataError(
            f"The folder {top} has {some(list(map(repr, unknown)), 'labels')}, which the model does not know{hint}; "
            "leave those class folders out or rename them."
        )
    pairs = [(path, index[label]) for label, paths in paths_of.items() for path in paths]
    return Photos(root, tuple(p for p, _ in pairs), tuple(t for _, t in pairs), tuple(labels))


def _subfolders(folder: Path, left_out: Counter[str] | None = None) -> list[Path]:
    """The folders in a folder, sorted; hidden ones, those of the system and files are counted."""
    left_out = Counter() if left_out is None else left_out
    found = []
    try:
        for entry in folder.iterdir():
            is_folder = entry.is_dir()
            why = why_left_out(entry.name, folder.name, is_folder)
            if why:
                left_out[why] += 1
            elif why is not None:  # not worth a word
                continue
            elif is_folder:
                found.append(entry)
            else:
                left_out["photo outside a class folder"] += 1
    except OSError as error:
        raise DataError(f"The folder {folder} can't be listed: {reason(error)}.") from None
    return sorted(found)


def _paths(folder: Path, root: Path, tops: Sequence[str], left_out: Counter[str]) -> Iterator[str]:
    """The paths of a class's photos, relative to `root`.

    A link below the class folder that leads to another class is not followed: `tops` are where DATA's classes are.
    """
    own, prefix = os.path.realpath(folder), len(str(folder)) - len(str(folder.relative_to(root)))
    is_own: dict[str, bool] = {}  # by folder
    failures = []
    for path, error in find_photos_below(folder, left_out=left_out):
        parent = path.rpartition(os.sep)[0]
        if parent not in is_own:
            real = os.path.realpath(parent)
            is_own[parent] = _is_below(real, own) or not any(_is_below(real, top) for top in tops)
        if error:
            failures.append(path)
        elif is_own[parent]:
            yield path[prefix:]
    if failures:
        left_out[f"folder or link that can't be read ({some(failures)})"] += len(failures)


def _is_below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(os.path.join(folder, ""))


def train_and_val(
    data: str | Path,
    val_fraction: float,
    seed: int,
    exclusions: frozenset[str] = frozenset(),
    left_out: Counter[str] | None = None,
) -> tuple[Photos, Photos, list[str]]:
    """The training and validation photos of DATA, without exclusions; a missing validation split is drawn from train.

    Returns:
        The training photos, the validation photos, and the paths that were excluded, sorted. Labels without a training
        photo are dropped; `left_out` counts them.

    Raises:
        DataError: there is nothing to train on, or nothing to validate on.
    """
    left_out = Counter() if left_out is None else left_out
    train = find_photos(data, "train", left_out=left_out)
    if train is None:
        raise DataError(f"The folder {data} has no train folder.")
    val = find_photos(data, "val", train.labels, left_out)
    everything = train if val is None else train.joined(val)
    excluded = sorted(path for path in everything.paths if is_listed(path, exclusions))
    train = train.excluding(exclusions)
    kept = train.present_labels()
    if len(kept) < 2:
        one = f"one class only, {kept[0]!r}" if kept else "no photo that isn't excluded"
        raise DataError(f"The folder {data} has {one}; a classifier needs at least two classes.")
    if empty := [label for label in train.labels if label not in kept]:
        left_out[f"class whose photos are all excluded ({some(empty)})"] += len(empty)
    train = train.of_labels(kept)
    if val is not None:
        return train, val.excluding(exclusions).of_labels(kept), excluded
    return *split_off(train, val_fraction, seed), excluded

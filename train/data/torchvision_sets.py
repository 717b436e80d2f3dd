"""Torchvision's own datasets as DATA: `torch/cifar10` is downloaded once, then a folder like any other."""

import shutil
from pathlib import Path
from typing import Any

from torchvision import datasets
from tqdm.auto import tqdm

from train.data import DataError
from train.data.cache import default_cache_folder
from train.data.scratch import locked, remove_abandoned, scratch_folder

_SCRATCH = ".fetching-"
_TRAIN_OR_NOT: dict[str, dict[str, Any]] = {"train": {"train": True}, "test": {"train": False}}
_TWO: dict[str, dict[str, Any]] = {name: {"split": name} for name in ("train", "test")}
_THREE: dict[str, dict[str, Any]] = {name: {"split": name} for name in ("train", "val", "test")}

# For each name, torchvision's class and its arguments for each split.
SETS = {
    "cifar10": ("CIFAR10", _TRAIN_OR_NOT),
    "cifar100": ("CIFAR100", _TRAIN_OR_NOT),
    "mnist": ("MNIST", _TRAIN_OR_NOT),
    "fashionmnist": ("FashionMNIST", _TRAIN_OR_NOT),
    "kmnist": ("KMNIST", _TRAIN_OR_NOT),
    "stl10": ("STL10", _TWO),
    "food101": ("Food101", _TWO),
    "flowers102": ("Flowers102", _THREE),
    "fgvcaircraft": ("FGVCAircraft", _THREE),
    "dtd": ("DTD", _THREE),
}


def torchvision_folder(name: str) -> Path:
    """The folder that a dataset of torchvision's is downloaded and unpacked to, without regard to the name's case.

    Raises:
        DataError: there is no such dataset, or it can't be downloaded.
    """
    if name.lower() not in SETS:
        raise DataError(
            f"torch/{name} is neither a folder nor a torchvision dataset; the datasets are: {', '.join(SETS)}."
        )
    name = name.lower()
    target = default_cache_folder() / "torch" / name
    remove_abandoned(target.parent, _SCRATCH)
    return target if target.is_dir() else _fetch(name, target)


def _fetch(name: str, target: Path) -> Path:
    """Write a dataset as `SPLIT/CLASS/NUMBER.png`, completely or not at all."""
    kind, splits = SETS[name]
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with locked(target):  # one process downloads; the others wait for it
            if target.is_dir():
                return target
            with scratch_folder(target.parent, _SCRATCH) as scratch:
                for split, arguments in splits.items():
                    _unpack(getattr(datasets, kind)(scratch / "download", download=True, **arguments), scratch / split)
                shutil.rmtree(scratch / "download", ignore_errors=True)
                scratch.rename(target)
    except (OSError, RuntimeError) as error:  # URLError is an OSError; torchvision raises RuntimeError on a bad archive
        if not target.is_dir():  # otherwise another process has downloaded it in the meantime
            raise DataError(f"{kind} can't be downloaded to {target}: {error}.") from None
    return target


def _unpack(photos: Any, folder: Path) -> None:
    names = [str(label).replace("/", "-") for label in photos.classes]
    for name in names:
        (folder / name).mkdir(parents=True)
    for index, (image, target) in enumerate(tqdm(photos, desc=f"unpacking {folder.name}", unit="photo")):
        image.convert("RGB").save(folder / names[int(target)] / f"{index:05}.png")

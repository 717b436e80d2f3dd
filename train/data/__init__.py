"""Photos for training and measuring: found in folders, checked, decoded once, fed to the network.

`python -m train.data` lists the commands. Names are imported on first use, so that `--help` doesn't load PyTorch.
"""

import importlib
from typing import TYPE_CHECKING, Any

from landmark_models.errors import LandmarkError

if TYPE_CHECKING:
    from train.data.cache import PhotoCache
    from train.data.exclusions import read_exclusions
    from train.data.folders import (
        check_output,
        find_photos,
        find_splits,
        train_and_val,
    )
    from train.data.hub_datasets import dataset_of
    from train.data.left_out import print_left_out
    from train.data.loading import AugmentedPhotos, EpochSampler, ServedPhotos, channel_statistics
    from train.data.location import data_folder, data_name
    from train.data.photos import Photos, split_off
    from train.data.splits import split_name
    from train.data.unlabelled import find_unlabelled, photos_below

__all__ = [
    "AugmentedPhotos",
    "DataError",
    "EpochSampler",
    "PhotoCache",
    "Photos",
    "ServedPhotos",
    "channel_statistics",
    "check_output",
    "data_folder",
    "data_name",
    "dataset_of",
    "find_photos",
    "find_splits",
    "find_unlabelled",
    "photos_below",
    "print_left_out",
    "read_exclusions",
    "split_name",
    "split_off",
    "train_and_val",
]

_MODULES = {
    "EpochSampler": "loading",
    "AugmentedPhotos": "loading",
    "PhotoCache": "cache",
    "Photos": "photos",
    "ServedPhotos": "loading",
    "channel_statistics": "loading",
    "data_folder": "location",
    "data_name": "location",
    "dataset_of": "hub_datasets",
    "find_unlabelled": "unlabelled",
    "photos_below": "unlabelled",
    "print_left_out": "left_out",
    "read_exclusions": "exclusions",
    "split_name": "splits",
    "split_off": "photos",
}  # all others: folders


class DataError(LandmarkError):
    """A data folder that can't be used as it is."""


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES.get(name, 'folders')}"), name)

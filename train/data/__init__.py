"""Photos for training and measuring: found in folders, checked, decoded once, fed to the network.

`python -m train.data` lists the commands. Names are imported on first use, so that `--help` doesn't load PyTorch.
"""

import importlib
from typing import TYPE_CHECKING, Any

from landmark_models.errors import LandmarkError

if TYPE_CHECKING:
    from train.data.cache import PhotoCache
    from train.data.folders import (
        Photos,
        find_photos,
        find_unlabelled,
        label_of,
        photos_below,
        read_exclusions,
        split_off,
        train_and_val,
    )
    from train.data.loading import AugmentedPhotos, EpochSampler, ServedPhotos, channel_statistics

__all__ = [
    "AugmentedPhotos",
    "DataError",
    "EpochSampler",
    "PhotoCache",
    "Photos",
    "ServedPhotos",
    "channel_statistics",
    "find_photos",
    "find_unlabelled",
    "label_of",
    "photos_below",
    "read_exclusions",
    "split_off",
    "train_and_val",
]

_ELSEWHERE = {"PhotoCache": "cache"} | dict.fromkeys(
    ("AugmentedPhotos", "EpochSampler", "ServedPhotos", "channel_statistics"), "loading"
)


class DataError(LandmarkError):
    """A data folder that can't be used as it is."""


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_ELSEWHERE.get(name, 'folders')}"), name)

"""Photos for training and measuring: found in folders, checked, decoded once, fed to the network.

`python -m train.data download` fetches a published set, `python -m train.data scan` looks for what is wrong in one.
"""

from train.data.cache import PhotoCache
from train.data.errors import DataError
from train.data.folders import (
    Photos,
    find_photos,
    find_unlabelled,
    label_of,
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
    "read_exclusions",
    "split_off",
    "train_and_val",
]

"""From cached photos to the network's input: order, seeds, transforms, channel statistics."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from train.data.cache import PhotoCache
from train.data.photos import Photos


def channel_statistics(photos: Photos, cache: PhotoCache) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each color channel over these photos, in 0..1."""
    count = 0
    total = np.zeros(3)
    squares = np.zeros(3)
    for file in photos.files():
        pixels = cache[file].reshape(-1, 3) / 255
        count += len(pixels)
        total += pixels.sum(0)
        squares += np.square(pixels).sum(0)
    mean = total / count
    return mean.tolist(), np.sqrt(squares / count - np.square(mean)).tolist()


class ServedPhotos(Dataset[tuple[Tensor, int]]):
    """Cached photos as they are served, with their targets."""

    def __init__(self, photos: Photos, cache: PhotoCache, transform: Callable[[Image.Image], Tensor]):
        self.files, self.targets, self.cache, self.transform = photos.files(), photos.targets, cache, transform

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.cache[self.files[index]])), self.targets[index]


class AugmentedPhotos(Dataset[tuple[Tensor, int, Tensor]]):
    """Cached photos, augmented, indexed by `(index, seed, side)`: all randomness comes from the seed.

    So the number of workers and processes changes no pixel. Beside image and target, an item has `draws` numbers in
    -1..1 from the same seed, for augmentation that is cheaper on a batch.
    """

    def __init__(
        self, photos: Photos, cache: PhotoCache, transform_to: Callable[[int], Callable[[Tensor], Tensor]], draws: int
    ):
        self.files, self.targets, self.cache, self.transform_to = photos.files(), photos.targets, cache, transform_to
        self.draws = draws
        self.transforms: dict[int, Callable[[Tensor], Tensor]] = {}  # by side

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, item: tuple[int, int, int]) -> tuple[Tensor, int, Tensor]:
        index, seed, side = item
        if side not in self.transforms:
            self.transforms[side] = self.transform_to(side)
        torch.default_generator.manual_seed(seed)  # `torch.manual_seed` would query devices for each photo
        pixels = torch.from_numpy(np.array(self.cache[self.files[index]]))  # a copy, because the cache is read-only
        return self.transforms[side](pixels.permute(2, 0, 1)), self.targets[index], 2 * torch.rand(self.draws) - 1


class EpochSampler(Sampler[tuple[int, int, int]]):
    """Every photo once per epoch in a new order (or classes equally often), each with a seed and the epoch's side.

    The last batch is filled up with photos from the epoch's beginning, so every update uses a full batch. Order and
    seeds depend only on `seed` and the epoch.
    """

    def __init__(self, targets: Sequence[int], batch_size: int, seed: int, balanced: bool, side: Callable[[int], int]):
        self.targets = torch.tensor(targets)
        self.length = -(-len(targets) // batch_size) * batch_size
        self.seed = seed
        self.balanced = balanced
        self.side = side  # of the crops, px, by epoch from 1
        self.epoch = 1

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[tuple[int, int, int]]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        count = len(self.targets)
        if self.balanced:
            weights = 1 / torch.bincount(self.targets)[self.targets].double()
            order = torch.multinomial(weights, self.length, replacement=True, generator=generator)
        else:
            order = torch.randperm(count, generator=generator)
            order = order.repeat(-(-self.length // count))[: self.length]
        seeds = torch.randint(2**31, (self.length,), generator=generator)
        side = self.side(self.epoch)
        for index, seed in zip(order.tolist(), seeds.tolist(), strict=True):
            yield index, seed, side

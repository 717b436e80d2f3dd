"""What a run has ready before its first update: its photos, found, checked and decoded; network; augmentation."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn
from torch.utils.data import DataLoader

from landmark_models.devices import own_cores
from landmark_models.preprocess import serving_transform
from train.data import (
    AugmentedPhotos,
    DataError,
    EpochSampler,
    PhotoCache,
    Photos,
    ServedPhotos,
    channel_statistics,
    check_output,
    dataset_of,
    find_unlabelled,
    print_left_out,
    read_exclusions,
    train_and_val,
)
from train.engine.augment import DRAWS, BatchAugmentation, training_transform
from train.engine.teacher import Teacher
from train.recipe import Recipe
from train.run import OWN_PHOTO, RunFolder


@dataclass(frozen=True)
class TrainingPhotos:
    """The photos of a run: for training, for validation, reasons for those `left_out`, and bytes of each by path."""

    train: Photos
    val: Photos
    left_out: dict[str, str]
    sizes: dict[str, int]

    @property
    def labels(self) -> list[str]:
        return list(self.train.labels)

    @property
    def dataset(self) -> str | None:
        """The dataset of the Hub, with its commit, that these photos are from."""
        return dataset_of(self.train.root)

    def as_split(self) -> dict[str, Any]:
        """The content of `split.json`."""
        train, val = self.train.paths, self.val.paths
        split = {"labels": self.labels, "train": train, "val": val, "left_out": self.left_out, "bytes": self.sizes}
        return split | ({"dataset": self.dataset} if self.dataset else {})

    def decoded(self, short_side: int, strict: bool, accelerator: Accelerator) -> tuple["TrainingPhotos", PhotoCache]:
        """Decode these photos into the cache; returns those that can be read, and the cache. Others are reported.

        Raises:
            PhotoError: with `strict`, a photo can't be read.
            DataError: no photo is left for training or for validation.
        """
        # with unreadable ones, or resuming would need another cache
        files = [self.train.root / path for path in self.sizes]
        with accelerator.local_main_process_first():  # another machine may have a cache of its own
            cache = PhotoCache.open(files, short_side, progress=accelerator.is_local_main_process, strict=strict)
        for reason in cache.failures.values():
            accelerator.print(f"Left out: {reason}")
        if cache.failures:
            accelerator.print(f"{len(cache.failures)} of {len(files)} photos can't be read and are left out.")
        unreadable = {
            path: cache.failures[file] for path, file in zip(self.sizes, files, strict=True) if file in cache.failures
        }
        train, val = self.train.excluding(unreadable), self.val.excluding(unreadable)
        left_out = self.left_out | unreadable
        before, labels = self.train.present_labels(), set(train.present_labels())
        if lost := [label for label in before if label not in labels]:
            kept = [label for label in self.labels if label not in lost]
            accelerator.print(f"No photo of {', '.join(lost)} can be read; the model will not know what has no photo.")
            for label in lost:
                left_out |= dict.fromkeys(val.of_label(label).paths, f"no training photo of {label} can be read")
            train, val = train.of_labels(kept), val.of_labels(kept)
        if not len(train) or not len(val):
            raise DataError(f"No readable photo in {train.root} is left for training or for validation.")
        if len(train.labels) < 2:
            raise DataError(f"Only one class in {train.root}, {train.labels[0]!r}, has a photo that can be read.")
        return replace(self, train=train, val=val, left_out=left_out), cache

    def normalization(self, recipe: Recipe, cache: PhotoCache, cfg: dict[str, Any]) -> tuple[list[float], list[float]]:
        """Mean and standard deviation of each channel, in 0..1, to normalise the input with."""
        if isinstance(recipe.normalization, dict):
            return list(recipe.normalization["mean"]), list(recipe.normalization["std"])
        if recipe.normalization == "train":
            return channel_statistics(self.train, cache)
        return list(cfg["mean"]), list(cfg["std"])

    def first_batches(self, count: int, recipe: Recipe) -> "TrainingPhotos":
        """`count` shuffled batches of the training photos, for training and validation alike."""
        labelled = [index for index, target in enumerate(self.train.targets) if target < len(self.labels)]
        order = torch.randperm(len(labelled), generator=torch.Generator().manual_seed(recipe.seed))
        few = self.train.take([labelled[place] for place in order[: count * recipe.batch_size].tolist()])
        return replace(self, train=few, val=few)


def find_training_photos(
    recipe: Recipe,
    data: str | Path,
    run: RunFolder,
    resume: bool,
    exclusions: Path | None,
    unlabelled: Sequence[Path] = (),
) -> TrainingPhotos:
    """Find the photos of a new run, or with `resume` those that the run was started with.

    Photos in the folders `unlabelled` are for training, with a target one above the last label's, unless they are part
    of the data itself, in any split.

    Raises:
        LandmarkError: the data can't be used, or the run to resume has another recipe or other photos.
    """
    begun = run.split() if resume and run.recipe.is_file() else None
    listed = read_exclusions(exclusions, None if begun else data) if exclusions else frozenset()
    ignored: Counter[str] = Counter()
    train, val, named = train_and_val(data, recipe.val_fraction, recipe.seed, listed, ignored)
    print_left_out(data, ignored)
    more, own = find_unlabelled(unlabelled, data)
    train = train.joined(Photos(train.root, tuple(more), (len(train.labels),) * len(more), train.labels))
    sizes = {path: (train.root / path).stat().st_size for path in train.paths + val.paths}
    if resume and run.recipe.is_file():
        if begun and begun["labels"] != list(train.labels):  # then no photo of some labels could be read
            labels = train.excluding(begun["left_out"]).present_labels()
            train, val = train.of_labels(labels), val.of_labels(labels)
        run.refuse_different(recipe, train.labels, sizes, dataset_of(train.root))
        if begun:  # as it was drawn then
            photos = train.joined(val)
            return TrainingPhotos(photos.only(begun["train"]), photos.only(begun["val"]), begun["left_out"], sizes)
    else:
        run.refuse_occupied()
        check_output(run.path, data)
    left_out = dict.fromkeys(named, f"listed in {exclusions}") | dict.fromkeys(own, OWN_PHOTO)
    found = TrainingPhotos(train, val, left_out, sizes)
    return found.first_batches(recipe.overfit_batches, recipe) if recipe.overfit_batches else found


def worker_count(recipe: Recipe) -> int:
    """Number of loader processes for each training process."""
    return min(max(own_cores() - 1, 1), 8) if recipe.workers is None else recipe.workers


@dataclass(frozen=True)
class Prepared:
    """A run whose recipe and data have been checked; its folder may not exist yet.

    Training by epochs leaves `network` as it was built and works on a copy. `weights` is the file of pretrained
    weights, if any, and `origin` says in words what the run starts from and how it is trained.
    """

    recipe: Recipe
    run: RunFolder
    accelerator: Accelerator
    photos: TrainingPhotos
    cache: PhotoCache
    network: nn.Module
    augmentation: BatchAugmentation
    weights: Path | None
    teacher: Teacher | None
    origin: dict[str, str]

    @property
    def cfg(self) -> dict[str, Any]:
        """The network's `pretrained_cfg`, which says how it will be served."""
        return self.network.pretrained_cfg  # type: ignore[return-value]

    def loaders(self, micro_batch: int) -> tuple[DataLoader[Any], DataLoader[Any]]:
        """Loaders of training photos, augmented differently in each epoch (uint8), and of validation photos as served.

        The side of the training crops is the recipe's, but at least the teacher's, px.
        """
        recipe, photos, cfg = self.recipe, self.photos, self.cfg
        workers = worker_count(recipe)
        least = self.teacher.side if self.teacher else 0

        def side(epoch: int) -> int:
            return max(recipe.crop_side(epoch), least)

        sampler = EpochSampler(photos.train.targets, recipe.batch_size, recipe.seed, recipe.balanced_sampling, side)
        transform_to = partial(training_transform, recipe, interpolation=cfg["interpolation"])
        train = AugmentedPhotos(photos.train, self.cache, transform_to, DRAWS)
        val = ServedPhotos(photos.val, self.cache, serving_transform(cfg))
        options: dict[str, Any] = {"num_workers": workers, "persistent_workers": workers > 0}
        return (
            DataLoader(train, micro_batch, sampler=sampler, **options),
            DataLoader(val, 2 * micro_batch, **options),
        )

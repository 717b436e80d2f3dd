"""From a data folder and a recipe to what a run trains on: its photos, decoded, and the loaders that feed them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch.utils.data import DataLoader

from landmark_models.devices import available_cores
from landmark_models.preprocess import serving_transform
from train.data import (
    AugmentedPhotos,
    DataError,
    EpochSampler,
    PhotoCache,
    Photos,
    ServedPhotos,
    channel_statistics,
    find_photos,
    find_unlabelled,
    read_exclusions,
    train_and_val,
)
from train.engine.augment import DRAWS, training_transform
from train.recipe import Recipe
from train.run import RunFolder

__all__ = ["OWN_PHOTO", "TrainingPhotos", "find_training_photos", "loaders", "worker_count"]

OWN_PHOTO = "unlabelled, and in a split of the data itself"


@dataclass(frozen=True)
class TrainingPhotos:
    """The photos of a run: those to train on, those to validate on, why others are left out, bytes of each."""

    train: Photos
    val: Photos
    left_out: dict[str, str]
    sizes: dict[str, int]

    @property
    def labels(self) -> list[str]:
        return list(self.train.labels)

    def as_split(self) -> dict[str, Any]:
        """As `split.json` holds it."""
        train, val = self.train.paths, self.val.paths
        return {"labels": self.labels, "train": train, "val": val, "left_out": self.left_out, "bytes": self.sizes}

    def decoded(self, short_side: int, strict: bool, accelerator: Accelerator) -> tuple["TrainingPhotos", PhotoCache]:
        """The cache of these photos, and those of them that could be read; the others are named and counted.

        Raises:
            PhotoError: `strict`, and one can't be read.
            DataError: none is left to train or to validate on.
        """
        files = [self.train.root / path for path in self.sizes]  # unreadable ones, too: a resumed run finds its cache
        with accelerator.main_process_first():
            cache = PhotoCache.open(files, short_side, progress=accelerator.is_local_main_process, strict=strict)
        for reason in cache.failures.values():
            accelerator.print(f"Left out: {reason}")
        if cache.failures:
            accelerator.print(f"{len(cache.failures)} of {len(files)} photos can't be read and are left out.")
        unreadable = {
            path: cache.failures[file] for path, file in zip(self.sizes, files, strict=True) if file in cache.failures
        }
        train, val = self.train.excluding(unreadable), self.val.excluding(unreadable)
        if not len(train) or not len(val):
            raise DataError(f"No readable photo of {train.root} is left to train or to validate on.")
        return replace(self, train=train, val=val, left_out=self.left_out | unreadable), cache

    def normalization(self, recipe: Recipe, cache: PhotoCache, cfg: dict[str, Any]) -> tuple[list[float], list[float]]:
        """Mean and standard deviation that the input is normalised with, in 0..1; the model's own are in its `cfg`."""
        if isinstance(recipe.normalization, dict):
            return list(recipe.normalization["mean"]), list(recipe.normalization["std"])
        if recipe.normalization == "train":
            return channel_statistics(self.train, cache)
        return list(cfg["mean"]), list(cfg["std"])

    def first_batches(self, count: int, recipe: Recipe) -> "TrainingPhotos":
        """`count` batches of the training photos, classes mixed, to train and to validate on alike."""
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
    """The photos of a new run, or those that the run to go on with was started with.

    Photos of the folders `unlabelled` are for training, their target one above the last label's; those that stand in
    the data itself, in whichever split, are left out.

    Raises:
        LandmarkError: the data can't be used, or the run to go on with has another recipe or other photos.
    """
    listed = read_exclusions(exclusions) if exclusions else frozenset()
    train, val = train_and_val(data, recipe.val_fraction, recipe.seed, listed)
    root = train.root
    more, own = find_unlabelled(unlabelled, data)
    train = train.joined(Photos(root, tuple(more), (len(train.labels),) * len(more), train.labels))
    sizes = {path: (root / path).stat().st_size for path in train.paths + val.paths}
    if resume and run.recipe.is_file():
        run.refuse_different(recipe, train.labels, sizes)
        if split := run.split():  # as it was drawn then
            photos = train.joined(val)
            return TrainingPhotos(photos.only(split["train"]), photos.only(split["val"]), split["left_out"], sizes)
    else:
        run.refuse_occupied()
    if listed and not any((root / path).is_file() for path in listed):
        raise DataError(f"None of the {len(listed)} photos listed in {exclusions} is in {data}: another set's list?")
    splits = (find_photos(data, "train"), find_photos(data, "val", train.labels))
    named = listed.intersection(path for photos in splits if photos for path in photos.paths)
    left_out = dict.fromkeys(sorted(named), f"listed in {exclusions}") | dict.fromkeys(own, OWN_PHOTO)
    found = TrainingPhotos(train, val, left_out, sizes)
    return found.first_batches(recipe.overfit_batches, recipe) if recipe.overfit_batches else found


def worker_count(recipe: Recipe) -> int:
    """Processes that prepare photos, for each process that trains."""
    return min(max(available_cores() - 1, 1), 8) if recipe.workers is None else recipe.workers


def loaders(
    recipe: Recipe,
    photos: TrainingPhotos,
    cache: PhotoCache,
    cfg: dict[str, Any],
    micro_batch: int,
    least_side: int = 0,
) -> tuple[DataLoader[Any], DataLoader[Any]]:
    """The loaders: training photos augmented anew in each epoch (uint8), validation photos as they are served.

    Crops have the recipe's side, or `least_side` where that is larger.
    """
    workers = worker_count(recipe)
    keep = workers > 0
    train, val = photos.train, photos.val

    def side(epoch: int) -> int:
        return max(recipe.crop_side(epoch), least_side)

    sampler = EpochSampler(train.targets, recipe.batch_size, recipe.seed, recipe.balanced_sampling, side)
    transform_to = partial(training_transform, recipe, interpolation=cfg["interpolation"])
    train_set = AugmentedPhotos(train, cache, transform_to, DRAWS)
    val_set = ServedPhotos(val, cache, serving_transform(cfg))
    return (
        DataLoader(train_set, micro_batch, sampler=sampler, num_workers=workers, persistent_workers=keep),
        DataLoader(val_set, 2 * micro_batch, num_workers=workers, persistent_workers=keep),
    )

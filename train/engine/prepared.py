"""What a run has ready before its first update."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from torch import nn
from torch.utils.data import DataLoader

from landmark_models.preprocess import serving_transform
from train.data import AugmentedPhotos, EpochSampler, PhotoCache, ServedPhotos
from train.engine.augment import DRAWS, BatchAugmentation, training_transform
from train.engine.photos import TrainingPhotos, worker_count
from train.engine.teacher import Teacher
from train.recipe import Recipe
from train.run import RunFolder

__all__ = ["Prepared"]


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
        least_side = self.teacher.side if self.teacher else 0

        def side(epoch: int) -> int:
            return max(recipe.crop_side(epoch), least_side)

        sampler = EpochSampler(photos.train.targets, recipe.batch_size, recipe.seed, recipe.balanced_sampling, side)
        transform_to = partial(training_transform, recipe, interpolation=cfg["interpolation"])
        train = AugmentedPhotos(photos.train, self.cache, transform_to, DRAWS)
        val = ServedPhotos(photos.val, self.cache, serving_transform(cfg))
        options: dict[str, Any] = {"num_workers": workers, "persistent_workers": workers > 0}
        return (
            DataLoader(train, micro_batch, sampler=sampler, **options),
            DataLoader(val, 2 * micro_batch, **options),
        )

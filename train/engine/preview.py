"""What a recipe makes of photos: their colours after normalisation, and a batch as the network will see it."""

import random
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import torch
from accelerate.utils import set_seed
from torch import Tensor
from torch.utils.data import default_collate

from landmark_models.preprocess import required_side
from train.data import AugmentedPhotos, EpochSampler, PhotoCache, Photos, channel_statistics
from train.draw.exploration import CHANNELS, COLUMNS, ROWS, draw_batch, draw_histograms
from train.draw.fonts import shorten_name
from train.draw.output import Table
from train.engine.augment import DRAWS, BatchAugmentation, training_transform
from train.engine.network import build_network
from train.engine.prepared import TrainingPhotos
from train.recipe import Recipe

_MEASURED = 500  # photos whose pixels are counted


def pretrained_cfg(recipe: Recipe, num_classes: int) -> dict[str, Any]:
    """How the recipe's network wants its input; nothing is downloaded for it.

    Raises:
        RecipeError: there is no such network.
    """
    untrained = replace(recipe, pretrained=False, average_with_pretrained=0.0, start_image_size=None)
    return cast(dict[str, Any], build_network(untrained, num_classes).pretrained_cfg)


def preview_sections(photos: Photos, recipe: Recipe, cfg: dict[str, Any], output: Path) -> dict[str, Any]:
    """Write `histograms.png` and `batch.png`; return what the template `exploration.html.j2` needs for these."""
    chosen = random.Random(recipe.seed).sample(range(len(photos)), min(_MEASURED, len(photos)))
    sampler = EpochSampler(
        photos.targets, ROWS * COLUMNS, recipe.seed, recipe.balanced_sampling, lambda epoch: recipe.image_size
    )
    items = [item for item, _ in zip(sampler, range(ROWS * COLUMNS), strict=False)]
    files = photos.take(sorted({*chosen, *(index for index, _, _ in items)})).files()
    some = photos.take(chosen)
    with TemporaryDirectory(dir=output, prefix=".decoded-") as folder:
        cache = PhotoCache.open(files, max(recipe.image_size, required_side(cfg)), Path(folder))
        measured = channel_statistics(some, cache)
        mean, std = TrainingPhotos(some, some, {}, {}).normalization(recipe, cache, cfg)
        draw_histograms(some, cache, mean, std, output / "histograms.png")
        transform_to = partial(training_transform, recipe, interpolation=cfg["interpolation"])
        augmented = AugmentedPhotos(photos, cache, transform_to, DRAWS)
        set_seed(recipe.seed)
        batch = [augmented[item] for item in items]
    augmentation = BatchAugmentation(recipe, mean, std, len(photos.labels))
    parts = [augmentation(*default_collate(batch[start : start + COLUMNS])) for start in range(0, len(batch), COLUMNS)]
    images, targets = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
    images = images * torch.tensor(std).view(3, 1, 1) + torch.tensor(mean).view(3, 1, 1)
    draw_batch(images, [_describe(target, photos.labels) for target in targets], output / "batch.png")
    columns = zip(CHANNELS, *measured, mean, std, strict=True)
    rows = [[c, *(f"{x:z.3f}" for x in (m, s, a, b, (m - a) / b, s / b))] for c, m, s, a, b in columns]
    headers = ["channel", "mean", "sd", "recipe's mean", "recipe's sd", "mean after", "sd after"]
    return {
        "colours": {"count": len(some), "table": Table("Colours", headers, rows)},
        "batch": {"augment": recipe.augment, "is_mixed": augmentation.mix is not None},
    }


def _describe(target: Tensor, labels: tuple[str, ...]) -> str:
    """What the network should answer: a label, or the two labels of a mixed image with their shares."""
    if not target.ndim:
        return shorten_name(labels[int(target)], 24)
    shares, indices = target.topk(min(2, len(labels)))
    parts = zip(shares.tolist(), indices.tolist(), strict=True)
    return "\n".join(f"{share:.0%} {shorten_name(labels[index], 20)}" for share, index in parts if share >= 0.05)

"""What a frozen backbone makes of photos: computed once, and kept beside the decoded photos."""

import hashlib
import json
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from tqdm.auto import tqdm

from landmark_models.errors import LandmarkError, reason
from landmark_models.files import atomic_path
from landmark_models.preprocess import serving_transform
from train.data import AugmentedPhotos, PhotoCache, Photos, ServedPhotos
from train.data.cache import default_cache_folder
from train.engine.augment import DRAWS, BatchAugmentation, training_transform
from train.engine.network import head_parameters, served_arguments, weights_digest
from train.engine.photos import worker_count
from train.recipe import Recipe

__all__ = ["Features", "backbone_features"]

_FORMAT = 1  # of the files that features are kept in


@dataclass(frozen=True)
class Features:
    """What a backbone makes of photos: `(views, N, D)` float32; the first view is the photo as it is served."""

    views: Tensor
    seconds: float  # that computing them took, whenever that was
    cached: bool


def backbone_features(
    recipe: Recipe, network: nn.Module, photos: Photos, cache: PhotoCache, accelerator: Accelerator
) -> Features | None:
    """The features of these photos, computed where they are not in the main process's cache; None in the others."""
    own: Any = network
    cfg = own.pretrained_cfg
    file = default_cache_folder() / "features" / f"{_key(recipe, own, photos, cache)}.safetensors"
    kept = _read(file) if accelerator.is_main_process else None
    if broadcast_object_list([kept is not None])[0]:  # one process decides, or some would wait for the others
        return kept
    started = time.perf_counter()
    views = [_compute(ServedPhotos(photos, cache, serving_transform(cfg)), None, recipe, own, accelerator, "features")]
    if recipe.feature_views > 1:
        transform_to = partial(training_transform, recipe, interpolation=cfg["interpolation"])
        augmented = AugmentedPhotos(photos, cache, transform_to, DRAWS)
        for view in range(1, recipe.feature_views):
            seeds = np.random.SeedSequence([recipe.seed, view]).generate_state(len(photos)) >> 1
            order = [(index, int(seed), recipe.image_size) for index, seed in enumerate(seeds)]
            title = f"features, view {view + 1} of {recipe.feature_views}"
            views.append(_compute(augmented, order, recipe, own, accelerator, title))
    if not accelerator.is_main_process:
        return None
    features = Features(torch.stack(views), time.perf_counter() - started, cached=False)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(file) as scratch:
            save_file({"views": features.views}, scratch, metadata={"seconds": f"{features.seconds:.4f}"})
    except (OSError, SafetensorError) as error:
        raise LandmarkError(
            f"The features can't be kept in {file.parent}: {reason(error)}; name a folder "
            "with room in LANDMARK_CACHE, or switch the cache off by --no-feature-cache."
        ) from None
    return features


def _read(file: Path) -> Features | None:
    """What is kept in the file; None where it is missing or damaged, so that it is computed and written again."""
    try:
        with safe_open(file, "pt") as content:
            return Features(content.get_tensor("views"), float(content.metadata()["seconds"]), cached=True)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError):
        return None


@torch.inference_mode()
def _compute(
    photos: Dataset[Any],
    order: Iterable[tuple[int, int, int]] | None,
    recipe: Recipe,
    network: Any,
    accelerator: Accelerator,
    title: str,
) -> Tensor:
    """What the network's classifier is given for each photo, `(N, D)`, in the order of the photos."""
    layout = torch.channels_last if recipe.channels_last else torch.contiguous_format
    network.eval().to(memory_format=layout)
    cfg = network.pretrained_cfg
    augmentation = BatchAugmentation(replace(recipe, mixup=0.0, cutmix=0.0), cfg["mean"], cfg["std"], 2)
    share = max(recipe.batch_size // accelerator.num_processes // recipe.gradient_accumulation_steps, 1)
    loader = DataLoader(photos, share, sampler=order, num_workers=worker_count(recipe))
    hidden = not accelerator.is_local_main_process
    found = []
    with tqdm(total=len(photos), desc=title, unit="photo", leave=False, disable=hidden) as bar:  # type: ignore[arg-type]
        for images, targets, *draws in accelerator.prepare(loader):
            if draws:
                images, _ = augmentation(images, targets, *draws)
            with accelerator.autocast():
                maps = network.forward_features(images.contiguous(memory_format=layout))
                features = network.forward_head(maps, pre_logits=True)
            features = accelerator.gather_for_metrics(features.float())
            found.append(features.cpu())
            bar.update(len(features))
    return torch.cat(found)


def _key(recipe: Recipe, network: Any, photos: Photos, cache: PhotoCache) -> str:
    """A hash over all that the features follow from: weights, preprocessing, photos, views, precision."""
    digest = hashlib.sha256(weights_digest(network, head_parameters(network)).encode())
    cfg = network.pretrained_cfg
    serving = {key: cfg.get(key) for key in ("input_size", "mean", "std", "crop_pct", "crop_mode", "interpolation")}
    views: dict[str, Any] = {"views": recipe.feature_views}
    if recipe.feature_views > 1:
        knobs = ("seed", "image_size", "augment", "crop_scale", "crop_padding", "flip", "rotation", "shear")
        views |= {name: getattr(recipe, name) for name in (*knobs, "color_jitter", "blur", "randaugment_magnitude")}
    built = [_FORMAT, timm.__version__, recipe.model, served_arguments(recipe)]
    digest.update(json.dumps([*built, serving, views, recipe.mixed_precision]).encode())
    digest.update("\0".join([str(cache.pixels_file.parent.name), *photos.paths]).encode(errors="surrogateescape"))
    return digest.hexdigest()[:32]

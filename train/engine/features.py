"""A frozen backbone's features of photos: computed once, and kept beside the decoded photos."""

import hashlib
import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from accelerate.utils import broadcast_object_list
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from tqdm.auto import tqdm

from landmark_models.errors import LandmarkError, reason
from landmark_models.files import atomic_path
from landmark_models.preprocess import serving_transform
from train.data import AugmentedPhotos, PhotoCache, Photos, ServedPhotos
from train.data.cache import default_cache_folder
from train.engine.augment import DRAWS, training_transform
from train.engine.network import head_parameters, memory_layout, served_arguments, weights_digest
from train.engine.prepared import Prepared, worker_count
from train.recipe import Recipe

_FORMAT = 1  # of the feature files


@dataclass(frozen=True)
class Features:
    """A backbone's features of N photos: float32 `(views, N, D)`; the first view is the photo as served."""

    views: Tensor
    seconds: float  # spent on computing them, now or in an earlier run
    cached: bool


def backbone_features(prepared: Prepared) -> Features | None:
    """The features of all training photos, then all validation photos; None in all but the main process.

    They come from that process's cache, or are computed and put there.
    """
    recipe, accelerator, cache, cfg = prepared.recipe, prepared.accelerator, prepared.cache, prepared.cfg
    network: Any = prepared.network.to(accelerator.device)
    photos = prepared.photos.train.joined(prepared.photos.val)
    file = default_cache_folder() / "features" / f"{_key(recipe, network, photos, cache)}.safetensors"
    cached = _read(file) if accelerator.is_main_process else None
    if broadcast_object_list([cached is not None])[0]:  # one process decides for all, or some would wait forever
        return cached
    started = time.perf_counter()
    served = ServedPhotos(photos, cache, serving_transform(cfg))
    views = [_compute(prepared, served, None, "features")]
    if recipe.feature_views > 1:
        transform_to = partial(training_transform, recipe, interpolation=cfg["interpolation"])
        augmented = AugmentedPhotos(photos, cache, transform_to, DRAWS)
        for view in range(1, recipe.feature_views):
            seeds = np.random.SeedSequence([recipe.seed, view]).generate_state(len(photos)) >> 1
            order = [(index, int(seed), recipe.image_size) for index, seed in enumerate(seeds)]
            title = f"features, view {view + 1} of {recipe.feature_views}"
            views.append(_compute(prepared, augmented, order, title))
    if not accelerator.is_main_process:
        return None
    features = Features(torch.stack(views), time.perf_counter() - started, cached=False)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(file) as scratch:
            save_file({"views": features.views}, scratch, metadata={"seconds": f"{features.seconds:.4f}"})
    except (OSError, SafetensorError) as error:
        raise LandmarkError(
            f"The features can't be written to {file.parent}: {reason(error)}. Set LANDMARK_CACHE to a folder with "
            "free space, or pass --no-feature-cache."
        ) from None
    return features


def _read(file: Path) -> Features | None:
    """The features in the file; None if it is missing or damaged, and must be computed again."""
    try:
        with safe_open(file, "pt") as content:
            return Features(content.get_tensor("views"), float(content.metadata()["seconds"]), cached=True)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError):
        return None


@torch.inference_mode()
def _compute(
    prepared: Prepared, photos: Dataset[Any], order: Iterable[tuple[int, int, int]] | None, title: str
) -> Tensor:
    """The input of the network's classifier for each photo, `(N, D)`, in the order of the photos."""
    recipe, accelerator = prepared.recipe, prepared.accelerator
    layout = memory_layout(recipe, accelerator.device)
    network: Any = prepared.network.eval().to(memory_format=layout)
    share = max(recipe.batch_size // accelerator.num_processes // recipe.gradient_accumulation_steps, 1)
    loader = DataLoader(photos, share, sampler=order, num_workers=worker_count(recipe))
    hidden = not accelerator.is_local_main_process
    parts = []
    with tqdm(total=len(photos), desc=title, unit="photo", leave=False, disable=hidden) as bar:  # type: ignore[arg-type]
        for images, targets, *draws in accelerator.prepare(loader):
            if draws:
                images, _ = prepared.augmentation(images, targets, *draws)
            with accelerator.autocast():
                maps = network.forward_features(images.contiguous(memory_format=layout))
                features = network.forward_head(maps, pre_logits=True)
            features = accelerator.gather_for_metrics(features.float())
            parts.append(features.cpu())
            bar.update(len(features))
    return torch.cat(parts)


def _key(recipe: Recipe, network: Any, photos: Photos, cache: PhotoCache) -> str:
    """A hash of everything that the features depend on: weights, preprocessing, photos, views, precision."""
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

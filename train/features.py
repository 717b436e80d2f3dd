"""A linear head on a frozen backbone: features computed once and kept, the head fitted on them in seconds.

`train.fit` comes here by itself where a recipe trains nothing but a linear head:

accelerate launch -m train.fit train/recipes/effnetv2_b0_frozen.yaml --data photos/ --output runs/frozen
"""

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

from landmark_models.errors import LandmarkError
from landmark_models.preprocess import serving_transform
from train.augment import BatchAugmentation, training_transform
from train.data import AugmentedPhotos, PhotoCache, Photos, ServedPhotos
from train.data.cache import default_cache_folder
from train.files import beside
from train.network import head_parameters, served_arguments, weights_digest
from train.prepare import TrainingPhotos, worker_count
from train.recipe import Recipe
from train.run import RunFolder

__all__ = ["LinearHead", "fit_linear_head", "train_head", "trains_linear_head_alone"]

_FORMAT = 1  # of the files that features are kept in
_PENALTIES = tuple(10 ** (-exponent / 2) for exponent in range(1, 11))  # from 0.3 to 1e-5, the strongest first
_MAX_ITERATIONS = 2000
_TOLERANCE = 2e-5  # largest element of the gradient of a mean loss, at standardised features


@dataclass(frozen=True)
class LinearHead:
    """A linear classifier: weight `(classes, D)`, bias `(classes,)`, and how its fitting went."""

    weight: Tensor
    bias: Tensor
    iterations: int
    converged: bool

    def __call__(self, features: Tensor) -> Tensor:
        """Features `(N, D)` to logits `(N, classes)`."""
        return features @ self.weight.T + self.bias


@dataclass(frozen=True)
class _Features:
    """What a backbone makes of photos: `(views, N, D)` float32; the first view is the photo as it is served."""

    views: Tensor
    seconds: float  # that computing them took, whenever that was
    cached: bool


def trains_linear_head_alone(recipe: Recipe, network: nn.Module) -> bool:
    """Whether nothing but a linear layer is to be trained, on photos that are the same in every epoch."""
    own: Any = network
    return (
        recipe.freeze == "backbone"
        and isinstance(own.get_classifier(), nn.Linear)
        and (recipe.augment == "none") == (recipe.feature_views == 1)
        and not (recipe.drop_rate or recipe.random_erasing or recipe.mixup or recipe.cutmix)
        and not (recipe.balanced_sampling or recipe.overfit_batches)
    )


def fit_linear_head(
    features: Tensor,
    targets: Tensor,
    num_classes: int,
    penalty: float,
    label_smoothing: float = 0.0,
    start: LinearHead | None = None,
) -> LinearHead:
    """Multinomial logistic regression on standardised features, to convergence by L-BFGS.

    It minimises mean cross entropy + penalty / 2 * |W|^2, W being the weight for features of mean 0 and standard
    deviation 1; the head that is returned takes the features as they are.

    Args:
        features: `(N, D)` float32.
        targets: `(N,)` class indices.
        num_classes: number of classes; some may have no sample.
        penalty: strength of the regularisation, above 0.
        label_smoothing: in 0..1.
        start: where to begin, e.g. the head for a stronger penalty.
    """
    std, mean = torch.std_mean(features, dim=0, correction=0)
    std = torch.where(std > 1e-6 * (1 + mean.abs()), std, 1.0)  # what is always the same carries no weight
    inputs = (features - mean) / std
    weight = torch.zeros(num_classes, features.shape[1], device=features.device)
    bias = torch.zeros(num_classes, device=features.device)
    if start is not None:
        weight, bias = start.weight * std, start.bias + start.weight @ mean
    weight.requires_grad_(), bias.requires_grad_()
    optimizer = torch.optim.LBFGS(
        [weight, bias],
        max_iter=_MAX_ITERATIONS,
        history_size=20,
        tolerance_grad=_TOLERANCE,
        tolerance_change=0.0,
        line_search_fn="strong_wolfe",
    )

    def objective() -> Tensor:
        loss = nn.functional.cross_entropy(inputs @ weight.T + bias, targets, label_smoothing=label_smoothing)
        return loss + penalty / 2 * weight.square().sum()

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = objective()
        loss.backward()
        return loss

    optimizer.step(closure)
    steepest = max(gradient.abs().max().item() for gradient in torch.autograd.grad(objective(), [weight, bias]))
    iterations = optimizer.state[weight]["n_iter"]
    with torch.no_grad():
        scaled = weight / std
        return LinearHead(scaled, bias - scaled @ mean, iterations, steepest <= 5 * _TOLERANCE)


def train_head(
    recipe: Recipe,
    network: nn.Module,
    photos: TrainingPhotos,
    cache: PhotoCache,
    run: RunFolder,
    accelerator: Accelerator,
) -> None:
    """Fit the head of a frozen network: regularisation by validation loss, then once more on all photos together.

    The run gets `metrics.jsonl` with a line for each strength tried, and its model. The validation figures that the
    model carries are those from before the validation photos were trained on, too.

    Raises:
        LandmarkError: no fit converges, the features are not finite, or the run's folder can't be written.
    """
    device = accelerator.device
    everything = photos.train.joined(photos.val)
    features = _features(recipe, network.to(device), everything, cache, accelerator)
    if features is None:
        return
    how = "from the cache; computing them took" if features.cached else "computed in"
    accelerator.print(
        f"Features of {len(everything)} photos, {len(features.views)} view(s) each: {how} {features.seconds:.1f} s."
    )
    if not features.views.isfinite().all():
        raise LandmarkError(
            f"{recipe.model} gives features that are no finite numbers in mixed_precision={recipe.mixed_precision}: "
            "try mixed_precision=no, or other pretrained weights."
        )
    with run.writing():
        run.forget_after(0)
    started = time.perf_counter()
    inputs, targets = features.views.to(device), torch.tensor(everything.targets, device=device)
    count, classes = len(photos.train), len(photos.labels)
    train_features, train_targets = inputs[:, :count].flatten(0, 1), targets[:count].repeat(len(inputs))
    best: dict[str, Any] | None = None
    head: LinearHead | None = None
    worse = 0
    for penalty in _PENALTIES:
        head = fit_linear_head(train_features, train_targets, classes, penalty, recipe.label_smoothing, head)
        logits = head(inputs[0, count:])
        metrics = {
            "penalty": penalty,
            "train_loss": nn.functional.cross_entropy(head(train_features), train_targets).item(),
            "val_loss": nn.functional.cross_entropy(logits, targets[count:]).item(),
            "val_top1": (logits.argmax(1) == targets[count:]).float().mean().item(),
            "val_photos": len(photos.val),
            "iterations": head.iterations,
            "converged": head.converged,
            "features_seconds": round(features.seconds, 2),
            "seconds": round(features.seconds + time.perf_counter() - started, 2),
        }
        with run.writing():
            run.log(metrics)
        accelerator.log(metrics, step=_PENALTIES.index(penalty))
        shown = "" if head.converged else "  NOT CONVERGED, passed over"
        print(
            f"penalty {penalty:8.2g}  loss {metrics['train_loss']:.3f}  val loss {metrics['val_loss']:.3f}  "
            f"val top-1 {100 * metrics['val_top1']:5.2f} %  {head.iterations} iterations{shown}"
        )
        if head.converged and (best is None or metrics["val_loss"] < best["val_loss"]):
            best, worse = metrics, 0
        else:
            worse += 1
            if worse == 2:  # the loss has one minimum over the strengths
                break
    if best is None:
        raise LandmarkError(
            f"No fit of the head converged in {_MAX_ITERATIONS} iterations; see {run.path}/metrics.jsonl."
        )
    all_targets = targets.repeat(len(inputs))
    head = fit_linear_head(inputs.flatten(0, 1), all_targets, classes, best["penalty"], recipe.label_smoothing, head)
    if not head.converged:
        raise LandmarkError(f"The last fit, on all photos, did not converge in {_MAX_ITERATIONS} iterations.")
    own: Any = network
    with torch.no_grad():
        own.get_classifier().weight.copy_(head.weight)
        own.get_classifier().bias.copy_(head.bias)
    seconds = round(features.seconds + time.perf_counter() - started, 2)
    validation = {"top1": best["val_top1"], "n": len(photos.val), "penalty": best["penalty"], "refitted": True}
    with run.writing():
        run.save_model(network, photos.labels, recipe, validation)
        summary = {"penalty": best["penalty"], "refitted_on": len(everything), "iterations": head.iterations}
        run.log(summary | {"seconds": seconds})
        _draw(run)
    print(
        f"Best: penalty {best['penalty']:.2g}, validation top-1 {100 * best['val_top1']:.2f} %; refitted on all "
        f"{len(everything)} photos. {seconds:.0f} s in all. The model is in {run.model}."
    )


def _draw(run: RunFolder) -> None:
    """Losses and accuracy over the penalties tried, as `curves.png`."""
    from matplotlib.figure import Figure

    lines = [line for line in run.metrics() if "val_loss" in line]
    penalties = [line["penalty"] for line in lines]
    figure = Figure(figsize=(8, 3.6), layout="constrained")
    loss, accuracy = figure.subplots(1, 2)
    loss.plot(penalties, [line["train_loss"] for line in lines], marker="o", label="train")
    loss.plot(penalties, [line["val_loss"] for line in lines], marker="o", label="validation")
    loss.set(title="Loss", xlabel="penalty", xscale="log")
    loss.legend()
    accuracy.plot(penalties, [100 * line["val_top1"] for line in lines], marker="o", color="C1")
    accuracy.set(title="Validation top-1, %", xlabel="penalty", xscale="log")
    for axes in (loss, accuracy):
        axes.grid(alpha=0.3)
    with beside(run.path / "curves.png") as scratch:
        figure.savefig(scratch, dpi=100, format="png")


def _features(
    recipe: Recipe, network: nn.Module, photos: Photos, cache: PhotoCache, accelerator: Accelerator
) -> _Features | None:
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
        augmented = AugmentedPhotos(photos, cache, transform_to)
        for view in range(1, recipe.feature_views):
            seeds = np.random.SeedSequence([recipe.seed, view]).generate_state(len(photos)) >> 1
            order = [(index, int(seed), recipe.image_size) for index, seed in enumerate(seeds)]
            title = f"features, view {view + 1} of {recipe.feature_views}"
            views.append(_compute(augmented, order, recipe, own, accelerator, title))
    if not accelerator.is_main_process:
        return None
    features = _Features(torch.stack(views), time.perf_counter() - started, cached=False)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with beside(file) as scratch:
            save_file({"views": features.views}, scratch, metadata={"seconds": f"{features.seconds:.2f}"})
    except (OSError, SafetensorError) as error:
        raise LandmarkError(
            f"The features can't be kept in {file.parent}: {getattr(error, 'strerror', None) or error}; name a folder "
            "with room in LANDMARK_CACHE, or switch the cache off by --no-feature-cache."
        ) from None
    return features


def _read(file: Path) -> _Features | None:
    """What is kept in the file; None where it is missing or damaged, so that it is computed and written again."""
    try:
        with safe_open(file, "pt") as content:
            return _Features(content.get_tensor("views"), float(content.metadata()["seconds"]), cached=True)
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
        knobs = ("seed", "image_size", "augment", "crop_scale", "flip", "rotation", "shear", "color_jitter", "blur")
        views |= {name: getattr(recipe, name) for name in (*knobs, "randaugment_magnitude")}
    built = [_FORMAT, timm.__version__, recipe.model, served_arguments(recipe)]
    digest.update(json.dumps([*built, serving, views, recipe.mixed_precision]).encode())
    digest.update("\0".join([str(cache.pixels_file.parent.name), *photos.paths]).encode(errors="surrogateescape"))
    return digest.hexdigest()[:32]

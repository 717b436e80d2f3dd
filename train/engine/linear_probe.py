"""A linear head on a frozen backbone, fitted in seconds on features that are computed once.

`train.fit` comes here by itself where a recipe trains nothing but a linear head:

accelerate launch -m train.fit train/recipes/effnetv2_b0_frozen.yaml --data photos/ --output runs/frozen
"""

import time
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from landmark_models.errors import LandmarkError
from landmark_models.files import atomic_path
from train.data import PhotoCache
from train.engine.features import backbone_features
from train.engine.photos import TrainingPhotos
from train.engine.whitened_head import head_on_features
from train.recipe import Recipe
from train.run import RunFolder

__all__ = ["LinearHead", "fit_linear_head", "is_linear_probe", "train_head"]

_PENALTIES = tuple(10 ** (-exponent / 2) for exponent in range(1, 11))  # from 0.3 to 1e-5, the strongest first
_MAX_ITERATIONS = 2000
_TOLERANCE = 2e-5  # largest element of the gradient of a mean loss, at features of variance 1


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


def is_linear_probe(recipe: Recipe, network: nn.Module) -> bool:
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
    """Multinomial logistic regression, to convergence by L-BFGS.

    It minimises mean cross entropy + penalty / 2 * |W|^2, W being the weight for features that are centred and divided
    by one number, so that their variances are 1 on average: a feature that hardly varies must not count as much as the
    others. The head that is returned takes the features as they are.

    Args:
        features: `(N, D)` float32.
        targets: `(N,)` class indices.
        num_classes: number of classes; some may have no sample.
        penalty: strength of the regularisation, above 0.
        label_smoothing: in 0..1.
        start: where to begin, e.g. the head for a stronger penalty.
    """
    variance, mean = torch.var_mean(features, dim=0, correction=0)
    scale = variance.mean().sqrt().clamp_min(1e-12)
    inputs = ((features - mean) / scale).double()  # in single precision the line search loses its way near the end
    weight = inputs.new_zeros(num_classes, features.shape[1])
    bias = inputs.new_zeros(num_classes)
    if start is not None:
        weight, bias = (start.weight * scale).double(), (start.bias + start.weight @ mean).double()
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
        scaled = weight.float() / scale
        return LinearHead(scaled, bias.float() - scaled @ mean, iterations, steepest <= 5 * _TOLERANCE)


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
    features = backbone_features(recipe, network.to(device), everything, cache, accelerator)
    if features is None:
        return
    how = "from the cache; computing them took" if features.cached else "computed in"
    accelerator.print(
        f"Features of {len(everything)} photos, {len(features.views)} view(s) each: {how} {features.seconds:.1f} s."
    )
    if recipe.head == "whitened_cosine":
        started = time.perf_counter()
        everything_targets = torch.tensor(everything.targets)
        head_on_features(network.cpu(), photos, features.views[0], everything_targets, run, recipe, {})
        with run.writing():
            run.forget_after(0)
            run.log({"seconds": round(features.seconds + time.perf_counter() - started, 2)})
        return
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
    best_logits = inputs.new_empty(0)
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
            "features_seconds": round(features.seconds, 4),
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
            best, best_logits, worse = metrics, logits, 0
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
    run.keep_validation(best_logits, targets[count:])
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
    with atomic_path(run.path / "curves.png") as scratch:
        figure.savefig(scratch, dpi=100, format="png")

"""A linear probe: a linear head on a frozen backbone, fitted in seconds on features that are computed once.

`train.fit` does this of its own accord if a recipe trains nothing but a linear head:

accelerate launch -m train.fit train/recipes/effnetv2_b0_frozen.yaml --data photos/ --output runs/frozen
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from landmark_models.devices import device_name
from landmark_models.errors import LandmarkError
from train.draw.curves import draw_penalties
from train.engine.features import Features, backbone_features
from train.engine.network import served_arguments
from train.engine.prepared import Prepared
from train.engine.whitened_head import head_on_features
from train.recipe import Recipe
from train.run import duration

_PENALTIES = tuple(10 ** (-exponent / 2) for exponent in range(1, 11))  # from 0.3 to 1e-5, the strongest first
_MAX_ITERATIONS = 2000
_TOLERANCE = 2e-5  # largest gradient component of a mean loss, at features of variance 1


@dataclass(frozen=True)
class LinearHead:
    """A linear classifier: weight `(classes, D)`, bias `(classes,)`, and how its fit went."""

    weight: Tensor
    bias: Tensor
    iterations: int
    converged: bool

    def __call__(self, features: Tensor) -> Tensor:
        """Features `(N, D)` to logits `(N, classes)`."""
        return features @ self.weight.T + self.bias


def is_linear_probe(recipe: Recipe, network: nn.Module) -> bool:
    """Whether the recipe trains nothing but a linear layer, on photos that are the same in every epoch."""
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
    """Fit multinomial logistic regression to convergence with L-BFGS.

    It minimises mean cross entropy + penalty / 2 * |W|^2, where W is the weight for features that are centred and
    divided by one number, so that their variances average 1: a feature that hardly varies must not count as much as the
    others. The returned head takes the features as they are. scikit-learn's has neither label smoothing nor a GPU.

    `features` are `(N, D)` float32, `targets` class indices `(N,)`; a class may have no sample. `penalty` is above 0.
    The fit begins at the head `start`, e.g. the one for a stronger penalty.
    """
    variance, mean = torch.var_mean(features, dim=0, correction=0)
    scale = variance.mean().sqrt().clamp_min(1e-12)
    inputs = ((features - mean) / scale).double()  # in float32 the line search fails near the optimum
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
        (loss := objective()).backward()
        return loss

    optimizer.step(closure)
    steepest = max(gradient.abs().max().item() for gradient in torch.autograd.grad(objective(), [weight, bias]))
    iterations = optimizer.state[weight]["n_iter"]
    with torch.no_grad():
        scaled = weight.float() / scale
        return LinearHead(scaled, bias.float() - scaled @ mean, iterations, steepest <= 5 * _TOLERANCE)


def train_head(prepared: Prepared) -> None:
    """Fit the head of a frozen network: choose the penalty by validation loss, then refit on all photos together.

    The run gets `metrics.jsonl` with a line for each penalty tried, and its model, whose validation figures are those
    from before the refit.

    Raises:
        LandmarkError: no fit converges, the features are not finite, or the run's folder can't be written.
    """
    recipe, run, photos, accelerator = prepared.recipe, prepared.run, prepared.photos, prepared.accelerator
    started = time.perf_counter()
    features = backbone_features(prepared)
    if features is None:  # not the main process
        return
    views, targets = features.views, torch.tensor(photos.train.targets + photos.val.targets)
    how = "from the cache; an earlier run computed them in" if features.cached else "computed in"
    views_each = f"{len(views)} view{'s' * (len(views) > 1)} each"
    print(f"Features of {len(targets)} photos, {views_each}: {how} {duration(features.seconds)}.")
    if not views.isfinite().all():
        raise LandmarkError(
            f"{recipe.model} gives features that are not finite at mixed_precision={recipe.mixed_precision}: "
            "try mixed_precision=no, or other pretrained weights."
        )
    with run.writing():
        run.forget_after(0)
    if recipe.head == "whitened_cosine":
        head_on_features(prepared, prepared.network.cpu(), views[0], targets, {})
        summary: dict[str, Any] = {}
    else:
        summary = _fit_probe(prepared, features, targets, started)
    seconds = _since(started)
    with run.writing():
        run.log(summary | {"seconds": seconds, "features_cached": features.cached})
    parts = "The head" if features.cached else "Features and head"
    print(f"{parts} took {duration(seconds)} on {device_name(accelerator.device)}. The model is in {run.model}.")


def _since(started: float) -> float:
    return round(time.perf_counter() - started, 2)


def _fit_probe(prepared: Prepared, features: Features, targets: Tensor, started: float) -> dict[str, Any]:
    """Choose the penalty, refit on all photos and save the model; returns what is to be logged."""
    recipe, run, photos, accelerator = prepared.recipe, prepared.run, prepared.photos, prepared.accelerator
    count, classes = len(photos.train), len(photos.labels)
    views, targets = features.views.to(accelerator.device), targets.to(accelerator.device)
    best: dict[str, Any] | None = None
    best_logits, head, worse = views.new_empty(0), None, 0
    for step, (head, logits, figures) in enumerate(_regularisation_path(recipe, views, targets, count, classes)):
        times = {"features_seconds": round(features.seconds, 4), "seconds": _since(started)}
        metrics = figures | {"val_photos": len(photos.val)} | times
        with run.writing():
            run.log(metrics)
        accelerator.log(metrics, step=step)
        print(_describe_fit(metrics))
        if head.converged and (best is None or metrics["val_loss"] < best["val_loss"]):
            best, best_logits, worse = metrics, logits, 0
        elif (worse := worse + 1) == 2:  # the loss has a single minimum over the penalties
            break
    if best is None:
        raise LandmarkError(
            f"No fit of the head converged in {_MAX_ITERATIONS} iterations; see {run.path}/metrics.jsonl."
        )
    all_targets, penalty = targets.repeat(len(views)), best["penalty"]
    head = fit_linear_head(views.flatten(0, 1), all_targets, classes, penalty, recipe.label_smoothing, head)
    if not head.converged:
        raise LandmarkError(f"The final fit, on all photos, did not converge in {_MAX_ITERATIONS} iterations.")
    classifier = prepared.network.get_classifier()  # type: ignore[operator]
    with torch.no_grad():
        classifier.weight.copy_(head.weight)
        classifier.bias.copy_(head.bias)
    validation = {"top1": best["val_top1"], "n": len(photos.val), "penalty": penalty, "refitted": True}
    validation["refitted_on"] = len(targets)
    run.keep_validation(best_logits, targets[count:])
    with run.writing():
        run.save_model(prepared.network, photos.labels, recipe, validation, model_args=served_arguments(recipe))
        draw_penalties(run.metrics(), run.path / "curves.png")
    print(f"Best: penalty {penalty:.2g}, validation top-1 {100 * best['val_top1']:.2f}%; refitted on all photos.")
    return {"penalty": penalty, "refitted_on": len(targets), "iterations": head.iterations}


def _regularisation_path(
    recipe: Recipe, views: Tensor, targets: Tensor, count: int, classes: int
) -> Iterator[tuple[LinearHead, Tensor, dict[str, Any]]]:
    """Fit the first `count` photos at each penalty, from the strongest; yields head, validation logits and figures."""
    train_features, train_targets = views[:, :count].flatten(0, 1), targets[:count].repeat(len(views))
    head: LinearHead | None = None
    for penalty in _PENALTIES:
        head = fit_linear_head(train_features, train_targets, classes, penalty, recipe.label_smoothing, head)
        logits = head(views[0, count:])
        figures = {
            "penalty": penalty,
            "train_loss": nn.functional.cross_entropy(head(train_features), train_targets).item(),
            "val_loss": nn.functional.cross_entropy(logits, targets[count:]).item(),
            "val_top1": (logits.argmax(1) == targets[count:]).float().mean().item(),
            "iterations": head.iterations,
            "converged": head.converged,
        }
        yield head, logits, figures


def _describe_fit(metrics: dict[str, Any]) -> str:
    note = "" if metrics["converged"] else "  NOT CONVERGED, skipped"
    return (
        f"penalty {metrics['penalty']:8.2g}  loss {metrics['train_loss']:.3f}  val loss {metrics['val_loss']:.3f}  "
        f"val top-1 {100 * metrics['val_top1']:5.2f}%  {metrics['iterations']} iterations{note}"
    )

"""The learning rate of every update of a run."""

from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import (
    ChainedScheduler,
    CosineAnnealingLR,
    LinearLR,
    LRScheduler,
    OneCycleLR,
    ReduceLROnPlateau,
    StepLR,
)

from train.recipe import Recipe


class Schedule:
    """PyTorch's schedulers as a recipe names them, stepped after each update, `plateau` also after each epoch.

    `onecycle` (Smith and Topin 2019) rises over the warm-up and anneals to nearly zero, at constant momentum; the
    others multiply a linear warm-up with the named decay. timm's schedulers would give other curves: their warm-up
    replaces the decay instead of multiplying it, and that of `plateau` counts epochs and keeps no state to resume from.
    """

    def __init__(self, optimizer: Optimizer, recipe: Recipe, updates_per_epoch: int):
        self.optimizer = optimizer
        total = recipe.epochs * updates_per_epoch
        warmup = round(min(recipe.warmup_epochs, recipe.epochs / 2) * updates_per_epoch)
        self.plateau: ReduceLROnPlateau | None = None
        self.per_update: LRScheduler
        if recipe.schedule == "onecycle":
            self.per_update = OneCycleLR(
                optimizer,
                max_lr=[group["lr"] for group in optimizer.param_groups],
                total_steps=total + 1,  # PyTorch counts the learning rate before the first update as a step
                pct_start=min(max(warmup, 1) / total, 1.0),
                cycle_momentum=False,
            )
            return
        parts: list[LRScheduler] = []
        if warmup:
            parts.append(LinearLR(optimizer, start_factor=1 / (warmup + 1), total_iters=warmup))
        if recipe.schedule == "cosine":
            parts.append(CosineAnnealingLR(optimizer, T_max=total))
        elif recipe.schedule == "step":
            parts.append(StepLR(optimizer, recipe.decay_epochs * updates_per_epoch, gamma=recipe.decay_rate))
        else:
            self.plateau = ReduceLROnPlateau(
                optimizer, mode="max", factor=recipe.decay_rate, patience=recipe.decay_epochs
            )
            parts = parts or [LinearLR(optimizer, start_factor=1.0, total_iters=1)]
        self.per_update = ChainedScheduler(parts, optimizer=optimizer)

    @property
    def learning_rate(self) -> float:
        """The largest learning rate of any parameter group."""
        return max(float(group["lr"]) for group in self.optimizer.param_groups)

    def after_update(self) -> None:
        self.per_update.step()

    def after_epoch(self, accuracy: float) -> None:
        if self.plateau:
            self.plateau.step(accuracy)

    def state_dict(self) -> dict[str, Any]:
        return {
            "per_update": self.per_update.state_dict(),
            "plateau": self.plateau.state_dict() if self.plateau else None,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.per_update.load_state_dict(state["per_update"])
        if self.plateau:
            self.plateau.load_state_dict(state["plateau"])

"""The part of training that every kind of training shares: one epoch forward, one look at the validation photos."""

import math
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator, DataLoaderConfiguration
from accelerate.state import AcceleratorState
from accelerate.utils import set_seed
from timm.optim import create_optimizer_v2
from timm.utils import ModelEmaV3
from torch import Tensor, nn
from torchmetrics import MeanMetric
from torchmetrics.classification import MulticlassAccuracy
from tqdm.auto import tqdm

from landmark_models.errors import LandmarkError
from train.augment import mixing
from train.recipe import Recipe, RecipeError
from train.schedule import Schedule

__all__ = ["Engine", "available_cores", "start_accelerator"]


def available_cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def start_accelerator(recipe: Recipe) -> Accelerator:
    """Devices, processes and precision as the launcher and the recipe say; every random generator seeded.

    Raises:
        RecipeError: the batch can't be shared out among the processes.
    """
    AcceleratorState._reset_state()  # else a process could not train a second time with another precision
    accelerator = Accelerator(
        mixed_precision=recipe.mixed_precision,
        gradient_accumulation_steps=recipe.gradient_accumulation_steps,
        dataloader_config=DataLoaderConfiguration(non_blocking=True),
        step_scheduler_with_optimizer=False,
    )
    parts = accelerator.num_processes * recipe.gradient_accumulation_steps
    # mixup and cutmix pair the photos of a part
    unit = 2 * parts if recipe.mixup or recipe.cutmix else parts
    if recipe.batch_size % unit:
        raise RecipeError(
            f"batch_size={recipe.batch_size} must be a multiple of {unit}: {accelerator.num_processes} processes times "
            f"{recipe.gradient_accumulation_steps} accumulation steps{' times a pair to mix' if unit > parts else ''}."
        )
    set_seed(recipe.seed)
    if accelerator.device.type == "cpu":  # accelerate's launcher would leave a process one thread, silently
        torch.set_num_threads(recipe.threads or max(available_cores() // accelerator.num_processes, 1))
    return accelerator


@dataclass(frozen=True)
class Epoch:
    """What one pass over the training photos gave."""

    loss: float
    photos_per_second: float


class Engine:
    """A network in training: its optimizer, schedule, mixing and moving average, under accelerate.

    `network` is the bare network, whatever wraps it for training, so its weights have their own names.
    """

    def __init__(
        self, network: nn.Module, recipe: Recipe, accelerator: Accelerator, num_classes: int, updates_per_epoch: int
    ):
        self.recipe = recipe
        self.accelerator = accelerator
        self.num_classes = num_classes
        self.layout = torch.channels_last if recipe.channels_last else torch.contiguous_format
        self.network = network.to(accelerator.device).to(memory_format=self.layout)
        try:
            optimizer = create_optimizer_v2(
                self.network,
                opt=recipe.optimizer,
                lr=recipe.learning_rate,
                weight_decay=recipe.weight_decay,
                momentum=recipe.momentum,
                **recipe.optimizer_args,
            )
        except (AssertionError, TypeError, ValueError) as error:
            raise RecipeError(
                f"optimizer={recipe.optimizer} with {recipe.optimizer_args} can't be had: {error}"
            ) from None
        self.schedule = Schedule(optimizer, recipe, updates_per_epoch)
        self.ema = ModelEmaV3(self.network, decay=recipe.ema_decay, use_warmup=True) if recipe.ema_decay else None
        self.mix = mixing(recipe, num_classes)
        self.criterion = nn.CrossEntropyLoss(label_smoothing=0.0 if self.mix else recipe.label_smoothing)
        self.wrapped, self.optimizer = accelerator.prepare(self.network, optimizer)
        if recipe.compile:
            self.wrapped = torch.compile(self.wrapped)
        self.update = 0

    @property
    def best_guess(self) -> nn.Module:
        """The weights to judge and to keep: the moving average where there is one."""
        return self.ema.module if self.ema else self.network

    def train_epoch(self, loader: Iterable[Any], photos: int, title: str) -> Epoch:
        """One pass over the loader, which yields `photos` photos over all processes.

        Raises:
            LandmarkError: the loss is no longer a number.
        """
        self.wrapped.train()
        started = time.perf_counter()
        losses = MeanMetric(nan_strategy="disable").to(self.accelerator.device)
        hidden = not self.accelerator.is_local_main_process
        with tqdm(total=photos, desc=title, unit="photo", leave=False, disable=hidden) as bar:
            for images, targets in loader:
                losses.update(self.train_batch(images, targets))
                bar.update(len(images) * self.accelerator.num_processes)
        loss = losses.compute().item()
        if not math.isfinite(loss):
            raise LandmarkError(
                f"The loss is {loss} after {title}: training has diverged. Lower learning_rate or set clip_grad."
            )
        return Epoch(loss, photos / (time.perf_counter() - started))

    def train_batch(self, images: Tensor, targets: Tensor) -> Tensor:
        """Forward, backward and, where the batch is complete, an update. Returns the detached loss."""
        if self.mix:
            images, targets = self.mix(images, targets)
        images = images.contiguous(memory_format=self.layout)
        with self.accelerator.accumulate(self.wrapped):
            with self.accelerator.autocast():
                logits = self.wrapped(images)
            loss: Tensor = self.criterion(logits.float(), targets)
            self.accelerator.backward(loss)
            if self.accelerator.sync_gradients and self.recipe.clip_grad:
                self.accelerator.clip_grad_norm_(self.wrapped.parameters(), self.recipe.clip_grad)
            self.optimizer.step()
            self.optimizer.zero_grad()
        if self.accelerator.sync_gradients:
            self.update += 1
            self.schedule.after_update()
            if self.ema:
                self.ema.update(self.network, step=self.update)
        return loss.detach()

    @torch.inference_mode()
    def validate(self, loader: Iterable[Any]) -> tuple[float, float]:
        """Mean cross entropy and top-1 accuracy (0..1) of `best_guess` over the loader, each photo counted once."""
        network = self.best_guess.eval()
        loss = MeanMetric(nan_strategy="disable").to(self.accelerator.device)
        accuracy = MulticlassAccuracy(self.num_classes, average="micro").to(self.accelerator.device)
        for images, targets in loader:
            with self.accelerator.autocast():
                logits = network(images.contiguous(memory_format=self.layout))
            logits, targets = self.accelerator.gather_for_metrics((logits.float(), targets))
            loss.update(nn.functional.cross_entropy(logits, targets, reduction="none"))
            accuracy.update(logits, targets)
        return loss.compute().item(), accuracy.compute().item()

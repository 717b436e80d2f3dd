"""Training a network: its state, updates, losses and validation.

engine = Engine(prepared, updates_per_epoch)
for _ in engine.train_epoch(loader, "epoch 1"):
    ...
"""

import math
import random
import time
from collections.abc import Iterable, Iterator
from copy import deepcopy
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from accelerate.utils import broadcast
from timm.optim import create_optimizer_v2
from timm.utils import ModelEmaV3
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader
from torchmetrics import MeanMetric
from torchmetrics.classification import MulticlassAccuracy
from torchvision.transforms.v2 import functional
from tqdm.auto import tqdm

from landmark_models.errors import LandmarkError
from train.engine.network import freeze, frozen_parameters, memory_layout
from train.engine.prepared import Prepared
from train.engine.schedule import Schedule
from train.recipe import Recipe, RecipeError

_LOSSES_AT_ONCE = 16  # reading a loss waits for the device, so several are read together


@dataclass
class Progress:
    """How far a run has come. Losses are summed over the current epoch, seconds over all training so far."""

    updates: int = 0
    epochs: int = 0
    epoch_updates: int = 0
    loss_sum: float = 0.0
    loss_count: int = 0
    seconds: float = 0.0
    best_top1: float = -1.0
    best_epoch: int = 0

    def state_dict(self) -> dict[str, Any]:
        return asdict(self)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    @property
    def loss(self) -> float:
        """Mean loss of the current epoch."""
        return self.loss_sum / max(self.loss_count, 1)

    def end_epoch(self, top1: float) -> bool:
        """Count the epoch as complete; returns whether it is the best so far."""
        self.epochs += 1
        self.epoch_updates, self.loss_sum, self.loss_count = 0, 0.0, 0
        improved = top1 > self.best_top1
        if improved:
            self.best_top1, self.best_epoch = top1, self.epochs
        return improved


class Engine:
    """A network in training: its optimizer, schedule, augmentation and moving average, under accelerate.

    It trains a copy of the prepared network. `network` is the bare one, whatever wraps it for training, so its weights
    keep their own names. With a teacher it learns the teacher's outputs instead of the photos' labels.
    """

    def __init__(self, prepared: Prepared, updates_per_epoch: int):
        self.recipe, self.accelerator, self.augmentation = prepared.recipe, prepared.accelerator, prepared.augmentation
        self.labels, self.updates_per_epoch = prepared.photos.labels, updates_per_epoch
        recipe, accelerator = self.recipe, self.accelerator
        self.layout = memory_layout(recipe, accelerator.device)
        self.network = network = deepcopy(prepared.network).to(accelerator.device).to(memory_format=self.layout)
        self.teacher = prepared.teacher.to(accelerator.device, self.layout) if prepared.teacher else None
        self.frozen = frozen_parameters(network, recipe.freeze)
        self.frozen_at_first = frozen_parameters(network, "backbone") if recipe.head_epochs else self.frozen
        freeze(network, self.frozen)  # the optimizer gets the other parameters
        optimizer = _optimizer(network, recipe)
        self.schedule = Schedule(optimizer, recipe, updates_per_epoch)
        self.ema = ModelEmaV3(network, decay=recipe.ema_decay, use_warmup=True) if recipe.ema_decay else None
        self.criterion = nn.CrossEntropyLoss(label_smoothing=0.0 if self.augmentation.mix else recipe.label_smoothing)
        self.wrapped, self.optimizer = accelerator.prepare(network, optimizer)
        if recipe.compile:
            self.wrapped = torch.compile(self.wrapped)
        self.progress = Progress()
        self.gradient_norms: dict[str, float] = {}  # of each layer's weights, in the last update of an epoch
        self._unread_losses: list[Tensor] = []

    @property
    def averaged_network(self) -> nn.Module:
        """The network to validate and save: the moving average, or without one the network itself."""
        return self.ema.module if self.ema else self.network

    def train_epoch(self, loader: DataLoader[Any], title: str) -> Iterator[None]:
        """One pass over the loader, or what `progress` leaves of it, yielding after every update.

        Raises:
            LandmarkError: the loss is no longer finite.
        """
        progress, accelerator = self.progress, self.accelerator
        freeze(self.network, self.frozen_at_first if progress.epochs < self.recipe.head_epochs else self.frozen)
        parts = accelerator.gradient_accumulation_steps
        if progress.epoch_updates:
            loader = accelerator.skip_first_batches(loader, progress.epoch_updates * parts)
            loader.set_epoch(progress.epochs + 1)  # type: ignore[attr-defined]  # accelerate before 1.15 loses it
        batch_size = self.recipe.batch_size
        total, done = self.updates_per_epoch * batch_size, progress.epoch_updates * batch_size
        hidden = not accelerator.is_local_main_process
        started = time.perf_counter()
        with tqdm(total=total, initial=done, desc=title, unit="photo", leave=False, disable=hidden) as bar:
            for index, batch in enumerate(loader):
                self._seed(index % parts)
                self._unread_losses.append(self.train_batch(*batch))
                if not accelerator.sync_gradients:
                    continue
                progress.updates += 1
                progress.epoch_updates += 1
                now = time.perf_counter()
                progress.seconds, started = progress.seconds + now - started, now
                if len(self._unread_losses) >= _LOSSES_AT_ONCE:
                    self.read_losses()
                    bar.set_postfix(loss=f"{progress.loss:.3f}", refresh=False)
                bar.update(batch_size)
                yield
        self.read_losses()

    def _seed(self, part: int) -> None:
        """Seed this part of an update with nothing but the recipe's seed and the part's place in the run.

        So a resumed run needs no generator's state, and nothing else that draws numbers can shift it. Mixing, which
        draws from NumPy, draws the same numbers in all parts and processes, as it would for an undivided batch; random
        erasing, which draws from Python, and dropout draw different ones.
        """
        place = [self.recipe.seed, self.progress.updates]
        common, own = (
            int(np.random.SeedSequence(entropy).generate_state(1)[0])
            for entropy in (place, [*place, part, self.accelerator.process_index])
        )
        random.seed(own)
        np.random.seed(common)
        torch.default_generator.manual_seed(own)
        if self.accelerator.device.type == "cuda":
            torch.cuda.manual_seed(own)

    def train_batch(self, images: Tensor, targets: Tensor, draws: Tensor) -> Tensor:
        """Forward, backward and, once the batch is complete, an update; returns the detached loss, a scalar.

        Images are uint8 `(B, 3, H, W)`, targets class indices `(B,)`, draws the photos' random numbers `(B, DRAWS)`.
        """
        images, targets = self.augmentation(images, targets, draws)
        images = images.contiguous(memory_format=self.layout)
        taught: Tensor | None = None
        if self.teacher:
            with self.accelerator.autocast():
                taught = self.teacher.logits(images, self.augmentation.mean, self.augmentation.std)
            side = self.recipe.crop_side(self.progress.epochs + 1)  # the teacher's view may be larger
            images = functional.resize(images, [side, side], antialias=True)
        with self.accelerator.accumulate(self.wrapped):
            with self.accelerator.autocast():
                logits = self.wrapped(images).float()
            if self.teacher and taught is not None:
                loss = self.teacher.loss(logits, taught, targets)
            else:
                loss = self.criterion(logits, targets)
            self.accelerator.backward(loss)
            if self.accelerator.sync_gradients and self.progress.epoch_updates == self.updates_per_epoch - 1:
                self.gradient_norms = self._gradient_norms()
            if self.accelerator.sync_gradients and self.recipe.clip_grad:
                self.accelerator.clip_grad_norm_(self.wrapped.parameters(), self.recipe.clip_grad)
            self.optimizer.step()
            self.optimizer.zero_grad()
        if self.accelerator.sync_gradients:
            self.schedule.after_update()
            if self.ema:
                self.ema.update(self.network, step=self.progress.updates + 1)
        return loss.detach()

    def _gradient_norms(self) -> dict[str, float]:
        """The L2 norm of the gradient of every trained matrix and kernel, from the input to the output."""
        scale = self.accelerator.scaler.get_scale() if self.accelerator.scaler else 1.0
        return {
            name: parameter.grad.norm().item() / scale
            for name, parameter in self.network.named_parameters()
            if parameter.grad is not None and parameter.ndim > 1
        }

    def read_losses(self) -> None:
        """Add the losses since the last call, averaged over all processes, to `progress`.

        Raises:
            LandmarkError: a loss isn't finite; the message names its update.
        """
        if not self._unread_losses:
            return
        losses = self.accelerator.reduce(torch.stack(self._unread_losses), "mean").tolist()
        parts = self.accelerator.gradient_accumulation_steps
        self._unread_losses = []
        for index, loss in enumerate(losses):
            if not math.isfinite(loss):
                update = self.progress.updates - (len(losses) - 1 - index) // parts
                raise LandmarkError(
                    f"The loss is {loss} at update {update} (epoch {self.progress.epochs + 1}): training has diverged. "
                    f"Lower learning_rate (now {self.recipe.learning_rate:g}), increase warmup_epochs, or limit the "
                    f"gradient with clip_grad{'; try mixed_precision=bf16' * (self.recipe.mixed_precision == 'fp16')}."
                )
        self.progress.loss_sum += sum(losses)
        self.progress.loss_count += len(losses)

    @torch.inference_mode()
    def validate(self, loader: Iterable[Any]) -> dict[str, Any]:
        """`val_loss` (mean cross entropy), `val_top1` (0..1) and `val_photos` of `averaged_network`."""
        network = self.averaged_network.eval()
        for buffer in network.buffers():  # each process has its own running statistics; the main one's are saved
            broadcast(buffer)
        # The gathered logits are the same in all processes and must not be summed over them again.
        loss = MeanMetric(nan_strategy="disable", sync_on_compute=False).to(self.accelerator.device)
        accuracy = MulticlassAccuracy(len(self.labels), average="micro", sync_on_compute=False)
        accuracy = accuracy.to(self.accelerator.device)
        photos = 0
        for images, targets in loader:
            with self.accelerator.autocast():
                logits = network(images.contiguous(memory_format=self.layout))
            logits, targets = self.accelerator.gather_for_metrics((logits.float(), targets))
            loss.update(nn.functional.cross_entropy(logits, targets, reduction="none"))
            accuracy.update(logits, targets)
            photos += len(targets)
        return {"val_loss": loss.compute().item(), "val_top1": accuracy.compute().item(), "val_photos": photos}


def _optimizer(network: nn.Module, recipe: Recipe) -> Optimizer:
    try:
        optimizer: Optimizer = create_optimizer_v2(
            network,
            opt=recipe.optimizer,
            lr=recipe.learning_rate,
            weight_decay=recipe.weight_decay,
            momentum=recipe.momentum,
            layer_decay=recipe.layer_decay,
            **recipe.optimizer_args,
        )
    except (AssertionError, TypeError, ValueError) as error:
        raise RecipeError(
            f"The optimizer can't be created (optimizer={recipe.optimizer}, optimizer_args={recipe.optimizer_args}): "
            f"{error}"
        ) from None
    for group in optimizer.param_groups:  # timm leaves layer decay to its own schedulers
        group["lr"] *= group.get("lr_scale", 1.0)
    return optimizer

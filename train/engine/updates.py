"""The part of training that every kind of training shares: updates, losses looked at, a look at the validation photos.

with start_accelerator(recipe) as accelerator:
    engine = Engine(network, recipe, accelerator, augmentation, labels, updates_per_epoch)
    for _ in engine.train_epoch(loader, "epoch 1"):
        ...
"""

import math
import random
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator, DataLoaderConfiguration
from accelerate.state import AcceleratorState
from accelerate.tracking import get_available_trackers
from accelerate.utils import DistributedDataParallelKwargs, InitProcessGroupKwargs, LoggerType, broadcast, set_seed
from timm.optim import create_optimizer_v2
from timm.utils import ModelEmaV3
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchmetrics import MeanMetric
from torchmetrics.classification import MulticlassAccuracy
from torchvision.transforms.v2 import functional
from tqdm.auto import tqdm

from landmark_models.devices import available_cores, keep_freed_memory
from landmark_models.errors import LandmarkError
from train.engine.augment import BatchAugmentation
from train.engine.network import freeze, frozen_parameters
from train.engine.schedule import Schedule
from train.engine.teacher import Teacher
from train.recipe import Recipe, RecipeError

__all__ = ["Engine", "Progress", "start_accelerator"]

_LOSSES_AT_ONCE = 16  # reading a loss waits for the device, so several are read together


@contextmanager
def start_accelerator(
    recipe: Recipe, log_with: Sequence[str] = (), tracker_folder: Path | None = None
) -> Iterator[Accelerator]:
    """Devices, processes and precision as the launcher and the recipe say; every random generator seeded.

    Trackers and process group are ended with the block.

    Args:
        recipe: its precision, accumulation, seed and threads.
        log_with: accelerate's names of trackers, e.g. `tensorboard`.
        tracker_folder: where trackers that write files put them.

    Raises:
        RecipeError: the batch can't be shared out among the processes, or a tracker is unknown or not installed.
    """
    installed = [str(tracker) for tracker in get_available_trackers()]
    known = [name for name in LoggerType.list() if name != "all"]
    for name in log_with:
        if name not in known:
            raise RecipeError(f"There is no tracker {name!r}; accelerate knows {', '.join(known)}.")
        if name not in installed:
            raise RecipeError(f"The tracker {name} is not installed here; run `pip install {name.replace('_', '-')}`.")
    AcceleratorState._reset_state()  # else a process could not train a second time with another precision
    accelerator = Accelerator(
        mixed_precision=recipe.mixed_precision,
        gradient_accumulation_steps=recipe.gradient_accumulation_steps,
        dataloader_config=DataLoaderConfiguration(non_blocking=True),
        step_scheduler_with_optimizer=False,
        log_with=list(log_with) or None,
        project_dir=tracker_folder,
        # The others wait while the main process decodes the photos; PyTorch would give up after ten minutes.
        kwargs_handlers=[
            InitProcessGroupKwargs(timeout=timedelta(hours=6)),
            # While the head alone is trained the rest has no gradient to wait for.
            DistributedDataParallelKwargs(find_unused_parameters=recipe.head_epochs > 0),
        ],
    )
    try:
        parts = accelerator.num_processes * recipe.gradient_accumulation_steps
        # mixup and cutmix pair the photos of a part
        unit = 2 * parts if recipe.mixup or recipe.cutmix else parts
        if recipe.batch_size % unit:
            raise RecipeError(
                f"batch_size={recipe.batch_size} must be a multiple of {unit}: {accelerator.num_processes} processes "
                f"times {recipe.gradient_accumulation_steps} accumulation steps"
                f"{' times a pair to mix' if unit > parts else ''}."
            )
        set_seed(recipe.seed)
        if accelerator.device.type == "cpu":  # accelerate's launcher would leave a process one thread, silently
            torch.set_num_threads(recipe.threads or max(available_cores() // accelerator.num_processes, 1))
            keep_freed_memory()
        yield accelerator
    except BaseException:
        if accelerator.num_processes == 1:  # of several, the others may be waiting for this one: leave at once
            accelerator.end_training()
        raise
    else:
        accelerator.end_training()
    finally:
        accelerator.free_memory()  # else the loaders' workers live on until the garbage collector comes by


@dataclass
class Progress:
    """How far a run has come. Losses are summed over the epoch under way, seconds over all training so far."""

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
        """Mean loss of the epoch under way."""
        return self.loss_sum / max(self.loss_count, 1)

    def end_epoch(self, top1: float) -> bool:
        """Count the epoch as complete; says whether it is the best so far."""
        self.epochs += 1
        self.epoch_updates, self.loss_sum, self.loss_count = 0, 0.0, 0
        improved = top1 > self.best_top1
        if improved:
            self.best_top1, self.best_epoch = top1, self.epochs
        return improved


class Engine:
    """A network in training: its optimizer, schedule, augmentation and moving average, under accelerate.

    `network` is the bare network, whatever wraps it for training, so its weights have their own names. With a `teacher`
    it learns what that says, instead of the photos' labels.
    """

    def __init__(
        self,
        network: nn.Module,
        recipe: Recipe,
        accelerator: Accelerator,
        augmentation: BatchAugmentation,
        labels: list[str],
        updates_per_epoch: int,
        teacher: Teacher | None = None,
    ):
        self.recipe = recipe
        self.accelerator = accelerator
        self.augmentation = augmentation
        self.labels = labels
        self.updates_per_epoch = updates_per_epoch
        self.layout = torch.channels_last if recipe.channels_last else torch.contiguous_format
        self.network = network.to(accelerator.device).to(memory_format=self.layout)
        self.teacher = teacher.to(accelerator.device, self.layout) if teacher else None
        self.frozen = frozen_parameters(network, recipe.freeze)
        self.frozen_at_first = frozen_parameters(network, "backbone") if recipe.head_epochs else self.frozen
        freeze(self.network, self.frozen)  # the optimizer gets what is left
        try:
            optimizer = create_optimizer_v2(
                self.network,
                opt=recipe.optimizer,
                lr=recipe.learning_rate,
                weight_decay=recipe.weight_decay,
                momentum=recipe.momentum,
                layer_decay=recipe.layer_decay,
                **recipe.optimizer_args,
            )
        except (AssertionError, TypeError, ValueError) as error:
            raise RecipeError(
                f"optimizer={recipe.optimizer} with {recipe.optimizer_args} can't be had: {error}"
            ) from None
        for group in optimizer.param_groups:  # timm leaves the layers' factors to its own schedulers
            group["lr"] *= group.get("lr_scale", 1.0)
        self.schedule = Schedule(optimizer, recipe, updates_per_epoch)
        self.ema = ModelEmaV3(self.network, decay=recipe.ema_decay, use_warmup=True) if recipe.ema_decay else None
        self.criterion = nn.CrossEntropyLoss(label_smoothing=0.0 if augmentation.mix else recipe.label_smoothing)
        self.wrapped, self.optimizer = accelerator.prepare(self.network, optimizer)
        if recipe.compile:
            self.wrapped = torch.compile(self.wrapped)
        self.progress = Progress()
        self.gradient_norms: dict[str, float] = {}  # of each layer's weights, in the last update of an epoch
        self._unread_losses: list[Tensor] = []

    @property
    def best_guess(self) -> nn.Module:
        """The weights to judge and to keep: the moving average where there is one."""
        return self.ema.module if self.ema else self.network

    def train_epoch(self, loader: DataLoader[Any], title: str) -> Iterator[None]:
        """One pass over the loader, or what `progress` leaves of it, pausing after every update.

        Raises:
            LandmarkError: the loss is no longer a number.
        """
        progress, accelerator = self.progress, self.accelerator
        freeze(self.network, self.frozen_at_first if progress.epochs < self.recipe.head_epochs else self.frozen)
        parts = accelerator.gradient_accumulation_steps
        if progress.epoch_updates:
            loader = accelerator.skip_first_batches(loader, progress.epoch_updates * parts)
            loader.set_epoch(progress.epochs + 1)  # type: ignore[attr-defined]  # forgotten by accelerate before 1.15
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
        """Make what is random in this part of an update follow from the recipe's seed and its place in the run alone.

        A resumed run needs no generator's state, then, and nothing else that draws numbers can shift it. Mixing draws
        the same numbers in all parts and processes, as it does for an undivided batch; dropout draws different ones.
        """
        place = [self.recipe.seed, self.progress.updates]
        common, own = (
            int(np.random.SeedSequence(entropy).generate_state(1)[0])
            for entropy in (place, [*place, part, self.accelerator.process_index])
        )
        random.seed(common)
        np.random.seed(common)
        torch.default_generator.manual_seed(own)
        if self.accelerator.device.type == "cuda":
            torch.cuda.manual_seed(own)

    def train_batch(self, images: Tensor, targets: Tensor, draws: Tensor) -> Tensor:
        """Forward, backward and, where the batch is complete, an update. Returns the detached loss."""
        images, targets = self.augmentation(images, targets, draws)
        images = images.contiguous(memory_format=self.layout)
        taught: Tensor | None = None
        if self.teacher:
            with self.accelerator.autocast():
                taught = self.teacher.logits(images, self.augmentation.mean, self.augmentation.std)
            side = self.recipe.crop_side(self.progress.epochs + 1)  # the view may be larger, for the teacher
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
        """The Euclidean norm of the gradient of every matrix and kernel in training, from the input on."""
        scale = self.accelerator.scaler.get_scale() if self.accelerator.scaler else 1.0
        return {
            name: parameter.grad.norm().item() / scale
            for name, parameter in self.network.named_parameters()
            if parameter.grad is not None and parameter.ndim > 1
        }

    def read_losses(self) -> None:
        """Add the losses since the last call, means over all processes, to `progress`.

        Raises:
            LandmarkError: one of them is not a finite number; the text says of which update.
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
                    f"Lower learning_rate (now {self.recipe.learning_rate:g}), lengthen warmup_epochs, or limit the "
                    f"gradient with clip_grad{'; try mixed_precision=bf16' * (self.recipe.mixed_precision == 'fp16')}."
                )
        self.progress.loss_sum += sum(losses)
        self.progress.loss_count += len(losses)

    @torch.inference_mode()
    def validate(self, loader: Iterable[Any]) -> dict[str, Any]:
        """`val_loss` (mean cross entropy), `val_top1` (0..1), `val_photos` of `best_guess`, each photo counted once."""
        network = self.best_guess.eval()
        for buffer in network.buffers():  # batch statistics are each process's own: all judge what the main one keeps
            broadcast(buffer)
        # What is gathered is the same in all processes and must not be summed over them once more.
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

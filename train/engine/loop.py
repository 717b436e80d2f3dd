"""A run from its first epoch, or from its last checkpoint, to its last: what every kind of training shares."""

from collections.abc import Callable
from typing import Any

from accelerate import Accelerator
from accelerate.utils import find_executable_batch_size
from torch.utils.data import DataLoader

from landmark_models.errors import LandmarkError
from train.engine.checkpoints import Checkpoints
from train.engine.updates import Engine
from train.recipe import Recipe
from train.run import RunFolder

__all__ = ["retry_on_oom", "run_epochs"]


def retry_on_oom(recipe: Recipe, accelerator: Accelerator, train: Callable[[int], None]) -> None:
    """Call `train` with the photos that a process takes at a time; should memory run out, again with fewer.

    The batch of an update stays as the recipe says: smaller parts of it are accumulated. Among several processes it
    works where all run out of memory together, as equal devices do.

    Raises:
        LandmarkError: one photo at a time is too much.
    """
    shares = recipe.batch_size // accelerator.num_processes
    size = shares // recipe.gradient_accumulation_steps
    least = 2 if recipe.mixup or recipe.cutmix else 1  # mixing takes pairs

    def smaller() -> int:
        nonlocal size
        too_much, size = size, next((n for n in range(size // 2, 0, -1) if shares % n == 0 and n % least == 0), 0)
        if size == 0:
            raise LandmarkError(
                f"Memory does not suffice for {too_much} photos at a time: choose a smaller model or image_size."
            )
        parts = shares // size
        accelerator.print(
            f"Out of memory with {too_much} photos at a time: going on with {size}, and accumulating the batch of "
            f"{recipe.batch_size} over {parts} parts. Batch normalisation sees the smaller parts."
        )
        accelerator.gradient_accumulation_steps = parts
        return size

    find_executable_batch_size(train, size, smaller)()


def run_epochs(
    engine: Engine,
    train_loader: DataLoader[Any],
    val_loader: DataLoader[Any],
    run: RunFolder,
    checkpoints: Checkpoints,
    checkpointing_steps: int | None,
) -> None:
    """Train to the recipe's last epoch, leaving a checkpoint, metrics, curves and the best (or last) model after each.

    Args:
        engine: what to train; its progress says how far it has come.
        train_loader: batches for training, shared out among the processes.
        val_loader: batches for validation, likewise.
        run: the run's folder, begun.
        checkpoints: of this engine.
        checkpointing_steps: write a checkpoint every so many updates, too.

    Raises:
        LandmarkError: training diverges, or the run's folder can't be written.
    """
    recipe, accelerator, progress = engine.recipe, engine.accelerator, engine.progress
    main = accelerator.is_main_process
    while progress.epochs < recipe.epochs:
        epoch = progress.epochs + 1
        if recipe.patience and progress.epochs - progress.best_epoch >= recipe.patience:
            accelerator.print(f"No improvement for {recipe.patience} epochs: stopped early.")
            break
        train_loader.set_epoch(epoch)  # type: ignore[attr-defined]
        seconds_before, updates_before = progress.seconds, progress.epoch_updates
        for _ in engine.train_epoch(train_loader, f"epoch {epoch}/{recipe.epochs}"):
            due = checkpointing_steps and progress.updates % checkpointing_steps == 0
            if due and progress.epoch_updates < engine.updates_per_epoch:  # else the epoch's own is about to be written
                engine.read_losses()
                with run.writing():
                    checkpoints.save()
        photos = (progress.epoch_updates - updates_before) * recipe.batch_size
        metrics = {
            "epoch": epoch,
            "update": progress.updates,
            "train_loss": progress.loss,
            **engine.validate(val_loader),
            "learning_rate": engine.schedule.learning_rate,
            "photos_per_second": round(photos / (progress.seconds - seconds_before), 1),
            "seconds": round(progress.seconds, 1),
        }
        engine.schedule.after_epoch(metrics["val_top1"])
        improved = progress.end_epoch(metrics["val_top1"])
        with run.writing():
            if main:
                if improved or recipe.keeps_last_epoch:
                    validation = {"top1": metrics["val_top1"], "n": metrics["val_photos"], "epoch": epoch}
                    run.save_model(engine.best_guess, engine.labels, recipe, validation)
                run.log(metrics | {"gradient_norms": engine.gradient_norms})
                run.draw_curves()
            checkpoints.save()
        accelerator.log({name: metrics[name] for name in metrics.keys() - {"update"}}, step=progress.updates)
        left = progress.seconds / epoch * (recipe.epochs - epoch)
        accelerator.print(
            f"epoch {epoch:3d}/{recipe.epochs}  loss {metrics['train_loss']:.3f}  val loss {metrics['val_loss']:.3f}  "
            f"val top-1 {100 * metrics['val_top1']:5.2f} %{'*' if improved else ' '}  "
            f"lr {metrics['learning_rate']:.2e}  {metrics['photos_per_second']:.0f} photos/s  {_clock(left)} left"
        )
    accelerator.print(
        f"Best: epoch {progress.best_epoch}, validation top-1 {100 * progress.best_top1:.2f} %. "
        f"{'The last epoch is kept. ' if recipe.keeps_last_epoch else ''}The model is in {run.model}."
    )


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 3600}:{int(seconds) // 60 % 60:02d}:{int(seconds) % 60:02d}"

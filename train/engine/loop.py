"""The epochs of a run, from the first one or the last checkpoint on; smaller micro-batches if memory runs out."""

import time
from collections.abc import Callable
from typing import Any

from accelerate.utils import find_executable_batch_size
from torch.utils.data import DataLoader

from landmark_models.errors import LandmarkError
from train.draw.curves import draw_curves
from train.engine.checkpoints import Checkpoints
from train.engine.network import needs_pairs, served_arguments
from train.engine.prepared import Prepared
from train.engine.updates import Engine
from train.run import RunFolder

_DRAWING_INTERVAL = 10.0  # seconds; drawing the curves takes longer than an epoch of a small network on few photos


def retry_on_oom(prepared: Prepared, train: Callable[[int], None]) -> None:
    """Call `train` with a process's micro-batch, and again with a smaller one whenever memory runs out.

    Each update still uses the recipe's whole batch, accumulated over more parts. With several processes this works if
    all of them run out of memory together, as equal devices do.

    Raises:
        LandmarkError: even the smallest micro-batch is too large.
    """
    recipe, accelerator = prepared.recipe, prepared.accelerator
    share = recipe.batch_size // accelerator.num_processes
    size = share // recipe.gradient_accumulation_steps

    def smaller() -> int:
        nonlocal size
        # mixup and cutmix mix photos in pairs
        least = 2 if recipe.mixup or recipe.cutmix or needs_pairs(prepared.network, recipe) else 1
        failed, size = size, next((n for n in range(size // 2, 0, -1) if share % n == 0 and n % least == 0), 0)
        if size == 0:
            raise LandmarkError(
                f"There isn't enough memory for {failed} photos at a time: choose a smaller model or image_size."
            )
        parts = share // size
        accelerator.print(
            f"Out of memory with {failed} photos at a time: continuing with {size}, accumulating the batch of "
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
    """Train from where the engine is to the recipe's last epoch.

    Each epoch leaves a checkpoint, metrics and the best (or last) model, and every few seconds the curves are drawn;
    every so many `checkpointing_steps` updates there is a checkpoint, too. Both loaders are split among the processes.

    Raises:
        LandmarkError: training diverges, or the run's folder can't be written.
    """
    recipe, accelerator, progress = engine.recipe, engine.accelerator, engine.progress
    begun, first = time.monotonic(), progress.epochs
    drawn, drawn_epochs = time.monotonic(), 0  # a run killed after its last checkpoint has its curves drawn on resuming
    while progress.epochs < recipe.epochs:
        if recipe.patience and progress.epochs - progress.best_epoch >= recipe.patience:
            accelerator.print(f"No improvement for {recipe.patience} epochs: stopped early.")
            break
        photos_per_second = _train_epoch(engine, train_loader, run, checkpoints, checkpointing_steps)
        metrics = {
            "epoch": progress.epochs + 1,
            "update": progress.updates,
            "train_loss": progress.loss,
            **engine.validate(val_loader),
            "learning_rate": engine.schedule.learning_rate,
            "photos_per_second": round(photos_per_second, 1),
            "seconds": round(progress.seconds, 1),
        }
        engine.schedule.after_epoch(metrics["val_top1"])
        improved = progress.end_epoch(metrics["val_top1"])
        with run.writing():
            if accelerator.is_main_process:
                _save_epoch(engine, run, metrics, improved)
                if time.monotonic() - drawn > _DRAWING_INTERVAL:
                    draw_curves(run.metrics(), run.path / "curves.png", *_labels(engine))
                    drawn, drawn_epochs = time.monotonic(), progress.epochs
            checkpoints.save()
        accelerator.log({name: metrics[name] for name in metrics.keys() - {"update"}}, step=progress.updates)
        rest = (time.monotonic() - begun) / (progress.epochs - first) * (recipe.epochs - progress.epochs)
        accelerator.print(_describe_epoch(engine, metrics, improved, int(rest)))
    if accelerator.is_main_process and drawn_epochs < progress.epochs:
        with run.writing():
            draw_curves(run.metrics(), run.path / "curves.png", *_labels(engine))
    _, photos = _labels(engine)
    accelerator.print(
        f"Best: epoch {progress.best_epoch}, top-1 {100 * progress.best_top1:.2f}% on the {photos}. "
        f"{'The last epoch is kept. ' if recipe.keeps_last_epoch else ''}The model is in {run.model}."
    )


def _labels(engine: Engine) -> tuple[str, str]:
    """What a run's training loss is of, and the photos that it is validated on, in a few words each."""
    recipe = engine.recipe
    steps = {
        "augmented": recipe.augment != "none" or recipe.random_erasing,
        "mixed": recipe.mixup or recipe.cutmix,
        "against a teacher": engine.teacher,
        "smoothed labels": recipe.label_smoothing and not engine.teacher,
    }
    how = ", ".join(step for step, is_on in steps.items() if is_on)
    return (
        f"training\n({how})" if how else "training",
        "training photos themselves" if recipe.overfit_batches else "validation photos",
    )


def _train_epoch(
    engine: Engine, loader: DataLoader[Any], run: RunFolder, checkpoints: Checkpoints, checkpointing_steps: int | None
) -> float:
    """Train through what is left of the current epoch; returns photos per second."""
    recipe, progress = engine.recipe, engine.progress
    epoch = progress.epochs + 1
    loader.set_epoch(epoch)  # type: ignore[attr-defined]
    seconds_before, updates_before = progress.seconds, progress.epoch_updates
    for _ in engine.train_epoch(loader, f"epoch {epoch}/{recipe.epochs}"):
        due = checkpointing_steps and progress.updates % checkpointing_steps == 0
        if due and progress.epoch_updates < engine.updates_per_epoch:  # the end of the epoch writes its own
            engine.read_losses()
            with run.writing():
                checkpoints.save()
    photos = (progress.epoch_updates - updates_before) * recipe.batch_size
    return photos / (progress.seconds - seconds_before)


def _save_epoch(engine: Engine, run: RunFolder, metrics: dict[str, Any], improved: bool) -> None:
    recipe = engine.recipe
    if improved or recipe.keeps_last_epoch:
        validation = {"top1": metrics["val_top1"], "n": metrics["val_photos"], "epoch": metrics["epoch"]}
        model_args = served_arguments(recipe)
        run.save_model(engine.averaged_network, engine.labels, recipe, validation, model_args=model_args)
    run.log(metrics | {"gradient_norms": engine.gradient_norms})


def _describe_epoch(engine: Engine, metrics: dict[str, Any], improved: bool, left: int) -> str:
    """A line for the terminal; `left` is in seconds."""
    epoch, epochs = metrics["epoch"], engine.recipe.epochs
    return (
        f"epoch {epoch:3d}/{epochs}  loss {metrics['train_loss']:.3f}  val loss {metrics['val_loss']:.3f}  "
        f"val top-1 {100 * metrics['val_top1']:5.2f}%{'*' if improved else ' '}  lr {metrics['learning_rate']:.2e}  "
        f"{metrics['photos_per_second']:.0f} photos/s  {left // 3600}:{left // 60 % 60:02d}:{left % 60:02d} left"
    )

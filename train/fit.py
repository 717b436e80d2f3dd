"""Train a model, as a recipe says, on a folder of photos.

    accelerate launch -m train.fit train/recipes/default.yaml --data photos/ --output runs/first
    python -m train.fit train/recipes/default.yaml --data photos/ --output runs/quick --epochs 3
"""

import math
import os
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import timm
import torch
import typer
from accelerate import Accelerator, DataLoaderConfiguration
from accelerate.utils import set_seed
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.optim import create_optimizer_v2
from timm.utils import ModelEmaV3
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchmetrics import MeanMetric
from torchmetrics.classification import MulticlassAccuracy
from tqdm.auto import tqdm

from landmark_models import hub
from landmark_models.errors import run_command
from landmark_models.preprocess import required_side, serving_transform
from train.augment import mixing, training_transform
from train.cache import PhotoCache
from train.data import DataError, EpochSampler, Photos, TrainingPhotos, ValidationPhotos, find_photos, split_off
from train.recipe import Recipe, RecipeError, with_knobs
from train.run import RunFolder
from train.schedule import Schedule

__all__ = ["fit"]


def available_cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def build_network(recipe: Recipe, num_classes: int) -> nn.Module:
    """The recipe's architecture with fresh weights.

    Raises:
        RecipeError: timm does not know it, or it does not take the recipe's arguments.
    """
    if not timm.is_model(recipe.model):
        near = timm.list_models(f"*{recipe.model.split('.')[0][:6]}*")[:5]
        raise RecipeError(f"timm {timm.__version__} has no model {recipe.model!r}; nearest: {', '.join(near) or 'none'}.")
    arguments = {"drop_rate": recipe.drop_rate} | recipe.model_args
    if recipe.drop_path_rate:
        arguments["drop_path_rate"] = recipe.drop_path_rate
    try:
        return timm.create_model(recipe.model, pretrained=False, num_classes=num_classes, **arguments)
    except (TypeError, ValueError, AssertionError) as error:
        raise RecipeError(f"{recipe.model} can't be built with {arguments}: {error}") from None


def read_photos(recipe: Recipe, data: str | Path) -> tuple[Photos, Photos]:
    """The training and the validation photos of DATA; a missing validation split is drawn from train.

    Raises:
        DataError: there is nothing to train on, or nothing to validate on.
    """
    train = find_photos(data, "train")
    if train is None:
        raise DataError(f"{data} has no train folder.")
    if len(train.labels) < 2:
        raise DataError(f"{data} has one class only, {train.labels[0]!r}; a classifier needs two.")
    val = find_photos(data, "val", train.labels)
    return (train, val) if val is not None else split_off(train, recipe.val_fraction, recipe.seed)


def channel_statistics(cache: PhotoCache, indices: list[int]) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each colour channel over these photos, in 0..1."""
    count = 0
    total = torch.zeros(3, dtype=torch.float64)
    squares = torch.zeros(3, dtype=torch.float64)
    for index in indices:
        pixels = torch.tensor(cache[index]).double().view(-1, 3) / 255
        count += len(pixels)
        total += pixels.sum(0)
        squares += pixels.square().sum(0)
    mean = total / count
    return mean.tolist(), (squares / count - mean.square()).sqrt().tolist()


def input_normalization(recipe: Recipe, cache: PhotoCache, train: list[int]) -> tuple[list[float], list[float]]:
    """Mean and standard deviation that the network's input is normalised with."""
    if isinstance(recipe.normalization, dict):
        return list(recipe.normalization["mean"]), list(recipe.normalization["std"])
    if recipe.normalization == "train":
        return channel_statistics(cache, train)
    return list(IMAGENET_DEFAULT_MEAN), list(IMAGENET_DEFAULT_STD)


@torch.inference_mode()
def validate(network: nn.Module, loader: DataLoader[Any], accelerator: Accelerator, classes: int) -> tuple[float, float]:
    """Mean cross entropy and top-1 accuracy over the loader's photos, each counted once."""
    network.eval()
    loss = MeanMetric().to(accelerator.device)
    accuracy = MulticlassAccuracy(classes, average="micro").to(accelerator.device)
    for images, targets in loader:
        with accelerator.autocast():
            logits = network(images)
        logits, targets = accelerator.gather_for_metrics((logits.float(), targets))
        loss.update(nn.functional.cross_entropy(logits, targets, reduction="none"))
        accuracy.update(logits, targets)
    return loss.compute().item(), accuracy.compute().item()


def fit(recipe: Recipe, data: str | Path, output: str | Path) -> RunFolder:
    """Train and leave a run folder, whose `model/` is the best epoch by validation accuracy.

    Raises:
        LandmarkError: the recipe, the data or the output folder can't be used.
    """
    accelerator = Accelerator(
        mixed_precision=recipe.mixed_precision,
        gradient_accumulation_steps=recipe.gradient_accumulation_steps,
        dataloader_config=DataLoaderConfiguration(even_batches=True, non_blocking=True),
        step_scheduler_with_optimizer=False,
    )
    parts = accelerator.num_processes * recipe.gradient_accumulation_steps
    if recipe.batch_size % parts:
        raise RecipeError(f"batch_size={recipe.batch_size} can't be split over {parts} processes and parts; change it.")
    set_seed(recipe.seed)
    if accelerator.device.type == "cpu":  # the launcher would leave a process one thread, silently
        torch.set_num_threads(recipe.threads or max(available_cores() // accelerator.num_processes, 1))
    run = RunFolder(output)

    # What is trained on -------------------------------------------------------------------------------------------
    train_photos, val_photos = read_photos(recipe, data)
    labels = list(train_photos.labels)
    network = build_network(recipe, len(labels))
    network.pretrained_cfg.update(
        input_size=(3, recipe.serving_size, recipe.serving_size),
        crop_pct=recipe.crop_pct,
        crop_mode=recipe.crop_mode,
        interpolation=recipe.interpolation,
    )
    with accelerator.main_process_first():
        if accelerator.is_main_process:
            run.create()
        short_side = math.ceil(1.25 * max(recipe.image_size, required_side(network.pretrained_cfg)))
        files = train_photos.files() + val_photos.files()
        cache = PhotoCache.open(files, short_side, progress=accelerator.is_local_main_process)
    for reason in cache.failures.values():
        accelerator.print(f"Left out: {reason}")
    if cache.failures:
        accelerator.print(f"{len(cache.failures)} of {len(files)} photos can't be read and are left out.")
    train_indices = [i for i in range(len(train_photos)) if i not in cache.failures]
    val_indices = [i for i in range(len(train_photos), len(files)) if i not in cache.failures]
    targets = [*train_photos.targets, *val_photos.targets]
    if not train_indices or not val_indices:
        raise DataError(f"No readable photo of {data} is left to train or to validate on.")

    mean, std = input_normalization(recipe, cache, train_indices)
    network.pretrained_cfg.update(mean=tuple(mean), std=tuple(std))
    train_targets = [targets[i] for i in train_indices]
    train_set = TrainingPhotos(cache, train_indices, train_targets, training_transform(recipe, mean, std))
    val_set = ValidationPhotos(
        cache, val_indices, [targets[i] for i in val_indices], serving_transform(network.pretrained_cfg)
    )
    if accelerator.is_main_process:
        recipe.write(run.recipe)
        run.write_environment(accelerator.device, accelerator.num_processes)
        paths = [*train_photos.paths, *val_photos.paths]
        run.write_json(
            "split.json",
            {
                "labels": labels,
                "train": [paths[i] for i in train_indices],
                "val": [paths[i] for i in val_indices],
                "left_out": {paths[i]: reason for i, reason in cache.failures.items()},
            },
        )

    # What trains it -----------------------------------------------------------------------------------------------
    workers = min(available_cores(), 8) if recipe.workers is None else recipe.workers
    micro_batch = recipe.batch_size // parts
    sampler = EpochSampler(train_targets, recipe.batch_size, recipe.seed, recipe.balanced_sampling)
    train_loader = DataLoader(
        train_set, micro_batch, sampler=sampler, num_workers=workers, persistent_workers=workers > 0
    )
    val_loader = DataLoader(val_set, 2 * micro_batch, num_workers=workers, persistent_workers=workers > 0)
    layout = torch.channels_last if recipe.channels_last else torch.contiguous_format
    network = network.to(accelerator.device, memory_format=layout)
    optimizer = create_optimizer_v2(
        network,
        opt=recipe.optimizer,
        lr=recipe.learning_rate,
        weight_decay=recipe.weight_decay,
        momentum=recipe.momentum,
        **recipe.optimizer_args,
    )
    ema = ModelEmaV3(network, decay=recipe.ema_decay, use_warmup=True) if recipe.ema_decay else None
    mix = mixing(recipe, len(labels))
    criterion = nn.CrossEntropyLoss(label_smoothing=0.0 if mix else recipe.label_smoothing)
    trained, optimizer, train_loader, val_loader = accelerator.prepare(network, optimizer, train_loader, val_loader)
    if recipe.compile:
        trained = torch.compile(trained)
    updates_per_epoch = len(sampler) // recipe.batch_size
    schedule = Schedule(optimizer.optimizer, recipe, updates_per_epoch)

    # The loop -----------------------------------------------------------------------------------------------------
    accelerator.print(
        f"{recipe.model}: {sum(p.numel() for p in network.parameters()) / 1e6:.2f} M parameters; "
        f"{len(train_indices)} training and {len(val_indices)} validation photos of {len(labels)} classes."
    )
    best, best_epoch, started, update = -1.0, 0, time.perf_counter(), 0
    for epoch in range(1, recipe.epochs + 1):
        trained.train()
        train_loader.set_epoch(epoch)
        epoch_started = time.perf_counter()
        losses = MeanMetric().to(accelerator.device)
        bar = tqdm(
            total=len(sampler), desc=f"epoch {epoch}/{recipe.epochs}", unit="photo", leave=False,
            disable=not accelerator.is_local_main_process,
        )  # fmt: skip
        for images, batch_targets in train_loader:
            if mix:
                images, batch_targets = mix(images, batch_targets)
            images = images.contiguous(memory_format=layout)
            with accelerator.accumulate(trained):
                with accelerator.autocast():
                    logits = trained(images)
                loss = criterion(logits.float(), batch_targets)
                accelerator.backward(loss)
                if accelerator.sync_gradients and recipe.clip_grad:
                    accelerator.clip_grad_norm_(trained.parameters(), recipe.clip_grad)
                optimizer.step()
                optimizer.zero_grad()
            losses.update(loss.detach())
            if accelerator.sync_gradients:
                update += 1
                schedule.after_update()
                if ema:
                    ema.update(network, step=update)
            bar.update(len(images) * accelerator.num_processes)
        bar.close()
        seconds = time.perf_counter() - epoch_started

        val_loss, val_top1 = validate(ema.module if ema else trained, val_loader, accelerator, len(labels))
        schedule.after_epoch(val_top1)
        elapsed = time.perf_counter() - started
        line = {
            "epoch": epoch,
            "update": update,
            "train_loss": losses.compute().item(),
            "val_loss": val_loss,
            "val_top1": val_top1,
            "learning_rate": schedule.learning_rate,
            "photos_per_second": round(len(sampler) / seconds, 1),
            "seconds": round(elapsed, 1),
        }
        improved = val_top1 > best
        if improved:
            best, best_epoch = val_top1, epoch
        if accelerator.is_main_process:
            run.log(line)
            run.draw_curves()
            if improved:
                hub.save(
                    ema.module if ema else network,
                    run.model,
                    labels=labels,
                    model_args={key: value for key, value in recipe.model_args.items()},
                    landmark={"temperature": 1.0, "recipe": asdict(recipe), "validation": {"top1": val_top1, "n": len(val_indices), "epoch": epoch}},
                    half=recipe.half_weights,
                )  # fmt: skip
        left = elapsed / epoch * (recipe.epochs - epoch)
        accelerator.print(
            f"epoch {epoch:3d}/{recipe.epochs}  loss {line['train_loss']:.3f}  val loss {val_loss:.3f}  "
            f"val top-1 {100 * val_top1:5.2f} %{'*' if improved else ' '}  lr {schedule.learning_rate:.2e}  "
            f"{line['photos_per_second']:.0f} photos/s  {_clock(left)} left"
        )
        if recipe.patience and epoch - best_epoch >= recipe.patience:
            accelerator.print(f"No improvement for {recipe.patience} epochs: stopped early.")
            break
    accelerator.print(f"Best: epoch {best_epoch}, validation top-1 {100 * best:.2f} %. The model is in {run.model}.")
    accelerator.end_training()
    return run


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 3600}:{int(seconds) // 60 % 60:02d}:{int(seconds) % 60:02d}"


@with_knobs
def command(
    recipe: Annotated[Path, typer.Argument(help="A YAML recipe, e.g. train/recipes/default.yaml.")],
    data: Annotated[Path, typer.Option(help="Folder with train/ (and val/) of CLASS/*, or of bare CLASS/*.")],
    output: Annotated[Path, typer.Option(help="The run folder to make.")],
    knobs: dict[str, str],
) -> None:
    """Train a model, as a recipe says, on a folder of photos. Any knob of the recipe can be set here."""
    fit(Recipe.read(recipe, **knobs), data, output)


if __name__ == "__main__":
    run_command(lambda: typer.run(command))

"""Train a model, as a recipe says, on a folder of photos.

accelerate launch -m train.fit train/recipes/default.yaml --data photos/ --output runs/first
python -m train.fit train/recipes/default.yaml --data photos/ --output runs/quick --epochs 3
"""

import math
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, cast

import timm
import torch
import typer
from accelerate import Accelerator
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import nn
from torch.utils.data import DataLoader

from landmark_models import hub
from landmark_models.errors import run_command
from landmark_models.preprocess import required_side, serving_transform
from train.augment import training_transform
from train.data import (
    CachedPhotos,
    DataError,
    EpochSampler,
    PhotoCache,
    Photos,
    Seeded,
    channel_statistics,
    train_and_val,
)
from train.engine import Engine, available_cores, start_accelerator
from train.recipe import Recipe, RecipeError, with_knobs
from train.run import RunFolder

__all__ = ["fit"]


def build_network(recipe: Recipe, num_classes: int) -> nn.Module:
    """The recipe's architecture with fresh weights, its `pretrained_cfg` saying the serving size and crop.

    Raises:
        RecipeError: timm does not know it, or it does not take the recipe's arguments.
    """
    if not timm.is_model(recipe.model):
        near = timm.list_models(f"*{recipe.model.split('.')[0][:6]}*")[:5]
        raise RecipeError(
            f"timm {timm.__version__} has no model {recipe.model!r}; nearest: {', '.join(near) or 'none'}."
        )
    rates = {"drop_rate": recipe.drop_rate, "drop_path_rate": recipe.drop_path_rate}
    arguments = {name: rate for name, rate in rates.items() if rate is not None} | recipe.model_args
    try:
        network = timm.create_model(recipe.model, pretrained=False, num_classes=num_classes, **arguments).eval()
    except Exception as error:  # whatever an architecture raises on arguments that it does not know
        raise RecipeError(f"{recipe.model} can't be built with {arguments}: {error}") from None
    for size in {recipe.image_size, recipe.serving_size}:
        try:
            with torch.inference_mode():
                network(torch.zeros(1, 3, size, size))
        except Exception as error:
            raise RecipeError(f"{recipe.model} with {arguments} can't take photos of {size} px: {error}") from None
    network.pretrained_cfg.update(
        input_size=(3, recipe.serving_size, recipe.serving_size),
        crop_pct=recipe.crop_pct,
        crop_mode=recipe.crop_mode,
        interpolation=recipe.interpolation,
    )
    return network


def decode(train: Photos, val: Photos, short_side: int, accelerator: Accelerator) -> PhotoCache:
    """The photos' cache; whatever can't be read is named and counted."""
    files = train.files() + val.files()
    with accelerator.main_process_first():
        cache = PhotoCache.open(files, short_side, progress=accelerator.is_local_main_process)
    for reason in cache.failures.values():
        accelerator.print(f"Left out: {reason}")
    if cache.failures:
        accelerator.print(f"{len(cache.failures)} of {len(files)} photos can't be read and are left out.")
    return cache


def input_normalization(recipe: Recipe, train: Photos, cache: PhotoCache) -> tuple[list[float], list[float]]:
    """Mean and standard deviation that the network's input is normalised with, in 0..1."""
    if isinstance(recipe.normalization, dict):
        return list(recipe.normalization["mean"]), list(recipe.normalization["std"])
    if recipe.normalization == "train":
        return channel_statistics(train, cache)
    return list(IMAGENET_DEFAULT_MEAN), list(IMAGENET_DEFAULT_STD)


def fit(recipe: Recipe, data: str | Path, output: str | Path) -> RunFolder:
    """Train and leave a run folder, whose `model/` is the best epoch by validation accuracy.

    Raises:
        LandmarkError: the recipe, the data or the output folder can't be used.
    """
    accelerator = start_accelerator(recipe)
    main = accelerator.is_main_process
    run = RunFolder(output)

    all_train, all_val = train_and_val(data, recipe.val_fraction, recipe.seed)
    labels = list(all_train.labels)
    network = build_network(recipe, len(labels))
    run.refuse_occupied()
    cfg = cast(dict[str, Any], network.pretrained_cfg)
    cache = decode(all_train, all_val, math.ceil(1.25 * max(recipe.image_size, required_side(cfg))), accelerator)
    train, val = all_train.without(cache.failures), all_val.without(cache.failures)
    if not len(train) or not len(val):
        raise DataError(f"No readable photo of {data} is left to train or to validate on.")
    mean, std = input_normalization(recipe, train, cache)
    cfg.update(mean=tuple(mean), std=tuple(std))
    workers = min(available_cores(), 8) if recipe.workers is None else recipe.workers
    micro_batch = recipe.batch_size // (accelerator.num_processes * recipe.gradient_accumulation_steps)
    sampler = EpochSampler(train.targets, recipe.batch_size, recipe.seed, recipe.balanced_sampling)
    train_set = Seeded(CachedPhotos(train, cache, training_transform(recipe, mean, std)))
    val_set = CachedPhotos(val, cache, serving_transform(cfg))
    keep = workers > 0
    train_loader, val_loader = accelerator.prepare(
        DataLoader(train_set, micro_batch, sampler=sampler, num_workers=workers, persistent_workers=keep),
        DataLoader(val_set, 2 * micro_batch, num_workers=workers, persistent_workers=keep),
    )
    engine = Engine(network, recipe, accelerator, len(labels), len(sampler) // recipe.batch_size)
    if main:  # only now: a mistake above leaves no folder behind
        run.create()
        recipe.write(run.recipe)
        run.write_environment(accelerator.device, accelerator.num_processes)
        left_out = {str(file.relative_to(data)): reason for file, reason in cache.failures.items()}
        run.write_json("split.json", {"labels": labels, "train": train.paths, "val": val.paths, "left_out": left_out})
    accelerator.print(
        f"{recipe.model}: {sum(p.numel() for p in network.parameters()) / 1e6:.2f} M parameters; "
        f"{len(train)} training and {len(val)} validation photos of {len(labels)} classes."
    )

    best, best_epoch, started = -1.0, 0, time.perf_counter()
    for epoch in range(1, recipe.epochs + 1):
        train_loader.set_epoch(epoch)
        trained = engine.train_epoch(train_loader, len(sampler), f"epoch {epoch}/{recipe.epochs}")
        val_loss, val_top1 = engine.validate(val_loader)
        engine.schedule.after_epoch(val_top1)
        elapsed = time.perf_counter() - started
        improved = val_top1 > best
        if improved:
            best, best_epoch = val_top1, epoch
        if main:
            run.log(
                {
                    "epoch": epoch,
                    "update": engine.update,
                    "train_loss": trained.loss,
                    "val_loss": val_loss,
                    "val_top1": val_top1,
                    "learning_rate": engine.schedule.learning_rate,
                    "photos_per_second": round(trained.photos_per_second, 1),
                    "seconds": round(elapsed, 1),
                }
            )
            run.draw_curves()
            if improved:
                validation = {"top1": val_top1, "n": len(val), "epoch": epoch}
                landmark = {"temperature": 1.0, "validation": validation, "recipe": asdict(recipe)}
                half, arguments = recipe.half_weights, recipe.model_args
                hub.save(
                    engine.best_guess, run.model, labels=labels, model_args=arguments, landmark=landmark, half=half
                )
        accelerator.print(
            f"epoch {epoch:3d}/{recipe.epochs}  loss {trained.loss:.3f}  val loss {val_loss:.3f}  "
            f"val top-1 {100 * val_top1:5.2f} %{'*' if improved else ' '}  lr {engine.schedule.learning_rate:.2e}  "
            f"{trained.photos_per_second:.0f} photos/s  {_clock(elapsed / epoch * (recipe.epochs - epoch))} left"
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

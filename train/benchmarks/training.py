"""Speed of training: the loop against bare steps, and a linear head on cached features against training by epochs."""

import statistics
import tempfile
import time
from collections.abc import Callable, Generator
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from landmark_models.devices import device_name
from landmark_models.errors import LandmarkError
from train.engine.accelerator import start_accelerator
from train.engine.linear_probe import is_linear_probe
from train.engine.network import build_network, freeze
from train.engine.prepared import find_training_photos
from train.engine.training import fit, prepare
from train.engine.updates import Engine
from train.recipe import Recipe
from train.run import RunFolder

_WARM = 5  # updates before those that are timed


def loop(recipe: Recipe, data: Path, rounds: int = 8, updates: int = 30, weights: Path | None = None) -> dict[str, Any]:
    """Photos per second of the loop of `train.fit`, and of bare forward and backward passes on one batch in memory.

    The two take turns, and their ratio is taken within each round. Photos are decoded into the cache beforehand, as in
    training, so the difference is what loading, augmentation, updates and averaging cost.

    Returns:
        `loop` and `bare` (photos per second in each round), `ratios`, `ratio` (their median), `device`.
    """
    recipe = replace(recipe, start_image_size=None, head_epochs=0)  # so that every update does the same work
    micro_batch = recipe.batch_size // recipe.gradient_accumulation_steps
    with start_accelerator(recipe) as accelerator, tempfile.TemporaryDirectory() as scratch:
        run, device = RunFolder(scratch), accelerator.device
        photos = find_training_photos(recipe, data, run, resume=False, exclusions=None)
        prepared = prepare(recipe, photos, run, accelerator, weights, feature_cache=False)
        engine = Engine(prepared, rounds * (updates + _WARM))
        training = _updates(engine, accelerator.prepare(prepared.loaders(micro_batch)[0]))
        bare_step = _bare_step(engine, deepcopy(prepared.network), micro_batch)
        rates: dict[str, list[float]] = {"loop": [], "bare": []}
        for _ in range(rounds):
            for name, step, count in (
                ("loop", lambda: next(training), recipe.batch_size),
                ("bare", bare_step, micro_batch),
            ):
                rates[name].append(count * updates / _seconds(step, updates, device))
        training.close()
    ratios = [a / b for a, b in zip(rates["loop"], rates["bare"], strict=True)]
    return {**rates, "ratios": ratios, "ratio": statistics.median(ratios), "device": device_name(device)}


def _updates(engine: Engine, loader: Any) -> Generator[None, None, None]:
    """Train forever, yielding after every update."""
    epoch = 0
    while True:
        loader.set_epoch(epoch := epoch + 1)
        yield from engine.train_epoch(loader, "loop")
        engine.progress.end_epoch(0.0)


def _bare_step(engine: Engine, network: nn.Module, micro_batch: int) -> Callable[[], None]:
    """A function that computes a forward and a backward pass of the network on one random batch."""
    recipe, device, classes = engine.recipe, engine.accelerator.device, len(engine.labels)
    network = network.to(device).to(memory_format=engine.layout)
    freeze(network, engine.frozen)
    forward = torch.compile(network) if recipe.compile else network
    images = torch.randn(micro_batch, 3, recipe.image_size, recipe.image_size, device=device)
    images = images.contiguous(memory_format=engine.layout)
    targets = torch.randint(classes, (micro_batch,), device=device)

    def step() -> None:
        network.zero_grad()
        with engine.accelerator.autocast():
            logits = forward(images)
        nn.functional.cross_entropy(logits.float(), targets).backward()

    return step


def _seconds(step: Callable[[], object], count: int, device: torch.device) -> float:
    """How long `count` steps take after a few for warm-up, which also use up what the loader's workers prefetched."""

    def finish() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize()

    for _ in range(_WARM):
        step()
    finish()
    started = time.perf_counter()
    for _ in range(count):
        step()
    finish()
    return time.perf_counter() - started


def head(recipe: Recipe, data: Path, weights: Path | None = None) -> dict[str, Any]:
    """Wall time of `train.fit` for a linear head on cached features, and by epochs over the photos.

    Both find the photos decoded; computing the features is timed separately.

    Returns:
        `features`, `cached`, `epochs` (seconds), `ratio` (epochs / cached), `top1` and `epochs_top1` (on the validation
        photos, 0..1), `photos` (their number), `device`.

    Raises:
        LandmarkError: the recipe trains something else, or can't be trained.
    """
    if not is_linear_probe(recipe, build_network(recipe, 2, weights)):
        raise LandmarkError(f"The recipe for {recipe.model} trains more than a linear head on unchanging photos.")
    seconds: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as scratch:

        def timed(name: str, **options: Any) -> RunFolder:
            started = time.perf_counter()
            run = fit(recipe, data, Path(scratch) / name, pretrained_weights=weights, **options)
            seconds[name] = time.perf_counter() - started
            return run

        timed("first")
        lines = timed("cached").metrics()[:-1]
        by_epochs = timed("epochs", feature_cache=False)
        return {
            **seconds,
            "features": lines[0]["features_seconds"],
            "top1": min(lines, key=lambda line: line["val_loss"])["val_top1"],
            "epochs_top1": max(line["val_top1"] for line in by_epochs.metrics()),
            "photos": len((by_epochs.split() or {})["bytes"]),
            "device": by_epochs.environment()["device"],
            "ratio": seconds["epochs"] / seconds["cached"],
        }

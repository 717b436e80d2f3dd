"""Speed against the obvious alternative, both in one run, because these figures mean little across machines or hours.

python -m train.bench loop train/recipes/default.yaml --data photos/
python -m train.bench head train/recipes/effnetv2_b0_frozen.yaml --data photos/
python -m train.bench page holiday.jpg --users 32
python -m train.bench explain holiday.jpg
python -m train.bench tag holiday.jpg
python -m train.bench engine
"""

import json
import math
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any, cast

import torch
import typer
from accelerate.utils import set_seed
from rich.console import Console
from rich.table import Table
from torch import nn

from landmark_models import open_photo
from landmark_models.devices import available_cores, device_name, instruction_set
from landmark_models.errors import LandmarkError, run_command
from train.benchmarks.engine import BATCH, ENGINES, engines
from train.benchmarks.page import explanation, latencies, page, quantiles
from train.benchmarks.tag import tagging
from train.engine.augment import BatchAugmentation
from train.engine.linear_probe import is_linear_probe
from train.engine.network import build_network, freeze, frozen_parameters
from train.engine.photos import find_training_photos, loaders
from train.engine.updates import Engine, start_accelerator
from train.fit import fit
from train.options import Data, PretrainedWeights, RecipeFile, with_knobs
from train.recipe import Recipe
from train.run import RunFolder

__all__ = ["head", "loop"]

_WARM = 5  # updates before those that are timed


def loop(recipe: Recipe, data: Path, rounds: int = 8, updates: int = 30, weights: Path | None = None) -> dict[str, Any]:
    """Photos per second of the loop of `train.fit`, and of nothing but forward and backward on one batch in memory.

    The two take turns; the ratio is taken within each round. Photos are decoded into the cache beforehand, as in
    training, so the loop's share is what reading, augmenting, updating and averaging cost.

    Returns:
        `loop` and `bare` (photos per second, one for each round), `ratio` (its median), `ratios`, `device`.
    """
    recipe = replace(recipe, start_image_size=None, head_epochs=0)  # the same work from the first update to the last
    with start_accelerator(recipe) as accelerator, tempfile.TemporaryDirectory() as scratch:
        photos = find_training_photos(recipe, data, RunFolder(scratch), resume=False, exclusions=None)
        network = build_network(recipe, len(photos.labels), weights)
        cfg = cast(dict[str, Any], network.pretrained_cfg)
        photos, cache = photos.decoded(
            math.ceil(1.25 * max(recipe.image_size, recipe.serving_size)), False, accelerator
        )
        mean, std = photos.normalization(recipe, cache, cfg)
        micro_batch = recipe.batch_size // recipe.gradient_accumulation_steps
        train_loader = accelerator.prepare(loaders(recipe, photos, cache, cfg, micro_batch)[0])
        set_seed(recipe.seed)
        augmentation = BatchAugmentation(recipe, mean, std, len(photos.labels))
        engine = Engine(network, recipe, accelerator, augmentation, photos.labels, rounds * (updates + _WARM))

        bare = build_network(recipe, len(photos.labels), weights).to(accelerator.device).train()
        bare = bare.to(memory_format=engine.layout)
        freeze(bare, frozen_parameters(bare, recipe.freeze))
        step_network = torch.compile(bare) if recipe.compile else bare
        images = torch.randn(micro_batch, 3, recipe.image_size, recipe.image_size, device=accelerator.device)
        images = images.contiguous(memory_format=engine.layout)
        targets = torch.randint(len(photos.labels), (micro_batch,), device=accelerator.device)

        def endless() -> Any:
            epoch = 0
            while True:
                train_loader.set_epoch(epoch := epoch + 1)
                yield from engine.train_epoch(train_loader, "loop")
                engine.progress.end_epoch(0.0)

        training = endless()

        def bare_step() -> None:
            bare.zero_grad()
            with accelerator.autocast():
                logits = step_network(images)
            nn.functional.cross_entropy(logits.float(), targets).backward()

        def rate(step: Callable[[], object], photos_a_step: int) -> float:
            for _ in range(_WARM):  # warm, and what workers have prepared meanwhile is used up
                step()
            if accelerator.device.type == "cuda":
                torch.cuda.synchronize()
            started = time.perf_counter()
            for _ in range(updates):
                step()
            if accelerator.device.type == "cuda":
                torch.cuda.synchronize()
            return photos_a_step * updates / (time.perf_counter() - started)

        result: dict[str, Any] = {"loop": [], "bare": [], "device": device_name(accelerator.device)}
        for _ in range(rounds):
            result["loop"].append(rate(lambda: next(training), recipe.batch_size))
            result["bare"].append(rate(bare_step, micro_batch))
        training.close()
    result["ratios"] = [a / b for a, b in zip(result["loop"], result["bare"], strict=True)]
    result["ratio"] = statistics.median(result["ratios"])
    return result


def head(recipe: Recipe, data: Path, weights: Path | None = None) -> dict[str, Any]:
    """Wall time of `train.fit` for a linear head on features that are cached, and by epochs over the photos.

    Both find the photos decoded; computing the features is timed apart.

    Returns:
        `features`, `cached`, `epochs` (seconds), `ratio` (epochs / cached), `top1` and `epochs_top1` (on the validation
        photos, 0..1), `device`.

    Raises:
        LandmarkError: the recipe trains something else, or can't be trained.
    """
    result: dict[str, Any] = {}
    if not is_linear_probe(recipe, build_network(recipe, 2, weights)):
        raise LandmarkError(f"The recipe of {recipe.model} trains more than a linear head on photos that don't change.")
    with tempfile.TemporaryDirectory() as scratch:

        def timed(name: str, **options: Any) -> RunFolder:
            started = time.perf_counter()
            run = fit(recipe, data, Path(scratch) / name, pretrained_weights=weights, **options)
            result[name] = time.perf_counter() - started
            return run

        timed("first")
        lines = timed("cached").metrics()
        result["features"] = lines[0]["features_seconds"]
        result["top1"] = min(lines[:-1], key=lambda line: line["val_loss"])["val_top1"]
        run = timed("epochs", feature_cache=False)
        result["epochs_top1"] = max(line["val_top1"] for line in run.metrics())
        result["device"] = json.loads((run.path / "environment.json").read_text(encoding="utf-8"))["device"]
    result["ratio"] = result["epochs"] / result["cached"]
    return result


app = typer.Typer(no_args_is_help=True, add_completion=False)


@app.callback()
def main() -> None:
    """Speed against the obvious alternative, both measured in one run."""


@app.command("loop")
@with_knobs
def loop_command(
    recipe: RecipeFile,
    data: Data,
    knobs: dict[str, str],
    rounds: Annotated[int, typer.Option(min=1, help="How often the two take turns.")] = 8,
    updates: Annotated[int, typer.Option(min=1, help="Updates timed in each turn.")] = 30,
    pretrained_weights: PretrainedWeights = None,
) -> None:
    """The loop of train.fit against bare forward and backward of the same network on data already in memory."""
    read = Recipe.read(recipe, **knobs)
    result = loop(read, data, rounds, updates, pretrained_weights)
    _print_rates({name: result[name] for name in ("loop", "bare")})
    print(
        f"loop / bare: {result['ratio']:.3f} (median of {rounds} rounds, {min(result['ratios']):.3f} to "
        f"{max(result['ratios']):.3f}); {read.model}, {read.image_size} px, batch {read.batch_size}, "
        f"{read.mixed_precision} precision, {result['device']}."
    )


@app.command("head")
@with_knobs
def head_command(
    recipe: RecipeFile,
    data: Data,
    knobs: dict[str, str],
    pretrained_weights: PretrainedWeights = None,
) -> None:
    """A linear head on cached features against the same head trained by the recipe's epochs over the photos."""
    read = Recipe.read(recipe, **knobs)
    result = head(read, data, pretrained_weights)
    print(
        f"features computed in {result['features']:.1f} s (apart); head on cached features {result['cached']:.1f} s, "
        f"validation top-1 {100 * result['top1']:.2f} %; {read.epochs} epochs without them {result['epochs']:.1f} s, "
        f"{100 * result['epochs_top1']:.2f} %: {result['ratio']:.1f} times as long; {read.model}, "
        f"{read.serving_size} px, {result['device']}."
    )


ModelOption = Annotated[str, typer.Option(help="default, a model or run folder, or hf-hub:owner/name\\[@revision].")]
PhotoArgument = Annotated[Path, typer.Argument(help="A photo, e.g. of 12 megapixels.")]


@app.command("page")
def page_command(
    photo: PhotoArgument,
    model: ModelOption = "default",
    users: Annotated[int, typer.Option(min=1, help="People at once, after one alone.")] = 32,
    requests: Annotated[int, typer.Option(min=2, help="Photos that each group sends, in all.")] = 64,
) -> None:
    """How long the page takes to name a photo over HTTP, upload and all: for one person, then for many at once."""
    content = _photo_bytes(photo)
    with page(model) as url:
        latencies(url, content, 1, 2)  # not counted
        for group in (1, users):
            started = time.perf_counter()
            times = latencies(url, content, group, requests)
            rate = requests / (time.perf_counter() - started)
            median, late = quantiles(times)
            print(f"{group:3} at once: p50 {median:.2f} s, p95 {late:.2f} s, {rate:.1f} photos/s (n = {requests})")


@app.command("explain")
def explain_command(
    photo: PhotoArgument,
    model: ModelOption = "default",
    rounds: Annotated[int, typer.Option(min=2, help="How often the two take turns.")] = 15,
) -> None:
    """How long an explanation takes, against a prediction."""
    _photo_bytes(photo)
    times = {name: statistics.median(values) for name, values in explanation(model, photo, rounds).items()}
    ratio = times["explain"] / times["predict"]
    shown = ", ".join(f"{name} {1000 * value:.0f} ms" for name, value in times.items())
    print(f"{shown}: {ratio:.2f} times as long (medians of {rounds}).")


@app.command("tag")
def tag_command(
    photo: PhotoArgument,
    model: ModelOption = "default",
    photos: Annotated[int, typer.Option(min=64, help="How many copies of it are tagged in each turn.")] = 512,
    rounds: Annotated[int, typer.Option(min=1, help="How often the three take turns.")] = 3,
) -> None:
    """How fast a library is tagged, against decoding alone and the model alone."""
    _photo_bytes(photo)
    rates, device = tagging(photo, model, photos, rounds)
    _print_rates(rates)
    turns = list(zip(rates["decode"], rates["model"], rates["tag"], strict=True))
    alternating = [tag * (1 / decode + 1 / network) for decode, network, tag in turns]
    overlapped = [tag / min(decode, network) for decode, network, tag in turns]
    for name, ratios in (("1 / (1 / decode + 1 / model)", alternating), ("the slower of the two", overlapped)):
        print(
            f"tag / {name}: {statistics.median(ratios):.2f} (median of {rounds}, {min(ratios):.2f} to "
            f"{max(ratios):.2f})"
        )
    print(f"{photos} copies of {photo.name}, {model}, {device}.")


@app.command("engine")
def engine_command(
    model: ModelOption = "default",
    rounds: Annotated[int, typer.Option(min=2, help="How often the engines take turns with one photo.")] = 50,
    batch_rounds: Annotated[int, typer.Option(min=1, help=f"How often they do with a batch of {BATCH}.")] = 5,
) -> None:
    """How fast the network alone is by PyTorch, OpenVINO and ONNX Runtime on this CPU."""
    result = engines(model, rounds, batch_rounds)
    table = Table("engine", "one photo, median", "p95", f"batch of {BATCH}, median")
    for name, seconds in result.seconds.items():
        median, late = quantiles(seconds)
        rate = statistics.median(result.rates[name])
        table.add_row(name, f"{1000 * median:.1f} ms", f"{1000 * late:.1f} ms", f"{rate:.1f} photos/s")
    Console().print(table)
    for name in ENGINES:
        if name in result.absent:
            print(f"{name} was not measured: {result.absent[name]}.")
    height, width = result.size
    print(
        f"{result.architecture}, {width} x {height} px, {rounds} and {batch_rounds} rounds; "
        f"{device_name(torch.device('cpu'))} on {available_cores()} cores, {instruction_set()}; "
        f"{_versions('torch', 'openvino', 'onnxruntime')}."
    )


def _versions(*packages: str) -> str:
    shown = []
    for package in packages:
        try:
            shown.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return ", ".join(shown)


def _print_rates(rates: dict[str, list[float]]) -> None:
    table = Table("photos/s", "median", "lowest", "highest")
    for name, values in rates.items():
        table.add_row(name, *(f"{f(values):.1f}" for f in (statistics.median, min, max)))
    Console().print(table)


def _photo_bytes(photo: Path) -> bytes:
    open_photo(photo)
    return photo.read_bytes()


if __name__ == "__main__":
    run_command(app)

"""Devices, processes, precision and trackers, through accelerate; and what a run is made with.

with start_accelerator(recipe) as accelerator:
    ...
"""

import os
import platform
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, DataLoaderConfiguration
from accelerate.state import AcceleratorState
from accelerate.tracking import get_available_trackers
from accelerate.utils import (
    DistributedDataParallelKwargs,
    GradientAccumulationPlugin,
    InitProcessGroupKwargs,
    LoggerType,
    set_seed,
)

from landmark_models.devices import device_name, keep_freed_memory, own_cores
from landmark_models.errors import LandmarkError
from train.recipe import Recipe, RecipeError
from train.run import RunFolder

_PACKAGES = ("torch", "torchvision", "timm", "accelerate", "safetensors", "pillow", "numpy")
# What accelerate reads from the environment, where its launcher puts its options and what its config file holds.
_KNOBS = {
    "ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "gradient_accumulation_steps",
    "ACCELERATE_MIXED_PRECISION": "mixed_precision",
    "ACCELERATE_DYNAMO_BACKEND": "compile",
}
_OTHER_PARALLELISM = {
    "ACCELERATE_USE_DEEPSPEED": "DeepSpeed",
    "ACCELERATE_USE_FSDP": "FSDP",
    "ACCELERATE_USE_MEGATRON_LM": "Megatron-LM",
    "ACCELERATE_USE_PARALLELISM_CONFIG": "a parallelism config",
}


@contextmanager
def start_accelerator(
    recipe: Recipe, log_with: Sequence[str] = (), tracker_folder: Path | None = None
) -> Iterator[Accelerator]:
    """Set up what the launcher and the recipe ask for, and seed every random generator.

    Trackers, by accelerate's names (`tensorboard`), and the process group end with the block. Trackers that write files
    put them into `tracker_folder`.

    Raises:
        RecipeError: the batch can't be split evenly among the processes, the device lacks the precision, or a tracker
            is unknown or not installed.
        LandmarkError: the launcher asks for something other than sharing out each batch among the processes.
    """
    _check_trackers(log_with)
    _check_launcher()
    AcceleratorState._reset_state()  # or a process could not train a second time at another precision
    try:
        accelerator = Accelerator(
            mixed_precision=recipe.mixed_precision,
            # As an argument of its own, the number would give way to the one in the environment.
            gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=recipe.gradient_accumulation_steps),
            dynamo_backend="no",
            dataloader_config=DataLoaderConfiguration(non_blocking=True),
            step_scheduler_with_optimizer=False,
            log_with=list(log_with) or None,
            project_dir=tracker_folder,
            kwargs_handlers=[
                # The others wait while the main process decodes the photos; PyTorch would give up after ten minutes.
                InitProcessGroupKwargs(timeout=timedelta(hours=6)),
                # While only the head is trained, the backbone's gradients never arrive.
                DistributedDataParallelKwargs(find_unused_parameters=recipe.head_epochs > 0),
            ],
        )
    except ValueError as error:
        raise RecipeError(f"Training can't start with mixed_precision={recipe.mixed_precision}: {error}") from None
    try:
        _check_batch(recipe, accelerator.num_processes)
        if recipe.mixed_precision == "fp16" and accelerator.device.type == "cpu":  # accelerate would compute in float32
            raise RecipeError("mixed_precision=fp16 needs a GPU; on this CPU use mixed_precision=bf16 or no.")
        for sentence in _overruled(recipe):
            accelerator.print(sentence)
        set_seed(recipe.seed)
        if accelerator.device.type == "cpu":  # accelerate's launcher would leave each process a single thread
            torch.set_num_threads(recipe.threads or own_cores())
            keep_freed_memory()
        yield accelerator
    except BaseException:
        if accelerator.num_processes == 1:  # with several, the others may be waiting for this one: leave at once
            accelerator.end_training()
        raise
    else:
        accelerator.end_training()
    finally:
        accelerator.free_memory()  # or the loaders' workers would live on until garbage collection


def _check_launcher() -> None:
    for variable, name in _OTHER_PARALLELISM.items():
        if os.environ.get(variable, "").lower() in ("true", "1", "yes"):
            raise LandmarkError(
                f"{variable} asks for {name}, but training only shares out each batch among the processes. Launch it "
                "without that option of `accelerate launch`, or unset the variable; `accelerate config default` writes "
                "a config file without it."
            )


def _overruled(recipe: Recipe) -> Iterator[str]:
    """A sentence for each setting in the environment that differs from the recipe's, which counts."""
    for variable, knob in _KNOBS.items():
        asked, used = os.environ.get(variable, "no"), str(getattr(recipe, knob)).lower()
        if asked.lower() not in ("no", used):
            option = f"--{knob.replace('_', '-')}"
            yield f"{variable}={asked} has no effect: the recipe decides, with {knob}={used} ({option} changes it)."


def _check_trackers(names: Sequence[str]) -> None:
    installed = [str(tracker) for tracker in get_available_trackers()]
    supported = [name for name in LoggerType.list() if name != "all"]
    for name in names:
        if name not in supported:
            raise RecipeError(f"There is no tracker {name!r}; accelerate supports {', '.join(supported)}.")
        if name not in installed:
            raise RecipeError(f"The tracker {name} isn't installed; run `pip install {name.replace('_', '-')}`.")


def _check_batch(recipe: Recipe, processes: int) -> None:
    parts = processes * recipe.gradient_accumulation_steps
    unit = 2 * parts if recipe.mixup or recipe.cutmix else parts  # both mix the photos of a part in pairs
    if recipe.batch_size % unit:
        pairs = " times a pair to mix" if unit > parts else ""
        raise RecipeError(
            f"batch_size={recipe.batch_size} must be a multiple of {unit}: {processes} processes times "
            f"{recipe.gradient_accumulation_steps} accumulation steps{pairs}."
        )


def start_trackers(accelerator: Accelerator, recipe: Recipe, run: RunFolder, update: int) -> None:
    """Start the trackers of `log_with`; a resumed run continues after `update`.

    Raises:
        LandmarkError: a tracker can't be started, e.g. for want of a login.
    """
    if accelerator.trackers or not accelerator.log_with:
        return
    config = {
        name: value if isinstance(value, int | float | str) else str(value) for name, value in asdict(recipe).items()
    }
    name = {"name": run.path.resolve().name}
    arguments = {
        "tensorboard": {"purge_step": update + 1},
        "wandb": {**name, "dir": str(run.logs)},
        "trackio": name,
    }
    try:
        accelerator.init_trackers("landmark-models", config, arguments)
    except Exception as error:  # each service raises its own
        raise LandmarkError(f"A tracker can't be started: {error}") from None


def environment(accelerator: Accelerator) -> dict[str, Any]:
    """The content of a run's `environment.json`."""
    return {
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "commit": _commit(),
        "device": device_name(accelerator.device),
        "processes": accelerator.num_processes,
        "python": platform.python_version(),
        "packages": {name: version(name) for name in _PACKAGES},
    }


def _commit() -> str | None:
    """The commit of this code, followed by "+" if tracked files have changed since; None outside a checkout."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(Path(__file__).parent), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return None

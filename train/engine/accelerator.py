"""Devices, processes, precision and trackers, through accelerate; and what a run is made with.

with start_accelerator(recipe) as accelerator:
    ...
"""

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
from accelerate.utils import DistributedDataParallelKwargs, InitProcessGroupKwargs, LoggerType, set_seed

from landmark_models.devices import device_name, keep_freed_memory, own_cores
from landmark_models.errors import LandmarkError
from train.recipe import Recipe, RecipeError
from train.run import RunFolder

_PACKAGES = ("torch", "torchvision", "timm", "accelerate", "safetensors", "pillow", "numpy")


@contextmanager
def start_accelerator(
    recipe: Recipe, log_with: Sequence[str] = (), tracker_folder: Path | None = None
) -> Iterator[Accelerator]:
    """Set up what the launcher and the recipe ask for, and seed every random generator.

    Trackers, by accelerate's names (`tensorboard`), and the process group end with the block. Trackers that write files
    put them into `tracker_folder`.

    Raises:
        RecipeError: the batch can't be split evenly among the processes, or a tracker is unknown or not installed.
    """
    _check_trackers(log_with)
    AcceleratorState._reset_state()  # or a process could not train a second time at another precision
    accelerator = Accelerator(
        mixed_precision=recipe.mixed_precision,
        gradient_accumulation_steps=recipe.gradient_accumulation_steps,
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
    try:
        _check_batch(recipe, accelerator.num_processes)
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
        "wandb": {**name, "dir": str(run.path / "logs")},
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

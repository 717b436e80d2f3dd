"""Small recipes, what a run has kept, and a training started as users start it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from train.recipe import Recipe
from train.run import RunFolder

TINY = {
    "model_args": {"channels": [8, 16], "depths": [1, 1], "strides": [2, 1], "stem": 8},
    "image_size": 32,
    "epochs": 2,
    "batch_size": 8,
    "warmup_epochs": 0.5,
    "workers": 0,
    "threads": 1,  # several would wait for each other on a machine that runs other tests
    "val_fraction": 0.25,
}


def weights(run: RunFolder) -> dict[str, torch.Tensor]:
    """The tensors of the model that a run has kept."""
    return load_file(run.model / "model.safetensors")


def pretend(run: RunFolder, **figures: Any) -> None:
    """Change what a run has measured on its test split, in both places that it is kept."""
    run.test.write_text(json.dumps({**json.loads(run.test.read_text()), **figures}))
    config_file = run.model / "config.json"
    config = json.loads(config_file.read_text())
    test = config["landmark"]["test"]
    test.update({name: value for name, value in figures.items() if name in test})
    config_file.write_text(json.dumps(config))


def tiny(**knobs) -> Recipe:
    return Recipe.from_values({**TINY, **knobs})


def launch(recipe: Recipe, data: Path, output: Path, processes: int, *options: str) -> subprocess.CompletedProcess:
    """Train on so many CPU processes, as a user would start them."""
    file = output.with_suffix(".yaml")
    recipe.write(file)
    several = ["--multi_gpu"] if processes > 1 else []  # without it accelerate starts one, silently
    command = [sys.executable, "-m", "accelerate.commands.launch", *several, "--num_processes", str(processes)]
    return subprocess.run(
        [*command, "-m", "train.fit", file, "--data", data, "--output", output, *options],
        capture_output=True, text=True, env={**os.environ, "ACCELERATE_USE_CPU": "true"},
    )  # fmt: skip

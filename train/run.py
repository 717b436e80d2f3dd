"""A run is a folder: what a training leaves behind, and how it is written."""

import json
import platform
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from landmark_models.errors import LandmarkError

__all__ = ["RunFolder", "device_name"]


class RunFolder:
    """`recipe.yaml`, `split.json`, `environment.json`, `metrics.jsonl`, `curves.png`, `model/` under one folder."""

    def __init__(self, path: str | Path):
        self.path = Path(path)

    @property
    def model(self) -> Path:
        return self.path / "model"

    @property
    def recipe(self) -> Path:
        return self.path / "recipe.yaml"

    def refuse_occupied(self) -> None:
        """Raise a LandmarkError where the folder holds something already, or is none."""
        if self.path.exists() and not (self.path.is_dir() and not any(self.path.iterdir())):
            raise LandmarkError(f"The run folder {self.path} is not empty; give another --output, or remove it first.")

    def create(self) -> None:
        """Make the folder.

        Raises:
            LandmarkError: it can't be made.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise LandmarkError(f"The run folder {self.path} can't be made: {error.strerror or error}.") from None

    def write_json(self, name: str, content: Any) -> None:
        (self.path / name).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")

    def log(self, metrics: dict[str, Any]) -> None:
        """Append a line to `metrics.jsonl`."""
        with (self.path / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(metrics) + "\n")

    def metrics(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]

    def write_environment(self, device: torch.device, processes: int) -> None:
        """Say what this run was made with: commit, versions, device, command."""
        packages = ("torch", "torchvision", "timm", "accelerate", "safetensors", "pillow", "numpy")
        self.write_json(
            "environment.json",
            {
                "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
                "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
                "commit": _commit(),
                "device": device_name(device),
                "processes": processes,
                "python": platform.python_version(),
                "packages": {name: version(name) for name in packages},
            },
        )

    def draw_curves(self) -> None:
        """Loss, accuracy and learning rate over the epochs, as `curves.png`."""
        from matplotlib.figure import Figure

        lines = self.metrics()
        epochs = [line["epoch"] for line in lines]
        figure = Figure(figsize=(12, 3.6), layout="constrained")
        loss, accuracy, rate = figure.subplots(1, 3)
        loss.plot(epochs, [line["train_loss"] for line in lines], label="train (augmented)")
        loss.plot(epochs, [line["val_loss"] for line in lines], label="validation")
        loss.set(title="Loss", xlabel="epoch")
        loss.legend()
        accuracy.plot(epochs, [100 * line["val_top1"] for line in lines], color="C1")
        best = max(lines, key=lambda line: line["val_top1"])
        accuracy.axvline(best["epoch"], color="grey", linewidth=0.8, linestyle="--")
        accuracy.set(title=f"Validation top-1, %  (best {100 * best['val_top1']:.1f})", xlabel="epoch")
        rate.plot(epochs, [line["learning_rate"] for line in lines], color="C2")
        rate.set(title="Learning rate", xlabel="epoch")
        for axes in (loss, accuracy, rate):
            axes.grid(alpha=0.3)
        figure.savefig(self.path / "curves.png", dpi=100)


def device_name(device: torch.device) -> str:
    """The device as a person would name it, e.g. "CPU, 2 threads"."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU, {torch.get_num_threads()} threads" if device.type == "cpu" else device.type


def _commit() -> str | None:
    """The commit of this code, with "+" where the working tree differs; None outside a checkout."""
    here = Path(__file__).parent

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(here), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return None

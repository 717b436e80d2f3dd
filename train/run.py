"""A run is a folder: what a training leaves behind, and how it is written."""

import json
import platform
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from landmark_models import models
from landmark_models.devices import device_name
from landmark_models.errors import LandmarkError, reason
from landmark_models.files import PART, atomic_path, write_json, write_text
from landmark_models.models.folder import CONFIG_FILE, read_config
from landmark_models.networks.statistics import FeatureStatistics
from train.engine.network import served_arguments
from train.recipe import Recipe

__all__ = ["RunFolder", "duration"]

_ORIGIN = {"weights_from": "the start of its weights", "teacher": "its teacher", "method": "its way of training"}
_SCORE = "score."  # how the names of scores begin in validation.safetensors
_HARMLESS_KNOBS = frozenset(["workers", "threads"])  # they change how long a run takes, not where it ends


class RunFolder:
    """What a training leaves in one folder.

    `recipe.yaml`, `split.json`, `environment.json`, `metrics.jsonl`, `curves.png`, `checkpoints/`, `model/`.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.begun = False
        self.origin: dict[str, str] = {}

    @property
    def model(self) -> Path:
        return self.path / "model"

    @property
    def trained(self) -> Path:
        """The model as the epochs left it, where a last step has changed it: averaged it, fitted its head."""
        return self.path / "trained"

    @property
    def recipe(self) -> Path:
        return self.path / "recipe.yaml"

    @property
    def test(self) -> Path:
        """What `train.evaluate` measured on the test split."""
        return self.path / "test" / "metrics.json"

    @property
    def elsewhere(self) -> Path:
        """What `train.evaluate --as elsewhere` measured on photos from elsewhere."""
        return self.path / "elsewhere" / "metrics.json"

    @property
    def validation(self) -> Path:
        """Logits and targets of the validation photos, which `train.calibration` fits on."""
        return self.path / "validation.safetensors"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    def refuse_occupied(self) -> None:
        """Raise a LandmarkError where the folder holds something already, or is a file."""
        if self.recipe.is_file():
            raise LandmarkError(
                f"{self.path} holds a run already; go on with it by --resume, or give another --output."
            )
        if self.path.exists() and not self.path.is_dir():
            raise LandmarkError(f"The run folder {self.path} is a file; give another --output.")
        if self.path.is_dir() and any(entry.suffix != PART for entry in self.path.iterdir()):
            raise LandmarkError(f"The run folder {self.path} is not empty; give another --output, or remove it first.")

    def refuse_different(self, recipe: Recipe, labels: Sequence[str], sizes: dict[str, int]) -> None:
        """Raise a LandmarkError where the run was made by another recipe or with other photos; it says what differs.

        Args:
            recipe: the recipe to go on with.
            labels: the labels to go on with.
            sizes: bytes of each photo to go on with, by its path in the data folder.
        """
        there, here = asdict(Recipe.read(self.recipe)), asdict(recipe)
        knobs = [name for name in here if there[name] != here[name] and name not in _HARMLESS_KNOBS]
        differences = [f"{name} is {there[name]} there and {here[name]} here" for name in knobs]
        if split := self.split():
            differences += _differences(split["bytes"], sizes)
            if not differences and split["labels"] != list(labels):
                differences.append("the class folders are named otherwise")
        if differences:
            raise LandmarkError(
                f"The run in {self.path} can't be resumed, because it is another one: {'; '.join(differences)}. "
                "Give it what it was started with, or start anew with another --output."
            )

    def split(self) -> dict[str, Any] | None:
        """`split.json`: labels, paths of `train` and `val`, their `bytes`, what was `left_out` and why; None before it.

        Raises:
            LandmarkError: it can't be read.
        """
        file = self.path / "split.json"
        return _read_json(file) if file.is_file() else None

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Turn the failures of writing into a LandmarkError that says what to do."""
        try:
            yield
        except (OSError, SafetensorError) as error:
            why = reason(error)
        except RuntimeError as error:  # PyTorch's own writer has no error of its own
            if not any(sign in str(error) for sign in ("PytorchStreamWriter", "iostream error", "unexpected pos")):
                raise
            why = "the disk is full, or a file may not grow so large"
        else:
            return
        raise LandmarkError(
            f"The run folder {self.path} can't be written ({why}). Nothing that was there is lost: make room, then "
            "go on with --resume."
        )

    def begin(
        self, recipe: Recipe, origin: dict[str, str], split: dict[str, Any], device: torch.device, processes: int
    ) -> None:
        """Make the folder and say what is trained, on which photos, with what; in a resumed run, that it is resumed.

        Args:
            recipe: as resolved.
            origin: `weights_from`, `method`, and where there is one `teacher`, in words; the model will say so, too.
            split: the photos, as `split.json` holds them.
            device: of the main process.
            processes: how many train.

        Raises:
            LandmarkError: the run to go on with started from other weights, with another teacher, or otherwise.
        """
        self.origin = origin
        file, environment = self.path / "environment.json", origin | _environment(device, processes)
        if file.is_file():
            started = self.environment()
            for name, words in _ORIGIN.items():
                there, here = started.get(name), origin.get(name)
                if there != here:
                    raise LandmarkError(
                        f"The run in {self.path} can't be resumed: {words} was {there or 'none'} there and is "
                        f"{here or 'none'} here. Give it what it was started with."
                    )
            environment = started | {"resumed": [*started.get("resumed", []), environment]}
        self.path.mkdir(parents=True, exist_ok=True)
        recipe.write(self.recipe)  # first, because it tells a run from a folder of something else
        self.checkpoints.mkdir(exist_ok=True)
        write_json(self.path / "split.json", split)
        write_json(file, environment)
        self.begun = True

    def save_model(
        self,
        network: nn.Module,
        labels: list[str],
        recipe: Recipe,
        validation: dict[str, Any],
        statistics: FeatureStatistics | None = None,
    ) -> None:
        """Write `model/`, saying how it was trained and what it reached on the validation photos.

        With `statistics` it is the end of a training, and what the epochs left goes to `trained/`; without, it is a
        new state of the epochs, and `trained/` goes.
        """
        landmark = {"temperature": 1.0, **self.origin, "validation": validation, "recipe": asdict(recipe)}
        if statistics is None:
            shutil.rmtree(self.trained, ignore_errors=True)
        elif (self.model / CONFIG_FILE).is_file() and not self.trained.is_dir():
            scratch = self.path / f".trained{PART}"
            shutil.rmtree(scratch, ignore_errors=True)
            shutil.copytree(self.model, scratch)
            scratch.rename(self.trained)
        models.save(
            network,
            self.model,
            labels=labels,
            model_args=served_arguments(recipe),
            landmark=landmark,
            half=recipe.half_weights,
            statistics=statistics,
        )

    def keep_validation(self, logits: Tensor, targets: Tensor, scores: Mapping[str, Tensor] | None = None) -> None:
        """Write the model's outputs for the validation photos, on which it was not trained.

        Args:
            logits: `(N, classes)`, without temperature.
            targets: class indices `(N,)`.
            scores: further scores for the rejection rule, by name, `(N,)` each.
        """
        tensors = {"logits": logits, **{_SCORE + name: score for name, score in (scores or {}).items()}}
        with self.writing(), atomic_path(self.validation) as scratch:
            content = {name: tensor.float().cpu().contiguous() for name, tensor in tensors.items()}
            scratch.write_bytes(save(content | {"targets": targets.cpu()}))

    def kept_validation(self) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """What `keep_validation` wrote: logits, targets, scores.

        Raises:
            LandmarkError: there is no such file.
        """
        if not self.validation.is_file():
            raise LandmarkError(
                f"{self.path} has no {self.validation.name}, which a finished training run leaves; resume it first."
            )
        kept = load_file(self.validation)
        scores = {name.removeprefix(_SCORE): kept[name] for name in kept if name.startswith(_SCORE)}
        return kept["logits"], kept["targets"], scores

    def log(self, metrics: dict[str, Any]) -> None:
        """Append a line to `metrics.jsonl`."""
        with (self.path / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(metrics) + "\n")

    def metrics(self) -> list[dict[str, Any]]:
        """The lines of `metrics.jsonl`; one that was cut off as it was written is left out.

        Raises:
            LandmarkError: it can't be read.
        """
        file = self.path / "metrics.jsonl"
        try:
            lines = file.read_text(encoding="utf-8").splitlines(keepends=True) if file.is_file() else []
            return [json.loads(line) for line in lines if line.endswith("\n")]
        except (OSError, ValueError) as error:
            raise _unreadable(file, error) from None

    def seconds(self) -> float:
        """How long it was trained, s.

        Raises:
            LandmarkError: it has not been trained yet.
        """
        if not (lines := self.metrics()):
            raise LandmarkError(f"{self.path} has no metrics.jsonl with a line in it yet; go on with it by --resume.")
        return float(lines[-1]["seconds"])

    def key_without_seed(self) -> str:
        """What it has in common with runs that differ from it in their seed alone."""
        knobs = {name: value for name, value in asdict(Recipe.read(self.recipe)).items() if name not in _HARMLESS_KNOBS}
        environment = self.environment()
        origin = {name: environment.get(name) for name in _ORIGIN}
        return json.dumps([knobs | {"seed": None}, origin], sort_keys=True)

    def environment(self) -> dict[str, Any]:
        """What `environment.json` says: commit, versions, device, command.

        Raises:
            LandmarkError: it can't be read.
        """
        return _read_json(self.path / "environment.json")

    def measured(self) -> dict[str, Any]:
        """What was measured on the test split, one crop.

        Raises:
            LandmarkError: this is no run, nothing was, or it has been trained on since.
        """
        if not self.recipe.is_file():
            raise LandmarkError(f"{self.path} is no run folder: it has no {self.recipe.name}.")
        if not self.test.is_file():
            what = "evaluate it: python -m train.evaluate RUN --data DATA --split test --output RUN/test"
            raise LandmarkError(f"There is no {self.test}; {what}.")
        test = _read_json(self.test)
        if test.get("split") != "test" or test.get("tta"):
            raise LandmarkError(
                f"{self.test} does not hold plain figures of the test split; evaluate {self.path} again."
            )
        noted = read_config(self.model / CONFIG_FILE, str(self.path))["landmark"].get("test")
        figures = {name: value for name, value in (noted or {}).items() if not isinstance(value, dict)}
        if not figures or any(test.get(name) != value for name, value in figures.items()):
            raise LandmarkError(f"{self.test} holds other figures than {self.model} has noted; evaluate the run again.")
        return test

    def forget_after(self, epoch: int) -> None:
        """Take back the metrics of later epochs, which will be trained again; of all, where there are no epochs."""
        kept = [json.dumps(line) + "\n" for line in self.metrics() if line.get("epoch", 1) <= epoch]
        write_text(self.path / "metrics.jsonl", "".join(kept))

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
        with atomic_path(self.path / "curves.png") as scratch:
            figure.savefig(scratch, dpi=100, format="png")


def duration(seconds: float) -> str:
    """A time as a person says it."""
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def _read_json(file: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _unreadable(file, error) from None
    return content


def _unreadable(file: Path, error: Exception) -> LandmarkError:
    return LandmarkError(f"{file} can't be read: {reason(error)}.")


def _differences(there: dict[str, int], here: dict[str, int]) -> list[str]:
    """What differs between two sets of photos (bytes by path), in words; empty where nothing does."""
    changed = {path for path, size in there.items() if here.get(path, size) != size}
    groups = [(there.keys() - here.keys(), "gone"), (here.keys() - there.keys(), "new"), (changed, "changed")]
    return [
        f"photos {what}: {len(paths)} ({', '.join(sorted(paths)[:3])}{', ...' if len(paths) > 3 else ''})"
        for paths, what in groups
        if paths
    ]


def _environment(device: torch.device, processes: int) -> dict[str, Any]:
    """What a run is made with: commit, versions, device, command."""
    packages = ("torch", "torchvision", "timm", "accelerate", "safetensors", "pillow", "numpy")
    return {
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "commit": _commit(),
        "device": device_name(device),
        "processes": processes,
        "python": platform.python_version(),
        "packages": {name: version(name) for name in packages},
    }


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

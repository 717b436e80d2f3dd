"""A run is a folder: what it holds, and how it is written and read."""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from landmark_models import models
from landmark_models.errors import LandmarkError, reason
from landmark_models.files import PART, atomic_path, write_json, write_text
from landmark_models.models.folder import CONFIG_FILE, read_config
from landmark_models.networks.statistics import FeatureStatistics
from train.recipe import Recipe

__all__ = ["CACHED_FEATURES", "EPOCHS", "OWN_PHOTO", "RunFolder", "duration"]

CACHED_FEATURES, EPOCHS = "cached features", "epochs"  # `method` in environment.json and in the model's config
OWN_PHOTO = "unlabelled, but part of the data itself"  # a reason in `left_out` of split.json
_ORIGIN = {
    "weights_from": "the source of its initial weights",
    "teacher": "its teacher",
    "method": "its training method",
}
_SCORE = "score."  # how the names of scores begin in validation.safetensors
_HARMLESS_KNOBS = frozenset(["workers", "threads"])  # they change how long a run takes, not its result


class RunFolder:
    """One training run in one folder.

    It holds `recipe.yaml`, `split.json`, `environment.json`, `metrics.jsonl`, `curves.png`, `checkpoints/`, `model/`.
    A file that can't be read raises a LandmarkError.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.recipe = self.path / "recipe.yaml"
        self.checkpoints = self.path / "checkpoints"
        self.model = self.path / "model"
        self.trained = self.path / "trained"  # the model as the epochs left it, where the last step changes it
        self.validation = self.path / "validation.safetensors"  # what calibration is fitted on
        self.rule_photos = self.path / "rule_photos.json"  # digests of the other photos that its rule was chosen on
        self.test = self.path / "test" / "metrics.json"  # figures that `train.evaluate` measured on the test split
        self.elsewhere = self.path / "elsewhere" / "metrics.json"  # likewise with `--as elsewhere`
        self.logs = self.path / "logs"  # of trackers
        self._split, self._environment = self.path / "split.json", self.path / "environment.json"
        self._metrics = self.path / "metrics.jsonl"
        self.begun = False
        self.origin: dict[str, str] = {}

    def refuse_occupied(self) -> None:
        """Raise a LandmarkError if a new run can't be written here: the folder isn't empty, or it is a file."""
        if self.recipe.is_file():
            raise LandmarkError(
                f"{self.path} already holds a run; continue it with --resume, or choose another --output."
            )
        if self.path.exists() and not self.path.is_dir():
            raise LandmarkError(f"The run folder {self.path} is a file; choose another --output.")
        if self.path.is_dir() and any(entry.suffix != PART for entry in self.path.iterdir()):
            raise LandmarkError(f"The run folder {self.path} is not empty; choose another --output or remove it first.")

    def refuse_different(
        self, recipe: Recipe, labels: Sequence[str], sizes: dict[str, int], dataset: str | None
    ) -> None:
        """Raise a LandmarkError that names the differences if the run was started with another recipe or other photos.

        `sizes` are the bytes of each photo by its path in the data folder; `dataset` is where it is on the Hub.
        """
        before, now = asdict(Recipe.read(self.recipe)), asdict(recipe)
        changed = [name for name in now if before[name] != now[name] and name not in _HARMLESS_KNOBS]
        differences = [f"{name} was {before[name]} and is now {now[name]}" for name in changed]
        if split := self.split():
            if split.get("dataset") != dataset:
                differences.append(f"--data was {split.get('dataset', 'a folder')} and is now {dataset or 'a folder'}")
            else:
                differences += _differences(split["bytes"], sizes)
            if not differences and split["labels"] != list(labels):
                differences.append("the class folders have other names")
        if differences:
            raise LandmarkError(
                f"{self.path} can't be resumed because its settings differ: {'; '.join(differences)}. Use the settings "
                "that it was started with, or start a new run in another --output."
            )

    def split(self) -> dict[str, Any] | None:
        """`split.json`, or None: labels, paths of `train` and `val`, their `bytes`, reasons for what is `left_out`.

        If the photos are from the Hub, it also has the `dataset`, with its commit.
        """
        return _read_json(self._split) if self._split.is_file() else None

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Turn a failed write inside the block into a LandmarkError that says what to do."""
        try:
            yield
        except (OSError, SafetensorError) as error:
            why = reason(error)
        except RuntimeError as error:  # PyTorch's writer raises no type of its own
            if not any(sign in str(error) for sign in ("PytorchStreamWriter", "iostream error", "unexpected pos")):
                raise
            why = "the disk is full, or the file size is limited"
        else:
            return
        raise LandmarkError(
            f"The run folder {self.path} can't be written ({why}). Nothing already there is lost: free some space and "
            "continue with --resume."
        )

    def begin(self, recipe: Recipe, origin: dict[str, str], split: dict[str, Any], environment: dict[str, Any]) -> None:
        """Create the folder and record what is trained, on which photos and with what; or record that it is resumed.

        `split` and `environment` are the contents of the files of these names. `origin` has `weights_from`, `method`
        and, with a teacher, `teacher`, in words, and a `dataset` of the Hub; it is repeated in the model's config.

        Raises:
            LandmarkError: the run to resume started from other weights, with another teacher, or by another method.
        """
        self.origin = origin
        file, environment = self._environment, origin | environment
        if file.is_file():
            started = self.environment()
            for name, words in _ORIGIN.items():
                before, now = started.get(name), origin.get(name)
                if before != now:
                    raise LandmarkError(
                        f"{self.path} can't be resumed: {words} was {before or 'none'} and is now {now or 'none'}. Use "
                        "what it was started with."
                    )
            environment = started | {"resumed": [*started.get("resumed", []), environment]}
        self.begun = True
        self.path.mkdir(parents=True, exist_ok=True)
        recipe.write(self.recipe)  # first, because it marks the folder as a run
        self.checkpoints.mkdir(exist_ok=True)
        write_json(self._split, split)
        write_json(file, environment)

    def discard_unless_resumable(self) -> None:
        """Remove what a run without a checkpoint, metrics or a model has written: there is nothing in it to lose."""
        if any(self.checkpoints.glob("update-*")) or self.model.exists() or not self.recipe.is_file():
            return
        with suppress(OSError):
            if self._metrics.is_file() and self._metrics.stat().st_size:
                return
            for folder in (self.checkpoints, self.logs):
                shutil.rmtree(folder, ignore_errors=True)
            for file in (self._metrics, self._split, self._environment, self.recipe):  # the mark of a run last
                file.unlink(missing_ok=True)
            self.path.rmdir()

    def save_model(
        self,
        network: nn.Module,
        labels: list[str],
        recipe: Recipe,
        validation: dict[str, Any],
        *,
        model_args: dict[str, Any],
        statistics: FeatureStatistics | None = None,
    ) -> None:
        """Write `model/`, whose config records how it was trained and its validation figures.

        With `statistics` this is the last step of a run, and the model that the epochs left is kept in `trained/`.
        Without, it is a new state of the epochs, and `trained/` is removed. `timm.create_model` rebuilds the network
        with the arguments `model_args`.
        """
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
            model_args=model_args,
            landmark={"temperature": 1.0, **self.origin, "validation": validation, "recipe": asdict(recipe)},
            half=recipe.half_weights,
            statistics=statistics,
        )

    def keep_validation(self, logits: Tensor, targets: Tensor, scores: Mapping[str, Tensor] | None = None) -> None:
        """Write the model's outputs for the validation photos, on which it was not trained.

        `logits` are `(N, classes)`, without temperature; `targets` class indices `(N,)`; `scores` further scores for
        the rejection rule, by name, `(N,)` each.
        """
        tensors = {"logits": logits, **{_SCORE + name: score for name, score in (scores or {}).items()}}
        with self.writing(), atomic_path(self.validation) as scratch:
            content = {name: tensor.float().cpu().contiguous() for name, tensor in tensors.items()}
            scratch.write_bytes(save(content | {"targets": targets.cpu()}))

    def kept_validation(self) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """What `keep_validation` wrote: logits, targets, scores."""
        if not self.validation.is_file():
            raise LandmarkError(
                f"{self.path} has no {self.validation.name}, which a finished training run leaves; resume it first."
            )
        kept = load_file(self.validation)
        scores = {name.removeprefix(_SCORE): kept[name] for name in kept if name.startswith(_SCORE)}
        return kept["logits"], kept["targets"], scores

    def log(self, metrics: dict[str, Any]) -> None:
        """Append a line to `metrics.jsonl`."""
        with self._metrics.open("a", encoding="utf-8") as file:
            file.write(json.dumps(metrics) + "\n")

    def metrics(self) -> list[dict[str, Any]]:
        """The lines of `metrics.jsonl`, without one that was cut off while being written."""
        try:
            text = self._metrics.read_text(encoding="utf-8") if self._metrics.is_file() else ""
            return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]
        except (OSError, ValueError) as error:
            raise _unreadable(self._metrics, error) from None

    def seconds(self) -> float:
        """Training time in seconds; a LandmarkError if no epoch has ended yet."""
        if not (lines := self.metrics()):
            raise LandmarkError(f"{self.path} has no metrics yet; continue it with --resume.")
        return float(lines[-1]["seconds"])

    def training_time(self) -> str:
        """How long training took, in words; decoding the photos and validating don't count."""
        words = duration(self.seconds())
        return f"{words} (with cached features)" if self.metrics()[-1].get("features_cached") else words

    def key_without_seed(self) -> str:
        """A key that is equal for runs that differ only in their seed."""
        knobs = {name: value for name, value in asdict(Recipe.read(self.recipe)).items() if name not in _HARMLESS_KNOBS}
        environment = self.environment()
        origin = {name: environment.get(name) for name in _ORIGIN}
        return json.dumps([knobs | {"seed": None}, origin], sort_keys=True)

    def environment(self) -> dict[str, Any]:
        """The content of `environment.json`: commit, versions, device, command."""
        return _read_json(self._environment)

    def measured(self) -> dict[str, Any]:
        """Figures on the test split, from a single crop.

        Raises:
            LandmarkError: this isn't a run, it has not been evaluated, or it has been trained further since.
        """
        if not self.recipe.is_file():
            raise LandmarkError(f"{self.path} isn't a run folder: it has no {self.recipe.name}.")
        if not self.test.is_file():
            how = "python -m train.evaluate RUN --data DATA --split test --output RUN/test"
            raise LandmarkError(f"There is no {self.test}; evaluate the run: {how}.")
        test = _read_json(self.test)
        if test.get("split") != "test" or test.get("tta"):
            raise LandmarkError(
                f"{self.test} does not hold single-crop figures of the test split; evaluate {self.path} again."
            )
        noted = read_config(self.model / CONFIG_FILE, str(self.path))["landmark"].get("test")
        figures = {name: value for name, value in (noted or {}).items() if not isinstance(value, dict)}
        if not figures or any(test.get(name) != value for name, value in figures.items()):
            raise LandmarkError(f"The figures in {self.test} and in {self.model} differ; evaluate the run again.")
        return test

    def forget_after(self, epoch: int) -> None:
        """Drop the metrics of later epochs, which will be trained again; 0 drops them all."""
        kept = [json.dumps(line) + "\n" for line in self.metrics() if line.get("epoch", 1) <= epoch]
        write_text(self._metrics, "".join(kept))


def duration(seconds: float) -> str:
    """A time in words, e.g. "90 s" or "12 min"."""
    if seconds < 1:
        return "less than 1 s"
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def _read_json(file: Path) -> dict[str, Any]:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _unreadable(file, error) from None


def _unreadable(file: Path, error: Exception) -> LandmarkError:
    return LandmarkError(f"{file} can't be read: {reason(error)}.")


def _differences(before: dict[str, int], now: dict[str, int]) -> list[str]:
    """The differences between two sets of photos (bytes by path), in words; empty if they are equal."""
    changed = {path for path, size in before.items() if now.get(path, size) != size}
    groups = [(before.keys() - now.keys(), "missing"), (now.keys() - before.keys(), "new"), (changed, "changed")]
    return [
        f"photos {what}: {len(paths)} ({', '.join(sorted(paths)[:3])}{', ...' if len(paths) > 3 else ''})"
        for paths, what in groups
        if paths
    ]

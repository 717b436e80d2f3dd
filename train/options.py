"""The command-line options that several commands share: where things are, and one for each knob of the recipe."""

import inspect
import os
import sys
import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

from typer import Argument, Option, Typer

from landmark_models.errors import LandmarkError, run_command
from train.recipe import allowed_values, knob_schemas

RecipeFile = Annotated[Path, Argument(help="A YAML recipe, e.g. train/recipes/default.yaml.")]
Data = Annotated[
    Path,
    Option(
        help="DATA: a folder with train/ (and val/) of CLASS/*, or of bare CLASS/*; a dataset of the Hub, "
        "hf:owner/name, with @revision or :config where needed; or torch/NAME, e.g. torch/cifar10."
    ),
]
Output = Annotated[Path, Option(help="The run folder to create, or with --resume to continue.")]
Teacher = Annotated[
    str | None,
    Option(help="MODEL to learn from instead of the labels: a model or run folder, or hf-hub:owner/name."),
]
Unlabelled = Annotated[
    list[Path] | None,
    Option(help="Folder of photos without labels, at any depth, to learn from the teacher; repeatable."),
]
PretrainedWeights = Annotated[
    Path | None, Option(help="Safetensors file to start from, instead of timm's weights from the Hub.")
]
FeatureCache = Annotated[
    bool,
    Option(
        "--feature-cache/--no-feature-cache",
        help="Compute the features of a frozen backbone once and keep them, or train its linear head by epochs.",
        rich_help_panel="Frozen backbone",
    ),
]
Resume = Annotated[bool, Option("--resume", help="Continue from the run's last checkpoint.")]
Strict = Annotated[bool, Option("--strict", help="Stop at the first photo that can't be read.")]
Exclude = Annotated[
    Path | None, Option(help="List of photos to leave out, as written by `python -m train.data scan --fix`.")
]
CheckpointingSteps = Annotated[
    int | None,
    Option(min=1, metavar="N", help="Also write a checkpoint every N updates; without it only after each epoch."),
]
Negatives = Annotated[
    Path | None,
    Option(help='Photos of other things, a folder for each kind, to choose the "not recognised" rule on.'),
]
ValidationFrom = Annotated[
    Path | None, Option(help="DATA from elsewhere to choose that rule on, instead of the validation split.")
]
LogWith = Annotated[
    list[str] | None, Option(metavar="NAME", help="Tracker, e.g. tensorboard, trackio or wandb; may be repeated.")
]
PushToHub = Annotated[
    str | None,
    Option(metavar="NAME", help="At the end, evaluate on the test split and publish on the Hub as owner/name."),
]
Private = Annotated[bool, Option("--private", help="Publish to a private repository.")]

_PANELS = {  # title of each panel of knobs, under the first knob in it
    "model": "Knobs: model",
    "image_size": "Knobs: photos",
    "augment": "Knobs: augmentation",
    "distill_temperature": "Knobs: distillation and frozen backbones",
    "epochs": "Knobs: optimization",
    "mixed_precision": "Knobs: machine and files",
}


_PATIENCE = 20  # seconds in which the first process should have failed, too, and the launcher ended this one


def run_in_each_process(command: Callable[..., None]) -> None:
    """Run a command that a launcher may have started in several processes, as `run_command` does.

    If all of them make the same mistake, only the first one says so: the others wait before they speak, and the
    launcher ends them when the first one fails.
    """
    app = Typer(add_completion=False)
    app.command()(command)
    run_command(app if os.environ.get("RANK", "0") == "0" else lambda: _wait_before_speaking(app))


def _wait_before_speaking(app: Typer) -> None:
    try:
        app(standalone_mode=False)
    except LandmarkError:
        time.sleep(_PATIENCE)
        raise
    except Exception as error:
        if not hasattr(error, "exit_code"):  # then it isn't a mistake on the command line
            raise
        time.sleep(_PATIENCE)
        print(f"Process {os.environ['RANK']}: {error}", file=sys.stderr)
        raise SystemExit(error.exit_code) from None


def with_knobs(command: Callable[..., None]) -> Callable[..., None]:
    """Give a typer command an option for every knob; the ones that are set arrive as its argument `knobs`."""

    @wraps(command)
    def wrapped(**arguments: Any) -> None:
        knobs = {name: arguments.pop(name) for name in knob_schemas()}
        command(**arguments, knobs={name: text for name, text in knobs.items() if text is not None})

    signature, panel = inspect.signature(command), ""
    parameters = [parameter for name, parameter in signature.parameters.items() if name != "knobs"]
    for name, schema in knob_schemas().items():
        panel = _PANELS.get(name, panel)
        default = "none" if schema["default"] is None else str(schema["default"]).lower()
        option = Option(
            "--" + name.replace("_", "-"),
            help=f"{schema['description']} ({allowed_values(name)}; default: {default})",
            metavar="",
            rich_help_panel=panel,
        )
        kind = Annotated[str | None, option]
        parameters.append(inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind))
    wrapped.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    wrapped.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return wrapped

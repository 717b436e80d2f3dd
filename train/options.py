"""Options that several commands share, as typer reads them."""

from pathlib import Path
from typing import Annotated

import typer

RecipeFile = Annotated[Path, typer.Argument(help="A YAML recipe, e.g. train/recipes/default.yaml.")]
Data = Annotated[
    Path,
    typer.Option(
        help="Folder with train/ (and val/) of CLASS/*, or of bare CLASS/*; or torch/NAME, e.g. torch/cifar10."
    ),
]
Output = Annotated[Path, typer.Option(help="The run folder to make, or with --resume to go on with.")]
PretrainedWeights = Annotated[
    Path | None, typer.Option(help="Safetensors file to start from, in place of timm's weights from the Hub.")
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on from the run's last checkpoint.")]
Strict = Annotated[bool, typer.Option("--strict", help="End on the first photo that can't be read.")]
Exclude = Annotated[
    Path | None, typer.Option(help="List of photos to leave out, as `python -m train.data scan --fix` writes it.")
]
CheckpointingSteps = Annotated[
    int | None, typer.Option(min=1, help="Write a checkpoint every so many updates, too; else after every epoch.")
]
Negatives = Annotated[
    Path | None,
    typer.Option(
        help="Folder of photos that show none of the landmarks, a folder in it for each kind, to choose the "
        '"not recognised" rule on.'
    ),
]
ValidationFrom = Annotated[
    Path | None,
    typer.Option(help="DATA of photos from elsewhere to choose that rule on, in place of the validation split."),
]
LogWith = Annotated[
    list[str] | None, typer.Option(help="Tracker to log to: tensorboard, trackio, wandb, ...; may be repeated.")
]
PushToHub = Annotated[
    str | None, typer.Option(help="At the end, measure on the test split and publish on the Hub: owner/name.")
]
Private = Annotated[bool, typer.Option("--private", help="What is published is private.")]

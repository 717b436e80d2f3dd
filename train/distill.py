"""Train a small student from random weights on what a large teacher says of the same augmented views.

accelerate launch -m train.distill train/recipes/default.yaml --teacher runs/large --data photos/ --output runs/small
"""

from pathlib import Path
from typing import Annotated

import typer

from landmark_models import models
from landmark_models.errors import run_command
from train.fit import fit
from train.options import (
    CheckpointingSteps,
    Data,
    Exclude,
    LogWith,
    Negatives,
    Output,
    PretrainedWeights,
    Private,
    PushToHub,
    RecipeFile,
    Resume,
    Strict,
    ValidationFrom,
    with_knobs,
)
from train.publish import publish_trained, reserve
from train.recipe import Recipe

__all__: list[str] = []


@with_knobs
def command(
    recipe: RecipeFile,
    teacher: Annotated[str, typer.Option(help="The MODEL to learn from: a model or run folder, or hf-hub:owner/name.")],
    data: Data,
    output: Output,
    knobs: dict[str, str],
    unlabelled: Annotated[
        list[Path] | None,
        typer.Option(help="Folder of photos without labels to learn on, too, with all below it; may be repeated."),
    ] = None,
    negatives: Negatives = None,
    validation_from: ValidationFrom = None,
    pretrained_weights: PretrainedWeights = None,
    resume: Resume = False,
    strict: Strict = False,
    exclude: Exclude = None,
    checkpointing_steps: CheckpointingSteps = None,
    log_with: LogWith = None,
    push_to_hub: PushToHub = None,
    private: Private = False,
) -> None:
    """Train a small model on what a large one says of the same augmented photos. Any knob can be set here."""
    read, loaded = Recipe.read(recipe, **knobs), models.load(teacher)
    reserve(push_to_hub, private)
    run = fit(
        read,
        data,
        output,
        teacher=loaded,
        unlabelled=unlabelled or (),
        negatives=negatives,
        validation_from=validation_from,
        pretrained_weights=pretrained_weights,
        resume=resume,
        strict=strict,
        exclude=exclude,
        checkpointing_steps=checkpointing_steps,
        log_with=log_with or (),
    )
    publish_trained(run, data, push_to_hub, private, exclude)


if __name__ == "__main__":
    run_command(lambda: typer.run(command))

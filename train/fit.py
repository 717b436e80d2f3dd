"""Train a model on a folder of photos as a recipe says.

accelerate launch -m train.fit train/recipes/default.yaml --data photos/ --output runs/first
accelerate launch -m train.fit train/recipes/default.yaml --data photos/ --output runs/first --resume
python -m train.fit train/recipes/default.yaml --data photos/ --output runs/quick --epochs 3
"""

from functools import partial

from train import options
from train.recipe import Recipe


@options.with_knobs
def command(
    recipe: options.RecipeFile,
    data: options.Data,
    output: options.Output,
    knobs: dict[str, str],
    teacher: options.Teacher = None,
    unlabelled: options.Unlabelled = None,
    pretrained_weights: options.PretrainedWeights = None,
    negatives: options.Negatives = None,
    validation_from: options.ValidationFrom = None,
    feature_cache: options.FeatureCache = True,
    resume: options.Resume = False,
    strict: options.Strict = False,
    exclude: options.Exclude = None,
    checkpointing_steps: options.CheckpointingSteps = None,
    log_with: options.LogWith = None,
    push_to_hub: options.PushToHub = None,
    private: options.Private = False,
) -> None:
    """Train a model on a folder of photos as a recipe says. Every knob of the recipe can be set here."""
    read = Recipe.read(recipe, **knobs)

    from landmark_models import models
    from train.engine.training import fit
    from train.hub.publishing import check_publishable, publish_trained
    from train.hub.upload import reserve

    check_publishable(push_to_hub, private, data)
    loaded = models.load(teacher) if teacher else None
    run = fit(
        read,
        data,
        output,
        pretrained_weights=pretrained_weights,
        feature_cache=feature_cache,
        teacher=loaded,
        unlabelled=unlabelled or (),
        negatives=negatives,
        validation_from=validation_from,
        resume=resume,
        strict=strict,
        exclude=exclude,
        checkpointing_steps=checkpointing_steps,
        log_with=log_with or (),
        before_training=partial(reserve, push_to_hub, private=private) if push_to_hub else None,
    )
    publish_trained(run, data, push_to_hub, private, exclude)


if __name__ == "__main__":
    options.run_in_each_process(command)

"""Train a model, as a recipe says, on a folder of photos.

accelerate launch -m train.fit train/recipes/default.yaml --data photos/ --output runs/first
accelerate launch -m train.fit train/recipes/default.yaml --data photos/ --output runs/first --resume
python -m train.fit train/recipes/default.yaml --data photos/ --output runs/quick --epochs 3
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, cast

import torch
import typer
from accelerate import Accelerator
from accelerate.utils import set_seed

from landmark_models import LandmarkClassifier, models
from landmark_models.errors import LandmarkError, run_command
from landmark_models.preprocess import required_side
from train.engine.augment import BatchAugmentation
from train.engine.checkpoints import Checkpoints
from train.engine.linear_probe import is_linear_probe, train_head
from train.engine.loop import retry_on_oom, run_epochs
from train.engine.network import build_network, weights_from
from train.engine.photos import OWN_PHOTO, find_training_photos, loaders
from train.engine.teacher import Teacher
from train.engine.updates import Engine, start_accelerator
from train.engine.whitened_head import check_head, finish_run
from train.measure.calibration import calibrate, describe_calibration
from train.measure.predict import predict_logits
from train.measure.rejection import find_negatives
from train.options import (
    CheckpointingSteps,
    Data,
    Exclude,
    FeatureCache,
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
from train.recipe import Recipe, RecipeError
from train.run import RunFolder

__all__ = ["fit"]


def start_trackers(accelerator: Accelerator, recipe: Recipe, run: RunFolder, update: int) -> None:
    """Start what `log_with` names, going on after `update`.

    Raises:
        LandmarkError: a tracker can't be started, e.g. because nobody is logged in to its service.
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
    except Exception as error:  # each service has its own
        raise LandmarkError(f"A tracker can't be started: {error}") from None


def fit(
    recipe: Recipe,
    data: str | Path,
    output: str | Path,
    *,
    pretrained_weights: str | Path | None = None,
    feature_cache: bool = True,
    teacher: models.LoadedModel | None = None,
    unlabelled: Sequence[Path] = (),
    negatives: str | Path | None = None,
    validation_from: str | Path | None = None,
    resume: bool = False,
    strict: bool = False,
    exclude: str | Path | None = None,
    checkpointing_steps: int | None = None,
    log_with: Sequence[str] = (),
) -> RunFolder:
    """Train and leave a run folder, whose `model/` is the best epoch by validation accuracy.

    At its end its scores are calibrated, and its rule for photos of anything else is fitted: see `train.calibration`.
    Where the recipe trains nothing but a linear head, its inputs are computed once: see `train.engine.linear_probe`.

    Args:
        recipe: what to train, and how.
        data: the DATA folder.
        output: the run folder; new, or with `resume` the one to go on with.
        pretrained_weights: a safetensors file to start from, in place of timm's from the Hub.
        feature_cache: False to train a linear head by epochs, like everything else.
        teacher: a model whose outputs are learnt in place of the labels: see `train.engine.teacher`.
        unlabelled: folders of photos to learn on from the teacher alone.
        negatives: a folder of photos that show none of the landmarks, to choose that rule on.
        validation_from: a DATA folder of photos from elsewhere, to choose that rule on in place of the run's own.
        resume: go on from the last checkpoint, and end where the run would have ended; start where there is none.
        strict: end on the first photo that can't be read, instead of leaving it out.
        exclude: a list of photos to leave out, as `python -m train.data scan --fix` writes it.
        checkpointing_steps: write a checkpoint every so many updates, too, not only after every epoch.
        log_with: accelerate's names of trackers to log to.

    Raises:
        LandmarkError: the recipe, the data, the weights or the output folder can't be used, or training diverges.
    """
    run = RunFolder(output)
    if negatives is not None:
        find_negatives(negatives)  # a mistake is said now, not after the training
    weights = Path(pretrained_weights) if pretrained_weights else None
    if weights:
        recipe = replace(recipe, pretrained=True)
    if recipe.overfit_batches:  # the question is whether these very pictures can be learnt
        recipe = replace(recipe, augment="none", random_erasing=0.0, mixup=0.0, cutmix=0.0)
    with start_accelerator(recipe, log_with, run.path / "logs") as accelerator:
        photos = find_training_photos(recipe, data, run, resume, Path(exclude) if exclude else None, unlabelled)
        labels = photos.labels
        if exclude:
            count = sum(reason == f"listed in {exclude}" for reason in photos.left_out.values())
            accelerator.print(f"{count} photos to train or validate on are left out by {exclude}.")
        if own := sum(reason == OWN_PHOTO for reason in photos.left_out.values()):
            accelerator.print(f"{own} of the unlabelled photos stand in the data itself and are left out.")
        lesson = Teacher(teacher, recipe, labels) if teacher else None
        view_side = lesson.side if lesson else 0
        network = build_network(recipe, len(labels), weights)
        if recipe.head == "whitened_cosine":
            check_head(network, recipe.model, recipe.serving_size)
        origin = {"weights_from": weights_from(recipe, weights)} | ({"teacher": lesson.name} if lesson else {})
        head_alone = feature_cache and not lesson and is_linear_probe(recipe, network)
        if recipe.feature_views > 1 and not head_alone:
            raise RecipeError(
                f"feature_views={recipe.feature_views} is for a linear head on cached features: it needs "
                "freeze=backbone, an augmentation, and neither dropout, erasing, mixing nor balanced sampling."
            )
        origin["method"] = "cached features" if head_alone else "epochs"
        cfg = cast(dict[str, Any], network.pretrained_cfg)
        short_side = math.ceil(1.25 * max(recipe.image_size, view_side, required_side(cfg)))
        photos, cache = photos.decoded(short_side, strict, accelerator)
        mean, std = photos.normalization(recipe, cache, cfg)
        normalization = {"mean": tuple(mean), "std": tuple(std)}
        cfg.update(normalization)
        # Under a teacher a photo may have no label, which is a class of its own here, and nothing else is smoothed.
        mixing = replace(recipe, label_smoothing=0.0) if lesson else recipe
        augmentation = BatchAugmentation(mixing, mean, std, len(labels) + bool(lesson))
        checkpoints = Checkpoints(run.checkpoints, accelerator)

        def begin() -> None:
            if accelerator.is_main_process and not run.begun:  # only now: a mistake above leaves no folder behind
                with run.writing():
                    run.begin(recipe, origin, photos.as_split(), accelerator.device, accelerator.num_processes)
            accelerator.wait_for_everyone()

        def train(batch_size: int) -> None:
            checkpoints.of(None)  # an engine that ran out of memory gives it back
            accelerator.free_memory()
            set_seed(recipe.seed)
            network = build_network(recipe, len(labels), weights)
            cfg = cast(dict[str, Any], network.pretrained_cfg)
            cfg.update(normalization)
            train_loader, val_loader = accelerator.prepare(
                *loaders(recipe, photos, cache, cfg, batch_size, least_side=view_side)
            )
            updates_per_epoch = -(-len(photos.train) // recipe.batch_size)
            engine = Engine(network, recipe, accelerator, augmentation, labels, updates_per_epoch, lesson)
            checkpoints.of(engine)
            begin()
            if checkpoint := checkpoints.load_latest():
                accelerator.print(f"Going on from {checkpoint}.")
            if accelerator.is_main_process:
                with run.writing():
                    run.forget_after(engine.progress.epochs)
            start_trackers(accelerator, recipe, run, engine.progress.updates)
            run_epochs(engine, train_loader, val_loader, run, checkpoints, checkpointing_steps)

        accelerator.print(
            f"{recipe.model}: {sum(p.numel() for p in network.parameters()) / 1e6:.2f} M parameters; "
            f"{len(photos.train)} training and {len(photos.val)} validation photos of {len(labels)} classes."
        )
        if head_alone:
            begin()
            start_trackers(accelerator, recipe, run, 0)
            train_head(recipe, network, photos, cache, run, accelerator)
        else:
            try:
                retry_on_oom(recipe, accelerator, train)
            except KeyboardInterrupt:
                if checkpoints.found():
                    accelerator.print(f"The same command with --resume goes on from {checkpoints.found()[0]}.")
                raise
        if accelerator.is_main_process:
            if recipe.head == "whitened_cosine" and not head_alone:
                finish_run(run, recipe, photos, weights, accelerator.device)
            elif not head_alone:
                classifier = LandmarkClassifier.load(run.path, accelerator.device, "torch")
                seen = predict_logits(classifier, photos.val.files(), title="validation photos as served")
                targets = torch.tensor(photos.val.take(seen.readable).targets)
                run.keep_validation(seen.logits * classifier.temperature, targets)
            try:
                print(describe_calibration(calibrate(run, negatives, validation_from)))
            except LandmarkError as error:
                print(f"Not calibrated: {error}")
        accelerator.wait_for_everyone()
    return run


@with_knobs
def command(
    recipe: RecipeFile,
    data: Data,
    output: Output,
    knobs: dict[str, str],
    pretrained_weights: PretrainedWeights = None,
    negatives: Negatives = None,
    validation_from: ValidationFrom = None,
    feature_cache: FeatureCache = True,
    resume: Resume = False,
    strict: Strict = False,
    exclude: Exclude = None,
    checkpointing_steps: CheckpointingSteps = None,
    log_with: LogWith = None,
    push_to_hub: PushToHub = None,
    private: Private = False,
) -> None:
    """Train a model, as a recipe says, on a folder of photos. Any knob of the recipe can be set here."""
    read = Recipe.read(recipe, **knobs)
    reserve(push_to_hub, private)
    run = fit(
        read,
        data,
        output,
        pretrained_weights=pretrained_weights,
        negatives=negatives,
        validation_from=validation_from,
        feature_cache=feature_cache,
        resume=resume,
        strict=strict,
        exclude=exclude,
        checkpointing_steps=checkpointing_steps,
        log_with=log_with or (),
    )
    publish_trained(run, data, push_to_hub, private, exclude)


if __name__ == "__main__":
    run_command(lambda: typer.run(command))

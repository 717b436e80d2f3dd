"""A training run from start to finish: `fit(Recipe.read("recipe.yaml"), "photos", "runs/first")`."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from torch import nn

from landmark_models import LandmarkClassifier, models
from landmark_models.errors import LandmarkError
from landmark_models.networks.served import parameter_count
from landmark_models.preprocess import required_side
from train.engine.accelerator import environment, start_accelerator, start_trackers
from train.engine.augment import BatchAugmentation
from train.engine.checkpoints import Checkpoints
from train.engine.linear_probe import is_linear_probe, train_head
from train.engine.loop import retry_on_oom, run_epochs
from train.engine.network import build_network, needs_pairs, weights_from
from train.engine.prepared import Prepared, TrainingPhotos, find_training_photos
from train.engine.teacher import Teacher
from train.engine.updates import Engine
from train.engine.whitened_head import check_head, finish_run
from train.measure.calibration import calibrate, describe_calibration, photos_elsewhere
from train.measure.predict import predict_logits
from train.measure.rejection import WITHOUT_RULE, find_negatives
from train.recipe import Recipe, RecipeError
from train.run import CACHED_FEATURES, EPOCHS, OWN_PHOTO, RunFolder

__all__ = ["fit", "prepare"]


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
    before_training: Callable[[], object] | None = None,
) -> RunFolder:
    """Train and leave a run folder, whose `model/` is the best epoch by validation accuracy.

    `python -m train.fit --help` explains the arguments, which are its options; `teacher` is a MODEL, loaded, and
    `before_training` is called by the main process once everything has been checked, before the run's folder is
    created. At the end
    the scores are calibrated and the rejection rule is chosen: see `train.measure.calibration`. If only a linear head
    is trained, the features are computed once: see `train.engine.linear_probe`. A resumed run ends as it would have
    without the interruption; where there is nothing to resume, `resume` starts one.

    Raises:
        LandmarkError: the recipe, the data, the weights or the output folder can't be used, or training diverges.
    """
    if unlabelled and not teacher:
        raise LandmarkError("Unlabelled photos can only be learned from a teacher: add --teacher MODEL.")
    if negatives is not None:
        find_negatives(negatives)  # a mistake should show now, not after training
    run, weights = RunFolder(output), Path(pretrained_weights) if pretrained_weights else None
    if weights:
        recipe = replace(recipe, pretrained=True)
    if recipe.overfit_batches:  # to see whether the network can learn these very pictures
        recipe = replace(recipe, augment="none", random_erasing=0.0, mixup=0.0, cutmix=0.0, ema_decay=None)
    with start_accelerator(recipe, log_with, run.logs) as accelerator:
        if resume and accelerator.is_main_process:
            run.discard_unless_resumable()  # what was killed before its first checkpoint begins anew
        accelerator.wait_for_everyone()
        photos = find_training_photos(recipe, data, run, resume, Path(exclude) if exclude else None, unlabelled)
        if validation_from is not None:
            photos_elsewhere(validation_from, photos.labels)
        guide = Teacher(teacher, recipe, photos.labels) if teacher else None
        prepared = prepare(recipe, photos, run, accelerator, weights, guide, feature_cache, strict)
        _report(prepared, exclude)
        begin = partial(_begin, prepared, before_training)
        try:
            if prepared.origin["method"] == CACHED_FEATURES:
                begin()
                start_trackers(accelerator, recipe, run, 0)
                train_head(prepared)
            else:
                _train_by_epochs(prepared, checkpointing_steps, begin)
        except BaseException:
            if run.begun:  # or its folder would stand in the way of the mended command
                run.discard_unless_resumable()
            raise
        _finish(prepared, negatives, validation_from)
    return run


def _report(prepared: Prepared, exclude: str | Path | None) -> None:
    photos, accelerator = prepared.photos, prepared.accelerator
    if prepared.recipe.overfit_batches:
        accelerator.print("Trained and validated on the same photos, without augmentation and moving average.")
    reasons = list(photos.left_out.values())
    if exclude:
        count = reasons.count(f"listed in {exclude}")
        accelerator.print(f"{count} training or validation photos are left out because {exclude} lists them.")
    if own := reasons.count(OWN_PHOTO):
        accelerator.print(f"{own} of the unlabelled photos are part of the data itself and are left out.")
    unlabelled = photos.train.targets.count(len(photos.labels))
    apart = f" ({unlabelled} of them without labels)" if unlabelled else ""
    accelerator.print(
        f"{prepared.recipe.model}: {parameter_count(prepared.network) / 1e6:.2f} M parameters; {len(photos.train)} "
        f"training{apart} and {len(photos.val)} validation photos of {len(photos.labels)} classes."
    )


def prepare(
    recipe: Recipe,
    photos: TrainingPhotos,
    run: RunFolder,
    accelerator: Accelerator,
    weights: Path | None = None,
    teacher: Teacher | None = None,
    feature_cache: bool = True,
    strict: bool = False,
) -> Prepared:
    """Build the network, then decode the photos; nothing is written to the run's folder yet. Arguments are `fit`'s.

    Raises:
        LandmarkError: the network can't be built or trained as the recipe says, or no photo can be read.
    """
    network = _build(recipe, photos, weights)
    if recipe.head == "whitened_cosine":
        check_head(network, recipe.model, recipe.serving_size)
    probe = feature_cache and not teacher and is_linear_probe(recipe, network)
    if recipe.feature_views > 1 and not probe:
        raise RecipeError(
            f"feature_views={recipe.feature_views} is for a linear head on cached features: it needs "
            "freeze=backbone, an augmentation, and neither dropout, erasing, mixing nor balanced sampling."
        )
    if not probe:
        _refuse_single_photos(recipe, network, accelerator.num_processes)
    origin = {"weights_from": weights_from(recipe, weights), "method": CACHED_FEATURES if probe else EPOCHS}
    cfg = network.pretrained_cfg
    sides = [recipe.image_size, required_side(cfg)]
    if photos.dataset:
        origin["dataset"] = photos.dataset
    if teacher:
        origin["teacher"] = teacher.name
        sides.append(teacher.side)
    found, (photos, cache) = photos, photos.decoded(math.ceil(1.25 * max(sides)), strict, accelerator)
    if photos.labels != found.labels:
        network = _build(recipe, photos, weights)
        cfg = network.pretrained_cfg
        if teacher:
            teacher.keep_labels(found.labels, photos.labels)
    mean, std = photos.normalization(recipe, cache, cfg)
    cfg.update(mean=tuple(mean), std=tuple(std))
    # With a teacher, photos may have no label, which is a class of its own here, and targets are not smoothed.
    mixing = replace(recipe, label_smoothing=0.0) if teacher else recipe
    augmentation = BatchAugmentation(mixing, mean, std, len(photos.labels) + bool(teacher))
    return Prepared(recipe, run, accelerator, photos, cache, network, augmentation, weights, teacher, origin)


def _build(recipe: Recipe, photos: TrainingPhotos, weights: Path | None) -> Any:
    set_seed(recipe.seed)  # the initial weights follow from the seed alone
    return build_network(recipe, len(photos.labels), weights)


def _refuse_single_photos(recipe: Recipe, network: nn.Module, processes: int) -> None:
    parts = processes * recipe.gradient_accumulation_steps
    if recipe.batch_size == parts and needs_pairs(network, recipe):
        shared = f", shared among {parts} processes and accumulation steps," if parts > 1 else ""
        raise RecipeError(
            f"batch_size={recipe.batch_size}{shared} leaves a single photo at a time, and {recipe.model} has batch "
            f"normalisation that needs two: use batch_size={2 * parts} or more{', or fewer parts' * (parts > 1)}."
        )


def _begin(prepared: Prepared, before: Callable[[], object] | None) -> None:
    """Call `before`, then create the run's folder.

    This comes late, so that a mistake found earlier leaves neither a folder nor what `before` creates.
    """
    run, accelerator = prepared.run, prepared.accelerator
    if accelerator.is_main_process and not run.begun:
        if before:
            before()
        with run.writing():
            run.begin(prepared.recipe, prepared.origin, prepared.photos.as_split(), environment(accelerator))
    accelerator.wait_for_everyone()


def _train_by_epochs(prepared: Prepared, checkpointing_steps: int | None, begin: Callable[[], None]) -> None:
    recipe, run, accelerator = prepared.recipe, prepared.run, prepared.accelerator
    checkpoints = Checkpoints(run.checkpoints, accelerator)
    updates_per_epoch = math.ceil(len(prepared.photos.train) / recipe.batch_size)

    def attempt(micro_batch: int) -> None:
        checkpoints.engine = None  # releases an engine that ran out of memory
        accelerator.free_memory()
        train_loader, val_loader = accelerator.prepare(*prepared.loaders(micro_batch))
        checkpoints.engine = engine = Engine(prepared, updates_per_epoch)
        begin()
        if checkpoint := checkpoints.load_latest():
            accelerator.print(f"Resuming from {checkpoint}.")
        if accelerator.is_main_process:
            with run.writing():
                run.forget_after(engine.progress.epochs)
        start_trackers(accelerator, recipe, run, engine.progress.updates)
        run_epochs(engine, train_loader, val_loader, run, checkpoints, checkpointing_steps)

    try:
        retry_on_oom(prepared, attempt)
    except KeyboardInterrupt:
        if folders := checkpoints.folders():
            accelerator.print(f"Run the same command with --resume to continue from {folders[0]}.")
        raise


def _finish(prepared: Prepared, negatives: str | Path | None, validation_from: str | Path | None) -> None:
    """Fit a head in closed form if the recipe has one, then calibrate the model; the main process does both."""
    recipe, run, accelerator = prepared.recipe, prepared.run, prepared.accelerator
    if accelerator.is_main_process:
        if prepared.origin["method"] == EPOCHS:
            if recipe.head == "whitened_cosine":
                finish_run(prepared)
            else:
                _keep_validation(prepared)
        if recipe.overfit_batches:
            print("Not calibrated: a run that overfits a few batches has no other photos to be calibrated on.")
        else:
            try:
                print(describe_calibration(calibrate(run, negatives, validation_from)))
            except LandmarkError as error:
                print(f"Not calibrated: {error} So {WITHOUT_RULE}.")
    accelerator.wait_for_everyone()


def _keep_validation(prepared: Prepared) -> None:
    """Keep the logits of the run's best model for the validation photos, preprocessed as in serving."""
    val = prepared.photos.val
    classifier = LandmarkClassifier.load(prepared.run.path, prepared.accelerator.device, "torch")
    predicted = predict_logits(classifier, val.files(), title="validation photos as served")
    targets = torch.tensor(val.take(predicted.readable).targets)
    prepared.run.keep_validation(predicted.logits * classifier.temperature, targets)

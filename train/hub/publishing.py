"""Publish a run's best model on the Hugging Face Hub, and check that the published model answers as the run does."""

import csv
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import torch
from jinja2 import TemplateError

from landmark_models import LandmarkClassifier, models, open_photo
from landmark_models.errors import LandmarkError, PhotoError
from landmark_models.files import write_json
from landmark_models.models.folder import CONFIG_FILE, STATISTICS_FILE, WEIGHTS_FILE, for_every_loader, read_config
from landmark_models.text import for_markdown, percent
from train.data import find_photos
from train.hub import transformers_js, upload
from train.hub.card import write_card
from train.hub.metadata import began_with_a_file
from train.hub.spaces import publish_space, write_space
from train.hub.staging import staging
from train.measure.evaluation import evaluate
from train.run import RunFolder

_EXAMPLE_SIDE = 512  # px, longer side of an example photo at most
_CREDITS = "credits.csv"
_REPLACED = ["examples/*", "test/*", "curves.png", *transformers_js.FILES]  # an earlier model's, if this one has none
_PRIVATE_FIGURES = frozenset(["left_out", "model"])  # paths of the owner's photos, and of the run


def publish(
    run: str | Path,
    repo_id: str,
    *,
    private: bool = False,
    space: str | None = None,
    examples: Path | None = None,
    licence: str | None = None,
    base_model: str | None = None,
    allow_unevaluated: bool = False,
    new_version_of: str | None = None,
    dry_run: Path | None = None,
) -> None:
    """Publish a run's best model, check that it arrived and answers as the run does, and print where it is.

    The parameters are the options of `python -m train.publish`; with `dry_run`, what would be uploaded is written into
    that folder, and nothing is. Without `licence` and `base_model`, those of the card on the Hub are kept.

    Raises:
        LandmarkError: the run can't be published, or the Hub refuses or can't be reached.
    """
    folder = RunFolder(run)
    if not folder.recipe.is_file():
        raise LandmarkError(f"{folder.path} isn't a run folder: it has no {folder.recipe.name}.")
    if new_version_of == repo_id:
        raise LandmarkError(f"{repo_id} can't be a new version of itself: --new-version-of names the older model.")
    if new_version_of and not dry_run and not upload.check(new_version_of):
        raise LandmarkError(f"{new_version_of}, of which this would be a new version, isn't on the Hub.")
    model, kept = f"{models.PREFIX}{repo_id}", upload.card_on_hub(repo_id, dry_run=dry_run is not None)
    licence = licence or kept.get("license", "unknown")
    with staging(dry_run) as scratch:
        staged = scratch / "model"
        staged.mkdir()
        loaded = models.load(folder.path)
        classifier = LandmarkClassifier(loaded, engine="torch")
        _copy_files(folder, staged, loaded, allow_unevaluated)
        shown = _copy_examples(examples, staged, classifier) if examples else []
        try:
            transformers_js.add_onnx(loaded, staged)
        except LandmarkError as error:
            print(f"Without ONNX, so transformers.js can't run it: {error}")
        if not base_model and began_with_a_file(loaded.landmark):
            base_model = kept.get("base_model")
        try:
            write_card(
                folder,
                loaded,
                staged,
                repo_id,
                examples=shown,
                licence=licence,
                base_model=base_model,
                new_version=kept.get("new_version"),
            )
        except (OSError, ValueError, LookupError, TypeError, TemplateError) as error:
            why = f"{folder.path} lacks what its card needs ({type(error).__name__}: {error})"
            raise LandmarkError(f"{why}; train and evaluate it again.") from None
        if dry_run:
            if space:
                write_space(scratch / "space", space, model=model)
            print(f"{dry_run} holds what would be uploaded; nothing was.")
            return
        done = upload.publish(staged, repo_id, private=private, message="Publish the model", replace=_REPLACED)
    _check_answers(classifier, f"{model}@{done.revision}")
    what = "Published" if done.changed else "Nothing has changed since it was published:"
    print(f"{what} {done.url} at revision {done.revision[:12]}; it arrived intact and answers as the run does.")
    if new_version_of:
        upload.point_to_new_version(new_version_of, repo_id)
        print(f"The page of {new_version_of} now names it as the new version.")
    if space:
        publish_space(space, model=model, private=private, hardware=upload.ZERO_GPU)


def check_publishable(repo_id: str | None, private: bool, data: Path) -> None:
    """Check what would keep a run from being published at its end; nothing is created yet. In the first process only.

    Raises:
        LandmarkError: the Hub refuses or can't be reached, or DATA has a test split that can't be used.
    """
    if repo_id and _is_first_process():
        find_photos(data, "test")
        upload.check(repo_id, private=private)


def publish_trained(run: RunFolder, data: Path, repo_id: str | None, private: bool, exclude: Path | None) -> None:
    """Evaluate a run on the data's test split, if there is one, and publish it, in the first process only.

    Raises:
        LandmarkError: the run is complete, but couldn't be evaluated or published; the message says how to do so.
    """
    if not repo_id or not _is_first_process():
        return
    again = f"python -m train.publish {run.path} --repo-id {repo_id}{' --private' if private else ''}"
    try:
        labels = read_config(run.model / CONFIG_FILE, str(run.path))["label_names"]
        has_test_split = find_photos(data, "test", labels) is not None
        if has_test_split:
            evaluate(run.path, data, "test", run.test.parent, exclude=exclude)
        else:
            again += " --allow-unevaluated"
        publish(run.path, repo_id, private=private, allow_unevaluated=not has_test_split)
    except LandmarkError as error:
        raise LandmarkError(
            f"{error} The model is in {run.path}; once that is fixed, publish it with `{again}`."
        ) from None


def _is_first_process() -> bool:
    return os.environ.get("RANK", "0") == "0"


def _copy_files(run: RunFolder, folder: Path, model: models.LoadedModel, allow_unevaluated: bool) -> None:
    """Copy the model and what a run recorded into an empty folder, without what is its owner's business."""
    evaluated = "test" in model.landmark
    if not evaluated and not allow_unevaluated:
        raise LandmarkError(
            f"{run.path} has no test figures: run `python -m train.evaluate {run.path} --data DATA --split test "
            f"--output {run.test.parent}` first, or add --allow-unevaluated."
        )
    config = json.loads((run.model / CONFIG_FILE).read_text(encoding="utf-8"))
    write_json(folder / CONFIG_FILE, for_every_loader(config))
    model_files = [run.model / name for name in (WEIGHTS_FILE, STATISTICS_FILE)]
    for file in [*model_files, run.recipe, run.path / "metrics.jsonl", run.path / "curves.png"]:
        if file.is_file():
            shutil.copyfile(file, folder / file.name)
    if evaluated:
        public = {name: value for name, value in run.measured().items() if name not in _PRIVATE_FIGURES}
        (folder / "test").mkdir()
        write_json(folder / "test" / run.test.name, public)
        for picture in (run.test.with_name("confusion.png"), run.test.parent / "report" / "reliability.png"):
            if picture.is_file() and picture.stat().st_mtime >= run.test.stat().st_mtime:  # drawn of these figures
                shutil.copyfile(picture, folder / "test" / picture.name)


def _copy_examples(source: Path, folder: Path, classifier: LandmarkClassifier) -> list[dict[str, str]]:
    """Copy example photos, small and without the camera's metadata, with the model's answers."""
    target = folder / "examples"
    target.mkdir()
    examples = []
    for position, (name, credit) in enumerate(_read_credits(source), start=1):
        try:
            photo = open_photo(source / name, _EXAMPLE_SIDE)
            first = classifier.predict(source / name, 1)[0]
        except PhotoError as error:
            raise LandmarkError(f"An example can't be shown: {error}") from None
        photo.thumbnail((_EXAMPLE_SIDE, _EXAMPLE_SIDE))
        photo.info.clear()  # or Pillow would write a comment again
        shown = f"examples/{position:02d}.jpg"
        photo.save(folder / shown, quality=85)
        answer = f"{for_markdown(first.label)}, {percent(first.score)}"
        alt = f"Example photo {position}"
        examples.append({"file": shown, "alt": alt, "answer": answer, "credit": for_markdown(credit)})
    return examples


def _read_credits(source: Path) -> Sequence[tuple[str, str]]:
    """File and credit of each example photo."""
    table = source / _CREDITS
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            credits = [(row["file"] or "", row["credit"] or "") for row in csv.DictReader(file)]
    except (KeyError, ValueError, csv.Error, OSError):
        raise LandmarkError(
            f"{table} isn't a table with the columns `file` and `credit`: state in it who made each example photo, and "
            "its licence."
        ) from None
    for position, (name, credit) in enumerate(credits, start=1):
        if not name.strip() or not credit.strip():
            raise LandmarkError(f"Row {position} of {table} ({name}) has no file or no credit; complete or remove it.")
        if not (source / name).resolve().is_relative_to(source.resolve()):
            raise LandmarkError(f"{table} names {name}, which is not in {source}.")
    return credits


def _check_answers(classifier: LandmarkClassifier, published: str) -> None:
    """Check that a published model gives the same logits as the run's own."""
    there = LandmarkClassifier.load(published, engine="torch")
    photo = torch.rand(1, *classifier.pretrained_cfg["input_size"], generator=torch.Generator().manual_seed(0))
    if there.labels != classifier.labels or not torch.equal(classifier.logits(photo), there.logits(photo)):
        raise LandmarkError(f"{published} answers differently from {classifier.source}; publish it again.")

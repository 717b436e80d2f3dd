"""Publish a run's best model on the Hugging Face Hub, with a card made from what the run measured.

python -m train.publish runs/first --repo-id you/landmarks
python -m train.publish runs/first --repo-id you/landmarks --space you/which-landmark
"""

import csv
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import torch
import typer

from landmark_models import LandmarkClassifier, models, open_photo
from landmark_models.errors import LandmarkError, PhotoError, run_command
from landmark_models.files import write_json
from landmark_models.models.folder import CONFIG_FILE, STATISTICS_FILE, WEIGHTS_FILE
from landmark_models.text import for_markdown
from train.data import find_photos
from train.hub import upload
from train.hub.card import Example, write_card
from train.measure.evaluation import evaluate
from train.run import RunFolder
from train.space import publish_space, write_space

__all__ = ["publish", "publish_trained", "reserve", "stage"]

_EXAMPLE_SIDE = 512  # px, of an example photo's longer side at most
_CREDITS = "credits.csv"
_REPLACED = ["examples/*", "test/*", "curves.png"]  # of an earlier model, where this one has none
# What a run may hold that is its owner's business: paths of photos, and where the run lay.
_PRIVATE_FIGURES = frozenset(["left_out", "model"])


def stage(
    run: RunFolder,
    folder: Path,
    repo_id: str,
    *,
    examples: Path | None = None,
    licence: str = "unknown",
    base_model: str | None = None,
    allow_unevaluated: bool = False,
) -> None:
    """Write into an empty folder all that publishing a run uploads, the card last.

    Raises:
        LandmarkError: it is no finished run, has no test figures and need have some, or an example has no credit.
    """
    if not run.recipe.is_file():
        raise LandmarkError(f"{run.path} is no run folder: it has no {run.recipe.name}.")
    model = models.load(run.path)
    if "test" not in model.landmark and not allow_unevaluated:
        raise LandmarkError(
            f"{run.path} has no test figures: run `python -m train.evaluate {run.path} --data DATA --split test "
            f"--output {run.test.parent}` first, or add --allow-unevaluated."
        )
    model_files = [run.model / name for name in (CONFIG_FILE, WEIGHTS_FILE, STATISTICS_FILE)]
    for file in [*model_files, run.recipe, run.path / "metrics.jsonl", run.path / "curves.png"]:
        if file.is_file():
            shutil.copyfile(file, folder / file.name)
    if "test" in model.landmark:
        public = {name: value for name, value in run.measured().items() if name not in _PRIVATE_FIGURES}
        (folder / "test").mkdir()
        write_json(folder / "test" / run.test.name, public)
        if (picture := run.test.with_name("confusion.png")).is_file():
            shutil.copyfile(picture, folder / "test" / picture.name)
    shown = list(_examples(examples, folder, LandmarkClassifier(model, engine="cached"))) if examples else []
    try:
        write_card(run, folder, repo_id, examples=shown, licence=licence, base_model=base_model)
    except (OSError, ValueError, LookupError, TypeError) as error:
        why = f"{type(error).__name__}: {error}"
        raise LandmarkError(f"{run.path} lacks what its card needs ({why}); train and evaluate it again.") from None


def _examples(source: Path, folder: Path, classifier: LandmarkClassifier) -> Iterator[Example]:
    """Copy example photos, small and without the metadata that a camera wrote, and say what the model says of them."""
    table = source / _CREDITS
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            credits = [(row["file"], row["credit"]) for row in csv.DictReader(file)]
    except (KeyError, ValueError, csv.Error, OSError):
        raise LandmarkError(
            f"{table} is no table with the columns `file` and `credit`: say in it whose each example photo is, and "
            "under which licence."
        ) from None
    target = folder / "examples"
    target.mkdir()
    for position, (name, credit) in enumerate(credits, start=1):
        if not (name or "").strip() or not (credit or "").strip():
            raise LandmarkError(
                f"Row {position} of {table} ({name}) has no file or no credit; fill it in, or take it out."
            )
        if not (source / name).resolve().is_relative_to(source.resolve()):
            raise LandmarkError(f"{table} names {name}, which is not in {source}.")
        try:
            photo = open_photo(source / name, _EXAMPLE_SIDE)
            first = classifier.predict(source / name, 1)[0]
        except PhotoError as error:
            raise LandmarkError(f"An example can't be shown: {error}") from None
        photo.thumbnail((_EXAMPLE_SIDE, _EXAMPLE_SIDE))
        photo.info.clear()  # Pillow would write a comment again
        shown = f"examples/{position:02d}.jpg"
        photo.save(folder / shown, quality=85)
        answer = f"{for_markdown(first.label)}, {first.score:.0%}"
        yield Example(shown, f"Example photo {position}", answer, for_markdown(credit))


@contextmanager
def _staging(dry_run: Path | None) -> Iterator[Path]:
    """The folder to write to: a temporary one, or for a dry run one that stays, if all goes well."""
    if dry_run is None:
        with tempfile.TemporaryDirectory() as scratch:
            yield Path(scratch)
        return
    if dry_run.exists() and (not dry_run.is_dir() or any(dry_run.iterdir())):
        raise LandmarkError(f"{dry_run} is not empty; remove it first, or give another --output.")
    dry_run.mkdir(parents=True, exist_ok=True)
    try:
        yield dry_run
    except BaseException:
        shutil.rmtree(dry_run)
        raise


def publish(
    run: str | Path,
    repo_id: str,
    *,
    private: bool = False,
    space: str | None = None,
    examples: Path | None = None,
    licence: str = "unknown",
    base_model: str | None = None,
    allow_unevaluated: bool = False,
    dry_run: Path | None = None,
) -> None:
    """Publish a run's best model, see that what arrived is the same and answers the same; say where it is.

    Args:
        run: a run folder.
        repo_id: `owner/name` on the Hub.
        private: a new repository is private.
        space: `owner/name` of a Space to make, or update, that serves the model.
        examples: a folder of photos to show, with a table `credits.csv` of `file` and `credit`.
        licence: of the weights.
        base_model: the model on the Hub that training started from.
        allow_unevaluated: publish also without test figures; the card says so.
        dry_run: write into this folder what would be uploaded, and upload nothing.

    Raises:
        LandmarkError: the run can't be published, or the Hub refuses or can't be reached.
    """
    folder = RunFolder(run)
    with _staging(dry_run) as scratch:
        staged = scratch / "model"
        staged.mkdir()
        stage(
            folder,
            staged,
            repo_id,
            examples=examples,
            licence=licence,
            base_model=base_model,
            allow_unevaluated=allow_unevaluated,
        )
        if dry_run:
            if space:
                write_space(scratch / "space", model=f"{models.PREFIX}{repo_id}")
            print(f"{dry_run} holds what would be uploaded; nothing was.")
            return
        done = upload.publish(staged, repo_id, private=private, message="Publish the model", replace=_REPLACED)
    _answers_alike(folder, f"{models.PREFIX}{repo_id}@{done.revision}")
    what = "Published" if done.changed else "Nothing has changed since it was published:"
    print(f"{what} {done.url} at revision {done.revision[:12]}; what arrived is the same and answers the same.")
    if space:
        publish_space(space, model=f"{models.PREFIX}{repo_id}", private=private)


def _answers_alike(run: RunFolder, published: str) -> None:
    """See that a published model gives the run's own logits."""
    here, there = (LandmarkClassifier.load(model, engine="torch") for model in (run.path, published))
    photo = torch.rand(1, *here.pretrained_cfg["input_size"], generator=torch.Generator().manual_seed(0))
    if there.labels != here.labels or not torch.equal(here.logits(photo), there.logits(photo)):
        raise LandmarkError(f"{published} does not answer as {run.path} does; publish it again.")


def reserve(repo_id: str | None, private: bool) -> None:
    """See before hours of training that a run can be published at its end, where it is to be; the first process does.

    Raises:
        LandmarkError: it could not.
    """
    if repo_id and _is_first_process():
        upload.reserve(repo_id, private=private)


def publish_trained(run: RunFolder, data: Path, repo_id: str | None, private: bool, exclude: Path | None) -> None:
    """Measure a run on the data's test split, where there is one, and publish it; the first process does.

    Raises:
        LandmarkError: what was trained is in the run, but could not be measured or published; it says how to.
    """
    if not repo_id or not _is_first_process():
        return
    again = f"python -m train.publish {run.path} --repo-id {repo_id}{' --private' if private else ''}"
    try:
        measured = find_photos(data, "test", models.load(run.path).labels) is not None
        if not measured:
            again += " --allow-unevaluated"
        else:
            evaluate(run.path, data, "test", run.test.parent, exclude=exclude)
        publish(run.path, repo_id, private=private, allow_unevaluated=not measured)
    except LandmarkError as error:
        raise LandmarkError(
            f"{error} The model is in {run.path}; once that is mended, publish it by `{again}`."
        ) from None


def _is_first_process() -> bool:
    return os.environ.get("RANK", "0") == "0"


def command(
    run: Annotated[Path, typer.Argument(help="A run folder, evaluated on its test split.")],
    repo_id: Annotated[str, typer.Option(help="Where to publish it on the Hub: owner/name.")],
    private: Annotated[bool, typer.Option("--private", help="A new repository is private.")] = False,
    space: Annotated[
        str | None, typer.Option(help="Also make, or update, a Space with the page that serves it: owner/name.")
    ] = None,
    examples: Annotated[
        Path | None, typer.Option(help="Folder of photos to show, with credits.csv of the columns file and credit.")
    ] = None,
    licence: Annotated[
        str, typer.Option("--license", help="Of the weights, as the Hub abbreviates it, e.g. apache-2.0.")
    ] = "unknown",
    base_model: Annotated[
        str | None,
        typer.Option(help="Model on the Hub that training started from, where its weights came from a file."),
    ] = None,
    allow_unevaluated: Annotated[
        bool, typer.Option("--allow-unevaluated", help="Publish without test figures; the card says so.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Write what would be uploaded; upload nothing.")] = False,
    output: Annotated[Path | None, typer.Option(help="New folder for the dry run.", show_default="RUN/publish")] = None,
) -> None:
    """Publish a run's best model on the Hugging Face Hub, with a card made from what the run measured.

    Log in by `hf auth login`, or set HF_TOKEN. Nothing is committed where nothing has changed.
    """
    if output and not dry_run:
        raise LandmarkError("--output is where --dry-run writes; add --dry-run, or leave it out.")
    target = (output or run / "publish") if dry_run else None
    if target and not output and target.is_dir() and {entry.name for entry in target.iterdir()} <= {"model", "space"}:
        shutil.rmtree(target)  # of the last dry run
    publish(
        run,
        repo_id,
        private=private,
        space=space,
        examples=examples,
        licence=licence,
        base_model=base_model,
        allow_unevaluated=allow_unevaluated,
        dry_run=target,
    )


if __name__ == "__main__":
    run_command(lambda: typer.run(command))

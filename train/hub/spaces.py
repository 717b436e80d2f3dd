"""The page as a Gradio Space on the Hugging Face Hub."""

import re
import shutil
import tempfile
import tomllib
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, RepoCard
from huggingface_hub.errors import RepositoryNotFoundError

from landmark_models import models
from landmark_models.errors import LandmarkError
from landmark_models.models.failures import describe_failure, with_retries
from landmark_models.models.hub import model_files
from landmark_models.models.repository import describe
from train.hub import upload

_ROOT = Path(__file__).parents[2]
_TEMPLATE = Path(__file__).with_name("templates") / "space_card.md"
_PICTURE = _ROOT / ".github" / "images" / "page.png"  # for those who share a link; its photos are free to use
# ZeroGPU runs PyTorch 2.8 to 2.11: https://huggingface.co/docs/hub/spaces-zerogpu
_FOR_ZERO_GPU = ("spaces", "torch<2.12")
_FOR_CPUS = ("--extra-index-url https://download.pytorch.org/whl/cpu",)  # PyTorch without 3 GB of CUDA


def write_space(
    folder: Path,
    repo_id: str,
    model: str | None = None,
    namespace: str | None = None,
    hardware: str = upload.ZERO_GPU,
    preload: str | None = None,
) -> None:
    """Write into a new folder what a Space needs to serve a MODEL from the Hub, or the best of a namespace.

    That is the page, `landmark_models` with the embedded models, a picture of the page, the README with this project's
    settings of the Space, and the requirements for serving alone on this hardware.

    Args:
        folder: doesn't exist.
        repo_id: the Space, owner/name.
        model: a MODEL on the Hub.
        namespace: without a model, whose best one serves; without either, the embedded one does.
        hardware: the Hub's name of it.
        preload: a repository, files, and a commit, for the Space to load when it is built.

    Raises:
        LandmarkError: this isn't a checkout of the project.
    """
    if not (_ROOT / "app.py").is_file():
        raise LandmarkError(f"{_ROOT} has no app.py: a Space is made from a checkout of this project.")
    folder.mkdir(parents=True)
    shutil.copyfile(_ROOT / "app.py", folder / "app.py")
    ignored = shutil.ignore_patterns("__pycache__", ".*")
    shutil.copytree(_ROOT / "landmark_models", folder / "landmark_models", ignore=ignored)
    data = RepoCard.load(_ROOT / "README.md").data
    requirements = serving_requirements(str(data.sdk_version), hardware)
    (folder / "requirements.txt").write_text(requirements, encoding="utf-8")
    name = models.repo_id(model) if model else None
    data.models = [name] if name else None
    data.suggested_hardware = hardware
    data.preload_from_hub = [preload] if preload else None
    if _PICTURE.is_file():
        shutil.copyfile(_PICTURE, folder / "thumbnail.png")
        data.thumbnail = f"{HfApi().endpoint}/spaces/{repo_id}/resolve/main/thumbnail.png"
    served = "the model that comes with it"
    if name:
        served = f"[{name}](https://huggingface.co/{name})"
    elif namespace:
        served = f"the best landmark model of [{namespace}](https://huggingface.co/{namespace})"
    card = RepoCard.from_template(data, str(_TEMPLATE), title=data.title, served=served, repo_id=repo_id)
    (folder / "README.md").write_text(str(card), encoding="utf-8")


def serving_requirements(gradio: str, hardware: str = upload.ZERO_GPU) -> str:
    """A requirements.txt for the page: pyproject's dependencies with its extra `page`, gradio at exactly a version."""
    file = _ROOT / "pyproject.toml"
    try:
        project = tomllib.loads(file.read_text(encoding="utf-8"))["project"]
        needed = [*project["dependencies"], *project["optional-dependencies"]["page"]]
    except (OSError, ValueError, LookupError) as error:
        raise LandmarkError(f"{file} doesn't say what the page needs: {error!r}.") from None
    lines = {re.sub(r"^(gradio\[mcp\]).*", rf"\1=={gradio}", line) for line in needed}
    if hardware == upload.ZERO_GPU:
        lines |= set(_FOR_ZERO_GPU)
    elif hardware.startswith("cpu-"):
        lines |= set(_FOR_CPUS)
    return "\n".join(sorted(lines)) + "\n"


def publish_space(
    repo_id: str,
    model: str | None = None,
    namespace: str | None = None,
    private: bool = False,
    hardware: str | None = None,
) -> None:
    """Create or update a Space that serves a MODEL from the Hub, or the best of a namespace, and print where it is.

    Without either, the Space's own settings decide; if they name no model, the embedded one serves. An existing Space
    keeps its own hardware, so `hardware` is for a new one.

    Raises:
        LandmarkError: there is no such model, a new Space has no `hardware`, the Hub refuses, or it can't be reached.
    """
    described = _describe_model(model) if model else None
    preload = _to_preload(described, model) if model else None
    existing = _existing_space(repo_id)
    if existing is None and hardware is None:
        raise LandmarkError(f"{repo_id} is a new Space: choose where it runs. {upload.PLANS}")
    own = _hardware_of(existing) if existing else hardware
    current = {} if existing is None or model or namespace else _variables(existing)
    served = model or current.get("LANDMARK_MODEL")
    if served and not model:
        with suppress(LandmarkError):  # the Space itself says so, too
            described = _describe_model(served)
            preload = _to_preload(described, served)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "space"
        write_space(
            folder,
            repo_id,
            served,
            namespace or current.get("LANDMARK_NAMESPACE"),
            own or hardware or upload.ZERO_GPU,
            preload,
        )
        done = upload.publish(
            folder,
            repo_id,
            private=private,
            space_hardware=hardware or own or upload.ZERO_GPU,
            message="Update the page",
            replace=["landmark_models/*"],
        )
    changed = done.changed
    if model or namespace:
        changed |= _set_variables(repo_id, {"LANDMARK_MODEL": model, "LANDMARK_NAMESPACE": namespace})
    print(f"{'The page is at' if changed else 'Nothing has changed at'} {done.url}.")
    if hardware and own and own != hardware:
        print(f"It keeps its hardware, {own}; change it in the Space's settings, then run this again.")
    if described and described.private:
        print("Its model is private: in the Space's settings, add a secret HF_TOKEN that may read it.")


def _describe_model(model: str) -> Any:
    """What the Hub says about a MODEL."""
    try:
        return with_retries(partial(describe, models.repo_id(model), model.partition("@")[2] or None))
    except Exception as error:
        raise LandmarkError(describe_failure(f"{model} can't be served", error)) from None


def _to_preload(described: Any, model: str) -> str | None:
    """What a Space loads when it is built, so that its start doesn't wait; the Hub can do that for public models."""
    if described.private or described.gated:
        return None
    pinned = [described.sha] if "@" in model else []
    return " ".join([described.id, ",".join(sorted(model_files(described))), *pinned])


def _existing_space(repo_id: str) -> Any:
    """What the Hub says about a Gradio Space; None if there is none."""
    try:
        existing = with_retries(partial(HfApi().space_info, repo_id))
    except RepositoryNotFoundError:
        return None
    except Exception as error:
        raise LandmarkError(describe_failure(f"{repo_id} can't be updated", error)) from None
    if existing.sdk == "static":
        raise LandmarkError(
            f"{repo_id} is a static Space: update it with --static and --model, or choose another name."
        )
    return existing


def _hardware_of(space: Any) -> str | None:
    """What a Space runs on, or has been asked to; None if the Hub doesn't say."""
    runtime = space.runtime
    return (runtime.requested_hardware or runtime.hardware) if runtime else None


def _variables(space: Any) -> dict[str, str]:
    """The variables of a Space; where the token may not read them, the model that its card names."""
    try:
        variables = with_retries(partial(HfApi().get_space_variables, space.id))
    except Exception:  # such as a token that a CI was lent; they are only for the card
        named = space.card_data.models if space.card_data else None
        return {"LANDMARK_MODEL": f"{models.PREFIX}{named[0]}"} if named else {}
    return {key: variable.value for key, variable in variables.items()}


def _set_variables(repo_id: str, wanted: dict[str, str | None]) -> bool:
    """Set a Space's variables, delete those that are None, and say whether that changed any."""
    api, changes = HfApi(), []
    try:
        current = with_retries(partial(api.get_space_variables, repo_id))
        for key, value in wanted.items():
            if value and (key not in current or current[key].value != value):
                changes.append(partial(api.add_space_variable, repo_id, key, value))
            elif not value and key in current:
                changes.append(partial(api.delete_space_variable, repo_id, key))
        for change in changes:
            with_retries(change)
    except Exception as error:
        raise LandmarkError(describe_failure(f"The variables of {repo_id} can't be set", error)) from None
    return bool(changes)

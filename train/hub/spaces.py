"""The page as a Space on the Hugging Face Hub."""

import shutil
import tempfile
import tomllib
from functools import partial
from pathlib import Path

from huggingface_hub import HfApi, RepoCard

from landmark_models import models
from landmark_models.errors import LandmarkError
from landmark_models.models.failures import describe_failure, with_retries
from train.hub import upload

_ROOT = Path(__file__).parents[2]
_TEMPLATE = Path(__file__).with_name("templates") / "space_card.md"
_ZERO_GPU_TORCH = "torch<2.12"  # ZeroGPU runs 2.8 to 2.11: https://huggingface.co/docs/hub/spaces-zerogpu


def write_space(folder: Path, model: str | None = None, namespace: str | None = None) -> None:
    """Write into a new folder what a Space needs to serve a MODEL from the Hub, or the best of a namespace.

    That is the page, `landmark_models` with the embedded models, the README with this project's settings of the Space,
    and the requirements for serving alone. A LandmarkError if this isn't a checkout of the project.
    """
    if not (_ROOT / "app.py").is_file():
        raise LandmarkError(f"{_ROOT} has no app.py: a Space is made from a checkout of this project.")
    folder.mkdir(parents=True)
    shutil.copyfile(_ROOT / "app.py", folder / "app.py")
    ignored = shutil.ignore_patterns("__pycache__", ".*")
    shutil.copytree(_ROOT / "landmark_models", folder / "landmark_models", ignore=ignored)
    (folder / "requirements.txt").write_text(serving_requirements(), encoding="utf-8")
    data = RepoCard.load(_ROOT / "README.md").data
    name = models.repo_id(model) if model else None
    data.models = [name] if name else None
    served = "the model that comes with it"
    if name:
        served = f"[{name}](https://huggingface.co/{name})"
    elif namespace:
        served = f"the best landmark model of [{namespace}](https://huggingface.co/{namespace})"
    card = RepoCard.from_template(data, str(_TEMPLATE), title=data.title, served=served)
    (folder / "README.md").write_text(str(card), encoding="utf-8")


def serving_requirements() -> str:
    """A requirements.txt for the page: pyproject's dependencies with its extra `page`."""
    file = _ROOT / "pyproject.toml"
    try:
        project = tomllib.loads(file.read_text(encoding="utf-8"))["project"]
        lines = {*project["dependencies"], *project["optional-dependencies"]["page"], _ZERO_GPU_TORCH}
    except (OSError, ValueError, LookupError) as error:
        raise LandmarkError(f"{file} doesn't say what the page needs: {error!r}.") from None
    return "\n".join(sorted(lines)) + "\n"


def publish_space(
    repo_id: str,
    model: str | None = None,
    namespace: str | None = None,
    private: bool = False,
    hardware: str = upload.ZERO_GPU,
) -> None:
    """Create or update a Space that serves a MODEL from the Hub, or the best of a namespace, and print where it is.

    Without either, the Space's own settings decide; if they name no model, the embedded one serves. An existing Space
    keeps its own hardware.

    Raises:
        LandmarkError: there is no such model, the Hub refuses, or it can't be reached.
    """
    is_private = False
    if model:
        try:
            is_private = bool(with_retries(partial(HfApi().model_info, models.repo_id(model))).private)
        except Exception as error:
            raise LandmarkError(describe_failure(f"{model} can't be served", error)) from None
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "space"
        write_space(folder, model, namespace)
        done = upload.publish(
            folder,
            repo_id,
            private=private,
            space_hardware=hardware,
            message="Update the page",
            replace=["landmark_models/*"],
        )
    changed = done.changed
    if model or namespace:
        changed |= _set_variables(repo_id, {"LANDMARK_MODEL": model, "LANDMARK_NAMESPACE": namespace})
    print(f"{'The page is at' if changed else 'Nothing has changed at'} {done.url}.")
    if is_private:
        print("Its model is private: in the Space's settings, add a secret HF_TOKEN that may read it.")


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

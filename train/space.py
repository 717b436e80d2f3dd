"""Put the page on the Hugging Face Hub as a Space.

python -m train.space you/which-landmark --model hf-hub:you/landmarks
python -m train.space you/which-landmark --namespace you
"""

import re
import shutil
import tempfile
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from huggingface_hub import HfApi, RepoCard

from landmark_models import models
from landmark_models.errors import LandmarkError, run_command
from landmark_models.models.failures import describe_failure, with_retries
from train.hub import upload

__all__ = ["publish_space", "write_space"]

_ROOT = Path(__file__).parents[1]
_TEMPLATE = _ROOT / "train" / "hub" / "templates" / "space_card.md"


def write_space(folder: Path, model: str | None = None, namespace: str | None = None) -> None:
    """Write into a new folder what a Space needs to serve a MODEL of the Hub, or the best of a namespace.

    That is the page, `landmark_models` with the embedded model, the README with this project's settings of the Space,
    and requirements for serving alone.

    Raises:
        LandmarkError: this is no checkout of the project.
    """
    if not (_ROOT / "app.py").is_file():
        raise LandmarkError(f"{_ROOT} has no app.py: a Space is made from a checkout of this project.")
    folder.mkdir(parents=True)
    shutil.copyfile(_ROOT / "app.py", folder / "app.py")
    shutil.copytree(_ROOT / "landmark_models", folder / "landmark_models", ignore=_what_is_not_served)
    (folder / "requirements.txt").write_text(serving_requirements(), encoding="utf-8")
    data = RepoCard.load(_ROOT / "README.md").data
    name = model.removeprefix(models.PREFIX).partition("@")[0] if model else None
    data.models = [name] if name else None
    what = "It serves the model that comes with it."
    if name:
        what = f"It serves [{name}](https://huggingface.co/{name})."
    elif namespace:
        what = f"It serves the best landmark model of [{namespace}](https://huggingface.co/{namespace})."
    card = RepoCard.from_template(data, str(_TEMPLATE), title=data.title, what=what)
    (folder / "README.md").write_text(str(card), encoding="utf-8")


def _what_is_not_served(folder: str, names: list[str]) -> list[str]:
    served = (".py", ".css", ".html", ".js", ".json", ".md", ".safetensors")
    return [
        name for name in names if name == "__pycache__" or not (name.endswith(served) or Path(folder, name).is_dir())
    ]


def serving_requirements() -> str:
    """The lines of requirements.txt that serving needs: those under its first heading."""
    text = (_ROOT / "requirements.txt").read_text(encoding="utf-8")
    section = re.search(r"^# serving.*?\n(.*?)^# ", text, re.DOTALL | re.MULTILINE)
    if not section:
        raise LandmarkError(f"{_ROOT / 'requirements.txt'} has no part headed `# serving`.")
    return section[1].strip() + "\n"


def publish_space(repo_id: str, model: str | None = None, namespace: str | None = None, private: bool = False) -> None:
    """Make or update a Space that serves a MODEL of the Hub, or the best of a namespace; say where it is.

    Without either, what is set in the Space's own settings decides, else the embedded model serves.

    Raises:
        LandmarkError: there is no such model, the Hub refuses, or it can't be reached.
    """
    api, hidden, changed = HfApi(), False, False
    if model:
        name = model.removeprefix(models.PREFIX).partition("@")[0]
        try:
            hidden = bool(with_retries(partial(api.model_info, name)).private)
        except Exception as error:
            raise LandmarkError(describe_failure(f"{model} can't be served", error)) from None
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "space"
        write_space(folder, model, namespace)
        message = "Update the page"
        done = upload.publish(
            folder, repo_id, private=private, space=True, message=message, replace=["landmark_models/*"]
        )
    wanted = {"LANDMARK_MODEL": model, "LANDMARK_NAMESPACE": namespace} if model or namespace else {}
    try:
        there = {
            key: variable.value for key, variable in with_retries(lambda: api.get_space_variables(repo_id)).items()
        }
        for key, value in wanted.items():
            if value and there.get(key) != value:
                with_retries(partial(api.add_space_variable, repo_id, key, value))
                changed = True
            elif not value and key in there:
                with_retries(partial(api.delete_space_variable, repo_id, key))
                changed = True
    except Exception as error:
        raise LandmarkError(describe_failure(f"The variables of {repo_id} can't be set", error)) from None
    print(f"{'The page is at' if changed or done.changed else 'Nothing has changed at'} {done.url}.")
    if hidden:
        print("Its model is private: give the Space a secret HF_TOKEN that may read it, in its settings.")


def command(
    repo_id: Annotated[str, typer.Argument(help="The Space to make, or to update: owner/name.")],
    model: Annotated[str | None, typer.Option(help="The model that it serves: hf-hub:owner/name\\[@revision].")] = None,
    namespace: Annotated[
        str | None, typer.Option(help="Without a model: whose best model on the Hub it serves; else the embedded one.")
    ] = None,
    private: Annotated[bool, typer.Option("--private", help="A new Space is private.")] = False,
) -> None:
    """Put the page on the Hugging Face Hub as a Space. Log in by `hf auth login`, or set HF_TOKEN."""
    if model and not model.startswith(models.PREFIX):
        raise LandmarkError(f"A Space serves a model of the Hub, hf-hub:owner/name, not {model}; publish it first.")
    publish_space(repo_id, model or None, namespace or None, private)


if __name__ == "__main__":
    run_command(lambda: typer.run(command))

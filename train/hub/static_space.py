"""The page that runs in the visitor's browser, as a static Space on the Hugging Face Hub."""

import tempfile
from functools import partial
from pathlib import Path

from huggingface_hub import HfApi, RepoCard, SpaceCardData

from landmark_models import models
from landmark_models.errors import LandmarkError
from landmark_models.models.failures import describe_failure, with_retries
from train.hub import upload
from train.hub.web_page import REPLACED, write_page

_TEMPLATE = Path(__file__).with_name("templates") / "static_space_card.md"
# With them, the Space's own address may use several threads: https://huggingface.co/docs/hub/spaces-config-reference
HEADERS = {
    "cross-origin-embedder-policy": "require-corp",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "cross-origin",
}
# Where the Hub keeps large files. It may send a visitor's browser there for those of the Space.
_STORAGE = "https://huggingface.co https://*.huggingface.co https://*.hf.co"


def write_static_space(folder: Path, model: str) -> None:
    """Write into a new folder what a static Space needs: the page for a MODEL, and a card.

    Raises:
        LandmarkError: as `write_page`.
    """
    written = write_page(model, folder, _STORAGE)
    repository = models.repo_id(model) if models.on_hub(model) else ""
    data = SpaceCardData(
        title="Which landmark is this?",
        emoji="🗼",
        colorFrom="indigo",
        colorTo="blue",
        sdk="static",
        app_file="index.html",
        license="apache-2.0",
        short_description="Names the landmark in your photo, in your browser",
        models=[repository] if repository else None,
        tags=["landmark-classification", "image-classification", "onnx"],
        custom_headers=HEADERS,
    )
    name = f"[{repository}](https://huggingface.co/{repository})" if repository else written.name
    megabytes = round(written.first_visit / 1e6)
    card = RepoCard.from_template(data, str(_TEMPLATE), title=data.title, model=name, megabytes=megabytes)
    (folder / "README.md").write_text(str(card), encoding="utf-8")


def publish_static_space(repo_id: str, model: str, private: bool = False) -> None:
    """Create or update a static Space with the page for a MODEL, and print where it is.

    Raises:
        LandmarkError: the page can't be written, the model is on the Hub and not for everybody while the Space is, the
            Hub refuses, or it can't be reached.
    """
    if models.on_hub(model) and not private:
        _check_open(model)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "space"
        write_static_space(folder, model)
        done = upload.publish(
            folder, repo_id, private=private, static_space=True, message="Update the page", replace=REPLACED
        )
    print(f"{'The page is at' if done.changed else 'Nothing has changed at'} {done.url}.")


def _check_open(model: str) -> None:
    """Refuse a model that not everybody may have: whoever opens the Space gets its weights."""
    try:
        info = with_retries(partial(HfApi().model_info, models.repo_id(model)))
    except Exception as error:
        raise LandmarkError(describe_failure(f"{model} can't be read", error)) from None
    if info.private or info.gated:
        kind = "private" if info.private else "gated"
        raise LandmarkError(f"{model} is {kind}, and a static Space hands out its weights; add --private.")

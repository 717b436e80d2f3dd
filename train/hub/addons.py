"""Publish an add-on, landmarks taught from a few photos, on the Hugging Face Hub, with a card."""

import json
import re
import shutil
from functools import partial
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, ModelCardData

from landmark_models import models
from landmark_models.errors import LandmarkError, reason
from landmark_models.files import sha256
from landmark_models.models.failures import describe_failure, with_retries
from landmark_models.models.folder import CONFIG_FILE
from landmark_models.teaching import SUFFIX, AddOn, Facts, load_addon
from landmark_models.teaching.sources import TAG
from landmark_models.text import for_markdown
from train.hub import upload
from train.hub.card import card_template, save_card
from train.hub.staging import staging

_MOST = 200  # landmarks that a card lists


def publish_addon(
    file: Path,
    repo_id: str,
    *,
    private: bool = False,
    licence: str | None = None,
    base_model: str | None = None,
    measured: Path | None = None,
    dry_run: Path | None = None,
) -> None:
    """Publish an add-on in a repository of its own, check that it arrived, and print where it is.

    The parameters are the options of `python -m train.publish`; with `dry_run`, what would be uploaded is written into
    that folder, and nothing is. `base_model` is by default the model that was taught, if that is on the Hub; otherwise
    it, and `licence`, are kept as the card on the Hub has them.

    Raises:
        LandmarkError: it isn't an add-on, `measured` has no figures of it, or the Hub refuses or can't be reached.
    """
    addon, figures = AddOn.read(file), _figures(measured, file) if measured else None
    kept = upload.card_on_hub(repo_id, dry_run=dry_run is not None)
    licence = licence or kept.get("license", "unknown")
    if not _model(addon) and not (base_model := base_model or kept.get("base_model")):
        print(
            "The card can't name the model that was taught: it has no public name. --base-model owner/name gives one."
        )
    with staging(dry_run) as scratch:
        folder = scratch / "addon"
        folder.mkdir()
        shutil.copyfile(file, folder / f"{repo_id.split('/')[-1]}{SUFFIX}")
        save_card(folder, _card(addon, repo_id, licence, base_model, figures))
        if dry_run:
            print(f"{dry_run} holds what would be uploaded; nothing was.")
            return
        _refuse_model(repo_id)
        done = upload.publish(folder, repo_id, private=private, message="Publish the landmarks", replace=[f"*{SUFFIX}"])
    load_addon(f"{models.PREFIX}{repo_id}@{done.revision}")
    what = "Published" if done.changed else "Nothing has changed since it was published:"
    print(f"{what} {done.url} at revision {done.revision[:12]}; it arrived intact.")
    print(f"Anyone who may read it can use it: --with {models.PREFIX}{repo_id}")


def _figures(measured: Path, file: Path) -> dict[str, Any]:
    """What `train.evaluate` measured of this file alone; a LandmarkError if that isn't in `measured`."""
    try:
        figures = json.loads(measured.read_text(encoding="utf-8"))
        digests = [addon["sha256"] for addon in figures.get("with", [])]
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise LandmarkError(f"{measured} has no figures of train.evaluate: {reason(error)}.") from None
    if digests != [sha256(file)] or "apart" not in figures:
        raise LandmarkError(
            f"{measured} isn't about {file} as it is: measure it with `python -m train.evaluate MODEL --with {file} "
            "--data DATA --output DIR`, and give DIR/metrics.json."
        )
    return dict(figures)


def _card(addon: AddOn, repo_id: str, licence: str, base_model: str | None, figures: dict[str, Any] | None) -> str:
    model = _model(addon)
    if not base_model and models.on_hub(model):
        base_model = models.repo_id(model)
    name = repo_id.split("/")[-1]
    data = ModelCardData(
        license=licence,
        library_name="landmark-models",
        pipeline_tag="image-classification",
        base_model=base_model,
        base_model_relation="adapter" if base_model else None,
        metrics=["accuracy"] if figures else None,
        tags=[TAG, "image-classification"],
    )
    return str(
        card_template("addon_card.md").render(
            card_data=data.to_yaml(),
            repo_id=repo_id,
            name=name,
            landmarks=[
                {"name": for_markdown(label), "photos": photos, "where": _where(addon.facts.get(label, Facts()))}
                for label, photos in zip(addon.labels, addon.counts.tolist(), strict=True)
            ],
            most=_MOST,
            total=int(addon.counts.sum()),
            width=addon.vectors.shape[1],
            model=model or (f"{models.PREFIX}{base_model}" if base_model else ""),
            base_model=base_model,
            features=for_markdown(addon.features[:64]),
            figures=figures,
            licence=licence,
        )
    )


def _model(addon: AddOn) -> str:
    """The MODEL that was taught; empty if its name isn't one that others can load."""
    if addon.model in models.EMBEDDED:
        return addon.model
    name = models.repo_id(addon.model) if models.on_hub(addon.model) else ""
    return f"{models.PREFIX}{name}" if re.fullmatch(r"[\w.-]+/[\w.-]+", name) else ""


def _where(facts: Facts) -> str:
    """Place, country and coordinates, as far as they are known, as Markdown."""
    parts = [for_markdown(part) for part in (facts.name, facts.place, facts.country) if part]
    if facts.latitude is not None and facts.longitude is not None:
        parts.append(f"{facts.latitude:.4f}, {facts.longitude:.4f}")
    return "; ".join(parts)


def _refuse_model(repo_id: str) -> None:
    """A LandmarkError if a model is in the repository, whose card would be replaced."""
    try:
        has_model = with_retries(partial(HfApi().file_exists, repo_id, CONFIG_FILE))
    except Exception as error:
        raise LandmarkError(describe_failure(f"{repo_id} can't be published", error)) from None
    if has_model:
        raise LandmarkError(f"{repo_id} holds a model; publish taught landmarks in a repository of their own.")

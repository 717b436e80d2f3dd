"""What the Hub reads of a card: the YAML at its head, by which models are found, compared and tried."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCardData, hf_hub_url

from landmark_models import models
from train.data.hub_datasets import HubDataset

ONNX_FILE = "onnx/model.onnx"  # where transformers.js looks for a model
_ON_HUB = " on the Hub"  # what `weights_from` says after the name of a repository


def model_metadata(
    repo_id: str,
    folder: Path,
    landmark: dict[str, Any],
    test: dict[str, Any] | None,
    ranks: Sequence[int],
    *,
    examples: Sequence[dict[str, str]],
    licence: str,
    base_model: str | None,
    new_version: str | None,
) -> str:
    """A model card's front matter, as YAML.

    `base_model` is by default the one whose weights training began with, if these came from the Hub. Whether all of it
    was trained, or a head alone, or both were averaged, such a model is a finetune of it; a teacher isn't its base.
    """
    origin = landmark.get("weights_from", "")
    if origin.endswith(_ON_HUB):
        base_model = base_model or origin.removesuffix(_ON_HUB)
    trained_on = hub_dataset(landmark)
    in_javascript = (folder / ONNX_FILE).is_file()
    results = [*(_results(test, ranks) if test else []), *_elsewhere(landmark.get("elsewhere"))]
    data = ModelCardData(
        license=licence,
        library_name="timm",
        pipeline_tag="image-classification",
        base_model=base_model,
        base_model_relation="finetune" if base_model else None,
        new_version=new_version,
        datasets=[trained_on.repo_id] if trained_on else None,
        metrics=["accuracy", "f1"] if test else None,
        tags=[models.TAG, "image-classification", "timm", *(("onnx", "transformers.js") if in_javascript else ())],
        widget=[{"src": hf_hub_url(repo_id, example["file"]), "example_title": example["alt"]} for example in examples]
        or None,
        model_name=repo_id.split("/")[-1] if results else None,
        eval_results=results or None,
    )
    return str(data.to_yaml())


def began_with_a_file(landmark: dict[str, Any]) -> bool:
    """Whether training began with weights from a file, of which only its owner can say what model they are of."""
    return ", sha256 " in landmark.get("weights_from", "")


def hub_dataset(figures: dict[str, Any]) -> HubDataset | None:
    """The dataset of the Hub, with its commit, that a model was trained on or figures were measured on, if any."""
    return HubDataset.parse(figures["dataset"]) if figures.get("dataset") else None


def _results(test: dict[str, Any], ranks: Sequence[int]) -> list[EvalResult]:
    """The test figures as the Hub reads them."""
    top = [
        _result(test, "accuracy", f"top-{k}", test[f"top{k}"], split="test", k=k, ci95=test[f"top{k}_ci95"])
        for k in ranks
    ]
    return [*top, _result(test, "f1", "macro F1", test["macro_f1"], split="test", average="macro")]


def _elsewhere(figures: dict[str, Any] | None) -> list[EvalResult]:
    """The accuracy on photos from elsewhere."""
    if not figures or "digest" not in figures:
        return []
    name = "top-1 on photos from elsewhere"
    return [_result(figures, "accuracy", name, figures["top1"], split=None, k=1, ci95=figures["top1_ci95"])]


def _result(
    figures: dict[str, Any], metric: str, name: str, value: float, *, split: str | None, **arguments: Any
) -> EvalResult:
    """A figure; the revision of data that isn't on the Hub is the digest of its photos."""
    dataset = hub_dataset(figures)
    kind = re.sub(r"[^a-z0-9]+", "-", figures["data"].lower()).strip("-") or "photos"
    return EvalResult(
        task_type="image-classification",
        dataset_type=dataset.repo_id if dataset else kind,
        dataset_name=figures["data"],
        dataset_config=(dataset.config or None) if dataset else None,
        dataset_split=split,
        dataset_revision=dataset.revision if dataset else figures["digest"],
        metric_type=metric,
        metric_name=name,
        metric_value=value,
        metric_args={"n": figures["n"], **({"digest": figures["digest"]} if dataset else {}), **arguments},
    )

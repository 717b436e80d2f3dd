"""The card of a model on the Hub, made from what its run measured."""

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Any

import timm
from huggingface_hub import EvalResult, ModelCard, ModelCardData

from landmark_models import models
from landmark_models.networks.served import parameter_count
from landmark_models.text import for_markdown
from train.run import RunFolder, duration

__all__ = ["Example", "write_card"]

_TEMPLATE = Path(__file__).with_name("templates") / "model_card.md"
_HARDEST = 6  # landmarks that are named as such


@dataclass(frozen=True)
class Example:
    """A photo shown in the card: its file in the repository, what the model says of it, and whose it is."""

    file: str
    alt: str
    answer: str
    credit: str


def write_card(
    run: RunFolder,
    folder: Path,
    repo_id: str,
    *,
    examples: Sequence[Example] = (),
    licence: str = "unknown",
    base_model: str | None = None,
) -> None:
    """Write `folder/README.md` for a run whose other files lie in the folder already.

    Args:
        run: an evaluated run, or one without test figures, whose card then says so.
        folder: what will be uploaded; pictures that it lacks are not shown.
        repo_id: `owner/name` that the card will stand at.
        examples: photos in the folder to show.
        licence: of the weights, as the Hub abbreviates it.
        base_model: the model on the Hub that training started from; without, what the run knows of it.
    """
    model = models.load(run.path)
    landmark, test = model.landmark, run.measured() if model.landmark.get("test") else None
    environment, split = run.environment(), run.split() or {}
    architecture = model.config["architecture"]
    origin = landmark.get("weights_from", "")
    if origin.endswith(" on the Hub"):
        base_model = base_model or origin.removesuffix(" on the Hub")
    command = _command(environment["command"], run.path.resolve().name)
    data = test["data"] if test else _option(command, "--data") or "its owner's folder"
    name = repo_id.split("/")[-1]
    card_data = ModelCardData(
        license=licence,
        library_name="timm",
        pipeline_tag="image-classification",
        base_model=base_model,
        tags=[models.TAG, "image-classification", "timm"],
        model_name=name if test else None,
        eval_results=_results(test) if test else None,
    )
    card = ModelCard.from_template(
        card_data,
        str(_TEMPLATE),
        repo_id=repo_id,
        name=name,
        architecture=architecture,
        own_architecture=timm.model_entrypoint(architecture).__module__.startswith("landmark_models"),
        parameters=f"{parameter_count(model.network) / 1e6:.2f}",
        input_px=model.pretrained_cfg["input_size"][-1],
        origin=_origin(origin, landmark.get("teacher")),
        test=test,
        data=for_markdown(data),
        figures=[(f"top-{k}", *_interval(test, f"top{k}")) for k in (1, 3, 5)] if test else [],
        macro_f1=f"{100 * test['macro_f1']:.2f}" if test else "",
        sources=[(for_markdown(s), part["n"], *_interval(part, "top1")) for s, part in test["per_source"].items()]
        if test
        else [],
        hardest=_hardest(test) if test else "",
        elsewhere=landmark.get("elsewhere"),
        elsewhere_data=for_markdown(landmark["elsewhere"]["data"]) if "elsewhere" in landmark else "",
        named=test.get("named") if test else None,
        rejection=_rejection(test) if test else [],
        rule=landmark.get("known"),
        calibration=landmark.get("calibration"),
        temperature=landmark.get("temperature", 1.0),
        validation={"n": landmark["validation"]["n"], "percent": f"{100 * landmark['validation']['top1']:.2f}"},
        confusion=(folder / "test" / "confusion.png").is_file(),
        curves=(folder / "curves.png").is_file(),
        examples=examples,
        train_photos=len(split.get("train", [])),
        val_photos=len(split.get("val", [])),
        left_out=len(split.get("left_out", {})),
        not_measured=test["excluded"] + len(test["left_out"]) if test else 0,
        command=shlex.join(command),
        device=environment["device"],
        duration=duration(run.seconds()),
        versions=", ".join(f"{package} {environment['packages'][package]}" for package in ("torch", "timm")),
        licence=_licence(licence),
        labels=[for_markdown(label) for label in model.labels],
    )
    (folder / "README.md").write_text(re.sub(r"\n{3,}", "\n\n", str(card)), encoding="utf-8")


def _interval(figures: dict[str, Any], key: str) -> tuple[str, str, str]:
    low, high = figures[f"{key}_ci95"]
    return f"{100 * low:.2f}", f"{100 * figures[key]:.2f}", f"{100 * high:.2f}"


def _rejection(test: dict[str, Any]) -> list[tuple[str, int, str, str, str]]:
    """Rows for photos of anything else: kind, photos, and the share that is named with its interval."""
    found = test.get("rejection") or {}
    groups = {"all near ones (other landmarks, streets and buildings)": "near", "all far ones": "far"}
    parts = {for_markdown(kind.replace("_", " ")): part for kind, part in found.get("kinds", {}).items() if kind}
    parts |= {words: found[group] for words, group in groups.items() if group in found}
    return [(words, part["n"], *_interval(part, "share")) for words, part in parts.items()]


def _results(test: dict[str, Any]) -> list[EvalResult]:
    """The test figures as the Hub reads them; the digest of the photos stands for the data's revision."""

    def result(metric: str, name: str, key: str, **arguments: Any) -> EvalResult:
        return EvalResult(
            task_type="image-classification",
            dataset_type=re.sub(r"[^a-z0-9]+", "-", test["data"].lower()).strip("-") or "photos",
            dataset_name=test["data"],
            dataset_split="test",
            dataset_revision=test["digest"],
            metric_type=metric,
            metric_name=name,
            metric_value=test[key],
            metric_args={"n": test["n"], **arguments},
        )

    top = [result("accuracy", f"top-{k}", f"top{k}", k=k, ci95=test[f"top{k}_ci95"]) for k in (1, 3, 5)]
    return [*top, result("f1", "macro F1", "macro_f1", average="macro")]


def _hardest(test: dict[str, Any]) -> str:
    ranked = sorted(test["per_class"].items(), key=lambda item: (item[1]["f1"], item[0]))
    return ", ".join(
        f"{for_markdown(label)} ({100 * part['f1']:.0f} %, n = {part['n']})" for label, part in ranked[:_HARDEST]
    )


def _origin(weights_from: str, teacher: str | None) -> str:
    start = f"Trained from {for_markdown(weights_from)}" if weights_from else "Trained"
    return f"{start} on what a larger network, {for_markdown(teacher)}, says of the photos." if teacher else f"{start}."


def _licence(licence: str) -> str:
    whose = "The photos that it was trained on keep the licences of their authors."
    if licence in ("unknown", "other"):
        return f"Its owner has stated no licence for the weights. {whose}"
    return f"The weights: {licence}. {whose}"


def _command(command: str, run: str) -> list[str]:
    """The command of a run, without where on its owner's disk things lie."""
    script, *words = shlex.split(command)
    if script not in ("fit.py", "distill.py"):  # trained from Python
        script, words = "fit.py", ["recipe.yaml", "--data", "DATA", "--output", run]
    words = [part for word in words for part in (word.split("=", 1) if word.startswith("--") else [word])]
    kept: list[str] = []
    for word in words:
        if word == "--private" or (kept and kept[-1] == "--push-to-hub"):
            kept = [part for part in kept if part != "--push-to-hub"]
        else:
            kept.append(word if word.startswith(("train/recipes/", "hf-hub:")) else PureWindowsPath(word).name or word)
    return ["accelerate", "launch", "-m", f"train.{script.removesuffix('.py')}", *kept]


def _option(words: list[str], option: str) -> str | None:
    return words[words.index(option) + 1] if option in words[:-1] else None

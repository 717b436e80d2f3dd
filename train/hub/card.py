"""The card of a model on the Hub, made from what its run measured."""

import re
import shlex
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path, PureWindowsPath
from typing import Any

import timm
from huggingface_hub import ModelCard
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from landmark_models import models
from landmark_models.networks.served import parameter_count
from landmark_models.text import for_markdown
from train.hub.metadata import ONNX_FILE, hub_dataset, model_metadata
from train.measure.rejection import WITHOUT_RULE, score_words
from train.run import CACHED_FEATURES, OWN_PHOTO, RunFolder

_PRECISIONS = {"no": "float32", "bf16": "bfloat16", "fp16": "float16"}
_TEMPLATES = Path(__file__).with_name("templates")
_PUBLIC = ("train/recipes/", "hf-hub:", "hf:", "torch/")  # how words of a command begin that aren't its owner's paths
_HARDEST = 6  # landmarks to name as the hardest


def write_card(
    run: RunFolder,
    model: models.LoadedModel,
    folder: Path,
    repo_id: str,
    *,
    examples: Sequence[dict[str, str]] = (),
    licence: str = "unknown",
    base_model: str | None = None,
    new_version: str | None = None,
) -> None:
    """Write `folder/README.md` for the model of a run whose other files are in the folder already.

    The card shows only pictures that are in it, and each of the `examples`: its `file` in the folder, `alt` text,
    the model's `answer`, and `credit`. If a run has no test figures, its card says so. `base_model` is as in
    `model_metadata`; `new_version` is the model on the Hub that followed this one.
    """
    landmark, test = model.landmark, run.measured() if model.landmark.get("test") else None
    environment, architecture = run.environment(), model.config["architecture"]
    command = _command(environment["command"], run.path.resolve().name)
    trained_on = hub_dataset(landmark)
    split = run.split() or {}
    train = split.get("train", [])
    unlabelled = sum(Path(path).is_absolute() for path in train)  # the data's own photos are relative to its folder
    content = card_template("model_card.md").render(
        card_data=model_metadata(
            repo_id,
            folder,
            landmark,
            test,
            _ranks(model.labels),
            examples=examples,
            licence=licence,
            base_model=base_model,
            new_version=new_version,
        ),
        repo_id=repo_id,
        name=repo_id.split("/")[-1],
        architecture=architecture,
        own_architecture=timm.model_entrypoint(architecture).__module__.startswith("landmark_models"),
        parameters=parameter_count(model.network),
        input_px=model.pretrained_cfg["input_size"][-1],
        labels=model.labels,
        ranks=_ranks(model.labels),
        origin=landmark.get("weights_from", ""),
        landmark=landmark,
        test=test,
        trained_on=trained_on,
        data=trained_on.name if trained_on else test["data"] if test else _option(command, "--data"),
        hardest=_hardest(test["per_class"]) if test else "",
        rejection=_rejection(test) if test else [],
        scaled=model.statistics is not None,
        without_rule="" if "known" in landmark else WITHOUT_RULE,
        javascript=(folder / ONNX_FILE).is_file(),
        pictures={file.relative_to(folder).as_posix() for file in folder.rglob("*.png")},
        examples=examples,
        split=split,
        labelled=len(train) - unlabelled,
        unlabelled=unlabelled,
        left_out=_left_out(split.get("left_out", {}).values()),
        selection=_selection(run, landmark),
        probe=landmark.get("method") == CACHED_FEATURES,
        command=shlex.join(command),
        device=environment["device"],
        precision=_PRECISIONS[landmark["recipe"]["mixed_precision"]],
        duration=run.training_time(),
        packages=environment["packages"],
        licence=licence,
    )
    save_card(folder, content)


def save_card(folder: Path, content: str) -> None:
    """Write a filled-in template as `folder/README.md`; the Hub's rules for cards are checked."""
    (folder / "README.md").write_text(str(ModelCard(re.sub(r"\n{3,}", "\n\n", content))), encoding="utf-8")


def _selection(run: RunFolder, landmark: dict[str, Any]) -> str:
    """What the validation photos were used for, and which photos the head was fitted to in the end, in sentences."""
    validation, recipe = landmark["validation"], landmark["recipe"]
    by_epochs = landmark.get("method") != CACHED_FEATURES
    epochs = len([line for line in run.metrics() if "epoch" in line])
    sentences = []
    if not by_epochs:
        sentences.append("The rest of the network stayed as it was; only its head was fitted, to features.")
    elif recipe["head"] == "linear":
        subject = "The same photos" if recipe["overfit_batches"] else "They"
        sentences.append(f"{subject} chose the best of {epochs} epochs." if epochs > 1 else "There was one epoch.")
    else:
        average = ", averaged with the pretrained weights" if recipe["average_with_pretrained"] else ""
        sentences.append(f"The network is that of the last of {epochs} epochs{average}; then its head was fitted.")
    if validation.get("refitted"):
        chosen = "how strongly it is regularised" if "penalty" in validation else "the scale of its scores"
        count = f"all {validation['refitted_on']} of them" if "refitted_on" in validation else "all of them"
        sentences.append(
            f"The validation photos chose {chosen}; their figures are those of the head fitted to the training photos. "
            f"The head that is served was then fitted again, to {count}."
        )
    return " ".join(sentences)


def _ranks(labels: Sequence[str]) -> list[int]:
    """The k of each top-k accuracy that says something: with k classes it is always 100%."""
    return [k for k in (1, 3, 5) if k < len(labels)]


def _left_out(reasons: Iterable[str]) -> str:
    """How many of the data's photos were left out, and why, in a sentence; empty if none was."""
    counts: Counter[str] = Counter()
    for reason in reasons:
        if reason.startswith("listed in "):
            counts["on a list of exclusions"] += 1
        elif reason.startswith("no training photo of "):
            counts["of a class without a training photo that can be read"] += 1
        elif reason != OWN_PHOTO:  # which is used with its label
            counts["unreadable"] += 1
    why = ", ".join(f"{count} {words}" for words, count in counts.items())
    return f"{_photos(counts.total())} left out: {why}." if counts else ""


def _photos(count: int, more: str = "") -> str:
    return f"1 {more}photo was" if count == 1 else f"{count} {more}photos were"


def card_template(name: str) -> Any:
    """A card's template, by its name; a figure that it needs and doesn't get is an error, not a gap."""
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["markdown"] = for_markdown
    environment.filters["percent"] = lambda fraction, digits=2: f"{100 * fraction:.{digits}f}"
    environment.filters["score_words"] = score_words
    environment.filters["photos"] = _photos
    return environment.get_template(name)


def _rejection(test: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Photos that show none of the landmarks: each kind with its figures, then all near and all far ones."""
    measured = test.get("rejection") or {}
    groups = {"all near ones (other landmarks, streets and buildings)": "near", "all far ones": "far"}
    parts = [(kind.replace("_", " "), part) for kind, part in measured.get("kinds", {}).items() if kind]
    return parts + [(words, measured[group]) for words, group in groups.items() if group in measured]


def _hardest(per_class: dict[str, dict[str, Any]]) -> str:
    """The labels with the lowest F1, with it and their number of test photos; none whose F1 is shown as 100%."""
    imperfect = [item for item in per_class.items() if item[1]["f1"] < 0.995]
    ranked = sorted(imperfect, key=lambda item: (item[1]["f1"], item[0]))[:_HARDEST]
    return ", ".join(f"{for_markdown(label)} ({100 * part['f1']:.0f}%, n = {part['n']})" for label, part in ranked)


def _command(command: str, run: str) -> list[str]:
    """The command of a run, without its owner's paths and without publishing."""
    script, *words = shlex.split(command)
    if script not in ("fit.py", "distill.py"):  # trained from Python
        script, words = "fit.py", ["recipe.yaml", "--data", "DATA", "--output", run]
    words = [part for word in words for part in (word.split("=", 1) if word.startswith("--") else [word])]
    kept: list[str] = []
    for word in words:
        if word == "--private" or (kept and kept[-1] == "--push-to-hub"):
            kept = [part for part in kept if part != "--push-to-hub"]
        else:
            kept.append(word if word.startswith(_PUBLIC) else PureWindowsPath(word).name or word)
    return ["accelerate", "launch", "-m", f"train.{script.removesuffix('.py')}", *kept]


def _option(words: list[str], option: str) -> str | None:
    return words[words.index(option) + 1] if option in words[:-1] else None

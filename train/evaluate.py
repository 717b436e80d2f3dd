"""How good a model is on photos that it has never seen: figures with intervals, as JSON and as a table.

python -m train.evaluate default --data photos/ --split test --output runs/test
"""

import csv
import hashlib
import json
import time
from collections import defaultdict
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from scipy.stats import binomtest
from sklearn.metrics import precision_recall_fscore_support, roc_auc_score
from torch import Tensor

from landmark_models import models
from landmark_models.classifier import LandmarkClassifier
from landmark_models.devices import best_device, device_name
from landmark_models.errors import reason, run_command
from landmark_models.files import sha256, write_json
from landmark_models.models.folder import CONFIG_FILE
from train.calibration import (
    expected_calibration_error,
    find_negatives,
    is_near,
    kind_of,
    perfect_calibration_error,
)
from train.data import DataError, Photos, find_photos, read_exclusions
from train.draw.report_page import tables, write_predictions, write_report
from train.draw.results import draw_confusion
from train.hub.exported_model import SUFFIXES, ExportedModel, predict_exported
from train.measure.corruptions import CORRUPTIONS
from train.measure.predict import TTA, predict_logits
from train.run import RunFolder

__all__ = ["accuracy_with_interval", "evaluate", "figures"]

_RECORDED = ("data", "digest", "n", "excluded", "top1", "top1_ci95", "macro_f1", "ece")  # in the model's own config


class Kind(StrEnum):
    """What photos a model is measured on: its own test split, or photos from elsewhere."""

    test = "test"
    elsewhere = "elsewhere"


def inference_speed(classifier: LandmarkClassifier, batch_size: int = 32, seconds: float = 1.0) -> float:
    """Photos per second of the network alone, on batches in memory."""
    images = torch.rand(batch_size, *classifier.pretrained_cfg["input_size"])
    classifier.logits(images)
    started, count = time.perf_counter(), 0
    while (elapsed := time.perf_counter() - started) < seconds:
        classifier.logits(images)  # comes back to the CPU, so there is nothing to wait for
        count += batch_size
    return count / elapsed


def accuracy_with_interval(correct: int, total: int) -> dict[str, Any]:
    """A share of successes and its Wilson 95 % interval (Wilson 1927), as fractions."""
    interval = binomtest(correct, total).proportion_ci(confidence_level=0.95, method="wilson")
    return {"n": total, "top1": correct / total, "top1_ci95": [interval.low, interval.high]}


def figures(logits: Tensor, targets: Tensor, labels: Sequence[str]) -> dict[str, Any]:
    """Every figure that follows from logits `(N, classes)` and target indices `(N,)`, as JSON would hold it.

    Macro figures are means over the classes that have a photo among the targets.
    """
    ranked = logits.argsort(dim=1, descending=True, stable=True)
    position = (ranked == targets.unsqueeze(1)).int().argmax(dim=1)
    result: dict[str, Any] = accuracy_with_interval(int((position < 1).sum()), len(targets))
    for k in (3, 5):
        top = accuracy_with_interval(int((position < k).sum()), len(targets))
        result[f"top{k}"], result[f"top{k}_ci95"] = top["top1"], top["top1_ci95"]
    present = targets.unique().tolist()
    predicted = ranked[:, 0]
    scores = precision_recall_fscore_support(targets, predicted, labels=present, zero_division=0)
    for name, values in zip(("precision", "recall", "f1"), scores, strict=False):
        result[f"macro_{name}"] = float(values.mean())
        result[f"weighted_{name}"] = float((values * scores[3]).sum() / scores[3].sum())
    result["per_class"] = {
        labels[index]: {"n": int(support), "precision": float(precision), "recall": float(recall), "f1": float(f1)}
        for index, precision, recall, f1, support in zip(present, *scores, strict=True)
    }
    return result


def _calibration(classifier: LandmarkClassifier | ExportedModel, logits: Tensor, targets: Tensor) -> dict[str, float]:
    """How far confidence is from accuracy: as served, without the temperature, and what could not be less."""
    return {
        "temperature": classifier.temperature,
        "ece": expected_calibration_error(logits, targets),
        "ece_uncalibrated": expected_calibration_error(logits * classifier.temperature, targets),
        "ece_if_perfect": perfect_calibration_error(logits),
    }


def _share(flags: Tensor) -> dict[str, Any]:
    """How many of these photos were named, `n`, `named`, the share and its 95 % interval."""
    counted = accuracy_with_interval(int(flags.sum()), len(flags))
    return {"n": len(flags), "named": int(flags.sum()), "share": counted["top1"], "share_ci95": counted["top1_ci95"]}


def _named(known: Tensor, right: Tensor) -> dict[str, Any]:
    """Of photos of landmarks: how many, how many were named, and how many of these rightly; with shares of all."""
    photos, named, rightly = len(known), int(known.sum()), int((known & right).sum())
    result: dict[str, Any] = {"photos": photos, "named": named, "right": rightly}
    for name, count in (("rightly", rightly), ("wrongly", named - rightly), ("not", photos - named)):
        share = accuracy_with_interval(count, photos)
        result[name], result[f"{name}_ci95"] = share["top1"], share["top1_ci95"]
    return result


def _rejection(
    classifier: LandmarkClassifier, scores: Tensor, others: list[Path], folder: str | Path
) -> dict[str, Any]:
    """How well photos of the landmarks, by their `scores`, are told from negatives of each kind, near and far apart."""
    threshold = classifier.known_rule.threshold
    seen = predict_logits(classifier, others, title="negatives")
    for failure in seen.failures.values():
        print(f"Left out: {failure}")
    kinds = [kind_of(others[index], folder) for index in seen.readable]

    def part(members: list[bool]) -> dict[str, Any]:
        chosen = seen.scores[torch.tensor(members)]
        shows = torch.cat([torch.ones(len(scores)), torch.zeros(len(chosen))])
        auroc = float(roc_auc_score(shows, torch.cat([scores, chosen])))
        return _share(chosen >= threshold) | {"auroc": auroc}

    near = [is_near(kind) for kind in kinds]
    groups = {"near": near, "far": [not flag for flag in near]}
    return {
        "data": Path(folder).resolve().name,
        "score": classifier.known_rule.score,
        "threshold": threshold,
        "kinds": {kind: part([other == kind for other in kinds]) for kind in sorted(set(kinds))},
        **{name: part(members) for name, members in groups.items() if any(members)},
        "left_out": len(seen.failures),
    }


def _robustness(classifier: LandmarkClassifier, photos: Photos, batch_size: int) -> dict[str, Any]:
    """Accuracy on the same photos, changed."""
    targets, result = torch.tensor(photos.targets), {}
    for name, change in CORRUPTIONS.items():
        logits = predict_logits(classifier, photos.files(), batch_size, change=change, title=name).logits
        result[name] = accuracy_with_interval(int((logits.argmax(1) == targets).sum()), len(targets))
    return result


def _read_sources(root: Path) -> dict[str, str]:
    """The `source` of each `file` in the data's sources.csv; empty where there is none."""
    table = root / "sources.csv"
    if not table.is_file():
        return {}
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
        if rows and "repository" in rows[0]:  # hundreds, of a few photos each
            return {}
        return {row["file"]: row["source"] for row in rows}
    except (KeyError, ValueError, csv.Error, OSError):
        raise DataError(f"{table} is not a table with the columns `file` and `source`; mend or remove it.") from None


def _per_source(photos: Photos, sources: dict[str, str], correct: Tensor) -> dict[str, Any]:
    """Accuracy for each source, where the data tells sources apart."""
    if not sources:
        return {}
    outcomes: dict[str, list[bool]] = defaultdict(list)
    for path, hit in zip(photos.paths, correct.tolist(), strict=True):
        outcomes[sources.get(path, "not in sources.csv")].append(hit)
    return {source: accuracy_with_interval(sum(hits), len(hits)) for source, hits in sorted(outcomes.items())}


def _digest(photos: Photos) -> str:
    """One hash over the photos' paths and contents: two figures compare only where it is the same."""
    digest = hashlib.sha256()
    for path in sorted(photos.paths):
        content = sha256(photos.root / path)
        digest.update(f"{path} {content}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()


def evaluate(
    model: str | Path,
    data: str | Path,
    split: str,
    output: str | Path,
    batch_size: int = 64,
    exclude: str | Path | None = None,
    tta: TTA | None = None,
    negatives: str | Path | None = None,
    robustness: bool = False,
    kind: Kind = Kind.test,
) -> dict[str, Any]:
    """Measure a MODEL, or a file of `train.export`, on one split of DATA; write `output/metrics.json` and pictures.

    `predictions.csv` names every photo, `report/index.html` shows what was found. Photos listed in the file `exclude`
    are left out, and counted in the result. With `negatives`, a folder of photos that show none of the landmarks, it is
    measured how well they are told from the others; with `robustness`, the accuracy on changed photos, too.
    For a run's test split the figures also go to the run's `test/metrics.json` and, in short, into its model's config;
    with `kind` elsewhere to `elsewhere/metrics.json` and a block of their own. Figures with test-time augmentation,
    which is not how a model is served, do not.

    Returns:
        What `metrics.json` holds.

    Raises:
        LandmarkError: the model or the data isn't available, the data has labels that the model does not know, or the
            run has test figures of other photos already.
    """
    named = str(model) in models.EMBEDDED or str(model).startswith(models.PREFIX)  # not a folder, whatever lies there
    exported = not named and Path(model).suffix in SUFFIXES and not Path(model).is_dir()
    if exported and (tta or negatives or robustness):
        raise DataError(f"{model} is measured as it is: --tta, --negatives and --robustness are for models.")
    if tta and negatives:
        raise DataError("--negatives are told apart as a model is served, so without --tta; leave out one of them.")
    classifier: LandmarkClassifier | ExportedModel
    classifier = ExportedModel(model) if exported else LandmarkClassifier.load(model, best_device(), "torch")
    others = find_negatives(negatives) if negatives is not None else []
    photos = find_photos(data, split, classifier.labels)
    if photos is None:
        raise DataError(f"{data} has no photos under {split!r}; choose another --split (`all` for bare class folders).")
    everything = len(photos)
    if exclude:
        photos = photos.excluding(read_exclusions(exclude))
    excluded = everything - len(photos)
    if not len(photos):
        raise DataError(f"{exclude} leaves no photo of {data} to measure on.")
    sources = _read_sources(photos.root)
    run = RunFolder(model)
    is_run = not named and run.recipe.is_file()
    recorded = is_run and not tta and (kind is Kind.elsewhere or split == "test")
    if is_run and not recorded and Path(output).resolve() == run.test.parent.resolve():
        raise DataError(f"{output} is for the run's plain figures on its test split; name another folder for these.")
    if Path(output).exists() and not Path(output).is_dir():
        raise DataError(f"The output {output} is a file; name a folder.")
    digest = _digest(photos)
    if recorded and kind is Kind.test:
        _refuse_other_photos(run, Path(data).resolve().name, digest)
    if isinstance(classifier, ExportedModel):
        started = time.perf_counter()
        seen = predict_exported(classifier, photos.files())
        device, speed = torch.device("cpu"), len(photos) / (time.perf_counter() - started)
    else:
        seen = predict_logits(classifier, photos.files(), batch_size, tta, title=f"evaluating {split}")
        device, speed = classifier.device, inference_speed(classifier)
    failures = {photos.paths[index]: failure for index, failure in seen.failures.items()}
    for failure in failures.values():
        print(f"Left out: {failure}")
    if not seen.readable:
        raise DataError(f"None of the {len(photos)} photos under {data} can be read.")

    photos = photos.take(seen.readable)
    all_logits, targets = seen.logits, torch.tensor(photos.targets)
    right = all_logits.argmax(1) == targets
    metrics = figures(all_logits, targets, classifier.labels)
    if tta is None:
        metrics |= _calibration(classifier, all_logits, targets)
        # A file says 0 or 1 in place of a score.
        threshold = 0.5 if isinstance(classifier, ExportedModel) else classifier.known_rule.threshold
        metrics["named"] = _named(seen.scores >= threshold, right)
    if isinstance(classifier, LandmarkClassifier):
        if others and negatives is not None:
            metrics["rejection"] = _rejection(classifier, seen.scores, others, negatives)
        if tta is None and classifier.served.has_statistics:
            metrics["ece_plain_softmax"] = expected_calibration_error(seen.plain, targets)
        if robustness:
            metrics["robustness"] = _robustness(classifier, photos, batch_size)
    metrics["per_source"] = _per_source(photos, sources, right)
    metrics |= {
        "model": str(model),
        "data": Path(data).resolve().name,
        "split": split,
        "digest": digest if not failures else _digest(photos),
        "tta": tta,
        "device": device_name(device),
        "photos_per_second": round(speed, 1),
        "left_out": failures,
        "excluded": excluded,
    }
    folders = {Path(output).resolve()}
    if recorded:
        folders.add((run.test if kind is Kind.test else run.elsewhere).parent.resolve())
        _record(run.model / CONFIG_FILE, kind, metrics)
    try:
        for folder in folders:
            folder.mkdir(parents=True, exist_ok=True)
            write_json(folder / "metrics.json", metrics)
            write_predictions(folder / "predictions.csv", photos, all_logits.softmax(1))
            draw_confusion(all_logits.argmax(1), targets, classifier.labels, folder / "confusion.png")
        write_report(Path(output) / "report", metrics, photos, all_logits)
    except OSError as error:
        raise DataError(f"{output} can't be written: {reason(error)}.") from None
    return metrics


def _refuse_other_photos(run: RunFolder, data: str, digest: str) -> None:
    """Raise a DataError where the run has test figures of other data: these photos are from elsewhere, then."""
    if not run.test.is_file():
        return
    before = json.loads(run.test.read_text(encoding="utf-8"))
    if before.get("data") != data and before.get("digest") != digest:
        raise DataError(
            f"{run.path} has test figures already, of {before.get('n')} other photos ({before.get('data')}). Record "
            f"photos from elsewhere with --as elsewhere; if the test split has changed, remove {run.test.parent} first."
        )


def _record(config_file: Path, kind: Kind, metrics: dict[str, Any]) -> None:
    """Put the figures into the model's own config, in the block `test` or `elsewhere`."""
    config = json.loads(config_file.read_text(encoding="utf-8"))
    block = {key: metrics[key] for key in _RECORDED}
    if "ece_plain_softmax" in metrics:
        block["ece_plain_softmax"] = metrics["ece_plain_softmax"]
    block["named"] = {key: metrics["named"][key] for key in ("photos", "named", "right")}
    if rejection := metrics.get("rejection"):
        groups = [group for group in ("near", "far") if group in rejection]
        block["others"] = {group: {key: rejection[group][key] for key in ("n", "named")} for group in groups}
    block["per_class"] = {
        label: [part["n"], round(part["recall"] * part["n"])] for label, part in metrics["per_class"].items()
    }
    config["landmark"][kind.value] = block
    write_json(config_file, config)


def print_tables(metrics: dict[str, Any], console: Console) -> None:
    """The figures as a person reads them."""
    excluded = f" ({metrics['excluded']} excluded)" if metrics["excluded"] else ""
    views = {"flip": ", mirror image too", "crops": ", ten crops"}.get(metrics["tta"] or "", "")
    console.print(
        f"{metrics['model']} on {metrics['data']}, {metrics['split']} split, {metrics['n']} photos{excluded}{views}"
    )
    for title, headers, rows in tables(metrics):
        shown = Table(*headers, title=title)
        for row in rows:
            shown.add_row(*map(escape, row))
        console.print(shown)


def command(
    model: Annotated[
        str,
        typer.Argument(
            help="default, compact, a model or run folder, hf-hub:owner/name\\[@revision], or a FILE of train.export."
        ),
    ],
    data: Annotated[
        Path, typer.Option(help="Folder with train/, val/, test/ of CLASS/*, or of bare CLASS/*; or torch/NAME.")
    ],
    output: Annotated[Path, typer.Option(help="Folder for metrics.json; made, or used again.")],
    split: Annotated[str, typer.Option(help="train, val, test, or all for bare class folders.")] = "test",
    batch_size: Annotated[int, typer.Option(min=1, help="Photos at a time; changes speed only.")] = 64,
    exclude: Annotated[
        Path | None, typer.Option(help="List of photos to leave out, as `python -m train.data scan --fix` writes it.")
    ] = None,
    tta: Annotated[
        TTA | None,
        typer.Option(help="Average the scores over each photo and its mirror image, or over ten crops; not recorded."),
    ] = None,
    negatives: Annotated[
        Path | None,
        typer.Option(
            help="Folder of photos that show none of the landmarks, a folder in it for each kind, to measure against."
        ),
    ] = None,
    robustness: Annotated[
        bool, typer.Option("--robustness", help="Measure on blurred, noisy, dark, ... photos, too: six times as long.")
    ] = False,
    kind: Annotated[
        Kind, typer.Option("--as", help="What a run's figures are recorded as: its test, or photos from elsewhere.")
    ] = Kind.test,
) -> None:
    """Measure a model on photos that it has never seen."""
    print_tables(evaluate(model, data, split, output, batch_size, exclude, tta, negatives, robustness, kind), Console())


if __name__ == "__main__":
    run_command(lambda: typer.run(command))

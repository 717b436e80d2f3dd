"""How good a model is on photos that it has never seen: figures with intervals, as JSON and as a table.

python -m train.evaluate default --data photos/ --split test --output runs/test
"""

import csv
import hashlib
import json
import time
from collections import defaultdict
from collections.abc import Sequence
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

from landmark_models.classifier import LandmarkClassifier
from landmark_models.errors import run_command
from landmark_models.files import write_json
from landmark_models.model_folder import CONFIG_FILE
from landmark_models.unknown import SCORES
from train.calibration import expected_calibration_error, find_negatives, perfect_calibration_error
from train.data import DataError, Photos, find_photos, read_exclusions
from train.evaluation_report import tables, write_predictions, write_report
from train.exported import SUFFIXES, ExportedModel
from train.pictures import draw_confusion
from train.robustness import CHANGES
from train.run import RunFolder, device_name
from train.views import TTA, look, look_exported

__all__ = ["accuracy_with_interval", "evaluate", "figures"]

_RECORDED = ("data", "digest", "n", "excluded", "top1", "top1_ci95", "macro_f1")  # in the model's own config


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


def _calibration(temperature: float, logits: Tensor, targets: Tensor) -> dict[str, float]:
    """How far confidence is from accuracy: as served, without the temperature, and what could not be less."""
    return {
        "temperature": temperature,
        "ece": expected_calibration_error(logits, targets),
        "ece_uncalibrated": expected_calibration_error(logits * temperature, targets),
        "ece_if_perfect": perfect_calibration_error(logits),
    }


def _against(classifier: LandmarkClassifier, logits: Tensor, others: list[Path]) -> dict[str, Any]:
    """How well photos of the landmarks are told from photos of anything else, by the model's own rule and at any."""
    rule = classifier.known_rule
    of_others = look(classifier, others, title="negatives").logits
    known, unknown = SCORES[rule.score](logits), SCORES[rule.score](of_others)
    true, false = (accuracy_with_interval(int(rule(some).sum()), len(some)) for some in (logits, of_others))
    shows = torch.cat([torch.ones(len(known)), torch.zeros(len(unknown))])
    return {
        "n": len(unknown),
        "score": rule.score,
        "auroc": float(roc_auc_score(shows, torch.cat([known, unknown]))),
        "true_accepts": true["top1"],
        "true_accepts_ci95": true["top1_ci95"],
        "false_accepts": false["top1"],
        "false_accepts_ci95": false["top1_ci95"],
        "false_accepts_at_95": float((unknown >= known.quantile(0.05)).float().mean()),
    }


def _robustness(classifier: LandmarkClassifier, photos: Photos, batch_size: int) -> dict[str, Any]:
    """Accuracy on the same photos, changed."""
    targets, result = torch.tensor(photos.targets), {}
    for name, change in CHANGES.items():
        logits = look(classifier, photos.files(), batch_size, change=change, title=name).logits
        result[name] = accuracy_with_interval(int((logits.argmax(1) == targets).sum()), len(targets))
    return result


def _read_sources(root: Path) -> dict[str, str]:
    """The `source` of each `file` in the data's sources.csv; empty where there is none."""
    table = root / "sources.csv"
    if not table.is_file():
        return {}
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            return {row["file"]: row["source"] for row in csv.DictReader(file)}
    except (KeyError, ValueError, csv.Error, OSError):
        raise DataError(f"{table} is no table with the columns `file` and `source`; mend or remove it.") from None


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
        content = hashlib.sha256((photos.root / path).read_bytes()).hexdigest()
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
) -> dict[str, Any]:
    """Measure a MODEL, or a file of `train.export`, on one split of DATA; write `output/metrics.json` and pictures.

    `predictions.csv` names every photo, `report/index.html` shows what was found.

    Photos listed in the file `exclude` are left out, and counted in the result. With `negatives`, a folder of photos
    that show none of the landmarks, it is measured how well they are told from the others; with `robustness`, the
    accuracy on changed photos, too.
    For a run's test split the figures also go to the run's `test/metrics.json` and, in short, into its model's config;
    those with test-time augmentation, which is not how a model is served, do not.

    Returns:
        What `metrics.json` holds.

    Raises:
        LandmarkError: the model or the data can't be had, or the data has labels that the model does not know.
    """
    named = str(model) == "default" or str(model).startswith("hf-hub:")  # not a folder, whatever lies there
    exported = not named and Path(model).suffix in SUFFIXES and not Path(model).is_dir()
    if exported and (tta or negatives or robustness):
        raise DataError(f"{model} is measured as it is: --tta, --negatives and --robustness are for models.")
    if tta and negatives:
        raise DataError("--negatives are told apart as a model is served, so without --tta; leave out one of them.")
    classifier: LandmarkClassifier | ExportedModel
    if exported:
        classifier = ExportedModel(model)
    else:
        classifier = LandmarkClassifier.load(model, "cuda" if torch.cuda.is_available() else "cpu")
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
    if is_run and (tta or split != "test") and Path(output).resolve() == run.test.parent.resolve():
        raise DataError(f"{output} is for the run's plain figures on its test split; name another folder for these.")
    if Path(output).exists() and not Path(output).is_dir():
        raise DataError(f"The output {output} is a file; name a folder.")
    if isinstance(classifier, ExportedModel):
        started = time.perf_counter()
        seen = look_exported(classifier, photos.files())
        device, speed = torch.device("cpu"), len(photos) / (time.perf_counter() - started)
    else:
        seen = look(classifier, photos.files(), batch_size, tta, title=f"evaluating {split}")
        device, speed = classifier.device, inference_speed(classifier)
    failures = {photos.paths[index]: reason for index, reason in seen.failures.items()}
    for reason in failures.values():
        print(f"Left out: {reason}")
    if not seen.readable:
        raise DataError(f"None of the {len(photos)} photos under {data} can be read.")

    photos = photos.take(seen.readable)
    all_logits, targets = seen.logits, torch.tensor(photos.targets)
    metrics = figures(all_logits, targets, classifier.labels)
    if tta is None:
        metrics |= _calibration(classifier.temperature, all_logits, targets)
    if isinstance(classifier, LandmarkClassifier):
        if others:
            metrics["negatives"] = _against(classifier, all_logits, others)
        if robustness:
            metrics["robustness"] = _robustness(classifier, photos, batch_size)
    metrics["per_source"] = _per_source(photos, sources, all_logits.argmax(1) == targets)
    metrics |= {
        "model": str(model),
        "data": Path(data).resolve().name,
        "split": split,
        "digest": _digest(photos),
        "tta": tta,
        "device": device_name(device),
        "photos_per_second": round(speed, 1),
        "left_out": failures,
        "excluded": excluded,
    }
    folders = {Path(output).resolve()}
    if is_run and split == "test" and not tta:
        folders.add(run.test.parent.resolve())
        _record(run.model / CONFIG_FILE, metrics)
    try:
        for folder in folders:
            folder.mkdir(parents=True, exist_ok=True)
            write_json(folder / "metrics.json", metrics)
            write_predictions(folder / "predictions.csv", photos, all_logits.softmax(1))
            draw_confusion(all_logits.argmax(1), targets, classifier.labels, folder / "confusion.png")
        write_report(Path(output) / "report", metrics, photos, all_logits)
    except OSError as error:
        raise DataError(f"{output} can't be written: {error.strerror or error}.") from None
    return metrics


def _record(config_file: Path, metrics: dict[str, Any]) -> None:
    """Put the test figures into the model's own config."""
    config = json.loads(config_file.read_text(encoding="utf-8"))
    config["landmark"]["test"] = {key: metrics[key] for key in _RECORDED}
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
            help="default, a model or run folder, hf-hub:owner/name\\[@revision], or a FILE of train.export."
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
        Path | None, typer.Option(help="Folder of photos that show none of the landmarks, to measure against.")
    ] = None,
    robustness: Annotated[
        bool, typer.Option("--robustness", help="Measure on blurred, noisy, dark, ... photos, too: six times as long.")
    ] = False,
) -> None:
    """Measure a model on photos that it has never seen."""
    print_tables(evaluate(model, data, split, output, batch_size, exclude, tta, negatives, robustness), Console())


if __name__ == "__main__":
    run_command(lambda: typer.run(command))

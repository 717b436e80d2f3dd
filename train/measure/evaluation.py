"""How good a model is on photos that it hasn't seen: `evaluate`."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from landmark_models import models
from landmark_models.devices import device_name
from landmark_models.errors import reason
from landmark_models.files import sha256, write_json
from landmark_models.models.folder import CONFIG_FILE
from train.data import DataError, Photos, find_photos, read_exclusions
from train.draw.report import write_report
from train.draw.results import draw_confusion
from train.measure.calibration import BINS, calibration_figures
from train.measure.choices import TTA, Kind
from train.measure.corruptions import CORRUPTIONS
from train.measure.figures import Share, figures, named_figures
from train.measure.rejection import find_negatives, rejection_figures
from train.measure.sources import read_sources, source_figures
from train.measure.subject import Subject, served_model
from train.measure.tables import metrics_tables, write_predictions
from train.run import RunFolder

__all__ = ["evaluate", "robustness_figures"]

_RECORDED = ("data", "digest", "n", "excluded", "top1", "top1_ci95", "macro_f1", "ece")  # in the model's own config


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
    subject: Subject | None = None,
) -> dict[str, Any]:
    """Measure a MODEL on one split of DATA; write `metrics.json`, `predictions.csv`, `confusion.png` and `report/`.

    A run's figures on its test split also go to its `test/` folder and, in short, into its model's config; with `kind`
    elsewhere to its `elsewhere/` folder and a block of their own. Figures with test-time augmentation do not, because a
    model isn't served that way.

    Args:
        model: the MODEL, as the figures name it.
        data: the DATA.
        split: `train`, `val`, `test`, or `all` for bare class folders.
        output: the folder to write to; created if it doesn't exist.
        batch_size: photos at a time.
        exclude: a list of photos to leave out; they are counted in the result.
        tta: test-time augmentation.
        negatives: a folder of photos that show none of the landmarks, to measure how well they are rejected.
        robustness: whether accuracy is measured on corrupted photos, too.
        kind: which photos these are.
        subject: the opened model, if it isn't a MODEL but, for example, a file of `train.export`.

    Returns:
        The content of `metrics.json`.

    Raises:
        LandmarkError: the model or the data isn't available, the data has labels that the model doesn't know, or the
            run has test figures of other photos already.
    """
    subject = subject or served_model(model)
    if not subject.has_options and (tta or negatives or robustness):
        raise DataError(f"{model} is measured as it is: --tta, --negatives and --robustness are for models.")
    if tta and negatives:
        raise DataError("--negatives are measured as a model is served, without --tta; leave out one of them.")
    others = find_negatives(negatives) if negatives is not None else []
    chosen, excluded = _choose_photos(data, split, subject.labels, exclude)
    sources = read_sources(chosen.root)
    run = _recording_run(model, split, output, tta, kind)
    digest, data_name = _digest(chosen), Path(data).resolve().name
    if run and kind is Kind.test:
        _refuse_other_photos(run, data_name, digest)

    outputs = subject.predict(chosen.files(), batch_size, tta, title=f"evaluating {split}")
    left_out = {chosen.paths[index]: failure for index, failure in outputs.failures.items()}
    for failure in left_out.values():
        print(f"Left out: {failure}")
    if not outputs.readable:
        raise DataError(f"None of the {len(chosen)} photos under {data} can be read.")
    photos = chosen.take(outputs.readable)
    targets = torch.tensor(photos.targets)
    right = outputs.logits.argmax(1) == targets
    metrics = figures(outputs.logits, targets, subject.labels)
    if tta is None:
        metrics |= calibration_figures(outputs, targets, subject.temperature)
        metrics["named"] = named_figures(outputs.scores >= subject.rule.threshold, right)
    if negatives is not None:
        metrics["rejection"] = rejection_figures(subject, outputs.scores, others, negatives)
    if robustness:
        metrics["robustness"] = robustness_figures(subject, photos, batch_size)
    metrics |= {
        "per_source": source_figures(photos, sources, right),
        "model": str(model),
        "data": data_name,
        "split": split,
        "digest": _digest(photos) if left_out else digest,
        "tta": tta,
        "device": device_name(subject.device),
        "photos_per_second": round(subject.photos_per_second(), 1),
        "left_out": left_out,
        "excluded": excluded,
    }
    _write(Path(output), run, kind, metrics, photos, outputs.logits)
    return metrics


def robustness_figures(subject: Subject, photos: Photos, batch_size: int) -> dict[str, Any]:
    """The accuracy on the same photos under each of `CORRUPTIONS`."""
    targets, result = torch.tensor(photos.targets), {}
    for name, change in CORRUPTIONS.items():
        logits = subject.predict(photos.files(), batch_size, change=change, title=name).logits
        result[name] = {"n": len(targets)} | Share.of(logits.argmax(1) == targets).as_json("top1")
    return result


def _choose_photos(
    data: str | Path, split: str, labels: Sequence[str], exclude: str | Path | None
) -> tuple[Photos, int]:
    """The photos to measure on, and how many were excluded."""
    everything = find_photos(data, split, labels)
    if everything is None:
        raise DataError(f"{data} has no photos under {split!r}; choose another --split (`all` for bare class folders).")
    photos = everything.excluding(read_exclusions(exclude)) if exclude else everything
    if not len(photos):
        raise DataError(f"{exclude} leaves no photo of {data} to measure on.")
    return photos, len(everything) - len(photos)


def _digest(photos: Photos) -> str:
    """One hash of the photos' paths and contents: figures are comparable only if it is the same."""
    digest = hashlib.sha256()
    for path in sorted(photos.paths):
        digest.update(f"{path} {sha256(photos.root / path)}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()


def _recording_run(model: str | Path, split: str, output: str | Path, tta: TTA | None, kind: Kind) -> RunFolder | None:
    """The run that records these figures; None if `model` isn't a run, or they aren't plain figures of its test split.

    Raises:
        DataError: the output is a file, or a run's own folder for plain figures.
    """
    named = str(model) in models.EMBEDDED or str(model).startswith(models.PREFIX)  # even if a folder has that name
    run = RunFolder(model)
    is_run = not named and run.recipe.is_file()
    recorded = is_run and not tta and (kind is Kind.elsewhere or split == "test")
    if is_run and not recorded and Path(output).resolve() == run.test.parent.resolve():
        raise DataError(f"{output} is for the run's plain figures on its test split; name another folder for these.")
    if Path(output).exists() and not Path(output).is_dir():
        raise DataError(f"The output {output} is a file; name a folder.")
    return run if recorded else None


def _refuse_other_photos(run: RunFolder, data: str, digest: str) -> None:
    """Raise a DataError if the run has test figures of other data, because then these photos are from elsewhere."""
    if not run.test.is_file():
        return
    before = json.loads(run.test.read_text(encoding="utf-8"))
    if before.get("data") != data and before.get("digest") != digest:
        raise DataError(
            f"{run.path} has test figures already, of {before.get('n')} other photos ({before.get('data')}). Record "
            f"photos from elsewhere with --as elsewhere; if the test split has changed, remove {run.test.parent} first."
        )


def _write(
    output: Path, run: RunFolder | None, kind: Kind, metrics: dict[str, Any], photos: Photos, logits: Tensor
) -> None:
    folders = {output.resolve()}
    if run:
        folders.add((run.test if kind is Kind.test else run.elsewhere).parent.resolve())
        _record(run.model / CONFIG_FILE, kind, metrics)
    title = f"{metrics['model']} on {metrics['data']}, {metrics['split']} split"
    summary = f"{metrics['n']} photos, {metrics['device']}, {metrics['photos_per_second']} photos/s."
    try:
        for folder in folders:
            folder.mkdir(parents=True, exist_ok=True)
            write_json(folder / "metrics.json", metrics)
            write_predictions(folder / "predictions.csv", photos, logits)
            draw_confusion(logits.argmax(1), torch.tensor(photos.targets), photos.labels, folder / "confusion.png")
        write_report(output / "report", title, summary, metrics_tables(metrics), photos, logits, BINS)
    except OSError as error:
        raise DataError(f"{output} can't be written: {reason(error)}.") from None


def _record(config_file: Path, kind: Kind, metrics: dict[str, Any]) -> None:
    """Put the figures into the model's own config, in the block `test` or `elsewhere`."""
    config = json.loads(config_file.read_text(encoding="utf-8"))
    block = {key: metrics[key] for key in (*_RECORDED, "ece_plain_softmax") if key in metrics}
    block["named"] = {key: metrics["named"][key] for key in ("photos", "named", "right")}
    if rejection := metrics.get("rejection"):
        groups = [group for group in ("near", "far") if group in rejection]
        block["others"] = {group: {key: rejection[group][key] for key in ("n", "named")} for group in groups}
    block["per_class"] = {
        label: [part["n"], round(part["recall"] * part["n"])] for label, part in metrics["per_class"].items()
    }
    config["landmark"][kind.value] = block
    write_json(config_file, config)

"""How good a model is on photos that it hasn't seen: `evaluate`."""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from landmark_models.devices import device_name
from landmark_models.errors import reason
from landmark_models.files import sha256, write_json
from landmark_models.models.folder import CONFIG_FILE
from train.data import (
    DataError,
    Photos,
    check_output,
    data_name,
    dataset_of,
    find_photos,
    print_left_out,
    read_exclusions,
    split_name,
)
from train.draw.report import draw_confusion, write_report
from train.measure import TTA, Kind
from train.measure.calibration import BINS, calibration_figures
from train.measure.corruptions import robustness_figures
from train.measure.figures import figures, named_figures, read_sources, source_figures
from train.measure.predict import Logits, Subject, served_model
from train.measure.rejection import find_negatives, rejection_figures
from train.measure.reuse import describe_used, own_run, used_photos
from train.measure.tables import metrics_tables, title_of, write_predictions
from train.measure.taught import apart, read_addons
from train.run import RunFolder

_RECORDED = (  # in the model's own config
    "data", "dataset", "digest", "n", "excluded",
    "top1", "top1_ci95", "top3", "top3_ci95", "top5", "top5_ci95", "macro_f1", "ece",
)  # fmt: skip


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
    addons: Sequence[str] = (),
) -> dict[str, Any]:
    """Measure a MODEL on a split of DATA; write `metrics.json`, `predictions.csv`, `confusion.png` and `report/`.

    A run's figures on its test split also go to its `test/` folder and, in short, into its model's config; with `kind`
    elsewhere to its `elsewhere/` folder and a block of their own. Figures with test-time augmentation or with landmarks
    that it was taught don't, because a model isn't served that way. The parameters are the options of
    `python -m train.evaluate`; `subject` is the opened model if it isn't a MODEL but, for example, a file of
    `train.export`, and `addons` is `--with`. Returns the content of `metrics.json`.

    Raises:
        LandmarkError: the model or the data isn't available, the data has labels that the model doesn't know, or the
            run has test figures of other photos already.
    """
    taught, about_taught = read_addons(addons)
    split, subject = split_name(split), subject or served_model(model, taught)
    others = _choose_negatives(subject, model, tta, negatives, robustness or bool(taught))
    chosen, excluded = _choose_photos(data, split, subject.labels, exclude)
    check_output(output, data)
    sources = read_sources(chosen.root)
    about = {"model": str(model), "data": data_name(data), "split": split, "digest": _digest(chosen)}
    if dataset := dataset_of(chosen.root):
        about["dataset"] = dataset
    own = own_run(model)
    run = _recording_run(own, about, output, kind, plain=tta is None and not taught)
    used, warning = _used(own, chosen, split)
    if used:
        run = None
    if warning:
        print(f"Warning: {warning}")

    outputs = subject.predict(chosen.files(), batch_size, tta, title=f"evaluating {split}")
    photos, left_out = _leave_out(chosen, outputs.failures, data)
    if left_out:
        about["digest"] = _digest(photos)
    right = outputs.logits.argmax(1) == torch.tensor(photos.targets)
    metrics = _figures(subject, outputs, photos, right, calibrated=tta is None)
    if negatives is not None:
        metrics["rejection"] = rejection_figures(subject, outputs.scores, others, negatives, own)
    if robustness:
        metrics["robustness"] = robustness_figures(subject, photos, batch_size)
    speed = round(subject.photos_per_second(), 1)
    metrics |= {"per_source": source_figures(photos, sources, right), **about, "tta": tta}
    metrics |= {"device": device_name(subject.device), "photos_per_second": speed, "speed_of": subject.speed_of}
    metrics |= {"left_out": left_out, "excluded": excluded, "used": used}
    metrics |= {"with": about_taught} if taught else {}
    _write(Path(output), run, kind, metrics, photos, outputs.logits, warning)
    return metrics


def _used(run: RunFolder | None, photos: Photos, split: str) -> tuple[dict[str, int], str]:
    """How many of the photos the run itself used, if any, and what to say about it."""
    if run is None:
        known = split in ("train", "val")
        return {}, known * f"If the model was trained on this {split} split, its figures on it are too good."
    used = used_photos(run, photos)
    return (used, describe_used(used, len(photos))) if used else ({}, "")


def _choose_negatives(
    subject: Subject, model: str | Path, tta: TTA | None, negatives: str | Path | None, other_options: bool
) -> list[Path]:
    """The photos of other things; a DataError if these options don't go together."""
    if not subject.has_options and (tta or negatives or other_options):
        raise DataError(f"{model} is measured as it is: --tta, --negatives, --robustness and --with are for models.")
    if tta and negatives:
        raise DataError("--negatives are measured as a model is served, without --tta; leave out one of them.")
    return find_negatives(negatives) if negatives is not None else []


def _leave_out(chosen: Photos, failures: dict[int, str], data: str | Path) -> tuple[Photos, dict[str, str]]:
    """The photos that could be read, and why each of the others couldn't, by path; these reasons are printed."""
    left_out = {chosen.paths[index]: failure for index, failure in failures.items()}
    for failure in left_out.values():
        print(f"Left out: {failure}")
    if len(left_out) == len(chosen):
        raise DataError(f"None of the {len(chosen)} photos under {data} can be read.")
    return chosen.excluding(left_out), left_out


def _figures(subject: Subject, outputs: Logits, photos: Photos, right: Tensor, calibrated: bool) -> dict[str, Any]:
    targets = torch.tensor(photos.targets)
    metrics = figures(outputs.logits, targets, subject.labels)
    if calibrated:
        metrics |= calibration_figures(outputs, targets, subject.temperature)
        named = outputs.scores >= subject.rule.threshold
        metrics["named"] = named_figures(named, right)
        if subject.own < len(subject.labels):
            metrics["apart"] = apart(outputs.logits.argmax(1), named, targets, subject.own)
    return metrics


def _choose_photos(
    data: str | Path, split: str, labels: Sequence[str], exclude: str | Path | None
) -> tuple[Photos, int]:
    """The photos to measure on, and how many were excluded."""
    left_out: Counter[str] = Counter()
    everything = find_photos(data, split, labels, left_out)
    print_left_out(data, left_out)
    if everything is None:
        raise DataError(
            f"The folder {data} has no photos under {split!r}; choose another --split (`all` for bare class folders)."
        )
    photos = everything.excluding(read_exclusions(exclude, data)) if exclude else everything
    if not len(photos):
        raise DataError(f"{exclude} leaves no photo of {data} to measure on.")
    return photos, len(everything) - len(photos)


def _digest(photos: Photos) -> str:
    """One hash of the photos' paths and contents: figures are comparable only if it is the same."""
    digest = hashlib.sha256()
    for path in sorted(photos.paths):
        digest.update(f"{path} {sha256(photos.root / path)}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()


def _recording_run(
    run: RunFolder | None, about: dict[str, str], output: str | Path, kind: Kind, plain: bool
) -> RunFolder | None:
    """The run that records these figures, if the model is one and they are plain figures of its test split.

    A DataError if the output is a run's own folder for plain figures, or if the run has test figures of
    other data, because then these photos are from elsewhere.
    """
    recorded = plain and (kind is Kind.elsewhere or about["split"] == "test")
    own_output = recorded and kind is Kind.test
    if run and not own_output and Path(output).resolve() == run.test.parent.resolve():
        raise DataError(f"{output} is for the run's plain figures on its test split; name another folder for these.")
    if run and recorded and kind is Kind.test and run.test.is_file():
        before = json.loads(run.test.read_text(encoding="utf-8"))
        if before.get("data") != about["data"] and before.get("digest") != about["digest"]:
            raise DataError(
                f"{run.path} has test figures already, of {before.get('n')} other photos ({before.get('data')}). "
                "Record photos from elsewhere with --as elsewhere; if the test split has changed, remove "
                f"{run.test.parent} first."
            )
    return run if run and recorded else None


def _write(
    output: Path,
    run: RunFolder | None,
    kind: Kind,
    metrics: dict[str, Any],
    photos: Photos,
    logits: Tensor,
    warning: str,
) -> None:
    folders = {output.resolve()}
    if run:
        folders.add((run.test if kind is Kind.test else run.elsewhere).parent.resolve())
        _record(run.model / CONFIG_FILE, kind, metrics)
    speed = f"{metrics['photos_per_second']} photos/s ({metrics['speed_of']})"
    summary = f"{metrics['n']} photos; {speed} on {metrics['device']}. {warning}".strip()
    try:
        for folder in folders:
            folder.mkdir(parents=True, exist_ok=True)
            write_json(folder / "metrics.json", metrics)
            write_predictions(folder / "predictions.csv", photos, logits)
            draw_confusion(logits.argmax(1), torch.tensor(photos.targets), photos.labels, folder / "confusion.png")
        write_report(output / "report", title_of(metrics), summary, metrics_tables(metrics), photos, logits, BINS)
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

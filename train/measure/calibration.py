"""Calibration: a temperature and a rejection rule, fitted on the validation photos of a run."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torchmetrics.functional.classification import multiclass_calibration_error

from landmark_models.classifier import LandmarkClassifier
from landmark_models.devices import best_device
from landmark_models.errors import LandmarkError
from landmark_models.files import write_json
from landmark_models.models.folder import CONFIG_FILE
from landmark_models.rejection import LOGIT_SCORES, KnownRule
from train.data import DataError, Photos, data_name, find_photos, print_left_out
from train.measure.predict import Logits, predict_scores
from train.measure.rejection import choose_rule, find_negatives, is_near, kind_of, score_words
from train.measure.reuse import note_rule_photos
from train.run import RunFolder

BINS = 15
_LEAST, _MOST = 0.1, 10.0  # temperatures
_FEWEST = 50  # photos to fit a temperature on; a few photos that are all right, or one bad mistake, say too little


def fit_temperature(logits: Tensor, targets: Tensor, least: float = _LEAST) -> float:
    """The temperature, from `least` to 10, that minimises the mean cross entropy of logits `(N, classes)`.

    See Guo et al. (2017). If all photos are right, the lower the better; then a share of 1 / (N + 2) of each target
    goes to the other classes, which is what the rule of succession expects of another photo (Platt 1999).
    """
    all_right = bool((logits.argmax(1) == targets).all())
    smoothing = 1 / (len(targets) + 2) if all_right else 0.0
    logarithm = torch.zeros((), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([logarithm], max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(logits.double() / logarithm.exp(), targets, label_smoothing=smoothing)
        loss.backward()
        return loss

    optimizer.step(closure)
    return float(np.clip(logarithm.exp().item(), least, _MOST))


def _checked_temperature(logits: Tensor, targets: Tensor) -> tuple[float, str | None]:
    """The fitted temperature, or 1 and why it stays 1."""
    if len(targets) < _FEWEST:
        return 1.0, f"{len(targets)} validation photos are too few to fit one on ({_FEWEST} would do)"
    temperature = fit_temperature(logits, targets)
    if not _LEAST < temperature < _MOST:
        return 1.0, f"the one that fits the validation photos best is not between {_LEAST} and {_MOST:.0f}"
    before, after = (expected_calibration_error(scaled, targets) for scaled in (logits, logits / temperature))
    if after > before:
        error = f"expected calibration error on the validation photos from {100 * before:.2f} to {100 * after:.2f}%"
        return 1.0, f"{temperature:.3f}, fitted by the likelihood, would raise the {error}"
    return temperature, None


def expected_calibration_error(logits: Tensor, targets: Tensor) -> float:
    """The mean distance of confidence from accuracy over `BINS` bins of equal width (Naeini et al. 2015), 0 to 1."""
    return float(multiclass_calibration_error(logits.softmax(1), targets, logits.shape[1], n_bins=BINS, norm="l1"))


def perfect_calibration_error(logits: Tensor, draws: int = 200) -> float:
    """The mean `expected_calibration_error` of a perfectly calibrated model with the same confidences.

    It isn't 0, because the photos are few.
    """
    confidences = logits.softmax(1).amax(1).double().numpy()
    generator = np.random.default_rng(0)
    bins = np.minimum((confidences * BINS).astype(int), BINS - 1)
    errors = []
    for _ in range(draws):
        surplus = confidences - (generator.random(len(confidences)) < confidences)
        errors.append(np.abs(np.bincount(bins, surplus, BINS)).sum() / len(confidences))
    return float(np.mean(errors))


def calibration_figures(outputs: Logits, targets: Tensor, temperature: float) -> dict[str, float]:
    """The calibration error as served, without the temperature, of a perfect model, and of the plain network."""
    figures = {
        "temperature": temperature,
        "ece": expected_calibration_error(outputs.logits, targets),
        "ece_uncalibrated": expected_calibration_error(outputs.logits * temperature, targets),
        "ece_if_perfect": perfect_calibration_error(outputs.logits),
    }
    if outputs.plain is not None:
        figures["ece_plain_softmax"] = expected_calibration_error(outputs.plain, targets)
    return figures


def calibrate(
    run: RunFolder, negatives: str | Path | None = None, validation_from: str | Path | None = None
) -> dict[str, Any]:
    """Fit the temperature and the rejection rule on the validation photos, and write them into the model's config.

    The rule is chosen with `negatives`, a folder of photos that show none of the landmarks, with a folder for each
    kind; and on DATA from elsewhere (its `test`, or bare classes) instead of the validation photos, if that is given.
    Returns `temperature`, `known` (the rule), and `calibration` (the figures on the validation photos). The temperature
    stays 1, and `calibration` says why under `not_fitted`, if the photos are too few, or if it would make things worse.

    Raises:
        LandmarkError: the run has no validation outputs or too few of them, or no photo can be read. Nothing is
            written.
    """
    logits, targets, kept_scores = run.kept_validation()
    count, classes = logits.shape
    if count < 2 * classes:
        raise LandmarkError(
            f"{count} validation photos are fewer than two for each of the {classes} classes, too few to calibrate on: "
            "use a larger val_fraction, or more photos."
        )
    temperature, why_not = _checked_temperature(logits, targets)
    calibrated = logits / temperature
    figures: dict[str, Any] = {
        "n": count,
        "ece_before": expected_calibration_error(logits, targets),
        "ece": expected_calibration_error(calibrated, targets),
    }
    if why_not:
        figures["not_fitted"] = why_not
    scores = {name: score(calibrated) for name, score in LOGIT_SCORES.items()} | kept_scores
    right = logits.argmax(1) == targets
    rule, chosen = _choose_rule(run, temperature, scores, right, negatives, validation_from)
    known = {"score": rule.score, "threshold": rule.threshold}
    result = {"temperature": temperature, "known": known, "calibration": figures | chosen}
    _write(run, result)
    return result


def _choose_rule(
    run: RunFolder,
    temperature: float,
    scores: dict[str, Tensor],
    right: Tensor,
    negatives: str | Path | None,
    validation_from: str | Path | None,
) -> tuple[KnownRule, dict[str, Any]]:
    """The rule, and what it was chosen on with how well it does there: the validation photos, or those given."""
    chosen_on: dict[str, Any] = {"data": "validation", "n": len(right)}
    others, near = None, None
    elsewhere: list[Path] = []
    files: list[Path] = []
    if negatives is not None or validation_from is not None:
        classifier = LandmarkClassifier.load(run.path, best_device(), "torch")
        classifier.served.temperature = temperature
        if validation_from is not None:
            scores, right, elsewhere = _scores_elsewhere(classifier, validation_from)
            name = data_name(validation_from)
            own = name == chosen_on["data"]  # a folder of this name isn't the validation split
            folder = Path(validation_from).resolve().parent.name
            chosen_on = {"data": f"{folder}/{name}" if own else name, "n": len(right)}
        if negatives is not None:
            files = find_negatives(negatives)
            others, readable, _ = _scores(classifier, files, negatives, "negatives")
            near = torch.tensor([is_near(kind_of(files[index], negatives)) for index in readable])
            chosen_on["negatives"] = Path(negatives).resolve().name
    rule, figures = choose_rule(scores, right, others, near)
    note_rule_photos(run, elsewhere=elsewhere, negatives=files)
    return rule, {"rule_chosen_on": chosen_on, **figures}


def photos_elsewhere(data: str | Path, labels: Sequence[str], left_out: Counter[str] | None = None) -> Photos:
    """The photos in DATA's `test`, or in bare class folders; a DataError if there are none or their labels differ."""
    photos = find_photos(data, "test", labels, left_out) or find_photos(data, "all", labels, left_out)
    assert photos is not None  # `all` finds photos or raises
    return photos


def _scores_elsewhere(classifier: LandmarkClassifier, data: str | Path) -> tuple[dict[str, Tensor], Tensor, list[Path]]:
    """Every score of the photos that `photos_elsewhere` finds, whether each one's top label is right, and the files."""
    left_out: Counter[str] = Counter()
    photos = photos_elsewhere(data, classifier.labels, left_out)
    print_left_out(data, left_out)
    scores, readable, predicted = _scores(classifier, photos.files(), data, "photos from elsewhere")
    if not readable:
        raise DataError(f"None of the {len(photos)} photos in {data} can be read.")
    return scores, predicted == torch.tensor(photos.take(readable).targets), photos.files()


def _scores(
    classifier: LandmarkClassifier, files: Sequence[Path], folder: str | Path, title: str
) -> tuple[dict[str, Tensor], list[int], Tensor]:
    """What `predict_scores` returns; prints how many photos can't be read."""
    scores, readable, predicted = predict_scores(classifier, files, title)
    if unreadable := len(files) - len(readable):
        print(f"{unreadable} of the {len(files)} photos in {folder} can't be read and are left out.")
    return scores, readable, predicted


def _write(run: RunFolder, result: dict[str, Any]) -> None:
    """Put the result into the model's config; figures of another rule are removed, until it is evaluated again."""
    config_file = run.model / CONFIG_FILE
    config = json.loads(config_file.read_text(encoding="utf-8"))
    landmark = config["landmark"]
    if landmark.get("known") != result["known"]:
        for block in (landmark.get("test", {}), landmark.get("elsewhere", {})):
            for name in ("named", "others"):
                block.pop(name, None)
    landmark.update(result)
    with run.writing():
        write_json(config_file, config)


def describe_calibration(result: dict[str, Any]) -> str:
    """What `calibrate` returned, in sentences for a terminal."""
    figures, rule = result["calibration"], result["known"]
    chosen_on = figures["rule_chosen_on"]
    where = "these" if chosen_on["data"] == "validation" else f'{chosen_on["n"]} photos from "{chosen_on["data"]}"'
    if why_not := figures.get("not_fitted"):
        fitted = f"The temperature stays 1: {why_not}. "
    else:
        fitted = (
            f"Calibrated on {figures['n']} validation photos: temperature {result['temperature']:.3f}, expected "
            f"calibration error {100 * figures['ece_before']:.2f}% before, {100 * figures['ece']:.2f}% after. "
        )
    text = (
        f"{fitted}A photo is named if its {score_words(rule['score'])} is at least {rule['threshold']:.3f}: "
        f"{100 * figures['true_accepts']:.1f}% of {where}"
    )
    if "others" not in figures:
        return f"{text}. The rule was chosen without photos of other things; give some with --negatives."
    groups = [f"{group['named']} of {group['n']} {name} ones" for name, group in figures["others"].items()]
    return f"{text} ({100 * figures['named_rightly']:.1f}% rightly); of photos of other things, {', '.join(groups)}."

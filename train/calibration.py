"""Scores that mean what they say, and a rule for photos of none of the landmarks: fitted on validation photos.

Every training ends with this; the command does it anew, e.g. with photos of other things:

python -m train.calibration runs/first --negatives everyday_photos/
"""

import contextlib
import json
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from rich.console import Console
from safetensors.torch import load_file, save
from sklearn.metrics import roc_auc_score, roc_curve
from torch import Tensor, nn
from torchmetrics.functional.classification import multiclass_calibration_error

from landmark_models.classifier import LandmarkClassifier
from landmark_models.errors import LandmarkError, PhotoError, run_command
from landmark_models.files import beside, write_json
from landmark_models.model_folder import CONFIG_FILE
from landmark_models.photo import open_photo
from landmark_models.unknown import SCORES, KnownRule
from train.data import DataError, find_unlabelled
from train.run import RunFolder
from train.views import look

__all__ = [
    "BINS",
    "calibrate",
    "expected_calibration_error",
    "find_negatives",
    "fit_known_rule",
    "fit_temperature",
    "keep_validation",
    "perfect_calibration_error",
    "sentences",
]

BINS = 15
_TRUE_ACCEPTS = 0.95  # of validation photos, where no others are given to tell them from
_LEAST_TRUE_ACCEPTS = 0.9  # and at least, where others are


def fit_temperature(logits: Tensor, targets: Tensor) -> float:
    """The temperature at which logits `(N, classes)` have the least mean cross entropy (Guo et al. 2017)."""
    logarithm = torch.zeros((), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([logarithm], max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(logits.double() / logarithm.exp(), targets)
        loss.backward()
        return loss

    optimizer.step(closure)
    return float(np.clip(logarithm.exp().item(), 0.1, 10))  # nothing else stops it where all photos are right


def expected_calibration_error(logits: Tensor, targets: Tensor) -> float:
    """The mean distance of confidence and accuracy over `BINS` bins of equal width (Naeini et al. 2015), 0 to 1."""
    return float(multiclass_calibration_error(logits.softmax(1), targets, logits.shape[1], n_bins=BINS, norm="l1"))


def perfect_calibration_error(logits: Tensor, draws: int = 200) -> float:
    """What `expected_calibration_error` is on average where the same confidences are right just as often as they say.

    It is not 0, because so many photos are so few.
    """
    confidences = logits.softmax(1).amax(1).double().numpy()
    generator = np.random.default_rng(0)
    bins = np.minimum((confidences * BINS).astype(int), BINS - 1)
    errors = []
    for _ in range(draws):
        surplus = confidences - (generator.random(len(confidences)) < confidences)
        errors.append(np.abs(np.bincount(bins, surplus, BINS)).sum() / len(confidences))
    return float(np.mean(errors))


def fit_known_rule(logits: Tensor, negatives: Tensor | None = None) -> tuple[KnownRule, dict[str, Any]]:
    """The rule that tells photos of the model's landmarks from others, and how well it does so on these photos.

    Args:
        logits: of validation photos, `(N, classes)`, temperature applied.
        negatives: of photos of anything else, `(M, classes)`. With them the score is the one that ranks best (AUROC),
            and its threshold where the most of either are told right (Youden 1950) while 90 % of the landmarks are
            still named. Without, it is the maximum logit that 95 % of the validation photos reach.
    """
    if negatives is None:
        threshold = float(SCORES["max_logit"](logits).quantile(1 - _TRUE_ACCEPTS))
        return KnownRule("max_logit", threshold), {"true_accepts": _TRUE_ACCEPTS}
    shows = np.r_[np.ones(len(logits)), np.zeros(len(negatives))]
    both = torch.cat([logits, negatives])
    ranks = {name: float(roc_auc_score(shows, score(both))) for name, score in SCORES.items()}
    best = max(ranks, key=lambda name: ranks[name])
    false, true, thresholds = roc_curve(shows, SCORES[best](both).numpy())
    where = int(np.argmax(np.where(true >= _LEAST_TRUE_ACCEPTS, true - false, -1.0)))
    found = {"negatives": len(negatives), "auroc": ranks, "true_accepts": float(true[where])}
    return KnownRule(best, float(thresholds[where])), found | {"false_accepts": float(false[where])}


def find_negatives(folder: str | Path) -> list[Path]:
    """The photos in a folder and all below it, which show none of the landmarks.

    Raises:
        DataError: there is none that can be read.
    """
    folder = Path(folder)
    files = [Path(path) for paths in find_unlabelled([folder], folder) for path in paths]
    for file in files:
        with contextlib.suppress(PhotoError):
            open_photo(file)
            return files
    raise DataError(f"None of the {len(files)} photos in {folder} can be read.")


def calibrate(run: RunFolder, negatives: str | Path | None = None) -> dict[str, Any]:
    """Fit temperature and rule on the validation logits that the run left, and write them into its model's config.

    Args:
        run: a run that has ended.
        negatives: a folder of photos that show none of the landmarks.

    Returns:
        What was found: `temperature`, `known`, and the figures on the validation photos, `calibration`.

    Raises:
        LandmarkError: the run has no validation logits, or too few, or no negative can be read; nothing is written.
    """
    file = run.validation
    if not file.is_file():
        raise LandmarkError(
            f"{run.path} holds no {file.name}, which a training leaves at its end; train it to the end."
        )
    kept = load_file(file)
    logits, targets = kept["logits"], kept["targets"]
    count, classes = logits.shape
    if count < 2 * classes:
        raise LandmarkError(
            f"{count} validation photos are fewer than two for each of the {classes} classes, too few to calibrate by: "
            "take a larger val_fraction, or more photos."
        )
    temperature = fit_temperature(logits, targets)
    others = None
    if negatives is not None:
        classifier = LandmarkClassifier.load(run.path, "cuda" if torch.cuda.is_available() else "cpu")
        others = look(classifier, find_negatives(negatives), title="negatives").logits
        others = others * classifier.temperature / temperature
    calibrated = logits / temperature
    rule, found = fit_known_rule(calibrated, others)
    result = {
        "temperature": temperature,
        "known": {"score": rule.score, "threshold": rule.threshold},
        "calibration": {
            "n": count,
            "ece_before": expected_calibration_error(logits, targets),
            "ece": expected_calibration_error(calibrated, targets),
            **found,
        },
    }
    config_file = run.model / CONFIG_FILE
    config = json.loads(config_file.read_text(encoding="utf-8"))
    config["landmark"].update(result)
    with run.writing():
        write_json(config_file, config)
    return result


def keep_validation(run: RunFolder, logits: Tensor, targets: Tensor) -> None:
    """Write the run's validation logits `(N, classes)`, of a model that was not trained on these photos."""
    with run.writing(), beside(run.validation) as scratch:
        scratch.write_bytes(save({"logits": logits.float().cpu().contiguous(), "targets": targets.cpu()}))


def sentences(result: dict[str, Any]) -> str:
    """What a calibration found, for a terminal."""
    found = result["calibration"]
    text = (
        f"Calibrated on {found['n']} validation photos: temperature {result['temperature']:.3f}, expected calibration "
        f"error {100 * found['ece_before']:.2f} % before, {100 * found['ece']:.2f} % after. "
        f"Known is what has a {result['known']['score']} of at least {result['known']['threshold']:.3f}: "
        f"{100 * found['true_accepts']:.1f} % of these photos"
    )
    if "negatives" in found:
        return f"{text}, and {100 * found['false_accepts']:.1f} % of {found['negatives']} photos of something else."
    return f"{text}. Photos of other things were not looked at: give some by --negatives."


def command(
    run: Annotated[Path, typer.Argument(help="The folder of a run that has ended.")],
    negatives: Annotated[
        Path | None, typer.Option(help="Folder of photos that show none of the landmarks, with all below it.")
    ] = None,
) -> None:
    """Fit a model's temperature, and its rule for photos of none of its landmarks, on the run's validation photos."""
    Console().print(sentences(calibrate(RunFolder(run), negatives)), soft_wrap=True)


if __name__ == "__main__":
    run_command(lambda: typer.run(command))

"""Scores that mean what they say, and a rule for photos of none of the landmarks: fitted on validation photos.

Every training ends with this; the command does it anew, e.g. with photos of other things:

python -m train.calibration runs/first --negatives negatives/choose --validation-from wild/choose
"""

import contextlib
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from rich.console import Console
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn
from torchmetrics.functional.classification import multiclass_calibration_error

from landmark_models.classifier import LandmarkClassifier
from landmark_models.devices import best_device
from landmark_models.errors import LandmarkError, PhotoError, run_command
from landmark_models.files import PHOTO_SUFFIXES, write_json
from landmark_models.models.folder import CONFIG_FILE
from landmark_models.photo import open_photo
from landmark_models.rejection import LOGIT_SCORES, KnownRule
from train.data import DataError, find_photos, find_unlabelled
from train.measure.predict import predict_scores
from train.run import RunFolder

__all__ = [
    "BINS",
    "FAR_AIM",
    "NEAR_AIM",
    "calibrate",
    "choose_rule",
    "describe_calibration",
    "expected_calibration_error",
    "find_negatives",
    "fit_temperature",
    "is_near",
    "perfect_calibration_error",
]

BINS = 15
FAR_AIM, NEAR_AIM = 0.03, 0.08  # largest shares of far and of near negatives that the rule may name
_TRUE_ACCEPTS = 0.95  # of validation photos, where no negatives are given
_NEAR_KINDS = ("other_landmarks", "streets_buildings")


def is_near(kind: str) -> bool:
    """Whether negatives of this kind (the name of their folder) look like landmarks: other landmarks, city streets.

    Folders are near that are called `other_landmarks`, `streets_buildings`, or `near...`.
    """
    return kind in _NEAR_KINDS or kind.startswith("near")


def fit_temperature(logits: Tensor, targets: Tensor, least: float = 0.1) -> float:
    """The temperature, from `least` to 10, at which logits `(N, classes)` have the least mean cross entropy.

    See Guo et al. (2017).
    """
    logarithm = torch.zeros((), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([logarithm], max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(logits.double() / logarithm.exp(), targets)
        loss.backward()
        return loss

    optimizer.step(closure)
    return float(np.clip(logarithm.exp().item(), least, 10))  # nothing else stops it where all photos are right


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


def choose_rule(
    scores: Mapping[str, Tensor],
    right: Tensor,
    negatives: Mapping[str, Tensor] | None = None,
    near: Tensor | None = None,
) -> tuple[KnownRule, dict[str, Any]]:
    """The rule that names most landmarks rightly while it names few photos of anything else, as it is measured here.

    Args:
        scores: of photos of landmarks, by the name of the score, `(N,)` each.
        right: whether the most likely label is the right one, bool `(N,)`.
        negatives: the same scores of photos of anything else, `(M,)` each. Without, the rule is the threshold that 95 %
            of the landmarks reach, of the whitened cosine where there is one, else of the maximum logit.
        near: which of these look like landmarks, bool `(M,)`.

    Returns:
        The rule, and how well it does on these photos. Of the scores the one is chosen that names the largest share of
        the landmarks rightly where at most `FAR_AIM` of the far and `NEAR_AIM` of the near negatives are named.
    """
    if negatives is None or near is None:
        name = "whitened_cosine" if "whitened_cosine" in scores else "max_logit"
        return KnownRule(name, float(scores[name].quantile(1 - _TRUE_ACCEPTS))), {"true_accepts": _TRUE_ACCEPTS}
    ranked: dict[str, Any] = {}
    for name, score in sorted(scores.items(), key=lambda item: item[0] != "whitened_cosine"):  # it wins a tie
        others = negatives[name]
        limits = [_limit(others[~near], FAR_AIM), _limit(others[near], NEAR_AIM), float(score.amin())]
        threshold = max(limits)
        named = score >= threshold
        ranked[name] = {
            "threshold": threshold,
            "named_rightly": float((named & right).float().mean()),
            "named_wrongly": float((named & ~right).float().mean()),
            "auroc": float(
                roc_auc_score(np.r_[np.ones(len(score)), np.zeros(len(others))], torch.cat([score, others]))
            ),
        }
    best = max(ranked, key=lambda name: (ranked[name]["named_rightly"], round(ranked[name]["auroc"], 4)))
    rule = KnownRule(best, ranked[best]["threshold"])
    others = negatives[best] >= rule.threshold
    found = {
        "aim": {"far": FAR_AIM, "near": NEAR_AIM},
        "others": {
            group: {"n": int(members.sum()), "named": int((others & members).sum())}
            for group, members in (("far", ~near), ("near", near))
        },
        "true_accepts": float((scores[best] >= rule.threshold).float().mean()),
        "named_rightly": ranked[best]["named_rightly"],
        "scores": ranked,
    }
    return rule, found


def _limit(scores: Tensor, share: float) -> float:
    """The least threshold that at most this share of the scores reach; minus infinity where there are none."""
    if not len(scores):
        return -math.inf
    last = scores.sort(descending=True).values[math.floor(share * len(scores))]
    return float(torch.nextafter(last, torch.tensor(math.inf)))


def find_negatives(folder: str | Path) -> list[Path]:
    """The photos in a folder and all below it, which show none of the landmarks.

    Raises:
        DataError: there is none that can be read.
    """
    folder = Path(folder)
    find_unlabelled([folder], folder)  # raises where there is no folder, or no photo
    files = sorted(_photos_below(folder, {folder.resolve()}))
    for file in files:
        with contextlib.suppress(PhotoError):
            open_photo(file)
            return files
    raise DataError(f"None of the {len(files)} photos in {folder} can be read.")


def calibrate(
    run: RunFolder, negatives: str | Path | None = None, validation_from: str | Path | None = None
) -> dict[str, Any]:
    """Fit temperature and rule on the validation photos, and write them into the config of the run's model.

    Args:
        run: a run that has ended, which left its outputs for the validation photos.
        negatives: a folder of photos that show none of the landmarks; a folder in it for each kind.
        validation_from: a DATA folder (its `test`, or bare classes) of photos from elsewhere, on which the rule is
            chosen instead of the validation photos.

    Returns:
        What was found: `temperature`, `known`, and the figures on the validation photos, `calibration`.

    Raises:
        LandmarkError: the run has no validation logits, or too few, or no photo can be read; nothing is written.
    """
    logits, targets, kept_scores = run.kept_validation()
    count, classes = logits.shape
    if count < 2 * classes:
        raise LandmarkError(
            f"{count} validation photos are fewer than two for each of the {classes} classes, too few to calibrate by: "
            "take a larger val_fraction, or more photos."
        )
    temperature = fit_temperature(logits, targets)
    calibrated = logits / temperature
    right = logits.argmax(1) == targets
    scores = {name: score(calibrated) for name, score in LOGIT_SCORES.items()} | kept_scores
    chosen_on = {"data": "validation", "n": count}
    others, near, kinds = None, None, {}
    if negatives is not None or validation_from is not None:
        classifier = LandmarkClassifier.load(run.path, best_device(), "torch")
        classifier.served.temperature = temperature
        if validation_from is not None:
            scores, right = _scores_elsewhere(classifier, validation_from)
            chosen_on = {"data": Path(validation_from).resolve().name, "n": len(right)}
        if negatives is not None:
            files = find_negatives(negatives)
            found_scores, readable, _ = predict_scores(classifier, files, title="negatives")
            _say_left_out(len(files) - len(readable), len(files), negatives)
            others = {name: found_scores[name] for name in scores}
            near = torch.tensor([is_near(kind_of(files[index], negatives)) for index in readable])
            kinds = {"negatives": Path(negatives).resolve().name}
    rule, found = choose_rule(scores, right, others, near)
    result = {
        "temperature": temperature,
        "known": {"score": rule.score, "threshold": rule.threshold},
        "calibration": {
            "n": count,
            "ece_before": expected_calibration_error(logits, targets),
            "ece": expected_calibration_error(calibrated, targets),
            "rule_chosen_on": chosen_on | kinds,
            **found,
        },
    }
    config_file = run.model / CONFIG_FILE
    config = json.loads(config_file.read_text(encoding="utf-8"))
    if config["landmark"].get("known") != result["known"]:
        _forget_named(config["landmark"])
    config["landmark"].update(result)
    with run.writing():
        write_json(config_file, config)
    return result


def _forget_named(landmark: dict[str, Any]) -> None:
    """Take out of a model's figures what followed from its old rule; evaluating it again puts it back."""
    for block in (landmark.get("test", {}), landmark.get("elsewhere", {})):
        for name in ("named", "others"):
            block.pop(name, None)


def _photos_below(folder: Path, seen: set[Path]) -> Iterator[Path]:
    """Photos in a folder and all below it, hidden ones left out, as they are named there; links are followed once."""
    for entry in folder.iterdir():
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            if entry.resolve() not in seen:
                seen.add(entry.resolve())
                yield from _photos_below(entry, seen)
        elif entry.suffix.lower() in PHOTO_SUFFIXES and entry.is_file():
            yield entry


def kind_of(file: Path, negatives: str | Path) -> str:
    """The kind of a negative: the folder right below DIR that it is in; empty for one in DIR itself."""
    parts = file.relative_to(Path(negatives)).parts
    return parts[0] if len(parts) > 1 else ""


def _scores_elsewhere(classifier: LandmarkClassifier, data: str | Path) -> tuple[dict[str, Tensor], Tensor]:
    """Every score of the photos in DATA's `test`, or in bare class folders, and whether each is named rightly.

    Raises:
        DataError: there is no such photo, or it has labels that the model does not know.
    """
    photos = find_photos(data, "test", classifier.labels) or find_photos(data, "all", classifier.labels)
    assert photos is not None  # `all` finds photos or raises
    scores, readable, named = predict_scores(classifier, photos.files(), title="photos from elsewhere")
    if not readable:
        raise DataError(f"None of the {len(photos)} photos in {data} can be read.")
    _say_left_out(len(photos) - len(readable), len(photos), data)
    return scores, named == torch.tensor(photos.take(readable).targets)


def _say_left_out(unreadable: int, count: int, folder: str | Path) -> None:
    if unreadable:
        print(f"{unreadable} of the {count} photos in {folder} can't be read and are left out.")


def describe_calibration(result: dict[str, Any]) -> str:
    """What a calibration found, for a terminal."""
    found = result["calibration"]
    text = (
        f"Calibrated on {found['n']} validation photos: temperature {result['temperature']:.3f}, expected calibration "
        f"error {100 * found['ece_before']:.2f} % before, {100 * found['ece']:.2f} % after. "
        f"A photo is named where its {result['known']['score']} is at least {result['known']['threshold']:.3f}: "
    )
    chosen_on = found["rule_chosen_on"]
    where = "these" if chosen_on["data"] == "validation" else f"{chosen_on['n']} photos of {chosen_on['data']}"
    text += f"{100 * found['true_accepts']:.1f} % of {where}"
    if "others" not in found:
        return f"{text}. No photos of other things were looked at: give some with --negatives."
    groups = [f"{group['named']} of {group['n']} {name} ones" for name, group in found["others"].items()]
    return f"{text} ({100 * found['named_rightly']:.1f} % rightly); of photos of other things, {', '.join(groups)}."


def command(
    run: Annotated[Path, typer.Argument(help="The folder of a run that has ended.")],
    negatives: Annotated[
        Path | None,
        typer.Option(help="Folder of photos that show none of the landmarks; a folder in it for each kind."),
    ] = None,
    validation_from: Annotated[
        Path | None,
        typer.Option(help="DATA of photos from elsewhere to choose the rule on, in place of the split's own."),
    ] = None,
) -> None:
    """Fit a model's temperature, and its rule for photos of none of its landmarks, on the run's validation photos."""
    Console().print(describe_calibration(calibrate(RunFolder(run), negatives, validation_from)), soft_wrap=True)


if __name__ == "__main__":
    run_command(lambda: typer.run(command))

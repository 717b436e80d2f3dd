"""Rejecting photos of anything else: the negatives, the rule that is chosen on them, and how well it does."""

import contextlib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from landmark_models.errors import PhotoError
from landmark_models.photo import open_photo
from landmark_models.rejection import KnownRule
from landmark_models.text import percent
from train.data import DataError, photos_below
from train.measure.figures import share
from train.measure.predict import Subject
from train.measure.reuse import warn_of_rule_photos
from train.run import RunFolder

FAR_AIM, NEAR_AIM = 0.03, 0.08  # the largest shares of far and of near negatives that the rule may accept
_TRUE_ACCEPTS = 0.95  # the share of validation photos to accept, where there are no negatives
_SCORES = {
    "max_softmax": "largest probability",
    "max_logit": "largest logit",
    "standardized_max_logit": "standardised largest logit",
    "whitened_cosine": "whitened cosine to the nearest class mean",
    "nearest_mean": "cosine to the nearest class mean",
    "fdbd": "distance to the decision boundaries",
}
WITHOUT_RULE = (  # said of a model that was never calibrated
    "it has no rule of its own to reject photos of other things: it names every photo with a score of at least "
    f"{percent(KnownRule.threshold)}"
)
_NEAR_KINDS = ("other_landmarks", "streets_buildings")


def score_words(name: str) -> str:
    """The name of a rule's score in words."""
    return _SCORES.get(name, name.replace("_", " "))


def is_near(kind: str) -> bool:
    """Whether negatives of this kind look like landmarks: those named above, and all that begin with `near`."""
    return kind in _NEAR_KINDS or kind.startswith("near")


def kind_of(file: Path, negatives: str | Path) -> str:
    """The kind of a negative: the folder right below `negatives` that it is in, or "" if it isn't in one."""
    parts = file.relative_to(Path(negatives)).parts
    return parts[0] if len(parts) > 1 else ""


def find_negatives(folder: str | Path) -> list[Path]:
    """The photos in a folder and anywhere below it, which show none of the landmarks.

    Raises:
        DataError: there is no such folder, or no photo in it that can be read.
    """
    files = photos_below(folder)
    for file in files:
        with contextlib.suppress(PhotoError):
            open_photo(file)
            return files
    raise DataError(f"None of the {len(files)} photos in {folder} can be read.")


def choose_rule(
    scores: Mapping[str, Tensor],
    right: Tensor,
    negatives: Mapping[str, Tensor] | None = None,
    near: Tensor | None = None,
) -> tuple[KnownRule, dict[str, Any]]:
    """The rule that names the most landmarks rightly while it accepts few negatives, and how well it does on both.

    Each score gets the lowest threshold at which at most `FAR_AIM` of the far and `NEAR_AIM` of the near negatives are
    accepted; the score that then names the largest share of the landmarks rightly is chosen. Without negatives, the
    rule is the threshold that 95% of the landmarks reach, on the whitened cosine if there is one, else on the maximum
    logit. `scores` and `negatives` are by the name of the score, `(N,)` and `(M,)` each; `right`, bool `(N,)`, says
    whether a landmark's most likely label is right, and `near`, bool `(M,)`, which negatives look like landmarks.
    """
    if negatives is None or near is None:
        name = "whitened_cosine" if "whitened_cosine" in scores else "max_logit"
        threshold = float(scores[name].quantile(1 - _TRUE_ACCEPTS))
        return KnownRule(name, threshold), {"true_accepts": float((scores[name] >= threshold).float().mean())}
    ranked: dict[str, Any] = {}
    for name, score in sorted(scores.items(), key=lambda item: item[0] != "whitened_cosine"):  # it wins a tie
        others = negatives[name]
        threshold = max(_limit(others[~near], FAR_AIM), _limit(others[near], NEAR_AIM), float(score.amin()))
        named = score >= threshold
        ranked[name] = {
            "threshold": threshold,
            "named_rightly": float((named & right).float().mean()),
            "named_wrongly": float((named & ~right).float().mean()),
            "auroc": _auroc(score, others),
        }
    best = max(ranked, key=lambda name: (ranked[name]["named_rightly"], round(ranked[name]["auroc"], 4)))
    rule = KnownRule(best, ranked[best]["threshold"])
    accepted = negatives[best] >= rule.threshold
    return rule, {
        "aim": {"far": FAR_AIM, "near": NEAR_AIM},
        "others": {
            group: {"n": int(members.sum()), "named": int((accepted & members).sum())}
            for group, members in (("far", ~near), ("near", near))
        },
        "true_accepts": float((scores[best] >= rule.threshold).float().mean()),
        "named_rightly": ranked[best]["named_rightly"],
        "scores": ranked,
    }


def rejection_figures(
    subject: Subject, scores: Tensor, negatives: Sequence[Path], folder: str | Path, run: RunFolder | None = None
) -> dict[str, Any]:
    """How well the model's rule separates photos of landmarks from negatives of each kind.

    `scores` are those of photos of landmarks, `(N,)`; `negatives` are what `find_negatives` found in the `folder`.
    Those that chose the rule of the `run` are counted, because figures on them are too good. If the model was taught
    landmarks, `as_taught` is how many of a kind are named as one of these.
    """
    outputs = subject.predict(negatives, title="negatives")
    for failure in outputs.failures.values():
        print(f"Left out: {failure}")
    readable = [negatives[index] for index in outputs.readable]
    kinds = [kind_of(file, folder) for file in readable]
    reused = warn_of_rule_photos(run, readable, folder)
    as_taught = outputs.logits.argmax(1) >= subject.own

    def part(members: list[bool]) -> dict[str, Any]:
        chosen = outputs.scores[torch.tensor(members)]
        accepted = chosen >= subject.rule.threshold
        counts = {"n": len(accepted), "named": int(accepted.sum())}
        if subject.own < len(subject.labels):
            counts["as_taught"] = int((accepted & as_taught[torch.tensor(members)]).sum())
        return counts | share(accepted, "share") | {"auroc": _auroc(scores, chosen)}

    near = [is_near(kind) for kind in kinds]
    groups = {"near": near, "far": [not flag for flag in near]}
    return {
        "data": Path(folder).resolve().name,
        "score": subject.rule.score,
        "threshold": subject.rule.threshold,
        "kinds": {kind: part([other == kind for other in kinds]) for kind in sorted(set(kinds))},
        **{name: part(members) for name, members in groups.items() if any(members)},
        "left_out": len(outputs.failures),
        "chose_the_rule": reused,
    }


def _limit(scores: Tensor, share: float) -> float:
    """The lowest threshold that at most this share of the scores reaches; minus infinity if there are no scores."""
    if not len(scores):
        return -math.inf
    last = scores.sort(descending=True).values[math.floor(share * len(scores))]
    return float(torch.nextafter(last, torch.tensor(math.inf)))


def _auroc(positives: Tensor, negatives: Tensor) -> float:
    from sklearn.metrics import roc_auc_score  # slow to import, and training without negatives does not need it

    flags = torch.cat([torch.ones(len(positives)), torch.zeros(len(negatives))])
    return float(roc_auc_score(flags, torch.cat([positives, negatives])))

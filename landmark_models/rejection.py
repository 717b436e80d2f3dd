"""Out-of-distribution detection: does a photo show any landmark the model knows? Scores, and a model's rule.

Higher scores mean that it is more likely. `LOGIT_SCORES` are computed from the logits alone, at no cost;
`FEATURE_SCORES` also need the model's feature statistics, and are computed by `landmark_models.networks.served`.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

from torch import Tensor


def is_number(value: object) -> TypeGuard[int | float]:
    """Whether a value from JSON is a number; True and False aren't."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _standardized_max_logit(logits: Tensor) -> Tensor:
    return (logits.amax(1) - logits.mean(1)) / logits.std(1).clamp_min(1e-6)


# From logits `(N, classes)`, temperature applied, to `(N,)`: maximum softmax probability (Hendrycks and Gimpel 2017),
# maximum logit (Hendrycks et al. 2022), energy (Liu et al. 2020), and the maximum logit in standard deviations above
# the mean of the photo's own logits, which doesn't grow with a network's confidence (after Wei et al. 2022).
LOGIT_SCORES: Mapping[str, Callable[[Tensor], Tensor]] = {
    "max_softmax": lambda logits: logits.softmax(1).amax(1),
    "max_logit": lambda logits: logits.amax(1),
    "energy": lambda logits: logits.logsumexp(1),
    "standardized_max_logit": _standardized_max_logit,
}

# The largest cosine to a class mean in the whitened feature space, the same in the plain feature space, and the mean
# distance to the decision boundaries relative to the distance from the features' mean (fDBD, Liu and Qin 2024).
FEATURE_SCORES = ("whitened_cosine", "nearest_mean", "fdbd")


@dataclass(frozen=True)
class KnownRule:
    """A photo shows a landmark the model knows if its score is at least the threshold."""

    score: str = "max_softmax"
    threshold: float = 0.5  # for models that were never calibrated

    @classmethod
    def from_config(cls, landmark: Mapping[str, Any]) -> "KnownRule":
        """The rule under `known` in the `landmark` block of a model's config; the default if there is none.

        Raises:
            ValueError: the rule is invalid.
        """
        if "known" not in landmark:
            return cls()
        block = landmark["known"] if isinstance(landmark["known"], dict) else {}
        score, threshold = block.get("score"), block.get("threshold")
        names = (*LOGIT_SCORES, *FEATURE_SCORES)
        if isinstance(score, str) and score in names and is_number(threshold) and math.isfinite(threshold):
            return cls(score, float(threshold))
        raise ValueError(f"the rule `known` needs a `score`, one of {', '.join(names)}, and a finite `threshold`")

    @property
    def needs_statistics(self) -> bool:
        """Whether the score is computed from features."""
        return self.score in FEATURE_SCORES

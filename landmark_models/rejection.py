"""Whether a photo shows any landmark that a model knows: scores to tell, and the rule that a model goes by.

Every score is larger the likelier it is that the photo does. Those in `LOGIT_SCORES` need the logits alone, at no cost;
those in `FEATURE_SCORES` need the model's statistics, too, and are computed by `landmark_models.networks.served`.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

__all__ = ["FEATURE_SCORES", "LOGIT_SCORES", "KnownRule"]


def _standardized_max_logit(logits: Tensor) -> Tensor:
    return (logits.amax(1) - logits.mean(1)) / logits.std(1).clamp_min(1e-6)


# From logits `(N, classes)`, temperature applied, to `(N,)`: maximum softmax probability (Hendrycks and Gimpel 2017),
# maximum logit (Hendrycks et al. 2022), energy (Liu et al. 2020), and the maximum logit in standard deviations above
# the mean of the photo's own logits, which the confidence of a network does not stretch (after Wei et al. 2022).
LOGIT_SCORES: Mapping[str, Callable[[Tensor], Tensor]] = {
    "max_softmax": lambda logits: logits.softmax(1).amax(1),
    "max_logit": lambda logits: logits.amax(1),
    "energy": lambda logits: logits.logsumexp(1),
    "standardized_max_logit": _standardized_max_logit,
}

# The largest cosine to a class mean in the whitened feature space, the same in the plain one, and the mean distance to
# the decision boundaries, relative to the distance from the features' mean (fDBD, Liu and Qin 2024).
FEATURE_SCORES = ("whitened_cosine", "nearest_mean", "fdbd")


@dataclass(frozen=True)
class KnownRule:
    """A photo shows a landmark that the model knows where its score is at least the threshold."""

    score: str = "max_softmax"
    threshold: float = 0.5  # for a model that was never measured on photos of anything else

    @classmethod
    def from_config(cls, landmark: Mapping[str, Any]) -> "KnownRule":
        """The rule in the `landmark` block of a model's config, under `known`; without one, the default.

        Raises:
            ValueError: the rule is invalid.
        """
        if "known" not in landmark:
            return cls()
        block = landmark["known"]
        score, threshold = (block.get("score"), block.get("threshold")) if isinstance(block, dict) else (None, None)
        number = isinstance(threshold, int | float) and not isinstance(threshold, bool) and math.isfinite(threshold)
        names = (*LOGIT_SCORES, *FEATURE_SCORES)
        if isinstance(score, str) and score in names and threshold is not None and number:
            return cls(score, float(threshold))
        raise ValueError(f"the rule `known` needs a `score`, one of {', '.join(names)}, and a finite `threshold`")

    @property
    def needs_statistics(self) -> bool:
        """Whether the score is computed from features."""
        return self.score in FEATURE_SCORES

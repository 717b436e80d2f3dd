"""Whether a photo shows any of a model's landmarks: scores that say so from its logits alone, at no cost.

scores = SCORES["max_logit"](logits)  # the larger, the likelier that it does
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

__all__ = ["SCORES", "KnownRule"]


def _standardized_max_logit(logits: Tensor) -> Tensor:
    return (logits.amax(1) - logits.mean(1)) / logits.std(1).clamp_min(1e-6)


# Of logits `(N, classes)`, temperature applied, to `(N,)`: maximum softmax probability (Hendrycks and Gimpel 2017),
# maximum logit (Hendrycks et al. 2022), energy (Liu et al. 2020), and the maximum logit in standard deviations above
# the mean of the photo's own logits, which the confidence of a network does not stretch (after Wei et al. 2022).
SCORES: Mapping[str, Callable[[Tensor], Tensor]] = {
    "max_softmax": lambda logits: logits.softmax(1).amax(1),
    "max_logit": lambda logits: logits.amax(1),
    "energy": lambda logits: logits.logsumexp(1),
    "standardized_max_logit": _standardized_max_logit,
}


@dataclass(frozen=True)
class KnownRule:
    """A photo shows a landmark that the model knows where its score, one of `SCORES`, is at least the threshold."""

    score: str = "max_softmax"
    threshold: float = 0.5  # of a model that was never asked about photos of anything else

    @classmethod
    def from_config(cls, landmark: Mapping[str, Any]) -> "KnownRule":
        """The rule in the `landmark` block of a model's config, under `known`; without one, the default.

        Raises:
            ValueError: there is one that can't be.
        """
        if "known" not in landmark:
            return cls()
        block = landmark["known"]
        score, threshold = (block.get("score"), block.get("threshold")) if isinstance(block, dict) else (None, None)
        number = isinstance(threshold, int | float) and not isinstance(threshold, bool) and math.isfinite(threshold)
        if isinstance(score, str) and score in SCORES and threshold is not None and number:
            return cls(score, float(threshold))
        raise ValueError(f"what it knows needs a score out of {', '.join(SCORES)}, and a threshold")

    def __call__(self, logits: Tensor) -> Tensor:
        """Logits `(N, classes)`, temperature applied, to bool `(N,)`."""
        return SCORES[self.score](logits) >= self.threshold

"""Figures that follow from logits and targets, with their 95 % intervals."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

__all__ = ["Share", "figures", "named_figures"]


@dataclass(frozen=True)
class Share:
    """How many of `n` photos something is true of, as a fraction with its 95 % Wilson interval (Wilson 1927)."""

    count: int
    n: int

    @classmethod
    def of(cls, flags: Tensor) -> "Share":
        """The share of flags that are set, bool `(n,)`."""
        return cls(int(flags.sum()), len(flags))

    @property
    def value(self) -> float:
        return self.count / self.n

    @property
    def interval(self) -> tuple[float, float]:
        """The lower and the upper bound, 0 to 1."""
        from scipy.stats import binomtest  # comes with scikit-learn

        found = binomtest(self.count, self.n).proportion_ci(confidence_level=0.95, method="wilson")
        return float(found.low), float(found.high)

    def as_json(self, name: str) -> dict[str, Any]:
        """The value as `name` and the interval as `name_ci95`."""
        return {name: self.value, f"{name}_ci95": list(self.interval)}


def figures(logits: Tensor, targets: Tensor, labels: Sequence[str]) -> dict[str, Any]:
    """Accuracy, precision, recall and F1 from logits `(N, classes)` and target indices `(N,)`, as JSON would hold them.

    Macro figures are means over the classes that have a photo among the targets.
    """
    from sklearn.metrics import precision_recall_fscore_support  # slow to import, and training does not need it

    ranked = logits.argsort(dim=1, descending=True, stable=True)
    position = (ranked == targets.unsqueeze(1)).int().argmax(dim=1)
    result: dict[str, Any] = {"n": len(targets)}
    for k in (1, 3, 5):
        result |= Share.of(position < k).as_json(f"top{k}")
    present = targets.unique().tolist()
    scores = precision_recall_fscore_support(targets, ranked[:, 0], labels=present, zero_division=0)
    for name, values in zip(("precision", "recall", "f1"), scores, strict=False):
        result[f"macro_{name}"] = float(values.mean())
        result[f"weighted_{name}"] = float((values * scores[3]).sum() / scores[3].sum())
    result["per_class"] = {
        labels[index]: {"n": int(support), "precision": float(precision), "recall": float(recall), "f1": float(f1)}
        for index, precision, recall, f1, support in zip(present, *scores, strict=True)
    }
    return result


def named_figures(known: Tensor, right: Tensor) -> dict[str, Any]:
    """How many photos of landmarks the model names, rightly and wrongly, and how many it rejects.

    Args:
        known: whether the model's rule takes the photo for one of a landmark, bool `(N,)`.
        right: whether the most likely label is the right one, bool `(N,)`.
    """
    rightly, wrongly = known & right, known & ~right
    result: dict[str, Any] = {"photos": len(known), "named": int(known.sum()), "right": int(rightly.sum())}
    for name, flags in (("rightly", rightly), ("wrongly", wrongly), ("not", ~known)):
        result |= Share.of(flags).as_json(name)
    return result

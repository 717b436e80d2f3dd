"""Photos of landmarks that a model knows, and of those that it was taught, measured apart."""

from typing import Any

from torch import Tensor

from train.measure.figures import share


def apart(best: Tensor, named: Tensor, targets: Tensor, own: int) -> dict[str, dict[str, Any]]:
    """The figures of photos of `known` landmarks and of `taught` ones; a part without photos is missing.

    Args:
        best: the index of each photo's most likely label, `(n,)`; the model's own labels are the first `own`.
        named: whether the model's rule accepts the photo, bool `(n,)`.
        targets: the index of its label, `(n,)`; below 0 if that isn't among the labels.
        own: the number of landmarks that the model knows by itself.
    """
    right = best == targets
    parts = {"known": (targets >= 0) & (targets < own), "taught": targets >= own}
    return {
        name: {"n": int(members.sum())}
        | share(right[members], "top1")
        | share((right & named)[members], "named_rightly")
        for name, members in parts.items()
        if members.any()
    }

"""Photos of landmarks that a model knows, and of those that it was taught, measured apart."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from landmark_models.files import sha256
from landmark_models.models import on_hub
from landmark_models.teaching import AddOn
from landmark_models.teaching.sources import addon_file
from train.measure.figures import share


def read_addons(sources: Sequence[str]) -> tuple[list[AddOn], list[dict[str, str]]]:
    """The add-ons that `--with` names, and for each its `name`, without where it is on this machine, and `sha256`.

    Raises:
        AddOnError: one isn't available, or isn't an add-on.
    """
    files = [addon_file(source) for source in sources]
    addons = [AddOn.read(file) for file in files]
    names = [source if on_hub(source) else file.name for source, file in zip(sources, files, strict=True)]
    return addons, [{"name": name, "sha256": sha256(file)} for name, file in zip(names, files, strict=True)]


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

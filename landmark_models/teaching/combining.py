"""Several add-ons as one, or as few."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import torch

from landmark_models.teaching.addon import AddOn
from landmark_models.teaching.facts import AddOnError, Facts


def combined(addons: Sequence[AddOn]) -> AddOn:
    """Several add-ons as one; a label in several of them is one landmark, the mean of all its photos.

    What is known of a landmark is joined; where they differ, the last add-on counts.

    Raises:
        AddOnError: there is none, they were taught to different models, or their vectors are in different dimensions.
    """
    if not addons:
        raise AddOnError("There is no add-on to combine.")
    first, *others = addons
    if not others:
        return first
    if any(other.features != first.features or other.width != first.width for other in others):
        raise AddOnError("These add-ons were taught to different models, so they can't be combined.")
    if not all(same_dimensions(first, other) for other in others):
        raise AddOnError("These add-ons have different dimensions, so they stay separate files; use --with for each.")
    positions: dict[str, int] = {}
    rows = torch.tensor([positions.setdefault(label, len(positions)) for addon in addons for label in addon.labels])
    counts = torch.cat([addon.counts for addon in addons]).long()
    total = torch.zeros(len(positions), dtype=torch.long).index_add_(0, rows, counts)
    share = counts / total[rows]
    vectors = torch.zeros(len(positions), first.vectors.shape[1])
    vectors.index_add_(0, rows, torch.cat([addon.vectors for addon in addons]).float() * share.unsqueeze(1))
    facts: dict[str, Facts] = {}
    for label, known in (item for addon in addons for item in addon.facts.items()):
        facts[label] = replace(facts[label], **known.stored()) if label in facts else known
    return replace(
        first, labels=tuple(positions), counts=total.clamp_max(2**31 - 1).int(), vectors=vectors.half(), facts=facts
    )


def combined_by_dimensions(addons: Iterable[AddOn]) -> list[AddOn]:
    """Several add-ons as a few: those in the same dimensions are combined. One that is given twice counts once."""
    groups: list[list[AddOn]] = []
    for addon in addons:
        group = next((group for group in groups if same_dimensions(group[0], addon)), None)
        if group is None:
            groups.append(group := [])
        if not any(_equal(addon, other) for other in group):
            group.append(addon)
    return [combined(group) for group in groups]


def _equal(one: AddOn, other: AddOn) -> bool:
    return (one.labels, one.facts) == (other.labels, other.facts) and torch.equal(one.vectors, other.vectors)


def same_dimensions(one: AddOn, other: AddOn) -> bool:
    """Whether the vectors of two add-ons can be averaged."""
    if one.projection is None or other.projection is None:
        return one.projection is other.projection and one.width == other.width
    return torch.equal(one.projection, other.projection)

"""What add-ons add to a model: the scores of their landmarks, on the scale of those that it knows.

A landmark is the mean of the whitened features of n photos, and a photo's score for it is the cosine to that mean, as
for the landmarks of the model. Means of a few photos are noisy, which lowers the cosines, so two things are different:

Each mean is replaced by its expectation if means are normally distributed around 0, with a covariance that is half that
of the model's own means and half equal in all directions (empirical Bayes, Efron and Morris 1973; the two-covariance
model of probabilistic LDA, Ioffe 2006). Then cosines are raised by what the noise takes from them: c, the length of a
noisy mean over that of the mean itself. Scores have sqrt(c) as a factor, and the bar for being known is a cosine times
c; with more than one photo, both get a small bonus. `python -m train.few_shot` measures all that.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from landmark_models.networks.served import Outputs, ServedNetwork
from landmark_models.teaching.addon import AddOn
from landmark_models.teaching.facts import Facts
from landmark_models.teaching.search import Nearest, search_among, squared_lengths

_CANDIDATES = 100  # of taught landmarks that get a score for a photo; the others are too far away
_LEAST_SIGNAL = 0.7  # of a mean's squared length; the rest is noise
_BONUS = 0.08  # of the bar
_MOST_SHRUNK = 10_000  # means, which are then kept in float32; more are left in their file


def shrunk_means(vectors: Tensor, counts: Tensor, own_means: Tensor) -> Tensor:
    """The expected means, float32 `(C, D)`, given noisy ones, their numbers of photos `(C,)` and a model's own.

    `own_means` are those of the model's landmarks, float32 `(N, D)` of length 1. Lengths have no meaning in the result.
    """
    vectors, width = vectors.float(), vectors.shape[1]
    noise = (width / counts).unsqueeze(1)  # of one whitened photo the squared length of the noise is about `width`
    signal = _signal(vectors, counts).mean()
    _, lengths, directions = torch.linalg.svd(own_means, full_matrices=False)
    elsewhere = 0.5 * signal / width  # the variance in a direction that the model's own means don't have
    variances = 0.5 * signal * lengths.square() / len(own_means) + elsewhere
    kept = elsewhere / (elsewhere + noise / width)
    more = variances / (variances + noise / width) / kept - 1
    return vectors + (vectors @ directions.T * more) @ directions


def _signal(vectors: Tensor, counts: Tensor) -> Tensor:
    """The squared lengths of the means without what noise adds to them, float32 `(C,)`."""
    squares = squared_lengths(vectors)
    return torch.maximum(squares - vectors.shape[1] / counts, _LEAST_SIGNAL * squares)


@dataclass(frozen=True)
class Correction:
    """How cosines to noisy means become scores: times `factors`, float32 `(C,)`, plus `bonuses`, float32 `(C,)`."""

    bar: float
    factors: Tensor
    bonuses: Tensor

    @classmethod
    def of(cls, vectors: Tensor, counts: Tensor, bar: float) -> "Correction":
        """The correction for means, `(C, D)`, of so many photos, `(C,)`; a cosine of `bar` would count as known."""
        squares = squared_lengths(vectors)
        factors = (squares / _signal(vectors, counts)) ** 0.25  # the square root of a length
        return cls(bar, factors, _BONUS * bar * (1 - 1 / counts))

    def margins(self, scores: Tensor, indices: Tensor) -> Tensor:
        """By how much scores for the means with these indices are over the bar, float32, shaped like both."""
        bonuses = self.bonuses[indices]
        return (scores - bonuses) * self.factors[indices] + bonuses - self.bar


class Taught(NamedTuple):
    """That a landmark was taught: from how many photos, and what its teacher said of it."""

    photos: int
    facts: Facts


class TaughtLandmarks:
    """The landmarks of an add-on beside a model's own.

    A label that the model knows gets a second mean; the others follow its labels.

    Attributes:
        labels: the model's labels, then those that are new.
        addon: where they are from.
        before: what was taught before, of which the labels are among the model's here.
    """

    def __init__(
        self,
        addon: AddOn,
        served: ServedNetwork,
        labels: Sequence[str],
        bar: float,
        before: "TaughtLandmarks | None" = None,
    ):
        """`bar` is the least cosine that counts as known; of the `labels`, some may have been taught `before`."""
        self._served, self._own, self.addon, self.before = served, len(labels), addon, before
        positions = {label: index for index, label in enumerate(labels)}
        self._positions = torch.tensor([positions.setdefault(label, len(positions)) for label in addon.labels])
        self.labels = list(positions)
        self._rows = {label: row for row, label in enumerate(addon.labels)}
        self._projection = None if addon.projection is None else addon.projection.float()
        self._correction = Correction.of(addon.vectors, addon.counts, bar)
        vectors = addon.vectors
        if self._projection is None and len(addon) <= _MOST_SHRUNK:
            vectors = shrunk_means(vectors, addon.counts, served.whitened_means)
        self._search = search_among(vectors, self._correction.factors)

    def __contains__(self, label: object) -> bool:
        return label in self._rows or (self.before is not None and label in self.before)

    def layers(self) -> "list[TaughtLandmarks]":
        """What was taught before, the first first, then itself."""
        return [*(self.before.layers() if self.before else []), self]

    def get(self, label: str) -> Taught | None:
        """How a label was taught; None if it wasn't, or if the model knew it before."""
        row = self._rows.get(label)
        if row is None or self._positions[row] < self._own:
            return self.before.get(label) if self.before else None
        return Taught(int(self.addon.counts[row]), self.addon.facts.get(label, Facts()))

    def by_label(self) -> dict[str, Taught]:
        """How each label was taught, where `get` says it."""
        return {label: taught for label in self.labels if (taught := self.get(label))}

    def mean(self, label: str) -> Tensor | None:
        """The mean of the whitened features that taught a label, float32 `(D,)`; None where `get` gives None."""
        row = self._rows.get(label)
        if row is None or self._positions[row] < self._own:
            return self.before.mean(label) if self.before else None
        vector = self.addon.vectors[row].float()
        return vector if self._projection is None else vector @ self._projection

    def nearest(self, body: Tensor) -> Nearest:
        """The taught landmarks that are nearest to photos with these features `(B, D)`: scores and rows."""
        queries = self._served.directions(body).cpu()
        if self._projection is not None:
            queries = queries @ self._projection.T
        cosines, indices = self._search.nearest(queries, _CANDIDATES)
        scores, order = (cosines + self._correction.bonuses[indices]).sort(descending=True)
        return Nearest(scores, indices.gather(1, order))

    def added_to(self, outputs: Outputs, body: Tensor) -> Outputs:
        """A model's outputs for features `(B, D)`, on the CPU, with logits for all `labels`.

        A taught landmark too far away to matter has the logit -inf. Where a taught one is the best, the photo's score
        is as far from the threshold of the model's rule as from the bar.
        """
        if self.before:
            outputs = self.before.added_to(outputs, body)
        nearest = self.nearest(body)
        logits = torch.full((len(body), len(self.labels)), -torch.inf)
        logits[:, : self._own] = outputs.logits
        columns = self._positions[nearest.indices]
        taught = nearest.cosines * self._served.logits_per_cosine
        logits.scatter_reduce_(1, columns, taught, "amax")
        margin = self._correction.margins(nearest.cosines[:, 0], nearest.indices[:, 0])
        wins = taught[:, 0] > outputs.logits.amax(1)
        scores = torch.where(wins, self._served.rule.threshold + margin, outputs.scores)
        return Outputs(logits, scores)

"""What a classifier answers for a photo: ranked labels, whether it shows any that are known, and that in words."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from landmark_models.teaching import Taught


@dataclass(frozen=True)
class Prediction:
    """One candidate: a label of the model, and its probability in 0..1."""

    label: str
    score: float


class Answer(list[Prediction]):
    """The candidates for a photo, most likely first, and whether it shows any landmark the model knows.

    `verdict` says the latter in words, with the measured accuracy of such answers if there is one. `position` is the
    photo's own, as `photo_position` gives it. `taught` has an entry for each candidate that was taught, by label.
    """

    position: tuple[float, float] | None = None
    taught: Mapping[str, Taught] = MappingProxyType({})

    def __init__(self, candidates: Iterable[Prediction], known: bool = True, verdict: str = ""):
        super().__init__(candidates)
        self.known, self.verdict = known, verdict


def verdict_of(answer: Answer, count: int, right: int | None) -> str:
    """Whether a photo shows any of the `count` landmarks that are known, in words.

    Of 100 such answers with one of the model's own landmarks `right` were right, if that was measured.
    """
    landmarks = f"of the {count:,} landmarks known here"
    if not answer.known:
        return f"None {landmarks}"
    if taught := answer.taught.get(answer[0].label):
        return f"Best match {landmarks}; taught from {taught.photos:,} photo{'s' * (taught.photos != 1)}"
    return f"Best match {landmarks}" + ("" if right is None else f"; {right} of 100 such answers were right")


def right_of_100(named: dict[str, int]) -> int:
    """How many of 100 named photos are named correctly, estimated from the counts `right` and `named`.

    This is Laplace's estimate, so it is never 100: no mistake in a few hundred doesn't mean that there never is one.
    """
    return 100 * (named["right"] + 1) // (named["named"] + 2)

"""Speed of an explanation, against a prediction."""

import time
from pathlib import Path

from landmark_models import LandmarkClassifier
from landmark_models.explain import explain

__all__ = ["explanation"]


def explanation(model: str, photo: Path, rounds: int) -> dict[str, list[float]]:
    """Seconds that a prediction (`predict`) and an explanation (`explain`) of a photo take, in turns."""
    classifier = LandmarkClassifier.load(model)
    times: dict[str, list[float]] = {"predict": [], "explain": []}
    for position in range(rounds + 1):
        for name, call in (("predict", classifier.predict), ("explain", lambda file: explain(classifier, file))):
            started = time.perf_counter()
            call(photo)
            if position:  # the first of each is a warm-up
                times[name].append(time.perf_counter() - started)
    return times

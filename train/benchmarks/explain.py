"""Speed of an explanation, against a prediction."""

from pathlib import Path

from landmark_models import LandmarkClassifier
from landmark_models.explain import explain
from train.benchmarks import in_turns

__all__ = ["explanation"]


def explanation(model: str, photo: Path, rounds: int) -> dict[str, list[float]]:
    """Seconds that a prediction (`predict`) and an explanation (`explain`) of a photo take, in turns."""
    classifier = LandmarkClassifier.load(model)
    calls = {"predict": lambda: classifier.predict(photo), "explain": lambda: explain(classifier, photo)}
    return in_turns(calls, rounds, warm=1)

"""Tags of predictions that a test makes up."""

from landmark_models import Answer, Prediction
from landmark_models.tagging.tags import Tags

VERDICTS = ("None of the 60 landmarks known here", "Best match of the 60 landmarks known here")  # unknown, known


def tags_of(predictions: list[Prediction], position: tuple[float, float] | None = None) -> Tags:
    """Tags for these candidates, which a model knows that was never asked about photos of anything else."""
    known = not predictions or predictions[0].score >= 0.5
    return Tags.of(Answer(predictions, known, VERDICTS[known]), position)

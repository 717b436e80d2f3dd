"""Measuring: predictions for many photos, figures with intervals, calibration, rejection, corruptions, comparisons.

Import from the modules, e.g. `from train.measure.evaluation import evaluate`; most of them need PyTorch. What the
command line offers to choose from is here, so that `--help` answers at once.
"""

from enum import StrEnum

__all__ = ["TTA", "Kind"]


class TTA(StrEnum):
    """Test-time augmentation: the scores of a photo and its mirror image, or of ten crops, are averaged."""

    flip = "flip"
    crops = "crops"


class Kind(StrEnum):
    """Which photos a run was measured on: its own test split, or photos from elsewhere."""

    test = "test"
    elsewhere = "elsewhere"

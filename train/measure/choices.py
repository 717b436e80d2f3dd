"""What the command line lets one choose; light, so that `--help` answers at once."""

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

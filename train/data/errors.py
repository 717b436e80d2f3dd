"""What is wrong with data."""

from landmark_models.errors import LandmarkError

__all__ = ["DataError"]


class DataError(LandmarkError):
    """A data folder that can't be used as it is."""

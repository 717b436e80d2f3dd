"""Tell which landmark is in a photo. `LandmarkClassifier.load().predict("photo.jpg")`."""

import landmark_models.convnet  # noqa: F401  (registers our architectures with timm)
from landmark_models.classifier import LandmarkClassifier, Prediction
from landmark_models.errors import LandmarkError, ModelError, PhotoError
from landmark_models.photo import open_photo, photo_position

__all__ = [
    "LandmarkClassifier",
    "LandmarkError",
    "ModelError",
    "PhotoError",
    "Prediction",
    "open_photo",
    "photo_position",
]

"""Tell which landmark is in a photo. `LandmarkClassifier.load().predict("photo.jpg")`."""

import landmark_models.networks.convnet  # noqa: F401  (registers our architectures with timm)
from landmark_models.classifier import Answer, LandmarkClassifier, Prediction
from landmark_models.errors import LandmarkError, ModelError, PhotoError
from landmark_models.locations import predict_landmarks, suggest_locations
from landmark_models.photo import open_photo, photo_position

__all__ = [
    "Answer",
    "LandmarkClassifier",
    "LandmarkError",
    "ModelError",
    "PhotoError",
    "Prediction",
    "open_photo",
    "photo_position",
    "predict_landmarks",
    "suggest_locations",
]

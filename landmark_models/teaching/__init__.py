"""Landmarks taught from a few photos: add-ons, what they add to a model's answers, and the search among many."""

from landmark_models.teaching.addon import (
    SUFFIX,
    AddOn,
    AddOnError,
    Facts,
    combined,
    combined_by_dimensions,
    listed,
    same_dimensions,
)
from landmark_models.teaching.digest import features_digest
from landmark_models.teaching.sources import load_addon
from landmark_models.teaching.taught import Taught, TaughtLandmarks

__all__ = [
    "SUFFIX", "AddOn", "AddOnError", "Facts", "Taught", "TaughtLandmarks", "combined",
    "combined_by_dimensions", "features_digest", "listed", "load_addon", "same_dimensions",
]  # fmt: skip

"""Landmarks taught from a few photos: add-ons, what they add to a model's answers, and the search among many."""

from landmark_models.teaching.addon import SUFFIX, AddOn
from landmark_models.teaching.combining import combined, combined_by_dimensions, same_dimensions
from landmark_models.teaching.digest import features_digest
from landmark_models.teaching.facts import AddOnError, Facts
from landmark_models.teaching.sources import load_addon
from landmark_models.teaching.taught import Taught, TaughtLandmarks

__all__ = [
    "SUFFIX", "AddOn", "AddOnError", "Facts", "Taught", "TaughtLandmarks", "combined", "combined_by_dimensions",
    "features_digest", "load_addon", "same_dimensions",
]  # fmt: skip

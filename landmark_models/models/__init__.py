"""A model folder: written, checked, built; and from the Hub: load one, choose the best, say why it failed."""

from landmark_models.models.best_model import Best, best
from landmark_models.models.folder import save
from landmark_models.models.hub import EMBEDDED, PREFIX, TAG, LoadedModel, examples, load

__all__ = ["EMBEDDED", "PREFIX", "TAG", "Best", "LoadedModel", "best", "examples", "load", "save"]

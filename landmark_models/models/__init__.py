"""Model folders: write, check and build them, load them from disk or the Hub, choose the best, explain failures."""

from landmark_models.models.folder import STATISTICS_FILE, save
from landmark_models.models.hub import EMBEDDED, TAG, Best, LoadedModel, best, examples, load
from landmark_models.models.repository import PREFIX, on_hub, repo_id

__all__ = [
    "EMBEDDED", "PREFIX", "STATISTICS_FILE", "TAG", "Best", "LoadedModel", "best", "examples", "load", "on_hub",
    "repo_id", "save",
]  # fmt: skip

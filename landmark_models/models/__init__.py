"""Model folders: write, check and build them, load them from disk or the Hub, choose the best, explain failures."""

from landmark_models.models.folder import STATISTICS_FILE, save
from landmark_models.models.hub import EMBEDDED, LoadedModel, examples, load, with_revision
from landmark_models.models.namespace import TAG, Best, Candidate, best
from landmark_models.models.repository import PREFIX, name_of, on_hub, repo_id

__all__ = [
    "EMBEDDED", "PREFIX", "STATISTICS_FILE", "TAG", "Best", "Candidate", "LoadedModel", "best", "examples", "load",
    "name_of", "on_hub", "repo_id", "save", "with_revision",
]  # fmt: skip

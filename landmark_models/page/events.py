"""Options that the page's events share."""

import os
from typing import Any

__all__ = ["COMPUTING", "INSTANT", "PAGE_ONLY"]

# Of events that compute with the model, as many run at once as cores can share.
COMPUTING: dict[str, Any] = {"concurrency_id": "model", "concurrency_limit": min(os.cpu_count() or 1, 4)}
# Of the page alone, not of its API; each use counts, also while an earlier one is still running.
PAGE_ONLY: dict[str, Any] = {"api_visibility": "private", "trigger_mode": "multiple"}
# Of the page alone, and done at once.
INSTANT: dict[str, Any] = {"queue": False, "show_progress": "hidden"} | PAGE_ONLY

"""Take the tags out of a library's sidecars again: `untag_library(["photos/"], Sidecars())`."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from tqdm.auto import tqdm

from landmark_models.errors import LandmarkError
from landmark_models.library.listing import check_sources, find_entries
from landmark_models.library.rows import count_reason
from landmark_models.library.sidecars import Sidecars


@dataclass
class Untagged:
    """Counts: photos looked at, sidecars that keep what others wrote, deleted ones, and failures by their reason."""

    photos: int = 0
    cleaned: int = 0
    deleted: int = 0
    reasons: Counter[str] = field(default_factory=Counter)


def untag_library(sources: Sequence[str], sidecars: Sidecars) -> Untagged:
    """Take what `tag_library` has written out of the sidecars of photos.

    Args:
        sources: as in `find_entries`.
        sidecars: where the sidecars are.

    Raises:
        LandmarkError: a source can't be used.
    """
    check_sources(sources)
    counts = Untagged()
    for entry in tqdm(find_entries(sources), desc="taking tags out", unit="photo"):
        counts.photos += 1
        try:
            done = Counter(sidecars.undo(entry.path))
        except LandmarkError as error:
            count_reason(counts.reasons, f"The sidecar of {entry.path} stays as it is: {error}.")
            continue
        counts.cleaned += done["cleaned"]
        counts.deleted += done["deleted"]
    return counts

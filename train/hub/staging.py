"""The folder that is put together before it is uploaded, or for a dry run instead of that."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from landmark_models.errors import LandmarkError

_NOTE = "dry-run.txt"  # in the folder of a dry run, so that the next one knows it
_PARTS = {"model", "space", "addon", "dataset"}


@contextmanager
def staging(dry_run: Path | None) -> Iterator[Path]:
    """The folder to write to: a temporary one, or for a dry run one that stays if all goes well.

    One that holds what an earlier dry run wrote, and nothing else, is replaced.

    Raises:
        LandmarkError: it holds anything else.
    """
    if dry_run is None:
        with tempfile.TemporaryDirectory() as scratch:
            yield Path(scratch)
        return
    if _is_of_a_dry_run(dry_run):
        shutil.rmtree(dry_run)
    elif dry_run.exists() and (not dry_run.is_dir() or any(dry_run.iterdir())):
        raise LandmarkError(f"{dry_run} holds more than what a dry run wrote; remove it, or give another --output.")
    dry_run.mkdir(parents=True, exist_ok=True)
    (dry_run / _NOTE).write_text("What would have been uploaded. The next dry run replaces this folder.\n")
    try:
        yield dry_run
    except BaseException:
        shutil.rmtree(dry_run)
        raise


def _is_of_a_dry_run(folder: Path) -> bool:
    """Whether a folder holds what a dry run wrote, and nothing else."""
    return (folder / _NOTE).is_file() and {file.name for file in folder.iterdir()} <= {_NOTE, *_PARTS}

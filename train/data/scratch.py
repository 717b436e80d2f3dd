"""Scratch folders, which become what is made in them, and which no kill leaves behind for long.

remove_abandoned(cache, ".making-")
with scratch_folder(cache, ".making-") as folder:
    ...
    folder.rename(cache / "complete")
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from filelock import FileLock


@contextmanager
def scratch_folder(parent: Path, prefix: str) -> Iterator[Path]:
    """A new folder in `parent`, removed at the end if it hasn't been renamed.

    A lock beside it is held as long as this process lives: see `remove_abandoned`.
    """
    parent.mkdir(parents=True, exist_ok=True)
    folder = parent / f"{prefix}{uuid4().hex}"
    with locked(folder):
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def remove_abandoned(parent: Path, prefix: str) -> None:
    """Remove the scratch folders of processes that were killed: those that no process holds the lock of."""
    for folder in parent.glob(f"{prefix}*/"):
        with suppress(OSError), locked(folder, blocking=False):  # Timeout is an OSError
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def locked(folder: Path, blocking: bool = True) -> Iterator[None]:
    """Hold a lock beside a folder, which no kill leaves locked.

    Raises:
        filelock.Timeout: another process holds it, and `blocking` is False.
    """
    lock = FileLock(folder.with_name(f"{folder.name}.lock"), blocking=blocking)
    lock.acquire()
    try:
        yield
    finally:
        lock.release()
        Path(lock.lock_file).unlink(missing_ok=True)

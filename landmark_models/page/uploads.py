"""Uploads: the folder they are kept in, which files count as uploaded, and when they are deleted."""

import contextlib
import filecmp
import getpass
import os
import stat
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from landmark_models.errors import PhotoError

LIFETIME = 1800  # seconds that an upload stays on the server, until the next sweep after that
SWEEP_INTERVAL = 600  # seconds


def upload_folder(parent: str | os.PathLike[str]) -> Path:
    """A folder for uploads that only this user can read and whose whole content may be deleted.

    It is the same one at the next start, so that leftovers of a killed page are swept too.
    """
    folder = Path(parent) / f"landmark-page-{getpass.getuser()}"
    with contextlib.suppress(OSError):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        state = folder.lstat()
        if stat.S_ISDIR(state.st_mode) and (not hasattr(os, "getuid") or state.st_uid == os.getuid()):
            folder.chmod(0o700)
            return folder
    return Path(tempfile.mkdtemp(prefix="landmark-page-"))  # that name is taken by a link or by somebody else's folder


def uploaded_file(photo: Any, folder: Path) -> Path:
    """The uploaded file in `folder` that a component or a client refers to by a mapping with its `path`.

    Gradio checks paths only in messages of its own form, so paths elsewhere on the server are refused here.

    Raises:
        PhotoError: no photo was given, or the path isn't an uploaded file.
    """
    path = photo.get("path") if isinstance(photo, dict) else None
    if not isinstance(path, str) or not path or "\0" in path:
        raise PhotoError("There is no photo yet; choose one first.")
    file = Path(path).resolve()
    if not file.is_relative_to(folder.resolve()) or not file.is_file():
        raise PhotoError("This photo was never uploaded or has been deleted; please upload it again.")
    return file


def original_name(photo: Any, file: Path) -> str:
    """The name that an uploaded file had on its owner's device."""
    name = photo.get("orig_name") if isinstance(photo, dict) else None
    name = name if isinstance(name, str) and name else file.name
    return name.encode("utf-8", "replace").decode()[-200:]


def sweep(folder: Path, keep: Sequence[Path] = (), older_than: float = LIFETIME) -> None:
    """Delete old uploads and everything that was made from them.

    Gradio's own `delete_cache` misses the files of components that an event has changed, and uploads over MCP.
    `keep` are the page's own example photos, of which Gradio keeps copies among the uploads. `older_than` is
    in seconds.
    """
    limit = time.time() - older_than
    for file in sorted(folder.rglob("*"), reverse=True):  # a folder comes after its content
        with contextlib.suppress(OSError):
            is_example = any(file.name == photo.name and filecmp.cmp(file, photo, shallow=False) for photo in keep)
            if is_example or file.lstat().st_mtime >= limit:
                continue
            if file.is_dir() and not file.is_symlink():
                file.rmdir()  # fails while the folder holds something
            else:
                file.unlink()


def keep_sweeping(folder: Path, keep: Sequence[Path]) -> None:
    """Sweep now and every `SWEEP_INTERVAL` seconds, in the background."""

    def run() -> None:
        while True:
            sweep(folder, keep)
            time.sleep(SWEEP_INTERVAL)

    threading.Thread(target=run, name="sweep", daemon=True).start()

"""Uploads: the folder they are kept in, which files count as uploaded, and when they are deleted."""

import atexit
import base64
import contextlib
import errno
import logging
import os
import re
import shutil
import signal
import stat
import tempfile
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

from filelock import FileLock, Timeout

from landmark_models.errors import LandmarkError, PhotoError, reason
from landmark_models.photo import MAX_BYTES

LIFETIME = 1800  # seconds that an upload stays on the server, until the next sweep after that
SWEEP_INTERVAL = 600  # seconds
NOT_UPLOADED = "This photo was never uploaded or has been deleted; please upload it again."

_PREFIX = "page-"  # of the folders, beside each other
_LOCK_TIMEOUT = 10.0  # seconds
_log = logging.getLogger(__name__)
_held_locks: list[FileLock] = []  # a lock ends with its process


def upload_folder(parent: str | os.PathLike[str] | None = None) -> Path:
    """A new folder for uploads that only this user can read and whose whole content may be deleted.

    It belongs to this process alone and is removed when that ends. Folders of this user's pages that were killed are
    removed first, since nobody else would. The folder above it, which lies in `parent` or else among the temporary
    files, is this user's alone, too.

    Raises:
        LandmarkError: nowhere can a folder be made.
    """
    try:
        try:
            shared = _private_folder(Path(parent or tempfile.gettempdir()))
        except OSError:  # not writable, or not ours
            shared = Path(tempfile.mkdtemp(prefix="landmark-pages-"))
        try:
            folder = _folder_beside_others(shared)
        except NotImplementedError:  # no file locks there, so no page can tell which folders are abandoned
            folder = Path(tempfile.mkdtemp(prefix="unlocked-", dir=shared))
    except OSError as error:
        raise LandmarkError(
            f"There is no folder that uploads could be written to ({reason(error)}): set TMPDIR to one."
        ) from None
    atexit.register(_remove_own, folder, os.getpid())
    return folder


def remove_when_stopped(folder: Path) -> None:
    """Remove this process's upload folder also when it is told to stop, as containers are."""
    process = os.getpid()

    def stop(number: int, _frame: object) -> None:
        _remove_own(folder, process)
        signal.signal(number, signal.SIG_DFL)  # rather than an exception, which other code might swallow
        os.kill(os.getpid(), number)

    signal.signal(signal.SIGTERM, stop)


def _private_folder(parent: Path) -> Path:
    """This user's own folder in a parent; an `OSError` if its name is taken by a link or by somebody else."""
    user = f"-{os.getuid()}" if hasattr(os, "getuid") else ""  # a container's user may have no name
    folder = parent / f"landmark-pages{user}"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    state = folder.lstat()
    if not stat.S_ISDIR(state.st_mode) or (user and state.st_uid != os.getuid()):
        raise NotADirectoryError(f"{folder} is somebody else's.")
    folder.chmod(0o700)
    return folder


def _folder_beside_others(parent: Path) -> Path:
    """A new, locked folder; those whose lock nobody holds are removed."""
    with FileLock(parent / ".lock", timeout=_LOCK_TIMEOUT):  # or a folder might be removed before it is locked
        for other in parent.glob(f"{_PREFIX}*"):
            if other.is_dir() and not other.is_symlink():
                _remove_if_abandoned(other)
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
        lock = _lock_of(folder)
        lock.acquire(blocking=False)
        _held_locks.append(lock)
    return folder


def _lock_of(folder: Path) -> FileLock:
    # A lock rather than the process's number: containers that share a folder may all be process 1.
    return FileLock(folder.with_name(f"{folder.name}.lock"))


def _remove_if_abandoned(folder: Path) -> None:
    lock = _lock_of(folder)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return  # its page still runs
    shutil.rmtree(folder, ignore_errors=True)  # follows no links
    lock.release()
    Path(lock.lock_file).unlink(missing_ok=True)


def _remove_own(folder: Path, process: int) -> None:
    if os.getpid() == process:  # not in a process that was forked from the page
        shutil.rmtree(folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            Path(_lock_of(folder).lock_file).unlink()


def uploaded_file(photo: Any, folder: Path) -> Path:
    """The uploaded file in `folder` that a component or a client refers to by a mapping with its `path`.

    Gradio checks paths only in messages of its own form, so paths elsewhere on the server are refused here. Without a
    path, the mapping may hold the photo itself, as base64 in its `url`; that is put into `folder`.

    Raises:
        PhotoError: no photo was given, or the path isn't an uploaded file, or `url` isn't base64.
    """
    path, url = (photo.get(key) if isinstance(photo, dict) else None for key in ("path", "url"))
    if isinstance(url, str) and url and not path:
        return _write_base64(url, folder)
    if not isinstance(path, str) or not path or "\0" in path:
        raise PhotoError("There is no photo yet; choose one first.")
    file = Path(path).resolve()
    if not file.is_relative_to(folder.resolve()) or not file.is_file():
        raise PhotoError(NOT_UPLOADED)
    return file


def _write_base64(url: str, folder: Path) -> Path:
    """Write the photo that a data URL holds, or base64 alone, to a new file."""
    url = url.strip()
    head, comma, data = url.partition(",") if url[:5].lower() == "data:" else ("", ",", url)
    if head and not (comma and re.search(r";\s*base64\s*$", head.lower())):
        raise PhotoError("The photo's data URL isn't base64; send data:image/jpeg;base64,... instead.")
    if len(data) > 4 / 3 * MAX_BYTES + 2**20:  # a MiB for line breaks
        raise PhotoError(f"The photo is larger than {MAX_BYTES >> 20} MiB; send a smaller copy.")
    compact = re.sub(rb"\s", b"", unquote_to_bytes(data)).translate(bytes.maketrans(b"-_", b"+/")).rstrip(b"=")
    try:
        content = base64.b64decode(compact + b"=" * (-len(compact) % 4), validate=True)
    except ValueError:
        raise PhotoError(
            "The photo's url is neither base64 nor an http:// or https:// address; "
            "send data:image/jpeg;base64,... instead."
        ) from None
    file = Path(tempfile.mkdtemp(dir=folder), "photo")
    file.write_bytes(content)
    return file


def original_name(photo: Any, file: Path) -> str:
    """The name that an uploaded file had on its owner's device."""
    name = photo.get("orig_name") if isinstance(photo, dict) else None
    name = name if isinstance(name, str) and name else file.name
    return name.encode("utf-8", "replace").decode()[-200:]


def sweep(folder: Path, older_than: float = LIFETIME) -> None:
    """Delete old uploads and everything that was made from them.

    Gradio's own `delete_cache` misses the files of components that an event has changed, and uploads over MCP.
    `older_than` is in seconds.
    """
    limit = time.time() - older_than
    for parent, folders, names in os.walk(folder, topdown=False):
        for file in (Path(parent, name) for name in [*names, *folders]):
            try:
                if file.lstat().st_mtime >= limit:
                    continue
                if file.is_dir() and not file.is_symlink():
                    file.rmdir()
                else:
                    file.unlink()
            except OSError as error:
                # Another sweep was faster, or the folder still holds something.
                if error.errno not in (errno.ENOENT, errno.ENOTEMPTY, errno.EEXIST):
                    _log.warning("An old upload can't be deleted: %s", error)


def keep_sweeping(folder: Path) -> None:
    """Sweep now and every `SWEEP_INTERVAL` seconds, in the background, whatever happens to a sweep."""

    def run() -> None:
        while True:
            try:
                sweep(folder)
            except Exception:
                _log.exception("A sweep of old uploads failed; the next one comes in %d s.", SWEEP_INTERVAL)
            time.sleep(SWEEP_INTERVAL)

    threading.Thread(target=run, name="sweep", daemon=True).start()

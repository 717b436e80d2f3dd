"""Write a file so that it is the old one or the new one, whatever happens: `with atomic_path(file) as scratch`."""

import errno
import hashlib
import itertools
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

if sys.platform != "win32":
    import fcntl

PART = ".part"  # suffix of an unfinished file


@contextmanager
def atomic_path(file: Path, durable: bool = True) -> Iterator[Path]:
    """A scratch path to write to, which becomes `file` when the block succeeds; otherwise `file` stays as it was.

    A file that is replaced keeps its mode, owner and extended attributes. The scratch is an empty file with a short
    name of its own, so that neither a long name nor another process that writes the same file gets in the way. What a
    kill leaves of it is used up by the next call for the same file.

    Args:
        file: what to write.
        durable: whether the content must be on the disk before it gets the name, so that it survives a power cut. What
            replaces something always is.

    Raises:
        OSError: the file can't be written, for instance because it is read-only.
    """
    old = file.stat() if file.exists() else None
    if old and not (old.st_mode & 0o222 and os.access(file, os.W_OK)):  # renaming doesn't ask
        raise PermissionError(errno.EACCES, "it is read-only", str(file))
    scratch, lock = _claim_scratch(file)
    try:
        yield scratch
        if durable or old:
            with scratch.open("r+b") as content:
                os.fsync(content)
        if old is None or _take_over(file, old, scratch):
            scratch.replace(file)
        else:
            _copy_content(scratch, file)
            scratch.unlink()
    except BaseException:
        scratch.unlink(missing_ok=True)
        raise
    finally:
        if lock is not None:
            os.close(lock)


def _claim_scratch(file: Path) -> tuple[Path, int | None]:
    """A new or abandoned scratch file beside `file`, empty, and the descriptor that locks it while it is open."""
    name = hashlib.blake2b(os.fsencode(file.name), digest_size=8).hexdigest()
    suffix = file.suffix if len(os.fsencode(file.suffix)) <= 16 else ""
    for number in itertools.count():
        scratch = file.with_name(f".landmarks-{name}-{number}{suffix}{PART}")
        try:
            descriptor = os.open(scratch, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        except FileExistsError:
            if (abandoned := _lock_abandoned(scratch)) is not None:
                return scratch, abandoned
            continue
        if sys.platform == "win32":
            os.close(descriptor)  # an open file can't be renamed there
            return scratch, None
        if _lock(descriptor, scratch, otherwise=True):
            return scratch, descriptor
        os.close(descriptor)
    raise AssertionError("there is always another number")


def _lock_abandoned(scratch: Path) -> int | None:
    """Lock a scratch file if it certainly has no writer, and empty it."""
    if sys.platform == "win32":
        return None
    try:
        descriptor = os.open(scratch, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:  # somebody else's, a link, a folder; or it has just been renamed
        return None
    if _lock(descriptor, scratch, otherwise=False):
        os.ftruncate(descriptor, 0)
        return descriptor
    os.close(descriptor)
    return None


def _lock(descriptor: int, scratch: Path, otherwise: bool) -> bool:
    """Lock a file that others may be about to lock or rename; `otherwise` is for a disk that has no locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(os.fstat(descriptor), scratch.lstat())
    except (BlockingIOError, FileNotFoundError):
        return False
    except OSError:
        return otherwise


def _take_over(file: Path, old: os.stat_result, scratch: Path) -> bool:
    """Give a scratch file the owner, mode and extended attributes, such as ACLs, of `file`; whether that's allowed."""
    new = scratch.stat()
    if sys.platform != "win32" and (new.st_uid, new.st_gid) != (old.st_uid, old.st_gid):
        try:
            os.chown(scratch, old.st_uid, old.st_gid)
        except PermissionError:
            return False
    shutil.copystat(file, scratch)
    os.utime(scratch)
    return True


def _copy_content(source: Path, file: Path) -> None:
    """Write a file in place. It isn't atomic, but leaves the file with its owner."""
    with source.open("rb") as content, file.open("r+b") as target:
        shutil.copyfileobj(content, target)
        target.truncate()
        os.fsync(target)

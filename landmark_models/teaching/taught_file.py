"""A file of taught landmarks that several programs may change: `landmarks teach --into FILE`, `app.py --teach FILE`."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from landmark_models.errors import reason
from landmark_models.teaching.addon import SUFFIX, AddOn
from landmark_models.teaching.combining import combined
from landmark_models.teaching.facts import AddOnError

_LOCK_TIMEOUT = 10.0  # seconds

Change = Callable[[AddOn | None], AddOn | None]


class TaughtFile:
    """An add-on in a file, which isn't there while nothing is taught. Several threads and programs may change it.

    An add-on is for one model. What others are taught meanwhile is kept beside the file, in a file for each, whose name
    has the first digits of the digest of their features.
    """

    def __init__(self, file: Path):
        self.file = file
        self._lock = FileLock(file.with_name(f".{file.name}.lock"), timeout=_LOCK_TIMEOUT)

    def check(self) -> None:
        """See at the start that the file can be read and written later.

        Raises:
            AddOnError: it can't.
        """
        if not self.file.parent.is_dir():
            folder = self.file.parent
            raise AddOnError(f"{self.file} can't be written: {folder} isn't a folder. Make it, or choose another.")
        self.read()
        if self.file.exists() and not (self.file.stat().st_mode & 0o222 and os.access(self.file, os.W_OK)):
            raise AddOnError(f"{self.file} can't be written: it is read-only. Allow that, or choose another file.")
        with self._locked():
            pass

    def read(self) -> AddOn | None:
        """What the file itself holds.

        Raises:
            AddOnError: the file can't be read, or isn't an add-on.
        """
        return AddOn.read(self.file) if self.file.exists() else None

    def read_for(self, features: str) -> tuple[AddOn | None, AddOn | None]:
        """What was taught to the model with this digest of its features; and what the file holds for another model.

        Raises:
            AddOnError: a file can't be read, or isn't an add-on.
        """
        first, beside = self.read(), self.beside(features)
        others = first if first and first.features != features else None
        own = [AddOn.read(beside)] if beside.exists() else []
        if first and not others:
            own.insert(0, first)
        return combined(own) if own else None, others

    def beside(self, features: str) -> Path:
        """Where it is kept what the model with this digest is taught while the file is another model's."""
        return self.file.with_name(f"{self.file.name.removesuffix(SUFFIX)}.{features[:12]}{SUFFIX}")

    def state(self, features: str | None) -> tuple[tuple[int, ...], ...]:
        """What changes with the file, or with the one beside it for a model; it is cheap."""
        return tuple(map(_state, [self.file, self.beside(features)] if features else [self.file]))

    def change(self, change: Change, features: str | None = None) -> AddOn | None:
        """Replace what was taught by what `change` makes of it, while nobody else does.

        Without `features`, the digest of the model's features, this is about the file itself.

        Raises:
            AddOnError: the file can't be read or written, `change` raises it or makes something for another model.
        """
        with self._locked():
            before, others = self.read_for(features) if features else (self.read(), None)
            addon = change(before)
            if addon and features and addon.features != features:
                raise AddOnError("Another model answers by now; begin anew to teach it.")
            beside = self.beside(features) if features else None
            file = beside if beside and others else self.file
            if addon:
                addon.write(file)
            else:
                file.unlink(missing_ok=True)
            if beside and file != beside:
                beside.unlink(missing_ok=True)  # what it held is in the file by now
            return addon

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            with self._lock:
                yield
        except Timeout:
            raise AddOnError(f"{self.file} is in use; try again in a while.") from None
        except OSError as error:
            raise AddOnError(f"{self.file} can't be written: {reason(error)}.") from None


def _state(file: Path) -> tuple[int, ...]:
    try:
        found = file.stat()
    except OSError:
        return ()
    return found.st_mtime_ns, found.st_size, found.st_ino

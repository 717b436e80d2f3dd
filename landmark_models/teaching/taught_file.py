"""A file of taught landmarks that several programs may change: `landmarks teach --into FILE`, `app.py --teach FILE`."""

from collections.abc import Callable
from pathlib import Path

from filelock import FileLock, Timeout

from landmark_models.errors import reason
from landmark_models.teaching.addon import AddOn, AddOnError

_LOCK_TIMEOUT = 10.0  # seconds

Change = Callable[[AddOn | None], AddOn | None]


class TaughtFile:
    """An add-on in a file, which isn't there while nothing is taught. Several threads and programs may change it."""

    def __init__(self, file: Path):
        self._file = file
        self._lock = FileLock(file.with_name(f".{file.name}.lock"), timeout=_LOCK_TIMEOUT)

    def read(self) -> AddOn | None:
        """What was taught.

        Raises:
            AddOnError: the file can't be read, or isn't an add-on.
        """
        return AddOn.read(self._file) if self._file.exists() else None

    def change(self, change: Change) -> AddOn | None:
        """Replace what was taught by what `change` makes of it, while nobody else does.

        Raises:
            AddOnError: the file can't be read or written, or `change` raises it.
        """
        try:
            with self._lock:
                addon = change(self.read())
                if addon is None:
                    self._file.unlink(missing_ok=True)
                else:
                    addon.write(self._file)
                return addon
        except Timeout:
            raise AddOnError(f"{self._file} is in use; try again in a while.") from None
        except OSError as error:
            raise AddOnError(f"{self._file} can't be written: {reason(error)}.") from None

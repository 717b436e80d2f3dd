"""The output of a long job over photos: one row for each, neither lost nor duplicated by a kill or a full disk.

While the job runs, the folder `OUT.parts/` holds JSON lines, a file for each process and start. At the end they become
`OUT` in one rename, and the folder is removed.
"""

import contextlib
import csv
import hashlib
import json
import os
import re
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO

from filelock import FileLock, Timeout

from landmark_models.errors import LandmarkError, reason
from landmark_models.files import atomic_path, write_json
from landmark_models.library.rows import Csv, JsonLines, Row, Summary

_SYNC_SECONDS = 5.0  # between two fsyncs
_OURS = re.compile(r"^(lock|job\.json|.*\.jsonl|.*\.part)$")


class DiskSet:
    """A set of strings in a temporary file, so that a hundred million take no more memory than ten.

    Each may have a value, as in a dictionary.
    """

    def __init__(self) -> None:
        self._rows = sqlite3.connect("", isolation_level=None)  # a temporary file that SQLite deletes
        self._rows.execute("PRAGMA synchronous = OFF")
        self._rows.execute("CREATE TABLE keys (key BLOB PRIMARY KEY, value TEXT) WITHOUT ROWID")
        self._rows.execute("BEGIN")

    def add(self, text: str, value: str | None = None) -> bool:
        """Add a string; returns whether it is new. A LandmarkError says that the folder for temporary files is full."""
        try:
            added = self._rows.execute("INSERT OR IGNORE INTO keys VALUES (?, ?)", (_digest(text), value))
            return added.rowcount == 1
        except sqlite3.OperationalError as error:
            raise LandmarkError(
                f"The folder for temporary files can't be written: {error}; name another in SQLITE_TMPDIR."
            ) from None

    def pop(self, text: str) -> str | None:
        """Remove a string; returns its value, None if it isn't there."""
        found = self._rows.execute("DELETE FROM keys WHERE key = ? RETURNING value", (_digest(text),)).fetchone()
        return found[0] if found else None

    def close(self) -> None:
        """Delete the file."""
        self._rows.close()


class Journal:
    """The rows of a job on their way to `out`, a .jsonl file or a .csv file with `columns`.

    Each row has at least `path`, `name`, `model`, `revision` and `error`.

    Several `processes` may share a job: each does the paths for which `is_mine` is true, and appends to its own file.
    If `out` exists, its rows are kept and only missing and failed photos are done, so the same command also handles a
    library that has grown.

    Raises:
        LandmarkError: `out` has another suffix, or is a folder.
    """

    def __init__(self, out: Path, columns: Sequence[str], process: int = 0, processes: int = 1):
        self.out, self.process, self.processes = out, process, processes
        if out.suffix.lower() not in (".jsonl", ".csv") or os.path.isdir(out):
            raise LandmarkError(f"The output {out} must be a file whose name ends in .jsonl or .csv.")
        self.format: JsonLines | Csv = JsonLines() if out.suffix.lower() == ".jsonl" else Csv(columns)
        self.parts = out.with_name(f"{_fitting(out.name)}.parts")
        self.lock = FileLock(self.parts / "lock", blocking=False)
        self._done, self._due = DiskSet(), DiskSet()
        self._shard: IO[str] | None = None
        self._before = 0  # rows of all processes at this start
        self._synced = time.monotonic()

    def begin(self, job: Row) -> None:
        """Create the folder and lock it against other commands; called by one process before the others continue.

        `job` is what determines the rows; only the same job can be resumed. One without a row wasn't begun.

        Raises:
            LandmarkError: a different job was begun here, a command is running, or the folder can't be written.
        """
        try:
            if self.parts.is_dir() and any(not _OURS.search(file.name) for file in self.parts.iterdir()):
                raise LandmarkError(f"{self.parts} holds something else; name another output.")
            self.parts.mkdir(parents=True, exist_ok=True)
            self.lock.acquire()
            self._check(job)
            write_json(self.parts / "job.json", job)
        except Timeout:
            raise LandmarkError(f"Another command is writing {self.out}; wait for it to end.") from None
        except OSError as error:
            raise LandmarkError(f"{self.parts} can't be written: {reason(error)}.") from None
        except LandmarkError:
            self.release()
            raise

    def _check(self, job: Row) -> None:
        """Raise a LandmarkError if a row here is of another job."""
        first = [(next(JsonLines.unfinished_rows(part), None), self.parts) for part in self._part_files()]
        if (begun := self._job()) and any(row for row, _ in first):
            _check_same_job(begun, job, self.parts)
        if self.out.is_file():
            first.append((next(self._finished(), None), self.out))
        for row, where in first:  # rows have their model even where a power cut has taken job.json
            if row:
                made, wanted = ({name: each[name] for name in ("model", "revision")} for each in (row, job))
                _check_same_job(made, wanted, where)

    def _job(self) -> Row | None:
        """The job that was begun here; None if there is none, or a power cut left its file empty."""
        try:
            job = json.loads((self.parts / "job.json").read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return None
        return job if isinstance(job, dict) else None

    def resume(self, job: Row, is_due: Callable[[Row], bool] | None = None) -> int:
        """Read what earlier starts have done; returns how many of this process's photos that is.

        `is_due` is whether a photo that was answered needs something else; `take_due` then gives its row.

        Raises:
            LandmarkError: the job differs from that of the process that began, or nothing can be written.
        """
        _check_same_job(self._job() or job, job, self.parts)
        done = 0
        for row in self._rows():
            if self._done.add(row["path"]):
                self._before += 1
                if self._is_own(row["path"]):
                    done += 1
                    if is_due and not row["error"] and is_due(row):
                        self._due.add(row["path"], json.dumps(row))
        # a new file for each start: never append to a line that a kill left unfinished
        name = f"{time.time_ns():020}-{self.process}.jsonl"
        with self._writing():
            self._shard = (self.parts / name).open("x", encoding="utf-8")
        return done

    def take_due(self, path: str) -> Row | None:
        """The row of a photo of this process that is due, once; the next row appended for it takes its place."""
        row = self._due.pop(path)
        return json.loads(row) if row else None

    def is_mine(self, path: str) -> bool:
        """Whether this process has to do a photo: it is one of its own and not done yet."""
        return self._is_own(path) and self._done.add(path)

    def _is_own(self, path: str) -> bool:
        return int.from_bytes(_digest(path)[:8]) % self.processes == self.process

    def append(self, rows: Iterable[Row]) -> None:
        """Write rows, or raise a LandmarkError. Then a kill can't undo them, nor seconds later a power cut."""
        assert self._shard is not None, "call resume first"
        with self._writing():
            self._shard.write("".join(json.dumps(row) + "\n" for row in rows))
            self._shard.flush()
            if time.monotonic() - self._synced > _SYNC_SECONDS:
                os.fsync(self._shard.fileno())
                self._synced = time.monotonic()

    def close(self) -> None:
        """Close this process's file; what is written stays for the next start."""
        if self._shard:
            with contextlib.suppress(OSError):
                self._shard.close()
            self._shard = None
        self._done.close()
        self._due.close()

    def finish(self) -> Summary:
        """Write the output from all rows; called by the process that began, once the others have closed.

        The parts are kept if a LandmarkError says that it can't be written.
        """
        summary, paths = Summary(), DiskSet()

        def counted() -> Iterator[Row]:
            failed = (row for row in self._finished() if row["error"]) if self.out.is_file() else ()
            for rows, old in ((self._rows(), 0), (failed, 1)):  # a failed row stays until its photo is done again
                for row in rows:
                    if paths.add(row["path"]):
                        summary.count(row)
                        self._before += old
                        yield row

        with (
            self._writing(),
            atomic_path(self.out) as scratch,
            scratch.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file,
        ):
            self.format.write(file, counted())
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(OSError, AttributeError):  # so that a power cut can't undo the rename
            folder = os.open(self.out.parent, os.O_DIRECTORY)
            os.fsync(folder)
            os.close(folder)
        paths.close()
        self._remove()
        summary.new = summary.total - self._before
        return summary

    def release(self) -> None:
        """Unlock the folder, and remove it if it has no row; called by all processes at the end, whatever happened."""
        self.close()
        if self.lock.is_locked and not any(next(JsonLines.unfinished_rows(part), None) for part in self._part_files()):
            self._remove()
        self.lock.release()

    def _remove(self) -> None:
        shutil.rmtree(self.parts, ignore_errors=True)
        self.lock.release()

    def _part_files(self) -> list[Path]:
        """The files of rows in the folder, the newest first."""
        return sorted(self.parts.glob("*.jsonl"), reverse=True)

    def _rows(self) -> Iterator[Row]:
        """All rows so far, of which a photo's first counts: those of the parts, then those of the output.

        Failed ones of the output aren't among them: they are retried.
        """
        for part in self._part_files():
            yield from JsonLines.unfinished_rows(part)
        if self.out.is_file():
            yield from (row for row in self._finished() if not row["error"])

    def _finished(self) -> Iterator[Row]:
        """The rows of the existing output."""
        try:
            with self.out.open(encoding="utf-8", newline="") as file:
                yield from self.format.read(file)
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise LandmarkError(f"{self.out} can't be read: {error}; name another output.") from None

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Report a full or read-only disk in a sentence."""
        try:
            yield
        except OSError as error:
            raise LandmarkError(
                f"{self.out} can't be written: {reason(error)}. What is done so far is kept in {self.parts}: "
                "make room, then run the same command again to resume."
            ) from None


def _fitting(name: str) -> str:
    """A name that leaves room for a suffix in the 255 bytes of most file systems."""
    return name if len(os.fsencode(name)) < 240 else f"{name[:50]}-{_digest(name).hex()}"


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _check_same_job(begun: Row, job: Row, where: Path) -> None:
    """Raise a LandmarkError if a job differs from the one that was begun there."""
    differences = [
        f"{name} {begun.get(name)!r}, now {job.get(name)!r}" for name in sorted(job) if begun.get(name) != job.get(name)
    ]
    if differences:
        raise LandmarkError(
            f"{where} was begun with {'; '.join(differences)}. Resume it with the same settings, "
            "name another output, or delete it. MODEL@REVISION selects a revision."
        )

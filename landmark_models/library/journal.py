"""The output of a long job over photos: a row for each, which neither a kill nor a full disk loses or doubles.

While the job runs, `OUT.parts/` beside its output holds whole lines of JSON, a file for each process and start; at the
end they become `OUT` by one rename, and the folder goes.
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
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from filelock import FileLock, Timeout

from landmark_models.errors import LandmarkError, reason
from landmark_models.files import atomic_path, write_json
from landmark_models.library.rows import Csv, JsonLines, Row, RowFile

__all__ = ["Journal", "Seen", "Summary"]

_SYNC_SECONDS = 5.0  # between two times that lines are made to reach the disk
_MOST_REASONS = 1000
_OURS = re.compile(r"^(lock|job\.json|.*\.jsonl|.*\.part)$")


class Seen:
    """A set of texts, kept in a temporary file, so that a hundred million take no more memory than ten."""

    def __init__(self) -> None:
        self._rows = sqlite3.connect("", isolation_level=None)  # SQLite's own temporary file, which goes with it
        self._rows.execute("PRAGMA synchronous = OFF")
        self._rows.execute("CREATE TABLE seen (key BLOB PRIMARY KEY) WITHOUT ROWID")
        self._rows.execute("BEGIN")

    def add(self, text: str) -> bool:
        """Take a text in; says whether it is new.

        Raises:
            LandmarkError: the folder for temporary files is full.
        """
        try:
            return self._rows.execute("INSERT OR IGNORE INTO seen VALUES (?)", (_digest(text),)).rowcount == 1
        except sqlite3.OperationalError as error:
            raise LandmarkError(
                f"The folder for temporary files can't be written: {error}; name another in SQLITE_TMPDIR."
            ) from None

    def close(self) -> None:
        """Give back the file."""
        self._rows.close()


@dataclass
class Summary:
    """What a job's output holds: photos in all, with a landmark recognised and without, those that failed by reason.

    `new` are those that the last start has done.
    """

    total: int = 0
    new: int = 0
    recognised: int = 0
    unknown: int = 0
    failed: int = 0
    landmarks: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)

    def count(self, row: Row) -> None:
        """Count a row by its `path`, `name` and `error`."""
        self.total += 1
        if row["error"]:
            self.failed += 1
            reason = row["error"].replace(row["path"], "the photo")
            self.reasons[reason if reason in self.reasons or len(self.reasons) < _MOST_REASONS else "other"] += 1
        elif row["name"]:
            self.recognised += 1
            self.landmarks[row["name"]] += 1
        else:
            self.unknown += 1


class Journal:
    """The rows of a job on their way to `out`, a .jsonl or a .csv file.

    Each has at least `path`, `name`, `model`, `revision` and `error`.

    Several processes may work on one job: each takes the paths that `is_mine` gives it, and appends to a file of its
    own. Where `out` is there already, its rows stay, and only what is missing or failed is done; so a library that has
    grown is done by the same command.

    Args:
        out: the output.
        columns: of a CSV file.
        process: which of the processes this is, from 0.
        processes: how many there are.

    Raises:
        LandmarkError: `out` has another suffix, or is a folder.
    """

    def __init__(self, out: Path, columns: Sequence[str], process: int = 0, processes: int = 1):
        self.out, self.process, self.processes = out, process, processes
        if out.suffix.lower() not in (".jsonl", ".csv") or os.path.isdir(out):
            raise LandmarkError(f"The output {out} must be a file whose name ends in .jsonl or .csv.")
        self.format: RowFile = JsonLines() if out.suffix.lower() == ".jsonl" else Csv(columns)
        self.parts = out.with_name(f"{out.name}.parts")
        self.lock = FileLock(self.parts / "lock", blocking=False)
        self._seen = Seen()
        self._shard: IO[str] | None = None
        self._before = 0  # rows, of all processes, when this one opened it
        self._synced = time.monotonic()

    def begin(self, job: Row) -> None:
        """Make the folder, and hold it against others; by one of the processes, before the others go on.

        Args:
            job: what decides how rows look; the same job alone is gone on with.

        Raises:
            LandmarkError: another job stands there, is running, or nothing can be written.
        """
        try:
            if self.parts.is_dir() and any(not _OURS.search(file.name) for file in self.parts.iterdir()):
                raise LandmarkError(f"{self.parts} holds something else; name another output.")
            self.parts.mkdir(parents=True, exist_ok=True)
            self.lock.acquire()
            if begun := self._job():
                _refuse_other(begun, job, self.parts)
            elif self.out.is_file():
                try:
                    first = next(self._finished(), job)
                    made, wanted = ({name: row[name] for name in ("model", "revision")} for row in (first, job))
                    _refuse_other(made, wanted, self.out)
                except LandmarkError:
                    self._remove()
                    raise
            write_json(self.parts / "job.json", job)
        except Timeout:
            raise LandmarkError(f"Another command is writing {self.out} at this moment.") from None
        except OSError as error:
            raise LandmarkError(f"{self.parts} can't be written: {reason(error)}.") from None
        except LandmarkError:
            self.lock.release()
            raise

    def _job(self) -> Row | None:
        """The job that was begun here; None where none was, or a power cut has left its file empty."""
        try:
            job = json.loads((self.parts / "job.json").read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return None
        return job if isinstance(job, dict) else None

    def open(self, job: Row) -> int:
        """Learn what earlier starts have done; says how many of this process's photos are.

        Raises:
            LandmarkError: this process has another job than the one that began, or nothing can be written.
        """
        _refuse_other(self._job() or job, job, self.parts)
        done = 0
        for row in self._rows():
            if self._seen.add(row["path"]):
                self._before += 1
                done += self._is_among_its_own(row["path"])
        # a new file each time: what a kill left half-written in another stays alone
        name = f"{time.time_ns():020}-{self.process}.jsonl"
        with self._writing():
            self._shard = (self.parts / name).open("x", encoding="utf-8")
        return done

    def is_mine(self, path: str) -> bool:
        """Whether this process has a photo to do: it is among its own, and not done."""
        return self._is_among_its_own(path) and self._seen.add(path)

    def _is_among_its_own(self, path: str) -> bool:
        return int.from_bytes(_digest(path)[:8]) % self.processes == self.process

    def append(self, rows: Iterable[Row]) -> None:
        """Write rows, which a kill of this process can't undo from here on, nor, some seconds later, a power cut.

        Raises:
            LandmarkError: they can't be written.
        """
        assert self._shard is not None, "open comes first"
        with self._writing():
            self._shard.write("".join(json.dumps(row) + "\n" for row in rows))
            self._shard.flush()
            if time.monotonic() - self._synced > _SYNC_SECONDS:
                os.fsync(self._shard.fileno())
                self._synced = time.monotonic()

    def close(self) -> None:
        """End this process's part; what is written stays for the next start."""
        if self._shard:
            with contextlib.suppress(OSError):
                self._shard.close()
            self._shard = None
        self._seen.close()

    def finish(self) -> Summary:
        """Make the output of all that was written; by the process that began, once the others have closed.

        Raises:
            LandmarkError: it can't be written; the parts then stay.
        """
        summary, seen = Summary(), Seen()

        def counted() -> Iterator[Row]:
            failed = (row for row in self._finished() if row["error"]) if self.out.is_file() else ()
            for rows, old in ((self._rows(), 0), (failed, 1)):  # a failure stays until its photo is done again
                for row in rows:
                    if seen.add(row["path"]):
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
        with contextlib.suppress(OSError, AttributeError):  # so that a power cut does not undo the rename
            folder = os.open(self.out.parent, os.O_DIRECTORY)
            os.fsync(folder)
            os.close(folder)
        seen.close()
        self._remove()
        summary.new = summary.total - self._before
        return summary

    def release(self) -> None:
        """Let another command go on; for all processes, at the end, however it comes."""
        self.close()
        self.lock.release()

    def _remove(self) -> None:
        shutil.rmtree(self.parts, ignore_errors=True)
        self.lock.release()

    def _rows(self) -> Iterator[Row]:
        """All rows so far: of the output less those that failed, which are tried again, then of the parts."""
        if self.out.is_file():
            yield from (row for row in self._finished() if not row["error"])
        for part in sorted(self.parts.glob("*.jsonl")):
            with part.open(encoding="utf-8", errors="replace") as file:
                yield from JsonLines(unfinished=True).read(file)

    def _finished(self) -> Iterator[Row]:
        """The rows of the output as it is.

        Raises:
            LandmarkError: it is none that was written here.
        """
        try:
            with self.out.open(encoding="utf-8", newline="") as file:
                yield from self.format.read(file)
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise LandmarkError(f"{self.out} can't be read: {error}; name another output.") from None

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Turn a full or read-only disk into a sentence."""
        try:
            yield
        except OSError as error:
            raise LandmarkError(
                f"{self.out} can't be written: {reason(error)}. What is done so far is kept in {self.parts}: "
                "make room, and the same command goes on."
            ) from None


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _refuse_other(stated: Row, job: Row, where: Path) -> None:
    """Raise a LandmarkError that says in what a job differs from the one that stands there."""
    differences = [
        f"{name} {stated.get(name)!r}, now {job.get(name)!r}"
        for name in sorted(stated.keys() | job.keys())
        if stated.get(name) != job.get(name)
    ]
    if differences:
        raise LandmarkError(
            f"{where} was begun with {'; '.join(differences)}. Go on as it was begun, name another output, or "
            "delete it; a revision is named by MODEL@REVISION."
        )

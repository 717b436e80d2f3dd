"""Decode photos in worker processes, ahead of the model."""

import itertools
import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from multiprocessing.connection import wait
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torchvision.transforms import Compose

from landmark_models.errors import PhotoError
from landmark_models.files import Entry
from landmark_models.photo import read_photo

_CHUNK = 8  # photos that a worker gets at a time
_AHEAD = 4  # chunks per worker that are decoded before the model needs them


class Decoded(NamedTuple):
    """A photo as the network's input, float32 `(3, H, W)`, with its file's facts; or the error that prevented it."""

    entry: Entry
    image: NDArray[np.float32] | None = None
    bytes: int | None = None
    size: tuple[int, int] | None = None
    position: tuple[float, float] | None = None
    error: str = ""


class Decoders:
    """A pool of `workers` processes that decode photos exactly as the classifier with this transform and side does."""

    def __init__(self, transform: Compose, min_side: int, workers: int):
        self.transform, self.min_side, self.workers = transform, min_side, workers
        self._pool = self._start()

    def __enter__(self) -> "Decoders":
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._pool.shutdown(wait=error is None, cancel_futures=True)

    def decode(self, entries: Iterable[Entry]) -> Iterator[Decoded]:
        """Decode photos, in order, reading only as many entries ahead as keep the workers busy.

        A photo whose worker is killed, by the photo itself or for lack of memory, counts as unreadable.
        """
        remaining = iter(entries)
        pending: deque[tuple[list[Entry], Future[list[Decoded]]]] = deque()
        while True:
            try:
                while len(pending) < _AHEAD * self.workers and (chunk := list(itertools.islice(remaining, _CHUNK))):
                    pending.append((chunk, Future()))  # so that the chunk isn't lost if submitting it fails
                    pending[-1] = (chunk, self._pool.submit(_decode, chunk))
                if not pending:
                    return
                photos = pending[0][1].result()
                pending.popleft()
                yield from photos
            except BrokenProcessPool:
                broken = list(pending)
                pending.clear()
                self._pool = self._start()
                for chunk, future in broken:
                    if future.done() and future.exception() is None:
                        yield from future.result()
                    else:
                        yield from self._one_by_one(chunk)

    def _one_by_one(self, suspects: list[Entry]) -> Iterator[Decoded]:
        """Decode photos of which one has killed a worker, to find out which."""
        for entry in suspects:
            try:
                yield from self._pool.submit(_decode, [entry]).result()
            except BrokenProcessPool:
                self._pool = self._start()
                yield Decoded(entry, error=f"{entry.path} killed the process that decoded it (out of memory?).")

    def _start(self) -> ProcessPoolExecutor:
        # A forked worker has everything imported already; only on Linux is that safe.
        context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
        pool = ProcessPoolExecutor(self.workers, context, _start_worker, (self.transform, self.min_side))
        pool.submit(_decode, [])  # they start now, before the progress bar has a thread
        return pool


_transform: Compose
_min_side: int


def _start_worker(transform: Compose, min_side: int) -> None:
    global _transform, _min_side
    _transform, _min_side = transform, min_side
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the main process
    with suppress(AttributeError, OSError):
        os.nice(5)  # the model comes first: its next photos are decoded already
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _decode(chunk: list[Entry]) -> list[Decoded]:
    return [_decode_one(entry) for entry in chunk]


def _decode_one(entry: Entry) -> Decoded:
    if entry.error:
        return Decoded(entry, error=entry.error)
    try:
        image, bytes_, size, position = read_photo(entry.path, _min_side)
        return Decoded(entry, _transform(image).numpy(), bytes_, size, position)
    except PhotoError as error:
        return Decoded(entry, error=str(error))
    except Exception as error:  # an untrusted file may make a library raise anything; only its own photo fails
        return Decoded(entry, error=f"{entry.path} can't be decoded ({type(error).__name__}: {error}).")

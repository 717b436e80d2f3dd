"""Photos decoded in processes of their own, ahead of the model that waits for them.

with Decoders(classifier.transform, classifier.min_side, workers=8) as decoders:
    for photo in decoders.decode(find_entries(["photos/"])):
        ...
"""

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
from types import TracebackType
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torchvision.transforms import Compose

from landmark_models.errors import PhotoError
from landmark_models.files import Entry
from landmark_models.photo import read_photo

__all__ = ["Decoded", "Decoders"]

_CHUNK = 8  # photos that a process is handed at a time
_AHEAD = 4  # chunks for each process that are decoded or being decoded before the model wants them


class Decoded(NamedTuple):
    """The network's input, float32 `(3, H, W)`, and what the photo's file says of it; or why there is none."""

    entry: Entry
    image: NDArray[np.float32] | None = None
    bytes: int | None = None
    size: tuple[int, int] | None = None
    position: tuple[float, float] | None = None
    error: str = ""


class Decoders:
    """A pool of processes that decode, each photo as the classifier would.

    Args:
        transform: from an RGB image to the network's input.
        min_side: as in `open_photo`.
        workers: how many processes.
    """

    def __init__(self, transform: Compose, min_side: int, workers: int):
        self.transform, self.min_side, self.workers = transform, min_side, workers
        self._pool = self._start()

    def __enter__(self) -> "Decoders":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=error is None, cancel_futures=True)

    def decode(self, entries: Iterable[Entry]) -> Iterator[Decoded]:
        """Decode photos, in turn, taking entries no further ahead than keeps the processes busy.

        A photo that kills its process, or whose process is killed for want of memory, is one that can't be read.
        """
        remaining = iter(entries)
        under_way: deque[tuple[list[Entry], Future[list[Decoded]]]] = deque()
        while True:
            try:
                while len(under_way) < _AHEAD * self.workers and (chunk := list(itertools.islice(remaining, _CHUNK))):
                    under_way.append((chunk, Future()))  # so that it is not lost where submitting fails
                    under_way[-1] = (chunk, self._pool.submit(_decode, chunk))
                if not under_way:
                    return
                photos = under_way[0][1].result()
                under_way.popleft()
                yield from photos
            except BrokenProcessPool:
                broken = list(under_way)
                under_way.clear()
                self._pool = self._start()
                for chunk, future in broken:
                    if future.done() and future.exception() is None:
                        yield from future.result()
                    else:
                        yield from self._one_by_one(chunk)

    def _one_by_one(self, suspects: list[Entry]) -> Iterator[Decoded]:
        """Decode photos one of which has killed a process, so that it is known by which."""
        for entry in suspects:
            try:
                yield from self._pool.submit(_decode, [entry]).result()
            except BrokenProcessPool:
                self._pool = self._start()
                yield Decoded(entry, error=f"{entry.path} killed the process that decoded it (out of memory?).")

    def _start(self) -> ProcessPoolExecutor:
        # A copy of this process has everything imported already; elsewhere than on Linux that is not safe.
        context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
        pool = ProcessPoolExecutor(self.workers, context, _start_worker, (self.transform, self.min_side))
        pool.submit(_decode, [])  # they start now, before there is a thread for the bar
        return pool


_transform: Compose
_min_side: int


def _start_worker(transform: Compose, min_side: int) -> None:
    global _transform, _min_side
    _transform, _min_side = transform, min_side
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that writes
    with suppress(AttributeError, OSError):
        os.nice(5)  # the model comes first: what it waits for is decoded already
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
        photo = read_photo(entry.path, _min_side)
        return Decoded(entry, _transform(photo.image).numpy(), photo.bytes, photo.size, photo.position)
    except PhotoError as error:
        return Decoded(entry, error=str(error))
    except Exception as error:  # whatever a stranger's file makes a library do is this photo's affair alone
        return Decoded(entry, error=f"{entry.path} can't be decoded ({type(error).__name__}: {error}).")

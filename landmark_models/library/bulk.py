"""Tag a library of photos: a row for each in one file, and XMP sidecars on request.

summary = tag_library(["photos/"], Path("tags.jsonl"))

Photos are decoded in worker processes ahead of the model. Whatever is wrong with a photo is reported in its row.
"""

import itertools
import sys
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import PartialState
from accelerate.utils import parse_flag_from_env
from numpy.typing import NDArray
from tqdm.auto import tqdm

from landmark_models import models
from landmark_models.answer import Answer
from landmark_models.classifier import LandmarkClassifier
from landmark_models.devices import fast_precision, own_cores
from landmark_models.errors import LandmarkError
from landmark_models.files import Entry, left_out_line
from landmark_models.library.decoding import Decoded, Decoders
from landmark_models.library.journal import Journal
from landmark_models.library.listing import can_be_read_twice, check_sources, find_entries, written_path
from landmark_models.library.making import COLUMNS, RowMaker
from landmark_models.library.rows import Summary
from landmark_models.library.sidecars import Sidecars
from landmark_models.teaching import AddOn

BATCH = 64
_MAX_WAITING = 16 * BATCH  # photos whose rows are held back until a batch is full


def tag_library(
    sources: Sequence[str],
    out: Path,
    model: str = "default",
    *,
    addons: Sequence[AddOn] = (),
    sidecars: Sidecars | None = None,
    min_confidence: float = 0.0,
    workers: int | None = None,
) -> Summary | None:
    """Tag photos; resume where an earlier call stopped, however it ended.

    Several processes started by a launcher share the photos, each on its own device; all but the first return None.

    Args:
        sources: as in `find_entries`.
        out: a .jsonl or .csv file; see `Journal`.
        model: a MODEL.
        addons: landmarks that it was taught.
        sidecars: where to write XMP sidecars for photos with a known landmark, earlier answers included; None for
            nowhere.
        min_confidence: a probability in 0..1; answers below it don't count as known.
        workers: decoding processes for each process here; by default, as many as there are cores.

    Raises:
        LandmarkError: a source, the model or the output can't be used, or there is no photo. What is done is kept.
    """
    check_sources(sources)
    state = _join_processes(sources)
    with state.local_main_process_first():  # it downloads, the others on its machine find it in the cache
        loaded = models.load(model)
    classifier = LandmarkClassifier(loaded, state.device).with_taught(*addons)
    make_row = RowMaker(out.suffix.lower() == ".csv", loaded, min_confidence, sidecars, addons)
    journal = Journal(out, COLUMNS, state.process_index, state.num_processes)
    try:
        if state.is_main_process:
            journal.begin(make_row.job)
            if loaded.note:
                print(loaded.note, file=sys.stderr)
        state.wait_for_everyone()
        done = journal.resume(make_row.job, make_row.is_due)
        state.wait_for_everyone()  # all count before any continues
        left_out = _tag_remaining(sources, journal, classifier, make_row, state, done, workers or own_cores())
        journal.close()
        state.wait_for_everyone()
        summary = journal.finish() if state.is_main_process else None
    finally:
        journal.release()
    if summary:
        summary.left_out = left_out
        if not summary.total:
            out.unlink()
            raise LandmarkError(f"There is no photo in {', '.join(sources)}. {left_out_line(left_out)}".rstrip())
    return summary


def _join_processes(sources: Sequence[str]) -> PartialState:
    """This process's place among those that a launcher started; several of them can't share a stream."""
    on_cpu = parse_flag_from_env("ACCELERATE_USE_CPU") or not torch.accelerator.is_available()
    state = PartialState(on_cpu, timeout=timedelta(days=30))  # the others may finish days before the last
    if state.num_processes > 1 and not can_be_read_twice(sources):
        raise LandmarkError("Standard input can't be shared by several processes: write the list to a file.")
    if state.device.type == "cpu":  # a launcher leaves each process one thread
        torch.set_num_threads(own_cores())
    return state


def _tag_remaining(
    sources: Sequence[str],
    journal: Journal,
    classifier: LandmarkClassifier,
    make_row: RowMaker,
    state: PartialState,
    done: int,
    workers: int,
) -> Counter[str]:
    """Write the rows of this process's photos that aren't done or lack a sidecar; returns what listing leaves out."""
    left_out: Counter[str] = Counter()

    def remaining() -> Iterator[Entry]:
        for entry in find_entries(sources, left_out):
            path = written_path(entry.path)
            if row := journal.take_due(path):
                if (new := make_row.with_sidecar(entry, row)) != row:
                    journal.append([new])
            elif journal.is_mine(path):
                yield entry

    with (
        Decoders(classifier.transform, classifier.min_side, workers) as decoders,
        tqdm(desc="tagging", unit="photo", initial=done, disable=not state.is_main_process) as bar,
    ):
        if state.is_main_process and can_be_read_twice(sources):
            threading.Thread(target=_count, args=[sources, state.num_processes, bar], daemon=True).start()
        for batch in _answered(decoders.decode(remaining()), classifier):
            journal.append([make_row.answered(photo, answer) for photo, answer in batch])
            bar.update(len(batch))
    return left_out


def recognise(classifier: LandmarkClassifier, images: NDArray[np.float32]) -> list[Answer]:
    """Preprocessed images `(B, 3, H, W)` to answers, in the precision that is fastest on the device."""
    return classifier.rank(classifier.outputs(torch.from_numpy(images), fast_precision(classifier.device)))


def _answered(
    photos: Iterable[Decoded], classifier: LandmarkClassifier
) -> Iterator[list[tuple[Decoded, Answer | None]]]:
    """Photos with their answers, in order, one batch of the model at a time; unreadable ones take no place in it."""
    waiting: list[Decoded] = []
    readable = 0
    for photo in itertools.chain(photos, [None]):
        if photo is not None:
            waiting.append(photo)
            readable += photo.image is not None
        if waiting and (photo is None or readable == BATCH or len(waiting) == _MAX_WAITING):
            images = [each.image for each in waiting if each.image is not None]
            answers = iter(recognise(classifier, np.stack(images)) if images else [])
            yield [(each, None if each.image is None else next(answers)) for each in waiting]
            waiting, readable = [], 0


def _count(sources: Sequence[str], processes: int, bar: "tqdm[Any]") -> None:
    """Give the progress bar its total, from which it estimates the time left."""
    with suppress(LandmarkError):
        bar.total = sum(1 for _ in find_entries(sources)) // processes
        bar.refresh()

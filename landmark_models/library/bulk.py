"""A library of photos, tagged: a row for each in one file, and XMP sidecars where asked for.

summary = tag_library(["photos/"], Path("tags.jsonl"))

Photos are decoded in worker processes ahead of the model. Whatever is wrong with one is said in its row.
"""

import itertools
import os
import sys
import threading
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
from landmark_models.classifier import Answer, LandmarkClassifier
from landmark_models.devices import available_cores, fast_precision
from landmark_models.errors import LandmarkError
from landmark_models.files import sha256
from landmark_models.library.decoding import Decoded, Decoders
from landmark_models.library.journal import Journal, Summary
from landmark_models.library.listing import can_be_read_twice, check_sources, find_entries, written_path
from landmark_models.library.rows import Row
from landmark_models.library.sidecars import Sidecars
from landmark_models.tagging.tags import CSV_COLUMNS, Tags
from landmark_models.text import for_spreadsheet

__all__ = ["BATCH", "COLUMNS", "recognise", "tag_library"]

COLUMNS = (
    *CSV_COLUMNS[:-1], "bytes", "width", "height", "photo_latitude", "photo_longitude", "model", "revision", "sidecar",
    "error",
)  # fmt: skip

BATCH = 64
_MOST_WAITING = 16 * BATCH  # photos whose rows are held back until a batch is full


class _Writer:
    """From a decoded photo and its answer to its row."""

    def __init__(self, csv: bool, model: str, revision: str, min_confidence: float, sidecars: Sidecars | None):
        self.csv, self.origin = csv, {"model": model, "revision": revision}
        self.min_confidence, self.sidecars = min_confidence, sidecars

    def __call__(self, photo: Decoded, answer: Answer | None) -> Row:
        path = written_path(photo.entry.path)
        error = photo.error.replace(photo.entry.path, path)
        tags, sidecar = None, None
        if answer is not None:
            known = answer.known and answer[0].score >= self.min_confidence
            verdict = answer.verdict
            if known != answer.known:
                verdict = f"Its score is below the minimum of {self.min_confidence:.0%}"
            tags = Tags.of(Answer(answer, known, verdict), photo.position)
            if self.sidecars and tags.recognised:
                try:
                    sidecar = self.sidecars.write(photo.entry.path, tags)
                except Exception as reason:  # what stands there may be made to break whatever reads it
                    why = reason if isinstance(reason, LandmarkError) else f"{type(reason).__name__}: {reason}"
                    error = f"Its sidecar can't be written: {why}."
        width, height = photo.size or (None, None)
        latitude, longitude = photo.position or (None, None)
        if self.csv:
            facts = {
                "bytes": photo.bytes, "width": width, "height": height, "photo_latitude": latitude,
                "photo_longitude": longitude, "sidecar": sidecar, **self.origin,
            }  # fmt: skip
            cells = {name: "" if fact is None else str(fact) for name, fact in facts.items()}
            row = dict.fromkeys(COLUMNS, "") | (tags.row(path) if tags else {"path": path})
            return row | cells | {"error": for_spreadsheet(error)}
        record: Row = {"path": path, "size": {"bytes": photo.bytes, "width": width, "height": height}}
        record |= tags.record() if tags else {"name": None}
        record["gps"] = {"latitude": latitude, "longitude": longitude} if photo.position else None
        if self.sidecars:
            record["sidecar"] = sidecar
        return record | self.origin | {"error": error or None}


def tag_library(
    sources: Sequence[str],
    out: Path,
    model: str = "default",
    *,
    sidecars: Sidecars | None = None,
    min_confidence: float = 0.0,
    workers: int | None = None,
) -> Summary | None:
    """Tag photos; go on where an earlier call, however it ended, has stopped.

    Under a launcher several processes share the photos, each on its own device.

    Args:
        sources: as `find_entries` takes them.
        out: a .jsonl or .csv file; see `Journal`.
        model: a MODEL.
        sidecars: where to write XMP sidecars of what is recognised; None for none.
        min_confidence: a probability below which a photo counts as showing no landmark that is known.
        workers: processes that decode, for each process here; None for as many as there are cores.

    Returns:
        What the output holds; None in all processes but the first.

    Raises:
        LandmarkError: a source, the model or the output can't be used, or there is no photo. What is done is kept.
    """
    check_sources(sources)
    if not 0 <= min_confidence <= 1:
        raise LandmarkError(f"min_confidence={min_confidence} must be from 0 to 1.")
    on_cpu = parse_flag_from_env("ACCELERATE_USE_CPU") or not torch.accelerator.is_available()
    state = PartialState(on_cpu, timeout=timedelta(days=30))  # nobody knows how long the last process takes
    main, processes = state.is_main_process, state.num_processes
    countable = can_be_read_twice(sources)
    if processes > 1 and not countable:
        raise LandmarkError("Standard input can't be shared by several processes: write the list to a file.")
    here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if state.device.type == "cpu":  # a launcher would leave a process one thread
        torch.set_num_threads(max(available_cores() // here, 1))
    with state.main_process_first():  # it downloads, the others find it there
        loaded = models.load(model)
    classifier = LandmarkClassifier(loaded, state.device)
    name = loaded.source.partition("@")[0] if loaded.source.startswith(models.PREFIX) else loaded.source
    revision = loaded.revision or f"sha256:{sha256(loaded.weights)[:16]}"
    job = {
        "model": name,
        "revision": revision,
        "min_confidence": min_confidence,
        "sidecars": str(sidecars.folder or "beside the photos") if sidecars else None,
    }
    journal = Journal(out, COLUMNS, state.process_index, processes)
    try:
        if main:
            journal.begin(job)
            if loaded.note:
                print(loaded.note, file=sys.stderr)
        state.wait_for_everyone()
        done = journal.open(job)
        state.wait_for_everyone()  # so that each has counted before any goes on
        writer = _Writer(out.suffix.lower() == ".csv", name, revision, min_confidence, sidecars)
        entries = (entry for entry in find_entries(sources) if journal.is_mine(written_path(entry.path)))
        workers = workers or max(available_cores() // here, 1)
        with (
            Decoders(classifier.transform, classifier.min_side, workers) as decoders,
            tqdm(desc="tagging", unit="photo", initial=done, disable=not main) as bar,
        ):
            if countable and main:
                threading.Thread(target=_count, args=[sources, processes, bar], daemon=True).start()
            for rows in _rows(decoders.decode(entries), classifier, writer):
                journal.append(rows)
                bar.update(len(rows))
        journal.close()
        state.wait_for_everyone()
        if not main:
            return None
        summary = journal.finish()
        if not summary.total:
            out.unlink()
            raise LandmarkError(f"There is no photo in {', '.join(sources)}.")
        return summary
    finally:
        journal.release()


def recognise(classifier: LandmarkClassifier, images: NDArray[np.float32]) -> list[Answer]:
    """Preprocessed images `(B, 3, H, W)` to their answers, in the precision that the device is fast in."""
    return classifier.rank(classifier.outputs(torch.from_numpy(images), fast_precision(classifier.device)))


def _rows(photos: Iterable[Decoded], classifier: LandmarkClassifier, writer: _Writer) -> Iterator[list[Row]]:
    """Rows, in turn, a batch of the model at a time; photos that could not be read take no place in it."""
    waiting: list[Decoded] = []
    readable = 0
    for photo in itertools.chain(photos, [None]):
        if photo is not None:
            waiting.append(photo)
            readable += photo.image is not None
        if waiting and (photo is None or readable == BATCH or len(waiting) == _MOST_WAITING):
            images = [each.image for each in waiting if each.image is not None]
            answers = iter(recognise(classifier, np.stack(images)) if images else [])
            yield [writer(each, None if each.image is None else next(answers)) for each in waiting]
            waiting, readable = [], 0


def _count(sources: Sequence[str], processes: int, bar: "tqdm[Any]") -> None:
    """Tell the bar how many photos there are, so that it knows how long it takes."""
    with suppress(LandmarkError):
        bar.total = sum(1 for _ in find_entries(sources)) // processes
        bar.refresh()

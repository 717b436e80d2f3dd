"""Speed of tagging a library, against decoding alone and the model alone."""

import os
import shutil
import tempfile
import time
from contextlib import redirect_stderr
from pathlib import Path

import numpy as np
from accelerate import PartialState

from landmark_models import LandmarkClassifier
from landmark_models.devices import available_cores, device_name
from landmark_models.library.bulk import BATCH, recognise, tag_library
from landmark_models.library.decoding import Decoders
from landmark_models.library.listing import find_entries


def tagging(photo: Path, model: str, count: int, rounds: int) -> tuple[dict[str, list[float]], str]:
    """Photos per second of decoding alone, of the model alone, and of a whole `tag` after start-up, in turns.

    `count` copies of the photo are tagged in each of `rounds` turns. Returns `decode`, `model` and `tag` with a rate
    for each round, and the device.
    """
    rates: dict[str, list[float]] = {"decode": [], "model": [], "tag": []}
    with tempfile.TemporaryDirectory() as scratch:
        library = Path(scratch) / "library"
        library.mkdir()
        for index in range(count):
            shutil.copyfile(photo, library / f"{index}{photo.suffix}")
        tag_library([str(library)], Path(scratch) / "warm.jsonl", model)  # not timed; brings the files into memory
        classifier = LandmarkClassifier.load(model, PartialState().device)
        images = np.stack([classifier.preprocess(photo).numpy()] * BATCH)
        for turn in range(rounds):
            with Decoders(classifier.transform, classifier.min_side, available_cores()) as decoders:
                next(decoders.decode(find_entries([str(photo)])))  # started
                begun = time.perf_counter()
                decoded = sum(1 for _ in decoders.decode(find_entries([str(library)])))
                rates["decode"].append(decoded / (time.perf_counter() - begun))
            batches = max(count // BATCH, 1)
            recognise(classifier, images)
            begun = time.perf_counter()
            for _ in range(batches):
                recognise(classifier, images)
            rates["model"].append(batches * BATCH / (time.perf_counter() - begun))
            begun = time.perf_counter()
            with open(os.devnull, "w") as quiet, redirect_stderr(quiet):
                tag_library([str(library)], Path(scratch) / f"{turn}.jsonl", model)
            rates["tag"].append(count / (time.perf_counter() - begun))
    return rates, device_name(classifier.device)

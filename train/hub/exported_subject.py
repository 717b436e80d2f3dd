"""A file of `train.export` as something to evaluate."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tqdm.auto import tqdm

from landmark_models.errors import PhotoError
from landmark_models.rejection import KnownRule
from train.hub.exported_model import ExportedModel, photo_tensor
from train.measure.predict import Logits, Subject

__all__ = ["exported_subject"]


def exported_subject(file: str | Path) -> Subject:
    """The file takes photos whole, one at a time; its speed includes decoding them.

    Its logits are the logarithms of its probabilities; its scores are 0 or 1, because it applies its rule itself.

    Raises:
        ModelError: the file can't be used.
    """
    model, speeds = ExportedModel(file), [0.0]

    def predict(files: Sequence[Path], *_: Any, title: str = "predicting") -> Logits:
        rows, scores = [torch.empty(0, len(model.labels))], []
        failures: dict[int, str] = {}
        started = time.perf_counter()
        for index, photo in enumerate(tqdm(files, desc=title, unit="photo", leave=False)):
            try:
                probabilities, known = model.probabilities(photo_tensor(photo))
            except PhotoError as error:
                failures[index] = str(error)
                continue
            rows.append(probabilities.clamp_min(1e-30).log().unsqueeze(0))
            scores.append(float(known))
        speeds.append(len(files) / (time.perf_counter() - started))
        readable = [index for index in range(len(files)) if index not in failures]
        return Logits(torch.cat(rows), torch.tensor(scores), None, readable, failures)

    rule, device = KnownRule(threshold=0.5), torch.device("cpu")
    return Subject(model.labels, model.temperature, rule, device, predict, lambda: speeds[-1], has_options=False)

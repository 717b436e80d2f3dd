"""A file of `train.export` as something to evaluate."""

import time
from collections.abc import Sequence
from pathlib import Path

import torch
from tqdm.auto import tqdm

from landmark_models.errors import PhotoError
from landmark_models.rejection import KnownRule
from train.hub.exported_model import ExportedModel, photo_tensor
from train.measure.choices import TTA
from train.measure.predict import Change, Logits
from train.measure.subject import Subject

__all__ = ["ExportedSubject"]


class ExportedSubject(Subject):
    """Photos go in whole, one at a time, as the file takes them.

    Its logits are the logarithms of the file's probabilities; its scores are 0 or 1, as the file says itself whether it
    knows the landmark.

    Raises:
        ModelError: the file can't be used.
    """

    has_options = False

    def __init__(self, file: str | Path):
        self.model = ExportedModel(file)
        self.labels, self.temperature = self.model.labels, self.model.temperature
        self.rule, self.device = KnownRule(threshold=0.5), torch.device("cpu")
        self._speed = 0.0

    def predict(
        self,
        files: Sequence[Path],
        batch_size: int = 64,
        tta: TTA | None = None,
        change: Change | None = None,
        title: str = "predicting",
    ) -> Logits:
        rows, scores = [torch.empty(0, len(self.labels))], []
        failures: dict[int, str] = {}
        started = time.perf_counter()
        for index, file in enumerate(tqdm(files, desc=title, unit="photo", leave=False)):
            try:
                probabilities, known = self.model.probabilities(photo_tensor(file))
            except PhotoError as error:
                failures[index] = str(error)
                continue
            rows.append(probabilities.clamp_min(1e-30).log().unsqueeze(0))
            scores.append(float(known))
        self._speed = len(files) / (time.perf_counter() - started)
        readable = [index for index in range(len(files)) if index not in failures]
        return Logits(torch.cat(rows), torch.tensor(scores), None, readable, failures)

    def photos_per_second(self) -> float:
        """Of the last `predict`, decoding included."""
        return self._speed

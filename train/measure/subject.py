"""What is evaluated: anything that has labels and turns photos into logits."""

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

import torch

from landmark_models.classifier import LandmarkClassifier
from landmark_models.devices import best_device
from landmark_models.rejection import KnownRule
from train.measure.choices import TTA
from train.measure.predict import Change, Logits, predict_logits

__all__ = ["ServedModel", "Subject", "inference_speed"]


class Subject(ABC):
    """A model as `train.measure.evaluation.evaluate` sees it.

    Attributes:
        labels: by class index.
        temperature: what the network's logits are divided by.
        rule: whose threshold applies to the scores that `predict` returns.
        device: that it runs on.
        has_options: whether it takes several views of a photo, photos of other things, and corrupted photos.
    """

    labels: Sequence[str]
    temperature: float
    rule: KnownRule
    device: torch.device
    has_options: bool

    @abstractmethod
    def predict(
        self,
        files: Sequence[Path],
        batch_size: int = 64,
        tta: TTA | None = None,
        change: Change | None = None,
        title: str = "predicting",
    ) -> Logits:
        """Logits and scores of photos; see `predict_logits`."""

    @abstractmethod
    def photos_per_second(self) -> float:
        """Its speed, once it has predicted something."""


class ServedModel(Subject):
    """A MODEL as it is served, but computed by PyTorch on the best device.

    Raises:
        LandmarkError: the model isn't available.
    """

    has_options = True

    def __init__(self, model: str | Path):
        self.classifier = LandmarkClassifier.load(model, best_device(), "torch")
        self.labels, self.temperature = self.classifier.labels, self.classifier.temperature
        self.rule, self.device = self.classifier.known_rule, self.classifier.device

    def predict(
        self,
        files: Sequence[Path],
        batch_size: int = 64,
        tta: TTA | None = None,
        change: Change | None = None,
        title: str = "predicting",
    ) -> Logits:
        return predict_logits(self.classifier, files, batch_size, tta, change, title)

    def photos_per_second(self) -> float:
        return inference_speed(self.classifier)


def inference_speed(classifier: LandmarkClassifier, batch_size: int = 32, seconds: float = 1.0) -> float:
    """Photos per second of the network alone, on batches in memory."""
    images = torch.rand(batch_size, *classifier.pretrained_cfg["input_size"])
    classifier.logits(images)
    started, count = time.perf_counter(), 0
    while (elapsed := time.perf_counter() - started) < seconds:
        classifier.logits(images)  # its result is on the CPU, so no device is still busy
        count += batch_size
    return count / elapsed

"""What is evaluated: anything that has labels and turns photos into logits."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from landmark_models.classifier import LandmarkClassifier
from landmark_models.devices import best_device
from landmark_models.rejection import KnownRule
from train.measure.predict import Logits, predict_logits

__all__ = ["Subject", "inference_speed", "served_model"]


@dataclass(frozen=True)
class Subject:
    """A model as `train.measure.evaluation.evaluate` sees it.

    Attributes:
        labels: by class index.
        temperature: what the network's logits are divided by.
        rule: whose threshold applies to the scores of `predict`.
        device: that it runs on.
        predict: takes files and the options of `predict_logits`.
        photos_per_second: its speed, once it has predicted something.
        has_options: whether it takes several views of a photo, photos of other things, and corrupted photos.
    """

    labels: Sequence[str]
    temperature: float
    rule: KnownRule
    device: torch.device
    predict: Callable[..., Logits]
    photos_per_second: Callable[[], float]
    has_options: bool = True


def served_model(model: str | Path) -> Subject:
    """A MODEL as it is served, but computed by PyTorch on the best device.

    Raises:
        LandmarkError: the model isn't available.
    """
    classifier = LandmarkClassifier.load(model, best_device(), "torch")
    return Subject(
        classifier.labels,
        classifier.temperature,
        classifier.known_rule,
        classifier.device,
        partial(predict_logits, classifier),
        partial(inference_speed, classifier),
    )


def inference_speed(classifier: LandmarkClassifier, batch_size: int = 32, seconds: float = 1.0) -> float:
    """Photos per second of the network alone, on batches in memory."""
    images = torch.rand(batch_size, *classifier.pretrained_cfg["input_size"])
    classifier.logits(images)
    started, count = time.perf_counter(), 0
    while (elapsed := time.perf_counter() - started) < seconds:
        classifier.logits(images)  # its result is on the CPU, so no device is still busy
        count += batch_size
    return count / elapsed

"""Photos in, ranked landmarks out.

classifier = LandmarkClassifier.load()
answer = classifier.predict("holiday.jpg", top_k=3)  # [Prediction(label='Taj Mahal', score=0.97), ...]
answer.known  # False where the photo shows none of the model's landmarks
"""

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from landmark_models import hub
from landmark_models.errors import PhotoError
from landmark_models.photo import Photo, open_photo
from landmark_models.preprocess import required_side, serving_transform
from landmark_models.unknown import KnownRule

__all__ = ["Answer", "LandmarkClassifier", "Prediction"]


@dataclass(frozen=True)
class Prediction:
    """One candidate: a label of the model, and its probability in 0..1."""

    label: str
    score: float


class Answer(list[Prediction]):
    """The candidates for a photo, most likely first, and whether it shows a landmark that the model knows at all."""

    def __init__(self, candidates: Iterable[Prediction], known: bool = True):
        super().__init__(candidates)
        self.known = known


class LandmarkClassifier:
    """A model with its labels, its preprocessing, its temperature and what it knows: the one serving path.

    `labels` are the model's labels by class index, `config` its `config.json`, `source` where it came from, `revision`
    its commit on the Hub.
    """

    def __init__(self, model: hub.LoadedModel, device: str | torch.device = "cpu"):
        self.source = model.source
        self.revision = model.revision
        self.config = model.config
        self.landmark = model.landmark
        self.labels = model.labels
        self.device = torch.device(device)
        self.network = model.network.to(self.device).to(memory_format=torch.channels_last)
        self.temperature = float(self.landmark.get("temperature", 1.0))
        self.known_rule = KnownRule.from_config(self.landmark)
        self.pretrained_cfg = model.pretrained_cfg
        self.min_side = required_side(model.pretrained_cfg)
        self.transform = serving_transform(model.pretrained_cfg)

    @classmethod
    def load(
        cls, model: str | os.PathLike[str] = "default", device: str | torch.device = "cpu"
    ) -> "LandmarkClassifier":
        """Load a MODEL: `default`, a model or run folder, or `hf-hub:owner/name[@revision]`.

        Raises:
            ModelError: it does not exist, can't be downloaded, or its files don't fit together.
        """
        return cls(hub.load(model), device)

    def preprocess(self, photo: Photo) -> Tensor:
        """A photo as the network's input: float32 `(3, H, W)`.

        Raises:
            PhotoError: the photo can't be read.
        """
        return self.transform(open_photo(photo, self.min_side))

    @torch.inference_mode()
    def logits(self, images: Tensor) -> Tensor:
        """Preprocessed images `(B, 3, H, W)` to float32 logits `(B, classes)`, temperature applied, on the CPU."""
        images = images.to(self.device, memory_format=torch.channels_last)
        return self.network(images).float().cpu() / self.temperature

    @torch.inference_mode()
    def features(self, images: Tensor) -> Tensor:
        """Preprocessed images `(B, 3, H, W)` to what the network's last layer sees, float32 `(B, D)`, on the CPU."""
        images = images.to(self.device, memory_format=torch.channels_last)
        network: Any = self.network  # every network of timm has these two
        return network.forward_head(network.forward_features(images), pre_logits=True).float().cpu()

    def predict(self, photo: Photo, top_k: int = 5) -> Answer:
        """The `top_k` most likely landmarks (all of them where the model knows fewer), most likely first.

        Raises:
            PhotoError: the photo can't be read.
            ValueError: `top_k` is below 1.
        """
        _check_top_k(top_k)
        return self.rank(self.logits(self.preprocess(photo).unsqueeze(0)), top_k)[0]

    def predict_many(
        self, photos: Iterable[Photo], top_k: int = 5, batch_size: int = 32
    ) -> Iterator[Answer | PhotoError]:
        """`predict` for many photos: for each in turn its predictions, or the error that keeps it from having any.

        Photos are taken from the iterable a batch at a time, so it may be endless.

        Raises:
            ValueError: `top_k` or `batch_size` is below 1.
        """
        _check_top_k(top_k)
        if batch_size < 1:
            raise ValueError(f"batch_size={batch_size} must be at least 1.")
        return self._predict_batches(photos, top_k, batch_size)

    def _predict_batches(self, photos: Iterable[Photo], top_k: int, batch_size: int) -> Iterator[Answer | PhotoError]:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            remaining = iter(photos)
            while batch := list(islice(remaining, batch_size)):
                inputs = list(pool.map(self._preprocess_or_error, batch))
                images = [image for image in inputs if isinstance(image, Tensor)]
                ranked = iter(self.rank(self.logits(torch.stack(images)), top_k) if images else [])
                for item in inputs:
                    yield item if isinstance(item, PhotoError) else next(ranked)

    def _preprocess_or_error(self, photo: Photo) -> Tensor | PhotoError:
        try:
            return self.preprocess(photo)
        except PhotoError as error:
            return error

    def rank(self, logits: Tensor, top_k: int = 5) -> list[Answer]:
        """Logits `(B, classes)` to the answer for each photo, of its `top_k` most likely landmarks."""
        scores, indices = logits.softmax(dim=1).topk(min(top_k, len(self.labels)))
        rows = zip(indices.tolist(), scores.tolist(), self.known_rule(logits).tolist(), strict=True)
        return [
            Answer((Prediction(self.labels[index], score) for index, score in zip(*ranked, strict=True)), known)
            for *ranked, known in rows
        ]


def _check_top_k(top_k: int) -> None:
    if top_k < 1:
        raise ValueError(f"top_k={top_k} must be at least 1.")

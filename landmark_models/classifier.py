"""Photos in, ranked landmarks out.

classifier = LandmarkClassifier.from_pretrained("you/landmarks")  # without a name, the embedded model
answer = classifier.predict("holiday.jpg", top_k=3)  # [Prediction(label='Taj Mahal', score=0.97), ...]
answer.known  # False where the photo shows none of the model's landmarks
classifier("holiday.jpg")  # [{'label': 'Taj Mahal', 'score': 0.97}, ...]
"""

import copy
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from itertools import islice
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from landmark_models import models
from landmark_models.answer import Answer, Prediction, right_of_100, verdict_of
from landmark_models.devices import available_cores
from landmark_models.errors import LandmarkError, ModelError, PhotoError
from landmark_models.networks.engines import Engine, converted_body
from landmark_models.networks.served import Outputs, ServedNetwork
from landmark_models.photo import Photo, open_photo, read_photo
from landmark_models.preprocess import required_side, serving_transform
from landmark_models.rejection import KnownRule, is_number
from landmark_models.teaching import (
    AddOn,
    AddOnError,
    TaughtLandmarks,
    combined,
    combined_by_dimensions,
    features_digest,
    same_dimensions,
)
from landmark_models.text import listed

_BAR = 0.4  # cosine
_ONE_PHOTO = (str, bytes, bytearray, memoryview, os.PathLike, Image.Image)  # what can be iterated over, and mustn't be


class LandmarkClassifier:
    """A model with its labels, preprocessing, temperature and rejection rule: the one serving path.

    `labels` are the model's labels by class index, then those that it was `taught`; `own_labels` are the model's alone,
    `config` its `config.json`, `source` where it came from, `revision`
    its commit on the Hub, `network` the plain timm network, and `served` the network with its head and rule.

    The engine is "auto" for OpenVINO on a CPU if it is installed, converting the network once per machine; "cached" for
    OpenVINO if the network has been converted already; or "torch" for PyTorch. The environment variable LANDMARK_ENGINE
    replaces "auto".

    Raises:
        LandmarkError: the engine, or LANDMARK_ENGINE, isn't one of these.
    """

    def __init__(self, model: models.LoadedModel, device: str | torch.device = "cpu", engine: Engine = "auto"):
        self._model = model
        self.source, self.revision, self.config = model.source, model.revision, model.config
        self.landmark, self.own_labels = model.landmark, model.labels
        self.labels = self.own_labels
        self.device = torch.device(device)
        self.known_rule = KnownRule.from_config(self.landmark)
        temperature = float(self.landmark.get("temperature", 1.0))
        try:
            served = ServedNetwork(model.network, temperature, self.known_rule, model.statistics)
        except ValueError as error:
            raise ModelError(f"{model.source} can't be served: {error}.") from None
        self.served = served.eval().requires_grad_(False).to(self.device).to(memory_format=torch.channels_last)
        self.network = self.served.network
        self.pretrained_cfg = model.pretrained_cfg
        self.min_side = required_side(model.pretrained_cfg)
        self.transform = serving_transform(model.pretrained_cfg)
        self.taught: TaughtLandmarks | None = None
        self._body = converted_body(
            self.served,
            engine,
            device=self.device,
            architecture=self.config["architecture"],
            pretrained_cfg=self.pretrained_cfg,
            weights=model.weights,
        )

    @classmethod
    def from_pretrained(
        cls,
        model: str | os.PathLike[str] = "default",
        *,
        revision: str | None = None,
        device: str | torch.device = "cpu",
        engine: Engine = "auto",
    ) -> "LandmarkClassifier":
        """Load `owner/name` from the Hub, at a branch, tag or commit, or whatever else a MODEL may be.

        A folder of that name comes first.

        Raises:
            ModelError: as for `load`; or there is a `revision`, but the model isn't on the Hub or has one already.
        """
        return cls.load(models.with_revision(model, revision), device, engine)

    @classmethod
    def load(
        cls, model: str | os.PathLike[str] = "default", device: str | torch.device = "cpu", engine: Engine = "auto"
    ) -> "LandmarkClassifier":
        """Load a MODEL as commands name it: `default`, `compact`, a folder, or `hf-hub:owner/name[@revision]`.

        Raises:
            ModelError: it does not exist, can't be downloaded, or its files don't fit together.
        """
        return cls(models.load(model), device, engine)

    def with_taught(self, *addons: AddOn) -> "LandmarkClassifier":
        """This classifier with the landmarks of add-ons beside its own; without add-ons, with its own alone.

        The network is shared, so this takes milliseconds.

        Raises:
            AddOnError: an add-on was taught to another model, or this one can't be taught.
        """
        addons = tuple(combined_by_dimensions(addons))
        for addon in addons:
            self._check_fit(addon)
        return self._with_layers(None, addons)

    def with_more(self, addon: AddOn) -> "LandmarkClassifier":
        """This classifier with the landmarks of an add-on beside all that it knows, those that it was taught too.

        Raises:
            AddOnError: as for `with_taught`.
        """
        self._check_fit(addon)
        layers = self.taught.layers() if self.taught else []
        same = next((index for index, each in enumerate(layers) if same_dimensions(each.addon, addon)), len(layers))
        above = [each.addon for each in layers[same:]]
        changed = [combined([above[0], addon]), *above[1:]] if above else [addon]
        return self._with_layers(layers[same - 1] if same else None, changed)

    def _with_layers(self, below: TaughtLandmarks | None, addons: Sequence[AddOn]) -> "LandmarkClassifier":
        """This classifier with what was taught `below`, and add-ons on it."""
        other = copy.copy(self)
        other.taught, other.labels = below, below.labels if below else self.own_labels
        for addon in addons:
            other.taught = TaughtLandmarks(addon, self.served, other.labels, self.least_cosine, other.taught)
            other.labels = other.taught.labels
        return other

    def _check_fit(self, addon: AddOn) -> None:
        if addon.features != self.features_digest:
            raise AddOnError(
                f"{listed(addon.labels, 3)}: taught to {addon.model or 'another model'}, whose features aren't "
                f"those of {self.source}. Use the model that was taught, or teach this one."
            )
        if addon.width != self.served.mean.numel():
            raise AddOnError(f"{listed(addon.labels, 3)}: the add-on is damaged, its vectors have the wrong length.")

    @cached_property
    def features_digest(self) -> str:
        """What the features of photos depend on, as a digest; add-ons are for one of them.

        Raises:
            AddOnError: the model can't be taught.
        """
        statistics = self._model.statistics
        if statistics is None:
            raise AddOnError(
                f"{self.source} can't be taught: it has no {models.STATISTICS_FILE}, which models trained with "
                "head=whitened_cosine have."
            )
        return features_digest(self.network, statistics, self.config["architecture"], self.pretrained_cfg)

    @property
    def public_name(self) -> str:
        """The MODEL as others can load it; empty for a folder on this machine."""
        return self.source if self.source in models.EMBEDDED or self.revision else ""

    @property
    def least_cosine(self) -> float:
        """The least whitened cosine with which a taught landmark counts as known."""
        if self.known_rule.score == "whitened_cosine":
            return self.known_rule.threshold
        block: Any = self.landmark
        for name in ("calibration", "scores", "whitened_cosine", "threshold"):
            block = block.get(name) if isinstance(block, dict) else None
        return float(block) if is_number(block) else _BAR

    @property
    def right_of_100(self) -> int | None:
        """How many of 100 answers that name a landmark are right, as `evaluate` measured; None if it didn't.

        Photos from elsewhere count, where there are figures for them, else the test photos. It is None, too, for a
        model without a rule of its own: that names photos of other things as well, which these photos don't show.
        """
        if "known" not in self.landmark:
            return None
        blocks = (self.landmark.get(block, {}) for block in ("elsewhere", "test"))
        named = next((block["named"] for block in blocks if "named" in block), None)
        return right_of_100(named) if named and named["named"] else None

    @property
    def engine(self) -> str:
        """What runs the network: "openvino" or "torch"."""
        return "openvino" if self._body else "torch"

    def __repr__(self) -> str:
        facts = [self.config["architecture"], f"{len(self.labels):,} labels", f"{self.engine} on {self.device}"]
        if self.taught:
            facts[1] += f", {len(self.labels) - len(self.own_labels):,} of them taught"
        if (right := self.right_of_100) is not None:
            facts.append(f"{right} of 100 answers right")
        source = f"{self.source.partition('@')[0]}@{self.revision[:12]}" if self.revision else self.source
        return f"<LandmarkClassifier {source}: {', '.join(facts)}>"

    def __call__(self, photos: Photo | list[Any] | tuple[Any, ...], top_k: int | None = 5) -> list[Any]:
        """The `top_k` most likely landmarks as `[{"label", "score"}, ...]`, as a pipeline of transformers gives them.

        With `top_k=None`, all of them.

        For a list of photos, a list of those. Whether a photo shows any landmark that is known, `predict` says.

        Raises:
            PhotoError: a photo can't be read.
            ValueError: `top_k` is below 1.
        """
        top_k = len(self.labels) if top_k is None else top_k
        if not isinstance(photos, list | tuple):
            return [dict(vars(candidate)) for candidate in self.predict(photos, top_k)]
        answers = []
        for answer in self.predict_many(photos, top_k):
            if isinstance(answer, PhotoError):
                raise answer
            answers.append([dict(vars(candidate)) for candidate in answer])
        return answers

    @property
    def temperature(self) -> float:
        """What the logits are divided by."""
        return self.served.temperature

    def preprocess(self, photo: Photo) -> Tensor:
        """A photo as the network's input: float32 `(3, H, W)`.

        Raises:
            PhotoError: the photo can't be read.
        """
        return self.transform(open_photo(photo, self.min_side))

    @torch.inference_mode()
    def body(self, images: Tensor, precision: torch.dtype = torch.float32) -> Tensor:
        """The output of `ServedNetwork.body` for preprocessed images `(B, 3, H, W)`: float32, on `device`.

        PyTorch computes it in `precision`; OpenVINO always uses float32.
        """
        if self._body:
            return self._body(images)
        images = images.to(self.device, memory_format=torch.channels_last)
        with torch.autocast(self.device.type, precision, enabled=precision != torch.float32):
            return self.served.body(images).float()

    @torch.inference_mode()
    def outputs(self, images: Tensor, precision: torch.dtype = torch.float32) -> Outputs:
        """`Outputs` on the CPU for images `(B, 3, H, W)`; `precision` is that of `body`, the head's is float32."""
        return self.head(self.body(images, precision))

    @torch.inference_mode()
    def head(self, body: Tensor) -> Outputs:
        """The output of `body` to `Outputs` on the CPU, with logits for all `labels`."""
        logits, scores = self.served.head(body)
        outputs = Outputs(logits.cpu(), scores.cpu())
        return self.taught.added_to(outputs, body) if self.taught else outputs

    def logits(self, images: Tensor) -> Tensor:
        """Preprocessed images `(B, 3, H, W)` to float32 logits `(B, classes)`, temperature applied, on the CPU."""
        return self.outputs(images).logits

    @torch.inference_mode()
    def features(self, images: Tensor) -> Tensor:
        """Preprocessed images `(B, 3, H, W)` to the input of the network's last layer, float32 `(B, D)`, on the CPU."""
        if self.served.has_statistics:
            return self.body(images).cpu()
        images = images.to(self.device, memory_format=torch.channels_last)
        return self.served.features(images).float().cpu()

    def predict(self, photo: Photo, top_k: int = 5) -> Answer:
        """The `top_k` most likely landmarks (all, if the model knows fewer), most likely first.

        Raises:
            PhotoError: the photo can't be read.
            ValueError: `top_k` is below 1.
        """
        _check_counts(top_k=top_k)
        read = read_photo(photo, self.min_side)
        answer = self.rank(self.outputs(self.transform(read.image).unsqueeze(0)), top_k)[0]
        answer.position = read.position
        return answer

    def predict_many(
        self, photos: Iterable[Photo], top_k: int = 5, batch_size: int = 32
    ) -> Iterator[Answer | PhotoError]:
        """`predict` for many photos: in order, each photo's answer or the error that prevented it.

        Photos are taken from the iterable one batch at a time, so it may be endless.

        Raises:
            LandmarkError: `photos` is a single photo, or nothing that can be iterated over.
            ValueError: `top_k` or `batch_size` is below 1.
        """
        _check_counts(top_k=top_k, batch_size=batch_size)
        if not isinstance(photos, Iterable) or isinstance(photos, _ONE_PHOTO) or hasattr(photos, "read"):
            raise LandmarkError(
                f"predict_many takes several photos, such as a list of paths, not a single {type(photos).__name__}; "
                "for one photo call predict, or give [photo]."
            )
        return self._predict_batches(photos, top_k, batch_size)

    def _predict_batches(self, photos: Iterable[Photo], top_k: int, batch_size: int) -> Iterator[Answer | PhotoError]:
        with ThreadPoolExecutor(available_cores()) as pool:
            remaining = iter(photos)
            while batch := list(islice(remaining, batch_size)):
                inputs = list(pool.map(self._read_or_error, batch))
                images = [item[0] for item in inputs if not isinstance(item, PhotoError)]
                answers = iter(self.rank(self.outputs(torch.stack(images)), top_k) if images else [])
                for item in inputs:
                    if isinstance(item, PhotoError):
                        yield item
                    else:
                        answer = next(answers)
                        answer.position = item[1]
                        yield answer

    def _read_or_error(self, photo: Photo) -> tuple[Tensor, tuple[float, float] | None] | PhotoError:
        """A photo as the network's input, and its position."""
        try:
            read = read_photo(photo, self.min_side)
        except PhotoError as error:
            return error
        return self.transform(read.image), read.position

    def rank(self, outputs: Outputs, top_k: int = 5) -> list[Answer]:
        """The result of `outputs` to each photo's answer, with its `top_k` most likely landmarks."""
        scores, indices = outputs.logits.softmax(dim=1).topk(min(top_k, len(self.labels)))
        known = (outputs.scores >= self.known_rule.threshold).tolist()
        return [
            self._answer(ranked, shows) for *ranked, shows in zip(indices.tolist(), scores.tolist(), known, strict=True)
        ]

    def _answer(self, ranked: list[Any], known: bool) -> Answer:
        """The answer with these indices of labels and their scores."""
        answer = Answer((Prediction(self.labels[index], score) for index, score in zip(*ranked, strict=True)), known)
        if self.taught:
            labels = (candidate.label for candidate in answer)
            answer.taught = {label: taught for label in labels if (taught := self.taught.get(label))}
        # The figure doesn't hold for a label of the model's that was taught more photos.
        right = None if self.taught and answer[0].label in self.taught else self.right_of_100
        answer.verdict = verdict_of(answer, len(self.labels), right)
        return answer


def _check_counts(**counts: int) -> None:
    for name, count in counts.items():
        if count < 1:
            raise ValueError(f"{name}={count} must be at least 1.")

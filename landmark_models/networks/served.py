"""A network with its head and rejection rule, as it is served: images in, logits and rule scores out.

The head of a model with statistics is a cosine classifier in the whitened feature space. Its linear layer is stored in
the network, so plain timm ranks labels the same; to turn its logits into cosines takes one division per photo, here.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from landmark_models.networks.statistics import FeatureStatistics
from landmark_models.rejection import FEATURE_SCORES, LOGIT_SCORES, KnownRule

_TINY = 1e-12
_LEAST_DISTANCE = 1e-3  # of a photo from the mean, relative to the median; nearer features have no meaningful direction


class Outputs(NamedTuple):
    """Logits, float32 `(B, classes)`, temperature applied, and the scores of the model's rule, float32 `(B,)`."""

    logits: Tensor
    scores: Tensor


def linear_classifier(network: nn.Module, width: int | None = None) -> nn.Linear:
    """The linear layer that is a network's whole classifier.

    Raises:
        ValueError: the classifier is something else, or takes another number of features than `width`.
    """
    own: Any = network
    classifier = own.get_classifier()
    if not isinstance(classifier, nn.Linear):
        raise ValueError(f"its classifier is a {type(classifier).__name__}, not one linear layer")
    if width is not None and classifier.in_features != width:
        raise ValueError(f"its classifier takes {classifier.in_features} features, not {width}")
    return classifier


def parameter_count(network: nn.Module) -> int:
    """The number of a network's parameters."""
    return sum(parameter.numel() for parameter in network.parameters())


class ServedNetwork(nn.Module):
    """Images `(B, 3, H, W)`, preprocessed, to `Outputs`.

    `body` is the expensive part, which another engine or a lower precision may compute: up to the features if there are
    statistics, otherwise up to the network's logits. `head` is the rest, in float32.

    The network is in evaluation mode; its logits are divided by the temperature. Without statistics of its features, it
    is served with its own logits.

    Raises:
        ValueError: the rule needs statistics, or the network's classifier is not one linear layer on its features.
    """

    mean: Tensor
    whitening: Tensor
    class_means: Tensor

    def __init__(
        self, network: nn.Module, temperature: float, rule: KnownRule, statistics: FeatureStatistics | None = None
    ):
        super().__init__()
        self.network, self.temperature, self.rule = network, temperature, rule
        self.has_statistics = statistics is not None
        if statistics is None:
            if rule.needs_statistics:
                raise ValueError(f"its rule uses {rule.score}, which needs statistics.safetensors")
            return
        self.classifier = linear_classifier(network, statistics.width)
        self.distance, self.scale = statistics.distance, statistics.scale
        # The layer's weights are the class means times S'^-1, so the means needn't be stored.
        means = self.classifier.weight.detach().cpu().double() @ statistics.covariance
        buffers = {
            "mean": statistics.mean,
            "whitening": statistics.whitening.T.float(),
            "class_means": nn.functional.normalize(means, dim=1).float(),
        }
        for name, tensor in buffers.items():
            self.register_buffer(name, tensor.contiguous(), persistent=False)

    @property
    def available_scores(self) -> tuple[str, ...]:
        """The names of the scores available for this network."""
        return (*LOGIT_SCORES, *FEATURE_SCORES) if self.has_statistics else tuple(LOGIT_SCORES)

    def features(self, images: Tensor) -> Tensor:
        """Images to the input of the network's last layer `(B, D)`."""
        network: Any = self.network  # every timm network has these two
        return network.forward_head(network.forward_features(images), pre_logits=True)

    def body(self, images: Tensor) -> Tensor:
        """Images to features `(B, D)`, or to the network's own logits if there are no statistics."""
        return self.features(images) if self.has_statistics else self.network(images)

    @property
    def logits_per_cosine(self) -> float:
        """What a cosine in the whitened feature space is multiplied by to get a logit."""
        return self.scale / self.temperature

    @property
    def whitened_means(self) -> Tensor:
        """The whitened class means, each of length 1, float32 `(classes, D)`, on the CPU."""
        return nn.functional.normalize(self.class_means.cpu() @ self.whitening.cpu(), dim=1)

    def directions(self, body: Tensor) -> Tensor:
        """Features `(B, D)`, float32, to the directions of the whitened ones: each of length 1, `(B, D)`."""
        return nn.functional.normalize((body - self.mean) @ self.whitening, dim=1)

    def whitened(self, body: Tensor) -> Tensor:
        """Features `(B, D)`, float32, to whitened ones, `(B, D)`, as the statistics' covariance scales them."""
        return nn.functional.normalize(body - self.mean, dim=1) @ self.whitening

    def plain_logits(self, body: Tensor) -> Tensor:
        """The output of `body` to the network's own logits `(B, classes)`, as in timm."""
        return self.classifier(body) if self.has_statistics else body

    def logits(self, body: Tensor) -> Tensor:
        """The output of `body`, float32, to logits `(B, classes)`, temperature applied."""
        plain = self.plain_logits(body) / self.temperature
        return plain * self.factors(body).unsqueeze(1) if self.has_statistics else plain

    def factors(self, body: Tensor) -> Tensor:
        """Features `(B, D)` to what makes the network's own logits cosines times `scale`, `(B,)`."""
        length = torch.linalg.vector_norm((body - self.mean) @ self.whitening, dim=1)
        return self.distance / length.clamp_min(_LEAST_DISTANCE * self.distance)

    def score(self, name: str, body: Tensor, logits: Tensor) -> Tensor:
        """A score of `LOGIT_SCORES` or `FEATURE_SCORES`, `(B,)`, from the outputs of `body` and `logits`."""
        if name in LOGIT_SCORES:
            return LOGIT_SCORES[name](logits)
        if name == "whitened_cosine":
            return logits.amax(1) * (self.temperature / self.scale)
        offset = body - self.mean
        length = torch.linalg.vector_norm(offset, dim=1).clamp_min(_TINY)
        if name == "nearest_mean":
            return (offset @ self.class_means.T).amax(1) / length
        weight, linear = self.classifier.weight, self.classifier(body)
        best, named = linear.max(1)
        # By a product: the other way has no form in ONNX.
        boundaries = torch.cdist(weight[named], weight, compute_mode="use_mm_for_euclid_dist").clamp_min(_TINY)
        return ((best.unsqueeze(1) - linear) / boundaries).sum(1) / (linear.shape[1] - 1) / length

    def head(self, body: Tensor) -> Outputs:
        """The output of `body`, float32, to outputs."""
        logits = self.logits(body)
        return Outputs(logits, self.score(self.rule.score, body, logits))

    def forward(self, images: Tensor) -> Outputs:
        return self.head(self.body(images).float())

"""A cosine classifier in whitened feature space: a closed-form head that both classifies and rejects.

For a photo's feature f, let d be f minus the mean of all features. Class means m_k and the shared within-class
covariance S are those of d / |d|. S is shrunk to S' = (1 - l) S + l (tr S / D) I, and W whitens it: W'W = S'^-1. Then
score_k = cos(W d, W m_k). The largest score names the photo, its size decides on rejection, and the probabilities are
softmax(s * score). Up to the division by |W d| this is a linear layer on f, which is put into the network itself.

This is SimpleShot (Wang et al. 2019) with the metric of linear discriminant analysis, on features normalised to unit
length, which Wang et al. (2024) and Müller and Hein (2025) found better for few photos and for detecting
out-of-distribution ones.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from landmark_models import models
from landmark_models.classifier import LandmarkClassifier
from landmark_models.errors import LandmarkError
from landmark_models.networks.served import ServedNetwork, linear_classifier
from landmark_models.networks.statistics import MAX_STATISTICS_BYTES, FeatureStatistics, statistics_bytes
from landmark_models.rejection import KnownRule
from train.engine.network import average_with_pretrained, served_arguments
from train.engine.prepared import Prepared
from train.measure.calibration import fit_temperature
from train.measure.predict import predict_features

_SHRINKAGE = 0.05  # from 0.05 to 0.4 no difference could be measured
_TOLERANCE = 1e-4  # relative, between the network's output and its linear layer applied to its features


@dataclass(frozen=True)
class WhitenedHead:
    """The head as stored: a linear layer, float32 `weight` `(classes, D)` and `bias` `(classes,)`, and statistics."""

    weight: Tensor
    bias: Tensor
    statistics: FeatureStatistics

    def logits(self, features: Tensor) -> Tensor:
        """Map features `(N, D)` to logits `(N, classes)`: `scale` times the cosines."""
        offset = features.double() - self.statistics.mean.double()
        length = (offset @ self.statistics.whitening.T).norm(dim=1, keepdim=True).clamp_min(1e-12)
        linear = features.double() @ self.weight.double().T + self.bias.double()
        return (linear * self.statistics.distance / length).float()

    def scaled(self, scale: float) -> "WhitenedHead":
        """The same head with its logits `scale` times the cosines."""
        factor = scale / self.statistics.scale
        return WhitenedHead(self.weight * factor, self.bias * factor, replace(self.statistics, scale=scale))

    def put_into(self, network: nn.Module) -> None:
        """Copy it into a network whose classifier is a single linear layer."""
        classifier = linear_classifier(network, self.statistics.width)
        with torch.no_grad():
            classifier.weight.copy_(self.weight)
            classifier.bias.copy_(self.bias)


def fit_whitened_head(
    features: Tensor, targets: Tensor, num_classes: int, validation: tuple[Tensor, Tensor] | None = None
) -> WhitenedHead:
    """Fit the head to features, float32 `(N, D)`, and targets, class indices `(N,)`, in closed form.

    `validation` has features and targets of other photos, to fit `scale` on; without them it is 1.

    Raises:
        LandmarkError: a class has no photo, or all features of each class are equal.
    """
    counts = torch.bincount(targets, minlength=num_classes)
    if not counts.all():
        raise LandmarkError(f"{int((counts == 0).sum())} classes have no photo to fit head=whitened_cosine on.")
    mean = features.double().mean(0).float().double()  # as it is stored
    units = nn.functional.normalize(features.double() - mean, dim=1)
    means = units.new_zeros(num_classes, features.shape[1]).index_add_(0, targets, units) / counts.unsqueeze(1)
    residuals = units - means[targets]
    covariance = residuals.T @ residuals / len(residuals)
    average = covariance.trace() / len(mean)
    if not average > 0:
        raise LandmarkError("All photos of a class have the same features, so head=whitened_cosine can't be fitted.")
    shrunk = (1 - _SHRINKAGE) * covariance + _SHRINKAGE * average * torch.eye(len(mean), dtype=covariance.dtype)
    statistics = FeatureStatistics.of(mean, shrunk)
    whitening = statistics.whitening
    weight = means @ whitening.T @ whitening / (means @ whitening.T).norm(dim=1, keepdim=True)
    distance = float(((features.double() - mean) @ whitening.T).norm(dim=1).median())
    weight = (weight / distance).float()
    bias = (-(weight.double() @ mean)).float()
    head = WhitenedHead(weight, bias, replace(statistics, distance=distance))
    if validation is None:
        return head
    return head.scaled(1 / fit_temperature(head.logits(validation[0]), validation[1], least=1e-3))


def check_head(network: nn.Module, model: str, side: int) -> None:
    """Check that a network can have this head.

    Raises:
        LandmarkError: its classifier isn't a single linear layer on its features, or it has too many features.
    """
    network.eval()
    try:
        classifier = linear_classifier(network)
        images = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(0))
        with torch.inference_mode():
            features = network.forward_head(network.forward_features(images), pre_logits=True)  # type: ignore[operator]
            own, linear = network(images), classifier(features)
        if not torch.allclose(own, linear, rtol=_TOLERANCE, atol=_TOLERANCE):
            raise ValueError("its output isn't a linear function of its features")
    except (ValueError, RuntimeError, AttributeError, TypeError) as error:
        raise LandmarkError(f"{model} can't have head=whitened_cosine: {error}. Use head=linear.") from None
    if (size := statistics_bytes(classifier.in_features)) > MAX_STATISTICS_BYTES:
        raise LandmarkError(
            f"{model} has {classifier.in_features} features, whose statistics would take {size / 1e6:.1f} MB, over the "
            f"limit of {MAX_STATISTICS_BYTES / 1e6:.0f} MB; use head=linear."
        )


def head_on_features(
    prepared: Prepared, network: nn.Module, features: Tensor, targets: Tensor, validation: dict[str, object]
) -> None:
    """Fit the head to features, put it into the network, and save the run's model with its statistics.

    It is fitted twice: on the training photos, for the scale of its logits and the validation figures, and then on
    training and validation photos together, which is what is served. `features`, float32 `(N, D)`, and `targets` are
    those of the training photos, then of the validation photos; `validation` has further entries for the model's
    validation block, e.g. the best epoch.

    Raises:
        LandmarkError: a class has no photo, the features are not finite, or the run's folder can't be written.
    """
    recipe, run, photos = prepared.recipe, prepared.run, prepared.photos
    if not features.isfinite().all():
        raise LandmarkError(f"{recipe.model} gives features that are not finite; try mixed_precision=no.")
    classes = len(photos.labels)
    count = len(targets) - len(photos.val)
    held_out = (features[count:], targets[count:])
    first = fit_whitened_head(features[:count], targets[:count], classes, held_out)
    first.put_into(network)
    served = ServedNetwork(network, 1.0, KnownRule(), first.statistics)
    with torch.no_grad():
        logits = served.logits(held_out[0])
        scores = {name: served.score(name, held_out[0], logits) for name in served.available_scores}
    run.keep_validation(logits, held_out[1], scores)
    top1 = float((logits.argmax(1) == held_out[1]).float().mean())
    head = fit_whitened_head(features, targets, classes).scaled(first.statistics.scale)
    head.put_into(network)
    figures = {**validation, "top1": top1, "n": len(held_out[1]), "refitted": True, "refitted_on": len(targets)}
    with run.writing():
        arguments = served_arguments(recipe)
        run.save_model(network, photos.labels, recipe, figures, model_args=arguments, statistics=head.statistics)
    print(f"Whitened cosine head: validation top-1 {100 * top1:.2f}%; refitted on all {len(targets)} photos.")


def finish_run(prepared: Prepared) -> None:
    """After the last epoch, average the saved model with the pretrained one if the recipe says so, and fit its head.

    Unlabelled photos are left out.

    Raises:
        LandmarkError: as in `average_with_pretrained` and `head_on_features`.
    """
    recipe, run, photos = prepared.recipe, prepared.run, prepared.photos
    model = models.load(run.trained if run.trained.is_dir() else run.model)
    if recipe.average_with_pretrained:
        average_with_pretrained(model.network, recipe, prepared.weights)
    labelled = [index for index, target in enumerate(photos.train.targets) if target < len(photos.labels)]
    everything = photos.train.take(labelled).joined(photos.val)
    classifier = LandmarkClassifier(model, prepared.accelerator.device, "torch")
    features, readable = predict_features(classifier, everything.files(), title="features for the head")
    features = features.clone()  # a normal tensor instead of an inference tensor
    targets = torch.tensor(everything.take(readable).targets)
    validation = {"epoch": model.landmark["validation"]["epoch"]}
    head_on_features(prepared, model.network.cpu(), features, targets, validation)

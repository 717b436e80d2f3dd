import json
import shutil

import pytest
import timm
import torch
from helpers.runs import TINY, weights
from safetensors.torch import load_file, save_file
from torch import nn

from landmark_models import LandmarkClassifier, LandmarkError, ModelError
from landmark_models.networks.served import ServedNetwork
from landmark_models.networks.statistics import STATISTICS_FILE, FeatureStatistics, statistics_bytes
from landmark_models.rejection import FEATURE_SCORES, LOGIT_SCORES, KnownRule
from train.engine.network import average_with_pretrained, build_network
from train.engine.training import fit
from train.engine.whitened_head import check_head, fit_whitened_head
from train.hub import Format
from train.hub.single_file import TOLERANCE, export
from train.recipe import Recipe, RecipeError
from train.run import RunFolder

WHITENED = {**TINY, "model": "test_resnet", "model_args": {}, "image_size": 64, "head": "whitened_cosine"}


def clusters(count: int = 300, width: int = 24, classes: int = 5, seed: int = 0):
    """Features around a mean for each class, much wider in some directions than in others, and their classes."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(classes, width, generator=torch.Generator().manual_seed(99))
    targets = torch.arange(count) % classes
    noise = torch.randn(count, width, generator=generator) * torch.linspace(0.05, 2, width)
    return centres[targets] + noise + 3, targets


def definition(features, targets, queries, classes=5, shrinkage=0.05):
    """The cosines as the head's docstring defines them, in double precision, with nothing stored in between."""
    mean = features.double().mean(0)
    units = nn.functional.normalize(features.double() - mean, dim=1)
    means = torch.stack([units[targets == index].mean(0) for index in range(classes)])
    residuals = units - means[targets]
    covariance = residuals.T @ residuals / len(units)
    width = len(mean)
    shrunk = (1 - shrinkage) * covariance + shrinkage * covariance.trace() / width * torch.eye(width).double()
    values, vectors = torch.linalg.eigh(shrunk)
    whitening = (vectors / values.sqrt()) @ vectors.T  # another W with the same W'W, and so the same cosines
    whitened = nn.functional.normalize((queries.double() - mean) @ whitening, dim=1)
    return whitened @ nn.functional.normalize(means @ whitening, dim=1).T


class OnFeatures(nn.Module):
    """A network whose images are its features."""

    def __init__(self, width: int, classes: int):
        super().__init__()
        self.fc = nn.Linear(width, classes)

    def get_classifier(self):
        return self.fc

    def forward_features(self, x):
        return x

    def forward_head(self, x, pre_logits=False):
        return x if pre_logits else self.fc(x)

    def forward(self, x):
        return self.fc(x)


@pytest.fixture(scope="module")
def head():
    return fit_whitened_head(*clusters(), 5, clusters(seed=1))


@pytest.fixture(scope="module")
def served(head):
    network = OnFeatures(24, 5).eval()
    head.put_into(network)
    return ServedNetwork(network, 1.0, KnownRule("whitened_cosine", 0.5), head.statistics).requires_grad_(False)


def test_served_logits_are_the_cosines_of_the_definition(head, served):
    features, targets = clusters()
    queries, truth = clusters(seed=2)
    cosines = definition(features, targets, queries)
    logits, scores = served(queries)
    assert torch.allclose(logits.double() / head.statistics.scale, cosines, atol=2e-3)  # the covariance was float16
    assert torch.allclose(scores.double(), cosines.amax(1), atol=2e-3)
    assert torch.allclose(logits, head.logits(queries), atol=1e-4)
    assert (logits.argmax(1) == truth).float().mean() > 0.9
    right = (logits.argmax(1) == truth).float().mean().item()
    assert logits.softmax(1).amax(1).mean().item() == pytest.approx(right, abs=0.1)


def test_the_plain_linear_layer_ranks_alike_and_is_sane(served):
    queries, _ = clusters(seed=3)
    plain, (logits, _) = served.network(queries), served(queries)
    assert torch.equal(plain.argsort(1), logits.argsort(1))
    assert 0.5 < (plain.norm(dim=1) / logits.norm(dim=1)).median() < 2


def test_the_length_of_a_feature_does_not_matter_and_one_at_the_mean_is_not_known(head, served):
    queries, _ = clusters(10, seed=4)
    mean = head.statistics.mean
    assert torch.allclose(served(mean + 7 * (queries - mean)).logits, served(queries).logits, atol=1e-3)
    logits, scores = served(mean.unsqueeze(0))
    assert logits.isfinite().all()
    assert scores.abs() < 0.5


def test_every_score_tells_a_landmark_from_noise(served):
    queries, _ = clusters(seed=5)
    others = 3 + 2 * torch.randn(200, 24, generator=torch.Generator().manual_seed(6))
    assert served.available_scores == (*LOGIT_SCORES, *FEATURE_SCORES)
    for name in served.available_scores:
        known, unknown = (served.score(name, x, served.logits(x)) for x in (queries, others))
        assert known.median() > unknown.median(), name


def test_statistics_survive_their_file(head, tmp_path):
    file = tmp_path / STATISTICS_FILE
    head.statistics.write(file)
    assert file.stat().st_size <= statistics_bytes(24)
    read = FeatureStatistics.read(file, 24, "it")
    assert torch.equal(read.packed, head.statistics.packed)
    assert torch.allclose(read.covariance, head.statistics.covariance)
    assert (read.distance, read.scale) == pytest.approx((head.statistics.distance, head.statistics.scale))
    identity = read.whitening @ read.covariance @ read.whitening.T
    assert torch.allclose(identity, torch.eye(24).double(), atol=1e-9)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"mean": torch.zeros(23)}, "another network"),
        ({"covariance": torch.zeros(300).half()}, "not positive definite"),
        ({"mean": torch.full((24,), float("nan"))}, "not finite"),
        ({"scale": torch.tensor(-1.0)}, "not positive"),
        ({"unit": torch.ones(2)}, "not positive"),
    ],
)
def test_strange_statistics_are_refused(head, tmp_path, change, reason):
    file = tmp_path / STATISTICS_FILE
    head.statistics.write(file)
    save_file(load_file(file) | change, file)
    with pytest.raises(ModelError, match=reason):
        FeatureStatistics.read(file, 24, "it")
    file.write_bytes(b"not safetensors")
    with pytest.raises(ModelError, match="can't be read"):
        FeatureStatistics.read(file, 24, "it")
    file.write_bytes(bytes(2_000_001))
    with pytest.raises(ModelError, match="larger than 2 MB"):
        FeatureStatistics.read(file, 24, "it")


def test_features_that_cannot_be_fitted_are_reported():
    features, targets = clusters()
    with pytest.raises(LandmarkError, match="1 classes have no photo"):
        fit_whitened_head(features, targets, 6)
    with pytest.raises(LandmarkError, match="have the same features"):
        fit_whitened_head(torch.ones(10, 4), torch.arange(10) % 2, 2)


@pytest.mark.parametrize("model", ["vit_tiny_patch16_224", "test_efficientnet", "regnetz_005"])
def test_timm_networks_can_have_the_head(model):
    check_head(timm.create_model(model, num_classes=3), model, 224)


def test_unsuitable_networks_are_refused():
    two_heads = timm.create_model("deit_tiny_distilled_patch16_224", num_classes=3)
    with pytest.raises(LandmarkError, match=r"deit.*Use head=linear"):
        check_head(two_heads, "deit", 224)
    with pytest.raises(LandmarkError, match=r"2048 features, whose statistics would take 4\.2 MB"):
        check_head(timm.create_model("resnet50", num_classes=3), "resnet50", 64)


@pytest.mark.parametrize(
    ("knobs", "reason"),
    [
        ({"head_hidden": [8]}, "leave out head_hidden"),
        ({"feature_views": 2}, "leave out feature_views"),
        ({"average_with_pretrained": 0.25}, "needs pretrained=true"),
        ({"average_with_pretrained": 0.25, "pretrained": True, "head": "linear"}, "head=whitened_cosine"),
    ],
)
def test_incompatible_knobs_are_refused(knobs, reason):
    with pytest.raises(RecipeError, match=reason):
        Recipe.from_values({"head": "whitened_cosine", **knobs})


@pytest.fixture(scope="module")
def finetuned(shared_data, pretrained, tmp_path_factory):
    """A run that is trained, averaged with its pretrained weights, and given the head."""
    recipe = Recipe.from_values(WHITENED | {"pretrained": True, "average_with_pretrained": 0.25, "half_weights": True})
    folder = tmp_path_factory.mktemp("runs") / "whitened"
    return fit(recipe, shared_data, folder, pretrained_weights=pretrained)


def test_a_run_ends_averaged_with_its_head_fitted_and_calibrated(finetuned, pretrained, photo):
    trained, model = load_file(finetuned.trained / "model.safetensors"), weights(finetuned)
    before = load_file(pretrained)
    assert not (finetuned.trained / STATISTICS_FILE).exists()
    for name in ("conv1.0.weight", "bn1.running_var"):
        average = 0.75 * trained[name].float() + 0.25 * before[name]
        assert torch.allclose(model[name].float(), average, atol=2e-3), name
    assert model["fc.weight"].dtype == torch.float32
    assert model["conv1.0.weight"].dtype == torch.float16
    classifier = LandmarkClassifier.load(finetuned.path)
    assert classifier.served.has_statistics
    landmark = classifier.landmark
    assert landmark["known"]["score"] == "whitened_cosine"
    assert landmark["temperature"] == pytest.approx(1, abs=0.05)  # the scale is in the head already
    assert landmark["validation"]["refitted"] is True
    kept = load_file(finetuned.validation)
    assert {name for name in kept if name.startswith("score.")} == {
        f"score.{name}" for name in classifier.served.available_scores
    }
    plain = timm.create_model("test_resnet", num_classes=3)
    plain.load_state_dict(
        {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in model.items()}
    )
    images = classifier.preprocess(photo).unsqueeze(0)
    with torch.inference_mode():
        assert plain.eval()(images).argmax(1).item() == classifier.logits(images).argmax(1).item()


def test_a_run_that_is_finished_again_is_not_averaged_twice(finetuned, shared_data, pretrained, tmp_path):
    copy = RunFolder(shutil.copytree(finetuned.path, tmp_path / "run"))
    recipe = Recipe.read(copy.recipe)
    fit(recipe, shared_data, copy.path, pretrained_weights=pretrained, resume=True)
    for name, tensor in weights(finetuned).items():
        assert torch.allclose(tensor.float(), weights(copy)[name].float(), atol=1e-5), name


def test_frozen_features_get_the_head_in_closed_form(shared_data, pretrained, tmp_path):
    recipe = Recipe.from_values({**WHITENED, "freeze": "backbone", "augment": "none"})
    run = fit(recipe, shared_data, tmp_path / "run", pretrained_weights=pretrained)
    classifier = LandmarkClassifier.load(run.path)
    assert classifier.served.has_statistics
    assert classifier.known_rule.score == "whitened_cosine"
    answers = list(classifier.predict_many(sorted((shared_data / "train").rglob("*.jpg"))))
    labels = [label for label in classifier.labels for _ in range(8)]
    assert [answer[0].label for answer in answers] == labels
    assert run.seconds() > 0


def test_a_rule_without_its_statistics_is_refused(finetuned, tmp_path):
    folder = shutil.copytree(finetuned.model, tmp_path / "model")
    (folder / STATISTICS_FILE).unlink()
    with pytest.raises(ModelError, match=r"has no statistics.safetensors, which its rule, whitened_cosine, needs"):
        LandmarkClassifier.load(folder)
    config = json.loads((folder / "config.json").read_text())
    config["landmark"]["known"] = {"score": "max_logit", "threshold": 1.0}
    (folder / "config.json").write_text(json.dumps(config))
    assert not LandmarkClassifier.load(folder).served.has_statistics  # its plain softmax serves


def test_only_what_started_from_pretrained_weights_is_averaged(pretrained):
    recipe = Recipe.from_values({**WHITENED, "pretrained": True, "average_with_pretrained": 0.25})
    network = build_network(recipe, 3, pretrained)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    average_with_pretrained(network, recipe, pretrained)
    for name, tensor in network.state_dict().items():
        assert torch.allclose(tensor, before[name]), name  # an average of equal weights


@pytest.mark.parametrize(
    "kind",
    [
        Format.onnx,
        pytest.param(Format.torchscript, marks=pytest.mark.slow),
        pytest.param(Format.pt2, marks=pytest.mark.slow),
    ],
)
def test_exports_carry_head_and_rule(finetuned, shared_data, tmp_path, kind):
    file = tmp_path / f"model{kind.suffix}"
    agreement = export(str(finetuned.path), kind, file, shared_data / "test")
    assert agreement.difference <= TOLERANCE
    assert agreement.same_top1 == agreement.same_known == agreement.n == 9

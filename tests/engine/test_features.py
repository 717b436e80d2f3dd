import dataclasses
import json
import re

import numpy as np
import pytest
import timm
import torch
from helpers.photos import write_data
from helpers.runs import TINY, launch, weights
from safetensors.torch import save_file
from sklearn.linear_model import LogisticRegression

from landmark_models import LandmarkClassifier
from landmark_models.errors import LandmarkError
from train.engine import features, linear_probe
from train.engine.linear_probe import fit_linear_head
from train.engine.training import fit
from train.measure.evaluation import evaluate
from train.recipe import Recipe, RecipeError
from train.run import RunFolder


def frozen(**knobs) -> Recipe:
    base = {"model": "test_resnet", "model_args": {}, "pretrained": True, "freeze": "backbone", "augment": "none"}
    return Recipe.from_values({**TINY, **base, "image_size": 64, "label_smoothing": 0.0, **knobs})


def sample(classes: int, seed: int = 0, count: int = 300, width: int = 20):
    generator = np.random.default_rng(seed)
    centres = generator.normal(0, 1.0, (classes, width))
    targets = generator.integers(0, classes, count)
    inputs = 3 + (centres[targets] + generator.normal(0, 1.5, (count, width))) * np.linspace(0.1, 40, width)
    return torch.tensor(inputs, dtype=torch.float32), torch.tensor(targets)


@pytest.mark.parametrize("penalty", [0.1, 1e-3])
def test_the_linear_head_agrees_with_scikit_learns_logistic_regression(penalty):
    inputs, targets = sample(5)
    head = fit_linear_head(inputs, targets, 5, penalty)
    assert head.converged
    scaled = ((inputs - inputs.mean(0)) / inputs.var(0, correction=0).mean().sqrt()).double().numpy()
    model = LogisticRegression(C=1 / (penalty * len(inputs)), tol=1e-8, max_iter=10_000).fit(scaled, targets)
    expected = model.predict_proba(scaled)
    assert np.abs(head(inputs).softmax(1).numpy() - expected).max() < 0.005


def test_a_class_without_samples_and_a_constant_feature_are_handled():
    inputs, targets = sample(2)
    inputs[:, 3] = 7.0
    head = fit_linear_head(inputs, targets, 3, 0.01)
    assert head.converged
    assert head.weight.isfinite().all()
    assert head.weight[:, 3].abs().max() < 1e-6
    logits = head(inputs)
    assert (logits.argmax(1) == targets).float().mean() > 0.9
    assert (logits.argmax(1) != 2).all()


def test_a_warm_start_saves_iterations_and_leaves_the_result_unchanged():
    inputs, targets = sample(4)
    cold = fit_linear_head(inputs, targets, 4, 0.01)
    warm = fit_linear_head(inputs, targets, 4, 0.01, start=fit_linear_head(inputs, targets, 4, 0.03))
    assert torch.allclose(cold(inputs).softmax(1), warm(inputs).softmax(1), atol=5e-3)
    assert warm.iterations < cold.iterations


def test_fit_recognises_a_linear_probe_and_its_model_is_served_like_any_other(data, pretrained, tmp_path, capsys):
    run = fit(frozen(), data, tmp_path / "run", pretrained_weights=pretrained)
    assert not any(run.checkpoints.iterdir())
    lines = run.metrics()
    assert all(line["converged"] for line in lines[:-1])
    best = min(lines[:-1], key=lambda line: line["val_loss"])
    assert lines[-1]["penalty"] == best["penalty"]
    assert lines[-1]["refitted_on"] == 24
    config = json.loads((run.model / "config.json").read_text())
    assert config["architecture"] == "test_resnet"
    assert config["landmark"]["validation"]["top1"] == best["val_top1"]
    assert (run.path / "curves.png").is_file()
    # As the features say, so the whole network says of the photos themselves.
    trained = weights(run)
    classifier = LandmarkClassifier.load(run.path)
    photo = classifier.preprocess(next((data / "train").rglob("*.jpg"))).unsqueeze(0)
    by_hand = classifier.features(photo) @ trained["fc.weight"].T + trained["fc.bias"]
    assert torch.allclose(classifier.logits(photo) * classifier.temperature, by_hand, atol=1e-4)
    assert evaluate(run.path, data, "test", tmp_path / "out")["top1"] == 1.0
    assert "computed in" in capsys.readouterr().out
    again = fit(frozen(), data, tmp_path / "again", pretrained_weights=pretrained)
    assert "from the cache; an earlier run computed them in" in capsys.readouterr().out
    assert "with cached features" in again.training_time()
    assert "cached" not in run.training_time()


def test_the_time_of_a_run_does_not_count_what_an_earlier_one_computed(data, pretrained, tmp_path, monkeypatch, capsys):
    read = features._read
    slow = lambda file: dataclasses.replace(read(file), seconds=5000.0) if read(file) else None  # noqa: E731
    fit(frozen(), data, tmp_path / "first", pretrained_weights=pretrained)
    monkeypatch.setattr(features, "_read", slow)
    capsys.readouterr()
    run = fit(frozen(), data, tmp_path / "run", pretrained_weights=pretrained)
    assert run.seconds() < 100
    assert all(line["seconds"] < 100 for line in run.metrics())
    said = r"an earlier run computed them in 83 min.*The head took (\d+ s|less than 1 s) on "
    assert re.search(said, capsys.readouterr().out, re.DOTALL)


def test_features_are_computed_once_for_the_same_inputs(data, pretrained, tmp_path, monkeypatch):
    computed = []
    compute = features._compute

    def counted(*arguments):
        computed.append(arguments[-1])
        return compute(*arguments)

    monkeypatch.setattr(features, "_compute", counted)

    def times(name: str, file=pretrained, folder=data, **knobs) -> int:
        before = len(computed)
        fit(frozen(**knobs), folder, tmp_path / name, pretrained_weights=file)
        return len(computed) - before

    other = tmp_path / "other.safetensors"
    save_file(timm.create_model("test_resnet", num_classes=7).state_dict(), other)
    assert times("first") == 1
    assert times("again", label_smoothing=0.1) == 0
    assert weights_of(tmp_path / "again") != weights_of(tmp_path / "first")
    assert times("other weights", file=other) == 1
    assert times("other size", image_size=96) == 1
    assert times("other crop", crop_pct=0.7) == 1
    assert times("other pooling", model_args={"global_pool": "max"}) == 1
    assert times("other precision", mixed_precision="bf16") == 1
    assert times("views", feature_views=3, augment="classic") == 3
    assert times("the same views", feature_views=3, augment="classic") == 0
    assert times("other views", feature_views=3, augment="classic", crop_scale=0.9) == 3
    assert times("shifted views", feature_views=3, augment="classic", crop_padding=0.1) == 3
    assert times("other photos", folder=write_data(tmp_path / "more", train=9)) == 1


def weights_of(folder) -> bytes:
    return (folder / "model" / "model.safetensors").read_bytes()


def test_a_damaged_feature_file_is_computed_again(data, pretrained, tmp_path, monkeypatch):
    monkeypatch.setenv("LANDMARK_CACHE", str(tmp_path / "cache"))
    first = fit(frozen(), data, tmp_path / "first", pretrained_weights=pretrained)
    (file,) = (tmp_path / "cache" / "features").iterdir()
    whole = file.read_bytes()
    file.write_bytes(whole[:-100])
    fit(frozen(), data, tmp_path / "again", pretrained_weights=pretrained)
    assert file.stat().st_size == len(whole)
    assert weights_of(tmp_path / "again") == weights_of(first.path)


def test_a_resumed_linear_probe_is_refitted_by_the_same_method_only(data, pretrained, tmp_path):
    arguments = {"data": data, "output": tmp_path / "run", "pretrained_weights": pretrained}
    lines = fit(frozen(), **arguments).metrics()
    again = fit(frozen(), **arguments, resume=True).metrics()
    assert [line["penalty"] for line in again] == [line["penalty"] for line in lines]
    with pytest.raises(LandmarkError, match="its training method was cached features and is now epochs"):
        fit(frozen(), **arguments, resume=True, feature_cache=False)


def test_a_linear_head_is_trained_by_epochs_on_request_or_with_augmentation(data, pretrained, tmp_path):
    with pytest.raises(RecipeError, match="feature_views=3 is for a linear head"):
        fit(frozen(feature_views=3), data, tmp_path / "run", pretrained_weights=pretrained)
    for name, knobs, cache in (("asked", {}, False), ("augmented", {"augment": "classic"}, True)):
        recipe = frozen(epochs=1, warmup_epochs=0, **knobs)
        run = fit(recipe, data, tmp_path / name, pretrained_weights=pretrained, feature_cache=cache)
        assert [line["epoch"] for line in run.metrics()] == [1]


@pytest.mark.slow
def test_two_processes_fit_the_same_head_as_one(data, pretrained, tmp_path, monkeypatch):
    recipe = frozen(batch_size=10, feature_views=2, augment="classic")  # 24 photos fill no last batch of five each
    monkeypatch.setenv("LANDMARK_CACHE", str(tmp_path / "its own"))
    one = fit(recipe, data, tmp_path / "one", pretrained_weights=pretrained)
    monkeypatch.setenv("LANDMARK_CACHE", str(tmp_path / "theirs"))
    result = launch(recipe, data, tmp_path / "two", 2, "--pretrained-weights", str(pretrained))
    assert result.returncode == 0, result.stderr
    two = RunFolder(tmp_path / "two")
    assert two.split() == one.split()
    assert [line["val_photos"] for line in two.metrics()[:-1]] == [6] * (len(two.metrics()) - 1)
    assert all(torch.allclose(weights(two)[name], weights(one)[name], atol=1e-4) for name in weights(one))


def test_a_head_that_cannot_be_fitted_is_reported(data, pretrained, tmp_path, monkeypatch):
    monkeypatch.setattr(linear_probe, "_MAX_ITERATIONS", 1)
    with pytest.raises(LandmarkError, match="No fit of the head converged in 1 iterations"):
        fit(frozen(), data, tmp_path / "run", pretrained_weights=pretrained)
    monkeypatch.setattr(features, "_compute", lambda *arguments: torch.full((24, 8), float("nan")))
    with pytest.raises(LandmarkError, match="not finite"):
        fit(frozen(crop_pct=0.6), data, tmp_path / "other", pretrained_weights=pretrained)

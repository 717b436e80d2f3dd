"""The embedded models: small, what their cards say, and as good as they say."""

import json
import re

import pytest
import timm
import torch
import yaml
from safetensors.torch import load_file

from landmark_models import LandmarkClassifier
from landmark_models.models.hub import EMBEDDED
from train.measure.evaluation import evaluate
from train.measure.predict import predict_logits
from train.recipe import Recipe

LIMITS = {"default": 14_000_000, "compact": 10_000_000}  # bytes, with everything
RECIPES = {"default": "default", "compact": "compact_third_round"}
LEAST = {"default": 0.95, "compact": 0.90}  # of test photos right

models = pytest.mark.parametrize("model", EMBEDDED)


def config_of(model: str):
    return json.loads((EMBEDDED[model] / "config.json").read_text())


def card_of(model: str) -> str:
    return (EMBEDDED[model] / "README.md").read_text()


def photos_from_elsewhere(real_data):
    return real_data.parent / "wild60"


@models
def test_it_is_small_and_loads(model):
    files = {file.name: file.stat().st_size for file in EMBEDDED[model].iterdir()}
    assert files.keys() == {"config.json", "model.safetensors", "statistics.safetensors", "README.md"}
    assert sum(files.values()) <= LIMITS[model]
    assert files["statistics.safetensors"] <= 2_000_000
    classifier = LandmarkClassifier.load(model)
    assert len(classifier.labels) == len(set(classifier.labels)) == 60
    assert "Taj Mahal" in classifier.labels
    assert classifier.served.has_statistics


@models
def test_it_was_trained_with_the_recipe_in_the_repository(model):
    made_by = Recipe.from_values(config_of(model)["landmark"]["recipe"])
    # How many processes read photos changes how long a run takes, not where it ends.
    file = f"train/recipes/{RECIPES[model]}.yaml"
    assert made_by == Recipe.read(file, seed=made_by.seed, workers=made_by.workers)


@models
@pytest.mark.parametrize(("block", "n"), [("test", 848), ("elsewhere", 211)])
def test_card_readme_and_config_give_the_same_figures(model, block, n):
    figures = config_of(model)["landmark"][block]
    assert figures["n"] == n
    top1 = f"{100 * figures['top1']:.1f}%"
    interval = f"{100 * figures['top1_ci95'][0]:.1f} to {100 * figures['top1_ci95'][1]:.1f}%"
    with open("README.md") as file:
        readme = file.read()
    for text in (card_of(model), readme):
        assert top1 in text
        assert interval in text
        assert f"{100 * figures['named']['right'] / figures['named']['photos']:.1f}%" in text


@models
def test_the_hub_can_read_its_card(model):
    card, config = card_of(model), config_of(model)
    front = yaml.safe_load(re.match(r"---\n(.*?)\n---\n", card, re.DOTALL)[1])
    assert front["license"] == "other"
    assert front["license_name"]
    assert front["library_name"] == "timm"
    assert "landmark-classification" in front["tags"]
    for label in config["label_names"]:
        assert label in card


@models
@pytest.mark.data
def test_it_is_as_good_as_its_card_says(model, real_data, tmp_path):
    recorded = config_of(model)["landmark"]
    negatives = real_data.parent / "negatives" / "choose"
    for data, split, block in (
        (real_data, "test", "test"),
        (photos_from_elsewhere(real_data), "all", "elsewhere"),
    ):
        metrics = evaluate(model, data, split, tmp_path, negatives=negatives if block == "elsewhere" else None)
        figures = recorded[block]
        # Another processor rounds otherwise, which may turn a photo that stands between two labels.
        assert metrics["top1"] == pytest.approx(figures["top1"], abs=3 / figures["n"])
        assert metrics["named"]["right"] == pytest.approx(figures["named"]["right"], abs=3)
        if block == "test":
            assert metrics["digest"] == figures["digest"]
            assert metrics["top1"] >= LEAST[model]
        else:
            for group in ("near", "far"):
                assert metrics["rejection"][group]["named"] == pytest.approx(figures["others"][group]["named"], abs=3)


@models
@pytest.mark.data
def test_timm_alone_gives_the_same_first_labels(model, real_data):
    config = config_of(model)
    network = timm.create_model(config["architecture"], num_classes=60, **config.get("model_args", {})).eval()
    network.load_state_dict(load_file(EMBEDDED[model] / "model.safetensors"))
    classifier = LandmarkClassifier.load(model, engine="torch")
    photos = sorted(photos_from_elsewhere(real_data).rglob("*.jpg"))
    images = torch.stack([classifier.preprocess(photo) for photo in photos])
    with torch.inference_mode():
        plain = torch.cat([network(batch) for batch in images.split(64)]).argmax(1)
    assert plain.equal(predict_logits(classifier, photos).logits.argmax(1))

"""The embedded model: small, what its card says, and as good as it says."""

import json
import re

import pytest
import yaml

from landmark_models import LandmarkClassifier
from landmark_models.hub import DEFAULT_FOLDER
from train.evaluate import evaluate
from train.recipe import Recipe


@pytest.fixture(scope="module")
def config():
    return json.loads((DEFAULT_FOLDER / "config.json").read_text())


@pytest.fixture(scope="module")
def card():
    return (DEFAULT_FOLDER / "README.md").read_text()


def test_it_is_small_and_loads():
    assert {file.name for file in DEFAULT_FOLDER.iterdir()} == {"config.json", "model.safetensors", "README.md"}
    assert sum(file.stat().st_size for file in DEFAULT_FOLDER.iterdir()) <= 10_000_000
    classifier = LandmarkClassifier.load()
    assert len(classifier.labels) == len(set(classifier.labels)) == 60
    assert "Taj Mahal" in classifier.labels
    assert sum(p.numel() for p in classifier.network.parameters()) <= 4_900_000


def test_it_was_made_by_the_recipe_in_the_repository(config):
    made_by = Recipe.from_values(config["landmark"]["recipe"])
    # How many processes read photos changes how long a run takes, not where it ends.
    assert made_by == Recipe.read("train/recipes/default_second_round.yaml", seed=made_by.seed, workers=made_by.workers)


def test_card_readme_and_config_give_the_same_figure(config, card):
    test = config["landmark"]["test"]
    assert test["n"] == 848
    figure = f"{100 * test['top1']:.2f} %"
    interval = f"{100 * test['top1_ci95'][0]:.2f} to {100 * test['top1_ci95'][1]:.2f} %"
    with open("README.md") as file:
        readme = file.read()
    for text in (card, readme):
        assert figure in text
        assert interval in text


def test_the_card_is_one_that_the_hub_reads(config, card):
    front = yaml.safe_load(re.match(r"---\n(.*?)\n---\n", card, re.DOTALL)[1])
    assert front["license"] == "other"
    assert front["license_name"]
    assert front["library_name"] == "timm"
    assert "landmark-classification" in front["tags"]
    for label in config["label_names"]:
        assert label in card


@pytest.mark.data
def test_it_is_as_good_as_its_card_says(config, real_data, tmp_path):
    metrics = evaluate("default", real_data, "test", tmp_path)
    recorded = config["landmark"]["test"]
    assert metrics["digest"] == recorded["digest"]
    # Another processor rounds otherwise, which may turn a photo that stands between two labels.
    assert metrics["top1"] == pytest.approx(recorded["top1"], abs=3 / 848)
    assert metrics["top1"] >= 0.90

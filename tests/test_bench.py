import subprocess
import sys

import pytest
from conftest import TINY

from landmark_models.errors import LandmarkError
from train.bench import head, loop
from train.recipe import Recipe


def test_the_loop_is_measured_against_bare_steps_however_short_the_recipe(data):
    result = loop(Recipe.from_values({**TINY, "epochs": 1}), data, rounds=2, updates=3)
    assert len(result["loop"]) == len(result["bare"]) == len(result["ratios"]) == 2
    assert min(result["loop"] + result["bare"]) > 0
    assert result["device"].startswith("CPU")


def test_the_command_says_what_it_measured(data, tmp_path):
    recipe = tmp_path / "r.yaml"
    Recipe.from_values(TINY).write(recipe)
    command = [sys.executable, "-m", "train.bench", "loop", recipe, "--data", data, "--rounds", "1", "--updates", "1"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "loop / bare: " in shown
    assert "landmark_net, 32 px, batch 8" in shown


def test_a_head_on_cached_features_is_measured_against_epochs(data):
    frozen = {"model": "test_resnet", "model_args": {}, "freeze": "backbone", "augment": "none", "epochs": 1}
    result = head(Recipe.from_values({**TINY, **frozen, "image_size": 64}), data)
    assert result["ratio"] == result["epochs"] / result["cached"]
    assert result["features"] > 0
    assert 0 <= result["epochs_top1"] <= 1
    with pytest.raises(LandmarkError, match="more than a linear head"):
        head(Recipe.from_values(TINY), data)


@pytest.mark.slow
def test_how_long_people_wait_is_measured(run, photo):
    command = [sys.executable, "-m", "train.bench"]
    options = [photo, "--model", run.path]
    shown = subprocess.run([*command, "explain", *options, "--rounds", "2"], capture_output=True, text=True, check=True)
    assert "times as long (medians of 2)" in shown.stdout
    shown = subprocess.run(
        [*command, "page", *options, "--users", "2", "--requests", "4"], capture_output=True, text=True, check=True
    )
    assert "  1 at once: p50" in shown.stdout
    assert "  2 at once: p50" in shown.stdout

import contextlib
import os
import re
import subprocess
import sys
from dataclasses import asdict, fields, replace
from pathlib import Path

import pytest
import yaml
from helpers.photos import write_data
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from landmark_models import LandmarkClassifier
from train.engine.network import build_network
from train.engine.training import fit
from train.engine.updates import _optimizer
from train.recipe import Recipe, RecipeError, knob_schemas

KNOBS = [item.name for item in fields(Recipe)]
RECIPES = sorted(Path("train/recipes").rglob("*.yaml"))


def test_what_is_written_is_read_again(tmp_path):
    recipe = Recipe(epochs=7, learning_rate=1e-4, model_args={"channels": [8, 16]}, ema_decay=0.99, clip_grad=None)
    recipe.write(tmp_path / "recipe.yaml")
    assert Recipe.read(tmp_path / "recipe.yaml") == recipe


def test_text_is_read_as_the_knob_wants_it():
    recipe = Recipe.from_values(
        {
            "learning_rate": "1e-3",
            "epochs": "5",
            "balanced_sampling": "true",
            "ema_decay": "none",
            "mixed_precision": "no",
            "model_args": "{channels: [8, 16]}",
            "normalization": "{mean: [0.5, 0.5, 0.5], std: [0.2, 0.2, 0.2]}",
        }
    )
    assert recipe.learning_rate == 1e-3
    assert recipe.epochs == 5
    assert recipe.balanced_sampling is True
    assert recipe.ema_decay is None
    assert recipe.mixed_precision == "no"
    assert recipe.model_args == {"channels": [8, 16]}
    assert recipe.normalization == {"mean": [0.5, 0.5, 0.5], "std": [0.2, 0.2, 0.2]}


def test_yaml_reads_a_bare_no_as_false_and_it_still_means_no(tmp_path):
    (tmp_path / "r.yaml").write_text("mixed_precision: no\nlearning_rate: 1e-3\n")
    recipe = Recipe.read(tmp_path / "r.yaml")
    assert (recipe.mixed_precision, recipe.learning_rate) == ("no", 1e-3)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"epoch": 3}, "no knob 'epoch' .*; did you mean epochs"),
        ({"zzz": 3}, "--help"),
        ({"epochs": "three"}, "epochs='three' .* a whole number of at least 1"),
        ({"epochs": 2.5}, "a whole number"),
        ({"epochs": True}, "a whole number"),
        ({"epochs": 0}, "at least 1"),
        ({"drop_rate": 2}, "from 0 to 0.95 or none"),
        ({"learning_rate": "nan"}, "learning_rate='nan' .* at least 0"),
        ({"learning_rate": "inf"}, "a number"),
        ({"schedule": "magic"}, "cosine, onecycle, plateau or step"),
        ({"balanced_sampling": "maybe"}, "true or false"),
        ({"ema_decay": "much"}, "a number from 0 to 1 or none"),
        ({"model_args": "[1"}, "mapping"),
        ({"normalization": "{mean: [0, 0, 0]}"}, "three numbers"),
        ({"normalization": "{mean: [0, 0], std: [1, 1, 1, 1]}"}, "three numbers"),
        ({"normalization": "{mean: [0, 0, 0], std: [1, 0, 1]}"}, "above 0"),
        ({"seed": 2**32}, "to 4294967295"),
        ({3: 4}, "no knob '3'"),
    ],
)
def test_a_mistake_is_one_sentence(values, words):
    with pytest.raises(RecipeError, match=words) as caught:
        Recipe.from_values(values)
    assert "\n" not in str(caught.value)


def test_each_of_several_mistakes_has_its_sentence():
    with pytest.raises(RecipeError) as caught:
        Recipe.from_values({"epochs": 0, "epoch": 3, "freeze": "everything", "model_args": {1: 2, 3: 4}}, "r.yaml")
    text = str(caught.value)
    assert text.count(" (from r.yaml) must be ") == 3
    assert text.count("did you mean epochs?") == 1
    assert text.count("freeze=") == 1


def test_a_changed_copy_is_checked():
    recipe = Recipe(epochs=7)
    assert replace(recipe, batch_size=8) == Recipe(epochs=7, batch_size=8)
    with pytest.raises(ValidationError, match="epochs"):
        replace(recipe, epochs=0)
    with pytest.raises(ValidationError, match="at most image_size"):
        replace(recipe, start_image_size=999)


def test_defaults_are_allowed_and_not_shared():
    assert Recipe.from_values(asdict(Recipe())) == Recipe()
    assert Recipe().model_args is not Recipe().model_args


@given(st.dictionaries(st.sampled_from(KNOBS), st.text(max_size=9) | st.floats(), max_size=3))
def test_any_value_is_taken_or_refused(values):
    with contextlib.suppress(RecipeError):
        Recipe.from_values(values)


def test_the_command_line_wins_and_is_named_in_its_mistakes(tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text("epochs: 9\nbatch_size: 16\n")
    assert Recipe.read(path, epochs="3") == Recipe(epochs=3, batch_size=16)
    with pytest.raises(RecipeError, match="the command line"):
        Recipe.read(path, epochs="many")
    path.write_text("epochs: many\n")
    with pytest.raises(RecipeError, match=r"r\.yaml"):
        Recipe.read(path, batch_size="8")


@pytest.mark.parametrize("content", ["- a\n- b\n", "epochs: [", "\x00"])
def test_a_file_that_isnt_a_recipe_is_refused(content, tmp_path):
    (tmp_path / "r.yaml").write_text(content)
    with pytest.raises(RecipeError, match=r"r\.yaml"):
        Recipe.read(tmp_path / "r.yaml")
    with pytest.raises(RecipeError, match="default"):
        Recipe.read(tmp_path / "nowhere.yaml")


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_is_valid_and_opens_with_its_command_and_result(path):
    Recipe.read(path)
    head = path.read_text().split("\n\n")[0]
    assert all(line.startswith("#") for line in head.splitlines())
    assert f"train.fit {path}" in head or f"train.distill {path}" in head
    assert re.search(r"top-1 \d|[Nn]ot measured", head)
    assert set(yaml.safe_load(path.read_text())) <= set(KNOBS)


def test_help_lists_every_knob_and_a_wrong_option_is_refused():
    command = [sys.executable, "-m", "train.fit"]
    wide = {**os.environ, "COLUMNS": "200", "TERM": "dumb"}
    shown = subprocess.run([*command, "--help"], capture_output=True, text=True, env=wide)
    assert shown.returncode == 0
    for name in KNOBS:
        assert "--" + name.replace("_", "-") in shown.stdout
    wrong = [*command, "r.yaml", "--data", "d", "--output", "o", "--epoch", "3"]
    refused = subprocess.run(wrong, capture_output=True, text=True)
    assert refused.returncode == 2
    assert "No such option" in refused.stderr
    assert "Traceback" not in refused.stderr


QUICK = ("compact", "1-baseline", "effnetv2_b0_frozen")  # one of each way to train; the others with the slow tests


@pytest.mark.parametrize(
    "file",
    [pytest.param(file, marks=[] if file.stem in QUICK else pytest.mark.slow, id=file.stem) for file in RECIPES],
)
def test_every_recipe_trains(file, tmp_path):
    write_data(tmp_path / "photos", train=3, test=1)
    size = 96 if "inception" in file.stem else 32
    small = {"pretrained": False, "image_size": size, "start_image_size": None, "eval_image_size": None}
    small |= {"epochs": 1, "batch_size": 4, "gradient_accumulation_steps": 1, "val_fraction": 0.3, "workers": 0}
    small |= {"head_epochs": 0, "average_with_pretrained": 0.0}
    run = fit(Recipe.read(file, **small), tmp_path / "photos", tmp_path / "run")
    assert run.metrics()[0].get("update", 2) == 2
    assert len(LandmarkClassifier.load(run.path).labels) == 3


def test_crops_grow_to_their_size_over_three_quarters_of_the_epochs():
    recipe = Recipe(image_size=180, start_image_size=100, epochs=20)
    sides = [recipe.crop_side(epoch) for epoch in range(1, 21)]
    assert sides[0] == 100
    assert sides == sorted(sides)
    assert 160 < sides[14] <= 180
    assert sides[15:] == [180] * 5
    assert all(side % 8 == 4 for side in sides)
    assert {Recipe(image_size=33, epochs=5).crop_side(epoch) for epoch in range(1, 6)} == {33}


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"start_image_size": 200, "image_size": 100}, "at most image_size=100"),
        ({"head_hidden": "[0]"}, "a list of whole numbers above 0"),
        ({"head_hidden": "many"}, "head_hidden='many'"),
        ({"freeze": "everything"}, "freeze='everything'"),
        ({"freeze": -1}, "backbone or a whole number of at least 0"),
        ({"head_hidden": [True]}, "a list of whole numbers above 0"),
    ],
)
def test_knobs_of_transfer_are_checked(values, words):
    with pytest.raises(RecipeError, match=re.escape(words)):
        Recipe.from_values(values)


@pytest.mark.parametrize("model", ["landmark_net", "landmark_resnet", "landmark_cnn", "landmark_cnn6"])
def test_examples_in_the_help_of_knobs_work(model):
    examples = re.findall(
        r"(\S+): .*?e\.g\. '([^']+)'", "\n".join(f"{k}: {v['description']}" for k, v in knob_schemas().items())
    )
    assert {knob for knob, _ in examples} >= {"model_args", "optimizer_args"}
    recipe = Recipe.from_values({"model": model, **dict(examples)})
    _optimizer(build_network(recipe, 3), recipe)

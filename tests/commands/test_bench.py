import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from helpers.photos import MORE_COLORS, write_data
from helpers.programs import invoke
from helpers.runs import TINY
from helpers.runtimes import use_installed_runtime

from landmark_models import LandmarkClassifier, open_photo
from landmark_models.devices import instruction_set
from landmark_models.errors import LandmarkError
from train import bench
from train.benchmarks.dimensions import dimension_loss, print_dimension_loss
from train.benchmarks.engine import ENGINES, engines
from train.benchmarks.page import PageTimes, print_page_times
from train.benchmarks.photos import large_photo
from train.benchmarks.teach import SearchTimes, principal_variances, print_search_times, search_times
from train.benchmarks.training import head, loop
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


@pytest.mark.slow
@pytest.mark.browser
def test_the_page_in_the_browser_is_compared_with_the_classifier(run, shared_data, monkeypatch):
    use_installed_runtime(monkeypatch)
    shown = invoke(bench.web_command, "--photos", shared_data / "test", "--model", run.path, "--n", 3).output
    assert "3 photos, 0 that Chromium can't read" in shown
    assert "the same first answer for 3, the same known-or-not for 3" in shown
    assert "at most 0.02 for 3." in shown
    empty = invoke(bench.web_command, "--photos", shared_data / "none").exception
    assert isinstance(empty, LandmarkError)


def test_a_head_on_cached_features_is_measured_against_epochs(data):
    frozen = {"model": "test_resnet", "model_args": {}, "freeze": "backbone", "augment": "none", "epochs": 1}
    result = head(Recipe.from_values({**TINY, **frozen, "image_size": 64}), data)
    assert result["ratio"] == result["epochs"] / result["cached"]
    assert result["features"] > 0
    assert 0 <= result["epochs_top1"] <= 1
    with pytest.raises(LandmarkError, match="more than a linear head"):
        head(Recipe.from_values(TINY), data)


def test_engines_are_measured_in_turns_and_missing_ones_named(run, monkeypatch):
    result = engines(str(run.path), rounds=2, batch_rounds=1)
    assert set(result.seconds) == set(result.rates) == set(ENGINES) - set(result.absent)
    assert {"PyTorch f32", "PyTorch bf16"} <= set(result.seconds)
    assert all(len(values) == 2 and min(values) > 0 for values in result.seconds.values())
    assert all(len(values) == 1 and min(values) > 0 for values in result.rates.values())
    assert (result.architecture, result.size) == ("landmark_net", (32, 32))
    for package in ("openvino", "onnxruntime"):
        monkeypatch.setitem(sys.modules, package, None)
    assert set(engines(str(run.path), rounds=2, batch_rounds=1).absent) == set(ENGINES[2:])


def test_the_engines_command_says_what_they_ran_on(run):
    command = [sys.executable, "-m", "train.bench", "engine", "--model", run.path, "--rounds", "2"]
    shown = subprocess.run([*command, "--batch-rounds", "1"], capture_output=True, text=True, check=True).stdout
    assert "landmark_net, 32 x 32 px, 2 and 1 rounds; " in shown
    assert instruction_set() in shown


@pytest.mark.slow
def test_how_long_people_wait_is_measured(run, photo):
    command = [sys.executable, "-m", "train.bench"]
    options = [photo, "--model", run.path]
    shown = subprocess.run([*command, "explain", *options, "--rounds", "2"], capture_output=True, text=True, check=True)
    assert "times as long (medians of 2)" in shown.stdout
    page = [*command, "page", *options, "--users", "2", "--requests", "4", "--rounds", "1"]
    shown = subprocess.run(page, capture_output=True, text=True, check=True).stdout
    assert "page / empty: " in shown
    assert "page / obvious: " in shown
    assert f"{photo.name}, 0.0 MB" in shown


def test_the_page_is_shown_relative_to_the_other_apps(capsys):
    seconds = {"page": [0.06, 0.05, 0.07], "empty": [0.04] * 3, "obvious": [0.12] * 3}
    print_page_times(PageTimes(seconds, {"page": [21.0], "empty": [28.0], "obvious": [7.0]}), users=32)
    shown = capsys.readouterr().out
    assert "60 ms" in shown
    assert "page / empty: 1.50 of its time alone, 0.75 of its photos/s with 32 at once." in shown
    assert "page / obvious: 0.50 of its time alone, 3.00 of its photos/s with 32 at once." in shown


def test_the_photo_that_is_made_is_always_the_same():
    content = large_photo(120, 90)
    assert open_photo(content).size == (120, 90)
    assert large_photo(120, 90) == content


def test_the_search_among_taught_landmarks_is_measured(teachable, tmp_path):
    result = search_times(str(teachable.path), 700, 16, 5, tmp_path)
    assert (result.classes, len(result.exact), len(result.answer)) == (700, 5, 5)
    assert 700 * 2 * 16 < result.file_bytes < 700 * 2 * 16 + 100_000
    assert min(result.exact + result.answer) > 0
    assert 0 <= result.right <= 1
    assert len(result.faiss) in (0, 5)
    assert not list(tmp_path.iterdir())


def test_landmarks_are_drawn_around_those_that_the_model_knows(teachable):
    served = LandmarkClassifier.load(teachable.path).served
    rows, variances = principal_variances(served, 8)
    width = served.mean.numel()
    torch.testing.assert_close(rows @ rows.T, torch.eye(8), atol=1e-4, rtol=0)
    assert float(variances[:3].sum()) == pytest.approx(0.5 * width + 1.5, rel=1e-3)  # 3 landmarks, and all directions
    torch.testing.assert_close(variances[3:], torch.full((5,), 0.5), atol=1e-3, rtol=0)


def test_the_search_is_shown_with_a_column_for_each_number_of_landmarks(capsys):
    row = SearchTimes(1000, 10**6, 0.5, None, [0.004, 0.006], [0.003, 0.003], 1.0, [], 0.0, 0.0)
    print_search_times(
        [row, replace(row, classes=20_000, own_bytes=5 * 10**6, faiss=[0.001] * 2, building=2, agree=0.995)]
    )
    shown = capsys.readouterr().out
    lines = {line.split("│")[1].strip(): line for line in shown.splitlines() if line.startswith("│")}
    assert "1,000 " in shown
    assert "20,000 " in shown
    assert "unknown" in lines["own memory, MB"]
    assert "5.00 / 5.90" in lines["all after the network, ms"]
    assert "not installed" in lines["faiss, ms"]
    assert "99.5" in lines["its first is the exact one's, %"]


def test_fewer_numbers_of_a_landmark_recognise_fewer_photos(teachable, data, tmp_path, capsys):
    others = write_data(tmp_path / "others", colors=MORE_COLORS)
    result = dimension_loss(str(teachable.path), data, others, [2, 1])
    assert list(result) == [96, 2, 1]
    rights = [right["photos, test"] for right in result.values()]
    assert [len(right) for right in rights] == [9, 9, 9]
    assert rights[0].all()
    assert not rights[2].all()  # one number can only be positive or negative
    print_dimension_loss(result)
    assert "100.0 (70.1 to 100.0)" in capsys.readouterr().out


@pytest.mark.slow
def test_teaching_is_measured(teachable):
    command = [sys.executable, "-m", "train.bench", "teach", "--model", teachable.path, "--classes", "700"]
    options = ["--dimensions", "16", "--photos", "2", "--rounds", "1"]
    shown = subprocess.run([*command, *options], capture_output=True, text=True, check=True).stdout
    assert "Teaching a landmark from 10 photos of 12 megapixels: " in shown
    assert instruction_set() in shown

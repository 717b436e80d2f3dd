import shutil

import pytest
from helpers.programs import invoke
from helpers.runs import tiny

from landmark_models import LandmarkError
from train import distill, fit, publish, space


def test_a_dry_run_writes_into_the_run_again_and_again_but_not_over_other_files(evaluated, tmp_path):
    run = shutil.copytree(evaluated.path, tmp_path / "run")
    for _ in range(2):
        result = invoke(publish.command, run, "--repo-id", "alice/net", "--space", "alice/page", "--dry-run")
        assert result.output.endswith("holds what would be uploaded; nothing was.\n")
    assert {path.name for path in (run / "publish").iterdir()} == {"model", "space", "dry-run.txt"}
    (run / "publish" / "notes.txt").touch()
    refused = invoke(publish.command, run, "--repo-id", "a/b", "--dry-run")
    assert "holds more than what a dry run wrote" in str(refused.exception)
    (tmp_path / "own" / "model").mkdir(parents=True)  # no dry run's, although it looks like one
    refused = invoke(publish.command, run, "--repo-id", "a/b", "--dry-run", "--output", tmp_path / "own")
    assert "holds more than what a dry run wrote" in str(refused.exception)
    assert (tmp_path / "own" / "model").is_dir()


def test_mistakes_on_the_command_line_give_sentences(tmp_path):
    for command, words, sentence in (
        (publish.command, [tmp_path / "nothing", "--repo-id", "a/b"], "isn't a run folder"),
        (publish.command, [tmp_path, "--repo-id", "a/b", "--output", "x"], "--output is where --dry-run writes"),
        (space.command, ["a/b", "--model", "default"], "serves a model from the Hub"),
        (space.command, ["a/b", "--model", "hf-hub:a/net", "--namespace", "a"], "give --model or --namespace"),
    ):
        result = invoke(command, *words)
        assert isinstance(result.exception, LandmarkError)
        assert sentence in str(result.exception)


def test_training_that_could_not_be_published_does_not_begin(hub_server, evaluated, data, tmp_path):
    recipe = tmp_path / "recipe.yaml"
    tiny().write(recipe)
    for module, extra in ((fit, []), (distill, ["--teacher", evaluated.path])):
        options = ["--data", data, "--output", tmp_path / "run", "--push-to-hub", "stranger/net", *extra]
        result = invoke(module.command, recipe, *options)
        assert isinstance(result.exception, LandmarkError)
        assert "may not do that" in str(result.exception)
        assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "mistake", [["--data", "nowhere"], ["--optimizer", "nothing"], ["--negatives", "nowhere"], ["--model", "nothing"]]
)
def test_training_that_could_not_begin_leaves_no_repository(hub_server, owner, data, tmp_path, mistake):
    tiny().write(tmp_path / "recipe.yaml")
    options = ["--data", data, "--output", tmp_path / "run", "--push-to-hub", f"{owner}/net", *mistake]
    result = invoke(fit.command, tmp_path / "recipe.yaml", *options)
    assert isinstance(result.exception, LandmarkError)
    assert not [request for request in hub_server.requests if "/repos/create" in request.path]
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("repo", "token", "sentence"),
    [("net", "hf_alice", "owner/name"), ("net/x", "hf_expired", "valid token"), ("net/x", None, "`hf auth login`")],
)
def test_a_run_that_can_not_be_published_is_refused_before_its_photos_are_read(
    hub_server, tmp_path, monkeypatch, repo, token, sentence
):
    monkeypatch.delenv("HF_TOKEN", raising=False)
    if token:
        monkeypatch.setenv("HF_TOKEN", token)
    tiny().write(tmp_path / "recipe.yaml")
    (tmp_path / "photos" / "train").mkdir(parents=True)
    options = ["--data", tmp_path / "photos", "--output", tmp_path / "run", "--push-to-hub", repo]
    result = invoke(fit.command, tmp_path / "recipe.yaml", *options)
    assert sentence in str(result.exception)


def test_a_test_split_that_can_not_be_measured_is_known_before_training(hub_server, owner, data, tmp_path):
    shutil.rmtree(data / "test")
    (data / "test").mkdir()
    tiny().write(tmp_path / "recipe.yaml")
    options = ["--data", data, "--output", tmp_path / "run", "--push-to-hub", f"{owner}/net"]
    result = invoke(fit.command, tmp_path / "recipe.yaml", *options)
    assert "has no photo in a class folder" in str(result.exception)
    assert not (tmp_path / "run").exists()

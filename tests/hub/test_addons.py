import json
import re
import subprocess
import sys

import pytest
import torch
from helpers.hub_cards import mistakes
from huggingface_hub import ModelCard

from landmark_models import LandmarkClassifier, LandmarkError
from landmark_models.files import sha256
from landmark_models.teach import teach
from landmark_models.teaching import AddOn, Facts, load_addon
from train.hub.addons import publish_addon

NAME = "mine.landmarks.safetensors"


def made(file, model: str = "hf-hub:alice/net@main", count: int = 2):
    """An add-on with a file name that is nobody's business, and with names that look like markup."""
    labels = ("Town Hall, Bath", "<b>Mill|", *(f"Place {index}" for index in range(count - 2)))
    facts = {labels[0]: Facts(place="Bath, Somerset", country="GB", latitude=51.3814, longitude=-2.3597)}
    counts = torch.tensor([5, 1] + [3] * (count - 2), dtype=torch.int32)
    AddOn("f" * 64, labels, counts, torch.ones(count, 8).half(), facts, model=model).write(file)
    return file


def card_of(folder) -> str:
    return (folder / "addon" / "README.md").read_text()


def test_the_card_says_what_it_is_and_how_to_use_it(tmp_path):
    publish_addon(made(tmp_path / NAME), "you/town-halls", licence="cc-by-4.0", dry_run=tmp_path / "dry")
    assert sorted(file.name for file in (tmp_path / "dry" / "addon").iterdir()) == [
        "README.md",
        "town-halls.landmarks.safetensors",
    ]
    text = card_of(tmp_path / "dry")
    data = ModelCard(text).data
    assert (data.license, data.base_model, data.pipeline_tag) == ("cc-by-4.0", "alice/net", "image-classification")
    assert data.base_model_relation == "adapter"
    assert not list(mistakes(data.to_dict()))
    assert "landmark-addon" in data.tags
    assert data.library_name == "landmark-models"
    assert "2 landmarks, taught from 6 photos to a model that recognises landmarks in photos, without training." in text
    assert "| Town Hall, Bath | 5 | Bath, Somerset; GB; 51.3814, -2.3597 |" in text
    assert r"| &lt;b&gt;Mill\| | 1 |  |" in text
    assert "landmarks predict --model hf-hub:alice/net --with hf-hub:you/town-halls holiday.jpg" in text
    assert "**Not measured.**" in text
    assert "mine" not in text
    assert "{{" not in text
    assert "\n\n\n" not in text


@pytest.mark.parametrize(
    ("model", "words", "command"),
    [
        ("default", "the model `default` that comes with the library", "landmarks predict --with"),
        ("compact", "the model `compact` that comes with the library", "predict --model compact --with"),
        ("", f"the model whose features have the digest `{'f' * 64}`", "predict --model MODEL --with"),
        ("hf-hub:a b; rm/x`y", "the model whose features have the digest", "predict --model MODEL --with"),
    ],
)
def test_the_card_names_only_a_model_that_others_can_load(model, words, command, tmp_path, capsys):
    publish_addon(made(tmp_path / NAME, model), "you/town-halls", dry_run=tmp_path / "dry")
    assert ("--base-model owner/name gives one" in capsys.readouterr().out) == ("digest" in words)
    text = card_of(tmp_path / "dry")
    assert f"It belongs to {words}" in text
    assert command in text
    assert ModelCard(text).data.base_model is None
    publish_addon(made(tmp_path / NAME, model), "you/town-halls", base_model="you/net", dry_run=tmp_path / "other")
    assert ModelCard(card_of(tmp_path / "other")).data.base_model == "you/net"


def test_of_many_landmarks_the_card_lists_some(tmp_path):
    publish_addon(made(tmp_path / NAME, count=203), "you/town-halls", dry_run=tmp_path / "dry")
    text = card_of(tmp_path / "dry")
    assert len(re.findall(r"^\| Place", text, re.MULTILINE)) == 198
    assert "And 3 more." in text


def test_measured_figures_stand_on_the_card_if_they_are_of_this_file(tmp_path):
    file, metrics = made(tmp_path / NAME), tmp_path / "metrics.json"
    part = {"n": 20, "top1": 0.85, "top1_ci95": [0.64, 0.95], "named_rightly": 0.7, "named_rightly_ci95": [0.48, 0.85]}
    figures = {
        "data": "photos", "split": "test", "n": 40, "apart": {"taught": part, "known": part},
        "rejection": {"data": "negatives", "near": {"n": 30, "named": 4, "as_taught": 1}},
    }  # fmt: skip
    for broken in ("[]", "{", json.dumps(figures), json.dumps(figures | {"with": [{"sha256": "0"}]})):
        metrics.write_text(broken)
        with pytest.raises(LandmarkError, match=r"has no figures of train\.evaluate|isn't about"):
            publish_addon(file, "you/town-halls", measured=metrics, dry_run=tmp_path / "dry")
    metrics.write_text(json.dumps(figures | {"with": [{"name": NAME, "sha256": sha256(file)}]}))
    publish_addon(file, "you/town-halls", measured=metrics, dry_run=tmp_path / "dry")
    text = card_of(tmp_path / "dry")
    assert "| landmarks of this file: top-1 | 20 | 85.0 | 64.0 to 95.0 |" in text
    assert "| other landmarks, streets and buildings | 30 | 4 | 1 |" in text
    assert "Not measured" not in text


def test_what_was_published_can_be_used(hub_server, owner, teachable, photo, tmp_path, capsys):
    classifier, file = LandmarkClassifier.load(teachable.path), tmp_path / NAME
    teach(classifier, "Yellow Gate", [photo]).addon.write(file)
    publish_addon(file, f"{owner}/gates", private=True)
    said = capsys.readouterr().out
    assert f"Published {hub_server.url}/{owner}/gates at revision" in said
    assert f"--with hf-hub:{owner}/gates" in said
    assert hub_server.repo(f"{owner}/gates").private
    taught = classifier.with_taught(load_addon(f"hf-hub:{owner}/gates"))
    assert taught.labels[-1] == "Yellow Gate"
    assert taught.taught.get("Yellow Gate").photos == 1

    publish_addon(file, f"{owner}/gates", private=True)
    assert "Nothing has changed" in capsys.readouterr().out
    hub_server.commit(f"{owner}/gates", {"older.landmarks.safetensors": file.read_bytes()})
    publish_addon(file, f"{owner}/gates", private=True)  # a repository has one
    assert "older.landmarks.safetensors" not in hub_server.files(f"{owner}/gates")


def test_the_repository_of_a_model_keeps_its_card(hub_server, owner, tmp_path):
    hub_server.commit(f"{owner}/net", {"config.json": b"{}", "README.md": b"# Net"})
    with pytest.raises(LandmarkError, match="holds a model"):
        publish_addon(made(tmp_path / NAME), f"{owner}/net")
    assert hub_server.files(f"{owner}/net")["README.md"] == b"# Net"


def test_the_command_takes_a_file_and_refuses_what_is_for_runs(tmp_path):
    made(tmp_path / NAME)

    def run(*options: str) -> subprocess.CompletedProcess:
        command = [sys.executable, "-m", "train.publish", tmp_path / NAME, "--repo-id", "you/town-halls", "--dry-run"]
        return subprocess.run([*command, *options], capture_output=True, text=True)

    for _ in range(2):  # a dry run replaces the last one's
        done = run()
        assert done.returncode == 0, done.stderr
        assert "mine-publish holds what would be uploaded" in done.stdout
    assert "--new-version-of are for runs" in run("--space", "you/page").stderr
    (tmp_path / NAME).write_bytes(b"\x80\x04.")
    assert f"{NAME} can't be read" in run().stderr

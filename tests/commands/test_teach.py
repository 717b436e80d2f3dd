"""`landmarks teach`, `forget` and `taught`, and `--with` on the commands that answer."""

import csv
import json
from pathlib import Path

import pytest
from helpers.photos import MORE_COLORS, noisy_photo
from typer.testing import CliRunner

from landmark_models.__main__ import app
from landmark_models.errors import LandmarkError

YELLOW, WHITE = MORE_COLORS.values()


def invoke(*arguments, **options):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], **options)
    if isinstance(result.exception, LandmarkError):
        raise result.exception
    return result


@pytest.fixture
def taught_photos(tmp_path, monkeypatch) -> Path:
    """A folder with a folder of photos for each of two landmarks; the present folder is another one."""
    for name, color in MORE_COLORS.items():
        (tmp_path / "photos" / name).mkdir(parents=True)
        for seed in range(4):
            noisy_photo(color, seed).save(tmp_path / "photos" / name / f"{seed}.png")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "photos"


def test_a_landmark_is_taught_listed_used_and_forgotten(teachable, taught_photos, tmp_path):
    yellow, *rest = sorted((taught_photos / "03.Yellow_Gate").iterdir())
    facts = ["--place", "Bath", "--country", "GB", "--at", "51.38,-2.36", "--name", "The Gate"]
    told = invoke("teach", "gate", *rest, "--model", teachable.path, *facts).stdout.splitlines()
    assert told[0] == "gate: taught from 3 photos."
    assert told[1] == "  Left out in turn, 3 of 3 are recognised by the others."
    assert told[-1].endswith("holds 1 landmark: use it with --with taught.landmarks.safetensors")
    assert "3  gate (The Gate), Bath, United Kingdom" in invoke("taught").stdout
    answered = ["predict", yellow, "--model", teachable.path, "--json"]
    (plain,) = json.loads(invoke(*answered).stdout)
    (record,) = json.loads(invoke(*answered, "--with", "taught.landmarks.safetensors").stdout)
    assert plain["predictions"][0]["label"] != "gate"
    assert (record["predictions"][0]["label"], record["known"]) == ("gate", True)
    assert record["predictions"][0]["score"] < 1
    (by_environment,) = json.loads(invoke(*answered, env={"LANDMARK_WITH": "taught.landmarks.safetensors"}).stdout)
    assert by_environment == record
    assert "deleted" in invoke("forget", "gate").stdout
    assert not Path("taught.landmarks.safetensors").exists()


def test_a_folder_of_folders_teaches_them_all_beside_what_is_there(teachable, taught_photos):
    told = invoke("teach", taught_photos, "--model", teachable.path, "--into", "mine.landmarks.safetensors", "--json")
    assert [(each["label"], each["photos"]) for each in json.loads(told.stdout)] == [
        ("Yellow Gate", 4),
        ("White Dome", 4),
    ]
    more = invoke(
        "teach", "White Dome", taught_photos / "04.White_Dome" / "0.png", "--model", teachable.path,
        "--into", "mine.landmarks.safetensors",
    )  # fmt: skip
    assert "White Dome: taught from 1 photo, 5 with those of before." in more.stdout
    assert "That is few" not in more.stdout
    listed = invoke("taught", "mine.landmarks.safetensors").stdout
    assert "5  White Dome" in listed
    assert "4  Yellow Gate" in listed
    assert "holds 1 landmark." in invoke("forget", "White Dome", "--from", "mine.landmarks.safetensors").stdout


def test_a_landmark_is_taught_anew_and_a_bad_folder_stops_no_other(teachable, taught_photos):
    gate = taught_photos / "03.Yellow_Gate"
    teaching = ["--model", teachable.path]
    invoke("teach", "Cafe\u0301", gate, *teaching)
    assert "4  Café" in invoke("taught").stdout
    assert "taught from 4 photos, 8 with those" in invoke("teach", "Café", gate, *teaching).stdout
    assert "taught from 4 photos." in invoke("teach", "café", gate, "--replace", *teaching).stdout
    (taught_photos / "05.Bad").mkdir()
    (taught_photos / "05.Bad" / "0.jpg").write_text("no photo")
    (taught_photos / "06.Empty").mkdir()
    (taught_photos / "beside.jpg").touch()
    (taught_photos / "05.Bad" / "gone.jpg").symlink_to("nowhere.jpg")
    result = invoke("teach", taught_photos, *teaching)
    assert result.exit_code == 1
    for left_out in ("folder without a photo", "file beside the folders", "folder or link that can't be read"):
        assert f"1 x {left_out}" in result.stderr
    assert "Not taught: Bad can't be taught without a photo that can be read." in result.stderr
    assert "holds 3 landmarks" in invoke("taught").stdout
    assert "deleted" not in invoke("forget", "Cafe\u0301").stdout


def test_a_library_is_tagged_with_what_was_taught(teachable, taught_photos):
    invoke("teach", taught_photos, "--model", teachable.path)
    tagging = ["tag", taught_photos, "--out", "tags.csv", "--model", teachable.path, "--workers", 1]
    assert invoke(*tagging, "--with", "taught.landmarks.safetensors").exit_code == 0
    with Path("tags.csv").open(encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    assert {(Path(row["path"]).parent.name, row["name"], row["hashtags"]) for row in rows} == {
        ("03.Yellow_Gate", "Yellow Gate", "#YellowGate"),
        ("04.White_Dome", "White Dome", "#WhiteDome"),
    }
    assert " with sha256:" in rows[0]["revision"]
    with pytest.raises(LandmarkError, match="revision"):  # the same output can't be continued without it
        invoke(*tagging)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["teach", "Nothing"], "Name photos of 'Nothing', or give a folder"),
        (["teach", "."], "There is no photo in the folders in ."),
        (["teach", "gate", "empty"], "There is no photo in empty"),
        (["teach", "gate", "missing.jpg"], "gate can't be taught without a photo that can be read. missing.jpg"),
        (["teach", ".", "--place", "Bath"], "are for one landmark, not a folder of several"),
        (["teach", "gate", "x.jpg", "--at", "north"], "--at north must be a latitude and a longitude"),
        (["teach", "gate", "x.jpg", "--at", "100,0"], "latitude can't be stored"),
        (["forget", "gate"], "There is no file taught.landmarks.safetensors"),
        (["taught", "empty"], "empty is a folder; name a file"),
        (["predict", "x.jpg", "--with", "nothing.landmarks.safetensors"], "nothing.landmarks.safetensors"),
    ],
)
def test_mistakes_are_told_in_a_sentence(teachable, taught_photos, arguments, message):
    Path("empty").mkdir()
    model = ["--model", str(teachable.path)] if arguments[0] in ("teach", "predict") else []
    with pytest.raises(LandmarkError) as error:
        invoke(*arguments, *model)
    assert message in str(error.value)

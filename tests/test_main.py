import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.model_folders import describe, figures, renamed
from helpers.photos import noisy_photo, with_gps
from PIL import Image
from typer.testing import CliRunner

from landmark_models.__main__ import app
from landmark_models.errors import LandmarkError, run_command


def invoke(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def changed(run, folder, **landmark):
    """A copy of the run's model whose config says this, too."""
    model = shutil.copytree(run.model, folder / "model", dirs_exist_ok=True)
    describe(model, **landmark)
    return model


def test_json_has_the_documented_shape_and_a_bad_photo_affects_no_other(run, photo, tmp_path):
    bad = tmp_path / "bad.jpg"
    bad.write_text("no photo")
    result = invoke("predict", bad, photo, "--model", run.path, "--json", "-k", 2)
    assert result.exit_code == 1
    first, second = json.loads(result.stdout)
    assert first["path"] == str(bad)
    assert first["predictions"] == []
    assert "not an image" in first["error"]
    assert second["path"] == str(photo)
    assert second["error"] is None
    assert [set(candidate) for candidate in second["predictions"]] == [{"label", "score"}] * 2


def test_a_name_that_is_not_utf_8_is_a_uri_in_json(run, photo, tmp_path):
    good, bad = (tmp_path / os.fsdecode(name) for name in (b"good\xff.jpg", b"bad\xfe.jpg"))
    shutil.copy(photo, good)
    bad.write_text("no photo")
    rows = json.loads(invoke("predict", good, bad, "--model", run.path, "--json").stdout)
    assert [row["path"] for row in rows] == [f"{tmp_path.as_uri()}/good%FF.jpg", f"{tmp_path.as_uri()}/bad%FE.jpg"]
    assert rows[1]["error"].startswith(f"{rows[1]['path']} is not an image")
    json.dumps(rows, ensure_ascii=False).encode()


def test_the_table_names_the_landmark_and_success_is_zero(run, photo):
    result = invoke("predict", photo, "--model", run.path)
    assert result.exit_code == 0
    assert "Red Tower" in result.stdout
    assert "score" in result.stdout
    assert "%" in result.stdout


def test_the_table_marks_unrecognised_photos_and_truncates_no_path(run, tmp_path):
    model = changed(run, tmp_path, known={"score": "max_softmax", "threshold": 2.0})
    deep = tmp_path / "/".join(["a folder of a long name"] * 5) / "photo.png"
    deep.parent.mkdir(parents=True)
    Image.new("RGB", (64, 48), (200, 40, 40)).save(deep)
    result = invoke("predict", deep, "--model", model, "-k", 1)
    assert result.exit_code == 0
    cells = [[cell.strip() for cell in line.split("│")[1:3]] for line in result.stdout.splitlines() if "│" in line]
    path, label = ("".join(column).replace(" ", "") for column in zip(*cells, strict=True))
    assert path == str(deep).replace(" ", "")
    assert re.fullmatch(r"notrecognised\(nearest:(RedTower|GreenBridge|BlueLake)\)", label)


def test_a_hostile_file_name_is_only_text(run, photo, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    strange = tmp_path / "[red]x[bold]\x1b[2J\n.jpg"
    strange.write_bytes(photo.read_bytes())
    result = invoke("predict", strange, "--model", run.path)
    assert result.exit_code == 0
    assert "\x1b[2J" not in result.stdout
    assert "[red]x[bold]" in result.stdout
    assert invoke("predict", strange, "--model", run.path, "--json").exit_code == 0


@pytest.mark.parametrize("width", [80, 40, 20, 5])
def test_no_part_of_a_name_is_cut_off_in_a_narrow_table(width, famous_model, photo, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    long = tmp_path / f"{'agra_taj_mahal_' * 6}.jpg"
    shutil.copy(photo, long)
    bad = tmp_path / f"{'letter_' * 12}.jpg"
    bad.write_text("no photo")
    text = invoke("predict", long, bad, "--model", famous_model).stdout
    cells = [[cell.strip() for cell in re.split("[│┃]", line)[1:3]] for line in text.splitlines() if "│" in line]
    paths = "".join(path for path, _ in cells)
    assert str(long) in paths
    assert str(bad) in paths
    assert "…" not in text


def test_landmarks_have_their_proper_names_for_people_and_their_labels_in_json(sure, photo, tmp_path):
    names = {"Red Tower": "humayun s tomb", "Green Bridge": "charminar", "Blue Lake": "Lake of ours"}
    model = renamed(sure, tmp_path / "model", names)
    text = invoke("predict", photo, "--model", model).stdout
    assert all(name in text for name in ("Humayun's Tomb", "Charminar", "Lake of ours"))
    assert "3 landmarks: Charminar, Humayun's Tomb, Lake of ours" in invoke("info", "--model", model).stdout
    (record,) = json.loads(invoke("predict", photo, "--model", model, "--json").stdout)
    assert {prediction["label"] for prediction in record["predictions"]} == set(names.values())


def test_a_photo_taken_elsewhere_is_not_known(famous_model, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    file = with_gps(tmp_path / "agra.jpg", image=noisy_photo((200, 40, 40), 1))
    (record,) = json.loads(invoke("predict", file, "--model", famous_model, "--json").stdout)
    assert (record["known"], record["reason"]) == (False, "position")
    text = invoke("predict", file, "--model", famous_model).stdout
    assert "not recognised (Looks like Eiffel Tower, but the photo was taken" in text


def test_a_high_score_of_a_photo_that_is_not_recognised_is_explained(run, photo, tmp_path):
    model = changed(run, tmp_path, known={"score": "max_softmax", "threshold": 2.0}, temperature=0.05)
    text = " ".join(invoke("predict", photo, "--model", model).stdout.split())
    assert "100.0%" not in text
    assert "Scores only compare the landmarks known here with each other" in text
    assert "Scores only" not in invoke("predict", photo, "--model", run.path).stdout


def test_info_says_what_it_knows_and_that_it_was_not_tested(run):
    result = invoke("info", "--model", run.path)
    assert result.exit_code == 0
    assert "3 landmarks: Blue Lake, Green Bridge, Red Tower" in result.stdout
    assert "not tested" in result.stdout
    assert "elsewhere" not in result.stdout


def test_info_gives_the_test_figure_and_the_one_on_photos_from_elsewhere(run, tmp_path):
    elsewhere = {"data": "wild60", "n": 211, "top1": 0.924, "top1_ci95": [0.88, 0.955]}
    named = {"photos": 211, "named": 190, "right": 186}
    model = changed(run, tmp_path, test=figures(0.9), elsewhere={**elsewhere, "named": named})
    lines = invoke("info", "--model", model).stdout.splitlines()
    assert "test top-1 90.0% (95% interval 85.0% to 95.0%, n = 100, photos)" in lines
    text = "photos from elsewhere: top-1 92.4% (95% interval 88.0% to 95.5%, n = 211, wild60)"
    assert f"{text}; named 190 of 211, 186 of them correctly" in lines
    assert text in invoke("info", "--model", changed(run, tmp_path, elsewhere=elsewhere)).stdout.splitlines()


def test_a_mistake_is_one_sentence_on_standard_error(tmp_path):
    command = [sys.executable, "-m", "landmark_models", "predict", "x.jpg", "--model", str(tmp_path / "nowhere")]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr.startswith("Error: There is no model folder")
    assert len(result.stderr.splitlines()) == 1
    missing = subprocess.run([sys.executable, "-m", "landmark_models", "predict"], capture_output=True, text=True)
    assert missing.returncode == 2
    assert "Traceback" not in missing.stderr


PRINT = "from landmark_models.errors import run_command; run_command(lambda: print({text!r} * {times}))"


def piped(code: str, **environment: str) -> tuple[int, str]:
    """The exit status and the complaints of a command whose reader closes the pipe at once."""
    command = [sys.executable, "-c", code]
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            command, stdout=writer, stderr=subprocess.PIPE, text=True, env={**os.environ, **environment}
        )
    finally:
        os.close(writer)
    return done.returncode, done.stderr


@pytest.mark.parametrize("times", [1, 100_000], ids=["little", "more than a buffer"])
def test_a_reader_that_stops_early_ends_a_command_quietly(times):
    assert piped(PRINT.format(text="a line\n", times=times)) == (1, "")


@pytest.mark.parametrize("module", ["landmark_models", "train", "train.report", "train.data"])
def test_every_command_ends_quietly_when_its_reader_stops(module):
    code = f"import sys, runpy; sys.argv[1:] = ['--help']; runpy.run_module({module!r}, run_name='__main__')"
    status, complaints = piped(code)
    assert (status, complaints) == (1, "")


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "cp437", "latin-1"])
def test_text_that_the_encoding_lacks_is_printed_as_escapes(encoding):
    code = PRINT.format(text="Château d'If, ताज महल, 故宫 \udcff", times=1)
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=environment)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"\\u6545\\u5bab" in done.stdout


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_output_that_cannot_be_written_is_a_sentence():
    command = [sys.executable, "-c", PRINT.format(text="a line", times=1)]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (1, "Error: The output can't be written: No space left on device.\n")


def test_a_landmark_error_and_an_interrupt_end_the_command_properly(capsys):
    def fails():
        raise LandmarkError("The sky fell.")

    def stopped():
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as caught:
        run_command(fails)
    assert caught.value.code == 1
    assert capsys.readouterr().err == "Error: The sky fell.\n"
    with pytest.raises(SystemExit) as caught:
        run_command(stopped)
    assert caught.value.code == 130

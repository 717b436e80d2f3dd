import json
import shutil

import numpy as np
import pytest
from helpers.runs import pretend
from PIL import Image

from landmark_models.errors import LandmarkError
from train.measure.comparison import draw_rungs, find_rungs, ladder
from train.recipe import Recipe
from train.report import app
from train.run import RunFolder


@pytest.fixture
def runs(evaluated, tmp_path):
    """Two seeds of one recipe, and a run of another that did not learn."""
    folders = []
    for name, changes, top1 in (
        ("1-plain-seed0", {"seed": 0}, 0.5),
        ("1-plain-seed1", {"seed": 1, "threads": 1}, 0.7),
        ("2-deeper", {"learning_rate": 0.9}, 0.9),
    ):
        folder = shutil.copytree(evaluated.path, tmp_path / name)
        run = RunFolder(folder)
        Recipe.read(run.recipe, **{key: str(value) for key, value in changes.items()}).write(run.recipe)
        pretend(run, top1=top1, top1_ci95=[0.0, 1.0])
        folders.append(folder)
    return folders


def test_runs_of_one_recipe_make_one_rung(runs):
    rungs = find_rungs(runs)
    assert [(rung.name, len(rung.runs)) for rung in rungs] == [("1-plain", 2), ("2-deeper", 1)]
    lines = ladder(rungs).splitlines()
    assert lines[0].startswith("| rung | seeds | accuracy, % | macro precision, % | macro recall, % | macro F1, % |")
    first, second = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:4])
    assert first[:3] == ["1-plain", "2", "60.00 (50.00 to 70.00)"]
    assert second[:3] == ["2-deeper", "1", "90.00"]
    assert first[6] == "2"
    assert first[7].endswith(RunFolder(runs[0]).environment()["device"])
    assert "On the 9 test photos" in lines[-1]


def test_the_picture_shows_gradients_too(runs, tmp_path):
    lines = RunFolder(runs[0]).metrics()
    network = lines[0]["gradient_norms"]
    assert len(network) > 3
    assert any(norm > 0 for norm in network.values())
    draw_rungs(find_rungs(runs), tmp_path / "with.png")
    for run in runs:  # as runs made before there were such figures
        without = [{key: value for key, value in line.items() if key != "gradient_norms"} for line in lines]
        (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in without))
    draw_rungs(find_rungs(runs), tmp_path / "without.png")
    coloured = []
    for name in ("with.png", "without.png"):
        with Image.open(tmp_path / name) as picture:
            pixels = np.asarray(picture.convert("RGB")).astype(int)
        coloured.append([(np.ptp(half, axis=2) > 60).sum() for half in np.array_split(pixels, 2)])
    assert min(coloured[0]) > 100  # lines in both halves
    assert coloured[1][0] > 100
    assert coloured[1][1] == 0


def test_the_command_writes_table_and_picture(runs, tmp_path, capsys):
    readme = tmp_path / "README.md"
    readme.write_text("<!-- ladder: begin -->\nold\n<!-- ladder: end -->\n")
    arguments = ["ladder", *map(str, runs), "--output", str(tmp_path / "ladder.png"), "--into", str(readme)]
    app(arguments, standalone_mode=False)
    assert "| 1-plain | 2 |" in capsys.readouterr().out
    assert "| 2-deeper | 1 |" in readme.read_text()
    assert "old" not in readme.read_text()
    with Image.open(tmp_path / "ladder.png") as picture:
        assert picture.size == (1300, 800)


def test_runs_with_other_weights_are_another_rung(runs):
    file = runs[1] / "environment.json"
    environment = json.loads(file.read_text())
    file.write_text(json.dumps(environment | {"weights_from": "other.safetensors", "device": "abacus"}))
    assert [len(rung.runs) for rung in find_rungs(runs)] == [1, 1, 1]
    file.write_text(json.dumps(environment | {"device": "abacus"}))
    assert f"{environment['device']} and abacus |" in ladder(find_rungs(runs))


def test_runs_of_different_length_say_so(runs):
    file = runs[1] / "metrics.jsonl"
    file.write_text(file.read_text().splitlines(keepends=True)[0])
    assert "| 1 to 2 |" in ladder(find_rungs(runs))


def test_a_rung_without_epochs_and_odd_names_are_drawn(runs, tmp_path):
    (runs[0] / "metrics.jsonl").write_text('{"seconds": 3}\n')
    odd = [runs[0], runs[1], runs[2].rename(tmp_path / "_cost$x_$")]
    assert "| 0 to 2 |" in ladder(find_rungs(odd))
    draw_rungs(find_rungs(odd), tmp_path / "odd.png")
    assert (tmp_path / "odd.png").stat().st_size > 1000
    assert ladder(find_rungs(odd[:1])).splitlines()[2].split("|")[7].strip() == "-"
    draw_rungs(find_rungs(odd[:1]), tmp_path / "none.png")


def test_runs_that_cannot_share_a_ladder_are_refused(runs, run, tmp_path):
    with pytest.raises(LandmarkError, match=r"There is no .*metrics.json; evaluate the run"):
        find_rungs([run.path])
    with pytest.raises(LandmarkError, match=r"1-plain-seed0 and .*1-plain-seed0 have the same recipe and seed"):
        find_rungs([runs[0], runs[0]])
    with pytest.raises(LandmarkError, match=r"no-folder.*can't be written: No such file"):
        draw_rungs(find_rungs(runs), tmp_path / "no-folder" / "ladder.png")
    pretend(RunFolder(runs[0]), digest="other")
    with pytest.raises(LandmarkError, match=r"different photos.*1-plain-seed0: 9 of .*1-plain-seed1: 9 of"):
        find_rungs(runs)
    file = runs[0] / "metrics.jsonl"
    for content, reason in (
        ("", r"has no metrics yet"),
        ("{\n", r"metrics\.jsonl can't be read: Expecting"),
    ):
        file.write_text(content)
        with pytest.raises(LandmarkError, match=reason):
            find_rungs(runs[:1])

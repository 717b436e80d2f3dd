import json
import shutil

import pytest
from helpers.runs import pretend
from typer.testing import CliRunner

from landmark_models import models
from landmark_models.errors import LandmarkError
from train.engine.network import build_network
from train.measure.comparison import compare, table
from train.measure.evaluation import evaluate
from train.recipe import Recipe
from train.report import app
from train.run import RunFolder


@pytest.fixture
def evaluated(run, shared_data, tmp_path):
    own = shutil.copytree(run.path, tmp_path / "small")
    evaluate(own, shared_data, "test", tmp_path / "out")
    return own


def test_the_table_says_what_the_runs_have_measured(evaluated, tmp_path):
    worse = shutil.copytree(evaluated, tmp_path / "worse")
    pretend(RunFolder(worse), top1=0.5, top1_ci95=[0.2, 0.7], macro_f1=0.25, photos_per_second=12.4)
    lines = table([worse, evaluated]).splitlines()
    assert len(lines) == 4
    assert lines[2].startswith("| small |")
    cells = [cell.strip() for cell in lines[3].strip("|").split("|")]
    assert cells[0] == "worse"
    assert cells[3:7] == ["32", "random weights", "50.00 (20.00 to 70.00)", "25.00"]
    assert cells[8] == "12"
    network = models.load(worse).network
    assert cells[1] == f"{sum(p.numel() for p in network.parameters()) / 1e6:.2f}"
    assert cells[7].endswith(json.loads((worse / "environment.json").read_text())["device"])


def test_gflops_are_the_published_ones(evaluated, tmp_path):
    recipe = Recipe(model="resnet18", image_size=224)
    own = RunFolder(evaluated)
    own.origin = {"weights_from": "random weights"}
    noted = models.load(evaluated).landmark["test"]
    own.save_model(build_network(recipe, 1000), [str(i) for i in range(1000)], recipe, {}, model_args={})
    with pytest.raises(LandmarkError, match=r"The figures in .* differ"):  # those of the network before
        table([own.path])
    config = json.loads((own.model / "config.json").read_text())
    config["landmark"]["test"] = noted
    (own.model / "config.json").write_text(json.dumps(config))
    cells = table([own.path]).splitlines()[2].split(" | ")
    assert cells[1:4] == ["11.69", "3.63", "224"]  # 1.8 G multiply-adds (He et al. 2016)


def test_it_is_put_between_the_marks_of_a_file(evaluated, tmp_path):
    file = tmp_path / "README.md"
    file.write_text("before\n<!-- results: begin -->\nold\n<!-- results: end -->\nafter\n")
    for _ in range(2):
        app(["table", str(evaluated), "--into", str(file)], standalone_mode=False)
    text = file.read_text()
    assert text.startswith("before\n<!-- results: begin -->\n\n| model |")
    assert text.endswith("|\n\n<!-- results: end -->\nafter\n")
    assert "old" not in text
    file.write_text("no marks")
    with pytest.raises(LandmarkError, match="has no lines"):
        app(["table", str(evaluated), "--into", str(file)], standalone_mode=False)
    assert file.read_text() == "no marks"
    file.write_bytes(b"\xff")
    with pytest.raises(LandmarkError, match=r"README\.md can't be read: 'utf-8' codec"):
        app(["table", str(evaluated), "--into", str(file)], standalone_mode=False)


def test_mistakes_give_sentences(run, evaluated, tmp_path):
    with pytest.raises(LandmarkError, match="isn't a run folder"):
        table([tmp_path])
    fresh = shutil.copytree(evaluated, tmp_path / "fresh", ignore=shutil.ignore_patterns("test"))
    with pytest.raises(LandmarkError, match="evaluate the run"):
        table([fresh])
    file = evaluated / "test" / "metrics.json"
    plain = file.read_text()
    file.write_text(json.dumps({**json.loads(plain), "tta": "crops"}))
    with pytest.raises(LandmarkError, match="does not hold single-crop figures"):
        table([evaluated])
    file.write_text(plain)
    other = shutil.copytree(evaluated, tmp_path / "other")
    pretend(RunFolder(other), digest="x")
    with pytest.raises(LandmarkError, match="different photos"):
        table([evaluated, other])


def test_two_runs_are_compared_photo_by_photo(evaluated, tmp_path):
    """Against scipy's own figure of the exact test for 1 and 7 photos that only one of two gets right."""
    folders = [shutil.copytree(evaluated, tmp_path / name) for name in ("a", "b")]
    rows = ["path,label,named,confidence"]
    right = {
        "a": [True] * 10 + [True] + [False] * 7 + [False] * 2,
        "b": [True] * 10 + [False] + [True] * 7 + [False] * 2,
    }
    for folder in folders:
        lines = [f"{index}.jpg,x,{'x' if hit else 'y'},0.5" for index, hit in enumerate(right[folder.name])]
        (folder / "test" / "predictions.csv").write_text("\n".join([*rows, *lines]) + "\n")
    found = compare(*folders)
    assert (found["n"], found["both"], found["neither"], found["only_a"], found["only_b"]) == (20, 10, 2, 1, 7)
    assert found["p"] == pytest.approx(2 * (1 + 8) / 2**8)
    assert compare(folders[0], folders[0])["p"] == 1.0
    pretend(RunFolder(folders[1]), digest="other")
    with pytest.raises(LandmarkError, match="not evaluated on the same photos"):
        compare(*folders)
    (folders[0] / "test" / "predictions.csv").unlink()
    with pytest.raises(LandmarkError, match=r"has no predictions\.csv"):
        compare(*folders)


def test_the_command_says_which_is_better(evaluated):
    result = CliRunner().invoke(app, ["compare", str(evaluated), str(evaluated)])
    assert result.exit_code == 0, result.output
    assert "That may well be chance" in result.output

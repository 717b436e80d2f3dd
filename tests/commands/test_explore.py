import json
import shutil
import subprocess
import sys
from html import escape
from pathlib import Path

import numpy as np
import pytest
import typer
from helpers.pages import Reader
from helpers.photos import COLORS, noisy_photo
from helpers.runs import TINY
from PIL import ExifTags, Image

from landmark_models.errors import run_command
from train.data import DataError
from train.explore import command, explore
from train.recipe import Recipe, RecipeError

RECIPE = Recipe.from_values(TINY)
STRANGER = "<img src=x onerror=alert(1)> $x$ 塔"


def pictures(folder: Path) -> set[str]:
    """The pictures of a page, each of them read from its file."""
    sources = [a["src"] for tag, a in Reader((folder / "index.html").read_text()).tags if tag == "img"]
    for source in sources:
        with Image.open(folder / source) as image:
            image.load()
    return {source.removeprefix("./") for source in sources}


@pytest.fixture(scope="module")
def explored(tmp_path_factory, shared_data):
    """Small data with a copy, a leak, two photos that can't be read and a stranger's class, and what was made of it."""
    data = shutil.copytree(shared_data, tmp_path_factory.mktemp("explore") / "photos")
    train, test = data / "train" / "00.Red_Tower", data / "test" / "00.Red_Tower"
    shutil.copy(train / "000.jpg", train / "zz_copy.jpg")
    shutil.copy(test / "000.jpg", train / "zz_leak.jpg")
    (train / "broken.jpg").write_bytes(b"no photo")
    (test / "empty.jpg").write_bytes(b"")
    strange = data / "test" / STRANGER
    strange.mkdir()
    noisy_photo((90, 90, 90), 7, (80, 120)).save(strange / "<b>.png")
    output = data.parent / "made" / "here"
    return data, output, explore(data, output, RECIPE, samples=3)


def test_the_page_shows_what_there_is_by_split(explored):
    _, output, _ = explored
    content = (output / "index.html").read_text()
    assert "<title>The photos in &#34;photos&#34;</title>" in content
    assert '<td>Red Tower</td><td class="number">11</td><td class="number">4</td>' in content
    assert '<td>Blue Lake</td><td class="number">8</td><td class="number">3</td>' in content
    assert "4 classes, 38 photos: 27 train, 11 test." in content
    assert f"Not in train: {escape(STRANGER)}." in content
    main = {"classes.png", "sizes.png", "histograms.png", "batch.png", "duplicate.jpg", "leak.jpg"}
    assert pictures(output) >= main | {f"samples/00{number}.jpg" for number in range(3)}


def test_what_is_wrong_is_what_the_scan_finds(explored):
    _, output, found = explored
    text = Reader((output / "index.html").read_text()).text
    kinds = {(finding.kind, Path(finding.path).name) for finding in found.findings if finding.kind != "mislabelled"}
    assert kinds >= {("unreadable", "broken.jpg"), ("unreadable", "empty.jpg")}
    assert kinds >= {("duplicate", "zz_copy.jpg"), ("leak", "zz_leak.jpg")}
    for finding in found.findings:
        assert finding.path in text
        assert finding.detail in text
    assert json.loads((output / "scan.json").read_text()) == found.as_json()
    assert "train/00.Red_Tower/zz_leak.jpg" in (output / "exclude.txt").read_text().splitlines()


def test_strangers_names_are_shown_not_obeyed(explored):
    _, output, _ = explored
    page = Reader((output / "index.html").read_text())
    assert STRANGER in page.text
    assert {tag for tag, _ in page.tags}.isdisjoint({"script", "b"})
    assert not any("onerror" in attributes for _, attributes in page.tags)
    links = [a.get("src") or a.get("href") for tag, a in page.tags if tag in ("img", "a", "link")]
    assert all(link.startswith(("./", "#")) for link in links)


def test_the_same_again_makes_the_same_pictures(explored):
    data, output, _ = explored
    before = {name: (output / name).read_bytes() for name in pictures(output)}
    explore(data, output, RECIPE, samples=3)
    assert {name: (output / name).read_bytes() for name in pictures(output)} == before
    assert not list(output.rglob("*.part"))
    other = output.parent / "other"
    explore(data, other, Recipe.from_values({**TINY, "seed": 1}), samples=3)
    assert (other / "samples" / "001.jpg").read_bytes() != before["samples/001.jpg"]


@pytest.mark.parametrize(
    "knobs", [{"mixup": 1.0, "cutmix": 1.0, "random_erasing": 0.5}, {"augment": "none", "normalization": "train"}]
)
def test_bare_class_folders_and_any_recipe(shared_data, tmp_path, knobs):
    output = tmp_path / "out"
    found = explore(shared_data / "train", output, Recipe.from_values({**TINY, **knobs}), samples=20)
    assert found.photos == {"train": 24}
    assert "batch.png" in pictures(output)
    with Image.open(output / "samples" / "000.jpg") as sheet:
        assert sheet.size == (4 * 120, 2 * 120)  # there are eight of each class
    text = Reader((output / "index.html").read_text()).text
    assert ("each row is one" in text) == ("mixup" in knobs)


def test_mean_and_deviation_are_those_of_the_pixels(tmp_path):
    for name, value in (("a", 51), ("b", 153)):
        (tmp_path / "photos" / name).mkdir(parents=True)
        Image.new("RGB", (64, 64), (value, 102, 0)).save(tmp_path / "photos" / name / "x.png")
    chosen = {"normalization": {"mean": [0.2, 0.4, 0.5], "std": [0.2, 0.25, 0.5]}}
    explore(tmp_path / "photos", tmp_path / "out", Recipe.from_values({**TINY, **chosen}))
    content = (tmp_path / "out" / "index.html").read_text()
    rows = {"red": (0.4, 0.2, 0.2, 0.2, 1, 1), "green": (0.4, 0, 0.4, 0.25, 0, 0), "blue": (0, 0, 0.5, 0.5, -1, 0)}
    for channel, numbers in rows.items():
        cells = "".join(f'<td class="number">{number:.3f}</td>' for number in numbers)
        assert f"<td>{channel}</td>{cells}" in content


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
def test_sizes_are_those_of_the_upright_photo(tmp_path, suffix):
    folder = tmp_path / "photos" / "a"
    folder.mkdir(parents=True)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6  # lies on its side
    noisy_photo((1, 2, 3), 0, (96, 64)).save(folder / f"x.{suffix}", exif=exif)
    explore(tmp_path / "photos", tmp_path / "out", RECIPE)
    content = (tmp_path / "out" / "index.html").read_text()
    assert "<td>width, px</td>" + 5 * '<td class="number">64</td>' in content
    assert "<td>aspect</td>" + 5 * '<td class="number">0.67</td>' in content


def test_the_histograms_show_both_sides_of_the_normalisation(tmp_path, shared_data):
    # A change of the mean changes the right half of the picture alone.
    halves = []
    for mean in (0.4, 0.6):
        chosen = {"normalization": {"mean": [mean] * 3, "std": [0.2] * 3}}
        explore(shared_data / "test", tmp_path / "out", Recipe.from_values({**TINY, **chosen}), samples=1)
        pixels = np.asarray(Image.open(tmp_path / "out" / "histograms.png"))
        halves.append(np.split(pixels, [pixels.shape[1] // 2], axis=1))
    assert np.array_equal(halves[0][0], halves[1][0])
    assert not np.array_equal(halves[0][1], halves[1][1])


def test_what_cannot_be_explored_gives_a_sentence_and_leaves_nothing(shared_data, tmp_path):
    output = tmp_path / "out"
    with pytest.raises(DataError, match="There is no data folder"):
        explore(tmp_path / "nothing", output, RECIPE)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="has no photo in a class folder"):
        explore(tmp_path / "empty", output, RECIPE)
    (tmp_path / "bad" / "a").mkdir(parents=True)
    (tmp_path / "bad" / "a" / "x.jpg").write_bytes(b"no photo")
    with pytest.raises(DataError, match="None of the 1 photos can be read"):
        explore(tmp_path / "bad", output, RECIPE)
    with pytest.raises(RecipeError, match="has no model 'resnet_unheard_of'"):
        explore(shared_data, output, Recipe.from_values({"model": "resnet_unheard_of"}))
    with pytest.raises(DataError, match="is in the data folder"):
        explore(shared_data, shared_data / "train" / "out", RECIPE)
    assert not output.exists()
    assert not (shared_data / "train" / "out").exists()
    output.write_text("precious")
    for place in (output, output / "below"):
        with pytest.raises(DataError, match="is a file; name a folder"):
            explore(shared_data, place, RECIPE)
    assert output.read_text() == "precious"


def test_all_is_not_well_where_something_was_left_out(tmp_path, capsys):
    data = tmp_path / "photos"
    for number, (name, color) in enumerate(COLORS.items()):
        (data / name).mkdir(parents=True)
        for index in range(3):
            noisy_photo(color, 3 * number + index, (96, 80)).save(data / name / f"{index:03d}.jpg")
    recipe = tmp_path / "recipe.yaml"
    RECIPE.write(recipe)
    command(data, tmp_path / "out", recipe, 1)
    assert capsys.readouterr().out.splitlines()[:1] == ["9 photos; all is well"]
    (data / "05.Palace" / "2019").mkdir(parents=True)
    shutil.move(data / "00.Red_Tower" / "000.jpg", data / "loose.jpg")
    (data / "05.Palace" / "2019" / "a.xyz").touch()
    command(data, tmp_path / "out", recipe, 1)
    line = capsys.readouterr().out.splitlines()
    parts = ["1 x photo outside a class folder", "1 x .xyz file", "1 x class folder without a photo (05.Palace)"]
    assert line[:2] == ["8 photos; nothing wrong with these", f'Left out of "{data}": {", ".join(parts)}.']
    text = Reader((tmp_path / "out" / "index.html").read_text()).text
    assert all(part in text for part in parts)
    assert json.loads((tmp_path / "out" / "scan.json").read_text())["left_out"]


@pytest.mark.slow
def test_the_command_looks_through_the_default_recipe(shared_data, tmp_path):
    arguments = [sys.executable, "-m", "train.explore", shared_data, "--output", tmp_path / "out", "--samples", "2"]
    result = subprocess.run(arguments, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("33 photos; ")
    assert result.stdout.endswith(f"Open {tmp_path / 'out' / 'index.html'}\n")
    assert "batch.png" in pictures(tmp_path / "out")
    assert "training crop of 176 px" in (tmp_path / "out" / "index.html").read_text()


def test_a_mistake_is_one_sentence_and_exit_status_1(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["explore", str(tmp_path / "nothing"), "--output", str(tmp_path / "other")])
    with pytest.raises(SystemExit) as ended:
        run_command(lambda: typer.run(command))
    assert ended.value.code == 1
    assert capsys.readouterr().err == f"Error: There is no data folder {tmp_path / 'nothing'}.\n"
    assert not (tmp_path / "other").exists()

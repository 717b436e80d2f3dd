import json
import os
import re
import shutil
import subprocess
import sys
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import yaml
from helpers.runs import launch, tiny
from huggingface_hub import ModelCard
from PIL import Image
from typer.testing import CliRunner

from landmark_models import LandmarkClassifier, LandmarkError, models
from train import distill, fit
from train.hub import card
from train.publish import publish
from train.run import RunFolder
from train.space import publish_space, serving_requirements, write_space

ROOT = Path(__file__).parents[2]


@pytest.fixture
def mine(evaluated, tmp_path) -> RunFolder:
    """The evaluated run, to be changed."""
    return RunFolder(shutil.copytree(evaluated.path, tmp_path / "mine"))


def test_a_dry_run_writes_all_that_would_be_uploaded(evaluated, tmp_path):
    publish(evaluated.path, "alice/net", space="alice/page", dry_run=tmp_path / "dry", licence="apache-2.0")
    model = tmp_path / "dry" / "model"
    assert sorted(file.relative_to(model).as_posix() for file in model.rglob("*") if file.is_file()) == [
        "README.md", "config.json", "curves.png", "metrics.jsonl", "model.safetensors", "recipe.yaml",
        "test/confusion.png", "test/metrics.json",
    ]  # fmt: skip
    assert (model / "model.safetensors").read_bytes() == (evaluated.model / "model.safetensors").read_bytes()
    with Image.open(model / "test" / "confusion.png") as picture:
        assert min(picture.size) >= 400
    for file in model.rglob("*"):  # neither photos nor where they lie
        if file.suffix in (".json", ".jsonl", ".yaml", ".md"):
            assert str(evaluated.path.parent) not in file.read_text()
            assert ".jpg" not in file.read_text().replace("holiday.jpg", "")


def test_the_card_says_what_was_measured(evaluated, tmp_path):
    publish(evaluated.path, "alice/net", dry_run=tmp_path / "dry", licence="apache-2.0", base_model="timm/test_resnet")
    text = (tmp_path / "dry" / "model" / "README.md").read_text()
    read = ModelCard(text)
    test = json.loads(evaluated.test.read_text())
    assert read.data.license == "apache-2.0"
    assert read.data.library_name == "timm"
    assert read.data.base_model == "timm/test_resnet"
    assert "landmark-classification" in read.data.tags
    top1, _, top5, f1 = read.data.eval_results
    assert (top1.metric_type, top1.metric_value) == ("accuracy", test["top1"])
    assert top1.metric_args == {"n": 9, "k": 1, "ci95": test["top1_ci95"]}
    assert (top1.dataset_split, top1.dataset_revision) == ("test", test["digest"])
    assert top5.metric_value == test["top5"]
    assert f1.metric_value == test["macro_f1"]
    low, high = test["top1_ci95"]
    assert f"| top-1 | {100 * test['top1']:.2f} | {100 * low:.2f} to {100 * high:.2f} |" in text
    assert "Red Tower, Green Bridge, Blue Lake." in text
    assert 'timm.create_model("hf-hub:alice/net", pretrained=True)' in text
    assert "import landmark_models  #" not in text  # one of timm's own networks
    assert "{{" not in text
    assert "\n\n\n" not in text
    assert re.search(r"Trained on 18 photos of \S+, 6 more", text)


def test_a_run_without_test_figures_is_refused_unless_that_is_allowed(run, tmp_path):
    with pytest.raises(LandmarkError, match=r"no test figures.*--allow-unevaluated"):
        publish(run.path, "alice/net", dry_run=tmp_path / "dry")
    assert not (tmp_path / "dry").exists()
    publish(run.path, "alice/net", dry_run=tmp_path / "dry", allow_unevaluated=True)
    text = (tmp_path / "dry" / "model" / "README.md").read_text()
    assert "not measured on photos that it has never seen" in text
    assert ModelCard(text).data.eval_results is None
    assert "import landmark_models  #" in text
    with pytest.raises(LandmarkError, match="is no run folder"):
        publish(run.model, "alice/net")
    with pytest.raises(LandmarkError, match="is not empty"):
        publish(run.path, "alice/net", dry_run=tmp_path / "dry", allow_unevaluated=True)


def test_examples_are_shown_small_without_metadata_and_with_their_credit(evaluated, photo, tmp_path):
    examples = tmp_path / "examples"
    examples.mkdir()
    exif = Image.Exif()
    exif[0x010F] = "the camera"
    with Image.open(photo) as image:
        image.resize((1200, 900)).save(examples / "<b>tower.jpg", exif=exif, comment=b"secret")
    with pytest.raises(LandmarkError, match=r"credits\.csv is no table"):
        publish(evaluated.path, "alice/net", examples=examples, dry_run=tmp_path / "dry")
    (examples / "credits.csv").write_text("file,credit\n<b>tower.jpg,\n")
    with pytest.raises(LandmarkError, match="no file or no credit"):
        publish(evaluated.path, "alice/net", examples=examples, dry_run=tmp_path / "dry")
    for name, words in (("../secret.jpg", "is not in"), ("missing.jpg", "missing.jpg")):
        (examples / "credits.csv").write_text(f"file,credit\n{name},me\n")
        with pytest.raises(LandmarkError, match=words):
            publish(evaluated.path, "alice/net", examples=examples, dry_run=tmp_path / "dry")
    assert not (tmp_path / "dry").exists()
    (examples / "credits.csv").write_text("file,credit\n<b>tower.jpg,A. Person | CC-BY <script>\n")
    publish(evaluated.path, "alice/net", examples=examples, dry_run=tmp_path / "dry")
    model = tmp_path / "dry" / "model"
    text = (model / "README.md").read_text()
    assert r"A. Person \| CC-BY &lt;script&gt;" in text
    assert "![Example photo 1](examples/01.jpg)" in text
    with Image.open(model / "examples" / "01.jpg") as image:
        assert max(image.size) <= 512
        assert not image.getexif()
        assert "comment" not in image.info


def test_the_card_shows_the_command_without_the_owners_paths():
    for given, shown in {
        "fit.py train/recipes/default.yaml --data /home/me/client/photos --output runs/a":
            "train.fit train/recipes/default.yaml --data photos --output a",
        "fit.py my/own.yaml '--data=/home/me/My Photos/c' --output a --epochs=3":
            "train.fit own.yaml --data c --output a --epochs 3",
        r"fit.py r.yaml --data 'C:\Users\me\photos' --output a --push-to-hub me/net --private":
            "train.fit r.yaml --data photos --output a",
        "distill.py r.yaml --teacher hf-hub:me/net --push-to-hub=me/x --data d":
            "train.distill r.yaml --teacher hf-hub:me/net --data d",
        "ipython -c 1": "train.fit recipe.yaml --data DATA --output mine",
    }.items():  # fmt: skip
        assert " ".join(card._command(given, "mine")) == f"accelerate launch -m {shown}"


def test_figures_that_disagree_and_a_run_that_lacks_something_are_sentences(mine, tmp_path):
    figures = json.loads(mine.test.read_text())
    mine.test.write_text(json.dumps(figures | {"top1": 0.999}))
    with pytest.raises(LandmarkError, match="other figures than"):
        publish(mine.path, "alice/net", dry_run=tmp_path / "dry")
    mine.test.write_text(json.dumps({key: value for key, value in figures.items() if key != "per_source"}))
    with pytest.raises(LandmarkError, match=r"lacks what its card needs.*per_source"):
        publish(mine.path, "alice/net", dry_run=tmp_path / "dry")
    mine.test.write_text(json.dumps(figures))
    (mine.path / "environment.json").unlink()
    with pytest.raises(LandmarkError, match=r"environment\.json can't be read: No such file"):
        publish(mine.path, "alice/net", dry_run=tmp_path / "dry")


def test_what_an_earlier_model_had_does_not_stay(hub_server, owner, mine, run):
    publish(mine.path, f"{owner}/net")
    assert "test/metrics.json" in hub_server.files(f"{owner}/net")
    publish(run.path, f"{owner}/net", allow_unevaluated=True)
    assert "test/metrics.json" not in hub_server.files(f"{owner}/net")


def test_publishing_twice_commits_once_and_an_older_state_is_replaced(hub_server, owner, mine, capsys, monkeypatch):
    publish(mine.path, f"{owner}/net", space=f"{owner}/page")
    said = capsys.readouterr().out
    assert f"Published {hub_server.url}/{owner}/net at revision" in said
    assert f"The page is at {hub_server.url}/spaces/{owner}/page." in said
    assert models.best(owner).model.startswith(f"hf-hub:{owner}/net@")
    assert hub_server.repo(f"{owner}/page", "space").variables == {"LANDMARK_MODEL": f"hf-hub:{owner}/net"}

    publish(mine.path, f"{owner}/net", space=f"{owner}/page")
    said = capsys.readouterr().out
    assert said.count("Nothing has changed") == 2
    assert len(hub_server.commits(f"{owner}/net")) == 2
    assert len(hub_server.commits(f"{owner}/page", "space")) == 2
    assert "hf_alice" not in said

    publish_space(f"{owner}/page")  # as the workflow does without variables of its own
    assert hub_server.repo(f"{owner}/page", "space").variables == {"LANDMARK_MODEL": f"hf-hub:{owner}/net"}
    publish_space(f"{owner}/page", namespace=owner)
    assert hub_server.repo(f"{owner}/page", "space").variables == {"LANDMARK_NAMESPACE": owner}
    publish(mine.path, f"{owner}/hidden", private=True, space=f"{owner}/other")
    with pytest.raises(LandmarkError, match="hf-hub:no/model can't be served"):
        publish_space(f"{owner}/third", model="hf-hub:no/model")
    assert ("space", f"{owner}/third") not in hub_server.repos
    assert "secret HF_TOKEN" in capsys.readouterr().out


def test_a_model_that_answers_otherwise_there_is_noticed(hub_server, owner, mine, monkeypatch):
    calls = count(1)
    monkeypatch.setattr(LandmarkClassifier, "logits", lambda _, images: images * next(calls))
    with pytest.raises(LandmarkError, match="does not answer as"):
        publish(mine.path, f"{owner}/net")


def test_a_space_has_what_it_needs_and_no_more(tmp_path):
    write_space(tmp_path / "space", model="hf-hub:alice/net@v1")
    files = {file.relative_to(tmp_path / "space").as_posix() for file in (tmp_path / "space").rglob("*")}
    assert {"app.py", "requirements.txt", "README.md", "landmark_models/default/model.safetensors"} <= files
    assert {f"landmark_models/page/{name}" for name in ("answers.html", "card.css", "card.js", "page.js")} <= files
    assert not [file for file in files if "__pycache__" in file or file.startswith(("train", "tests"))]
    names = [re.split(r"[\[<>=]", line)[0] for line in serving_requirements().splitlines()]
    assert {"torch", "timm", "gradio", "huggingface_hub", "pi-heif"} <= set(names)
    assert not {"pytest", "playwright", "hypothesis", "matplotlib", "scikit-learn", "accelerate"} & set(names)
    front = yaml.safe_load((tmp_path / "space" / "README.md").read_text().split("---")[1])
    assert front["sdk"] == "gradio"
    assert front["models"] == ["alice/net"]
    imports = subprocess.run(
        [sys.executable, "-c", "import sys, app; print(*sys.modules)"],
        cwd=tmp_path / "space", capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert not {"train", "accelerate", "sklearn", "pytest"} & set(imports.stdout.split())


def command(*words: object, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, *map(str, words)], capture_output=True, text=True, cwd=ROOT,
        env={**os.environ, "HF_HUB_OFFLINE": "0", **environment},
    )  # fmt: skip


@pytest.mark.slow
def test_a_process_with_timm_alone_gives_what_another_published(hub_server, owner, mine, photo, tmp_path):
    published = command("-m", "train.publish", mine.path, "--repo-id", f"{owner}/net", HF_HOME=f"{tmp_path}/a")
    assert published.returncode == 0, published.stderr
    script = (
        "import sys, numpy, timm, torch\n"
        "from PIL import Image\n"
        f"model = timm.create_model('hf-hub:{owner}/net', pretrained=True).eval()\n"
        "transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model), is_training=False)\n"
        f"logits = model(transform(Image.open(r'{photo}').convert('RGB')).unsqueeze(0))\n"
        f"numpy.save(r'{tmp_path}/logits.npy', logits.detach().numpy())\n"
        "assert 'landmark_models' not in sys.modules\n"
        "print(model.pretrained_cfg['label_names'])\n"
    )
    other = command("-c", script, HF_HOME=f"{tmp_path}/b")
    assert other.returncode == 0, other.stderr
    assert other.stdout.strip() == "['Red Tower', 'Green Bridge', 'Blue Lake']"
    ours = LandmarkClassifier.load(mine.path)
    expected = (ours.logits(ours.preprocess(photo).unsqueeze(0)) * ours.temperature).numpy()  # timm knows of none
    assert np.abs(np.load(tmp_path / "logits.npy") - expected).max() <= 1e-5


def test_our_own_network_loads_through_timm_once_it_is_registered(hub_server, owner, run, photo):
    publish(run.path, f"{owner}/own", allow_unevaluated=True)
    import timm

    model = timm.create_model(f"hf-hub:{owner}/own", pretrained=True).eval()
    ours = LandmarkClassifier.load(run.path)
    images = ours.preprocess(photo).unsqueeze(0)
    expected = (ours.logits(images) * ours.temperature).numpy()
    assert np.allclose(model(images).detach().numpy(), expected, atol=1e-5)


@pytest.mark.slow
def test_training_publishes_at_its_end(hub_server, owner, data, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    result = launch(tiny(epochs=1), data, tmp_path / "run", 2, "--push-to-hub", f"{owner}/net", "--private")
    assert result.returncode == 0, result.stderr
    assert hub_server.repo(f"{owner}/net").private
    assert len(hub_server.commits(f"{owner}/net")) == 2  # of two processes one published
    config = json.loads(hub_server.files(f"{owner}/net")["config.json"])
    assert config["landmark"]["test"]["n"] == 9
    assert "--push-to-hub" not in hub_server.files(f"{owner}/net")["README.md"].decode()


def test_training_that_could_not_be_published_does_not_begin(hub_server, data, tmp_path):
    recipe = tmp_path / "recipe.yaml"
    tiny().write(recipe)
    import typer

    for module, extra in ((fit, []), (distill, ["--teacher", "default"])):
        app = typer.Typer()
        app.command()(module.command)
        options = ["--data", str(data), "--output", str(tmp_path / "run"), "--push-to-hub", "stranger/net", *extra]
        result = CliRunner().invoke(app, [str(recipe), *options])
        assert isinstance(result.exception, LandmarkError)
        assert "may not do that" in str(result.exception)
        assert not (tmp_path / "run").exists()


def test_mistakes_on_the_command_line_are_sentences(mine, tmp_path):
    for words, sentence in (
        ([tmp_path / "nothing", "--repo-id", "a/b"], "is no run folder"),
        ([mine.path, "--repo-id", "a/b", "--output", tmp_path / "x"], "--output is where --dry-run writes"),
    ):
        result = command("-m", "train.publish", *words)
        assert result.returncode == 1
        assert result.stderr.startswith("Error: ")
        assert sentence in result.stderr
        assert "Traceback" not in result.stderr

import json
from itertools import count

import huggingface_hub.constants
import numpy as np
import pytest
from helpers.model_folders import describe
from huggingface_hub import ModelCard
from PIL import Image

from landmark_models import LandmarkClassifier, LandmarkError, models
from train.hub.publishing import publish


@pytest.fixture(autouse=True)
def quick_onnx(monkeypatch):
    """Something in place of the network as ONNX, which takes a second to write."""
    monkeypatch.setattr("train.hub.transformers_js._check", lambda *_: None)

    def write(_, file):
        file.parent.mkdir()
        file.write_bytes(b"onnx")

    monkeypatch.setattr("train.hub.transformers_js.write_onnx", write)


def test_a_dry_run_writes_all_that_would_be_uploaded(evaluated, tmp_path):
    publish(evaluated.path, "alice/net", space="alice/page", dry_run=tmp_path / "dry", licence="apache-2.0")
    model = tmp_path / "dry" / "model"
    assert sorted(file.relative_to(model).as_posix() for file in model.rglob("*") if file.is_file()) == [
        "README.md", "config.4.48.0.json", "config.json", "curves.png", "metrics.jsonl", "model.safetensors",
        "onnx/model.onnx", "preprocessor_config.json", "recipe.yaml", "test/confusion.png", "test/metrics.json",
        "test/reliability.png",
    ]  # fmt: skip
    assert (model / "model.safetensors").read_bytes() == (evaluated.model / "model.safetensors").read_bytes()
    with Image.open(model / "test" / "confusion.png") as picture:
        assert min(picture.size) >= 400
    for file in model.rglob("*"):  # neither photos nor where they are
        if file.suffix in (".json", ".jsonl", ".yaml", ".md"):
            assert str(evaluated.path.parent) not in file.read_text()
            assert ".jpg" not in file.read_text().replace("holiday.jpg", "")


def test_a_run_without_test_figures_is_refused_unless_that_is_allowed(run, tmp_path):
    with pytest.raises(LandmarkError, match=r"no test figures.*--allow-unevaluated"):
        publish(run.path, "alice/net", dry_run=tmp_path / "dry")
    assert not (tmp_path / "dry").exists()
    publish(run.path, "alice/net", dry_run=tmp_path / "dry", allow_unevaluated=True)
    assert (tmp_path / "dry" / "model" / "README.md").is_file()
    with pytest.raises(LandmarkError, match="isn't a run folder"):
        publish(run.model, "alice/net")


def test_examples_are_shown_small_without_metadata_and_with_their_credit(evaluated, photo, tmp_path):
    examples = tmp_path / "examples"
    examples.mkdir()
    exif = Image.Exif()
    exif[0x010F] = "the camera"
    with Image.open(photo) as image:
        image.resize((1200, 900)).save(examples / "<b>tower.jpg", exif=exif, comment=b"secret")
    with pytest.raises(LandmarkError, match=r"credits\.csv isn't a table"):
        publish(evaluated.path, "alice/net", examples=examples, dry_run=tmp_path / "dry")
    for row, words in (
        ("<b>tower.jpg,", "no file or no credit"),
        ("../secret.jpg,me", "is not in"),
        ("missing.jpg,me", "missing.jpg"),
    ):
        (examples / "credits.csv").write_text(f"file,credit\n{row}\n")
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


def test_figures_that_disagree_and_a_run_that_lacks_something_give_sentences(mine, tmp_path):
    figures = json.loads(mine.test.read_text())
    mine.test.write_text(json.dumps(figures | {"top1": 0.999}))
    with pytest.raises(LandmarkError, match="differ; evaluate the run again"):
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


def test_publishing_again_keeps_the_licence_and_base_model_of_the_card(hub_server, owner, mine, capsys):
    def metadata() -> tuple[str, str | None]:
        about = ModelCard(hub_server.files(f"{owner}/net")["README.md"].decode()).data
        return about.license, about.base_model

    describe(mine.model, weights_from="net.safetensors, sha256 0123456789ab")
    publish(mine.path, f"{owner}/net")
    assert metadata() == ("unknown", None)
    publish(mine.path, f"{owner}/net", licence="cc-by-4.0", base_model="me/base")
    capsys.readouterr()
    publish(mine.path, f"{owner}/net")
    assert "Nothing has changed" in capsys.readouterr().out
    assert metadata() == ("cc-by-4.0", "me/base")
    publish(mine.path, f"{owner}/net", licence="mit", base_model="me/other")
    assert metadata() == ("mit", "me/other")
    describe(mine.model, weights_from="random weights")
    publish(mine.path, f"{owner}/net")
    assert metadata() == ("mit", None)


def test_a_dry_run_shows_the_licence_that_would_be_kept_and_goes_on_without_the_hub(
    hub_server, owner, mine, tmp_path, capsys, monkeypatch
):
    def licence() -> str:
        publish(mine.path, f"{owner}/net", dry_run=tmp_path / "dry")
        return ModelCard.load(tmp_path / "dry" / "model" / "README.md").data.license

    assert licence() == "unknown"
    publish(mine.path, f"{owner}/net", licence="mit")
    capsys.readouterr()
    assert licence() == "mit"
    assert "isn't in this dry run" not in capsys.readouterr().out
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert licence() == "unknown"
    assert f"the card of {owner}/net has on the Hub isn't in this dry run: HF_HUB" in capsys.readouterr().out


def test_publishing_loads_the_runs_model_once_and_downloads_the_published_one_once(
    hub_server, owner, mine, monkeypatch
):
    loaded, load = [], models.load
    monkeypatch.setattr(models, "load", lambda model, **options: loaded.append(str(model)) or load(model, **options))
    publish(mine.path, f"{owner}/net")
    assert loaded == [str(mine.path), f"hf-hub:{owner}/net@{hub_server.commits(f'{owner}/net')[0]}"]
    downloads = [request for request in hub_server.requests if "/cdn/" in request.path and request.method == "GET"]
    assert len(downloads) == 1


def test_publishing_twice_commits_once(hub_server, owner, mine, capsys):
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


def test_a_published_model_that_answers_differently_is_noticed(hub_server, owner, mine, monkeypatch):
    calls = count(1)
    monkeypatch.setattr(LandmarkClassifier, "logits", lambda _, images: images * next(calls))
    with pytest.raises(LandmarkError, match="answers differently from"):
        publish(mine.path, f"{owner}/net")


def test_our_own_network_loads_through_timm_once_it_is_registered(hub_server, owner, run, photo):
    import timm

    publish(run.path, f"{owner}/own", allow_unevaluated=True)
    model = timm.create_model(f"hf-hub:{owner}/own", pretrained=True).eval()
    ours = LandmarkClassifier.load(run.path)
    images = ours.preprocess(photo).unsqueeze(0)
    expected = (ours.logits(images) * ours.temperature).numpy()
    assert np.allclose(model(images).detach().numpy(), expected, atol=1e-5)

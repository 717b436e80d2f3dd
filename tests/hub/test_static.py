"""The page that runs in the browser, as files: what it is made of, how it is published, and what is refused."""

import hashlib
import json
import re
import shutil

import pytest
import yaml
from helpers.model_folders import renamed
from helpers.programs import invoke

from landmark_models import LandmarkClassifier
from landmark_models.errors import LandmarkError
from landmark_models.page.examples import BUNDLED
from landmark_models.tagging.tags import Tags
from train import export
from train.hub import web_facts, web_page, web_runtime
from train.hub.static_space import publish_static_space
from train.hub.web_page import write_page
from train.space import command


def write_stubs(folder):
    """Stand-ins for the runtimes, which would have to come from npm."""
    folder.mkdir(parents=True)
    for runtime in web_runtime.RUNTIMES.values():
        (folder / runtime.script).write_text("// a script")
        (folder / runtime.packed).write_bytes(b"packed")


@pytest.fixture(autouse=True)
def stubs(monkeypatch):
    monkeypatch.setattr(web_runtime, "write_runtimes", write_stubs)


@pytest.fixture(scope="module")
def page(famous_model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sites") / "page"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(web_runtime, "write_runtimes", write_stubs)
        write_page(str(famous_model), folder)
    return folder


def digests(folder):
    """The SHA-256 of each file, by path."""
    return {
        file.relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in folder.rglob("*")
        if file.is_file()
    }


def facts(folder):
    return json.loads((folder / "page.json").read_text(encoding="utf-8"))


def test_the_service_worker_knows_every_file_of_the_page_by_its_digest(page):
    listed = json.loads(re.search(r"const FILES = (\{.*?\});", (page / "sw.js").read_text(), re.DOTALL)[1])
    found = digests(page)
    del found["sw.js"]
    assert listed == found
    assert {"index.html", "page.js", "worker.js", "model.onnx", "icon.png"} <= listed.keys()


def test_the_page_asks_nobody_else(page):
    html = (page / "index.html").read_text()
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', html)[1]
    assert policy.startswith("default-src 'none'; script-src 'self' 'wasm-unsafe-eval';")
    assert "unsafe-inline" not in policy
    assert "'unsafe-eval'" not in policy
    assert "https:" not in policy
    assert not re.search(r"(src|href)=\"(https?:)?//", html)
    assert not re.search(r"<script>|style=|onclick=", html)


def test_every_landmark_has_the_tags_and_sidecars_that_python_writes(page, famous_model):
    classifier = LandmarkClassifier.load(famous_model)
    known = facts(page)
    assert [entry["label"] for entry in known["landmarks"]] == classifier.labels
    eiffel = known["landmarks"][0]
    answer = classifier.predict(BUNDLED[0].file, 1)
    answer[:] = [type(answer[0])("Eiffel Tower", 1.0)]
    answer.known = True
    tags = Tags.of(answer)
    assert eiffel["xmp"] == tags.xmp()
    assert eiffel["xmpWithPosition"] == tags.xmp(camera_position=True)
    assert (eiffel["hashtags"], eiffel["altText"]) == (tags.hashtags, tags.alt_text)
    assert known["verdicts"] == {
        "known": "Best match of the 3 landmarks known here",
        "unknown": "None of the 3 landmarks known here",
    }
    assert known["threshold"] == classifier.known_rule.threshold
    assert known["input"]["enough"] == 1.5 * classifier.min_side


def test_it_says_in_plain_words_what_the_model_is_and_how_far_to_trust_it(page, famous_model):
    about = facts(page)["about"]
    assert about["card"] == ""
    assert about["paragraphs"][:2] == [
        f"A neural network names the landmarks: the model {famous_model.name}. It has learned 3 of them, and knows no "
        "others.",
        "Its scores are not calibrated: they do not say how often it is right.",
    ]
    classifier = LandmarkClassifier.load("default")
    assert next(web_facts.about(classifier, "")).startswith(
        "A neural network names the landmarks: the model default, which comes with landmark-models. It has learned 60 "
    )
    assert not any("calibrated" in text for text in web_facts.about(classifier, ""))


def test_how_far_to_trust_a_model_is_one_sentence_for_both_kinds_of_photos():
    test = {"top1": 0.967, "top1_ci95": (0.953, 0.977), "n": 848}
    elsewhere = {"top1": 0.91, "top1_ci95": (0.864, 0.942), "n": 1211, "others": {"far": {"n": 500, "named": 10}}}
    assert web_facts.trust({"test": test, "elsewhere": elsewhere}) == (
        "Right first time on 91.0% (86.4% to 94.2%) of 1,211 photos that other people took, and on 96.7% (95.3% to "
        "97.7%) of 848 test photos like those that it learned from. Of 500 photos of other things, it names 2% wrongly."
    )
    assert web_facts.trust({"test": test}).startswith("Right first time on 96.7% (95.3% to 97.7%) of 848 test photos ")
    assert web_facts.trust({}) == ""


def test_the_photos_to_try_are_those_of_the_hosted_page():
    bundled = {example.file.name: example.label for example in BUNDLED if example.file.parent.name == "examples"}
    assert bundled == web_page._EXAMPLES


def test_writing_the_page_again_changes_nothing_and_removes_what_has_gone(page, famous_model, tmp_path):
    folder = shutil.copytree(page, tmp_path / "page")
    (folder / "runtime" / "ort-1.0.wasm").write_text("of an earlier version")
    (folder / "robots.txt").write_text("somebody's own")
    write_page(str(famous_model), folder)
    after = digests(folder)
    assert after.pop("robots.txt")
    assert after == digests(page)


def test_a_folder_of_something_else_is_left_alone(famous_model, tmp_path):
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(LandmarkError, match="isn't empty, and isn't such a page"):
        write_page(str(famous_model), tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_model_that_is_too_large_or_prepares_photos_otherwise_is_refused(famous_model, tmp_path, monkeypatch):
    odd = renamed(famous_model, tmp_path / "odd", {'"crop_mode": "center"': '"crop_mode": "border"'})
    with pytest.raises(LandmarkError, match="prepares photos in a way that the page for browsers lacks: ResizeKeep"):
        write_page(str(odd), tmp_path / "page")
    monkeypatch.setattr(web_page, "MAX_MODEL_BYTES", 1000)
    with pytest.raises(LandmarkError, match=r"takes \d\.\d MB .* Train a smaller network, or make a Space with"):
        write_page(str(famous_model), tmp_path / "page")
    assert not (tmp_path / "page").exists()


def test_a_static_space_is_published_and_updated(hub_server, owner, famous_model, capsys):
    name = f"{owner}/in-your-browser"
    command(name, model=str(famous_model), static=True)
    assert f"The page is at {hub_server.url}/spaces/{name}" in capsys.readouterr().out
    assert hub_server.repo(name, "space").sdk == "static"
    files = hub_server.files(name, "space")
    assert {"index.html", "sw.js", "model.onnx", "page.json", "runtime/ort.wasm.bundle.min.mjs"} <= files.keys()
    front = yaml.safe_load(files["README.md"].decode().split("---")[1])
    assert (front["sdk"], front["app_file"]) == ("static", "index.html")
    assert len(front["short_description"]) <= 60  # the Hub refuses more
    assert front["custom_headers"]["cross-origin-embedder-policy"] == "require-corp"
    assert files["index.html"].count(b"'self' https://huggingface.co https://*.huggingface.co https://*.hf.co;") == 1
    assert b"img-src 'self' https://huggingface.co" in files["index.html"]  # the Hub may keep its files elsewhere
    before = hub_server.commits(name, "space")
    hub_server.commit(name, {"runtime/ort-old.wasm": b"old", "notes.md": b"mine"}, "space")
    publish_static_space(name, str(famous_model))
    after = hub_server.files(name, "space")
    assert after == files | {"notes.md": b"mine"}
    assert len(hub_server.commits(name, "space")) == len(before) + 2
    publish_static_space(name, str(famous_model))
    assert "Nothing has changed" in capsys.readouterr().out


def test_a_model_of_the_hub_is_linked_and_one_that_is_not_for_everybody_stays_so(hub_server, owner, famous_model):
    model = f"{owner}/landmarks"
    hub_server.commit(model, {file.name: file.read_bytes() for file in famous_model.iterdir()})
    publish_static_space(f"{owner}/page", f"hf-hub:{model}")
    card = hub_server.files(f"{owner}/page", "space")["README.md"].decode()
    assert yaml.safe_load(card.split("---")[1])["models"] == [model]
    assert f"[{model}](https://huggingface.co/{model})" in card
    about = json.loads(hub_server.files(f"{owner}/page", "space")["page.json"])["about"]
    assert f": the model {model}, revision " in about["paragraphs"][0]
    assert about["card"] == f"https://huggingface.co/{model}"
    hub_server.repo(model).private = True
    with pytest.raises(LandmarkError, match="is private, and a static Space hands out its weights; add --private"):
        publish_static_space(f"{owner}/page", f"hf-hub:{model}")
    publish_static_space(f"{owner}/mine", f"hf-hub:{model}", private=True)
    assert hub_server.repo(f"{owner}/mine", "space").private


def test_a_space_of_another_kind_is_not_overwritten(hub_server, owner, famous_model):
    hub_server.create(f"{owner}/app", "space", sdk="gradio")
    with pytest.raises(LandmarkError, match=r"is a Space of another kind \(gradio\); choose another name"):
        publish_static_space(f"{owner}/app", str(famous_model))
    assert "index.html" not in hub_server.files(f"{owner}/app", "space")


def test_mistakes_with_the_commands_are_sentences(famous_model, tmp_path):
    with pytest.raises(LandmarkError, match="takes its model along: name it with --model"):
        command("alice/page", static=True)
    for option, value in (("--format", "torchscript"), ("--output", "model.pt"), ("--photos", tmp_path)):
        error = invoke(export.command, famous_model, "--web", tmp_path / "site", option, value).exception
        assert str(error) == "--web writes a page, not a file; leave out --format, --output and --photos."


def test_export_writes_the_page_and_says_how_to_look_at_it(famous_model, tmp_path):
    output = invoke(export.command, famous_model, "--web", tmp_path / "site").output
    assert re.search(r"Model: \d\.\d MB; a first visit loads \d\.\d MB; folder: \d\.\d MB\.$", output.strip())
    assert "python -m http.server --directory" in output
    assert (tmp_path / "site" / "index.html").is_file()

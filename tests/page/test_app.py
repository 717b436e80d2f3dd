import asyncio
import base64
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from gradio.utils import get_upload_folder
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from helpers.model_folders import figures
from helpers.pages import post
from helpers.photos import noisy_photo, with_gps
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client
from PIL import Image

import app
from landmark_models import LandmarkClassifier, photo_position
from landmark_models.explain import NoExplanationError
from landmark_models.models.failures import in_background
from landmark_models.page import uploads
from landmark_models.page.serving import Serving
from landmark_models.tagging.tags import Tags
from train.benchmarks.page import ask


def test_predict_gives_the_agreed_shape(client, sure, photo):
    answer, shown, known = client.predict(handle_file(photo), 2, api_name="/predict")
    expected = LandmarkClassifier.load(sure).predict(photo, 2)
    assert known is expected.known is True
    assert answer["label"] == expected[0].label
    assert [part["label"] for part in answer["confidences"]] == [prediction.label for prediction in expected]
    assert answer["confidences"][0]["confidence"] == pytest.approx(expected[0].score, abs=1e-5)
    with Image.open(shown) as image:
        assert image.format == "JPEG"
        assert image.size == (64, 48)


def test_what_comes_back_says_nothing_of_where_and_with_what_it_was_taken(client, tmp_path, capfd):
    photo = with_gps(tmp_path / "secret_name.jpg")
    for name, arguments in (("/predict", [3]), ("/explain", [])):
        answer = client.predict(handle_file(photo), *arguments, api_name=name)
        shown = answer[1] if name == "/predict" else answer
        assert photo_position(photo)
        assert photo_position(shown) is None
        with Image.open(shown) as image:
            assert not image.getexif()
    said = "".join(capfd.readouterr())
    assert "secret_name" not in said
    assert "27.17" not in said


def test_top_k_has_a_default_and_bounds(client, photo):
    assert len(client.predict(handle_file(photo), api_name="/predict")[0]["confidences"]) == 3
    assert len(client.predict(handle_file(photo), -4, api_name="/predict")[0]["confidences"]) == 1


def test_a_sideways_photo_is_shown_upright_and_small(client, tmp_path):
    path = tmp_path / "phone.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.zeros((3000, 4000, 3), np.uint8)).save(path, exif=exif)
    with Image.open(client.predict(handle_file(path), api_name="/predict")[1]) as image:
        assert image.width < image.height <= 2048
        assert not image.getexif()


def test_what_is_public_has_clean_names_and_says_what_it_does(client):
    endpoints = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    assert set(endpoints) == {"/predict", "/tag", "/explain", "/landmarks"}
    assert all(endpoint["description"] for endpoint in endpoints.values())


def test_tag_gives_what_a_client_of_cloud_vision_reads_and_more(client, sure, photo):
    answer = client.predict(handle_file(photo), api_name="/tag")
    best = LandmarkClassifier.load(sure).predict(photo, 1)[0]
    first = answer["landmarkAnnotations"][0]
    assert (first["description"], first["score"]) == (best.label, pytest.approx(best.score, abs=1e-5))
    assert answer["hashtags"] == ["#RedTower"]
    assert answer["known"] is True
    assert answer["verdict"] == "Best match of the 3 landmarks known here"
    assert answer["altText"].startswith("Photo of")
    assert (answer["distanceKm"], answer["agrees"]) == (None, None)


def test_explain_gives_a_picture_of_the_photos_shape(client, tmp_path):
    noisy_photo((200, 40, 40), 3, (200, 100)).save(tmp_path / "wide.jpg")
    with Image.open(client.predict(handle_file(tmp_path / "wide.jpg"), api_name="/explain")) as shown:
        assert shown.width == 2 * shown.height


def test_landmarks_are_listed_and_searched(client):
    assert [row["label"] for row in client.predict(api_name="/landmarks")] == ["Blue Lake", "Green Bridge", "Red Tower"]
    assert [row["name"] for row in client.predict("bridge", api_name="/landmarks")] == ["Green Bridge"]


def test_thirty_two_people_at_once_are_all_answered(url, sure, photo):
    content = photo.read_bytes()
    expected = LandmarkClassifier.load(sure).predict(photo, 1)[0].label
    with ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(lambda _: ask(url, content), range(64)))
    assert [answer[0]["label"] for answer in answers] == [expected] * 64


def test_agents_find_and_use_the_tools(sure, photo, monkeypatch):
    monkeypatch.setenv("GRADIO_MCP_SERVER", "True")
    page = app.build(Serving(str(sure)))
    _, url, _ = page.launch(prevent_thread_lock=True, quiet=True, ssr_mode=False)
    data = f"data:image/jpeg;base64,{base64.b64encode(photo.read_bytes()).decode()}"

    async def use():
        async with (
            streamable_http_client(f"{url}gradio_api/mcp/") as (read, write, _),
            ClientSession(read, write) as mcp,
        ):
            await mcp.initialize()
            tools = {tool.name: tool.description for tool in (await mcp.list_tools()).tools}
            calls = {"predict": {"photo": data}, "tag": {"photo": data}, "explain": {"photo": data}, "landmarks": {}}
            return tools, {name: await mcp.call_tool(name, arguments) for name, arguments in calls.items()}

    try:
        tools, answers = asyncio.run(use())
        uploads.sweep(Path(get_upload_folder()), list(app.gradio_examples()), older_than=-1)
    finally:
        page.close(verbose=False)
    assert set(tools) == {"predict", "tag", "explain", "landmarks"}
    assert all(tools.values())
    assert not any(answer.isError for answer in answers.values())
    assert "Red Tower" in answers["predict"].content[0].text
    assert "#RedTower" in answers["tag"].content[0].text
    assert answers["explain"].content[0].type == "image"
    assert "Blue Lake" in answers["landmarks"].content[0].text
    left = [file.name for file in Path(get_upload_folder()).rglob("*") if file.is_file()]
    assert set(left) <= set(app.GRADIO_EXAMPLES)


def test_the_readmes_examples_of_the_api_run(url, photo, tmp_path):
    text = Path("README.md").read_text()
    blocks = [block for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "127.0.0.1:7860" in block]
    assert len(blocks) == 3
    shutil.copy(photo, tmp_path / "holiday.jpg")
    for block in blocks:
        code = block.replace("http://127.0.0.1:7860", url.rstrip("/"))
        result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
        assert result.returncode == 0, result.stderr
        assert "Red Tower" in result.stdout


def test_every_endpoint_refuses_what_is_no_photo(client, tmp_path):
    (tmp_path / "letter.jpg").write_text("no photo")
    for name in ("/predict", "/tag", "/explain"):
        with pytest.raises(AppError, match="not an image"):
            client.predict(handle_file(tmp_path / "letter.jpg"), api_name=name)


@pytest.mark.parametrize("top_k", [None, "many", [1]])
def test_a_wrong_number_of_candidates_is_an_error(url, client, photo, top_k):
    shown = client.predict(handle_file(photo), api_name="/predict")[1]
    assert "event: error" in post(url, {"path": shown, "meta": {"_type": "gradio.FileData"}}, top_k)


def test_a_network_without_a_map_is_a_sentence(client, photo, monkeypatch):
    def fail(*_):
        raise NoExplanationError("vit_tiny keeps no map of the photo.")

    monkeypatch.setattr(app, "explained", fail)
    with pytest.raises(AppError, match="vit_tiny keeps no map of the photo"):
        client.predict(handle_file(photo), api_name="/explain")


def test_a_strange_text_is_escaped_in_the_facts(run):
    serving = Serving(str(run.path))
    classifier = serving.now.classifier
    assert "no test figure" in serving.now.facts
    classifier.source = "<img src=x onerror=alert(1)>"
    classifier.landmark["test"] = {"top1": 0.9, "top1_ci95": [0.88, 0.92], "n": 848, "data": "it's [a](trap)"}
    facts = serving.now.facts
    assert "<img" not in facts
    assert "[a](" not in facts
    assert r"it's \[a\]" in facts
    assert "90.0 % of 848 test photos" in facts


def test_a_models_own_examples_come_before_gradios(run, tmp_path):
    folder = shutil.copytree(run.model, tmp_path / "model")
    (folder / "examples").mkdir()
    own = folder / "examples" / "01.jpg"
    noisy_photo((200, 40, 40), 1).save(own)
    tower, _ = app.gradio_examples()
    examples = app.example_photos(Serving(str(folder)))
    assert next(iter(examples.items())) == (own, "Example 1")
    assert tower not in examples  # this model does not know it


@pytest.mark.parametrize(("model", "offered"), [("default", ["tower.jpg", "lion.jpg"]), ("compact", ["lion.jpg"])])
def test_an_embedded_model_answers_the_examples_as_their_captions_say(model, offered):
    classifier = LandmarkClassifier.load(model)
    examples = app.example_photos(Serving(model))
    assert [photo.name for photo in examples] == offered
    for photo, caption in examples.items():
        tags = Tags.of(classifier.predict(photo))
        assert tags.known == (caption == "Eiffel Tower")
        assert tags.name == caption or not tags.known


def test_the_page_says_what_serves_with_the_hub_up_and_going_down(hub_server, owner, run, photo):
    config = json.loads((run.model / "config.json").read_text())
    config["landmark"]["test"] = figures(0.9)
    content = {"config.json": json.dumps(config).encode(), "README.md": b"---\ntags: [landmark-classification]\n---\n"}
    content["model.safetensors"] = (run.model / "model.safetensors").read_bytes()
    commit = hub_server.commit(f"{owner}/net", content)
    serving = Serving(None, owner)
    page = app.build(serving)
    _, url, _ = page.launch(prevent_thread_lock=True, quiet=True, ssr_mode=False)
    try:
        client = Client(url, verbose=False)
        said = f"Model **{owner}/net**, revision `{commit[:12]}`, knows 3 landmarks"
        for state in ("up", "down"):
            assert client.predict(handle_file(photo), api_name="/predict")[0]["label"] == "Red Tower"
            assert serving.now.facts.startswith(said)
            serving._take(in_background(serving._find))
            assert ("this one goes on serving" in serving.now.facts) == (state == "down")
            hub_server.down()
    finally:
        page.close(verbose=False)
        serving.close()


@pytest.mark.parametrize("zero", [True, False])
def test_spaces_is_asked_for_a_gpu_where_there_is_one_to_have(zero, tmp_path):
    (tmp_path / "spaces.py").write_text(
        "asked = []\nGPU = lambda function: asked.append(function.__name__) or function\n"
    )
    script = "import app\nfrom landmark_models.page.serving import Serving\napp.build(Serving())\n"
    script += "import spaces; print(app.ZERO_GPU, spaces.asked)"
    path = f"{tmp_path}{os.pathsep}{Path.cwd()}"
    asked = ["predict", "tag", "explain", "recognise_many", "see", "see", "where"]
    environment = {**os.environ, "PYTHONPATH": path, **({"SPACES_ZERO_GPU": "true"} if zero else {})}
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment)
    assert result.stdout.strip() == (f"True {asked}" if zero else "False []"), result.stderr


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


@pytest.mark.slow
@pytest.mark.parametrize("wish", ["a model that is not there", "a namespace while the Hub is down"])
def test_the_command_opens_the_page_whatever_the_model(wish, hub_server, tmp_path):
    port, options, environment = free_port(), ["--model", tmp_path / "nothing"], {}
    if wish == "a namespace while the Hub is down":
        hub_server.down()
        options, environment = [], {"LANDMARK_NAMESPACE": "alice", "HF_HUB_OFFLINE": "0"}
    server = subprocess.Popen(
        [sys.executable, "app.py", "--port", str(port), *options],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **environment},
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                page = urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5).read().decode()
                break
            except OSError:
                time.sleep(0.2)
        assert "Which landmark is this?" in page
        assert "The embedded model" in page
        assert "fonts.googleapis.com/css" not in page
    finally:
        server.terminate()
        said, complaints = server.communicate()
    assert said.startswith("Serving the embedded model. ")
    assert "So the embedded model serves." in said
    assert "Traceback" not in complaints

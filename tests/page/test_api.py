"""The API: over HTTP, with gradio's client, and for agents over MCP."""

import asyncio
import base64
import json
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from gradio.utils import get_upload_folder
from gradio_client import Client, handle_file
from helpers.model_folders import figures
from helpers.pages import post
from helpers.photos import with_gps
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client
from PIL import Image

from landmark_models import LandmarkClassifier, __version__, photo_position
from landmark_models.models.failures import in_background
from landmark_models.page import uploads
from landmark_models.page.about import snippets
from landmark_models.page.figures import which_model
from landmark_models.page.layout import LAUNCH_OPTIONS, build
from landmark_models.page.serving import Serving
from train.benchmarks.page import ask


def test_predict_returns_the_documented_shape(client, sure, photo):
    assert len(client.predict(handle_file(photo), api_name="/predict")[0]["confidences"]) == 3
    answer, shown, known = client.predict(handle_file(photo), 2, api_name="/predict")
    expected = LandmarkClassifier.load(sure).predict(photo, 2)
    assert known is expected.known is True
    assert answer["label"] == expected[0].label
    assert [part["label"] for part in answer["confidences"]] == [prediction.label for prediction in expected]
    assert answer["confidences"][0]["confidence"] == pytest.approx(expected[0].score, abs=1e-5)
    with Image.open(shown) as image:
        assert image.format == "JPEG"
        assert image.size == (64, 48)


def test_returned_photos_carry_no_metadata(client, tmp_path, capfd):
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


def test_endpoints_are_described_and_their_parameters_and_results_labelled(client):
    endpoints = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    assert all(endpoint["description"] for endpoint in endpoints.values())
    labels = {
        name: [[part["label"] for part in endpoint[kind]] for kind in ("parameters", "returns")]
        for name, endpoint in endpoints.items()
    }
    assert labels == {
        "/predict": [["Photo", "Number of candidates", "Add-on"], ["Candidates", "Photo", "Known"]],
        "/tag": [["Photo", "Add-on"], ["Tags"]],
        "/explain": [["Photo", "Add-on"], ["Explanation"]],
        "/teach": [["Photos", "Name", "Place", "Country", "Add-on"], ["Lesson"]],
        "/landmarks": [["Query"], ["Landmarks"]],
    }
    photo, top_k, _ = endpoints["/predict"]["parameters"]
    assert photo["example_input"]["orig_name"] == "tower.jpg"
    assert (top_k["type"]["type"], top_k["parameter_default"]) == ("integer", 5)


def test_a_load_balancer_learns_which_model_answers(url, sure):
    answer = httpx.get(f"{url}health")
    assert answer.status_code == 200
    assert answer.json() == {
        "status": "ok", "model": sure.name, "revision": None, "why": "", "landmarks": 3, "version": __version__,
    }  # fmt: skip
    assert httpx.head(f"{url}health").status_code == 200


def test_no_history_of_runs_is_kept(url):
    assert httpx.get(f"{url}gradio_api/runs").status_code == 404


def test_what_is_wrong_is_plain_text(url):
    answer = post(url, {"url": "<it's no photo>"})
    assert "The photo's url is neither base64 nor" in answer
    assert "&#" not in answer


def test_thirty_two_people_at_once_are_all_answered(url, sure, photo):
    content = photo.read_bytes()
    expected = LandmarkClassifier.load(sure).predict(photo, 1)[0].label
    with ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(lambda _: ask(url, content), range(64)))
    assert [answer[0]["label"] for answer in answers] == [expected] * 64


def test_agents_find_and_use_the_tools(sure, photo):
    page = build(Serving(str(sure)))
    _, url, _ = page.launch(prevent_thread_lock=True, quiet=True, **LAUNCH_OPTIONS)
    data = f"data:image/jpeg;base64,{base64.b64encode(photo.read_bytes()).decode()}"
    letter = f"data:image/jpeg;base64,{base64.b64encode(b'no photo').decode()}"

    async def use():
        async with (
            streamable_http_client(f"{url}gradio_api/mcp/") as (read, write, _),
            ClientSession(read, write) as mcp,
        ):
            await mcp.initialize()
            tools = {tool.name: tool for tool in (await mcp.list_tools()).tools}
            calls = {"predict": {"photo": data}, "tag": {"photo": data}, "explain": {"photo": data}, "landmarks": {}}
            wrong = [("tag", {"photo": None}), ("tag", {}), ("tag", {"photo": letter}), ("tag", {"photo": "x"})]
            refusals = [await mcp.call_tool(name, arguments) for name, arguments in wrong]
            answers = {name: await mcp.call_tool(name, arguments) for name, arguments in calls.items()}
            return tools, refusals, answers

    try:
        tools, refusals, answers = asyncio.run(use())
        uploads.sweep(Path(get_upload_folder()), older_than=-1)
    finally:
        page.close(verbose=False)
    assert set(tools) == {"predict", "tag", "explain", "teach", "landmarks"}
    assert "Returns: the candidates with their probabilities, the photo as it was read, known:" in (
        tools["predict"].description
    )
    assert "data:image/jpeg;base64," in tools["predict"].inputSchema["properties"]["photo"]["description"]
    assert not any(answer.isError for answer in answers.values()), answers
    assert all(refusal.isError for refusal in refusals)
    words = ("None is not of type", "photo", "is not an image that can be read", "a url ('http")
    for refusal, expected in zip(refusals, words, strict=True):
        assert expected in refusal.content[0].text
        assert "&#" not in refusal.content[0].text
    assert "Red Tower" in answers["predict"].content[0].text
    assert "#RedTower" in answers["tag"].content[0].text
    assert answers["explain"].content[0].type == "image"
    assert "Blue Lake" in answers["landmarks"].content[0].text
    assert not [file for file in Path(get_upload_folder()).rglob("*") if file.is_file()]


def test_nothing_computes_past_the_queue(url, photo):
    """Gradio's direct route would leave out the limits on what runs at once."""
    path = httpx.post(f"{url}gradio_api/upload", files={"files": photo.read_bytes()}).json()[0]
    data = [{"path": path, "meta": {"_type": "gradio.FileData"}}]
    for address in ("run/tag", "run/predict", "api/tag"):
        answer = httpx.post(f"{url}gradio_api/{address}", json={"data": data})
        assert answer.status_code in (401, 404), (address, answer.text)


def test_the_readmes_examples_of_the_api_run(url, embedded_url, photo, tmp_path, monkeypatch, capsys):
    text = Path("landmark_models/README.md").read_text()
    blocks = [block for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "127.0.0.1:7860" in block]
    assert len(blocks) == 4
    for name in ("holiday", "hall1", "hall2", "hall3", "hall4", "hall5"):
        shutil.copy(photo, tmp_path / f"{name}.jpg")
    monkeypatch.chdir(tmp_path)
    for block in blocks:
        address, name = (embedded_url, "Town Hall") if "/teach" in block else (url, "Red Tower")
        code = compile(block.replace("http://127.0.0.1:7860", address.rstrip("/")), "README.md", "exec")
        with ThreadPoolExecutor(1) as pool:  # another test's browser may hold this thread's event loop
            pool.submit(exec, code, {"__name__": "__main__"}).result()
        assert name in capsys.readouterr().out


def test_the_code_that_the_page_offers_runs(url, photo, tmp_path, monkeypatch, capsys):
    python, curl, _ = snippets(url.rstrip("/"))
    shutil.copy(photo, tmp_path / "holiday.jpg")
    monkeypatch.chdir(tmp_path)
    with ThreadPoolExecutor(1) as pool:  # another test's browser may hold this thread's event loop
        pool.submit(exec, compile(python, "about", "exec"), {"__name__": "__main__"}).result()
    assert "Best match of the 3 landmarks known here Red Tower" in capsys.readouterr().out
    answer = subprocess.run(["sh", "-euc", curl], capture_output=True, text=True, check=True).stdout
    assert "event: complete" in answer
    assert '"Red Tower"' in answer


def test_the_page_says_which_model_serves_while_the_hub_is_up_or_down(hub_server, owner, run, photo):
    config = json.loads((run.model / "config.json").read_text())
    config["landmark"]["test"] = figures(0.9)
    content = {"config.json": json.dumps(config).encode(), "README.md": b"---\ntags: [landmark-classification]\n---\n"}
    content["model.safetensors"] = (run.model / "model.safetensors").read_bytes()
    commit = hub_server.commit(f"{owner}/net", content)
    serving = Serving(None, owner)
    page = build(serving)

    _, url, _ = page.launch(prevent_thread_lock=True, quiet=True, **LAUNCH_OPTIONS)
    try:
        client = Client(url, verbose=False)
        start = f"The model **{owner}/net** knows 3 landmarks. Its revision is `{commit[:12]}`."
        for state in ("up", "down"):
            assert client.predict(handle_file(photo), api_name="/predict")[0]["label"] == "Red Tower"
            assert which_model(serving.current, "en").startswith(start)
            serving._adopt(in_background(serving._load))
            assert ("this one continues to serve" in which_model(serving.current, "en")) == (state == "down")
            hub_server.down()
    finally:
        page.close(verbose=False)
        serving.close()


def test_an_agent_without_mcp_reads_what_each_parameter_means_and_calls_by_name(url, photo):
    """As the Hub's `agents.md` of a Space tells it to."""
    endpoints = httpx.get(f"{url}gradio_api/info").json()["named_endpoints"]
    for endpoint in endpoints.values():
        assert all(parameter["type"]["description"] for parameter in endpoint["parameters"]), endpoint
    examples = {each["parameter_name"]: each["example_input"] for each in endpoints["/teach"]["parameters"]}
    assert (examples["name"], examples["addon"]) == ("Town Hall", "")
    schema = httpx.get(f"{url}gradio_api/openapi.json").json()["paths"]["/gradio_api/call/v2/predict"]
    properties = schema["post"]["requestBody"]["content"]["application/json"]["schema"]["properties"]
    assert properties["top_k"]["description"] == "how many candidates, 1 to 10."

    path = httpx.post(f"{url}gradio_api/upload", files={"files": ("photo.jpg", photo.read_bytes())}).json()[0]
    upload = {"path": path, "meta": {"_type": "gradio.FileData"}, "orig_name": "photo.jpg"}
    event = httpx.post(f"{url}gradio_api/call/v2/tag", json={"photo": upload}).json()["event_id"]
    answer = httpx.get(f"{url}gradio_api/call/tag/{event}", timeout=30).text
    assert "event: complete" in answer
    assert '"Red Tower"' in answer

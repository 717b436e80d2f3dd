"""Teaching over the API: without sessions, so what was taught is sent along, and nothing of it stays."""

import ast
import asyncio
import base64
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from gradio.state_holder import SessionState
from gradio.utils import get_upload_folder
from gradio_client import Client, handle_file
from helpers.pages import call
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client

from landmark_models.page import endpoints, lessons, uploads
from landmark_models.page.addons import MAX_TEXT, decoded, encoded
from landmark_models.page.examples import BUNDLED
from landmark_models.page.layout import build
from landmark_models.page.serving import Serving
from landmark_models.teaching import AddOn


@pytest.fixture(scope="module")
def photos(shared_data) -> list[Path]:
    return sorted((shared_data / "train" / "00.Red_Tower").iterdir())[:3]


@pytest.fixture(scope="module")
def teacher(embedded_url) -> Client:
    return Client(embedded_url, verbose=False)


@pytest.fixture(scope="module")
def lesson(teacher, photos) -> dict:
    arguments = [*map(handle_file, photos)], "Red Hall", "Bath", "GB"
    return teacher.predict(*arguments, api_name="/teach")


@pytest.fixture(scope="module")
def taught(lesson) -> str:
    return lesson["addon"]


def data_url(file: Path) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(file.read_bytes()).decode()}"


def test_what_is_taught_is_known_where_it_is_sent_along(teacher, lesson, photo):
    text = lesson["addon"]
    assert lesson == {
        "label": "Red Hall", "photos": 3, "odd": [], "unreadable": [], "recognised": 3, "leftOut": 3,
        "confusedWith": None, "warning": None, "labels": ["Red Hall"], "addon": text,
    }  # fmt: skip
    answer, shown, known = teacher.predict(handle_file(photo), 2, text, api_name="/predict")
    assert (answer["label"], known, len(answer["confidences"])) == ("Red Hall", True, 2)
    assert Path(shown).exists()
    tags = teacher.predict(handle_file(photo), text, api_name="/tag")
    assert (tags["name"], tags["place"], tags["known"]) == ("Red Hall", "Bath, United Kingdom", True)
    assert tags["hashtags"] == ["#RedHall", "#Bath", "#UnitedKingdom"]
    assert tags["verdict"] == "Best match of the 61 landmarks known here; taught from 3 photos"
    assert teacher.predict(handle_file(photo), text, api_name="/explain")
    assert teacher.predict(handle_file(photo), api_name="/tag")["name"] != "Red Hall"


def test_an_add_on_grows_by_what_is_taught_with_it(teacher, taught, photos):
    report = teacher.predict([handle_file(photos[0])], "Green Hall", addon=taught, api_name="/teach")
    assert report["labels"] == ["Red Hall", "Green Hall"]
    assert (report["photos"], report["recognised"], report["leftOut"]) == (1, 0, 0)
    assert report["warning"] == "Taught from fewer than 3 photos, a landmark is hardly recognised."
    report = teacher.predict([handle_file(photos[0])], " Red Hall", addon=report["addon"], api_name="/teach")
    addon = decoded(report["addon"])
    assert (addon.labels, addon.counts.tolist()) == (("Red Hall", "Green Hall"), [4, 1])


def test_photos_come_in_every_form_that_predict_takes(teacher, embedded_url, photos, elsewhere_photo):
    held = [{"url": data_url(photos[0])}, data_url(photos[1]), elsewhere_photo, handle_file(elsewhere_photo)]
    answer = call(embedded_url, "teach", held, "Red Hall")
    assert '"photos": 4' in answer, answer
    report = teacher.predict([handle_file(photos[0]), {"url": "data:;base64,AAAA"}], "Hall", api_name="/teach")
    assert report["photos"] == 1
    assert [photo["photo"] for photo in report["unreadable"]] == [1]
    assert "is not an image that can be read" in report["unreadable"][0]["reason"]
    assert decoded(report["addon"]).counts.tolist() == [1]


@pytest.fixture
def elsewhere_photo(photos, monkeypatch):
    """The address of a photo that the page fetches."""

    async def fetch(url: str, cache_dir: str) -> str:
        file = Path(cache_dir, "fetched.jpg")
        file.write_bytes(photos[2].read_bytes())
        return str(file)

    monkeypatch.setattr(endpoints, "fetch", fetch)
    return "https://example.com/fine.jpg"


WRONG = "These aren't the arguments that this endpoint takes"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "There are no photos yet"), ([[], "Hall"], "There are no photos yet"), ([None, "Hall"], "no photos yet"),
        (["AAAA", "Hall"], WRONG), ([[7], "Hall"], WRONG), ([[None], "Hall"], WRONG),
        ([["http://127.0.0.1:9/a.jpg"], "Hall"], "Photo 1: The photo's address can't be reached"),
        ([["data:,", "x!"], "Hall"], "Photo 1: The photo's data URL isn't base64"),
        ([["AAAA"] * 31, "Hall"], "from 1 to 30 photos"), ([["AAAA"] * 2, "Hall"], "without a photo that can be read"),
        ([[{"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}}], "Hall"], "never uploaded"),
        ([["/etc/passwd"], "Hall"], "Hall can't be taught without a photo"),
        ([["AAAA"]], "The name must be text"), ([["AAAA"], "\u202eabc"], "is no name"), ([["AAAA"], " "], "is no name"),
        ([["AAAA"], "x" * 10_000], "is no name"), ([["AAAA"], ["Hall"]], "The name must be text"),
        ([["AAAA"], "Hall", "x" * 256], "The place can't be stored"), ([["AAAA"], "Hall", "", 7], "The country can't"),
        ([["AAAA"], "Hall", "", "", "no add-on"], "isn't base64"),
        ([["AAAA"], "Hall", "", "", ["AAAA"]], "is sent as text"),
    ],
)  # fmt: skip
def test_what_cannot_be_taught_is_told_in_a_sentence(embedded_url, arguments, words):
    answer = call(embedded_url, "teach", *arguments)
    assert "event: error" in answer
    assert words in json.loads(answer.split("data: ")[1])["error"]


def test_photos_have_a_limit_together(embedded_url, photos, monkeypatch):
    monkeypatch.setattr(lessons, "MAX_TOTAL", 100)
    answer = call(embedded_url, "teach", [data_url(photos[0])], "Hall")
    assert "larger than 0 MiB together" in answer


def test_addresses_are_not_waited_for_one_after_the_other_for_ever(embedded_url, monkeypatch):
    async def slow(url: str, cache_dir: str) -> str:
        await asyncio.sleep(0.2)
        return ""

    monkeypatch.setattr(endpoints, "fetch", slow)
    monkeypatch.setattr(endpoints, "_LIST_TIMEOUT", 0.3)
    answer = call(embedded_url, "teach", ["https://example.com/a.jpg"] * 30, "Hall")
    assert "did not arrive within" in answer


def test_a_model_that_cannot_be_taught_says_so_and_not_where_it_is(url, photos):
    for endpoint, arguments in (("teach", [[data_url(photos[0])], "Hall"]), ("landmarks", [])):
        answer = call(url, endpoint, *arguments)
        assert ("can't be taught; it lacks the statistics" in answer) == (endpoint == "teach")
        assert "/tmp" not in answer


def hostile(addon: AddOn) -> dict[str, tuple[str, str]]:
    """Add-ons that a stranger may send, and what is answered."""
    nan = replace(addon, vectors=addon.vectors * torch.nan)
    return {
        "huge": ("A" * (MAX_TEXT + 1), "larger than 0.5 MB"),
        "truncated": (encoded(addon)[:-40], "can't be read"),
        "pickled": (base64.b64encode(b"\x80\x04\x95\x1a" + bytes(99)).decode(), "can't be read"),
        "of another model": (encoded(replace(addon, features="0" * 64)), "which isn't the one that answers here"),
        "not a number": (encoded(nan), "impossible numbers"),
        "of another width": (encoded(replace(addon, vectors=addon.vectors[:, :9])), "wrong length"),
        "with a name to turn the line": (encoded(replace(addon, labels=("a\u202eb",), facts={})), "can't be shown"),
    }


def test_an_add_on_that_cannot_be_used_is_told_in_a_sentence(embedded_url, taught, photos):
    for name, (text, words) in hostile(decoded(taught)).items():
        for endpoint, arguments in (
            ("predict", [{"url": data_url(photos[0])}, 3, text]),
            ("tag", [{"url": data_url(photos[0])}, text]),
            ("explain", [{"url": data_url(photos[0])}, text]),
            ("teach", [[data_url(photos[0])], "Hall", "", "", text]),
        ):
            answer = call(embedded_url, endpoint, *arguments)
            assert "event: error" in answer, (name, endpoint, answer)
            assert words in json.loads(answer.split("data: ")[1])["error"], (name, endpoint, answer)


def test_an_answer_is_as_long_with_many_taught_landmarks(embedded_url, teacher, taught, photo):
    addon = decoded(taught)
    count = 180
    many = AddOn(
        addon.features, tuple(f"<b>Hall {number}</b>" for number in range(count)),
        torch.ones(count, dtype=torch.int32), addon.vectors.expand(count, -1),
    )  # fmt: skip
    tags = teacher.predict(handle_file(photo), encoded(many), api_name="/tag")
    assert len(tags["landmarkAnnotations"]) == 10
    assert tags["name"].startswith("<b>Hall ")  # JSON is no HTML
    answer = teacher.predict(handle_file(photo), 10, encoded(many), api_name="/predict")[0]
    assert len(answer["confidences"]) == 10
    more = encoded(many), [data_url(photo)]
    for number in range(15):
        reply = call(embedded_url, "teach", more[1], f"More {number}", "", "", more[0])
        if "event: error" in reply:
            assert "landmarks take more than 0.5 MB" in reply
            return
        more = json.loads(reply.split("data: ")[1])[0]["addon"], more[1]
    raise AssertionError("an add-on may grow for ever")


def test_nothing_that_was_sent_stays(embedded_url, taught, photos):
    uploads.sweep(Path(get_upload_folder()), older_than=-1)
    for endpoint, arguments in (
        ("teach", [[data_url(photos[0])], "Secret Hall", "", "", taught]),
        ("tag", [{"url": data_url(photos[0])}, taught]),
    ):
        assert "event: complete" in call(embedded_url, endpoint, *arguments)
    uploads.sweep(Path(get_upload_folder()), older_than=-1)
    assert not [file for file in Path(get_upload_folder()).rglob("*") if file.is_file()]
    assert "Secret Hall" not in call(embedded_url, "landmarks")
    assert "Red Hall" not in call(embedded_url, "tag", {"url": data_url(photos[0])})


def test_no_session_keeps_what_was_sent_or_answered(taught, photos):
    page = build(Serving("default"), examples=lambda _: BUNDLED)
    call = next(call for call in page.fns.values() if call.api_name == "teach")
    state = SessionState(page)
    sent = [[{"url": data_url(photos[0])}], "Secret Hall", "Bath", "", taught]
    with ThreadPoolExecutor(1) as pool:  # another test's browser may hold this thread's event loop
        (answer,) = pool.submit(asyncio.run, page.process_api(call, sent, state)).result()["data"]
    assert answer.root["labels"] == ["Red Hall", "Secret Hall"]
    kept = repr([config["props"] for config in state.config_values.values()])
    assert "Name" in kept
    assert not any(secret in kept for secret in ("Secret Hall", taught[:50], answer.root["addon"][:50]))


def test_agents_teach_and_use_what_they_taught(embedded_url, photos):
    async def use():
        async with (
            streamable_http_client(f"{embedded_url}gradio_api/mcp/") as (read, write, _),
            ClientSession(read, write) as mcp,
        ):
            await mcp.initialize()
            tools = {tool.name: tool for tool in (await mcp.list_tools()).tools}
            lesson = {"photos": [data_url(file) for file in photos[:2]], "name": "Red Hall", "country": "FR"}
            taught = await mcp.call_tool("teach", lesson)
            addon = ast.literal_eval(taught.content[0].text)["addon"]
            tagged = await mcp.call_tool("tag", {"photo": data_url(photos[2]), "addon": addon})
            named = await mcp.call_tool("predict", {"photo": data_url(photos[2]), "addon": addon})
            refused = [await mcp.call_tool("teach", wrong) for wrong in ({"name": "Hall"}, {**lesson, "photos": ["x"]})]
            return tools, taught, tagged, named, refused

    with ThreadPoolExecutor(1) as pool:  # another test's browser may hold this thread's event loop
        tools, taught, tagged, named, refused = pool.submit(asyncio.run, use()).result()
    schema = tools["teach"].inputSchema
    assert schema["properties"]["photos"]["type"] == "array"
    assert schema["properties"]["photos"]["items"]["type"] == "string"
    assert "data:image/jpeg;base64," in schema["properties"]["photos"]["description"]
    assert set(schema["required"]) == {"photos", "name"}
    assert all(
        tools[name].inputSchema["properties"]["addon"]["type"] == "string"
        and "addon" not in tools[name].inputSchema["required"]
        for name in ("predict", "tag", "explain", "teach")
    )
    assert not taught.isError, taught
    assert "'photos': 2" in taught.content[0].text
    assert "Taught from fewer than 3" in taught.content[0].text
    assert "'name': 'Red Hall'" in tagged.content[0].text
    assert "France" in tagged.content[0].text
    assert "Red Hall" in named.content[0].text
    assert all(refusal.isError for refusal in refused)

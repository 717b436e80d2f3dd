from itertools import pairwise

import pytest
from starlette.applications import Starlette
from starlette.responses import HTMLResponse, JSONResponse, StreamingResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from landmark_models.page.first_script import FirstScript

HTML = "<html><head><title>é</title></head><body>\N{GRINNING FACE}</body></html>"


def in_parts(text, *ends):
    parts = [text[start:end] for start, end in pairwise([0, *ends, None])]
    return StreamingResponse(iter(parts), media_type="text/html")


def answered(response, method="GET", path="/"):
    """What a client gets of the response of an app to a path."""
    app = Starlette(routes=[Route(path, lambda _: response)])
    return TestClient(FirstScript(app)).request(method, path)


@pytest.mark.parametrize(
    "response",
    [HTMLResponse(HTML), in_parts(HTML, 30), in_parts(HTML, 8, 9, 30)],
    ids=["whole", "in parts", "head in parts"],
)
def test_the_script_comes_first_in_the_page(response):
    answer = answered(response)
    before, script, after = (
        answer.text.partition("<script>")[0],
        *answer.text.partition("<script>")[2].split("</script>"),
    )
    assert before + after == HTML
    assert before.endswith("<head>")
    assert '"fr"' in script
    assert int(answer.headers.get("content-length", len(answer.content))) == len(answer.content)


@pytest.mark.parametrize("response", [HTMLResponse("<p>"), in_parts("<p>é</p>", 1, 2)], ids=["whole", "in parts"])
def test_a_page_without_a_head_comes_whole(response):
    assert answered(response).text in ("<p>", "<p>é</p>")


def test_other_answers_stay_as_they_are():
    assert answered(JSONResponse("<head>")).text == '"<head>"'
    assert answered(HTMLResponse(HTML), "HEAD").text == ""
    assert answered(HTMLResponse(HTML), path="/gradio_api/file=/tmp/page.html").text == HTML


def test_a_message_without_a_body_is_an_empty_one():
    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/html")]})
        await send({"type": "http.response.body"})

    assert TestClient(FirstScript(app)).get("/").text == ""

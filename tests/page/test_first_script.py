import pytest
from starlette.applications import Starlette
from starlette.responses import HTMLResponse, JSONResponse, StreamingResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from landmark_models.page.first_script import FirstScript

HTML = "<html><head><title>é</title></head><body>\N{GRINNING FACE}</body></html>"


def streamed():
    yield HTML[:30]
    yield HTML[30:]


RESPONSES = {
    "/whole": lambda _: HTMLResponse(HTML),
    "/streamed": lambda _: StreamingResponse(streamed(), media_type="text/html"),
    "/other": lambda _: JSONResponse("<head>"),
}


@pytest.fixture
def client():
    app = Starlette(routes=[Route(path, response) for path, response in RESPONSES.items()])
    return TestClient(FirstScript(app))


@pytest.mark.parametrize("path", ["/whole", "/streamed"])
def test_the_script_comes_first_in_a_page(client, path):
    answer = client.get(path)
    before, script, after = (
        answer.text.partition("<script>")[0],
        *answer.text.partition("<script>")[2].split("</script>"),
    )
    assert before + after == HTML
    assert before.endswith("<head>")
    assert '"fr"' in script
    assert int(answer.headers.get("content-length", len(answer.content))) == len(answer.content)


def test_other_answers_stay_as_they_are(client):
    assert client.get("/other").text == '"<head>"'
    assert client.head("/whole").text == ""

"""The tab about the model: its text, and code with the page's own address."""

import json
from types import SimpleNamespace

import gradio as gr
import pytest
from starlette.requests import Request

from landmark_models import LandmarkClassifier
from landmark_models.page.about import about_model, page_address, snippets
from landmark_models.page.serving import Served


def test_it_tells_figures_limits_and_privacy():
    text = about_model(Served(LandmarkClassifier.load(), ""), "en")
    titles = [line for line in text.splitlines() if line.startswith("## ")]
    assert titles == ["## The model", "## How often it is right", "## Limits", "## Privacy"]
    assert "| Test photos (landmarks60): right first time | 848 | 96.7% (95.3% to 97.7%) |" in text
    assert "deleted from the server within 40 minutes" in text


def test_a_model_without_figures_has_none(run):
    classifier = LandmarkClassifier.load(run.path)
    classifier.landmark.clear()
    text = about_model(Served(classifier, ""), "en")
    assert "This model has no test figures." in text
    assert "not calibrated" in text
    assert "%" not in text


def test_agents_get_the_address_of_the_tools():
    config = json.loads(snippets("https://example.org/page")[2])
    assert config == {"mcpServers": {"landmarks": {"url": "https://example.org/page/gradio_api/mcp/"}}}


@pytest.mark.parametrize(
    ("headers", "root_path", "address"),
    [
        ({"host": "example.org:7860"}, "", "http://example.org:7860"),
        ({"host": "[::1]:7860"}, "", "http://[::1]:7860"),
        (
            {"host": "inside", "x-forwarded-host": "example.org", "x-forwarded-proto": "https"},
            "",
            "https://example.org",
        ),
        ({"host": "inside", "x-forwarded-host": "example.org"}, "/page", "http://example.org/page"),
        ({"host": "inside"}, "https://example.org/page/", "https://example.org/page"),
        ({"host": "x.org$(reboot)"}, "", "http://127.0.0.1:7860"),
        ({"host": "x", "x-forwarded-host": 'x";import os;"'}, "", "http://127.0.0.1:7860"),
    ],
)
def test_the_pages_address_is_the_one_that_its_visitor_sees(headers, root_path, address):
    scope = {
        "type": "http", "method": "POST", "scheme": "http", "path": "/gradio_api/run/predict", "root_path": "",
        "query_string": b"landmark=Taj+Mahal", "headers": [(k.encode(), v.encode()) for k, v in headers.items()],
        "app": SimpleNamespace(root_path=root_path),
    }  # fmt: skip
    assert page_address(gr.Request(Request(scope))) == address

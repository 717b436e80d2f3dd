"""The tab about the model: its figures, limits and privacy, and how to use it from a program."""

import json
import re
from collections.abc import Callable
from typing import Any

import gradio as gr
from gradio.route_utils import get_root_url

from landmark_models.page.figures import figures_table, is_calibrated, which_model
from landmark_models.page.handlers import Handlers
from landmark_models.page.languages import fixed, in_language
from landmark_models.page.serving import Served
from landmark_models.page.uploads import LIFETIME, SWEEP_INTERVAL

_LOCAL = "http://127.0.0.1:7860"  # where a page is by default
_PYTHON = """\
from gradio_client import Client, handle_file

client = Client("ADDRESS")
tags = client.predict(handle_file("holiday.jpg"), api_name="/tag")
print(tags["verdict"], tags["name"], tags["place"], tags["hashtags"])
"""
_CURL = """\
API=ADDRESS/gradio_api
FILE=$(curl -s $API/upload -F files=@holiday.jpg | cut -d'"' -f2)
DATA='{"data": [{"path": "'$FILE'", "meta": {"_type": "gradio.FileData"}}]}'
EVENT=$(curl -s $API/call/tag -H 'Content-Type: application/json' -d "$DATA" | cut -d'"' -f4)
curl -s $API/call/tag/$EVENT
"""


def about(
    handlers: Handlers, language: gr.Textbox
) -> tuple[Callable[[str, gr.Request], list[Any]], list[gr.blocks.Block]]:
    """Lay out the tab; a function that fills it, and the components that take what it returns."""
    text = gr.Markdown(latex_delimiters=[], elem_id="about")
    gr.Markdown(f"## {fixed('From a program')}")
    # Without a `language`: some of gradio's colours for code are too pale to read in the light theme.
    options: dict[str, Any] = {
        "interactive": False, "buttons": ["copy"], "wrap_lines": True, "show_line_numbers": False, "lines": 1,
    }  # fmt: skip
    python = gr.Code(label="Python (pip install gradio_client)", **options)
    curl = gr.Code(label="curl", **options)
    mcp = gr.Code(label=fixed("AI agents (MCP)"), **options)

    def fill(language: str, request: gr.Request) -> list[Any]:
        return [
            about_model(handlers.current, language, handlers.keeps_what_is_taught),
            *snippets(page_address(request)),
        ]

    return fill, [text, python, curl, mcp]


def about_model(served: Served, language: str, for_everybody: bool = False) -> str:
    """What the model is, how often it is right, what it can't do, and what becomes of photos, in Markdown.

    `for_everybody` says that the page keeps what its visitors teach.
    """
    say = in_language(language)
    landmark = served.classifier.landmark
    if is_calibrated(landmark):
        scores = say("Of its answers to photos of these landmarks with a score of 80%, about 80 in 100 are right.")
    else:
        scores = say("Its scores are not calibrated: they do not say how often it is right.")
    minutes = say.number((LIFETIME + SWEEP_INTERVAL) // 60)
    sections = {
        say("The model"): [which_model(served, language)],
        say("How often it is right"): [
            figures_table(landmark, language),
            say(
                "The model has seen none of these photos before. Test photos resemble the ones that it learned from; "
                "photos from elsewhere were taken and collected by other people, so they say more about yours."
            )
            if "test" in landmark or "elsewhere" in landmark
            else "",
            scores,
        ],
        say("Limits"): [
            say(
                "It knows these landmarks as its training photos show them. It may miss rare views, such as at night "
                "or from inside, and may take a photo of something else for one of them. Don't use it where a wrong "
                "name could harm anyone, nor to find out where somebody is."
            )
        ],
        say("Privacy"): [
            say(
                "Photos are deleted from the server within {minutes} minutes. Nothing goes to third parties: there are "
                "no analytics, and a map opens only when you click its link. Heat maps, and pictures from the API, "
                "carry no metadata.",
                minutes=minutes,
            ),
            *([_what_is_kept(for_everybody, language)] if served.classifier.served.has_statistics else []),
        ],
    }
    return "\n\n".join(
        "\n\n".join([f"## {title}", *filter(None, paragraphs)]) for title, paragraphs in sections.items()
    )


def _what_is_kept(for_everybody: bool, language: str) -> str:
    """What becomes of what visitors teach."""
    say = in_language(language)
    if for_everybody:
        return say(
            "What is taught on this page is kept on the server, for everybody: names, places, and some numbers for "
            "each landmark, but no photos. Anybody here can forget it."
        )
    return say(
        "What you teach is kept in this browser alone: names, places, and some numbers for each landmark, but no "
        "photos. It is sent along with each question, and nothing of it is stored on the server."
    )


def snippets(address: str) -> tuple[str, str, str]:
    """Code that asks the page at an address: in Python, with curl, and the configuration of an agent."""
    mcp = {"mcpServers": {"landmarks": {"url": f"{address}/gradio_api/mcp/"}}}
    return _PYTHON.replace("ADDRESS", address), _CURL.replace("ADDRESS", address), json.dumps(mcp, indent=2)


def page_address(request: gr.Request) -> str:
    """The page's own address as its visitor sees it, also behind a proxy, without a slash at its end.

    The headers that say so come from a stranger, so an address that could do harm in a shell isn't taken over.
    """
    if not (asked := request.request):
        return _LOCAL
    address = get_root_url(asked, route_path=asked.url.path, root_path=asked.app.root_path)
    return address if re.fullmatch(r"https?://[\w.:\[\]/~-]+", address, re.ASCII) else _LOCAL

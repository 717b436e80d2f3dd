"""The tab of what the model knows: a table, and a card for the landmark chosen there or named in the page's address.

The address of the page with `?landmark=Taj+Mahal` opens the card of the Taj Mahal.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import quote_plus

import gradio as gr
from markupsafe import Markup

from landmark_models.page.figures import how_well_known
from landmark_models.page.handlers import INSTANT, Handlers
from landmark_models.page.languages import fixed, in_language
from landmark_models.page.theme import ANNOUNCED, CARD_CSS
from landmark_models.tagging.gazetteer import find, named, search

_COUNTRIES = 3  # that are counted by name
_IN_SIGHT = "() => document.querySelector('#landmark').scrollIntoView({block: 'nearest'})"  # below the table on phones


def known_landmarks(
    handlers: Handlers, language: gr.Textbox, tabs: gr.Tabs
) -> tuple[Callable[[str, gr.Request], list[Any]], list[gr.blocks.Block]]:
    """Lay out and connect the tab; a function that fills it, and the components that take what it returns."""
    summary = gr.Markdown()
    with gr.Row():
        with gr.Column(scale=3, min_width=320):
            query = gr.Textbox("", label=fixed("Search"), elem_id="known-query")
            table = gr.Dataframe(
                headers=["Name", "Place", "Kind"], column_count=3, label=fixed("Landmarks: choose one"), wrap=True,
                column_widths=["34%", "34%", "32%"], show_search="none", buttons=[], interactive=False,
                max_height=520, elem_id="known",
            )  # fmt: skip
        with gr.Column(scale=2, min_width=320):
            card = gr.HTML(label=fixed("Landmark"), elem_id="landmark", css_template=CARD_CSS, js_on_load=ANNOUNCED)

    def card_of(label: str | None, language: str) -> str:
        return landmark_card(label, handlers.current.classifier.landmark, language) if label else ""

    def choose(language: str, chosen: gr.SelectData) -> str:
        return card_of(named(handlers.current.classifier.labels, str(chosen.row_value[0]), language), language)

    def find_rows(query: str, language: str) -> dict[str, list[Any]]:
        return rows(handlers.current.classifier.labels, language, query)

    def fill(language: str, request: gr.Request) -> list[Any]:
        labels = handlers.current.classifier.labels
        shown, selected = "", gr.skip()
        if name := request.query_params.get("landmark"):
            shown, selected = card_of(named(labels, name, language), language), gr.Tabs(selected="landmarks")
        return [counted(labels, language), rows(labels, language), shown or _no_card(bool(name), language), selected]

    table.select(choose, language, card, **INSTANT).success(None, None, None, js=_IN_SIGHT)
    searching: dict[str, Any] = {**INSTANT, "trigger_mode": "always_last"}  # the last of several texts for certain
    query.change(find_rows, [query, language], table, **searching)
    return fill, [summary, table, card, tabs]


def rows(labels: Sequence[str], language: str, query: str = "") -> dict[str, list[Any]]:
    """The table, as `gr.Dataframe` takes it: the name, place and kind of each landmark, or of those that `query` finds.

    A query may be a name in English or an alias, too.
    """
    say = in_language(language)
    return {
        "headers": [say("Name"), say("Place"), say("Kind")],
        "data": [
            [row["name"], ", ".join(filter(None, (row["place"], row["country"]))), row["kind"]]
            for row in search(labels, query.strip(), language)
        ],
    }


def counted(labels: Sequence[str], language: str) -> str:
    """How many landmarks there are, and in which countries, in a sentence."""
    say = in_language(language)
    countries = Counter(entry.country_name for label in labels if (entry := find(label, language)))
    most = [(country, count) for country, count in countries.most_common(_COUNTRIES) if count > 1]
    parts = [f"{country} {say.number(count)}" for country, count in most]
    if most and (others := len(labels) - sum(count for _, count in most)):
        parts.append(say("elsewhere {count}", count=say.number(others)))
    total = say.plural("{count} landmark", "{count} landmarks", len(labels))
    return say("{landmarks}: {countries}.", landmarks=total, countries=", ".join(parts)) if parts else f"{total}."


def landmark_card(label: str, landmark: dict[str, Any], language: str) -> str:
    """What is known of a landmark, in HTML, and how well the model with this `landmark` block knows it."""
    say = in_language(language)
    entry = find(label, language)
    name = entry.name if entry else label
    lines = [Markup("<h2>{}</h2>").format(name)]
    links = [Markup("<a class='action' href='?landmark={}'>{}</a>").format(quote_plus(label), say("Link to this card"))]
    if entry:
        lines.append(Markup("<p class='place'>{}</p>").format(entry.heading))
        lines.append(Markup("<p>{}</p>").format(entry.about))
        if entry.aliases:
            lines.append(Markup("<p>{}</p>").format(say("Also called {names}.", names=", ".join(entry.aliases))))
        a = Markup("<a class='action' href='{}' target='_blank' rel='noopener noreferrer'>{} ↗</a>")
        links.insert(0, a.format(entry.map_url, say("Map")))
    if known := how_well_known(landmark, label, language):
        lines.append(Markup("<p>{}</p>").format(known))
    return str(Markup("{}<p class='actions'>{}</p>").format(Markup().join(lines), Markup().join(links)))


def _no_card(asked: bool, language: str) -> str:
    say = in_language(language)
    text = (
        say("The landmark in this page's address isn't one of these.") if asked else say("Choose one to read about it.")
    )
    return str(Markup("<p class='hint'>{}</p>").format(text))

"""The tab of what the model knows: a table, and a card for the landmark chosen there or named in the page's address.

The address of the page with `?landmark=Taj+Mahal` opens the card of the Taj Mahal.
"""

import functools
from collections import Counter
from collections.abc import Callable
from typing import Any
from urllib.parse import quote_plus

import gradio as gr
from markupsafe import Markup

from landmark_models.classifier import LandmarkClassifier
from landmark_models.page.figures import how_well_known
from landmark_models.page.handlers import INSTANT, Handlers
from landmark_models.page.kept import knowing
from landmark_models.page.languages import fixed, in_language
from landmark_models.page.theme import ANNOUNCED, CARD_CSS
from landmark_models.tagging.gazetteer import entry_of, named, search

_MOST_ROWS = 300
_COUNTRIES = 3  # that are counted by name
# The language of the page is known to the browser before it is to the server.
_IN_LANGUAGE = "(query, language, kept) => [query, document.documentElement.lang, kept]"
_IN_SIGHT = "() => document.querySelector('#landmark').scrollIntoView({block: 'nearest'})"  # below the table on phones


def known_landmarks(
    handlers: Handlers, language: gr.Textbox, tabs: gr.Tabs, kept: gr.BrowserState
) -> tuple[Callable[[str, Any, gr.Request], list[Any]], list[gr.blocks.Block]]:
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

    def choose(language: str, kept: Any, chosen: gr.SelectData) -> str:
        classifier = knowing(handlers.current.classifier, kept)
        label = label_of(classifier, str(chosen.row_value[0]), language)
        return landmark_card(label, classifier, language) if label else ""

    def find_rows(query: str, language: str, kept: Any) -> dict[str, list[Any]]:
        return rows(knowing(handlers.current.classifier, kept), language, query)

    def refill(query: str, language: str, kept: Any) -> tuple[Any, ...]:
        classifier = knowing(handlers.current.classifier, kept)
        return counted(classifier, language), rows(classifier, language, query)

    def fill(language: str, kept: Any, request: gr.Request) -> list[Any]:
        classifier = knowing(handlers.current.classifier, kept)
        shown, selected = "", gr.skip()
        if name := request.query_params.get("landmark"):
            label, selected = label_of(classifier, name, language), gr.Tabs(selected="landmarks")
            shown = landmark_card(label, classifier, language) if label else ""
        return [
            *refill("", language, kept), shown or _no_card(bool(name), language), selected
        ]  # fmt: skip

    table.select(choose, [language, kept], card, **INSTANT).success(None, None, None, js=_IN_SIGHT)
    searching: dict[str, Any] = {**INSTANT, "trigger_mode": "always_last"}  # the last of several texts for certain
    query.change(find_rows, [query, language, kept], table, **searching)
    kept.change(refill, [query, language, kept], [summary, table], js=_IN_LANGUAGE, **searching)
    return fill, [summary, table, card, tabs]


def rows(classifier: LandmarkClassifier, language: str, query: str = "") -> dict[str, list[Any]]:
    """The table, as `gr.Dataframe` takes it: the name, place and kind of each landmark, or of those that `query` finds.

    A query may be a name in English or an alias, too. Of very many, only the first are shown.
    """
    say, query = in_language(language), query.strip()
    found = _search(classifier, language, query) if query else _all(classifier, language)
    return {
        "headers": [say("Name"), say("Place"), say("Kind")],
        "data": [
            [row["name"], ", ".join(filter(None, (row["place"], row["country"]))), row["kind"]]
            for row in found[:_MOST_ROWS]
        ],
    }


def label_of(classifier: LandmarkClassifier, name: str, language: str) -> str | None:
    """The label of the landmark that goes by a name, as in the table or in an address; None if there is none."""
    shown = {row["name"]: row["label"] for row in _all(classifier, language)}
    return shown.get(name.strip()) or named(classifier.labels, name, language)


@functools.lru_cache(maxsize=8)  # for the model that serves, and for those who have taught it something
def _all(classifier: LandmarkClassifier, language: str) -> list[dict[str, str]]:
    return _search(classifier, language, "")


def _search(classifier: LandmarkClassifier, language: str, query: str) -> list[dict[str, str]]:
    taught = classifier.taught.by_label() if classifier.taught else {}
    facts = {label: each.facts for label, each in taught.items()}
    return search(classifier.labels, query, language, facts)


def counted(classifier: LandmarkClassifier, language: str) -> str:
    """How many landmarks there are, and in which countries, in a sentence."""
    say, count = in_language(language), len(classifier.labels)
    countries = Counter(filter(None, (row["country"] for row in _all(classifier, language))))
    most = [(country, number) for country, number in countries.most_common(_COUNTRIES) if number > 1]
    parts = [f"{country} {say.number(number)}" for country, number in most]
    if most and (others := count - sum(number for _, number in most)):
        parts.append(say("elsewhere {count}", count=say.number(others)))
    total = say.plural("{count} landmark", "{count} landmarks", count)
    text = say("{landmarks}: {countries}.", landmarks=total, countries=", ".join(parts)) if parts else f"{total}."
    if count <= _MOST_ROWS:
        return text
    return f"{text} {say('The first {count} are shown; a search finds the others.', count=say.number(_MOST_ROWS))}"


def landmark_card(label: str, classifier: LandmarkClassifier, language: str) -> str:
    """What is known of a landmark, in HTML, and how well the classifier knows it."""
    say = in_language(language)
    taught = classifier.taught.get(label) if classifier.taught else None
    entry = entry_of(label, taught and taught.facts, language)
    name = entry.name if entry else label
    lines = [Markup("<h2>{}</h2>").format(name)]
    links = [Markup("<a class='action' href='?landmark={}'>{}</a>").format(quote_plus(label), say("Link to this card"))]
    if entry and entry.heading:
        lines.append(Markup("<p class='place'>{}</p>").format(entry.heading))
        a = Markup("<a class='action' href='{}' target='_blank' rel='noopener noreferrer'>{} ↗</a>")
        links.insert(0, a.format(entry.map_url, say("Map")))
    if entry and entry.about:
        lines.append(Markup("<p>{}</p>").format(entry.about))
    if entry and entry.aliases:
        lines.append(Markup("<p>{}</p>").format(say("Also called {names}.", names=", ".join(entry.aliases))))
    if taught:
        known = say.plural("Taught from {count} photo", "Taught from {count} photos", taught.photos) + "."
    else:
        known = how_well_known(classifier.landmark, label, language)
    if known:
        lines.append(Markup("<p>{}</p>").format(known))
    return str(Markup("{}<p class='actions'>{}</p>").format(Markup().join(lines), Markup().join(links)))


def _no_card(asked: bool, language: str) -> str:
    say = in_language(language)
    text = (
        say("The landmark in this page's address isn't one of these.") if asked else say("Choose one to read about it.")
    )
    return str(Markup("<p class='hint'>{}</p>").format(text))

"""The gazetteer in other languages than English."""

import json
import re
import unicodedata
from pathlib import Path

import pytest

from landmark_models.tagging import gazetteer
from landmark_models.tagging.gazetteer import find, named, search

ENGLISH = json.loads(Path(gazetteer.__file__).with_name("gazetteer.json").read_text(encoding="utf-8"))
ENTRIES = ENGLISH["landmarks"].values()
FILES = sorted(Path(gazetteer.__file__).with_name("translations").glob("*.json"))
DEVANAGARI = re.compile("[\u0900-\u097f]")


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_all_of_the_gazetteer_and_nothing_else_is_translated(file):
    words = json.loads(file.read_text(encoding="utf-8"))
    assert words.keys() == {"countries", "kinds", "places", "landmarks"}
    assert words["countries"].keys() == ENGLISH["countries"].keys()
    assert words["kinds"].keys() == {entry["kind"] for entry in ENTRIES}
    assert words["places"].keys() == {entry[key] for entry in ENTRIES for key in ("city", "region") if entry.get(key)}
    assert words["landmarks"].keys() == ENGLISH["landmarks"].keys()
    for label, texts in words["landmarks"].items():
        assert texts.keys() == {"name", "about"} | (ENGLISH["landmarks"][label].keys() & {"country_name"})


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_translations_are_clean_text_in_their_language(file):
    words = json.loads(file.read_text(encoding="utf-8"))
    sentences = [texts["about"] for texts in words["landmarks"].values()]
    names = [texts["name"] for texts in words["landmarks"].values()]
    terms = [term for table in ("countries", "kinds", "places") for term in words[table].values()]
    for text in [*sentences, *names, *terms]:
        assert text == unicodedata.normalize("NFC", text).strip()
        assert text.isprintable() or file.stem == "hi"  # Hindi may need joiners
        assert not re.search(r"  |\t|\n", text)
    for sentence in sentences:
        assert sentence.endswith("।" if file.stem == "hi" else ".")
        assert len(sentence) <= 170
    assert not set(sentences) & {entry["about"] for entry in ENTRIES}
    assert len(set(names)) == len(names)
    if file.stem == "hi":
        assert all(map(DEVANAGARI.search, [*sentences, *terms]))
    else:
        assert not any(map(DEVANAGARI.search, [*sentences, *names, *terms]))


def test_years_and_heights_are_those_of_the_english_text():
    for file in FILES:
        for label, texts in json.loads(file.read_text(encoding="utf-8"))["landmarks"].items():
            years = re.findall(r"\b1\d{3}\b|\b20\d\d\b|\b73\b|\b88\b|\b657\b", ENGLISH["landmarks"][label]["about"])
            for year in years:
                assert re.search(rf"(?<!\d){year}(?!\d)", texts["about"]), (file.stem, label, year)


@pytest.mark.parametrize(
    ("language", "name", "place", "kind", "country"),
    [
        ("en", "Leaning Tower of Pisa", "Pisa, Tuscany", "tower", "Italy"),
        ("de", "Schiefer Turm von Pisa", "Pisa, Toskana", "Turm", "Italien"),
        ("es", "Torre inclinada de Pisa", "Pisa, Toscana", "torre", "Italia"),
        ("fr", "Tour de Pise", "Pise, Toscane", "tour", "Italie"),
        ("hi", "पीसा की झुकी हुई मीनार", "पीसा, टस्कनी", "मीनार", "इटली"),
    ],
)
def test_a_landmark_is_described_in_a_language(language, name, place, kind, country):
    tower = find("leaning_tower_of_pisa", language)
    assert (tower.name, tower.place, tower.kind, tower.country_name) == (name, place, kind, country)
    assert tower.hashtags == find("Leaning Tower of Pisa").hashtags


def test_a_language_without_translations_gets_english():
    for unknown in ("it", "../fr", "", None):
        assert find("Eiffel Tower", unknown) is find("Eiffel Tower")
    assert find("Palace of the Mist", "fr") is None


@pytest.mark.parametrize("query", ["Tour Eiffel", "eiffel tower", "TOUR EI", "París", ""])
def test_a_search_in_another_language_also_takes_english_any_case_and_no_accents(query):
    rows = search(["Eiffel Tower"], query, "fr")
    assert [row["name"] for row in rows] == ["Tour Eiffel"]


def test_a_search_finds_only_what_matches():
    labels = ["Taj Mahal", "Eiffel Tower", "Palace of the Mist"]
    assert [row["label"] for row in search(labels, "ताजमहल", "hi")] == ["Taj Mahal"]
    assert [row["name"] for row in search(labels, "mist", "hi")] == ["Palace of the Mist"]
    assert [row["name"] for row in search(labels, "", "de")] == ["Eiffelturm", "Palace of the Mist", "Taj Mahal"]
    assert search(labels, "Matterhorn", "de") == []


def test_names_are_ordered_without_regard_to_case_and_accents():
    names = [row["name"] for row in search(["Zoo", "Étoile", "eta", "Taj Mahal"])]
    assert names == ["eta", "Étoile", "Taj Mahal", "Zoo"]


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("taj mahal ", "Taj Mahal"), ("Qutb Minar", "qutub minar"), ("QUTUB_MINAR", "qutub minar"),
        ("Tour Eiffel", "Eiffel Tower"), ("torre eiffel", "Eiffel Tower"), ("ताजमहल", "Taj Mahal"),
        ("Horseshoe Falls", "Niagara Falls"), ("cataratas del niagara", "Niagara Falls"), ("A-", "A-"),
        ("!", "!"), ("?", None), ("", None), ("Atlantis", None),
    ],
)  # fmt: skip
def test_a_landmark_goes_by_its_label_its_aliases_and_its_name_in_any_language(name, label):
    labels = ["Taj Mahal", "qutub minar", "Eiffel Tower", "Niagara Falls", "A+", "A-", "!"]
    assert named(labels, name, "de") == label

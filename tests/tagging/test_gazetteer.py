import json
import re
from pathlib import Path

import pytest

from landmark_models import LandmarkClassifier
from landmark_models.tagging import gazetteer
from landmark_models.tagging.gazetteer import _entries, find

# South, north, west and east of each country, generously, overseas parts left out but for Hawaii.
BOUNDS = {
    "AT": (46, 50, 9, 18), "AU": (-44, -10, 112, 154), "BD": (20, 27, 88, 93), "BE": (49, 52, 2, 7),
    "CA": (41, 84, -142, -52), "CH": (45, 48, 5, 11), "CN": (18, 54, 73, 136), "CZ": (48, 52, 12, 19),
    "DE": (47, 56, 5, 16), "EG": (21, 32, 24, 37), "FR": (41, 52, -6, 10), "GB": (49, 61, -9, 2),
    "GR": (34, 42, 19, 30), "IL": (29, 34, 34, 36), "IN": (6, 36, 68, 98), "IS": (63, 67, -25, -13),
    "IT": (35, 48, 6, 19), "KR": (33, 39, 124, 132), "MX": (14, 33, -119, -86), "MY": (0, 8, 99, 120),
    "PE": (-19, 1, -82, -68), "PL": (48, 55, 14, 25), "RU": (41, 82, 19, 180), "SE": (55, 70, 10, 25),
    "SI": (45, 47, 13, 17), "US": (18, 72, -172, -66),
}  # fmt: skip

UDACITY = """Haleakala National Park, Mount Rainier National Park, Ljubljana Castle, Dead Sea, Wroclaws Dwarves,
London Olympic Stadium, Niagara Falls, Stonehenge, Grand Canyon, Golden Gate Bridge, Edinburgh Castle,
Mount Rushmore National Memorial, Kantanagar Temple, Yellowstone National Park, Terminal Tower, Central Park,
Eiffel Tower, Changdeokgung, Delicate Arch, Vienna City Hall, Matterhorn, Taj Mahal, Moscow Raceway, Externsteine,
Soreq Cave, Banff National Park, Pont du Gard, Seattle Japanese Garden, Sydney Harbour Bridge, Petronas Towers,
Brooklyn Bridge, Washington Monument, Hanging Temple, Sydney Opera House, Great Barrier Reef,
Monumento a la Revolucion, Badlands National Park, Atomium, Forth Bridge, Gateway of India, Stockholm City Hall,
Machu Picchu, Death Valley National Park, Gullfoss Falls, Trevi Fountain, Temple of Heaven, Great Wall of China,
Prague Astronomical Clock, Whitby Abbey, Temple of Olympian Zeus"""


def test_every_label_of_both_sets_is_found():
    labels = [label.strip() for label in UDACITY.replace("\n", " ").split(",")]
    assert len(labels) == 50
    for label in [*labels, *LandmarkClassifier.load().labels]:
        assert find(label), label


def test_a_label_is_found_however_it_is_spelt_and_others_are_not():
    assert find("TAJ_MAHAL") is find("taj mahal") is find("Taj Mahal")
    assert find("Humayun's Tomb").label == "Humayun s Tomb"
    assert find("Monumento a la Revolución").country == "MX"
    assert find("Palace of the Mist") is None
    assert find("") is None


def test_the_file_keeps_its_schema():
    content = json.loads(Path(gazetteer.__file__).with_name("gazetteer.json").read_text(encoding="utf-8"))
    assert content.keys() == {"countries", "landmarks"}
    required = {"name", "aliases", "country", "kind", "about", "hashtags"}
    for label, entry in content["landmarks"].items():
        assert (
            required <= entry.keys() <= required | {"city", "region", "country_name", "lat", "lon", "reach", "wikidata"}
        ), label
        assert entry.get("city") or entry.get("region"), label
        assert ("lat" in entry) == ("lon" in entry), label
    assert len(_entries("en")) == len(content["landmarks"])  # no two labels are spellings of one
    assert content["countries"].keys() == {entry["country"] for entry in content["landmarks"].values()}
    assert content["countries"].keys() == BOUNDS.keys()


@pytest.mark.parametrize("entry", _entries("en").values(), ids=lambda entry: entry.label)
def test_an_entry_is_well_formed_and_in_its_country(entry):
    assert re.fullmatch(r"[a-z]+( [a-z]+)?", entry.kind)
    assert entry.name == entry.name.strip()
    assert entry.place
    assert entry.about.endswith(".")
    assert len(entry.about) <= 140
    assert 2 <= len(entry.hashtags) <= 5
    assert len(set(entry.hashtags)) == len(entry.hashtags)
    assert all(re.fullmatch(r"[A-Za-z0-9]+", word) for word in entry.hashtags)
    if entry.wikidata:
        assert re.fullmatch(r"Q[1-9]\d*", entry.wikidata)
    if entry.position:
        south, north, west, east = BOUNDS[entry.country]
        assert south <= entry.latitude <= north
        assert west <= entry.longitude <= east
        assert round(entry.latitude, 4) == entry.latitude
        assert round(entry.longitude, 4) == entry.longitude
        assert f"mlat={entry.latitude}&mlon={entry.longitude}#" in entry.map_url
    else:
        assert "search?query=" in entry.map_url
        assert " " not in entry.map_url


def test_no_id_and_no_position_occurs_twice():
    ids = [entry.wikidata for entry in _entries("en").values() if entry.wikidata]
    assert len(set(ids)) == len(ids) >= 49
    positions = [entry.position for entry in _entries("en").values() if entry.position]
    assert len(set(positions)) == len(positions) >= 80


def test_what_lies_in_several_countries_names_them_all():
    for label, names in {"Niagara Falls": ("United States", "Canada"), "Dead Sea": ("Jordan", "Israel")}.items():
        assert all(name in find(label).country_name for name in names)
    assert find("Niagara Falls").country == "US"
    assert find("Niagara Falls", "fr").country_name == "États-Unis et Canada"

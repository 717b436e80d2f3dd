"""What the tab of landmarks shows."""

from types import SimpleNamespace

import pytest
from helpers.pages import Reader

from landmark_models.page.known_landmarks import counted, label_of, landmark_card, rows
from landmark_models.teaching import Facts, Taught


class Knowing(SimpleNamespace):
    __hash__ = object.__hash__


def knows(*labels: str, landmark: dict | None = None, taught: dict[str, Taught] | None = None) -> Knowing:
    """What a tab asks of a classifier."""
    taught = taught or {}
    known = SimpleNamespace(get=taught.get, by_label=lambda: taught) if taught else None
    return Knowing(labels=[*labels, *taught], landmark=landmark or {}, taught=known)


LABELS = ["Taj Mahal", "Eiffel Tower", "qutub minar", "Stonehenge", "Red Tower"]
FIVE = knows(*LABELS)
CHURCH = {"Our church": Taught(5, Facts(name="St Mary's", place="Bath", country="India"))}


def test_each_landmark_has_name_place_and_kind():
    table = rows(FIVE, "en")
    assert table["headers"] == ["Name", "Place", "Kind"]
    assert table["data"][0] == ["Eiffel Tower", "Paris, France", "tower"]
    assert ["Red Tower", "", ""] in table["data"]
    assert [row[0] for row in rows(FIVE, "fr")["data"]][-1] == "Tour Eiffel"


def test_landmarks_are_counted_by_country():
    assert counted(FIVE, "en") == "5 landmarks: India 2, elsewhere 3."
    assert counted(knows("Red Tower"), "en") == "1 landmark."


@pytest.mark.parametrize("query", ["Qutub Minar", "eiffel tower", "PARÍS ", "Frankreich"])
def test_a_query_finds_rows_by_alias_in_english_or_without_accents(query):
    assert len(rows(FIVE, "de", query)["data"]) == 1
    assert len(rows(FIVE, "de", "")["data"]) == len(LABELS)


def test_the_card_of_a_landmark_says_what_is_known_of_it():
    card = Reader(
        landmark_card("qutub minar", knows(landmark={"test": {"per_class": {"qutub minar": [40, 39]}}}), "en")
    )
    assert card.text.startswith("Qutb MinarMinaret · Delhi, India")
    assert "Also called " in card.text
    assert "Right on 39 of 40 test photos." in card.text
    map_link, own_link = [attributes for tag, attributes in card.tags if tag == "a"]
    assert map_link["href"].startswith("https://www.openstreetmap.org/")
    assert (map_link["target"], map_link["rel"]) == ("_blank", "noopener noreferrer")
    assert own_link["href"] == "?landmark=qutub+minar"


def test_a_label_that_a_stranger_chose_is_text():
    card = Reader(landmark_card("<img src=x onerror='alert(1)'>&", FIVE, "en"))
    assert card.text.startswith("<img src=x onerror='alert(1)'>&")
    assert [tag for tag, _ in card.tags] == ["h2", "p", "a"]
    assert card.tags[2][1]["href"] == "?landmark=%3Cimg+src%3Dx+onerror%3D%27alert%281%29%27%3E%26"


def test_what_was_taught_is_listed_counted_and_described():
    known = knows(*LABELS, taught=CHURCH)
    assert ["St Mary's", "Bath, India", ""] in rows(known, "en")["data"]
    assert rows(known, "en", "bath")["data"] == [["St Mary's", "Bath, India", ""]]
    assert counted(known, "en") == "6 landmarks: India 3, elsewhere 3."
    assert label_of(known, "St Mary's", "en") == "Our church"
    assert label_of(known, "tour eiffel", "fr") == "Eiffel Tower"
    card = Reader(landmark_card("Our church", known, "en"))
    assert card.text.startswith("St Mary'sBath, IndiaTaught from 5 photos.")
    bare = Reader(landmark_card("Old oak", knows(taught={"Old oak": Taught(1, Facts())}), "en"))
    assert bare.text.startswith("Old oakTaught from 1 photo.")


def test_of_very_many_landmarks_the_first_are_shown():
    many = knows(*(f"House {number:04}" for number in range(1500)))
    assert len(rows(many, "en")["data"]) == 300
    assert rows(many, "en", "house 1499")["data"] == [["House 1499", "", ""]]
    assert counted(many, "en") == "1,500 landmarks. The first 300 are shown; a search finds the others."

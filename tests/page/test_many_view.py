"""What the tab for many photos shows, from answers that are made up."""

from dataclasses import replace
from pathlib import Path

import pytest
from helpers.pages import Reader

from landmark_models.answer import Prediction
from landmark_models.page.cards import Knows
from landmark_models.page.languages import LANGUAGES
from landmark_models.page.many_handlers import Answers, Photos
from landmark_models.page.many_view import ALL, NAMED, NOT_NAMED, UNREADABLE, View, seen_in, view
from landmark_models.page.results import PhotoResult
from landmark_models.tagging.tags import Tags

HOSTILE = "<img src=x onerror=alert(1)>"


def answered(name: str, label: str, known: bool = True) -> PhotoResult:
    tags = Tags((Prediction(label, 0.97), Prediction("Dead Sea", 0.02)), model_knows=known)
    return PhotoResult(name, tags, Path(name))


RESULTS = (
    answered("IMG_0.jpg", "Eiffel Tower", known=False),
    answered("IMG_1.jpg", "Taj Mahal"),
    answered("IMG_2.jpg", "Eiffel Tower"),
    answered("IMG_3.jpg", HOSTILE),
    PhotoResult("notes.txt", error="notes.txt is not an image."),
    PhotoResult(HOSTILE, error=f"{HOSTILE} is empty (0 bytes)."),
)
PHOTOS = Photos(tuple((result.name, Path(result.name)) for result in RESULTS), Path("made-up"))
ANSWERS = Answers(PHOTOS, Knows(60, 98), RESULTS, "done")


def shown(wanted: str = ALL, query: str = "", language: str = "en", answers: Answers = ANSWERS) -> View:
    return view(answers.photos, answers, wanted, query, language)


def test_answers_are_counted_and_filtered():
    assert [text for text, _ in shown().filters] == ["All (6)", "Named (3)", "Not named (1)", "Unreadable (2)"]
    assert [value for _, value in shown().filters] == [ALL, NAMED, NOT_NAMED, UNREADABLE]
    assert [len(shown(kind).rows) for kind in (ALL, NAMED, NOT_NAMED, UNREADABLE)] == [6, 3, 1, 2]
    assert shown().captions == ("Not named", "Taj Mahal", "Eiffel Tower", HOSTILE)
    assert shown(NOT_NAMED).rows == (("IMG_0.jpg", "Not named", "97%", "", "", "Nearest: Eiffel Tower"),)
    assert shown(UNREADABLE).unreadable.startswith("<ul lang='en'><li>notes.txt is not an image.</li>")
    assert not shown(UNREADABLE).results
    assert not shown(NAMED).unreadable


@pytest.mark.parametrize(
    ("query", "found"),
    [("taj", 1), (" EIFFEL tower ", 1), ("uttar pradesh", 1), ("#paris", 1), ("img_", 4), (".txt", 1), ("named", 1)],
)
def test_answers_are_searched_by_landmark_place_tag_and_file(query, found):
    assert len(shown(query=query).rows) == found


def test_a_search_asks_for_no_accents():
    castle = replace(
        ANSWERS, results=(answered("IMG_0.jpg", "Marseille chateau d if"), answered("ete\u0301.jpg", "Taj Mahal"))
    )
    assert "\u00e2" in shown(answers=castle).captions[0]
    for query in ("chateau d'if", "Ch\u00e2teau", "cha\u0302teau", "\u00c9t\u00c9", "ete"):
        assert len(shown(query=query, answers=castle).rows) == 1


def test_a_search_takes_names_in_the_pages_language_and_in_english():
    assert shown(language="fr").captions[2] == "Tour Eiffel"
    assert (
        len(shown(query="tour eiffel", language="fr").rows) == len(shown(query="eiffel tower", language="fr").rows) == 1
    )


def test_a_search_without_a_result_says_so():
    assert shown(NAMED, "img_0").unreadable == "<p>No photo matches.</p>"
    assert shown(NAMED, "img_0").filters == shown().filters
    assert not shown(answers=replace(ANSWERS, results=(), state="running")).unreadable  # there is none to match yet


@pytest.mark.parametrize(
    ("answers", "status"),
    [
        (ANSWERS, "<p>6 photos: 3 named, 1 not named, 2 unreadable. The files to save are kept for 30 minutes.</p>"),
        (
            replace(ANSWERS, results=RESULTS[:2], state="running"),
            "<p>2 of 6 photos done: 1 named, 1 not named, 0 unreadable.</p><progress max='6' value='2' ",
        ),
        (replace(ANSWERS, results=RESULTS[:2], state="stopped"), "<p>Stopped: 4 of 6 photos are left out. 1 named, "),
        (
            replace(ANSWERS, results=(), state="late"),
            "<p>It took more than 5 minutes, so 6 of 6 photos are left out; choose fewer at a time. 0 named, ",
        ),
        (Answers(replace(PHOTOS, problem="That's <too> many.")), "<p role='alert'>That&#x27;s &lt;too&gt; many.</p>"),
    ],
    ids=["done", "running", "stopped", "late", "refused"],
)
def test_the_status_says_how_far_the_work_is(answers, status):
    assert shown(answers=answers).status.startswith(status)
    assert shown(answers=answers).running == (answers.state == "running" and not answers.photos.problem)


def test_answers_to_other_photos_are_not_shown():
    other = replace(PHOTOS, folder=Path("other"))
    assert view(other, ANSWERS, ALL, "").status.startswith("<p>0 of 6 photos done")
    assert not view(other, ANSWERS, ALL, "").rows
    assert view(None, ANSWERS, ALL, "") == View()
    assert view(Photos((), PHOTOS.folder), Answers(Photos((), PHOTOS.folder)), ALL, "") == View()


def item(picture: str) -> dict:
    return {"image": {"path": f"/cache/0123/{picture}"}, "caption": "Anything"}


def test_the_chosen_picture_is_the_one_that_was_clicked_whatever_the_gallery_shows_by_now():
    assert seen_in(item("IMG_1.jpg"), PHOTOS, ANSWERS).result.name == "IMG_1.jpg"
    assert seen_in(item("IMG_2.jpg"), PHOTOS, ANSWERS).knows.count == 60
    for gone in (item("notes.txt"), item("IMG_9.jpg"), {"image": {"path": 3}}, {"image": None}, {}, None, "0", 0):
        assert seen_in(gone, PHOTOS, ANSWERS) is None
    assert seen_in(item("IMG_1.jpg"), replace(PHOTOS, folder=Path("other")), ANSWERS) is None
    assert seen_in(item("IMG_1.jpg"), None, None) is None


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_bar_of_progress_has_the_text_beside_it_for_a_label(language):
    status = Reader(shown(language=language, answers=replace(ANSWERS, results=RESULTS[:2], state="running")).status)
    (bar,) = [attributes for tag, attributes in status.tags if tag == "progress"]
    assert set(bar) == {"max", "value", "aria-label"}
    assert status.text.startswith(bar["aria-label"])


def test_names_that_strangers_chose_are_text():
    assert "<img" not in shown().status + shown().unreadable
    assert "<li>&lt;img src=x onerror=alert(1)&gt; is empty" in shown().unreadable

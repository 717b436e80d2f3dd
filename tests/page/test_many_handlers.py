"""What the tab for many photos does, without a server or a browser."""

import csv
import json
import zipfile
from pathlib import Path

import pytest
import torch
from helpers.photos import noisy_photo

from landmark_models import LandmarkClassifier
from landmark_models.page import many_handlers, results
from landmark_models.page.handlers import COMPUTING
from landmark_models.page.many_handlers import (
    ALL,
    COMPUTING_MANY,
    NAMED,
    NOT_NAMED,
    UNREADABLE,
    ManyHandlers,
    seen_at,
    view,
)
from landmark_models.page.serving import Serving

RED, GREEN = (200, 40, 40), (40, 200, 40)


@pytest.fixture(scope="module")
def serving(famous_model):
    """A model that takes red for the Eiffel Tower and green for the Forth Bridge."""
    return Serving(str(famous_model))


@pytest.fixture
def uploads(tmp_path) -> Path:
    (tmp_path / "uploads").mkdir()
    return tmp_path / "uploads"


@pytest.fixture
def handlers(serving, uploads) -> ManyHandlers:
    return ManyHandlers(serving, uploads)


@pytest.fixture
def uploaded(uploads):
    """Six photos as gradio passes them on: four of towers and bridges, and two that are none."""
    for index, color in enumerate([RED, GREEN, RED, RED]):
        noisy_photo(color, index).save(uploads / f"IMG_{index}.jpg")
    (uploads / "letter.jpg").write_text("no photo")
    (uploads / "notes.txt").write_text("no photo")
    return [{"path": str(file), "orig_name": file.name} for file in sorted(uploads.iterdir())]


def answered(handlers, uploaded, language="en"):
    photos, _ = handlers.choose(uploaded, None, language)
    return photos, list(handlers.answer_many(photos))[-1]


def test_answers_flow_in_and_end_with_counts_and_files(handlers, uploaded, uploads):
    photos, none_yet = handlers.choose(uploaded, None)
    steps = [none_yet, *handlers.answer_many(photos)]
    assert [len(answers.results) for answers in steps] == [0, 4, 6, 6]
    assert [view(photos, answers, ALL, "").running for answers in steps] == [True, True, True, False]
    first, last = view(photos, steps[1], ALL, ""), view(photos, steps[-1], ALL, "")
    assert "4 of 6 photos done: 4 named, 0 not named, 0 unreadable." in first.status
    assert "<progress max='6' value='4'" in first.status
    assert "<p>6 photos: 4 named, 0 not named, 2 unreadable." in last.status
    assert set(first.saved) == {None}
    assert [file.parent for file in last.saved] == [photos.folder] * 4
    assert photos.folder.parent == uploads
    assert photos.folder.stat().st_mode & 0o77 == 0


def test_files_to_save_hold_a_row_for_each_photo(handlers, uploaded):
    _, answers = answered(handlers, uploaded)
    rows = list(csv.DictReader(answers.saved.csv.read_text("utf-8-sig").splitlines()))
    assert [row["path"] for row in rows] == [f"IMG_{index}.jpg" for index in range(4)] + ["letter.jpg", "notes.txt"]
    assert [json.loads(line)["name"] for line in answers.saved.jsonl.read_text().splitlines()] == [
        "Eiffel Tower", "Forth Bridge", "Eiffel Tower", "Eiffel Tower", None, None,
    ]  # fmt: skip
    for archive, has_position in ((answers.saved.sidecars, False), (answers.saved.sidecars_with_positions, True)):
        with zipfile.ZipFile(archive) as content:
            assert content.namelist() == [f"IMG_{index}.jpg.xmp" for index in range(4)]
            assert (b"<exif:GPSLatitude>" in content.read("IMG_0.jpg.xmp").split(b"LocationShown>")[-1]) == has_position


def test_answers_are_filtered_and_counted(handlers, uploaded, monkeypatch):
    outputs = LandmarkClassifier.outputs

    def first_is_unknown(*given):
        result = outputs(*given)
        return result._replace(scores=torch.cat([torch.tensor([-torch.inf]), result.scores[1:]]))

    monkeypatch.setattr(LandmarkClassifier, "outputs", first_is_unknown)
    photos, answers = answered(handlers, uploaded)
    shown = view(photos, answers, ALL, "")
    assert [text for text, _ in shown.filters] == ["All (6)", "Named (3)", "Not named (1)", "Unreadable (2)"]
    assert shown.captions == ("Not named", "Forth Bridge", "Eiffel Tower", "Eiffel Tower")
    assert [value for _, value in shown.filters] == [ALL, NAMED, NOT_NAMED, UNREADABLE]
    named, not_named, unreadable = (view(photos, answers, kind, "") for kind in (NAMED, NOT_NAMED, UNREADABLE))
    assert [len(part.rows) for part in (named, not_named, unreadable)] == [3, 1, 2]
    assert not_named.rows[0][0] == "IMG_0.jpg"
    assert not_named.rows[0][5] == "Nearest: Eiffel Tower"
    assert unreadable.unreadable.count("<li>") == 2
    assert "letter.jpg is not an image" in unreadable.unreadable
    assert not unreadable.results
    assert not named.unreadable


@pytest.mark.parametrize(
    ("query", "found"), [("forth", 1), (" EIFFEL tower ", 3), ("scotland", 1), ("#paris", 3), ("img_2", 1), ("txt", 1)]
)
def test_answers_are_searched_by_landmark_place_tag_and_file(handlers, uploaded, query, found):
    photos, answers = answered(handlers, uploaded)
    assert len(view(photos, answers, ALL, query).rows) == found


def test_the_chosen_picture_is_that_of_the_filtered_gallery(handlers, uploaded):
    photos, answers = answered(handlers, uploaded)
    everything, eiffel = view(photos, answers, ALL, ""), view(photos, answers, NAMED, "eiffel")
    assert seen_at(1, everything, answers).result.name == "IMG_1.jpg"
    assert seen_at(1, eiffel, answers).result.name == "IMG_2.jpg"
    assert seen_at(1, eiffel, answers).knows.count == 3
    for gone in (-1, 3, None, "0"):
        assert seen_at(gone, eiffel, answers) is None
    assert seen_at(0, view(None, None, ALL, ""), None) is None


def test_stopping_ends_the_work_and_keeps_what_is_done(handlers, uploaded, monkeypatch):
    read = []
    monkeypatch.setattr(
        results, "read_photo", lambda file, side, really=results.read_photo: read.append(file) or really(file, side)
    )
    photos, _ = handlers.choose(uploaded, None)
    steps = handlers.answer_many(photos)
    next(steps)
    photos.stop()
    *_, last = steps
    assert len(read) == len(last.results) == 4
    assert "<p>Stopped: 2 of 6 photos are left out. 4 named" in view(photos, last, ALL, "").status
    assert last.saved.csv.read_text().count("\n") == 5


def test_new_photos_stop_the_work_on_earlier_ones_whose_late_answers_are_not_shown(handlers, uploaded):
    earlier, _ = handlers.choose(uploaded, None)
    steps = handlers.answer_many(earlier)
    next(steps)
    photos, _ = handlers.choose(uploaded[:1], earlier)
    *_, late = steps
    assert len(late.results) == 4
    assert view(photos, late, ALL, "") == many_handlers.View()
    assert view(earlier, late, ALL, "").rows


def test_many_photos_take_no_longer_than_they_may(handlers, uploaded, monkeypatch):
    monkeypatch.setattr(many_handlers, "_MAX_SECONDS", -1.0)
    photos, answers = answered(handlers, uploaded)
    status = view(photos, answers, ALL, "").status
    assert "so 6 of 6 photos are left out; choose fewer at a time." in status
    assert set(answers.saved) == {None}


def test_more_photos_than_allowed_and_files_that_were_not_uploaded_are_refused_in_a_sentence(handlers, uploaded):
    for wrong, sentence in (
        (uploaded[:1] * 201, "That&#x27;s 201 photos; the limit is 200 at a time."),
        ([{"path": "/etc/passwd"}], "This photo was never uploaded"),
    ):
        photos, answers = handlers.choose(wrong, None)
        shown = view(photos, answers, ALL, "")
        assert sentence in shown.status
        assert not shown.running
        assert not shown.filters
        assert not list(handlers.answer_many(photos))


def test_no_photos_show_nothing(handlers):
    for nothing in (None, [], "photo.jpg"):
        photos, answers = handlers.choose(nothing, None)
        assert view(photos, answers, ALL, "") == view(None, None, ALL, "") == many_handlers.View()


def test_names_that_strangers_chose_are_text(handlers, uploads):
    (uploads / "letter").write_text("no photo")
    name = "<img src=x onerror=alert(1)>.jpg"
    photos, answers = answered(handlers, [{"path": str(uploads / "letter"), "orig_name": name}])
    shown = view(photos, answers, ALL, "")
    assert "<img" not in shown.unreadable + shown.status
    assert "&lt;img src=x onerror=alert(1)&gt;.jpg is not an image" in shown.unreadable


def test_a_sentence_of_another_language_has_its_numbers(handlers, uploaded):
    photos, answers = answered(handlers, uploaded)
    assert view(photos, answers, ALL, "", "fr").filters[0][1] == ALL
    assert len(view(photos, answers, ALL, "", "fr").rows) == 6


def test_one_persons_many_photos_keep_nobody_elses_photo_waiting():
    assert COMPUTING_MANY["concurrency_id"] != COMPUTING["concurrency_id"]
    assert COMPUTING_MANY["concurrency_limit"] == 1


def test_what_computes_is_wrapped_for_the_gpu(serving, uploads, uploaded):
    wrapped = []
    handlers = ManyHandlers(serving, uploads, lambda handler: wrapped.append(handler.__name__) or handler)
    assert wrapped == ["answer_many"]
    assert answered(handlers, uploaded)[1].results

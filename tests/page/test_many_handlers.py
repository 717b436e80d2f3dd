"""What the tab for many photos does, without a server or a browser."""

import csv
import json
import zipfile
from pathlib import Path

import pytest
from helpers.photos import noisy_photo

from landmark_models.page import many_handlers, results
from landmark_models.page.handlers import COMPUTING
from landmark_models.page.many_handlers import COMPUTING_MANY, ManyHandlers, stop, stopped
from landmark_models.page.many_view import ALL, View, seen_in, view
from landmark_models.page.serving import Serving

RED, GREEN = (200, 40, 40), (40, 200, 40)


@pytest.fixture(scope="module")
def serving(famous_model):
    """A model that takes red for the Eiffel Tower and green for the Forth Bridge."""
    return Serving(str(famous_model))


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
    photos = handlers.choose(uploaded, None, None, language)
    return photos, list(handlers.answer_many(photos))[-1]


def test_answers_flow_in_and_end_with_counts_and_files(handlers, uploaded, uploads):
    photos = handlers.choose(uploaded, None, None)
    steps = list(handlers.answer_many(photos))
    assert [len(answers.results) for answers in steps] == [4, 6, 6]
    assert [answers.state for answers in steps] == ["running", "running", "done"]
    assert [set(answers.saved) == {None} for answers in steps] == [True, True, False]
    assert [file.parent for file in steps[-1].saved] == [photos.folder] * 4
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


def test_stopping_ends_the_work_and_keeps_what_is_done(handlers, uploaded, monkeypatch):
    read = []
    monkeypatch.setattr(
        results, "read_photo", lambda file, side, really=results.read_photo: read.append(file) or really(file, side)
    )
    photos = handlers.choose(uploaded, None, None)
    steps = handlers.answer_many(photos)
    next(steps)
    photos.stop()
    *_, last = steps
    assert len(read) == len(last.results) == 4
    assert last.state == "stopped"
    assert last.saved.csv.read_text().count("\n") == 5


def test_new_photos_stop_the_work_on_earlier_ones_whose_late_answers_are_not_shown(handlers, uploaded):
    earlier = handlers.choose(uploaded, None, None)
    steps = handlers.answer_many(earlier)
    first = next(steps)
    photos = handlers.choose(uploaded[4:], earlier, first)
    *_, late = steps
    assert len(late.results) == 4
    assert view(earlier, late, ALL, "").rows
    assert not view(photos, late, ALL, "").rows
    assert [len(answers.results) for answers in handlers.answer_many(photos)] == [2, 2]


def test_photos_added_or_removed_during_the_work_keep_what_is_answered_whatever_comes_late(
    handlers, uploaded, monkeypatch
):
    earlier = handlers.choose(uploaded[:5], None, None)
    steps = handlers.answer_many(earlier)
    first = next(steps)
    photos = handlers.choose(uploaded[1:], earlier, first)
    *_, late = steps
    for answers in (first, late):
        shown = view(photos, answers, ALL, "")
        assert shown.status.startswith("<p>3 of 5 photos done: 3 named")
        assert shown.running
        assert seen_in({"image": {"path": str(shown.results[0].thumbnail)}}, photos, answers).knows
    read = []
    monkeypatch.setattr(
        results, "read_photo", lambda file, side, really=results.read_photo: read.append(file) or really(file, side)
    )
    *_, last = handlers.answer_many(photos)
    assert sorted(file.name for file in read) == ["letter.jpg", "notes.txt"]
    assert [result.name for result in last.results] == [Path(photo["path"]).name for photo in uploaded[1:]]


def test_work_that_ends_before_its_turn_has_what_was_known_before_and_files_of_it(handlers, uploaded):
    nothing_yet = handlers.choose(uploaded, None, None)
    assert view(nothing_yet, stopped(nothing_yet, None), ALL, "").status.startswith("<p>Stopped: 6 of 6 photos")
    earlier, answers = answered(handlers, uploaded[:4])
    photos = handlers.choose(uploaded, earlier, answers)
    ended = stopped(photos, answers)
    shown = view(photos, ended, ALL, "")
    assert shown.status.startswith("<p>Stopped: 2 of 6 photos are left out. 4 named")
    assert not shown.running
    assert shown.saved.csv.read_text().count("\n") == 5
    assert stopped(photos, ended) == ended
    assert stopped(earlier, answers) == answers
    assert stopped(None, None) is None


def test_stopping_says_so_at_once_and_a_batch_that_ends_later_does_not_undo_it(handlers, uploaded, monkeypatch):
    photos = handlers.choose(uploaded, None, None)
    steps = handlers.answer_many(photos)
    first = next(steps)
    ended = []
    monkeypatch.setattr(  # the click comes while the second batch is read
        results,
        "read_photo",
        lambda *given, really=results.read_photo: ended.append(stop(photos, first)) or really(*given),
    )
    assert {answers.state for answers in steps} == {"done"}
    assert {answers.state for answers in ended} == {"stopped"}
    assert len(ended[0].results) == 4
    waiting = handlers.choose(uploaded, None, None)
    stop(waiting, None)
    assert [(answers.state, len(answers.results)) for answers in handlers.answer_many(waiting)] == [("stopped", 0)]


def test_a_visit_that_was_forgotten_has_nothing_to_stop():
    assert stop(None, None) is None


def test_photos_that_are_answered_are_not_read_again_when_others_are_added_or_removed(handlers, uploaded, monkeypatch):
    photos, answers = answered(handlers, uploaded[:4])
    monkeypatch.setattr(results, "read_photo", lambda *_: pytest.fail("read again"))
    fewer = handlers.choose(uploaded[1:3], photos, answers)
    *_, last = handlers.answer_many(fewer)
    assert [result.name for result in last.results] == ["IMG_1.jpg", "IMG_2.jpg"]
    assert last.saved.csv.read_text().count("\n") == 3
    monkeypatch.undo()
    more = handlers.choose([uploaded[4], *uploaded[1:3]], fewer, last)
    assert "2 of 3 photos done" in view(more, last, ALL, "").status
    *_, last = handlers.answer_many(more)
    assert [result.name for result in last.results] == ["IMG_1.jpg", "IMG_2.jpg", "letter.jpg"]


def test_many_photos_take_no_longer_than_they_may(handlers, uploaded, monkeypatch):
    monkeypatch.setattr(many_handlers, "MAX_SECONDS", -1.0)
    _, answers = answered(handlers, uploaded)
    assert answers.state == "late"
    assert not answers.results
    assert set(answers.saved) == {None}


def test_more_photos_than_allowed_and_files_that_were_not_uploaded_are_refused_in_a_sentence(handlers, uploaded):
    for wrong, sentence in (
        (uploaded[:1] * 201, "That's 201 photos; the limit is 200 at a time."),
        ([{"path": "/etc/passwd"}], "This photo was never uploaded"),
    ):
        photos = handlers.choose(wrong, None, None)
        assert photos.problem.startswith(sentence)
        assert not list(handlers.answer_many(photos))


def test_no_photos_show_nothing(handlers):
    for nothing in (None, [], "photo.jpg"):
        photos = handlers.choose(nothing, None, None)
        assert view(photos, None, ALL, "") == View()


def test_one_persons_many_photos_keep_nobody_elses_photo_waiting():
    assert COMPUTING_MANY["concurrency_id"] != COMPUTING["concurrency_id"]
    assert COMPUTING_MANY["concurrency_limit"] == 1


def test_what_computes_is_wrapped_for_the_gpu(serving, uploads, uploaded):
    wrapped = []
    handlers = ManyHandlers(serving, uploads, lambda handler: wrapped.append(handler.__name__) or handler)
    assert wrapped == ["answer_many"]
    assert answered(handlers, uploaded)[1].results

"""What the tab to teach does, without a server or a browser."""

import shutil
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from helpers.model_folders import describe
from helpers.pages import Reader
from helpers.photos import noisy_photo

from landmark_models.page import serving as serving_module
from landmark_models.page.addons import MAX_BYTES, encoded
from landmark_models.page.handlers import Handlers
from landmark_models.page.kept import keep, kept_addon, knowing, waiting
from landmark_models.page.lessons import MAX_PHOTOS
from landmark_models.page.many_handlers import ManyHandlers
from landmark_models.page.serving import Serving
from landmark_models.page.teach_handlers import TeachHandlers, Work
from landmark_models.page.teach_view import file_name, lesson_html, photos_html, taught_html
from landmark_models.teaching import AddOn, AddOnError, combined
from landmark_models.teaching.taught_file import TaughtFile

YELLOW, PINK = (220, 210, 40), (230, 120, 200)


@pytest.fixture(scope="module")
def model(teachable, tmp_path_factory) -> str:
    """A small model that can be taught, and takes what looks half like a landmark for it."""
    folder = shutil.copytree(teachable.model, tmp_path_factory.mktemp("models") / "teachable")
    describe(folder, known={"score": "whitened_cosine", "threshold": 0.5})
    return str(folder)


@pytest.fixture(scope="module")
def serving(model) -> Serving:
    return Serving(model)


@pytest.fixture
def handlers(serving, uploads) -> TeachHandlers:
    return TeachHandlers(serving, uploads)


def sent(uploads: Path, color: tuple[int, int, int], count: int, name: str = "photo") -> list[dict[str, str]]:
    """Photos of one colour, as gradio passes them on: each in a folder of its own."""
    photos = []
    for index in range(count):
        folder = uploads / f"{name}{index}"
        folder.mkdir(exist_ok=True)
        noisy_photo(color, 100 + index).save(folder / f"{name}.png")
        photos.append({"path": str(folder / f"{name}.png"), "orig_name": f"{name}{index}.png"})
    return photos


def collected(handlers: TeachHandlers, photos: list[dict[str, str]]) -> Work:
    work = Work()
    handlers.add(photos, work, "en")
    return work


def taught(handlers: TeachHandlers, work: Work, name: str, kept=None, place: str = "", country: str = "") -> dict:
    return handlers.teach(work, name, place, country, {} if kept is None else kept, "en")


def learned(handlers: TeachHandlers, photos: list[dict[str, str]], name: str) -> AddOn:
    """An add-on of one landmark."""
    return handlers.known(taught(handlers, collected(handlers, photos), name)).addon


def labels(handlers: TeachHandlers, kept) -> dict[str, int]:
    """How many photos have taught each label."""
    addon = handlers.known(kept).addon
    return dict(zip(addon.labels, addon.counts.tolist(), strict=True)) if addon else {}


def test_a_landmark_is_taught_from_photos_and_only_in_this_browser(handlers, serving, uploads):
    work = collected(handlers, sent(uploads, YELLOW, 5))
    kept = taught(handlers, work, " Yellow House ", {}, "Bath", "United Kingdom")
    assert not work.problem
    assert work.lesson.label == "Yellow House"
    answering = Handlers(serving, uploads)
    sixth = sent(uploads, YELLOW, 1, "sixth")[0]
    tags = answering.answer(sixth, kept).result.tags
    assert (tags.best.label, tags.known, tags.place) == ("Yellow House", True, "Bath, United Kingdom")
    assert answering.answer(sixth, {}).result.tags.best.label != "Yellow House"
    assert answering.answer(sixth, kept).knows.count == 4
    seen = answering.answer(sixth, kept)
    assert answering.look(seen, True, "en", kept).size
    shown = Reader(lesson_html(work, knowing(serving.current.classifier, kept), False, "en")).text
    assert "Yellow House is taught" in shown
    assert "Taught from 5 photos" in shown
    assert f"{work.lesson.recognised} of 5 left-out photos found." in shown
    listed = Reader(taught_html(handlers.known(kept), False, "en"))
    assert "Yellow House Bath, United Kingdom · 5 photos" in listed.text
    assert any(found.get("download") == "Yellow-House.landmarks.safetensors" for _, found in listed.tags)


def test_many_photos_are_answered_anew_once_something_was_taught(handlers, serving, uploads):
    many, files = ManyHandlers(serving, uploads), sent(uploads, YELLOW, 2)
    photos = many.choose(files, None, None)
    before = list(many.answer_many(photos))[-1]
    kept = taught(handlers, collected(handlers, sent(uploads, YELLOW, 4)), "Yellow House")
    again = many.choose(files, photos, before, "en", kept)
    assert photos.stopped
    assert not again.known
    answers = list(many.answer_many(again))[-1]
    assert [result.tags.best.label for result in answers.results] == ["Yellow House"] * 2
    same = many.choose(files[:1], again, answers, "en", kept)
    assert len(same.known) == 1


def test_an_odd_photo_is_marked_and_removing_it_teaches_anew(handlers, uploads):
    work = collected(handlers, [*sent(uploads, YELLOW, 6), *sent(uploads, (40, 200, 40), 1, "tree")])
    kept = taught(handlers, work, "Yellow House")
    page = Reader(photos_html(work, "en"))
    assert page.text.count("Remove") == 7
    odd = [photo for photo in work.photos if work.left_out[photo.key].odd]
    assert [photo.name for photo in odd] == ["tree0.png"]
    assert "Unlike the rest" in page.text
    work.remove(odd[0].key)
    kept = taught(handlers, work, "Yellow House", kept)
    assert labels(handlers, kept) == {"Yellow House": 6}
    assert "Unlike the rest" not in Reader(photos_html(work, "en")).text


def test_a_name_that_is_corrected_and_one_that_was_taught_before(handlers, uploads):
    work = collected(handlers, sent(uploads, YELLOW, 3))
    kept = taught(handlers, work, "Yelow House")
    kept = taught(handlers, work, "Yellow House", kept)
    assert labels(handlers, kept) == {"Yellow House": 3}
    work.begin()
    handlers.add(sent(uploads, YELLOW, 2, "more"), work, "en")
    kept = taught(handlers, work, "Yellow House", kept)
    assert labels(handlers, kept) == {"Yellow House": 5}
    work.remove(work.photos[0].key)
    kept = taught(handlers, work, "Yellow House", kept)
    assert labels(handlers, kept) == {"Yellow House": 4}  # three of before and one of these
    kept = handlers.forget("Yellow House", work, kept)
    assert labels(handlers, kept) == {}
    assert work.lesson is None
    assert len(work.photos) == 1


def test_what_is_missing_is_said(handlers, serving, uploads):
    work = Work()
    assert taught(handlers, work, " ") == {}
    assert work.problem == "Give the landmark a name."
    taught(handlers, work, "Yellow House")
    assert work.problem == "Choose photos of the landmark."
    (uploads / "letter.jpg").write_text("no photo")
    handlers.add(
        [{"path": str(uploads / "letter.jpg"), "orig_name": "<b>.jpg"}, {"path": "/etc/passwd"}, None], work, "en"
    )
    assert not work.photos
    assert [name for name, _ in work.unreadable] == ["<b>.jpg", "passwd", ""]
    assert str(uploads) not in str(work.unreadable)
    assert "<b>" not in photos_html(work, "en")
    handlers.add(sent(uploads, YELLOW, 2), work, "en")
    assert not work.unreadable
    taught(handlers, work, "a\nb")
    assert "is no name for a landmark" in work.problem
    Path(work.photos[0].file).unlink()
    kept = taught(handlers, work, "Yellow House")
    assert labels(handlers, kept) == {"Yellow House": 1}
    assert work.unreadable[0][0] == "photo0.png"
    assert str(uploads) not in work.unreadable[0][1]
    said = Reader(lesson_html(work, serving.current.classifier, False, "en")).text
    assert "With fewer than 3 photos it will hardly be recognised." in said


def test_photos_are_limited_and_none_is_there_twice(handlers, uploads):
    work, photos = Work(), sent(uploads, YELLOW, 3)
    handlers.add(photos, work, "en")
    handlers.add(photos, work, "en")
    assert len(work.photos) == 3
    handlers.add(photos * MAX_PHOTOS, work, "en")
    assert work.problem == "That's 93 photos; 30 are enough. Choose fewer."
    assert len(work.photos) == 3


def test_the_photo_that_was_not_recognised_is_taken_along(handlers, serving, uploads):
    work = collected(handlers, sent(uploads, YELLOW, 2))
    seen = Handlers(serving, uploads).answer(sent(uploads, PINK, 1, "pink")[0])
    handlers.take_along(seen, work)
    assert [photo.name for photo in work.photos] == ["pink0.png"]
    handlers.take_along(None, work)
    assert not work.photos


def test_an_add_on_is_loaded_from_a_file_and_replaces_the_same_names(handlers, uploads, tmp_path):
    kept = taught(handlers, collected(handlers, sent(uploads, YELLOW, 3)), "Yellow House")
    other = taught(handlers, collected(handlers, sent(uploads, PINK, 3, "pink")), "Pink House", {})
    file = uploads / "pink.landmarks.safetensors"
    handlers.known(other).addon.write(file)
    upload = {"path": str(file), "orig_name": file.name}
    for _ in range(2):
        kept = handlers.load(upload, kept, "en")
        assert labels(handlers, kept) == {"Yellow House": 3, "Pink House": 3}
    file.write_bytes(b"no add-on")
    with pytest.raises(AddOnError, match=r"^pink\.landmarks\.safetensors can't be read"):
        handlers.load(upload, kept, "en")
    file.write_bytes(bytes(MAX_BYTES + 1))
    with pytest.raises(AddOnError, match=r"is larger than 0\.5 MB"):
        handlers.load(upload, kept, "en")
    with pytest.raises(AddOnError, match="choose it again"):
        handlers.load({"path": str(tmp_path / "elsewhere")}, kept, "en")


@pytest.fixture
def alien(handlers, uploads) -> AddOn:
    """What was taught to another model."""
    kept = taught(handlers, collected(handlers, sent(uploads, PINK, 2, "pink")), "Pink House")
    return replace(handlers.known(kept).addon, features="0" * 64)


def test_what_was_taught_to_another_model_waits_for_it(handlers, serving, uploads, alien):
    kept = {alien.features: encoded(alien)}
    assert handlers.known(kept).addon is None
    assert waiting(kept, serving.current.classifier) == ["Pink House"]
    assert "1 landmark was taught to another model, and waits for it: Pink House." in taught_html(
        handlers.known(kept), False, "en"
    )
    kept = taught(handlers, collected(handlers, sent(uploads, YELLOW, 3)), "Yellow House", kept)
    assert set(kept) == {alien.features, serving.current.classifier.features_digest}
    assert set(handlers.forget_others(kept)) == {serving.current.classifier.features_digest}
    alien.write(uploads / "alien.landmarks.safetensors")
    with pytest.raises(AddOnError, match="whose features aren't those of"):
        handlers.load({"path": str(uploads / "alien.landmarks.safetensors")}, kept, "en")


def test_a_browser_that_has_kept_nonsense_gets_an_answer_and_a_sentence(handlers, serving, uploads, alien):
    digest, classifier = serving.current.classifier.features_digest, serving.current.classifier
    photo = sent(uploads, YELLOW, 1)[0]
    for kept in (None, [], "x", {digest: 5}, {digest: None, "other": []}):
        assert Handlers(serving, uploads).answer(photo, kept).result.tags
        assert handlers.checked(Work(), kept, "en") == kept
        assert keep(kept, classifier, None) == {digest: ""}
    for text in ("AAAA", "é", encoded(alien)):
        work = Work()
        assert knowing(classifier, {digest: text}) is classifier
        assert handlers.checked(work, {digest: text, "other": "x"}, "en") == {"other": "x", digest: ""}
        assert work.problem.startswith("What this browser has kept is damaged and was dropped: ")
        assert handlers.known({digest: text}).addon is None
        assert labels(handlers, taught(handlers, collected(handlers, [photo]), "House", {digest: text})) == {"House": 1}


def test_a_browser_keeps_add_ons_of_the_last_models_only(serving, handlers, uploads):
    classifier = serving.current.classifier
    kept = keep({str(number): "x" for number in range(9)}, classifier, None)
    assert list(kept) == ["6", "7", "8", classifier.features_digest]
    assert kept_addon(kept, classifier) is None


def test_names_that_strangers_chose_are_text(handlers, serving, uploads):
    name = "<img src=x onerror=alert(1)>'"
    work = collected(handlers, sent(uploads, YELLOW, 2, "<img src=x>"))
    kept = taught(handlers, work, name, {}, name, name)
    classifier = knowing(serving.current.classifier, kept)
    known = handlers.known(kept)
    pages = (photos_html(work, "en"), lesson_html(work, classifier, False, "en"), taught_html(known, False, "en"))
    for page in pages:
        assert "<img src=x" not in page
        assert not any("onerror" in attributes for _, attributes in Reader(page).tags)
    assert file_name([name]) == "img-src-x-onerror-alert-1.landmarks.safetensors"
    assert file_name(["..."]) == file_name(["a", "b"]) == "taught.landmarks.safetensors"


@pytest.fixture
def public(model, tmp_path) -> Serving:
    return Serving(model, taught=TaughtFile(tmp_path / "all.landmarks.safetensors"))


def test_a_page_may_keep_what_is_taught_for_everybody(public, model, uploads, tmp_path):
    handlers, answering = TeachHandlers(public, uploads), Handlers(public, uploads)
    work = collected(handlers, sent(uploads, YELLOW, 3))
    assert taught(handlers, work, "Yellow House") == {}  # the browser keeps nothing
    assert "This page keeps it" in lesson_html(work, public.current.classifier, True, "en")
    tags = answering.answer(sent(uploads, YELLOW, 1, "other")[0]).result.tags
    assert (tags.best.label, tags.known) == ("Yellow House", True)
    file = tmp_path / "all.landmarks.safetensors"
    again = Serving(model, taught=TaughtFile(file))
    assert again.current.classifier.labels[-1] == "Yellow House"
    handlers.forget("Yellow House", work, {})
    assert not file.exists()
    assert "Yellow House" not in public.current.classifier.labels


def test_two_visitors_at_once_lose_nothing_of_each_other(model, public, uploads, tmp_path):
    pages = [public, Serving(model, taught=TaughtFile(tmp_path / "all.landmarks.safetensors"))]
    jobs = []
    for number in range(6):
        handlers = TeachHandlers(pages[number % 2], uploads)
        work = collected(handlers, sent(uploads, YELLOW, 1, f"visitor{number}"))
        jobs.append(threading.Thread(target=taught, args=(handlers, work, f"House {number}")))
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    addon = AddOn.read(tmp_path / "all.landmarks.safetensors")
    assert sorted(addon.labels) == [f"House {number}" for number in range(6)]


def test_of_two_changes_at_once_answers_have_both(public, handlers, uploads, monkeypatch):
    pink = learned(handlers, sent(uploads, PINK, 2, "pink"), "Pink House")
    yellow = learned(handlers, sent(uploads, YELLOW, 2), "Yellow House")
    second = threading.Thread(target=public.change_taught, args=[lambda addon: combined([addon, yellow])])
    serve = public._serve

    def slow(classifier, why):
        if second.ident is None:  # the first change has written the file
            second.start()
            second.join(0.3)
        serve(classifier, why)

    monkeypatch.setattr(public, "_serve", slow)
    public.change_taught(lambda addon: pink)
    second.join()
    assert public._current.classifier.labels[3:] == ["Pink House", "Yellow House"]
    assert public._addon.labels == ("Pink House", "Yellow House")


def test_what_other_programs_do_to_the_file_is_seen(public, handlers, uploads, tmp_path):
    file = tmp_path / "all.landmarks.safetensors"
    assert public.current is public.current
    learned(handlers, sent(uploads, PINK, 2, "pink"), "Pink House").write(file)
    assert public.current.classifier.labels[3:] == ["Pink House"]
    assert public.current is public.current
    assert public.addon.labels == ("Pink House",)
    file.write_bytes(b"damaged")
    assert public.addon is None
    assert public.current.why == "What visitors have taught can't be read."
    file.unlink()
    assert (public.current.classifier.labels[3:], public.current.why) == ([], "")


def test_a_file_of_another_model_ends_the_start(model, alien, tmp_path):
    file = tmp_path / "all.landmarks.safetensors"
    alien.write(file)
    with pytest.raises(AddOnError, match=r"all\.landmarks\.safetensors holds Pink House, taught to another model"):
        Serving(model, taught=TaughtFile(file))


def test_a_model_that_cannot_be_taught_ends_the_start(run, tmp_path):
    with pytest.raises(AddOnError, match="can't be taught"):
        Serving(str(run.model), taught=TaughtFile(tmp_path / "all.landmarks.safetensors"))


def test_a_file_that_cannot_be_used_ends_the_start(model, handlers, uploads, tmp_path, monkeypatch):
    monkeypatch.setattr(serving_module, "_local", None)  # no model is loaded for that
    (tmp_path / "text").write_text("no add-on")
    read_only = tmp_path / "mine.landmarks.safetensors"
    learned(handlers, sent(uploads, PINK, 2, "pink"), "Pink House").write(read_only)
    read_only.chmod(0o444)
    wrong = {
        tmp_path / "nothing" / "mine": "nothing isn't a folder. Make it",
        tmp_path / "text" / "mine": "text isn't a folder",
        tmp_path: "is a folder; name a file",
        tmp_path / "text": "can't be read",
        read_only: "it is read-only",
    }
    for file, words in wrong.items():
        with pytest.raises(AddOnError, match=f"^{file}.*{words}"):
            Serving(model, taught=TaughtFile(file))
    assert not (tmp_path / "nothing").exists()


def test_nothing_is_lost_where_another_model_takes_over(public, handlers, serving, uploads, alien, tmp_path):
    """As where a new model of the Hub serves a page whose visitors have taught the old one."""
    file = tmp_path / "all.landmarks.safetensors"
    digest = serving.current.classifier.features_digest
    beside = tmp_path / f"all.{digest[:12]}.landmarks.safetensors"
    alien.write(file)
    assert public.addon is None
    assert public.current.why == (
        "It doesn't know Pink House, which was taught to another model and stays in all.landmarks.safetensors; "
        f"what is taught now is kept in {beside.name}."
    )
    teaching = TeachHandlers(public, uploads)
    work = collected(teaching, sent(uploads, YELLOW, 3))
    taught(teaching, work, "Yellow House")
    assert not work.problem
    assert public.current.classifier.labels[3:] == ["Yellow House"]
    assert AddOn.read(file).labels == ("Pink House",)
    assert AddOn.read(beside).labels == teaching.known({}).addon.labels == ("Yellow House",)

    back = TaughtFile(file)  # the old model answers again
    assert back.read_for(alien.features)[0].labels == ("Pink House",)
    back.change(lambda addon: None, alien.features)
    assert AddOn.read(beside).labels == public.addon.labels == ("Yellow House",)

    more = learned(handlers, sent(uploads, PINK, 2, "more"), "Hut")
    public.change_taught(lambda addon: combined([addon, more]))  # one file is enough again
    assert AddOn.read(file).labels == ("Yellow House", "Hut")
    assert not beside.exists()
    with pytest.raises(AddOnError, match="Another model answers by now"):
        public.change_taught(lambda addon: alien)
    assert AddOn.read(file).labels == ("Yellow House", "Hut")


def test_add_ons_are_served_and_those_of_another_model_are_named(model, serving, handlers, uploads, alien):
    kept = taught(handlers, collected(handlers, sent(uploads, YELLOW, 3)), "Yellow House")
    own = handlers.known(kept).addon
    served = Serving(model, addons=[own, alien])
    assert served.current.classifier.labels[3:] == ["Yellow House"]
    assert served.current.why == "It doesn't know Pink House, which was taught to another model."
    both = knowing(
        served.current.classifier, keep({}, served.current.classifier, replace(own, labels=("Hut",), facts={}))
    )
    assert both.labels[3:] == ["Yellow House", "Hut"]


def test_what_a_visitor_teaches_is_too_much_at_some_point(handlers, serving, uploads):
    classifier = serving.current.classifier
    count = MAX_BYTES // (2 * classifier.served.mean.numel())
    many = AddOn(
        classifier.features_digest,
        tuple(map(str, range(count))),
        torch.ones(count, dtype=torch.int32),
        torch.ones(count, classifier.served.mean.numel()).half(),
    )
    with pytest.raises(AddOnError, match="too much to be taught here"):
        keep({}, classifier, combined([many, replace(many, labels=tuple(f"b{n}" for n in range(count)))]))

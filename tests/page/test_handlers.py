"""What the page does, without a server or a browser."""

import dataclasses
import math
from pathlib import Path

import gradio as gr
import numpy as np
import pytest
import torch
from helpers.photos import noisy_photo, with_gps
from PIL import Image, ImageFile

from landmark_models import LandmarkClassifier
from landmark_models.explain import NoExplanationError
from landmark_models.page import handlers as handlers_module
from landmark_models.page.cards import headline
from landmark_models.page.examples import BUNDLED
from landmark_models.page.handlers import Handlers, PageError
from landmark_models.page.one_photo import Turns, pick, shown
from landmark_models.page.refusals import ShownError
from landmark_models.page.serving import Serving

RED = (200, 40, 40)


@pytest.fixture(scope="module")
def serving(sure):
    return Serving(str(sure))


@pytest.fixture(scope="module")
def famous_serving(famous_model):
    return Serving(str(famous_model))


@pytest.fixture
def handlers(serving, uploads) -> Handlers:
    return Handlers(serving, uploads)


def upload(uploads: Path, content: bytes | Image.Image, name: str = "holiday.jpg") -> dict[str, str]:
    """A photo as gradio passes it on."""
    if isinstance(content, bytes):
        (uploads / name).write_bytes(content)
    else:
        content.save(uploads / name)
    return {"path": str(uploads / name), "orig_name": name}


@pytest.fixture
def red(uploads, photo) -> dict[str, str]:
    return upload(uploads, photo.read_bytes())


def test_predict_ranks_labels_and_shows_the_photo(handlers, serving, red, photo):
    scores, picture, known = handlers.predict(red, 2)
    expected = serving.current.classifier.predict(photo, 2)
    assert scores == {prediction.label: pytest.approx(prediction.score, abs=1e-5) for prediction in expected}
    assert known is expected.known is True
    assert picture.size == (64, 48)


def test_the_number_of_candidates_has_bounds(handlers, red):
    assert len(handlers.predict(red)[0]) == 3
    assert len(handlers.predict(red, -4)[0]) == 1
    assert len(handlers.predict(red, 2.0)[0]) == 2
    for wrong in (None, "many", [1]):
        with pytest.raises(PageError, match="must be from 1 to 10"):
            handlers.predict(red, wrong)


def test_a_sideways_photo_is_sent_back_upright_and_small(handlers, uploads):
    exif = Image.Exif()
    exif[0x0112] = 6  # a phone held upright
    Image.fromarray(np.zeros((3000, 4000, 3), np.uint8)).save(uploads / "phone.jpg", exif=exif)
    _, picture, _ = handlers.predict({"path": str(uploads / "phone.jpg")}, 5)
    assert picture.width < picture.height <= 2048
    assert not picture.info  # or gradio would write it into the file that it sends


def test_a_transparent_photo_is_answered(handlers, uploads):
    seen = handlers.answer(upload(uploads, Image.new("RGBA", (64, 48), (*RED, 128)), "logo.png"))
    assert len(seen.result.tags.predictions) == 3
    assert seen.result.name == "logo.png"


def test_only_what_browsers_do_not_show_is_made_a_jpeg(handlers, uploads, red):
    seen = handlers.answer(red)
    assert str(seen.shown) == red["path"]
    assert not seen.converted
    with_gps(uploads / "scan.tif", image=noisy_photo(RED, 1))
    scan = {"path": str(uploads / "scan.tif"), "orig_name": "scan.tif"}
    seen = handlers.answer(scan)
    assert seen.converted
    with Image.open(seen.shown) as picture:
        assert picture.format == "JPEG"
        assert not picture.getexif()
    assert uploads in seen.shown.parents


def test_tag_gives_what_a_client_of_cloud_vision_reads_and_more(handlers, serving, red, photo):
    record = handlers.tag(red)
    best = serving.current.classifier.predict(photo, 1)[0]
    first = record["landmarkAnnotations"][0]
    assert (first["description"], first["score"]) == (best.label, pytest.approx(best.score, abs=1e-5))
    assert record["hashtags"] == ["#RedTower"]
    assert record["known"] is True
    assert record["verdict"] == "Best match of the 3 landmarks known here"
    assert record["altText"].startswith("Photo of")
    assert (record["distanceKm"], record["agrees"]) == (None, None)


def test_explain_gives_a_picture_of_the_photos_shape(handlers, uploads):
    picture = handlers.explain(upload(uploads, noisy_photo(RED, 3, (200, 100))))
    assert picture.width == 2 * picture.height


def test_a_heat_map_is_for_the_candidate_that_was_chosen(handlers, red, monkeypatch):
    labels = []
    monkeypatch.setattr(handlers_module, "explain", lambda classifier, file, label: labels.append(label))
    seen = handlers.answer(red)
    handlers.look(seen, True, "en")
    handlers.look(dataclasses.replace(seen, rank=1), True, "en")
    handlers.explain(red)
    assert labels == ["Red Tower", seen.result.tags.predictions[1].label, None]
    assert handlers.look(seen, False, "en") == red["path"]


def test_a_heat_map_is_refused_when_the_answer_or_its_model_is_gone(handlers, famous_serving, uploads, red):
    with pytest.raises(ShownError, match="isn&#x27;t kept any more; choose the photo again"):
        handlers.look(None, True, "en")
    seen = handlers.answer(red)
    with pytest.raises(ShownError, match="The model has changed since this answer"):
        Handlers(famous_serving, uploads).look(seen, True, "en")
    with pytest.raises(ShownError, match="Le modèle a changé"):
        Handlers(famous_serving, uploads).look(seen, True, "fr")


def test_a_network_without_a_map_is_reported_in_a_sentence(handlers, red, monkeypatch):
    def fail(*_):
        raise NoExplanationError("vit_tiny keeps no map of the photo.")

    monkeypatch.setattr(handlers_module, "explain", fail)
    with pytest.raises(PageError, match="vit_tiny keeps no map of the photo"):
        handlers.explain(red)


def test_landmarks_are_listed_and_searched(handlers):
    assert [row["label"] for row in handlers.landmarks()] == ["Blue Lake", "Green Bridge", "Red Tower"]
    assert [row["name"] for row in handlers.landmarks("bridge")] == ["Green Bridge"]


def test_the_photos_own_position_comes_first(famous_serving, uploads):
    with_gps(uploads / "agra.jpg", image=noisy_photo(RED, 1))
    seen = Handlers(famous_serving, uploads).answer({"path": str(uploads / "agra.jpg")})
    assert seen.result.tags.contradicted
    assert "It looks like Eiffel Tower, but the photo itself says" in headline(seen.result, seen.knows, "en")


def test_what_is_not_recognised_says_so(handlers, red, monkeypatch):
    outputs = LandmarkClassifier.outputs
    unlike = torch.tensor([-torch.inf])  # the rule's score of a photo that shows no landmark
    monkeypatch.setattr(LandmarkClassifier, "outputs", lambda *given: outputs(*given)._replace(scores=unlike))
    seen = handlers.answer(red)
    assert "<h2>None that I know for sure</h2>" in headline(seen.result, seen.knows, "en")
    *_, candidates, _, ways_out, _ = shown(seen, "en")
    assert candidates["visible"]
    assert ways_out["visible"]


def test_a_photo_that_cannot_be_read_is_an_answer_on_the_page_and_an_error_elsewhere(handlers, uploads, tmp_path):
    letter = upload(uploads, b"no photo", "letter.jpg")
    seen = handlers.answer(letter)
    assert (seen.shown, seen.label, seen.result.tags) == (None, None, None)
    assert seen.result.name == "letter.jpg"
    result = seen.result
    assert result.error.startswith("letter.jpg is not an image that can be read")
    assert str(tmp_path) not in result.error
    for handler in (handlers.predict, handlers.tag, handlers.explain):
        with pytest.raises(PageError, match=r"letter\.jpg is not an image"):
            handler(letter)
        with pytest.raises(PageError, match="There is no photo"):
            handler(None)


def test_a_photo_too_large_is_refused_before_it_is_decoded(handlers, uploads):
    line = upload(uploads, Image.fromarray(np.zeros((1, 30000), np.uint8)), "line.png")
    assert "more than 50 times as long as wide" in handlers.answer(line).result.error


def test_only_uploads_are_opened(handlers, photo):
    for path in (str(photo), "/etc/passwd", "/nowhere", "../../etc/passwd"):
        with pytest.raises(PageError, match="never uploaded"):
            handlers.predict({"path": path})
    for wrong in (None, "/etc/passwd", {"path": 7}, {"path": "a\0b"}, {"path": ""}):
        with pytest.raises(PageError, match="There is no photo"):
            handlers.predict(wrong)


def test_the_card_changes_with_the_result(handlers, red, uploads):
    seen = handlers.answer(red)
    photo, where, card, candidates, details, ways_out, state = shown(seen, "en")
    assert "value" not in photo  # the browser has it
    assert photo["alt_text"].startswith("Photo of Red Tower")
    assert (where["value"], where["interactive"]) == (False, True)
    assert "<h2>Red Tower</h2>" in card
    assert next(iter(candidates["value"])) == "Red Tower"
    assert "#RedTower" in details
    assert not ways_out["visible"]
    assert state is seen
    unreadable = handlers.answer(upload(uploads, b"no photo", "letter.jpg"))
    for nothing in (unreadable, None):
        photo, where, card, candidates, details, ways_out, _ = shown(nothing, "en")
        assert photo["alt_text"] == "Your photo"
        assert not where["interactive"]
        assert not candidates["visible"]
        assert not ways_out["visible"]
        assert details == ""


def test_a_candidate_that_was_chosen_has_the_card(handlers, red):
    seen = handlers.answer(red)
    names = [prediction.label for prediction in seen.result.tags.predictions]
    card, _, chosen = pick(gr.SelectData(None, {"index": 1, "value": names[1]}), seen, "en")
    assert f"<h2>{names[1]}</h2>" in card
    assert chosen.label == names[1]
    for wrong in (-1, 3, "1", None):
        skipped = pick(gr.SelectData(None, {"index": wrong, "value": ""}), seen, "en")
        assert skipped == (gr.skip(), gr.skip(), gr.skip())


def test_an_example_is_answered_from_a_copy(handlers, uploads):
    copy = Path(handlers.take_example(BUNDLED, 0, "Hawa Mahal", "en"))
    assert uploads in copy.parents
    assert copy.read_bytes() == BUNDLED[0].file.read_bytes()
    for index, name in ((-1, "Hawa Mahal"), (len(BUNDLED), "Hawa Mahal"), ("0", "Hawa Mahal"), (0, "Eiffel Tower")):
        with pytest.raises(ShownError, match="have changed"):
            handlers.take_example(BUNDLED, index, name, "en")


def test_only_the_last_turn_counts():
    turns = Turns()
    first, second = turns.take(), turns.take()
    assert not first()
    assert second()


def test_a_photo_is_decoded_once_for_an_answer(handlers, uploads, monkeypatch):
    decoded = []
    load = ImageFile.ImageFile.load

    def counted(image):
        if image.fp and image.tile:  # not decoded yet
            decoded.append(image.size)
        return load(image)

    photos = [upload(uploads, noisy_photo(RED, index), f"{index}.png") for index in range(3)]
    monkeypatch.setattr(ImageFile.ImageFile, "load", counted)
    handlers.answer(photos[0])
    handlers.predict(photos[0])
    handlers.tag(photos[0])
    assert len(decoded) == 3


def test_what_computes_is_wrapped_for_the_gpu(serving, uploads, red):
    wrapped = []

    def on_gpu(handler):
        wrapped.append(handler.__name__)
        return handler

    handlers = Handlers(serving, uploads, on_gpu)
    assert sorted(wrapped) == ["answer", "explain", "look", "predict", "tag", "teach"]
    assert math.isclose(sum(handlers.predict(red)[0].values()), 1, abs_tol=1e-4)

"""What the card says of a photo, in HTML."""

import base64
import html
import json
import re

import pytest
from helpers.answers import tags_of

from landmark_models import Prediction
from landmark_models.page import cards
from landmark_models.page.cards import Knows
from landmark_models.page.results import PhotoResult
from landmark_models.tagging.tags import Tags
from landmark_models.teaching import Facts, Taught

KNOWS = Knows(60, 98)
TAJ = [Prediction("Taj Mahal", 0.97), Prediction("Humayun s Tomb", 0.02), Prediction("qutub minar", 0.001)]
UNLIKE = Tags(tuple(TAJ), model_knows=False, verdict="None of the 60 landmarks known here")


def headline(tags: Tags, rank: int = 0, language: str = "en", knows: Knows = KNOWS) -> str:
    return html.unescape(cards.headline(PhotoResult("photo", tags), knows, language, rank))


def details(tags: Tags, rank: int = 0, name: str = "photo") -> str:
    return cards.details(PhotoResult(name, tags), "en", rank)


def files(text: str) -> dict[str, tuple[str, str]]:
    """The file's name and content by the link's text."""
    links = re.findall(r"<a download='([^']+)' title='[^']*' href='data:[^;]+;base64,([^']+)'>([^<]+)</a>", text)
    return {text: (html.unescape(name), base64.b64decode(data).decode()) for name, data, text in links}


def test_the_headline_says_name_kind_place_and_how_often_such_answers_were_right():
    text = headline(tags_of(TAJ))
    assert "<h2>Taj Mahal</h2>" in text
    assert "<p class='place'>Tomb · Agra, Uttar Pradesh, India</p>" in text
    assert "Best match of 60 · 98 of 100 such answers were right" in text
    assert "Best match of the 60 landmarks known here<" in headline(tags_of(TAJ), knows=Knows(60, None))


def test_the_details_hold_tags_and_files():
    text = details(tags_of([Prediction("qutub minar", 0.93), *TAJ]), name="holiday 'a'.jpg")
    assert "data-copy='#QutbMinar #QutubMinar #Delhi #India'" in text
    assert "<p class='tags'>#QutbMinar #QutubMinar #Delhi #India</p>" in text
    address = html.unescape(re.search(r"<a class='action' href='([^']+)'", text)[1])
    assert address.startswith("https://www.openstreetmap.org/?mlat=28.5")
    assert "holiday 'a'" not in text
    name, sidecar = files(text)["XMP"]
    assert name == "holiday 'a'.jpg.xmp"
    assert sidecar.startswith("<?xpacket")
    annotations = json.loads(files(text)["JSON"][1])["landmarkAnnotations"]
    assert annotations[1]["description"] == "Taj Mahal"


def test_the_landmarks_position_becomes_the_cameras_only_on_request_and_if_the_photo_has_none():
    saved = files(details(tags_of(TAJ)))
    position = "</Iptc4xmpExt:LocationShown>\n      <exif:GPSLatitude>"
    assert position not in saved["XMP"][1]
    assert position in saved["XMP with position"][1]
    with_position = details(tags_of(TAJ, (27.1751, 78.0431)))
    assert "XMP with position" not in files(with_position)
    assert "own position agrees: 0.1 km from it." in html.unescape(with_position)
    assert "XMP with position" not in files(details(tags_of([Prediction("Chhota Imambara", 0.97)])))


def test_another_candidate_is_described_and_the_tags_stay_those_of_the_best():
    text = headline(tags_of(TAJ), rank=1)
    assert "<h2>Humayun's Tomb</h2>" in text
    assert "Candidate 2 · 2%" in text
    assert "98 of 100" not in text
    text = details(tags_of(TAJ), rank=1)
    assert "openstreetmap.org" in text
    assert "data-copy" not in text
    assert not files(text)


def test_a_photo_that_shows_no_known_landmark_gets_advice_but_no_tags():
    text = headline(UNLIKE)
    assert "<h2>None that I know for sure</h2>" in text
    assert "If it is one of the 60 landmarks known here, it is most likely among these:" in text
    text = details(UNLIKE)
    assert "What helps: the whole building, from outside, by day, upright." in text
    assert "data-copy" not in text
    assert not files(text)
    assert "<h2>Humayun's Tomb</h2>" in headline(UNLIKE, rank=1)  # a candidate of it can still be looked at


def test_a_photo_that_was_taken_elsewhere_is_not_named():
    tags = tags_of(TAJ, (48.8583, 2.2945))
    text = headline(tags)
    assert "<h2>Not sure</h2>" in text
    assert re.search(r"It looks like Taj Mahal, but the photo itself says that it was taken 6,7\d\d km from", text)
    assert not files(details(tags))


@pytest.mark.parametrize("language", ["en", "fr", "xx"])
def test_an_untrusted_label_is_escaped_everywhere(language):
    label = "<img src=x onerror=alert(1)>'"
    result = PhotoResult(label, tags_of([Prediction(label, 0.95), Prediction(f"{label}2", 0.04)]))
    for rank in (0, 1):
        assert "<img" not in cards.headline(result, KNOWS, language, rank)
        assert "<img" not in cards.details(result, language, rank)
    assert "<img" not in cards.headline(PhotoResult(label, error=label), KNOWS, language)
    assert "<img src=x" not in cards.examples_html([(label, b"")], language)
    assert "onerror=alert(1)&gt;&#39;</h2>" in cards.headline(result, KNOWS, language)
    assert re.search(r"data-copy='#[A-Za-z0-9]+'", cards.details(result, language))


def test_an_unreadable_photo_is_reported_with_its_name_and_what_to_try():
    result = PhotoResult("a.jpg", error="a.jpg is not an image.")
    text = html.unescape(cards.headline(result, KNOWS, "en"))
    assert "role='alert'" in text
    assert "This photo can't be read" in text
    assert "a.jpg is not an image." in text
    assert cards.details(result, "en") == ""
    other = cards.headline(result, KNOWS, "fr")
    assert re.search(r"<details>.*<p lang='en'>a\.jpg is not an image\.</p></details>", other, re.DOTALL)


def test_candidates_have_proper_names_and_no_share_reads_0_or_100_per_cent():
    shown = cards.candidates(
        tags_of([Prediction("qutub minar", 0.9999), *TAJ[1:], Prediction("Dead Sea", 0.004)]), "en"
    )
    assert list(shown) == ["Qutb Minar", "Humayun's Tomb"]  # at least two
    assert f"{shown['Qutb Minar']:.0%}" == "99%"
    same = Tags((Prediction("qutub minar", 0.5), Prediction("Qutub Minar", 0.4)))
    assert list(cards.candidates(same, "en")) == ["Qutb Minar", "Qutub Minar"]


def test_a_photo_has_alt_text_before_and_after_its_answer():
    assert cards.alt_text(None, "en") == "Your photo"
    assert cards.alt_text(PhotoResult("a", error="no"), "en") == "Your photo"
    assert cards.alt_text(PhotoResult("a", tags_of(TAJ)), "en").startswith("Photo of Taj Mahal, tomb in Agra")
    assert cards.alt_text(PhotoResult("a", UNLIKE), "en") == "A photo in which no landmark was recognised."
    assert cards.alt_text(PhotoResult("a", tags_of([Prediction("My House", 0.9)])), "en") == "Photo of My House."


def test_a_landmark_that_was_taught_says_so_instead_of_how_often_such_answers_were_right():
    church = Taught(5, Facts(place="Bath", country="United Kingdom"))
    best = (Prediction("Our church", 0.9), *TAJ)
    tags = Tags(best, verdict="Best match", taught={"Our church": church})
    text = headline(tags)
    assert "<h2>Our church</h2>" in text
    assert "<p class='place'>Bath, United Kingdom</p>" in text
    assert "Taught from 5 photos" in text
    assert "98 of 100" not in text
    assert list(cards.candidates(tags, "en"))[:2] == ["Our church (taught)", "Taj Mahal"]
    assert "#OurChurch #Bath #UnitedKingdom" in details(tags)
    assert "Photo of Our church in Bath, United Kingdom." in cards.alt_text(PhotoResult("a", tags), "en")
    bare = Tags(best, verdict="Best match", taught={"Our church": Taught(1, Facts())})
    assert "Taught from 1 photo<" in headline(bare)
    assert "class='place'" not in headline(bare)
    assert "openstreetmap" not in details(bare)
    assert cards.alt_text(PhotoResult("a", bare), "en") == "Photo of Our church."


def test_answers_have_a_hash_by_which_gradio_sees_that_they_changed():
    taught = Tags((Prediction("Our church", 0.9),), taught={"Our church": Taught(5, Facts())})
    assert hash(PhotoResult("a", taught)) != hash(PhotoResult("b", taught))

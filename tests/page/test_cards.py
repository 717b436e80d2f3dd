import base64
import html
import json
import re

from helpers.answers import tags_of

from landmark_models import Prediction
from landmark_models.page.cards import card_html, table_html
from landmark_models.page.results import PhotoResult
from landmark_models.tagging.tags import Tags


def downloads(text: str) -> dict[str, tuple[str, str]]:
    """The file's name and content by the link's text."""
    links = re.findall(r"<a download='([^']+)' title='[^']*' href='data:[^;]+;base64,([^']+)'>([^<]+)</a>", text)
    return {text: (html.unescape(name), base64.b64decode(data).decode()) for name, data, text in links}


def card(tags: Tags, name: str = "photo") -> str:
    return card_html(PhotoResult(name, tags))


def test_an_answer_says_name_place_verdict_score_and_what_it_is():
    text = card(tags_of([Prediction("qutub minar", 0.93), Prediction("iron pillar", 0.04)]), "holiday 'a'.jpg")
    assert "<h2>Qutb Minar</h2>" in text
    assert "<p class='lead'>Delhi, India</p>" in text
    assert "'>Best match of the 60 landmarks known here. Score 93%.</p>" in text
    assert "data-copy='#QutbMinar'" in text
    assert "data-copy='#QutbMinar #QutubMinar #Delhi #India'>Copy all" in text
    assert html.unescape(re.search(r"<a href='([^']+)'", text)[1]).startswith(
        "https://www.openstreetmap.org/?mlat=28.5"
    )
    files = downloads(text)
    assert "holiday 'a'" not in text
    name, sidecar = files["XMP sidecar"]
    assert name == "holiday 'a'.jpg.xmp"
    assert sidecar.startswith("<?xpacket")
    annotations = json.loads(files["JSON"][1])["landmarkAnnotations"]
    assert annotations[1]["description"] == "Iron pillar of Delhi"


def test_the_landmarks_position_becomes_the_cameras_only_on_request_and_if_the_photo_has_none():
    taj = [Prediction("Taj Mahal", 0.97)]
    files = downloads(card(tags_of(taj)))
    position = "</Iptc4xmpExt:LocationShown>\n      <exif:GPSLatitude>"
    assert position not in files["XMP sidecar"][1]
    assert position in files["XMP with position"][1]
    assert "XMP with position" not in downloads(card(tags_of(taj, (27.175, 78.0421))))
    assert "XMP with position" not in downloads(card(tags_of([Prediction("Chhota Imambara", 0.97)])))


def test_only_a_click_loads_the_map():
    text = card(tags_of([Prediction("Taj Mahal", 0.97)]))
    assert "<iframe" not in text
    url = html.unescape(re.search(r"data-map='([^']+)'", text)[1])
    west, south, east, north = map(float, re.search(r"bbox=([-\d.,]+)&", url)[1].split(","))
    assert west < 78.0421 < east
    assert south < 27.175 < north
    assert "marker=27.175,78.0421" in url
    assert "data-map" not in card(tags_of([Prediction("Chhota Imambara", 0.97)]))  # where it is is not known


def test_an_unrecognised_photo_gets_no_tags():
    text = card(tags_of([Prediction("Taj Mahal", 0.2)]))
    assert "<h2>Not recognised</h2>" in text
    assert "None of the 60 landmarks known here. The nearest is Taj Mahal (20%)." in text
    assert "data-copy" not in text
    assert list(downloads(text)) == ["JSON"]


def test_a_high_score_of_a_photo_that_is_not_recognised_is_explained():
    unlike = Tags((Prediction("Taj Mahal", 0.92),), model_knows=False, verdict="None of the 60 landmarks known here")
    text = card(unlike)
    assert "The nearest is Taj Mahal (92%)." in text
    assert "Scores only compare the landmarks known here with each other" in html.unescape(text)
    assert text.count("not recognised, however high") == 1
    assert table_html([PhotoResult("a", unlike)] * 2).count("not recognised, however high") == 1
    sure = tags_of([Prediction("Taj Mahal", 0.997)])
    for shown in (card(sure), table_html([PhotoResult("a", sure)])):
        assert "however high" not in shown
        assert "&gt;99%" in shown
        assert "100%" not in shown


def test_the_card_first_says_that_a_photo_was_taken_elsewhere():
    text = card(tags_of([Prediction("Taj Mahal", 0.97)], (48.8583, 2.2945)))
    assert text.index("taken: 48.8583, 2.2945.") < text.index("<h2>Not recognised</h2>")
    assert re.search(r"Looks like Taj Mahal, but the photo was taken 6,7\d\d km from it\.", text)
    assert "Score 97%" in text
    assert ", 0 km from Taj Mahal." in card(tags_of([Prediction("Taj Mahal", 0.97)], (27.175, 78.0421)))


def test_a_table_says_why_a_photo_is_not_recognised():
    taj = [Prediction("Taj Mahal", 0.97)]
    text = table_html(
        [PhotoResult("a", tags_of(taj, (48.8583, 2.2945))), PhotoResult("b", tags_of([Prediction("Dead Sea", 0.2)]))]
    )
    assert re.search(r"Not recognised\. Looks like Taj Mahal, but the photo was taken 6,7\d\d km from it\.", text)
    assert "Not recognised. The nearest is Dead Sea (20%)." in text
    assert "2 photos: 0 recognised, 2 not, 0 can't be read." in text


def test_an_untrusted_label_is_escaped_everywhere():
    label = "<img src=x onerror=alert(1)>'"
    text = card(tags_of([Prediction(label, 0.95)]))
    assert "<img" not in text
    assert "<img" not in card(tags_of([Prediction(label, 0.2)]))
    assert "<img" not in card_html(PhotoResult("a", Tags((Prediction("Taj Mahal", 0.9),), verdict=label)))
    assert "onerror=alert(1)&gt;&#39;</h2>" in text
    assert re.search(r"data-copy='#[A-Za-z0-9]+'", text)


def test_an_unreadable_photo_is_reported_in_a_sentence():
    text = card_html(PhotoResult("<b>.jpg", error="<b>.jpg is not an image."))
    assert "can't be read" in text
    assert "&lt;b&gt;.jpg is not an image." in text

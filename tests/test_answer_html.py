import base64
import html
import json
import re

from landmark_models import Prediction
from landmark_models.answer_html import answer_html
from landmark_models.tagging import Tags


def downloads(text: str) -> dict[str, str]:
    links = re.findall(r"<a download='([^']+)' href='data:[^;]+;base64,([^']+)'", text)
    return {name: base64.b64decode(data).decode() for name, data in links}


def test_a_sure_answer_says_name_place_how_sure_and_what_it_is():
    text = answer_html(Tags.of([Prediction("qutub minar", 0.93), Prediction("iron pillar", 0.04)]), "holiday 'a'.jpg")
    assert "<h2>Qutb Minar</h2>" in text
    assert "Delhi, India<br>Almost certainly (93%)" in text
    assert "data-copy='#QutbMinar'" in text
    assert "data-copy='#QutbMinar #QutubMinar #Delhi #India'>Copy all" in text
    assert html.unescape(re.search(r"<a href='([^']+)'", text)[1]).startswith(
        "https://www.openstreetmap.org/?mlat=28.5"
    )
    files = downloads(text)
    assert "holiday 'a'" not in text
    assert files["holiday &#x27;a&#x27;.jpg.xmp"].startswith("<?xpacket")
    assert (
        json.loads(files["holiday &#x27;a&#x27;.jpg.json"])["landmarkAnnotations"][1]["description"]
        == "Iron pillar of Delhi"
    )


def test_the_map_is_asked_for_by_a_click_alone():
    text = answer_html(Tags.of([Prediction("Taj Mahal", 0.97)]))
    assert "<iframe" not in text
    url = html.unescape(re.search(r"data-map='([^']+)'", text)[1])
    west, south, east, north = map(float, re.search(r"bbox=([-\d.,]+)&", url)[1].split(","))
    assert west < 78.0421 < east
    assert south < 27.175 < north
    assert "marker=27.175,78.0421" in url
    assert "data-map" not in answer_html(Tags.of([Prediction("Chhota Imambara", 0.97)]))  # where it is is not known


def test_what_is_not_recognised_gets_no_tags():
    text = answer_html(Tags.of([Prediction("Taj Mahal", 0.2)]))
    assert "<h2>Not recognised</h2>" in text
    assert "The nearest is Taj Mahal (20%)" in text
    assert "data-copy" not in text
    assert list(downloads(text)) == ["photo.json"]


def test_a_photo_taken_elsewhere_is_said_first():
    text = answer_html(Tags.of([Prediction("Taj Mahal", 0.97)], (48.8583, 2.2945)))
    assert text.index("taken: 48.8583, 2.2945") < text.index("<h2>Not sure</h2>")
    assert "was taken elsewhere" in text
    assert re.search(r"taken: 48\.8583, 2\.2945, 6,7\d\d km from Taj Mahal", text)
    assert ", 0 km from Taj Mahal." in answer_html(Tags.of([Prediction("Taj Mahal", 0.97)], (27.175, 78.0421)))


def test_a_strange_label_is_escaped_everywhere():
    text = answer_html(Tags.of([Prediction("<img src=x onerror=alert(1)>'", 0.95)]))
    assert "<img" not in text
    assert "onerror=alert(1)&gt;&#x27;</h2>" in text
    assert re.search(r"data-copy='#[A-Za-z0-9]+'", text)

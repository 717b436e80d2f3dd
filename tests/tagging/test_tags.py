import csv
import io
import json
import re
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree
from unicodedata import normalize

import pytest
from helpers.answers import VERDICTS, tags_of
from helpers.photos import with_gps
from helpers.programs import absent
from PIL import Image

from landmark_models import Answer, Prediction, open_photo, photo_position
from landmark_models.tagging.tags import CSV_COLUMNS, NO_RECORD, Tags, distance_km
from landmark_models.teaching import Facts, Taught

AGRA, PARIS = (27.175, 78.0421), (48.8583, 2.2945)
TAJ = [Prediction("Taj Mahal", 0.97), Prediction("Humayun s Tomb", 0.02)]
STRANGE = [Prediction("=<img src=x onerror=alert(1)>\x07", 0.95)]


def test_hashtags_are_the_most_specific_first_and_none_twice():
    assert tags_of(TAJ).hashtags == ["#TajMahal", "#Agra", "#UttarPradesh", "#India"]
    assert tags_of([Prediction("!!!", 0.9)]).hashtags == []
    with pytest.raises(ValueError, match="no predictions"):
        Tags.of(Answer([]))


@pytest.mark.parametrize(
    ("label", "word"),
    [
        ("palace_of the mist's", "PalaceOfTheMists"), ("St. Peter\u2019s Basilica", "StPetersBasilica"),
        ("Château d'If", "ChâteauDIf"), ("Cafe\u0301 Central", "CaféCentral"), ("Kawaiaha\u02bbo", "Kawaiahao"),
        ("Paral\u00b7lel", "Parallel"), ("東京タワー", "東京タワー"), ("ताज महल", "ताजमहल"), ("วัดพระแก้ว", "วัดพระแก้ว"),
        ("தஞ்சைப் பெருவுடையார்", "தஞ்சைப்பெருவுடையார்"), ("সুন্দরবন", "সুন্দরবন"), ("হাওড়া ব্রিজ", "হাওড়াব্রিজ"),
        ("تخت\u200cجمشید", "تخت\u200cجمشید"), ("ශ්\u200dරී පාදය", "ශ්\u200dරීපාදය"),
        ("თბილისის ტაძარი", "თბილისისტაძარი"), ("צה\u05f4ל", "צהל"),
    ],
)  # fmt: skip
def test_a_hashtag_and_the_keyword_are_the_whole_word_in_every_script(label, word):
    tags = tags_of([Prediction(label, 0.9)])
    assert tags.hashtags == [f"#{normalize('NFC', word)}"]
    assert f"<rdf:li>{normalize('NFC', word)}</rdf:li>" in tags.xmp()
    assert "\ufffd" not in tags.xmp()


def test_the_alt_text_says_what_it_is_without_hedging():
    assert tags_of(TAJ).alt_text == "Photo of Taj Mahal, tomb in Agra, Uttar Pradesh, India."
    assert tags_of([Prediction("qutub minar", 0.55)]).alt_text.startswith("Photo of Qutb Minar, minaret in Delhi")
    for unrecognised in (tags_of([Prediction("Taj Mahal", 0.2)]), tags_of(TAJ, PARIS)):
        assert unrecognised.alt_text == "A photo in which no landmark was recognised."
    assert "\x07" not in tags_of(STRANGE).alt_text


def test_the_verdict_is_the_answers_unless_the_photo_was_taken_elsewhere():
    nothing = [Prediction("Taj Mahal", 0.2)]
    assert tags_of(TAJ).statement == tags_of(TAJ, AGRA).statement == VERDICTS[True]
    assert tags_of(nothing).statement == tags_of(nothing, PARIS).statement == VERDICTS[False]
    elsewhere = tags_of(TAJ, PARIS)
    assert re.fullmatch(r"Looks like Taj Mahal, but the photo was taken 6,7\d\d km from it", elsewhere.statement)
    for tags in (tags_of(TAJ), tags_of(nothing), elsewhere):
        assert tags.record()["verdict"] == tags.row("a.jpg")["verdict"] == tags.statement


def test_json_has_the_shape_that_clients_of_cloud_vision_read():
    first, second = tags_of(TAJ).annotations()["landmarkAnnotations"]
    assert first == {
        "mid": "Q9141", "description": "Taj Mahal", "score": 0.97,
        "locations": [{"latLng": {"latitude": 27.175, "longitude": 78.0421}}],
    }  # fmt: skip
    assert second["description"] == "Humayun's Tomb"
    assert tags_of(STRANGE).annotations()["landmarkAnnotations"][0]["locations"] == []
    json.dumps(tags_of(TAJ).annotations())


def test_the_photos_own_position_confirms_or_contradicts_an_answer():
    assert distance_km(AGRA, AGRA) == 0
    assert distance_km((51.5074, -0.1278), (48.8566, 2.3522)) == pytest.approx(343.6, rel=0.005)  # London to Paris
    assert distance_km((0, 179.9), (0, -179.9)) == pytest.approx(22.2, rel=0.01)
    near, far, none = tags_of(TAJ, (27.18, 78.04)), tags_of(TAJ, PARIS), tags_of(TAJ)
    assert (near.agrees, near.recognised) == (True, True)
    assert near.distance_km < 1
    assert (far.agrees, far.recognised) == (False, False)
    assert (far.known, far.reason, far.name, far.place, far.nearest) == (False, "position", None, "", "Taj Mahal")
    assert (none.agrees, none.distance_km) == (None, None)
    assert tags_of(STRANGE, PARIS).agrees is None


def test_the_position_is_read_from_the_photo(tmp_path):
    assert photo_position(with_gps(tmp_path / "a.jpg")) == pytest.approx(AGRA, abs=1e-4)
    south_west = photo_position(with_gps(tmp_path / "b.jpg", ((33, 51, 0), "S"), ((70, 30, 0), "W")))
    assert south_west == pytest.approx((-33.85, -70.5))
    assert photo_position(with_gps(tmp_path / "c.jpg", ((0, 0, 0), "N"), ((0, 0, 0), "E"))) is None
    assert photo_position(with_gps(tmp_path / "d.jpg", ((99, 0, 0), "N"), ((0, 0, 0), "E"))) is None
    assert photo_position(Image.new("RGB", (8, 8))) is None
    assert open_photo(tmp_path / "a.jpg").size == (64, 48)


def test_a_row_holds_no_formula():
    row = tags_of(STRANGE, (-33.85, -70.5)).row("=cmd().jpg")
    assert "33.85" not in " ".join(row.values())  # where the camera was is nobody's business
    assert tuple(row) == CSV_COLUMNS
    assert row["path"] == "'=cmd().jpg"
    assert row["name"].startswith("'=")
    row = tags_of(TAJ, AGRA).row("holiday, second.jpg")
    assert (row["score"], row["country"], row["latitude"], row["longitude"]) == (
        "0.9700",
        "IN",
        "27.1750",
        "78.0421",
    )
    assert row["agrees"] == "true"
    assert row["hashtags"] == "#TajMahal #Agra #UttarPradesh #India"
    file = io.StringIO()
    csv.DictWriter(file, CSV_COLUMNS).writerow(row)
    assert next(csv.reader([file.getvalue()]))[0] == "holiday, second.jpg"


@pytest.mark.parametrize(
    "tags", [tags_of([Prediction("Taj Mahal", 0.2)]), tags_of(TAJ, PARIS)], ids=["low", "elsewhere"]
)
def test_an_unrecognised_photo_gets_no_tags(tags):
    assert not tags.recognised
    assert tags.hashtags == []
    row, record = tags.row("a.jpg"), tags.record()
    assert (row["name"], row["place"], row["wikidata"], row["latitude"]) == ("", "", "", "")
    assert row["label"] == "Taj Mahal"  # what it was nearest to
    assert (record["name"], record["place"], record["hashtags"]) == (None, None, [])
    assert "Taj" not in tags.xmp()


def test_a_photo_from_within_a_large_landmark_does_not_contradict_it():
    for label, here in (("Great Wall of China", (39.80, 98.21)), ("Great Barrier Reef", (-16.75, 146.25))):
        assert tags_of([Prediction(label, 0.99)], here).agrees, label
    assert tags_of([Prediction("Grand Canyon", 0.99)], (36.012, -113.811)).agrees
    assert not tags_of([Prediction("Grand Canyon", 0.99)], PARIS).agrees


@pytest.mark.parametrize(
    ("tags", "reason"),
    [
        (tags_of(TAJ), None), (tags_of(TAJ, AGRA), None), (tags_of(TAJ, PARIS), "position"),
        (tags_of([Prediction("Taj Mahal", 0.2)], PARIS), "model"),
        (Tags.of(Answer(TAJ, True, VERDICTS[True]), PARIS, min_confidence=0.98), "confidence"),
    ],
)  # fmt: skip
def test_known_has_one_meaning_and_a_field_says_why_not(tags, reason):
    known = reason is None
    record, row = tags.record(), tags.row("a.jpg")
    assert (tags.known, record["known"], row["known"]) == (known, known, str(known).lower())
    assert (tags.reason, record["reason"], row["reason"]) == (reason, reason, reason or "")
    for has_name in (tags.name, record["name"], row["name"], record["hashtags"], record["place"], "Taj" in tags.xmp()):
        assert bool(has_name) == known
    assert (record["label"], row["label"]) == ("Taj Mahal", "Taj Mahal")
    assert record.keys() == NO_RECORD.keys()
    assert ("minimum of 98.0%" in tags.statement) == (reason == "confidence")


def test_candidates_have_their_proper_names_and_none_is_lost():
    both = tags_of([Prediction("qutub minar", 0.6), Prediction("Qutub_Minar", 0.3), Prediction("Tower", 0.1)])
    assert both.named(3) == {"Qutb Minar": 0.6, "Qutub_Minar": 0.3, "Tower": 0.1}
    assert both.named(1) == {"Qutb Minar": 0.6}


def test_a_sidecar_is_xml_whatever_the_label():
    for predictions in (TAJ, STRANGE):
        root = ElementTree.fromstring(tags_of(predictions).xmp())
        assert root.tag == "{adobe:ns:meta/}xmpmeta"
    assert "onerror" in tags_of(STRANGE).xmp()
    assert "<img" not in tags_of(STRANGE).xmp()


def test_exiftool_reads_the_sidecar(tmp_path):
    if shutil.which("exiftool") is None:
        absent("exiftool (libimage-exiftool-perl)")

    def read(text: str) -> dict:
        (tmp_path / "photo.jpg.xmp").write_text(text, encoding="utf-8")
        command = ["exiftool", "-j", "-n", "-struct", "-G1", str(tmp_path / "photo.jpg.xmp")]
        result = subprocess.run(command, capture_output=True, text=True, check=True)
        (answer,) = json.loads(result.stdout)
        assert not [key for key in answer if key.endswith(("Warning", "Error"))], answer
        return answer

    answer = read(tags_of(TAJ).xmp())
    assert answer["XMP-dc:Subject"] == ["Taj Mahal", "TajMahal", "Agra", "UttarPradesh", "India"]
    assert answer["XMP-dc:Description"] == "Photo of Taj Mahal, tomb in Agra, Uttar Pradesh, India."
    (shown,) = answer["XMP-iptcExt:LocationShown"]
    assert shown["LocationName"] == "Taj Mahal"
    assert (shown["City"], shown["ProvinceState"]) == ("Agra", "Uttar Pradesh")
    assert (shown["CountryName"], shown["CountryCode"]) == ("India", "IN")
    assert (shown["GPSLatitude"], shown["GPSLongitude"]) == pytest.approx(AGRA)
    assert shown["LocationId"] == ["http://www.wikidata.org/entity/Q9141"]
    assert "XMP-exif:GPSLatitude" not in answer  # where the camera stood is another matter

    asked = read(tags_of([Prediction("Machu Picchu", 0.99)]).xmp(camera_position=True))
    assert (asked["XMP-exif:GPSLatitude"], asked["XMP-exif:GPSLongitude"]) == pytest.approx((-13.1631, -72.545))
    assert "XMP-exif:GPSLatitude" not in read(tags_of(TAJ, AGRA).xmp(camera_position=True))  # the photo says it itself


@pytest.mark.parametrize(("minimum", "words"), [(0.985, "98.5%"), (0.5, "50.0%"), (0.9999, ">99.9%")])
def test_the_minimum_that_a_score_misses_is_never_rounded_to_another(minimum, words):
    tags = Tags.of(Answer([Prediction("Eiffel Tower", 0.4)], True, "sure"), min_confidence=minimum)
    assert tags.statement == f"Its score is below the minimum of {words}"


def test_tags_can_be_hashed_whatever_was_taught():
    answer = Answer([Prediction("Town Hall", 0.9)])
    assert hash(Tags.of(answer)) == hash(Tags.of(answer))
    answer.taught = {"Town Hall": Taught(5, Facts(place="Bath"))}
    assert hash(Tags.of(answer)) == hash(Tags.of(answer))

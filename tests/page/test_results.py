import csv
import dataclasses
import io
import json
import zipfile

import pytest
from PIL import Image

from landmark_models import LandmarkClassifier
from landmark_models.page.results import as_csv, as_jsonl, as_sidecars, save, tag_photos


@pytest.fixture
def tagged(sure, photo, tmp_path):
    (tmp_path / "upload").write_text("no photo")
    Image.new("RGB", (400, 300), (40, 40, 200)).save(tmp_path / "lake.png")
    lake = tmp_path / "lake.png"
    photos = [
        ("=cmd().jpg", photo), ("letter.jpg", tmp_path / "upload"), ("../../lake.png", lake), ("lake.png", lake),
        ("<img src=x onerror=alert(1)>.jpg", photo), ("gone.jpg", tmp_path / "gone"),
    ]  # fmt: skip
    batches = tag_photos(LandmarkClassifier.load(sure), photos, tmp_path)
    return [result for batch in batches for result in batch]


def test_each_photo_has_tags_or_a_reason_by_its_own_name(tagged, tmp_path):
    assert [result.tags is not None for result in tagged] == [True, False, True, True, True, False]
    assert tagged[0].tags.best.label == "Red Tower"
    assert tagged[1].error.startswith("letter.jpg is not an image")
    assert tagged[5].error.startswith("gone.jpg does not exist")
    assert str(tmp_path) not in " ".join(result.error for result in tagged)


def test_each_photo_that_can_be_read_has_a_small_jpeg_of_its_own(tagged):
    pictures = [result.thumbnail for result in tagged if result.tags]
    assert len(set(pictures)) == 4
    with Image.open(pictures[1]) as picture:
        assert (picture.format, picture.size) == ("JPEG", (240, 180))
    assert not any(result.thumbnail for result in tagged if result.error)


def test_the_first_answers_come_before_the_others_are_read(sure, photo, tmp_path):
    batches = tag_photos(LandmarkClassifier.load(sure), [(f"{index}.jpg", photo) for index in range(40)], tmp_path)
    assert 0 < len(next(batches)) <= len(list(tmp_path.iterdir())) < 8
    assert sum(map(len, batches)) == 40 - 4


def test_csv_holds_a_row_for_each_and_no_formula(tagged):
    rows = list(csv.DictReader(io.StringIO(as_csv(tagged))))
    assert len(rows) == 6
    assert rows[0]["path"] == "'=cmd().jpg"
    assert rows[0]["label"] == "Red Tower"
    assert (rows[1]["label"], rows[1]["error"]) == ("", tagged[1].error)


def test_json_lines_hold_what_the_endpoint_says(tagged):
    records = [json.loads(line) for line in as_jsonl(tagged).splitlines()]
    assert records[0]["path"] == "=cmd().jpg"
    assert records[0]["landmarkAnnotations"][0]["description"] == "Red Tower"
    assert records[0]["verdict"] == tagged[0].tags.verdict
    assert records[0]["error"] is None
    assert (records[1]["path"], records[1]["error"]) == ("letter.jpg", tagged[1].error)
    assert (records[1]["known"], records[1]["name"], records[1]["hashtags"]) == (None, None, [])
    assert len({tuple(record) for record in records}) == 1  # the same keys


def test_sidecars_stay_in_their_folder_and_none_is_lost(tagged):
    with zipfile.ZipFile(io.BytesIO(as_sidecars(tagged))) as archive:
        names = archive.namelist()
        assert not archive.testzip()
        assert all("/" not in name and "\\" not in name for name in names)
        recognised = [result for result in tagged if result.tags and result.tags.recognised]
        assert len(set(names)) == len(names) == len(recognised)
        assert archive.read(names[0]).startswith(b"<?xpacket")


def test_sidecars_of_names_that_differ_only_in_case_or_accents_form_do_not_collide(tagged):
    names = ["IMG_1.JPG", "img_1.jpg", "caf\u00e9.jpg", "cafe\u0301.jpg"]
    results = [dataclasses.replace(tagged[0], name=name) for name in names]
    with zipfile.ZipFile(io.BytesIO(as_sidecars(results))) as archive:
        assert archive.namelist() == [
            "IMG_1.JPG.xmp", "2-img_1.jpg.xmp", "caf\u00e9.jpg.xmp", "2-cafe\u0301.jpg.xmp",
        ]  # fmt: skip


def test_the_csv_file_that_is_saved_is_utf_8_for_excel_too(tagged, tmp_path):
    assert save(tagged, tmp_path).csv.read_bytes().startswith(b"\xef\xbb\xbfpath,")


def test_files_are_only_saved_where_there_is_something_to_put_into_them(tagged, tmp_path):
    assert all(file.stat().st_size for file in save(tagged, tmp_path))
    assert save([], tmp_path) == (None, None, None, None)
    unreadable = save([tagged[1]], tmp_path)
    assert (unreadable.csv.name, unreadable.jsonl.name) == ("landmarks.csv", "landmarks.jsonl")
    assert unreadable[2:] == (None, None)

from types import SimpleNamespace

import pytest
from helpers.pages import Reader

from train.draw.output import Table, write_page

HOSTILE = "<script>alert('x')</script> & \"quotes\" \x1b[31m \udce9"
SHOWN = "<script>alert('x')</script> & \"quotes\" \ufffd[31m \ufffd"


def write(folder, **content) -> Reader:
    """The page of an evaluation, as a browser reads it."""
    content = {"title": "Title", "summary": "A sentence.", "tables": [], "confused": [], "mistakes": []} | content
    write_page(folder / "index.html", "evaluation.html.j2", **content)
    return Reader((folder / "index.html").read_text(encoding="utf-8"))


def test_a_page_links_to_its_sections_and_shows_what_it_is_given(tmp_path):
    rows = [["Eiffel Tower", 1200, "1,234", ""], ["Big Ben", "93.1%", -0.5, "a"]]
    mistake = SimpleNamespace(picture="a b/c:d.png", caption="Big Ben, named Eiffel Tower", path="big ben.jpg")
    page = write(tmp_path, tables=[Table("Classes", ["class", "n", "m", ""], rows)], mistakes=[mistake])
    headings = ["Classes", "Confidence", "Most confused", "Most confident mistakes", "Confusion matrix"]
    words = ["A sentence.", "Eiffel Tower", "93.1%", "big ben.jpg", "The same as CSV"]
    assert page.text.split().count("Title") == 2
    assert all(page.text.count(heading) >= 2 for heading in headings)
    assert all(word in page.text for word in words)
    assert ("img", {"src": "./a%20b/c%3Ad.png", "alt": mistake.caption}) in page.tags
    links = [attributes["href"] for tag, attributes in page.tags if tag == "a"]
    assert links == ["#s1", "#s2", "#s3", "#s4", "#s5", "./confusion.csv"]
    assert [attributes["id"] for tag, attributes in page.tags if tag == "h2"] == ["s1", "s2", "s3", "s4", "s5"]
    header = [attributes.get("class") for tag, attributes in page.tags if tag == "th"]
    cells = [attributes.get("class") for tag, attributes in page.tags if tag == "td"]
    assert header == [None, "number", "number", None]
    assert cells == [None, "number", "number", None] * 2
    assert "color-scheme: light dark" in page.text
    assert [path.name for path in tmp_path.iterdir()] == ["index.html"]


def test_text_from_strangers_is_shown_not_executed(tmp_path):
    photo = SimpleNamespace(picture='x" onerror="alert(1)\udce9.png', caption=HOSTILE, path='" onerror="alert(1)')
    tables = [Table(HOSTILE, [HOSTILE], [[HOSTILE]])]
    page = write(tmp_path, title=HOSTILE, summary=HOSTILE, tables=tables, confused=[photo])
    assert "script" not in {tag for tag, _ in page.tags}
    assert not any("onerror" in attributes for _, attributes in page.tags)
    assert page.text.count(SHOWN) == 8  # title twice, summary, heading, link to it, header, cell, caption
    image = next(attributes for tag, attributes in page.tags if tag == "img" and "onerror" in attributes["src"])
    assert image["src"].endswith("%E9.png")
    assert image["alt"] == SHOWN


def test_a_path_is_never_taken_for_an_address(tmp_path):
    photo = SimpleNamespace(picture="javascript:alert(1)", caption="", path="")
    page = write(tmp_path, mistakes=[photo])
    assert ("img", {"src": "./javascript%3Aalert%281%29", "alt": ""}) in page.tags


def test_an_empty_table_is_just_a_header(tmp_path):
    page = write(tmp_path, tables=[Table("t", ["a", "b"], [])])
    assert [tag for tag, _ in page.tags if tag in ("th", "td")] == ["th", "th"]


def test_a_row_of_another_width_is_refused():
    with pytest.raises(ValueError, match="needs 2 cells"):
        Table("t", ["a", "b"], [["one"]])

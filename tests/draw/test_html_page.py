import pytest
from helpers.pages import Reader

from train.draw.html_page import HtmlPage

HOSTILE = "<script>alert('x')</script> & \"quotes\" \x1b[31m \udce9"


def read(page: HtmlPage, folder) -> Reader:
    page.write(folder / "index.html")
    return Reader((folder / "index.html").read_text(encoding="utf-8"))


def test_a_page_has_what_was_put_in_in_order(tmp_path):
    page = HtmlPage("Title")
    page.add_heading("First")
    page.add_text("A sentence.")
    page.add_table(["class", "photos"], [["Eiffel Tower", 1200], ["Big Ben", "93.1 %"]])
    page.add_heading("Second")
    page.add_picture("a b/c:d.png", "bars", "The caption.")
    page.add_link("exclude.txt", "the list")
    seen = read(page, tmp_path)
    words = ["Title", "First", "A sentence.", "class", "Eiffel Tower", "1200", "Second", "The caption.", "the list"]
    places = [seen.text.rindex(word) for word in words]
    assert places == sorted(places)
    assert ("img", {"src": "./a%20b/c%3Ad.png", "alt": "bars"}) in seen.tags
    assert [attributes["href"] for tag, attributes in seen.tags if tag == "a"] == ["#s1", "#s2", "./exclude.txt"]
    assert [attributes["id"] for tag, attributes in seen.tags if tag == "h2"] == ["s1", "s2"]
    assert [attributes.get("class") for tag, attributes in seen.tags if tag == "td"] == [None, "number", None, "number"]
    assert "color-scheme: light dark" in seen.text
    assert [path.name for path in tmp_path.iterdir()] == ["index.html"]


def test_strangers_texts_are_shown_not_obeyed(tmp_path):
    page = HtmlPage(HOSTILE)
    page.add_heading(HOSTILE)
    page.add_text(HOSTILE)
    page.add_table([HOSTILE], [[HOSTILE]])
    page.add_picture('x" onerror="alert(1)\udce9.png', '" onerror="alert(1)', HOSTILE)
    page.add_link("javascript:alert(1)", HOSTILE)
    seen = read(page, tmp_path)
    tags = {tag for tag, _ in seen.tags}
    assert "script" not in tags
    assert not any("onerror" in attributes for _, attributes in seen.tags)
    assert seen.text.count("<script>alert('x')</script> & \"quotes\" \ufffd[31m \ufffd") == 8
    assert next(a["src"] for tag, a in seen.tags if tag == "img").endswith("%E9.png")
    assert next(a["href"] for tag, a in seen.tags if tag == "a") == "./javascript%3Aalert%281%29"


def test_a_row_of_another_width_is_refused():
    with pytest.raises(ValueError, match="zip"):
        HtmlPage("t").add_table(["a", "b"], [["one"]])


def test_an_empty_table_is_a_header_alone(tmp_path):
    page = HtmlPage("t")
    page.add_table(["a", "b"], [])
    assert [tag for tag, _ in read(page, tmp_path).tags if tag in ("th", "td")] == ["th", "th"]

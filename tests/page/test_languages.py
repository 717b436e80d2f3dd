"""The page's texts are translated, as far as a program can tell, and numbers are written as each language does."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from string import Formatter

import pytest
from babel.messages.extract import extract_from_file
from hypothesis import given
from hypothesis import strategies as st

from landmark_models import page, text
from landmark_models.page import languages
from landmark_models.page.languages import LANGUAGES, browser_translations, catalog, fixed, in_language

FOLDER = Path(page.__file__).parent
TRANSLATED = [code for code in LANGUAGES if code != "en"]
Message = str | tuple[str, str]  # the second form of a plural


def marked_in(file: Path) -> Iterator[Message]:
    """The texts that a module of the page marks for translation."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    constants = {
        name.id: value
        for node in tree.body
        if isinstance(node, ast.Assign)
        for name, value in zip(parts(node.targets[0]), parts(node.value), strict=False)
        if isinstance(name, ast.Name)
    }
    for call in ast.walk(tree):
        if not isinstance(call, ast.Call):
            continue
        name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
        count = {"say": 1, "fixed": 1, "deferred": 1, "plural": 2}.get(name, 0)
        texts = [constants.get(getattr(argument, "id", ""), argument) for argument in call.args[:count]]
        if texts and all(isinstance(argument, ast.Constant) for argument in texts):
            yield texts[0].value if count == 1 else (texts[0].value, texts[1].value)


def parts(node: ast.expr) -> list[ast.expr]:
    return node.elts if isinstance(node, ast.Tuple) else [node]


def all_marked() -> dict[Message, str]:
    """Each marked text of the page, with the file that has it."""
    found = {message: file.name for file in sorted(FOLDER.glob("*.py")) for message in marked_in(file)}
    for file in sorted(FOLDER.glob("assets/*.html")):
        for _, message, *_ in extract_from_file(
            "jinja2.ext.babel_extract", file, keywords={"_": None, "plural": (1, 2)}
        ):
            found[message] = file.name
    return found


MARKED = all_marked()


def names_in(form: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(form) if name}


@pytest.mark.parametrize("code", TRANSLATED)
def test_every_text_is_translated_and_nothing_else(code):
    translated = {message.id for message in catalog(code) if message.id and all(forms(message)) and not message.fuzzy}
    missing = {message: file for message, file in MARKED.items() if message not in translated}
    assert not missing, f"{code}.po lacks translations"
    assert not translated - MARKED.keys(), f"{code}.po has translations that the page doesn't use"


def forms(message) -> list[str]:
    """The translations of a message, one for each plural form."""
    return [message.string] if isinstance(message.string, str) else list(message.string)


@pytest.mark.parametrize("code", TRANSLATED)
def test_translations_keep_names_in_braces_markup_and_line_breaks(code):
    for message in catalog(code):
        if not message.id:
            continue
        english = message.id if isinstance(message.id, str) else message.id[1]
        for form in forms(message):
            assert names_in(form) == names_in(english), form
            for kept in (r"<[^>]+>", r"\n", r"^#+ ", r"\*\*", r"`[^`]*`"):
                assert sorted(re.findall(kept, form)) == sorted(re.findall(kept, english)), form
            assert form == form.strip() or english != english.strip(), form


@pytest.mark.parametrize("code", TRANSLATED)
def test_a_language_has_all_its_plural_forms(code):
    for message in catalog(code):
        if isinstance(message.id, tuple):
            assert len(forms(message)) == catalog(code).num_plurals


def test_hindi_is_written_in_devanagari():
    for message in catalog("hi"):
        for form in forms(message) if message.id else []:
            words = re.sub(r"\{\w+\}|<[^>]+>|`[^`]*`", "", form)
            assert re.search("[\u0900-\u097f]", words) or not re.search("[a-z]{3}", words), form


def test_texts_that_the_browser_translates_have_no_braces():
    """Gradio finds the end of the text in what it sends to the browser by the first closing brace."""
    for file in FOLDER.glob("*.py"):
        for call in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "fixed":
                assert not any(isinstance(a, ast.Constant) and "}" in a.value for a in call.args), file.name


def test_a_text_is_said_in_a_language(monkeypatch, tmp_path):
    (tmp_path / "translations").mkdir()
    (tmp_path / "translations" / "fr.po").write_text(
        'msgid ""\nmsgstr "Plural-Forms: nplurals=2; plural=(n > 1);\\n"\n\n'
        'msgid "Photo of {name}"\nmsgstr "Photo : {name}"\n\n'
        'msgid "{count} photo"\nmsgid_plural "{count} photos"\n'
        'msgstr[0] "{count} cliché"\nmsgstr[1] "{count} clichés"\n',
        encoding="utf-8",
    )
    monkeypatch.setattr(languages, "files", lambda _: tmp_path)
    say = languages.Language("fr")
    assert say("Photo of {name}", name="{braces} <b>") == "Photo : {braces} <b>"
    assert say("Not translated, {name}", name="x") == "Not translated, x"
    assert say("A text with {braces}") == "A text with {braces}"
    assert [say.plural("{count} photo", "{count} photos", n) for n in (0, 1, 2)] == [
        "0 cliché",
        "1 cliché",
        "2 clichés",
    ]
    assert say.plural("{count} photo", "{count} photos", 1200) == "1\u202f200 clichés"


@pytest.mark.parametrize(
    ("code", "number", "share", "rounded"),
    [
        ("en", "1,234,567.5", "97.4%", ">99%"),
        ("de", "1.234.567,5", "97,4\xa0%", ">99\xa0%"),
        ("es", "1.234.567,5", "97,4\xa0%", ">99\xa0%"),
        ("fr", "1\u202f234\u202f567,5", "97,4\xa0%", ">99\xa0%"),
        ("hi", "12,34,567.5", "97.4%", ">99%"),
        ("it", "1,234,567.5", "97.4%", ">99%"),
        (None, "1,234,567.5", "97.4%", ">99%"),
    ],
)
def test_numbers_are_written_as_in_the_language(code, number, share, rounded):
    say = in_language(code)
    assert say.number(1234567.5) == number
    assert say.percent(0.974, 1) == share
    assert say.percent(0.9999) == rounded


@given(st.floats(0, 1), st.integers(0, 2))
def test_shares_are_the_same_in_every_language(share, digits):
    english = text.percent(share, digits)
    assert in_language("en").percent(share, digits) == english
    for code in TRANSLATED:
        assert in_language(code).percent(share, digits).replace(",", ".").replace("\xa0", "") == english


def test_the_browser_gets_every_translation():
    sent = browser_translations().translations
    assert set(sent) == set(LANGUAGES)
    texts = {message for message in MARKED if isinstance(message, str)}
    for code in LANGUAGES:
        assert texts <= sent[code].keys() or code == "en"
        assert all(sent[code].values())
    assert fixed("Photo").key == "Photo"

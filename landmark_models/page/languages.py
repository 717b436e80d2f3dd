"""The languages of the page: its texts, numbers, and which of them a browser gets.

say = in_language("fr")
say("Not sure")  # 'Pas sûr'
say("{count} photos", count=say.number(1200))  # '1 200 photos'

The English texts stand in the code, and are marked by `say(...)`, `fixed(...)` or `_(...)` in templates. Translations
are the `.po` files in `translations`, a file a language.
"""

import functools
import io
import re
from gettext import GNUTranslations
from importlib.resources import files

import gradio as gr
from babel import Locale
from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.numbers import format_decimal, format_percent
from gradio.i18n import I18nData

ENGLISH = "en"
LANGUAGES = (ENGLISH, "de", "es", "fr", "hi")


class Language:
    """Writes texts, numbers and shares in one language; `code` is its ISO 639-1 code."""

    def __init__(self, code: str):
        self.code = code
        self._locale = Locale(code)
        content = io.BytesIO()
        write_mo(content, catalog(code))
        content.seek(0)
        self._translations = GNUTranslations(content)

    def __call__(self, text: str, /, **values: object) -> str:
        """A text in this language; `values` replace the names in braces."""
        translated = self._translations.gettext(text)
        return translated.format(**values) if values else translated

    def plural(self, one: str, many: str, count: int, /, **values: object) -> str:
        """The text for this number of things; `{count}` in it is the number."""
        translated = self._translations.ngettext(one, many, count)
        return translated.format(count=self.number(count), **values)

    def number(self, value: float) -> str:
        """A number with the separators of this language."""
        return str(format_decimal(value, locale=self._locale))

    def percent(self, share: float, digits: int = 0) -> str:
        """A share from 0 to 1 in per cent; 100% and 0% are only ever exact, else it is >99% or <1%."""
        step = 10.0 ** -(digits + 2)
        rounded = round(share, digits + 2)
        sign, shown = "", share
        if share < 1 and rounded >= 1:
            sign, shown = ">", 1 - step
        elif share > 0 and rounded <= 0:
            sign, shown = "<", step
        pattern = re.sub(
            r"0(?=\s*%)", f"0.{'0' * digits}" if digits else "0", self._locale.percent_formats[None].pattern
        )
        return sign + str(format_percent(shown, pattern, locale=self._locale))


def catalog(code: str) -> Catalog:
    """The translations into a language; none for English."""
    if code == ENGLISH:
        return Catalog(locale=code)
    with files(__package__).joinpath("translations", f"{code}.po").open("rb") as file:
        return read_po(file, locale=code)


@functools.cache
def in_language(code: str | None) -> Language:
    """A language by its code; English for any that the page doesn't have."""
    return Language(code if code in LANGUAGES else ENGLISH)


def fixed(text: str) -> I18nData:
    """A text of a component that never changes, such as a label; the browser puts in its translation."""
    return gr.I18n()(text)


def browser_translations() -> gr.I18n:
    """All translations, for the browser, to be given to `launch`."""
    texts: dict[str, dict[str, str]] = {code: {} for code in LANGUAGES}
    for code in LANGUAGES:
        for message in catalog(code):
            if message.id and isinstance(message.id, str):
                texts[code][message.id] = str(message.string)
                texts[ENGLISH][message.id] = message.id
    return gr.I18n(**texts)

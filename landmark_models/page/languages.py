"""The languages of the page: its texts, numbers, and which of them a browser gets.

say = in_language("fr")
say("Not sure")  # 'Pas sûr'
say("{count} photos", count=say.number(1200))  # '1 200 photos'

The English texts stand in the code, and are marked by `say(...)`, `fixed(...)`, `deferred(...)`, or `_(...)` in
templates. Translations are the `.po` files in `translations`, a file a language.
"""

import copy
import functools
import io
from decimal import Decimal
from gettext import GNUTranslations
from importlib.resources import files

import gradio as gr
from babel import Locale
from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.numbers import format_decimal
from gradio.i18n import I18nData

from landmark_models.text import percent

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
        english = percent(share, digits)
        sign = english[0] if english[0] in "<>" else ""
        pattern = copy.copy(self._locale.percent_formats[None])
        pattern.frac_prec = digits, digits
        return sign + str(pattern.apply(Decimal(english.strip("<>%")) / 100, self._locale))


def catalog(code: str) -> Catalog:
    """The translations into a language; none for English."""
    if code == ENGLISH:
        return Catalog(locale=code)
    with files(__package__).joinpath("translations", f"{code}.po").open("rb") as file:
        return read_po(file, locale=code)


def in_language(code: object) -> Language:
    """A language by its code, which a visitor may have made up; English for any that the page doesn't have."""
    return _language(code if isinstance(code, str) and code in LANGUAGES else ENGLISH)


@functools.cache
def _language(code: str) -> Language:
    return Language(code)


def fixed(text: str) -> I18nData:
    """A text of a component that never changes, such as a label; the browser puts in its translation."""
    return I18nData(text)


def deferred(text: str) -> str:
    """A text that is marked here, and translated by `say` where it is shown."""
    return text


# What gradio shows on this page but translates into none or not all of these languages, by its own key.
_GRADIO_TEXTS = {
    "errors.use_via_api_or_mcp": fixed("Use via API or MCP"),
    "common.download_all": fixed("Download all"),
    "common.upload": fixed("Upload"),
    "common.complete": fixed("Done"),
}


def browser_translations() -> gr.I18n:
    """All translations, for the browser, to be given to `launch`."""
    texts: dict[str, dict[str, str]] = {}
    for code in LANGUAGES:
        say = in_language(code)
        messages = [message.id for message in catalog(code) if message.id and isinstance(message.id, str)]
        texts[code] = {text: say(text) for text in messages}
        texts[code] |= {key: say(text.key) for key, text in _GRADIO_TEXTS.items()}
    return gr.I18n(**texts)

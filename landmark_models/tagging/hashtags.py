"""A name as one word: a hashtag without the hash."""

import re
import unicodedata

_JOINERS = "\u200c\u200d"  # zero-width, which isn't nothing in Arabic and Indic scripts
# Apostrophes and what stands for them (Hawaiian, Arabic, Armenian and Hebrew), the Catalan point, invisible characters.
_VANISHING = re.compile(
    "['`\u00b4\u00b7\u02bb-\u02bf\u055a\u05f3\u05f4\u2018\u2019\u2032\uff07\u00ad\u200e\u200f\u2060\ufeff]"
)


def hashtag(label: str) -> str:
    """A label as one word of letters, their marks and digits, e.g. "StPetersBasilica".

    The marks of every script belong to the word, and so do the joiners between letters that Persian and Sinhala need.
    An apostrophe goes without ending the word that it is in.
    """
    text = _VANISHING.sub("", unicodedata.normalize("NFC", label))
    words = [""]
    for character in text:
        if character.isalnum():
            words[-1] += character if words[-1] else character.title()  # upper() gives Georgian the wrong capitals
        elif words[-1] and (character in _JOINERS or unicodedata.category(character).startswith("M")):
            words[-1] += character
        else:
            words.append("")
    return "".join(word.rstrip(_JOINERS) for word in words)

"""What the gazetteer knows about a landmark beyond its label: its name, place and kind, and how to tag it.

find("qutub minar").name  # 'Qutb Minar'
find("Eiffel Tower", "fr").name  # 'Tour Eiffel'
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

from pydantic import Field, TypeAdapter

from landmark_models.tagging.hashtags import hashtag
from landmark_models.teaching import Facts
from landmark_models.text import searchable


@dataclass(frozen=True)
class Landmark:
    """An entry of the gazetteer.

    `label` is the models' label, `name` the proper name, `city` and `region` where it is, at least one of them not
    empty, `country` an ISO 3166-1 code, `country_name` its name or, on a border, that of each country, `kind` a common
    noun, `about` a sentence, `hashtags` words without the hash, the most specific first. Hashtags are English in every
    language, and aliases are known in English only. Of a landmark that was taught, all but the names may be empty.
    `latitude` and `longitude` are a point on the landmark in WGS 84 degrees; they and the `wikidata` id are None where
    they aren't known for certain.
    `reach` is how far from there, in km, a photo of it may well be taken, if that is more than a few: for a park.
    """

    label: str
    name: str
    aliases: tuple[str, ...]
    country: str
    country_name: str
    kind: str
    about: str
    hashtags: tuple[str, ...]
    city: str = ""
    region: str = ""
    latitude: Annotated[float | None, Field(validation_alias="lat")] = None
    longitude: Annotated[float | None, Field(validation_alias="lon")] = None
    wikidata: str | None = None
    reach: float = 0.0

    @property
    def place(self) -> str:
        """City and region, e.g. "Agra, Uttar Pradesh"."""
        return ", ".join(part for part in (self.city, self.region) if part)

    @property
    def address(self) -> str:
        """Its place and country, e.g. "Agra, Uttar Pradesh, India"."""
        return ", ".join(part for part in (self.place, self.country_name) if part)

    @property
    def heading(self) -> str:
        """Its kind and address, e.g. "Tomb · Agra, Uttar Pradesh, India"."""
        return " · ".join(part for part in (f"{self.kind[:1].upper()}{self.kind[1:]}", self.address) if part)

    @property
    def position(self) -> tuple[float, float] | None:
        """Latitude and longitude, or None."""
        return None if self.latitude is None or self.longitude is None else (self.latitude, self.longitude)

    @property
    def map_url(self) -> str:
        """Its location on OpenStreetMap; a search if its coordinates aren't known."""
        if position := self.position:
            return "https://www.openstreetmap.org/?mlat={0}&mlon={1}#map=16/{0}/{1}".format(*position)
        query = ", ".join(part for part in (self.name, self.place) if part)
        return f"https://www.openstreetmap.org/search?query={quote(query)}"


def find(label: str, language: str = "en") -> Landmark | None:
    """The entry for a model's label, however it is spelt, in a language; None if the gazetteer has none.

    What isn't translated is English; so is everything in a language without translations.
    """
    return _entries(language if language in _translations() else "en").get(_key(label))


def taught_landmark(label: str, facts: Facts) -> Landmark:
    """The entry for a landmark that was taught, from what its teacher said of it."""
    countries, codes = _countries()
    code = facts.country if facts.country in countries else codes.get(searchable(facts.country), "")
    country = countries.get(code, facts.country)
    words = (hashtag(text) for text in (facts.name or label, facts.place, country))
    return Landmark(
        label=label,
        name=facts.name or label,
        aliases=(),
        country=code,
        country_name=country,
        kind="",
        about="",
        hashtags=facts.tags or tuple(filter(None, words)),
        city=facts.place,
        latitude=facts.latitude,
        longitude=facts.longitude,
    )


def search(
    labels: Iterable[str], query: str = "", language: str = "en", taught: Mapping[str, Facts] | None = None
) -> list[dict[str, str]]:
    """What is known about labels, ordered by name; with a query, only those with it in a name, the kind or the place.

    The query may be English in every language; case and accents don't matter. `taught` is what teachers said of labels.

    Returns:
        `label`, `name`, `kind`, `place`, `country` and `wikidata` for each; what isn't known is empty.
    """
    query, taught = searchable(query), taught or {}
    rows = [_row(label, entry_of(label, taught.get(label), language)) for label in labels]
    return sorted((row for row in rows if query in _searched(row)), key=lambda row: searchable(row["name"]))


def entry_of(label: str, facts: Facts | None, language: str = "en") -> Landmark | None:
    """What is known of a label: what its teacher said of it, if anything, or else what the gazetteer has."""
    return taught_landmark(label, facts) if facts and facts.stored() else find(label, language)


def named(labels: Iterable[str], name: str, language: str = "en") -> str | None:
    """The one of these labels that goes by a name: in this language, else in any, as a label, or as an alias.

    One with just this spelling comes first, but case, accents and spaces don't matter.
    """
    labels = list(labels)
    names = [
        (entry.name, label)
        for code in (language, "en", *_translations())
        for label in labels
        if (entry := find(label, code))
    ]
    names += [(label, label) for label in labels]
    names += [(alias, label) for label in labels if (entry := find(label)) for alias in entry.aliases]
    names.reverse()  # the first stays in a mapping
    return dict(names).get(name.strip()) or {_key(text): label for text, label in names if _key(text)}.get(_key(name))


def _row(label: str, entry: Landmark | None) -> dict[str, str]:
    row = {"label": label, "name": label, "kind": "", "place": "", "country": "", "wikidata": ""}
    if entry:
        row |= {"name": entry.name, "kind": entry.kind, "place": entry.place, "country": entry.country_name}
        row["wikidata"] = entry.wikidata or ""
    return row


def _searched(row: dict[str, str]) -> str:
    """The text of a row that a query is looked up in: what it shows, the same in English, and the aliases."""
    english = find(row["label"])
    texts = [*row.values(), *_row(row["label"], english).values(), *(english.aliases if english else ())]
    return searchable(" ".join(texts))


@cache
def _entries(language: str) -> dict[str, Landmark]:
    content = _read("gazetteer.json")
    landmarks = TypeAdapter(list[Landmark]).validate_python(
        {"country_name": content["countries"][entry["country"]], **entry, "label": label}
        for label, entry in content["landmarks"].items()
    )
    if language != "en":
        words = _read(_translations()[language])
        landmarks = [_translated(landmark, words) for landmark in landmarks]
    return {_key(landmark.label): landmark for landmark in landmarks}


def _translated(landmark: Landmark, words: dict[str, dict[str, Any]]) -> Landmark:
    texts = words["landmarks"].get(landmark.label, {})
    return replace(
        landmark,
        name=texts.get("name", landmark.name),
        aliases=(),
        about=texts.get("about", landmark.about),
        kind=words["kinds"].get(landmark.kind, landmark.kind),
        city=words["places"].get(landmark.city, landmark.city),
        region=words["places"].get(landmark.region, landmark.region),
        country_name=texts.get("country_name") or words["countries"].get(landmark.country, landmark.country_name),
    )


@cache
def _countries() -> tuple[dict[str, str], dict[str, str]]:
    """The names of countries by code, and the codes by name."""
    names: dict[str, str] = _read("gazetteer.json")["countries"]
    return names, {searchable(name): code for code, name in names.items()}


@cache
def _translations() -> dict[str, Path]:
    """The file of each language but English."""
    return {file.stem: file for file in Path(__file__).with_name("translations").glob("*.json")}


def _read(file: str | Path) -> dict[str, Any]:
    return json.loads(Path(__file__).parent.joinpath(file).read_text(encoding="utf-8"))


def _key(label: str) -> str:
    """A label without what varies in spelling: case, accents, spaces, underscores, apostrophes."""
    return "".join(letter for letter in searchable(label) if letter.isalnum())

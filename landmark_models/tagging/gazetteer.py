"""What the gazetteer knows about a landmark beyond its label: its name, place and kind, and how to tag it.

find("qutub minar").name  # 'Qutb Minar'
"""

import json
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

from pydantic import Field, TypeAdapter


@dataclass(frozen=True)
class Landmark:
    """An entry of the gazetteer.

    `label` is the models' label, `name` the proper English name, `city` and `region` where it is, at least one of them
    not empty, `country` an ISO 3166-1 code, `kind` a common noun, `about` a sentence, `hashtags` words without the
    hash, the most specific first.
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
    def position(self) -> tuple[float, float] | None:
        """Latitude and longitude, or None."""
        return None if self.latitude is None or self.longitude is None else (self.latitude, self.longitude)

    @property
    def map_url(self) -> str:
        """Its location on OpenStreetMap; a search if its coordinates aren't known."""
        if position := self.position:
            return "https://www.openstreetmap.org/?mlat={0}&mlon={1}#map=16/{0}/{1}".format(*position)
        return f"https://www.openstreetmap.org/search?query={quote(f'{self.name}, {self.place}')}"


@cache
def _entries() -> dict[str, Landmark]:
    content = json.loads(Path(__file__).with_name("gazetteer.json").read_text(encoding="utf-8"))
    entries = [
        {**entry, "label": label, "country_name": content["countries"][entry["country"]]}
        for label, entry in content["landmarks"].items()
    ]
    return {_key(landmark.label): landmark for landmark in TypeAdapter(list[Landmark]).validate_python(entries)}


def _key(label: str) -> str:
    """A label without what varies in spelling: case, accents, spaces, underscores, apostrophes."""
    return "".join(letter for letter in unicodedata.normalize("NFKD", label).casefold() if letter.isalnum())


def find(label: str) -> Landmark | None:
    """The entry for a model's label, however it is spelt; None if the gazetteer has none."""
    return _entries().get(_key(label))


def search(labels: Iterable[str], query: str = "") -> list[dict[str, str]]:
    """What is known about labels, ordered by name; with a query, only those with it in a name, the kind or the place.

    Returns:
        `label`, `name`, `kind`, `place`, `country` and `wikidata` for each; what isn't known is empty.
    """
    rows = []
    for label in labels:
        row = {"label": label, "name": label, "kind": "", "place": "", "country": "", "wikidata": ""}
        if entry := find(label):
            row |= {"name": entry.name, "kind": entry.kind, "place": entry.place, "country": entry.country_name}
            row["wikidata"] = entry.wikidata or ""
        if query.casefold() in " ".join([*row.values(), *(entry.aliases if entry else ())]).casefold():
            rows.append(row)
    return sorted(rows, key=lambda row: row["name"].casefold())

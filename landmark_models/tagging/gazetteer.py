"""What is known of a landmark beyond its label: its name, where it is, what it is, and what to tag it with.

find("qutub minar").name  # 'Qutb Minar'
"""

import json
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

__all__ = ["Landmark", "find", "landmarks", "search"]

_FILE = Path(__file__).with_name("gazetteer.json")


@dataclass(frozen=True)
class Landmark:
    """An entry of the gazetteer.

    `label` is the models' label, `name` the proper English name, `city` and `region` where it is, at least one of them
    not empty, `country` an ISO 3166-1 code, `kind` a common noun, `about` a sentence, `hashtags` words without the
    hash, the most specific first.
    `latitude` and `longitude` are a point on the landmark, WGS 84 degrees; they and the `wikidata` id are None where
    they are not known for certain.
    `reach` is how far from there, in km, a photo of it may well be taken, where that is more than a few: of a park.
    """

    label: str
    name: str
    aliases: tuple[str, ...]
    city: str
    region: str
    country: str
    country_name: str
    kind: str
    about: str
    hashtags: tuple[str, ...]
    latitude: float | None = None
    longitude: float | None = None
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
        """Its place on OpenStreetMap; a search where its coordinates are not known."""
        if position := self.position:
            return "https://www.openstreetmap.org/?mlat={0}&mlon={1}#map=16/{0}/{1}".format(*position)
        return f"https://www.openstreetmap.org/search?query={quote(f'{self.name}, {self.place}')}"


@cache
def _entries() -> dict[str, Landmark]:
    content = json.loads(_FILE.read_text(encoding="utf-8"))
    return {_key(label): _landmark(label, entry, content["countries"]) for label, entry in content["landmarks"].items()}


def _landmark(label: str, entry: dict[str, Any], countries: dict[str, str]) -> Landmark:
    return Landmark(
        label=label,
        name=entry["name"],
        aliases=tuple(entry["aliases"]),
        city=entry.get("city", ""),
        region=entry.get("region", ""),
        country=entry["country"],
        country_name=countries[entry["country"]],
        kind=entry["kind"],
        about=entry["about"],
        hashtags=tuple(entry["hashtags"]),
        latitude=entry.get("lat"),
        longitude=entry.get("lon"),
        wikidata=entry.get("wikidata"),
        reach=entry.get("reach", 0.0),
    )


def _key(label: str) -> str:
    """A label without what differs between spellings: case, accents, spaces, underscores, apostrophes."""
    return "".join(letter for letter in unicodedata.normalize("NFKD", label).casefold() if letter.isalnum())


def find(label: str) -> Landmark | None:
    """The entry for a model's label, however it is spelt; None for a landmark that the gazetteer does not know."""
    return _entries().get(_key(label))


def landmarks() -> list[Landmark]:
    """All entries."""
    return list(_entries().values())


def search(labels: Iterable[str], query: str = "") -> list[dict[str, str]]:
    """What is known of each label, ordered by name; with a query, of those whose names, kind or place hold it.

    Returns:
        For each `label`, `name`, `kind`, `place`, `country` and `wikidata`; empty texts for what is not known.
    """
    rows = []
    for label in labels:
        entry = find(label)
        row = {"label": label, "name": label, "kind": "", "place": "", "country": "", "wikidata": ""}
        if entry:
            row |= {"name": entry.name, "kind": entry.kind, "place": entry.place, "country": entry.country_name}
            row["wikidata"] = entry.wikidata or ""
        if query.casefold() in " ".join([*row.values(), *(entry.aliases if entry else ())]).casefold():
            rows.append(row)
    return sorted(rows, key=lambda row: row["name"].casefold())

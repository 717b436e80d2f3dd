"""XMP as lines of XML: elements, arrays, a landmark as a location."""

import re
from collections.abc import Sequence
from xml.sax.saxutils import escape, quoteattr

from landmark_models.tagging.gazetteer import Landmark

NAMESPACES = {
    "x": "adobe:ns:meta/",
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "dc": "http://purl.org/dc/elements/1.1/",
    "exif": "http://ns.adobe.com/exif/1.0/",
    "Iptc4xmpExt": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
    "digiKam": "http://www.digikam.org/ns/1.0/",
    "lr": "http://ns.adobe.com/lightroom/1.0/",
    "MicrosoftPhoto": "http://ns.microsoft.com/photo/1.0/",
    "mediapro": "http://ns.iview-multimedia.com/mediapro/1.0/",
    "landmarks": "urn:landmark-models:xmp:1.0/",
}


def qualified(name: str) -> str:
    """A name as ElementTree has it: "dc:subject" with the namespace instead of the prefix."""
    prefix, local = name.split(":")
    return f"{{{NAMESPACES[prefix]}}}{local}"


def escaped(text: str) -> str:
    """Text for an element."""
    return escape(text, {"\r": "&#13;"})  # otherwise read back as a line feed


def element_lines(name: str, lines: Sequence[str], attributes: str = "") -> list[str]:
    """The lines of an element with this content."""
    if len(lines) == 1 and not lines[0].startswith("<"):
        return [f"<{name}{attributes}>{lines[0]}</{name}>"]
    return [f"<{name}{attributes}>", *(f"  {line}" for line in lines), f"</{name}>"]


def array_lines(kind: str, texts: Sequence[str]) -> list[str]:
    """The lines of an XMP array; in an "Alt" the only text is that in the default language."""
    language = ' xml:lang="x-default"' if kind == "Alt" else ""
    return element_lines(
        f"rdf:{kind}", [line for text in texts for line in element_lines("rdf:li", [escaped(text)], language)]
    )


def bound(lines: list[str], prefixes: dict[str, str]) -> list[str]:
    """Lines of an element that declares the prefixes which aren't bound where it goes."""
    used = dict.fromkeys(re.findall(r"[<\s](\w+):\w", "\n".join(lines)))
    missing = [prefix for prefix in used if prefixes.get(prefix) != NAMESPACES.get(prefix, prefixes.get(prefix))]
    declared = "".join(f" xmlns:{prefix}={quoteattr(NAMESPACES[prefix])}" for prefix in missing)
    return [re.sub(r"^<[\w:]+", lambda tag: tag[0] + declared, lines[0]), *lines[1:]]


def location_lines(landmark: Landmark) -> tuple[list[str], list[str]]:
    """The lines of an array's item with a landmark as an IPTC location, and the texts in them."""
    entity = f"http://www.wikidata.org/entity/{landmark.wikidata}" if landmark.wikidata else ""
    texts = {
        "City": landmark.city, "ProvinceState": landmark.region,
        "CountryName": landmark.country_name, "CountryCode": landmark.country,
    }  # fmt: skip
    position = coordinates(landmark.position) if landmark.position else {}
    values = {f"Iptc4xmpExt:{name}": text for name, text in texts.items() if text} | position
    lines = element_lines("Iptc4xmpExt:LocationName", array_lines("Alt", [landmark.name]))
    for name, text in values.items():
        lines += element_lines(name, [escaped(text)])
    if entity:
        lines += element_lines("Iptc4xmpExt:LocationId", array_lines("Bag", [entity]))
    leaves = [landmark.name, *values.values(), *([entity] if entity else [])]
    return element_lines("rdf:li", lines, ' rdf:parseType="Resource"'), leaves


def coordinates(position: tuple[float, float]) -> dict[str, str]:
    """GPS properties in XMP's notation: degrees, minutes with a decimal fraction, and the direction."""
    values = {}
    for name, value, directions in zip(("Latitude", "Longitude"), position, ("NS", "EW"), strict=True):
        degrees, minutes = divmod(round(abs(value) * 60, 6), 60)
        values[f"exif:GPS{name}"] = f"{degrees:.0f},{minutes:.6f}{directions[value < 0]}"
    return values

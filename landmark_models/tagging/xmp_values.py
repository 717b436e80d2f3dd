"""The values of XMP properties, as elements or attributes, compared by the texts in them."""

from collections.abc import Sequence
from xml.etree.ElementTree import Element

from landmark_models.tagging.xmp_lines import NAMESPACES, qualified

_SYNTAX = (f"{{{NAMESPACES['rdf']}}}", "{http://www.w3.org/XML/1998/namespace}")  # attributes that aren't values


def array_in(value: Element | str | None) -> Element | None:
    """The array that a property's element holds."""
    names = [qualified(f"rdf:{kind}") for kind in ("Bag", "Seq", "Alt")]
    return next((child for child in value if child.tag in names), None) if isinstance(value, Element) else None


def is_plain(element: Element) -> bool:
    """Whether an element holds at most text: neither elements nor attributes of RDF, which make it a structure."""
    return not len(element) and not any(name.startswith(_SYNTAX[0]) or "}" not in name for name in element.attrib)


def leaves_of(value: Element | str | None) -> list[str]:
    """The texts in a property or a part of it, at any depth, as elements or attributes; blank ones don't count."""
    if not isinstance(value, Element):
        return [value.strip()] if value and value.strip() else []
    texts: list[str] = []
    for element in value.iter():
        texts += [text for name, text in element.attrib.items() if not name.startswith(_SYNTAX)]
        texts.append(element.text or "")
    return [text.strip() for text in texts if text.strip()]


def texts_of(array: Element, name: str) -> set[str]:
    """The texts of the elements and attributes of this name in an array."""
    found = {text for element in array.iter(name) for text in leaves_of(element)}
    return found | {element.attrib[name].strip() for element in array.iter() if name in element.attrib}


def form_of(leaves: Sequence[str]) -> str:
    """Texts as `landmarks:Added` lists them, in an order that no program changes."""
    return " | ".join(sorted(text.strip() for text in leaves))

"""XML whose elements know where they stand in its text, so that an edit leaves everything else as it is, to the letter.

Parsers that write a document anew lose prefixes (`xml.etree`), quotes, line ends and the packet's padding (lxml, too);
readers of XMP look for prefixes, and people for their own files.
"""

import codecs
import re
from typing import NamedTuple
from xml.etree.ElementTree import Element, ParseError

from landmark_models.errors import LandmarkError

_TOKEN = re.compile(
    r"<!--.*?-->|<\?.*?\?>|<!\[CDATA\[.*?\]\]>|(?P<close></[^>]*>)"
    r"""|<[^\s/>]+(?P<attributes>(?:\s+[^\s=]+\s*=\s*(?:"[^"]*"|'[^']*'))*)\s*(?P<empty>/?)>""",
    re.DOTALL,
)
_ATTRIBUTE = re.compile(r"""\s+(?P<name>[^\s=]+)\s*=\s*(?P<value>"[^"]*"|'[^']*')""")
_DECLARED = re.compile(rb"""<\?xml\s[^>]*?encoding\s*=\s*["']([\w.-]+)""")

_MAX_TAGS = 200_000  # a crafted file of a few megabytes would take gigabytes and minutes


class Encoding(NamedTuple):
    """How a document's text is stored: its codec, and the bytes before the text."""

    codec: str
    mark: bytes

    @classmethod
    def of(cls, data: bytes) -> "Encoding":
        """The encoding that a document's byte order mark, its first bytes or its declaration give."""
        for mark, codec in (
            (codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"),
        ):  # fmt: skip
            if data.startswith(mark):
                return cls(codec, mark)
        for start, codec in ((b"<\0", "utf-16-le"), (b"\0<", "utf-16-be")):
            if data.startswith(start):
                return cls(codec, b"")
        declared = _DECLARED.match(data)
        return cls(declared[1].decode("ascii") if declared else "utf-8", b"")

    def decode(self, data: bytes) -> str:
        """The text of a document; a ValueError or LookupError says that it isn't in this encoding."""
        text = data.removeprefix(self.mark).decode(self.codec)
        if self.encode(text) != data:
            raise ValueError("it can't be encoded as it was")
        return text

    def encode(self, text: str) -> bytes:
        """The document with this text; characters that the codec lacks become references."""
        return self.mark + text.encode(self.codec, "xmlcharrefreplace")


class _Place(NamedTuple):
    """Where an element stands: its tags' first and last characters, and the prefixes that are bound in it."""

    start: int
    content: int  # after its first tag
    content_end: int  # before its last tag; an empty element's tag is both
    end: int
    prefixes: dict[str, str]


class XmlText:
    """An XML document, and edits to its text.

    Raises:
        LandmarkError: it isn't well-formed, or has a document type or millions of tags, which may be crafted to exhaust
            whatever reads it.
    """

    def __init__(self, text: str):
        import defusedxml.ElementTree
        from defusedxml.common import DefusedXmlException

        if text.count("<") > _MAX_TAGS:
            raise LandmarkError(f"it has more than {_MAX_TAGS:,} tags")
        self.text = text
        try:
            self.root: Element = defusedxml.ElementTree.fromstring(text, forbid_dtd=True)
        except (ParseError, DefusedXmlException, ValueError) as error:
            raise unreadable(error) from None
        self._line_end = "\r\n" if "\r\n" in text else "\n"
        self._places = dict(zip(self.root.iter(), _places(text), strict=True))
        self._edits: list[tuple[int, int, str]] = []

    def prefixes(self, element: Element) -> dict[str, str]:
        """The namespaces by prefix that are bound within an element."""
        return self._places[element].prefixes

    def append(self, parent: Element, lines: list[str]) -> None:
        """Insert lines behind the last child of an element, indented as that one is, or on its line if it isn't.

        Call it once for each element: what is added isn't there to append to yet.
        """
        place = self._places[parent]
        if len(parent):
            last = self._places[parent[-1]]
            indent, at = self._space_before(last.start), last.end
        else:
            indent, at = self._space_before(place.start), place.content
            indent += "  " if indent else ""
        indent = indent[indent.rfind("\n") :] if "\n" in indent else ""
        added = "".join(indent + line if indent else line.strip() for line in lines)
        if len(parent) or place.content_end < place.end:
            self._edits.append((at, at, added))
        else:
            self.replace_content(parent, added + (self._space_before(place.start) if indent else ""))

    def replace_content(self, element: Element, content: str) -> None:
        """Replace what is between an element's tags."""
        place = self._places[element]
        if place.content_end < place.end:
            self._edits.append((place.content, place.content_end, content))
        else:  # an empty element's only tag
            name = re.match(r"<([^\s/>]+)", self.text[place.start :])
            assert name is not None
            slash = self.text.rindex("/", place.start, place.end)
            self._edits.append((slash, place.end, f">{content}</{name[1]}>"))

    def remove(self, element: Element) -> None:
        """Remove an element and the space before it."""
        place = self._places[element]
        self._edits.append((place.start - len(self._space_before(place.start)), place.end, ""))

    def remove_attribute(self, element: Element, name: str) -> None:
        """Remove an attribute, named as in `element.attrib`."""
        place = self._places[element]
        for attribute in _ATTRIBUTE.finditer(self.text, place.start, place.content):
            prefix, _, local = attribute["name"].rpartition(":")
            if name == (f"{{{place.prefixes[prefix]}}}{local}" if prefix in place.prefixes and prefix else local):
                self._edits.append((*attribute.span(), ""))

    def edited(self) -> str:
        """The text with all edits, which must not overlap."""
        parts, end = [], 0
        for start, stop, new in sorted(self._edits, key=lambda edit: edit[:2]):
            parts += [self.text[end:start], new.replace("\r\n", "\n").replace("\n", self._line_end)]
            end = stop
        return "".join([*parts, self.text[end:]])

    def _space_before(self, position: int) -> str:
        before = self.text[max(position - 1000, 0) : position]
        return before[len(before.rstrip()) :]


def unreadable(error: Exception) -> LandmarkError:
    """What to say of a document that a parser has refused."""
    return LandmarkError(f"it isn't XML that can be read safely ({type(error).__name__})")


def _places(text: str) -> list[_Place]:
    """The places of a well-formed document's elements, in the order of their first tags."""
    places: list[_Place] = []
    open_: list[int] = []
    for token in _TOKEN.finditer(text):
        if token["close"]:
            index = open_.pop()
            places[index] = places[index]._replace(content_end=token.start(), end=token.end())
        elif token["attributes"] is not None:
            outer = places[open_[-1]].prefixes if open_ else {}
            bound = {
                attribute["name"][6:]: attribute["value"][1:-1]
                for attribute in _ATTRIBUTE.finditer(token["attributes"])
                if attribute["name"].startswith("xmlns:")
            }
            places.append(
                _Place(token.start(), token.end(), token.end(), token.end(), outer | bound if bound else outer)
            )
            if not token["empty"]:
                open_.append(len(places) - 1)
    return places

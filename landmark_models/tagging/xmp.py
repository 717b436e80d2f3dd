"""XMP sidecars (ISO 16684-1): keywords, a description and the landmark shown; new, or merged into existing ones.

What is added is also listed in a property of our own, `landmarks:Added`, so that it can be replaced or taken out again
when other programs have written the sidecar since. Whatever else a sidecar holds stays as it is, to the letter.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple
from xml.etree.ElementTree import Element
from xml.sax.saxutils import quoteattr

from landmark_models.errors import LandmarkError
from landmark_models.tagging.gazetteer import Landmark
from landmark_models.tagging.xml_text import Encoding, XmlText, unreadable
from landmark_models.tagging.xmp_lines import (
    NAMESPACES,
    array_lines,
    bound,
    coordinates,
    element_lines,
    escaped,
    location_lines,
    qualified,
)
from landmark_models.tagging.xmp_values import array_in, form_of, is_plain, leaves_of, texts_of

# Keywords in a hierarchy, and what separates its levels. digiKam and Immich read the first of these that there is, and
# dc:subject only if there is none.
_HIERARCHIES = {
    "digiKam:TagsList": "/", "MicrosoftPhoto:LastKeywordXMP": "/", "lr:hierarchicalSubject": "|",
    "mediapro:CatalogSets": "|",
}  # fmt: skip
_NEW = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
  <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"/>
</x:xmpmeta>
<?xpacket end="w"?>
"""


_ABOUT = (qualified("rdf:about"), "about")  # the second is of the first RDF


def sidecar(
    keywords: Sequence[str],
    description: str,
    landmark: Landmark | None = None,
    camera: tuple[float, float] | None = None,
    existing: bytes | None = None,
) -> str:
    """The text of a sidecar.

    Args:
        keywords: for `dc:subject`, and for the hierarchies of keywords that an existing sidecar has.
        description: for `dc:description`, in the default language.
        landmark: for `Iptc4xmpExt:LocationShown`.
        camera: latitude and longitude for `exif:GPSLatitude` and `exif:GPSLongitude`, WGS 84 degrees.
        existing: a sidecar to merge these into. What this function has added to it earlier is replaced. All else in it
            is kept: keywords and locations are added after its own, and a description or position of its own stays.

    Raises:
        LandmarkError: `existing` isn't XMP that can be read safely.
    """
    cleaned = Cleaned(_NEW, changed=False, created=True, empty=True) if existing is None else without_ours(existing)
    packet = _Packet(cleaned.text)
    packet.add_items("dc:subject", keywords)
    for name, separator in _HIERARCHIES.items():
        if packet.has(name):
            packet.add_items(name, [word.replace(separator, " ") for word in keywords], separator)
    if not packet.has_text("dc:description"):
        packet.add_property("dc:description", array_lines("Alt", [description]), [description])
    if landmark:
        packet.add_location(landmark)
    if camera and not packet.has("exif:GPSLatitude"):
        for name, value in coordinates(camera).items():
            packet.add_property(name, [value], [value])
    return packet.written(cleaned.created)


class Cleaned(NamedTuple):
    """A sidecar's text without what `sidecar` has added: whether there was any, and what it leaves.

    `created` is whether `sidecar` has made the file, `empty` whether nothing is left in it.
    """

    text: str
    changed: bool
    created: bool
    empty: bool


def may_have_ours(existing: bytes) -> bool:
    """Whether a file, of any kind and size, may be a sidecar to which `sidecar` has added something."""
    return any(NAMESPACES["landmarks"].encode(codec) in existing for codec in ("utf-8", "utf-16-le", "utf-16-be"))


def without_ours(existing: bytes) -> Cleaned:
    """A sidecar without what `sidecar` has added to it. What a person has changed since isn't ours any more.

    Raises:
        LandmarkError: it isn't XMP that can be read safely.
    """
    try:
        text = Encoding.of(existing).decode(existing)
    except (LookupError, ValueError) as error:
        raise unreadable(error) from None
    return _Packet(text).cleaned()


class _Packet:
    """An XMP packet with edits under way: what is added, and the lines of the properties that are new."""

    def __init__(self, text: str):
        self.xml = XmlText(text)
        root = self.xml.root
        if root.tag not in (qualified("x:xmpmeta"), qualified("x:xapmeta"), qualified("rdf:RDF")):
            raise LandmarkError("it is XML, but not XMP")
        self.rdf = root if root.tag == qualified("rdf:RDF") else root.find(qualified("rdf:RDF"))
        self.descriptions = [] if self.rdf is None else self.rdf.findall(qualified("rdf:Description"))
        self.added: list[str] = []
        self.properties: dict[str, list[str]] = {}

    def _find(self, name: str) -> Iterator[tuple[Element, Element | str]]:
        """Where a property is: its description, and its element or, as XMP allows for simple values, its attribute."""
        for description in self.descriptions:
            for element in description.findall(qualified(name)):
                yield description, element
            if (value := description.get(qualified(name))) is not None:
                yield description, value

    def has(self, name: str) -> bool:
        return any(True for _ in self._find(name))

    def has_text(self, name: str) -> bool:
        """Whether a property says something; one that is empty is removed."""
        found = list(self._find(name))
        if any(leaves_of(value) for _, value in found):
            return True
        for owner, value in found:
            if isinstance(value, str):
                self.xml.remove_attribute(owner, qualified(name))
            else:
                self.xml.remove(value)
        return False

    def _extendable(self, name: str) -> tuple[Element | None, Element | str | None, Element | None]:
        """A property's description, its value and the array in it; an array that is empty is removed."""
        owner, value = next(self._find(name), (None, None))
        array = array_in(value)
        if isinstance(value, Element) and array is not None and not len(array):
            self.xml.remove(value)
            return None, None, None
        return owner, value, array

    def add_property(self, name: str, lines: list[str], leaves: Sequence[str]) -> None:
        """Add a property that isn't there, with XML that has these texts in it."""
        self.properties[name] = lines
        self.added.append(f"{name}={form_of(leaves)}")

    def add_items(self, name: str, values: Sequence[str], separator: str = "\n") -> None:
        """Add texts to a property's array, which is made of a single value if there is none.

        What the array has at the end of a hierarchy, whose levels the `separator` parts, isn't added.
        """
        owner, value, array = self._extendable(name)
        if array is not None:
            own = [item.text or "" for item in array]
        elif isinstance(value, Element) and not is_plain(value):
            return  # a structure, which isn't ours to reshape
        else:
            own = [text for text in leaves_of(value) if text]
        present = {part for text in own for part in (text, text.split(separator)[-1])}
        new = [text for text in dict.fromkeys(values) if text.strip() and text not in present]
        if not new:
            return
        self.added += [f"{name}={form_of([text])}" for text in new]
        if array is not None:
            prefixes = self.xml.prefixes(array)
            items = [bound(element_lines("rdf:li", [escaped(text)]), prefixes) for text in new]
            self.xml.append(array, [line for lines in items for line in lines])
        elif isinstance(value, Element):
            lines = bound(array_lines("Bag", [*own, *new]), self.xml.prefixes(value))
            self.xml.replace_content(value, "".join(line.strip() for line in lines))
        else:
            if owner is not None:  # beside an attribute, an element of its name would make the packet unreadable
                self.xml.remove_attribute(owner, qualified(name))
            self.properties[name] = array_lines("Bag", [*own, *new])

    def add_location(self, landmark: Landmark) -> None:
        """Add the landmark as a location shown, unless there is one of its name."""
        name = "Iptc4xmpExt:LocationShown"
        _, value, array = self._extendable(name)
        if value is not None and array is None:
            return  # a structure, which isn't ours to reshape
        if array is not None and landmark.name in texts_of(array, qualified("Iptc4xmpExt:LocationName")):
            return
        lines, leaves = location_lines(landmark)
        if array is None:
            self.add_property(name, element_lines("rdf:Bag", lines), leaves)
        else:
            self.xml.append(array, bound(lines, self.xml.prefixes(array)))
            self.added.append(f"{name}={form_of(leaves)}")

    def written(self, created: bool) -> str:
        """The text with what was added; as far as it is new, in a description of its own."""
        if self.added:
            if created:
                self.properties["landmarks:Created"] = ["True"]
            self.properties["landmarks:Added"] = array_lines("Bag", self.added)
            body = [line for name, lines in self.properties.items() for line in element_lines(name, lines)]
            about = next(
                (item.get(name, "") for item in self.descriptions for name in _ABOUT if name in item.attrib), ""
            )
            lines = element_lines("rdf:Description", body, f" rdf:about={quoteattr(about)}")
            if self.rdf is None:
                lines = element_lines("rdf:RDF", lines)
            parent = self.xml.root if self.rdf is None else self.rdf
            self.xml.append(parent, bound(lines, self.xml.prefixes(parent)))
        return self.xml.edited()

    def cleaned(self) -> Cleaned:
        """The text without what was added, as far as it is still as it was added."""
        marks = list(self._find("landmarks:Added"))
        created = self.has("landmarks:Created")
        gone: set[Element] = set()
        attributes: set[tuple[Element, str]] = set()
        entries = [entry.partition("=") for _, value in marks for entry in leaves_of(value)]
        for name, _, form in entries:
            if form and name.count(":") == 1 and name.partition(":")[0] in NAMESPACES:
                self._take_out(name, form, gone, attributes)
        for name in ("landmarks:Added", "landmarks:Created"):
            gone.update(value for _, value in self._find(name) if isinstance(value, Element))
            attributes.update((owner, qualified(name)) for owner, value in self._find(name) if isinstance(value, str))

        def left(description: Element) -> bool:
            values = {
                name for name in description.attrib if name not in _ABOUT and (description, name) not in attributes
            }
            return bool(values) or not gone.issuperset(description)

        empty = not any(map(left, self.descriptions))
        gone |= {owner for owner, _ in marks if not left(owner)}
        if self.rdf is not None and gone.issuperset(self.rdf) and "landmarks" in self.xml.prefixes(self.rdf):
            gone.add(self.rdf)  # made for our description alone
        for owner, name in attributes:
            if owner not in gone:
                self.xml.remove_attribute(owner, name)
        waiting = [self.xml.root]
        while waiting:
            for child in waiting.pop():
                if child in gone:
                    self.xml.remove(child)
                else:
                    waiting.append(child)
        return Cleaned(self.xml.edited(), bool(marks), created, empty)

    def _take_out(self, name: str, form: str, gone: set[Element], attributes: set[tuple[Element, str]]) -> None:
        """Mark a property's first value of this form as gone, and the property if it then has none."""
        for owner, value in self._find(name):
            if isinstance(value, str):
                if form_of([value]) == form:
                    attributes.add((owner, qualified(name)))
                    return
                continue
            array = array_in(value)
            items = [value] if array is None else list(array)
            for item in items:
                if item not in gone and form_of(leaves_of(item)) == form:
                    gone.add(item)
                    if gone.issuperset(items):
                        gone.add(value)
                    return

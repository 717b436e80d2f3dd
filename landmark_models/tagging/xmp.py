"""XMP sidecars (ISO 16684-1): keywords, a description and the landmark shown; new, or merged into existing ones."""

import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Sequence
from xml.etree.ElementTree import Element, SubElement

from landmark_models.errors import LandmarkError
from landmark_models.tagging.gazetteer import Landmark

_NAMESPACES = {
    "x": "adobe:ns:meta/",
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "dc": "http://purl.org/dc/elements/1.1/",
    "exif": "http://ns.adobe.com/exif/1.0/",
    "Iptc4xmpExt": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
}
# What other programs write into sidecars keeps its customary prefix.
_COMMON = {
    "acdsee": "http://ns.acdsee.com/iptc/1.0/",
    "aux": "http://ns.adobe.com/exif/1.0/aux/",
    "crs": "http://ns.adobe.com/camera-raw-settings/1.0/",
    "darktable": "http://darktable.sf.net/",
    "digiKam": "http://www.digikam.org/ns/1.0/",
    "exifEX": "http://cipa.jp/exif/1.0/",
    "Iptc4xmpCore": "http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/",
    "lr": "http://ns.adobe.com/lightroom/1.0/",
    "MicrosoftPhoto": "http://ns.microsoft.com/photo/1.0/",
    "mwg-rs": "http://www.metadataworkinggroup.com/schemas/regions/",
    "photoshop": "http://ns.adobe.com/photoshop/1.0/",
    "stArea": "http://ns.adobe.com/xmp/sType/Area#",
    "stEvt": "http://ns.adobe.com/xap/1.0/sType/ResourceEvent#",
    "stRef": "http://ns.adobe.com/xap/1.0/sType/ResourceRef#",
    "tiff": "http://ns.adobe.com/tiff/1.0/",
    "xmp": "http://ns.adobe.com/xap/1.0/",
    "xmpDM": "http://ns.adobe.com/xmp/1.0/DynamicMedia/",
    "xmpMM": "http://ns.adobe.com/xap/1.0/mm/",
    "xmpRights": "http://ns.adobe.com/xap/1.0/rights/",
}
for _prefix, _uri in (_NAMESPACES | _COMMON).items():
    ElementTree.register_namespace(_prefix, _uri)

_LANGUAGE = "{http://www.w3.org/XML/1998/namespace}lang"


def sidecar(
    keywords: Sequence[str],
    description: str,
    landmark: Landmark | None = None,
    camera: tuple[float, float] | None = None,
    existing: bytes | None = None,
) -> str:
    """The text of a sidecar.

    Args:
        keywords: for `dc:subject`.
        description: for `dc:description`, in the default language.
        landmark: for `Iptc4xmpExt:LocationShown`.
        camera: latitude and longitude for `exif:GPSLatitude` and `exif:GPSLongitude`, WGS 84 degrees.
        existing: a sidecar to merge these into. Everything in it is kept: keywords and locations are added after its
            own, and an existing description or position stays.

    Raises:
        LandmarkError: `existing` isn't XMP that can be read safely.
    """
    root = Element(_name("x", "xmpmeta")) if existing is None else _parsed(existing)
    rdf = root if root.tag == _name("rdf", "RDF") else root.find(_name("rdf", "RDF"))
    if rdf is None:
        rdf = SubElement(root, _name("rdf", "RDF"))
    if not _descriptions(rdf):
        SubElement(rdf, _name("rdf", "Description"), {_name("rdf", "about"): ""})
    if keywords:
        subject = _array(rdf, "dc", "subject")
        present = {item.text for item in subject}
        for keyword in dict.fromkeys(keywords):
            if keyword not in present:
                SubElement(subject, _name("rdf", "li")).text = keyword
    if not _has(rdf, "dc", "description"):
        _list(_descriptions(rdf)[0], "dc", "description", "Alt", description)
    if landmark:
        shown = _array(rdf, "Iptc4xmpExt", "LocationShown")
        if landmark.name not in {text for item in shown for text in _texts(item, "Iptc4xmpExt", "LocationName")}:
            _add_location(shown, landmark)
    if camera and not _has(rdf, "exif", "GPSLatitude"):
        _coordinates(_descriptions(rdf)[0], camera)
    ElementTree.indent(root)
    packet = ElementTree.tostring(root, encoding="unicode").replace("\r", "&#13;")  # otherwise read back as a line feed
    return f'<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n{packet}\n<?xpacket end="w"?>\n'


def _parsed(existing: bytes) -> Element:
    """The root of an XMP packet: `x:xmpmeta` or `rdf:RDF`."""
    import defusedxml.ElementTree
    from defusedxml.common import DefusedXmlException

    try:
        builder = ElementTree.TreeBuilder(insert_comments=True, insert_pis=True)
        parser = defusedxml.ElementTree.DefusedXMLParser(target=builder, forbid_dtd=True)
        parser.feed(existing)
        root: Element = parser.close()
    except (ElementTree.ParseError, DefusedXmlException, LookupError, ValueError) as error:
        raise LandmarkError(f"it isn't XML that can be read safely ({type(error).__name__})") from None
    if root.tag not in (_name("x", "xmpmeta"), _name("x", "xapmeta"), _name("rdf", "RDF")):
        raise LandmarkError("it is XML, but not XMP")
    return root


def _name(prefix: str, tag: str) -> str:
    return f"{{{_NAMESPACES[prefix]}}}{tag}"


def _descriptions(rdf: Element) -> list[Element]:
    return rdf.findall(_name("rdf", "Description"))


def _has(rdf: Element, prefix: str, tag: str) -> bool:
    """Whether a property exists, as an element or, as XMP allows for simple values, an attribute."""
    name = _name(prefix, tag)
    return any(item.find(name) is not None or name in item.attrib for item in _descriptions(rdf))


def _array(rdf: Element, prefix: str, tag: str) -> Element:
    """The array of a property, created as a Bag if there is none."""
    for item in _descriptions(rdf):
        if (found := item.find(_name(prefix, tag))) is not None:
            break
    else:
        found = SubElement(_descriptions(rdf)[0], _name(prefix, tag))
    for name in ("Bag", "Seq", "Alt"):
        if (array := found.find(_name("rdf", name))) is not None:
            return array
    array = SubElement(found, _name("rdf", "Bag"))
    if found.text and found.text.strip():  # a single value in place of a list
        SubElement(array, _name("rdf", "li")).text, found.text = found.text, None
    return array


def _texts(item: Element, prefix: str, tag: str) -> Iterator[str]:
    """The texts of a structure's property, at any depth, or written as an attribute."""
    for element in item.iter():
        if element.tag == _name(prefix, tag):
            yield from (text.strip() for text in element.itertext() if text.strip())
        elif value := element.get(_name(prefix, tag)):
            yield value


def _add_location(shown: Element, landmark: Landmark) -> None:
    location = SubElement(shown, _name("rdf", "li"), {_name("rdf", "parseType"): "Resource"})
    _list(location, "Iptc4xmpExt", "LocationName", "Alt", landmark.name)
    texts = {
        "City": landmark.city, "ProvinceState": landmark.region,
        "CountryName": landmark.country_name, "CountryCode": landmark.country,
    }  # fmt: skip
    for tag, value in texts.items():
        if value:
            SubElement(location, _name("Iptc4xmpExt", tag)).text = value
    if landmark.wikidata:
        _list(location, "Iptc4xmpExt", "LocationId", "Bag", f"http://www.wikidata.org/entity/{landmark.wikidata}")
    if landmark.position:
        _coordinates(location, landmark.position)


def _list(parent: Element, prefix: str, tag: str, kind: str, value: str) -> None:
    """Add an XMP array of one value; in an "Alt" it is the text in the default language."""
    array = SubElement(SubElement(parent, _name(prefix, tag)), _name("rdf", kind))
    SubElement(array, _name("rdf", "li"), {_LANGUAGE: "x-default"} if kind == "Alt" else {}).text = value


def _coordinates(parent: Element, position: tuple[float, float]) -> None:
    """GPS properties in XMP's notation: degrees, minutes with a decimal fraction, and the direction."""
    for tag, value, directions in zip(("GPSLatitude", "GPSLongitude"), position, ("NS", "EW"), strict=True):
        degrees, minutes = divmod(round(abs(value) * 60, 6), 60)
        SubElement(parent, _name("exif", tag)).text = f"{degrees:.0f},{minutes:.6f}{directions[value < 0]}"

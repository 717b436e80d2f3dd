import json
import re
import shutil
import subprocess

import pytest
from defusedxml import ElementTree
from helpers.answers import tags_of
from helpers.programs import absent
from hypothesis import given
from hypothesis import strategies as st

from landmark_models import Prediction
from landmark_models.errors import LandmarkError
from landmark_models.tagging.gazetteer import find
from landmark_models.tagging.xmp import sidecar

TAJ = tags_of([Prediction("Taj Mahal", 0.97)])

# As darktable and digiKam write them: values in attributes, several descriptions, arrays of all three kinds.
EXISTING = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="XMP Core 4.4.0-Exiv2">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:Rating="4"
    xmlns:darktable="http://darktable.sf.net/" darktable:history_end="3"
    xmlns:exif="http://ns.adobe.com/exif/1.0/" exif:GPSLatitude="27,10.5N" exif:GPSLongitude="78,2.5E"/>
  <rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:my="http://example.com/mine/">
   <dc:subject><rdf:Seq><rdf:li>honeymoon</rdf:li><rdf:li>Agra</rdf:li></rdf:Seq></dc:subject>
   <dc:description><rdf:Alt><rdf:li xml:lang="x-default">We two, at dawn</rdf:li></rdf:Alt></dc:description>
   <my:diary><rdf:Bag><rdf:li rdf:parseType="Resource"><my:page>7</my:page></rdf:li></rdf:Bag></my:diary>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>""".encode()


def read(tmp_path, text: str) -> dict:
    """What exiftool makes of a sidecar."""
    if shutil.which("exiftool") is None:
        absent("exiftool (libimage-exiftool-perl)")
    (tmp_path / "photo.jpg.xmp").write_text(text, encoding="utf-8")
    command = ["exiftool", "-j", "-struct", "-G1", str(tmp_path / "photo.jpg.xmp")]
    (answer,) = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert not [key for key in answer if key.endswith(("Warning", "Error"))], answer
    return answer


def test_a_sidecars_content_is_kept_and_ours_follows(tmp_path):
    answer = read(tmp_path, TAJ.xmp(camera_position=True, existing=EXISTING))
    assert answer["XMP-dc:Subject"] == ["honeymoon", "Agra", "Taj Mahal", "TajMahal", "UttarPradesh", "India"]
    assert answer["XMP-dc:Description"] == "We two, at dawn"
    assert answer["XMP-xmp:Rating"] == 4
    assert answer["XMP-x:XMPToolkit"] == "XMP Core 4.4.0-Exiv2"
    assert str(answer["XMP-darktable:History_end"]) == "3"
    assert answer["XMP-exif:GPSLatitude"].startswith("27 deg 10' 30")
    assert answer["XMP-iptcExt:LocationShown"][0]["City"] == "Agra"
    assert "7" in json.dumps(next(value for key, value in answer.items() if key.endswith("Diary")))


def test_merging_twice_changes_nothing():
    once = TAJ.xmp(existing=EXISTING)
    assert TAJ.xmp(existing=once.encode()) == once
    assert TAJ.xmp(existing=TAJ.xmp().encode()) == TAJ.xmp()
    both = tags_of([Prediction("Great Wall of China", 0.97)]).xmp(existing=once.encode())
    assert both.count("LocationName>") == 4  # opened and closed, twice


def test_comments_line_ends_and_a_single_keyword_stay():
    existing = EXISTING.replace(
        b"<dc:subject><rdf:Seq><rdf:li>honeymoon</rdf:li><rdf:li>Agra</rdf:li></rdf:Seq>",
        b"""<!-- mine -->
      <dc:subject>honeymoon""",
    ).replace(b"We two, at dawn", b"We two&#13;at dawn")
    merged = TAJ.xmp(existing=existing)
    assert "<!-- mine -->" in merged
    assert "We two&#13;at dawn" in merged
    assert re.search(r"<dc:subject>\s*<rdf:Bag>\s*<rdf:li>honeymoon</rdf:li>\s*<rdf:li>Taj Mahal</rdf:li>", merged)


def test_a_bare_rdf_or_an_empty_packet_is_accepted():
    rdf = b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"/>'
    for existing in (
        rdf,
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/"/>',
        '\ufeff<x:xmpmeta xmlns:x="adobe:ns:meta/"/>'.encode(),
    ):
        assert "TajMahal" in TAJ.xmp(existing=existing)


@pytest.mark.parametrize(
    ("existing", "why"),
    [
        (b"not xml", "isn't XML"),
        (b"", "isn't XML"),
        (b"<svg/>", "not XMP"),
        (b'<!DOCTYPE x [<!ENTITY a "b">]><x>&a;</x>', "isn't XML that can be read safely"),
        (b'<?xml version="1.0" encoding="foo"?><x/>', "isn't XML that can be read safely"),
        (b'<!DOCTYPE x SYSTEM "file:///etc/passwd"><x/>', "isn't XML that can be read safely"),
    ],
)
def test_malformed_and_malicious_sidecars_are_refused(existing, why):
    with pytest.raises(LandmarkError, match=why):
        TAJ.xmp(existing=existing)


_TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Cn", "Co"]), min_size=1, max_size=8)


@given(st.lists(_TEXTS, unique=True), st.lists(_TEXTS, unique=True))
def test_no_keyword_is_lost_or_duplicated(old, new):
    first = sidecar(old, "a description", find("Taj Mahal"))
    root = ElementTree.fromstring(sidecar(new, "another", find("Taj Mahal"), existing=first.encode()).encode())
    (subject,) = root.iter("{http://purl.org/dc/elements/1.1/}subject") if old or new else ([],)
    found = [item.text for bag in subject for item in bag]
    assert found == list(dict.fromkeys(old + new))

import json
import re
import shutil
import subprocess
from difflib import SequenceMatcher
from xml.sax.saxutils import escape

import pytest
from defusedxml import ElementTree
from helpers.answers import tags_of
from helpers.programs import absent
from hypothesis import given
from hypothesis import strategies as st

from landmark_models import Prediction
from landmark_models.errors import LandmarkError
from landmark_models.tagging.gazetteer import find
from landmark_models.tagging.xmp import sidecar, without_ours
from landmark_models.tagging.xmp_lines import qualified

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
        (b"<x>" + b"<a/>" * 200_000 + b"</x>", "more than 200,000 tags"),
    ],
)
def test_malformed_and_malicious_sidecars_are_refused(existing, why):
    with pytest.raises(LandmarkError, match=why):
        TAJ.xmp(existing=existing)


_TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Cn", "Co"]), min_size=1, max_size=8)


@given(st.lists(_TEXTS, unique=True, min_size=1), st.lists(_TEXTS, unique=True))
def test_no_keyword_of_others_is_lost_and_none_is_duplicated(theirs, ours):
    items = "".join(f"<rdf:li>{escape(text)}</rdf:li>" for text in theirs)
    existing = EXISTING.decode().replace("<rdf:li>honeymoon</rdf:li><rdf:li>Agra</rdf:li>", items).encode()
    merged = sidecar(["earlier"], "a description", find("Taj Mahal"), existing=existing)
    merged = sidecar(ours, "a description", find("Taj Mahal"), existing=merged.encode())
    (subject,) = ElementTree.fromstring(merged).iter("{http://purl.org/dc/elements/1.1/}subject")
    new = [text for text in ours if text not in theirs and text.strip()]
    assert [item.text for bag in subject for item in bag] == theirs + new
    assert without_ours(merged.encode()).text == existing.decode()


OPEN = '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
CLOSE = "</rdf:RDF></x:xmpmeta>"
DC = 'xmlns:dc="http://purl.org/dc/elements/1.1/"'
OTHERS = {
    "darktable": EXISTING.decode(),
    "crlf": EXISTING.decode().replace("\n", "\r\n"),
    "one line": re.sub(r"\s*\n\s*", " ", EXISTING.decode()),
    "single quotes": EXISTING.decode().replace('"', "'"),
    "another prefix": EXISTING.decode().replace("rdf:", "r:").replace("xmlns:rdf", "xmlns:r"),
    "padding": EXISTING.decode().replace('\n<?xpacket end="w"?>', ("\n" + " " * 99) * 20 + '\n<?xpacket end="w"?>'),
    "comments": EXISTING.decode().replace("<dc:subject>", "<!-- <dc:subject> -->\n<?mine a>b?><dc:subject>"),
    "no packet": OPEN + CLOSE,
    "no description": '<?xml version="1.0"?>\n' + OPEN + "\n" + CLOSE + "\n",
    "with an id": f'{OPEN}<rdf:Description rdf:about="uuid:1" {DC} dc:format="image/jpeg"/>{CLOSE}',
    "faces": f"""{OPEN}
 <rdf:Description rdf:about='' xmlns:MP="http://ns.microsoft.com/photo/1.2/" {DC}
   xmlns:MPRI="http://ns.microsoft.com/photo/1.2/t/RegionInfo#"
   xmlns:MPReg="http://ns.microsoft.com/photo/1.2/t/Region#"
   xmlns:stDim="http://ns.adobe.com/xap/1.0/sType/Dimensions#" xmlns:drone-dji="http://www.dji.com/drone-dji/1.0/"
   drone-dji:GimbalYawDegree="+1.5">
  <MP:RegionInfo rdf:parseType="Resource"><MPRI:Regions><rdf:Bag>
    <rdf:li MPReg:Rectangle="0.1, 0.2, 0.3, 0.4" MPReg:PersonDisplayName="Zoë &amp; Ann"/>
  </rdf:Bag></MPRI:Regions></MP:RegionInfo>
  <dc:title><rdf:Alt><rdf:li xml:lang="x-default"><![CDATA[a > b <dc:subject>]]></rdf:li></rdf:Alt></dc:title>
 </rdf:Description>
{CLOSE}""",
}
ENCODINGS = [("utf-8", b""), ("utf-8", b"\xef\xbb\xbf"), ("utf-16-le", b"\xff\xfe"), ("utf-16-be", b"\xfe\xff")]


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize(("codec", "mark"), ENCODINGS)
def test_what_others_wrote_stays_to_the_letter_and_ours_comes_out_again(name, codec, mark):
    text = OTHERS[name]
    existing = mark + text.encode(codec)
    merged = TAJ.xmp(existing=existing)
    changes = SequenceMatcher(None, text, merged, autojunk=False).get_opcodes()
    assert {kind for kind, *_ in changes} == {"equal", "insert"}
    assert merged.count("TajMahal") == 2  # a keyword, and in our own list
    assert ("\r\n" in merged) == (name == "crlf")
    assert not re.search(r"[^\r]\n", merged) or name != "crlf"
    cleaned = without_ours(mark + merged.encode(codec))
    assert (cleaned.text, cleaned.changed, cleaned.created) == (text, True, False)


def lines_of(command: list[str], file) -> set[str]:
    result = subprocess.run([*command, str(file)], capture_output=True, text=True, check=True)
    assert not re.search("warning|error", result.stderr, re.IGNORECASE), result.stderr
    return {" ".join(line.split()) for line in result.stdout.splitlines()}


READERS = {"exiv2": ["exiv2", "-PXkv"], "exiftool": ["exiftool", "-a", "-G1", "-s", "-struct", "-XMP:all"]}
WRITERS = {
    "exiv2": ["exiv2", "-M", "set Xmp.xmp.Label mine"],
    "exiftool": ["exiftool", "-q", "-overwrite_original", "-XMP-xmp:Label=mine"],
}


def need(program: str) -> None:
    if shutil.which(program) is None:
        absent(program)


@pytest.mark.parametrize("program", READERS)
@pytest.mark.parametrize("name", OTHERS)
def test_other_programs_read_all_that_they_read_before(tmp_path, program, name):
    need(program)
    file = tmp_path / "a.jpg.xmp"
    file.write_text(OTHERS[name], encoding="utf-8", newline="")
    before = lines_of(READERS[program], file) if "Description" in OTHERS[name] else set()
    file.write_text(TAJ.xmp(existing=file.read_bytes()), encoding="utf-8", newline="")
    after = lines_of(READERS[program], file)
    lists = ("Subject", "subject")  # one line, to which ours is added
    assert {line for line in before if not any(word in line for word in lists)} <= after
    if (program, name) != ("exiv2", "another prefix"):  # exiv2 reads nothing where RDF's prefix isn't rdf
        assert any("Taj Mahal" in line for line in after)


@pytest.mark.parametrize("program", WRITERS)
@pytest.mark.parametrize("name", [None, *OTHERS])
def test_ours_is_replaced_and_comes_out_after_other_programs_have_written_the_file(tmp_path, program, name):
    need(program)
    file = tmp_path / "a.jpg.xmp"
    existing = None if name is None else OTHERS[name].encode()
    file.write_text(TAJ.xmp(existing=existing, camera_position=True), encoding="utf-8")
    subprocess.run([*WRITERS[program], str(file)], capture_output=True, check=True)
    assert "mine" in file.read_text()
    file.write_text(tags_of([Prediction("Machu Picchu", 0.9)]).xmp(existing=file.read_bytes()), encoding="utf-8")
    text = file.read_text()
    assert "MachuPicchu" in text
    assert "Taj" not in text
    subprocess.run([*WRITERS[program], str(file)], capture_output=True, check=True)
    cleaned = without_ours(file.read_bytes())
    assert not re.search("Machu|Peru|landmarks:", cleaned.text)
    assert "mine" in cleaned.text
    assert not cleaned.empty
    assert cleaned.created == (name is None)
    if name in ("darktable", "crlf", "one line"):
        assert all(word in cleaned.text for word in ("honeymoon", "Agra", "We two, at dawn", "27,10"))


def test_a_new_sidecar_is_empty_without_ours_until_somebody_adds_to_it():
    assert without_ours(TAJ.xmp().encode())[1:] == (True, True, True)
    rated = TAJ.xmp().replace("</landmarks:Created>", "</landmarks:Created><x:r xmlns:x='urn:x'>4</x:r>")
    assert without_ours(rated.encode())[1:] == (True, True, False)
    assert "<x:r" in without_ours(rated.encode()).text
    assert without_ours(EXISTING) == (EXISTING.decode(), False, False, False)


def test_what_a_person_has_changed_or_written_stays():
    edited = (
        TAJ.xmp().replace("Photo of Taj Mahal, tomb", "Us before the tomb", 1).replace(">Agra</Ipt", ">Agra 2</Ipt")
    )
    edited = edited.replace("<rdf:li>TajMahal</rdf:li>", "<rdf:li>TajMahal 2019</rdf:li>", 1)
    again = tags_of([Prediction("Machu Picchu", 0.9)]).xmp(existing=edited.encode())
    assert "Us before the tomb in Agra" in again
    assert "<rdf:li>TajMahal 2019</rdf:li>" in again
    assert ">Agra 2</Ipt" in again
    assert "<rdf:li>UttarPradesh</rdf:li>" not in again
    theirs = TAJ.xmp(existing=EXISTING)  # has the keyword Agra already
    assert "<rdf:li>Agra</rdf:li>" in without_ours(theirs.encode()).text


@pytest.mark.parametrize("empty", ['dc:description=""', ""])
def test_an_empty_description_is_filled(empty):
    element = (
        "" if empty else '<dc:description><rdf:Alt><rdf:li xml:lang="x-default"> </rdf:li></rdf:Alt></dc:description>'
    )
    existing = f'{OPEN}<rdf:Description rdf:about="" {DC} {empty}>{element}</rdf:Description>{CLOSE}'
    merged = TAJ.xmp(existing=existing.encode())
    assert merged.count("dc:description>") == 2
    assert "Photo of Taj Mahal, tomb in" in merged
    assert not empty or empty not in merged


@pytest.mark.parametrize("array", ["<rdf:Bag/>", "<rdf:Bag></rdf:Bag>", "\n <rdf:Bag>\n <!-- none -->\n </rdf:Bag>\n"])
@pytest.mark.parametrize("name", ["dc:subject", "lr:hierarchicalSubject", "Iptc4xmpExt:LocationShown"])
def test_an_empty_array_is_filled(array, name):
    bound = f'{DC} {HIERARCHIES} xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"'
    existing = f'{OPEN}<rdf:Description rdf:about="" {bound}><{name}>{array}</{name}></rdf:Description>{CLOSE}'
    merged = TAJ.xmp(existing=existing.encode())
    (found,) = ElementTree.fromstring(merged).iter(qualified(name))
    assert len(found[0]) == (1 if "Location" in name else 5)
    again = TAJ.xmp(existing=merged.encode())
    assert TAJ.xmp(existing=again.encode()) == again
    assert "<rdf:li" not in without_ours(again.encode()).text


HIERARCHIES = 'xmlns:digiKam="http://www.digikam.org/ns/1.0/" xmlns:lr="http://ns.adobe.com/lightroom/1.0/"'


def test_keywords_go_where_readers_look_first():
    arrays = "".join(
        f"<{name}><rdf:Seq><rdf:li>{separator.join(['Places', 'India', 'Agra'])}</rdf:li></rdf:Seq></{name}>"
        for name, separator in (("digiKam:TagsList", "/"), ("lr:hierarchicalSubject", "|"))
    )
    existing = f'{OPEN}<rdf:Description rdf:about="" {HIERARCHIES}>{arrays}</rdf:Description>{CLOSE}'
    root = ElementTree.fromstring(TAJ.xmp(existing=existing.encode()))
    for namespace, name, first in (
        ("http://www.digikam.org/ns/1.0/", "TagsList", "Places/India/Agra"),
        ("http://ns.adobe.com/lightroom/1.0/", "hierarchicalSubject", "Places|India|Agra"),
    ):
        (found,) = root.iter(f"{{{namespace}}}{name}")
        assert [item.text for item in found[0]] == [first, "Taj Mahal", "TajMahal", "UttarPradesh", "India"]
    slashed = sidecar(["Left/Right"], "x", existing=existing.encode())
    assert "<rdf:li>Left Right</rdf:li>" in slashed
    assert "<rdf:li>Left/Right</rdf:li>" in slashed
    assert without_ours(slashed.encode()).text == existing


@pytest.mark.parametrize("name", ["dc:subject", "digiKam:TagsList", "lr:hierarchicalSubject"])
def test_a_keyword_in_an_attribute_becomes_the_first_of_the_list(tmp_path, name):
    need("exiv2")
    existing = f'{OPEN}<rdf:Description rdf:about="" {DC} {HIERARCHIES} {name}="honey&amp;moon"/>{CLOSE}'
    file = tmp_path / "a.jpg.xmp"
    file.write_text(TAJ.xmp(existing=existing.encode()), encoding="utf-8")
    assert f"{name}=" not in file.read_text().split("<rdf:Description")[1]
    lines = lines_of(READERS["exiv2"], file)
    assert f"Xmp.{name.replace(':', '.')} honey&moon, Taj Mahal, TajMahal, Agra, UttarPradesh, India" in lines


def test_importing_leaves_the_prefixes_of_the_process_alone():
    from xml.etree.ElementTree import _namespace_map

    assert not {"adobe:ns:meta/", "http://ns.adobe.com/exif/1.0/", "http://darktable.sf.net/"} & _namespace_map.keys()

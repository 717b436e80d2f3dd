import os
from pathlib import Path

import pytest
from helpers.answers import tags_of

from landmark_models import Prediction
from landmark_models.errors import LandmarkError
from landmark_models.library.sidecars import Sidecars

TAJ = tags_of([Prediction("Taj Mahal", 0.97)])
PACKET = """<x:xmpmeta xmlns:x='adobe:ns:meta/' x:xmptk='mine'>
 <rdf:RDF xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#'>
  <rdf:Description rdf:about='' xmlns:xmp='http://ns.adobe.com/xap/1.0/' xmp:Rating='4'/>
 </rdf:RDF>
</x:xmpmeta>
"""


def test_sidecars_are_written_beside_the_photos_or_in_the_same_folders_elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    assert Sidecars().write("photos/a.jpg", TAJ) == "written"
    assert "TajMahal" in Path("photos/a.jpg.xmp").read_text()
    elsewhere = Sidecars(Path("xmp"))
    for path in ("photos/a.jpg", f"{tmp_path}/photos/b.jpg", "photos/../../c.jpg", "../../../../../../d.jpg"):
        assert elsewhere.write(path, TAJ) == "written"
    files = {str(file.relative_to("xmp")) for file in Path("xmp").rglob("*.xmp")}
    absolute = str(tmp_path).lstrip(os.sep)
    assert files >= {"photos/a.jpg.xmp", f"{absolute}/photos/b.jpg.xmp"}
    assert len(files) == 4
    assert sorted(file.name for file in tmp_path.iterdir()) == ["photos", "xmp"]
    assert [file.name for file in Path("photos").iterdir()] == ["a.jpg.xmp"]  # no half-written file either


def test_an_existing_sidecar_is_kept_or_extended(tmp_path):
    file = tmp_path / "a.jpg.xmp"
    file.write_text('<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="mine"/>')
    before = file.read_bytes()
    assert Sidecars().write(str(tmp_path / "a.jpg"), TAJ) == "kept"
    assert file.read_bytes() == before
    assert Sidecars(merge=True).write(str(tmp_path / "a.jpg"), TAJ) == "merged"
    assert 'xmptk="mine"' in file.read_text()
    assert "TajMahal" in file.read_text()
    file.write_text("no XML")
    with pytest.raises(LandmarkError, match="isn't XML"):
        Sidecars(merge=True).write(str(tmp_path / "a.jpg"), TAJ)
    assert file.read_text() == "no XML"


def test_a_sidecar_emptied_by_a_power_cut_is_rewritten(tmp_path):
    (tmp_path / "a.jpg.xmp").touch()
    assert Sidecars().write(str(tmp_path / "a.jpg"), TAJ) == "written"
    os.mkfifo(tmp_path / "b.jpg.xmp")
    with pytest.raises(LandmarkError, match="isn't a file"):
        Sidecars(merge=True).write(str(tmp_path / "b.jpg"), TAJ)


def test_no_sidecar_leaves_the_folder_through_a_link(tmp_path):
    secret, xmp = tmp_path / "secret", tmp_path / "xmp"
    secret.mkdir()
    xmp.mkdir()
    (xmp / "photos").symlink_to(secret)
    (xmp / "b.jpg.xmp").symlink_to(secret / "b.xmp")
    (tmp_path / "c.xmp").write_text(PACKET)
    (xmp / "c.jpg.xmp").symlink_to(tmp_path / "c.xmp")
    for path in ("photos/a.jpg", "photos/deep/a.jpg", "b.jpg", "c.jpg"):
        with pytest.raises(LandmarkError, match=r"outside|a link in its place"):
            Sidecars(xmp, merge=True).write(path, TAJ)
    assert not list(secret.iterdir())
    assert (tmp_path / "c.xmp").read_text() == PACKET


def test_a_linked_sidecar_is_merged_where_it_is(tmp_path):
    (tmp_path / "metadata").mkdir()
    target, link = tmp_path / "metadata" / "a.xmp", tmp_path / "a.jpg.xmp"
    target.write_text(PACKET)
    link.symlink_to(target)
    assert Sidecars(merge=True).write(str(tmp_path / "a.jpg"), TAJ) == "merged"
    assert link.is_symlink()
    assert "TajMahal" in target.read_text()
    assert Sidecars().undo(str(tmp_path / "a.jpg")) == ["cleaned"]
    assert target.read_text() == PACKET
    target.write_text(TAJ.xmp())
    assert Sidecars().undo(str(tmp_path / "a.jpg")) == ["deleted"]
    assert [file.name for file in tmp_path.rglob("*")] == ["metadata"]


def test_lightrooms_sidecar_is_used_unless_it_may_be_another_photos(tmp_path):
    photo = str(tmp_path / "IMG_1.jpg")
    for name in ("IMG_1.xmp", "IMG_1.XMP"):
        (tmp_path / name).write_text(PACKET)
        assert Sidecars().write(photo, TAJ) == Sidecars(merge=True).write(photo, TAJ) == "merged"
        assert "TajMahal" in (tmp_path / name).read_text()
        assert "xmp:Rating='4'" in (tmp_path / name).read_text()
        assert [file.name for file in tmp_path.iterdir()] == [name]
        (tmp_path / name).unlink()
    (tmp_path / "IMG_1.xmp").write_text(PACKET)
    for name in ("IMG_1.jpg", "IMG_1.CR2", "IMG_10.png"):
        (tmp_path / name).touch()
    assert Sidecars(merge=True).file(photo).name == "IMG_1.xmp"  # with the raw image of the same shot
    (tmp_path / "IMG_1.png").touch()
    assert Sidecars(merge=True).file(photo).name == "IMG_1.jpg.xmp"
    (tmp_path / "IMG_1.png").unlink()
    (tmp_path / "IMG_1.jpg.xmp").write_text(PACKET)
    assert Sidecars(merge=True).file(photo).name == "IMG_1.jpg.xmp"  # the more precise name goes first


def test_wrong_tags_of_an_earlier_model_go(tmp_path):
    photo = str(tmp_path / "a.jpg")
    unknown = tags_of([Prediction("Taj Mahal", 0.2)])
    merging = Sidecars(merge=True)
    assert merging.write(photo, unknown) == ""
    assert merging.write(photo, TAJ) == "written"
    assert Sidecars().write(photo, unknown) == ""  # left alone
    assert merging.write(photo, tags_of([Prediction("Machu Picchu", 0.9)])) == "merged"
    text = (tmp_path / "a.jpg.xmp").read_text()
    assert "MachuPicchu" in text
    assert "Taj" not in text
    assert merging.write(photo, unknown) == "removed"
    assert not list(tmp_path.iterdir())
    (tmp_path / "a.jpg.xmp").write_text(PACKET)
    merging.write(photo, TAJ)
    assert merging.write(photo, unknown) == "removed"
    assert (tmp_path / "a.jpg.xmp").read_text() == PACKET
    assert merging.write(photo, unknown) == ""
    (tmp_path / "a.jpg.xmp").write_text("whatever it is, it isn't ours")
    assert merging.write(photo, unknown) == ""
    assert merging.undo(photo) == []


@pytest.mark.parametrize(
    ("codec", "mark"), [("utf-16-le", b"\xff\xfe"), ("utf-16-be", b"\xfe\xff"), ("utf-8", b"\xef\xbb\xbf")]
)
def test_a_sidecar_keeps_its_encoding_mode_and_name(tmp_path, codec, mark):
    photo = tmp_path / ("写" * 82 + ".jpg")
    file = photo.with_name(f"{photo.name}.xmp")
    existing = mark + PACKET.replace("mine", "mine é").encode(codec)
    file.write_bytes(existing)
    file.chmod(0o660)
    assert Sidecars(merge=True).write(str(photo), TAJ) == "merged"
    assert "TajMahal" in file.read_bytes().decode("utf-16" if "16" in codec else "utf-8-sig")
    assert file.read_bytes().startswith(mark)
    assert file.stat().st_mode & 0o777 == 0o660
    assert Sidecars().undo(str(photo)) == ["cleaned"]
    assert file.read_bytes() == existing


@pytest.mark.parametrize("length", [250, 251, 252, 255])
def test_a_photo_with_as_long_a_name_as_there_may_be_gets_a_sidecar(tmp_path, length):
    photo = tmp_path / f"{'x' * (length - 4)}.jpg"
    photo.touch()
    assert Sidecars().write(str(photo), TAJ) == "written"
    (file,) = tmp_path.glob("*.xmp")
    assert file.name in (f"{photo.name}.xmp", f"{photo.stem}.xmp")
    assert Sidecars().undo(str(photo)) == ["deleted"]


def test_merging_what_is_there_already_does_not_touch_the_file(tmp_path):
    file = tmp_path / "a.jpg.xmp"
    file.write_text(PACKET)
    Sidecars(merge=True).write(str(tmp_path / "a.jpg"), TAJ)
    os.utime(file, (0, 0))
    assert Sidecars(merge=True).write(str(tmp_path / "a.jpg"), TAJ) == "merged"
    assert file.stat().st_mtime == 0


def test_a_read_only_sidecar_stays(tmp_path):
    file = tmp_path / "a.jpg.xmp"
    file.write_text(TAJ.xmp())
    file.chmod(0o444)
    for change in (
        lambda: Sidecars(merge=True).write(str(tmp_path / "a.jpg"), tags_of([Prediction("Machu Picchu", 0.9)])),
        lambda: Sidecars().undo(str(tmp_path / "a.jpg")),
    ):
        with pytest.raises(LandmarkError, match="it is read-only"):
            change()
    assert file.read_text() == TAJ.xmp()
    assert [file.name for file in tmp_path.iterdir()] == ["a.jpg.xmp"]


def test_a_read_only_folder_is_reported_in_a_sentence(tmp_path):
    (tmp_path / "photos").write_text("a file")
    with pytest.raises(LandmarkError, match=r"Not a directory|File exists"):
        Sidecars(tmp_path).write("photos/a.jpg", TAJ)
    with pytest.raises(LandmarkError, match="File name too long"):
        Sidecars(tmp_path).write("x" * 253 + ".jpg", TAJ)

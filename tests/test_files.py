import base64
import io
from collections import Counter
from pathlib import Path

import pytest
from helpers.photos import RED_HEIC
from PIL import Image

from landmark_models.files import (
    PHOTO_SUFFIXES,
    find_photos_below,
    is_photo_content,
    is_photo_name,
    is_system_folder,
    left_out_line,
)


def touch(*files: Path) -> None:
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()


FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "GIF", "TIFF", "BMP", "DIB", "AVIF")


def test_every_suffix_of_the_formats_that_are_read_is_a_photos():
    registered = {suffix for suffix, name in Image.registered_extensions().items() if name in FORMATS}
    assert registered <= PHOTO_SUFFIXES
    for name in ("a.jfif", "DSC_1.HIF", "a.PJPEG", "a.apng", "a.dib", "a.heics"):
        assert is_photo_name(name), name
    for name in ("a.xmp", "a", ".a.jpg", "._a.jpg", "a.jpg.part", "SYNOPHOTO_THUMB_XL.jpg", "SYNOFILE_THUMB_M.jpg"):
        assert not is_photo_name(name), name


@pytest.mark.parametrize(
    "name",
    [
        "@eaDir", "#recycle", "#Recycle", "#snapshot", "@Recycle", "@Recently-Snapshot", "@__thumb", "~snapshot",
        "$RECYCLE.BIN", "$Recycle.Bin", "System Volume Information", "RECYCLER", "FOUND.000", "lost+found", "__MACOSX",
        "Network Trash Folder", "files_trashbin", "appdata_oc1a2b3c4d5e", "Catalog Previews.lrdata",
        ".@__thumb", ".streams", ".Trashes", ".Trash-1000", ".thumbnails", ".AppleDouble", ".zfs",
    ],
)  # fmt: skip
def test_what_a_system_keeps_in_a_library_is_left_out_and_counted(tmp_path, name):
    assert is_system_folder(name) or name.startswith(".")
    touch(tmp_path / "trip" / "a.jpg", tmp_path / "trip" / name / "a.jpg" / "SYNOPHOTO_THUMB_XL.jpg")
    touch(tmp_path / "trip" / name / "deep" / "b.jpg")
    left_out: Counter[str] = Counter()
    assert [entry.path for entry in find_photos_below(tmp_path, left_out=left_out)] == [str(tmp_path / "trip/a.jpg")]
    assert left_out == {"hidden folder" if name.startswith(".") else f"system folder {name}": 1}
    assert len(list(find_photos_below(tmp_path / "trip" / name / "deep"))) == 1  # asked for by name


@pytest.mark.parametrize(
    "name", ["recycle", "Recycled art", "snapshot", "thumbs", "@home", "#1", "Lost+Found", "lrdata"]
)
def test_a_persons_own_folders_are_searched(tmp_path, name):
    touch(tmp_path / name / "a.jpg")
    assert len(list(find_photos_below(tmp_path))) == 1


def test_of_an_apple_photos_library_only_the_originals_are_photos(tmp_path):
    library = tmp_path / "Photos Library.photoslibrary"
    touch(*(library / name / "0" / "a.heic" for name in ("originals", "resources", "database", "private")))
    for root in (tmp_path, library, f"{library}/"):
        assert [Path(entry.path).parts[-3] for entry in find_photos_below(root)] == ["originals"]
    old = tmp_path / "iPhoto Library.photolibrary"
    touch(old / "Masters" / "a.jpg", old / "Previews" / "a.jpg", tmp_path / "resources" / "a.jpg")
    assert len(list(find_photos_below(tmp_path))) == 3


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "DIB"])
def test_the_first_bytes_tell_a_photo(tmp_path, name):
    content = io.BytesIO()
    Image.new("RGB", (8, 8)).save(content, name, **({"save_all": True} if name == "MPO" else {}))
    assert is_photo_content(content.getvalue()[:32])
    content = io.BytesIO()
    if name == "TIFF":
        Image.new("RGB", (8, 8)).save(content, name, big_tiff=True)
        assert is_photo_content(content.getvalue()[:32])


def test_the_first_bytes_tell_heic_and_no_list(tmp_path):
    assert is_photo_content(base64.b64decode(RED_HEIC)[:32])
    for start in (b"BMW/1.jpg\nBMW/2.jpg\n", b"a.jpg\0b.jpg\0", b"", b"GIF/8.gif", b"\0\0\0\x18ftypmp42", b"RIFF"):
        assert not is_photo_content(start)


def test_what_is_left_out_is_counted_by_kind(tmp_path):
    touch(*(tmp_path / name for name in ["a.jpg", "1.mp4", "2.MP4", "a.jpg.xmp", "notes", "._a.jpg", ".DS_Store"]))
    touch(tmp_path / "SYNOPHOTO_THUMB_S.jpg", tmp_path / ".cache" / "b.jpg", tmp_path / "x.a long suffix")
    left_out: Counter[str] = Counter()
    assert len(list(find_photos_below(tmp_path, left_out=left_out))) == 1
    assert left_out == {
        ".mp4 file": 2, ".xmp file": 1, "other file": 2, "hidden photo": 1, "thumbnail of a NAS": 1, "hidden folder": 1,
    }  # fmt: skip


def test_the_line_on_what_is_left_out_names_the_most_frequent_and_counts_the_rest():
    assert left_out_line(Counter()) == ""
    kinds = Counter({f".{letter} file": 1000 + count for count, letter in enumerate("abcdefghij")})
    assert left_out_line(kinds).startswith("Left out: 1,009 x .j file, 1,008 x .i file, ")
    assert left_out_line(kinds).endswith(" 1,002 x .c file, and 2,001 more.")


def test_a_photo_in_a_trash_is_found_through_a_link(tmp_path):
    touch(tmp_path / "#recycle" / "a.jpg")
    (tmp_path / "back.jpg").symlink_to(tmp_path / "#recycle" / "a.jpg")
    assert [entry.path for entry in find_photos_below(tmp_path)] == [str(tmp_path / "back.jpg")]

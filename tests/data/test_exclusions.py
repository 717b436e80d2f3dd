import unicodedata

import pytest
from helpers.photos import noisy_photo

from train.data import DataError, find_photos, read_exclusions

LINES = ["# a comment", "train/00.Red_Tower/000.jpg", "", "./train/02.Blue_Lake/007.jpg"]
LISTED = {"train/00.Red_Tower/000.jpg", "train/02.Blue_Lake/007.jpg"}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("slash", ["/", "\\"])
def test_a_list_edited_elsewhere_means_the_same(encoding, end, slash, tmp_path):
    lines = [LINES[0], *(line.replace("/", slash) for line in LINES[1:])]
    (tmp_path / "exclude.txt").write_bytes(end.join(lines).encode(encoding))
    assert read_exclusions(tmp_path / "exclude.txt") == LISTED


@pytest.mark.parametrize("stored", ["NFC", "NFD"])
@pytest.mark.parametrize("listed", ["NFC", "NFD"])
def test_names_match_in_either_unicode_form(stored, listed, tmp_path):
    folder = tmp_path / "photos" / unicodedata.normalize(stored, "Sacré-Cœur")
    folder.mkdir(parents=True)
    for name in ("é.jpg", "b.jpg"):
        noisy_photo((9, 9, 9), 1).save(folder / unicodedata.normalize(stored, name))
    (tmp_path / "exclude.txt").write_text(unicodedata.normalize(listed, "Sacré-Cœur/é.jpg\n"), encoding="utf-8")
    photos = find_photos(tmp_path / "photos", "train")
    left = photos.excluding(read_exclusions(tmp_path / "exclude.txt", tmp_path / "photos"))
    assert [path.rpartition("/")[2] for path in left.paths] == ["b.jpg"]


def test_a_name_with_a_backslash_is_not_taken_for_windows(tmp_path):
    (tmp_path / "exclude.txt").write_text("train/a/odd\\name.jpg\n")
    assert read_exclusions(tmp_path / "exclude.txt") == {"train/a/odd\\name.jpg"}


def test_the_list_of_another_set_is_refused(data, tmp_path):
    (tmp_path / "exclude.txt").write_text("train/other/a.jpg\ntrain/other/b.jpg\n")
    with pytest.raises(DataError, match=r"None of the 2 photos listed in .* is in .*: is it another set's list?"):
        read_exclusions(tmp_path / "exclude.txt", data)
    (tmp_path / "exclude.txt").write_text("# nothing\n")
    assert read_exclusions(tmp_path / "exclude.txt", data) == frozenset()
    with pytest.raises(DataError, match=r"The list .* can't be read"):
        read_exclusions(tmp_path / "nowhere.txt")

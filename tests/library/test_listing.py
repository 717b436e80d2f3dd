import io
import os
import sys
import tracemalloc
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from landmark_models.errors import LandmarkError
from landmark_models.library.listing import can_be_read_twice, check_sources, find_entries, original_path, written_path


def touch(*files: Path) -> None:
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()


def paths(*sources) -> list[str]:
    return sorted(entry.path for entry in find_entries([str(source) for source in sources]))


def test_folders_are_searched_for_every_format_but_not_for_hidden_files(tmp_path):
    names = ["a.jpg", "b/c.HEIC", "b/d/e.tiff", "b/f.avif", "b/g.png"]
    touch(*(tmp_path / name for name in [*names, "notes.txt", "a.jpg.xmp", "._a.jpg", ".thumbs/a.jpg"]))
    assert paths(tmp_path) == [str(tmp_path / name) for name in names]
    assert paths(tmp_path / "b" / "d", tmp_path, tmp_path / "b") == [str(tmp_path / name) for name in names]
    assert paths(f"{tmp_path}/b/../a.jpg") == [f"{tmp_path}/b/../a.jpg"]


def test_links_are_followed_but_nothing_is_listed_twice(tmp_path):
    inside, outside = tmp_path / "in", tmp_path / "out"
    touch(inside / "a" / "1.jpg", outside / "2.jpg", outside / "deep" / "3.jpg", tmp_path / "4.jpg")
    (inside / "a" / "loop").symlink_to(inside)
    (inside / "b").symlink_to(inside / "a")
    (inside / "c").symlink_to(outside / "deep")
    (inside / "d").symlink_to(outside)
    (inside / "again.jpg").symlink_to(inside / "a" / "1.jpg")
    (inside / "elsewhere.jpg").symlink_to(tmp_path / "4.jpg")
    (inside / "self.jpg").symlink_to(inside / "self.jpg")
    (inside / "gone").symlink_to(tmp_path / "gone")
    found = {os.path.relpath(entry.path, inside): entry.error for entry in find_entries([str(inside)])}
    broken = found.pop("self.jpg")
    assert broken.startswith("The link leads nowhere")
    assert len(found) == 4
    assert {"a/1.jpg", "elsewhere.jpg"} < set(found)
    names = sorted(Path(path).name for path in found)
    assert names == ["1.jpg", "2.jpg", "3.jpg", "elsewhere.jpg"]


def test_photos_in_hidden_folders_are_found_through_links(tmp_path):
    touch(tmp_path / "in" / ".git" / "annex" / "K.jpg", tmp_path / "in" / ".data" / "2020" / "1.jpg")
    (tmp_path / "in" / "a.jpg").symlink_to(tmp_path / "in" / ".git" / "annex" / "K.jpg")
    (tmp_path / "in" / "y2020").symlink_to(tmp_path / "in" / ".data" / "2020")
    assert paths(tmp_path / "in") == [str(tmp_path / "in" / name) for name in ("a.jpg", "y2020/1.jpg")]
    assert paths(tmp_path / "in", tmp_path / "in" / ".git") == [
        str(tmp_path / "in" / name) for name in (".git/annex/K.jpg", "a.jpg", "y2020/1.jpg")
    ]


def test_lists_are_read_line_by_line_or_up_to_nul(tmp_path, monkeypatch):
    lines = tmp_path / "list.txt"
    lines.write_bytes(b"\xef\xbb\xbfa.jpg\r\n\nb c.jpg\ncaf\xe9.jpg")
    assert [entry.path for entry in find_entries([str(lines)])] == ["a.jpg", "b c.jpg", "caf\udce9.jpg"]
    lines.write_bytes(b"new\nline.jpg\0b.jpg\0")
    assert [entry.path for entry in find_entries([str(lines)])] == ["new\nline.jpg", "b.jpg"]
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BufferedReader(io.BytesIO(b"x.jpg\ny.jpg\n"))))
    assert [entry.path for entry in find_entries(["-"])] == ["x.jpg", "y.jpg"]
    assert can_be_read_twice([str(lines), str(tmp_path)])
    assert not can_be_read_twice(["-"])
    for content in (b"x" * 100_000, "a.jpg\n".encode("utf-16"), b"\0\0\0\x18ftypmp42"):
        lines.write_bytes(content)
        with pytest.raises(LandmarkError, match=r"list.txt isn't a list of paths"):
            list(find_entries([str(lines)]))
    with pytest.raises(LandmarkError, match="nowhere doesn't exist; name folders"):
        check_sources(["nowhere"])


def test_a_photo_is_known_by_its_suffix_or_its_first_bytes(tmp_path):
    names = ["a.jfif", "b.HIF", "photo", "c.jpg_large", "d.backup"]
    for name in names:
        Image.new("RGB", (8, 8)).save(tmp_path / name, "JPEG")
    sources = [tmp_path / name for name in names]
    check_sources([str(source) for source in sources])
    assert paths(*sources) == sorted(map(str, sources))
    (tmp_path / "BMs.txt").write_text("BM/1.jpg\n")
    assert paths(tmp_path / "BMs.txt") == ["BM/1.jpg"]


def test_a_file_that_is_no_list_is_refused_before_any_work(tmp_path):
    (tmp_path / "utf16.txt").write_bytes("a.jpg\n".encode("utf-16"))
    with pytest.raises(LandmarkError, match=r"utf16.txt isn't a list of paths: it must be UTF-8 text"):
        check_sources([str(tmp_path), str(tmp_path / "utf16.txt")])


def test_an_unreadable_folder_is_reported_and_skipped(tmp_path, monkeypatch):
    touch(tmp_path / "a" / "1.jpg", tmp_path / "b" / "2.jpg")
    scandir = os.scandir

    def guarded(path):  # as for somebody who is not root
        if Path(path).name == "a":
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)
    found = {Path(entry.path).name: entry.error for entry in find_entries([str(tmp_path)])}
    assert found == {"a": "The folder can't be listed: Permission denied.", "2.jpg": ""}


def peak(sources) -> tuple[int, int]:
    """How many entries there are, and the most memory that listing them takes, in bytes."""
    tracemalloc.start()
    count = sum(1 for _ in find_entries([str(source) for source in sources]))
    memory = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return count, memory


@pytest.mark.slow
def test_a_million_photos_take_no_more_memory_than_a_thousand(tmp_path):
    for name, count in (("few", 1_000), ("many", 50_000)):
        for start in range(0, count, 1_000):
            touch(*(tmp_path / name / str(start) / f"{index:05}.jpg" for index in range(1_000)))
        with (tmp_path / f"{name}.txt").open("w") as file:
            file.writelines(f"photos/{index:07}.jpg\n" for index in range(20 * count if name == "many" else count))
    for name, expected in (("few", 1_000), ("many", 50_000), ("few.txt", 1_000), ("many.txt", 1_000_000)):
        count, memory = peak([tmp_path / name])
        assert count == expected
        assert memory < 2**19, name


@given(st.binary(min_size=1).map(os.fsdecode).filter(lambda path: "\0" not in path))
@example("a\nb\udce9.jpg")
@example("Bildschirmfoto 2024\u202f14.00.png")
def test_a_written_path_is_one_line_of_utf_8_and_still_leads_to_the_photo(path):
    written = written_path(path)
    assert written.encode().decode() == written
    assert len(written.splitlines()) == 1
    assert written.startswith(("/", "file:///"))
    uri = written.startswith("file:///")
    back = unquote_to_bytes(written.removeprefix("file://")) if uri else os.fsencode(written)
    assert os.path.abspath(back) == os.path.abspath(os.fsencode(path))
    assert os.fsencode(original_path(written)) == back

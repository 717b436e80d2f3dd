import os
from pathlib import Path

import pytest
from helpers.answers import tags_of

from landmark_models import Prediction
from landmark_models.errors import LandmarkError
from landmark_models.library.sidecars import Sidecars

TAJ = tags_of([Prediction("Taj Mahal", 0.97)])


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
    for path in ("photos/a.jpg", "photos/deep/a.jpg", "b.jpg"):
        with pytest.raises(LandmarkError, match=r"outside|a link in its place"):
            Sidecars(xmp, merge=True).write(path, TAJ)
    assert not list(secret.iterdir())


def test_a_read_only_folder_is_reported_in_a_sentence(tmp_path):
    (tmp_path / "photos").write_text("a file")
    with pytest.raises(LandmarkError, match=r"Not a directory|File exists"):
        Sidecars(tmp_path).write("photos/a.jpg", TAJ)
    with pytest.raises(LandmarkError, match="File name too long"):
        Sidecars(tmp_path).write("x" * 253 + ".jpg", TAJ)

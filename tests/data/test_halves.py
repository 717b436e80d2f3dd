import csv
import unicodedata
from collections import Counter

import pytest
from helpers.photos import noisy_photo

from train.data import DataError
from train.data.halves import HALVES, split_halves, write_halves


@pytest.fixture
def folder(tmp_path):
    """Photos of two kinds from seven repositories, one of which has both kinds."""
    rows = []
    for index in range(24):
        kind, repository = "food" if index % 2 else "people", f"owner/{min(index // 3, 6)}"
        (tmp_path / "in" / kind).mkdir(parents=True, exist_ok=True)
        noisy_photo((9, 9, 9), index, (16, 16)).save(tmp_path / "in" / kind / f"{index}.jpg")
        rows.append([f"{kind}/{index}.jpg", repository])
    with (tmp_path / "in" / "sources.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["file", "repository"], *rows])
    return tmp_path / "in"


def test_halves_share_no_repository_and_are_alike(folder, tmp_path):
    counts = write_halves(folder, tmp_path / "out")
    assert abs(counts["choose"] - counts["report"]) <= 3
    repositories = {}
    for half in HALVES:
        with (tmp_path / "out" / half / "sources.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        repositories[half] = {row["repository"] for row in rows}
        photos = [path for path in (tmp_path / "out" / half).rglob("*.jpg") if path.is_file()]
        assert len(photos) == len(rows) == counts[half]
        kinds = Counter(path.parent.name for path in photos)
        assert abs(kinds["food"] - kinds["people"]) <= 4
    assert not repositories["choose"] & repositories["report"]


@pytest.mark.parametrize("stored", ["NFC", "NFD"])
@pytest.mark.parametrize("listed", ["NFC", "NFD"])
@pytest.mark.parametrize("slash", ["/", "\\"])
def test_a_table_written_elsewhere_means_the_same_photos(stored, listed, slash, tmp_path, capsys):
    names = ["château/é.jpg", "château/b.jpg", "château/c.jpg"]
    for name in names:
        file = tmp_path / "in" / unicodedata.normalize(stored, name)
        file.parent.mkdir(parents=True, exist_ok=True)
        noisy_photo((9, 9, 9), 1, (16, 16)).save(file)
    rows = [f"{unicodedata.normalize(listed, name).replace('/', slash)},{name[-5]}" for name in names[:2]]
    (tmp_path / "in" / "sources.csv").write_bytes("\r\n".join(["file,repository", *rows]).encode("utf-8-sig"))
    assert write_halves(tmp_path / "in", tmp_path / "out") == {"choose": 1, "report": 1}
    assert all(link.is_file() for link in (tmp_path / "out").rglob("*.jpg"))
    assert capsys.readouterr().out == f'Left out of "{tmp_path / "in"}": 1 x photo that sources.csv doesn\'t list.\n'


def test_the_seed_decides(folder):
    repositories = {f"a/{index}.jpg": f"owner/{index}" for index in range(20)}
    assert split_halves(repositories) == split_halves(dict(reversed(repositories.items())))
    assert split_halves(repositories) != split_halves(repositories, seed=1)


def test_mistakes_are_sentences(folder, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a.txt").touch()
    with pytest.raises(DataError, match="isn't an empty folder"):
        write_halves(folder, tmp_path / "full")
    (folder / "food" / "1.jpg").unlink()
    with pytest.raises(DataError, match="is missing"):
        write_halves(folder, tmp_path / "out")
    (folder / "sources.csv").write_text("photo,place\n")
    with pytest.raises(DataError, match="columns `file` and `repository`"):
        write_halves(folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()

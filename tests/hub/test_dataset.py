"""Photos in folders, published as a dataset of the Hub, and read back."""

import base64
import hashlib
import shutil
from collections import Counter

import pytest
from datasets import load_dataset
from helpers.photos import RED_HEIC, noisy_photo, with_gps
from huggingface_hub import DatasetCard
from typer.testing import CliRunner

from landmark_models import open_photo
from landmark_models.errors import LandmarkError
from train.data import DataError, find_splits
from train.data.__main__ import app
from train.data.hub_datasets import _commit
from train.hub import dataset
from train.hub.dataset import upload_dataset


@pytest.fixture(autouse=True)
def cache(hub_server, tmp_path, monkeypatch):
    monkeypatch.setenv("LANDMARK_CACHE", str(tmp_path / "cache"))
    _commit.cache_clear()


def contents(photos) -> list[tuple[str, str]]:
    return [
        (photos.labels[target], hashlib.sha256(file.read_bytes()).hexdigest())
        for file, target in zip(photos.files(), photos.targets, strict=True)
    ]


def test_photos_come_back_with_their_labels_splits_order_and_bytes(data, owner, hub_server, monkeypatch, capsys):
    shutil.copytree(data / "test", data / "valid")
    monkeypatch.setattr(dataset, "_SHARD", 20_000)
    upload_dataset(data, f"{owner}/photos", licence="cc-by-4.0")
    names = [name for name in hub_server.files(f"{owner}/photos", "dataset") if name.startswith("data/train")]
    assert len(names) > 1
    assert names[0] == f"data/train-00000-of-{len(names):05}.parquet"
    before, after = find_splits(data, Counter()), find_splits(f"hf:{owner}/photos", Counter())
    assert list(before) == list(after) == ["train", "val", "test"]
    for split, photos in before.items():
        assert photos.labels == after[split].labels
        assert contents(photos) == contents(after[split])
    assert "Published" in (said := capsys.readouterr().out)
    assert f"--data hf:{owner}/photos" in said
    commits = hub_server.commits(f"{owner}/photos", "dataset")
    upload_dataset(data, f"{owner}/photos", licence="cc-by-4.0")
    assert hub_server.commits(f"{owner}/photos", "dataset") == commits
    assert "Nothing has changed" in capsys.readouterr().out


def test_the_card_says_what_a_viewer_and_the_library_need(data, owner, hub_server):
    (data / "train" / "00.Red_Tower" / "broken.jpg").write_bytes(b"\xff\xd8\xff broken")
    (data / "train" / "02.Blue_Lake" / "notes.txt").write_text("")
    with_gps(data / "train" / "01.Green_Bridge" / "gps.jpg")
    upload_dataset(data, f"{owner}/photos")
    card = DatasetCard(hub_server.files(f"{owner}/photos", "dataset")["README.md"].decode())
    about = card.data.to_dict()
    assert about["license"] == "unknown"
    assert about["task_categories"] == ["image-classification"]
    assert about["size_categories"] == ["n<1K"]
    assert about["configs"][0]["data_files"] == [
        {"split": split, "path": f"data/{split}-*"} for split in ("train", "test")
    ]
    names = about["dataset_info"]["features"][1]["dtype"]["class_label"]["names"]
    assert names == {"0": "Red Tower", "1": "Green Bridge", "2": "Blue Lake"}
    assert [(part["name"], part["num_examples"]) for part in about["dataset_info"]["splits"]] == [
        ("train", 25),
        ("test", 9),
    ]
    assert "| Green Bridge | 9 | 3 |" in card.text
    assert "1 x photo that can't be read" in card.text
    assert "1 x .txt file" in card.text
    assert "1 of the files say where they were taken" in card.text
    assert "broken" not in card.text
    loaded = load_dataset(f"hf://datasets/{owner}/photos", split="train", streaming=True)
    assert loaded.features["label"].names == ["Red Tower", "Green Bridge", "Blue Lake"]
    assert next(iter(loaded))["image"].size == (64, 48)


def test_what_cannot_be_uploaded_is_said_before_anything_is_created(
    data, owner, hub_server, tmp_path, capsys, monkeypatch
):
    with pytest.raises(DataError, match="There is no data folder"):
        upload_dataset(tmp_path / "nowhere", f"{owner}/photos")
    for file in data.rglob("*.jpg"):
        file.write_bytes(b"no photo")
    with pytest.raises(DataError, match=r"None of the photos in .* can be read"):
        upload_dataset(data, f"{owner}/photos")
    assert "000.jpg" in capsys.readouterr().out
    monkeypatch.setenv("HF_TOKEN", "hf_bob")
    hub_server.create(f"{owner}/public", "dataset")
    with pytest.raises(LandmarkError, match="can't be written on the Hub"):
        upload_dataset(data, f"{owner}/public")
    monkeypatch.setenv("HF_TOKEN", "hf_alice")
    with pytest.raises(LandmarkError, match="exists and is public"):
        upload_dataset(data, f"{owner}/public", private=True)
    assert list(hub_server.repos) == [("dataset", f"{owner}/public")]


def test_what_the_datasets_library_cannot_read_is_left_out_and_named(data, owner, hub_server, capsys):
    (data / "train" / "00.Red_Tower" / "phone.HEIC").write_bytes(base64.b64decode(RED_HEIC))
    cut = data / "train" / "01.Green_Bridge" / "cut.jpg"
    noisy_photo((0, 200, 0), 1, (640, 480)).save(cut)
    cut.write_bytes(cut.read_bytes()[:-500])
    assert open_photo(cut).size == (640, 480)  # our reader mends it
    upload_dataset(data, f"{owner}/photos")
    said = capsys.readouterr().out
    assert "phone.HEIC: the datasets library can't read it" in said
    assert "cut.jpg: the datasets library can't read it (image file is truncated" in said
    assert "2 x photo that the datasets library can't read: convert it to JPEG" in said
    rows = load_dataset(f"hf://datasets/{owner}/photos", split="train", streaming=True)
    assert sum(row["image"].size == (64, 48) for row in rows) == 24


def test_a_card_that_somebody_wrote_keeps_its_text_and_metadata(data, owner, hub_server, capsys):
    repo = f"{owner}/photos"
    card = "---\nlicense: mit\nlanguage: fr\nconfigs:\n- config_name: old\n  data_files: old/*\n---\n\n# My towers\n"
    hub_server.commit(repo, {"README.md": card.encode(), "map.png": b"map"}, "dataset")
    for _ in range(2):
        upload_dataset(data, repo)
        files = hub_server.files(repo, "dataset")
        kept = DatasetCard(files["README.md"].decode())
        assert kept.text.strip() == "# My towers"
        assert (kept.data.license, kept.data.language) == ("mit", "fr")
        assert [part["config_name"] for part in kept.data.configs] == ["default"]
        assert files["map.png"] == b"map"
        assert "stays as somebody wrote it" in (said := capsys.readouterr().out)
    assert "Nothing has changed" in said
    upload_dataset(data, repo, licence="cc-by-4.0")
    assert DatasetCard(hub_server.files(repo, "dataset")["README.md"].decode()).data.license == "cc-by-4.0"
    assert len(find_splits(f"hf:{repo}", Counter())["train"]) == 24


def test_metadata_alone_are_no_text_to_keep(data, owner, hub_server):
    hub_server.commit(f"{owner}/photos", {"README.md": b"---\nlicense: mit\n---\n"}, "dataset")
    upload_dataset(data, f"{owner}/photos")
    card = DatasetCard(hub_server.files(f"{owner}/photos", "dataset")["README.md"].decode())
    assert card.data.license == "mit"
    assert "# photos" in card.text


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--repo-id", "photos", "--dry-run"], "'photos' isn't the name of a repository: use owner/name"),
        (["--repo-id", "me/a/b", "--dry-run"], "'me/a/b' isn't the name of a repository"),
        (["--repo-id", "me/photos..", "--dry-run"], "'me/photos..' isn't the name of a repository"),
        (["--repo-id", "me/photos", "--dry-run", "--output", "file/x"], "file is a file"),
        (["--repo-id", "me/photos", "--dry-run", "--output", "photos/out"], "in the data folder photos"),
        (["--repo-id", "me/photos", "--dry-run", "--output", "photos/train/out"], "in the data folder"),
        (["--repo-id", "me/photos", "--dry-run", "--license", "[mine"], "the Hub refuses its card"),
    ],
)
def test_what_can_be_checked_is_checked_before_photos_are(words, sentence, data, hub_server, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    monkeypatch.setattr(dataset, "check_photos", lambda *_: pytest.fail("photos were decoded"))
    before = sorted(tmp_path.rglob("*"))
    done = CliRunner().invoke(app, ["upload", "photos", *words])
    assert isinstance(done.exception, LandmarkError)
    assert sentence in str(done.exception)
    assert sorted(tmp_path.rglob("*")) == before
    assert not hub_server.repos


def test_a_dry_run_is_written_beside_the_folder_or_in_the_current_one(data, owner, tmp_path, monkeypatch):
    def dry_run(folder: str) -> None:
        CliRunner().invoke(app, ["upload", folder, "--repo-id", "me/photos", "--dry-run"], catch_exceptions=False)

    monkeypatch.chdir(data)
    dry_run(".")
    assert (tmp_path / "photos-upload" / "dataset" / "README.md").is_file()
    upload_dataset(data, f"{owner}/towers")
    monkeypatch.chdir(tmp_path)
    dry_run(f"hf:{owner}/towers@main")
    assert (tmp_path / "towers-upload" / "dataset" / "README.md").is_file()
    with pytest.raises(LandmarkError, match="no folder beside it for the dry run; name one with --output"):
        dry_run("/")


def test_the_command_uploads_privately_or_writes_what_it_would(data, owner, hub_server, tmp_path):
    def run(*words: str) -> str:
        done = CliRunner().invoke(
            app, ["upload", str(data), "--repo-id", f"{owner}/mine", *words], catch_exceptions=False
        )
        assert done.exit_code == 0
        return done.output

    output = tmp_path / "out"
    for _ in range(2):  # a dry run replaces the last one's
        assert "holds what would be uploaded" in run("--dry-run", "--output", str(output))
    assert sorted(file.name for file in (output / "dataset" / "data").iterdir()) == [
        "test-00000-of-00001.parquet",
        "train-00000-of-00001.parquet",
    ]
    assert not hub_server.repos
    run("--private", "--license", "cc-by-4.0")
    assert hub_server.repo(f"{owner}/mine", "dataset").private
    assert "Nothing has changed" in run("--private")  # its card keeps the licence

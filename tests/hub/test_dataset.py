"""Photos in folders, published as a dataset of the Hub, and read back."""

import hashlib
import shutil
from collections import Counter

import pytest
from datasets import load_dataset
from helpers.photos import with_gps
from huggingface_hub import DatasetCard
from typer.testing import CliRunner

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

"""Datasets of the Hub as DATA, on the Hub on loopback with real Parquet."""

import base64
import hashlib
import io
import json
import zipfile
from collections import Counter

import huggingface_hub.constants
import pytest
from datasets import ClassLabel, Features, Image, Value
from helpers.hub_datasets import parquet, photo_rows
from helpers.photos import RED_HEIC
from helpers.runs import TINY

from landmark_models.errors import LandmarkError
from train.data import DataError, data_folder, data_name, dataset_of, find_photos, find_splits, train_and_val
from train.data.cache import default_cache_folder
from train.data.hub_datasets import HubDataset, _commit
from train.engine.training import fit
from train.measure.evaluation import evaluate
from train.recipe import Recipe

NAMES = ["Red Tower", "Green Bridge", "Blue Lake"]
FEATURES = Features({"image": Image(), "label": ClassLabel(names=NAMES)})
TRAIN = "data/train-00000-of-00001.parquet"


@pytest.fixture
def hub(hub_server, tmp_path, monkeypatch):
    """The Hub, and caches of this test alone."""
    monkeypatch.setenv("LANDMARK_CACHE", str(tmp_path / "cache"))
    _commit.cache_clear()
    return hub_server


@pytest.fixture
def repo(hub, owner, shared_data) -> str:
    """A dataset with the photos of the small data folder as Parquet."""
    files = {f"data/{split}-00000-of-00001.parquet": parquet(photo_rows(shared_data / split), FEATURES)
             for split in ("train", "test")}  # fmt: skip
    hub.commit(f"{owner}/photos", files, "dataset")
    return f"{owner}/photos"


def digests(photos) -> list[tuple[str, str]]:
    return sorted(
        (photos.labels[target], hashlib.sha256(file.read_bytes()).hexdigest())
        for file, target in zip(photos.files(), photos.targets, strict=True)
    )


def test_a_parquet_dataset_has_its_own_labels_splits_and_bytes_and_is_read_once(hub, repo, shared_data):
    found, expected = find_splits(f"hf:{repo}", Counter()), find_splits(shared_data, Counter())
    assert found.keys() == expected.keys()
    for split, photos in found.items():
        assert photos.labels == tuple(NAMES)  # in the dataset's order
        assert digests(photos) == digests(expected[split])
    root = data_folder(f"hf://datasets/{repo}@main")
    assert dataset_of(root) == f"hf:{repo}@{hub.commits(repo, 'dataset')[0]}"
    assert data_name(f"hf:{repo}@main") == f"hf:{repo}"
    stored = sum(file.stat().st_size for file in root.rglob("*.jpg"))
    assert stored == sum(file.stat().st_size for file in shared_data.rglob("*.jpg"))
    assert sum("/cdn/" in request.path for request in hub.requests) < 12
    hub.requests.clear()
    train, val, _ = train_and_val(f"hf:{repo}", 0.25, 0)  # none on the Hub: drawn from train
    assert (len(train), len(val)) == (18, 6)
    assert not hub.requests


def test_a_folder_of_photos_on_the_hub_has_the_labels_of_that_folder(hub, owner, shared_data):
    files = {file.relative_to(shared_data).as_posix(): file.read_bytes() for file in shared_data.rglob("*.jpg")}
    hub.commit(f"{owner}/folder", files, "dataset")
    found, expected = find_splits(f"hf:{owner}/folder", Counter()), find_splits(shared_data, Counter())
    for split, photos in found.items():
        assert photos.labels == expected[split].labels
        assert digests(photos) == digests(expected[split])


def test_photos_in_class_folders_that_the_datasets_library_does_not_list_are_read_too(hub, owner, shared_data):
    files = {file.relative_to(shared_data).as_posix(): file.read_bytes() for file in shared_data.rglob("*.jpg")}
    heic = base64.b64decode(RED_HEIC)
    more = {
        "train/01.Green_Bridge/aaa.HEIC": heic,
        "train/03.Phones/1.heic": heic,  # a class folder of these alone
        "train/top.jpg": files["test/00.Red_Tower/000.jpg"],
        "train/top.heic": heic,
        "train/00.Red_Tower/raw.tga": b"",
        "more/00.Red_Tower/1.avif": b"",
        "notes.txt": b"",
    }
    hub.commit(f"{owner}/folder", files | more, "dataset")
    left_out: Counter[str] = Counter()
    found = find_splits(f"hf:{owner}/folder", left_out)
    assert {split: len(photos) for split, photos in found.items()} == {"train": 26, "test": 9}
    assert found["train"].labels == (*NAMES, "Phones")
    assert sum(path.endswith(".heic") for path in found["train"].paths) == 2
    assert left_out == {
        "photo outside a class folder (train/top.jpg, train/top.heic)": 2,
        ".tga file (train/00.Red_Tower/raw.tga)": 1,
        "photo that the datasets library doesn't list (more/00.Red_Tower/1.avif)": 1,
    }


def test_a_table_of_photos_says_which_the_datasets_library_does_not_list(hub, owner, shared_data):
    folder = shared_data / "test" / "00.Red_Tower"
    files = {f"train/{file.name}": file.read_bytes() for file in folder.iterdir()}
    table = "file_name,label\n" + "".join(f"{name.removeprefix('train/')},Red Tower\n" for name in files)
    more = {"train/metadata.csv": table.encode(), "train/x.heic": b""}
    hub.commit(f"{owner}/table", files | more, "dataset")
    left_out: Counter[str] = Counter()
    photos = find_photos(f"hf:{owner}/table", "train", left_out=left_out)
    assert (len(photos), photos.labels) == (3, ("Red Tower",))
    assert left_out == {"photo that the datasets library doesn't list (train/x.heic)": 1}


def test_class_folders_at_two_depths_are_refused_and_one_class_is_read(hub, owner, shared_data):
    folder = shared_data / "test" / "00.Red_Tower"
    files = {f"train/Red_Tower/{file.name}": file.read_bytes() for file in folder.iterdir()}
    hub.commit(f"{owner}/one", files, "dataset")
    assert find_photos(f"hf:{owner}/one", "train").labels == ("Red Tower",)
    hub.commit(f"{owner}/nested", files | {"train/Blue_Lake/2019/1.jpg": files["train/Red_Tower/000.jpg"]}, "dataset")
    with pytest.raises(DataError, match=r"like train/Red_Tower/000\.jpg, .* like train/Blue_Lake/2019/1\.jpg, so its"):
        data_folder(f"hf:{owner}/nested")


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        (lambda rows: [{**row, "label": -1} for row in rows], "row without a label (test/000000, test/000001"),
        (lambda rows: [{"image": row["image"]} for row in rows], "row without a label (test/000000, test/000001"),
        (lambda rows: [], "split without a photo that has a label (test)"),
    ],
    ids=["hidden labels", "no labels", "no rows"],
)
def test_a_split_that_loses_all_its_rows_is_named(rows, why, hub, owner, shared_data, run, capsys, tmp_path):
    test = rows(photo_rows(shared_data / "test"))
    features = FEATURES if not test or "label" in test[0] else Features({"image": Image()})
    files = {
        TRAIN: parquet(photo_rows(shared_data / "train"), FEATURES),
        TRAIN.replace("train", "test"): parquet(test, features),
    }
    hub.commit(f"{owner}/half", files, "dataset")
    for find in (find_splits, lambda data, left_out: find_photos(data, "test", left_out=left_out)):
        left_out: Counter[str] = Counter()
        found = find(f"hf:{owner}/half", left_out)
        assert found is None or list(found) == ["train"]
        assert left_out["split without a photo that has a label (test)"] == 1
        assert any(reason.startswith(why) for reason in left_out)
    with pytest.raises(DataError, match="has no photos under 'test'"):
        evaluate(run.path, f"hf:{owner}/half", "test", tmp_path / "out")
    assert why in capsys.readouterr().out


def test_text_is_a_label_in_a_column_of_that_name_and_the_column_image_comes_first(hub, owner, shared_data):
    features = Features({"mask": Image(), "label": Value("string"), "image": Image(), "note": Value("string")})
    rows = photo_rows(shared_data / "test")
    text = [{"mask": None, "note": "", **row, "label": NAMES[row["label"]]} for row in rows]
    hub.commit(
        f"{owner}/text",
        {name: parquet(text, features) for name in ("data/valid-00000-of-00001.parquet", TRAIN)},
        "dataset",
    )
    photos = find_splits(f"hf:{owner}/text", Counter())
    assert photos["train"].labels == tuple(sorted(NAMES))
    assert digests(photos["train"]) == digests(photos["val"])
    assert len(photos["val"]) == 9


def test_what_is_not_a_photo_of_the_dataset_is_left_out_and_named(hub, owner, shared_data, tmp_path):
    secret = tmp_path / "secret.jpg"
    secret.write_bytes((shared_data / "test" / "00.Red_Tower" / "000.jpg").read_bytes())
    rows = photo_rows(shared_data / "train")
    first = rows[0]["image"]["bytes"]
    more = [
        {"image": {"bytes": None, "path": str(secret)}, "label": 0},
        {"image": {"bytes": None, "path": f"{hub.url}/api/whoami-v2"}, "label": 0},
        {"image": {"bytes": None, "path": f"file://{secret}"}, "label": 0},
        {"image": None, "label": 0},
        {"image": {"bytes": first, "path": "../../../../evil.sh"}, "label": 0},
        {"image": {"bytes": first, "path": None}, "label": -1},
        {"image": {"bytes": first[:200], "path": "cut.png"}, "label": 2},
    ]
    files = {TRAIN: parquet(rows + more, FEATURES), "data/extra-00000-of-00001.parquet": parquet(rows, FEATURES)}
    files["README.md"] = (
        "---\nconfigs:\n- config_name: default\n  data_files:\n"
        + "".join(f"  - split: {split}\n    path: data/{split}-*\n" for split in ("train", "extra"))
        + "---\n"
    ).encode()
    hub.commit(f"{owner}/odd", files, "dataset")
    left_out: Counter[str] = Counter()
    photos = find_photos(f"hf:{owner}/odd", "train", left_out=left_out)
    assert left_out == {
        "row without a photo (train/000024, train/000025, train/000026 and 1 more)": 4,
        "row without a label (train/000029)": 1,
        "split beside train, validation and test (extra)": 1,
    }
    assert len(photos) == 26
    assert not any("whoami" in request.path for request in hub.requests)
    recipe = Recipe.from_values({**TINY, "epochs": 1})
    split = fit(recipe, f"hf:{owner}/odd", tmp_path / "run").split()
    assert list(split["left_out"]) == ["train/0002._Blue Lake/000030.png"]


def refused(kinds: dict, **values) -> dict[str, bytes]:
    return {TRAIN: parquet([values], Features(kinds))}


IMAGE = {"bytes": b"", "path": None}


def zipped() -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("tower/1.jpg", b"")
    return content.getvalue()


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        (refused({"text": Value("string"), "label": ClassLabel(names=["a"])}, text="", label=0),
         r"one column of images .*Its columns are: text \(string\), label \(int64\)"),
        (refused({"image": Image(), "label": Value("int64")}, image=IMAGE, label=1), "one ClassLabel"),
        (refused({"image": Image(), "fine": ClassLabel(names=["a"]), "coarse": ClassLabel(names=["a"])},
                 image=IMAGE, fine=0, coarse=0), r"fine \(int64\), coarse"),
        (refused({"left": Image(), "right": Image(), "label": ClassLabel(names=["a"])},
                 left=IMAGE, right=IMAGE, label=0), "one column of images"),
        (refused({"image": Image(), "label": ClassLabel(names=["Tower", "To\nwer"])}, image=IMAGE, label=0),
         r"class 'To\\nwer', which can't be a label"),
        (refused({"image": Image(), "label": ClassLabel(names=["Caf\u00e9", "Cafe\u0301"])}, image=IMAGE, label=0),
         "the same label"),
        (refused({"image": Image(), "label": ClassLabel(names=["a", " "])}, image=IMAGE, label=0), "can't be a label"),
        (refused({"image": Image(), "label": ClassLabel(names=["a"])}, image=IMAGE, label=-1),
         r"no photo with a label. Left out: 1 x row without a label \(train/000000\)"),
        ({"README.md": b"---\nlicense: mit\n---\n"}, "can't be read"),
        ({"train.zip": zipped()}, r"in archives \(train.zip\)"),
        ({"odd.py": b"raise SystemExit", TRAIN: b""}, "scripts are no longer supported"),
        ({TRAIN: b"PAR1 and nonsense"}, "can't be read"),
        ({"README.md": b"---\nconfigs:\n- config_name: a\n  data_files: a.parquet\n- config_name: b\n"
                       b"  data_files: a.parquet\n---\n", "a.parquet": b""},
         "several configurations: choose one of a, b, e.g. hf:.*/odd:a"),
        ({"README.md": b"---\nconfigs:\n- config_name: a\n  data_files:\n  - split: all\n    path: '*.parquet'\n---\n",
          "a.parquet": refused({"image": Image(), "label": ClassLabel(names=["a"])}, image=IMAGE, label=0)[TRAIN]},
         "none of the splits train, validation and test, but all"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_refused_with_a_sentence_and_leaves_nothing(files, sentence, hub, owner):
    hub.commit(f"{owner}/odd", files, "dataset")
    with pytest.raises(DataError, match=sentence):
        data_folder(f"hf:{owner}/odd")
    cache = default_cache_folder() / "hf" / owner / "odd"
    assert [file.name for file in cache.iterdir()] == ["ref-main"]


@pytest.mark.parametrize("card", ["README.md", ".huggingface.yaml"])
@pytest.mark.parametrize(
    "place",
    [
        "data_files: {url}/api/whoami-v2",
        "data_files: zip://a.parquet::{url}/api/whoami-v2",
        "data_files: [{{split: train, path: [data/*, '{url}/api/whoami-v2']}}]",
        "data_files: hf://datasets/other/photos/data/*",
        "data_files: {tmp_path}/*.parquet",
        "data_files: 'C:\\own\\*.parquet'",
        "data_files: data/../../*",
        "data_dir: {url}/api",
        "data_dir: ../..",
    ],
)
def test_rows_from_elsewhere_are_refused_before_any_request_for_them(card, place, hub, owner, tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.load_dataset_builder", lambda *_, **__: pytest.fail("the card was followed"))
    text = f"configs:\n- config_name: a\n  {place.format(url=hub.url, tmp_path=tmp_path)}\n"
    text = f"---\n{text}---\n" if card == "README.md" else text
    hub.commit(f"{owner}/odd", {card: text.encode(), TRAIN: b""}, "dataset")
    with pytest.raises(DataError, match=r"is refused: it takes its rows from elsewhere \('"):
        data_folder(f"hf:{owner}/odd")
    assert not any("whoami" in request.path or "/other/" in request.path for request in hub.requests)


def test_the_rows_are_those_that_the_card_names_in_the_repository(hub, owner, shared_data):
    card = (
        "---\nconfigs:\n- config_name: a\n  description: from https://example.org\n  data_files: here/*.parquet\n---\n"
    )
    files = {
        "README.md": card.encode(),
        "here/a.parquet": parquet(photo_rows(shared_data / "test"), FEATURES),
        "b.parquet": b"",
    }
    hub.commit(f"{owner}/named", files, "dataset")
    assert len(find_photos(f"hf:{owner}/named", "train")) == 9


def test_a_dataset_that_is_not_there_or_not_for_this_user_is_a_sentence(hub, repo, owner, monkeypatch):
    with pytest.raises(DataError, match=rf"hf:{owner}/none isn't available: there is none of that name"):
        data_folder(f"hf:{owner}/none")
    with pytest.raises(DataError, match="no such revision"):
        data_folder(f"hf:{repo}@next")
    with pytest.raises(DataError, match="has no configuration 'small': choose one of default"):
        data_folder(f"hf:{repo}:small")
    for name in (f"hf:{repo}:{'x' * 300}", f"hf:{repo}@{'0' * 40}:{'x' * 300}", f"hf:{repo}@{'x' * 300}"):
        with pytest.raises(DataError, match=r"doesn't name a dataset: its (config|revision) is too long"):
            data_folder(name)
    for wrong in ("hf:photos", f"hf:{repo}/train", f"hf://datasets/{repo}/data/*.parquet", f"hf:{repo}@"):
        with pytest.raises(DataError, match="doesn't name a dataset: use hf:owner/name"):
            HubDataset.parse(wrong)
    hub.set_gated(repo, repo_type="dataset")
    monkeypatch.setenv("HF_TOKEN", "hf_bob")
    with pytest.raises(DataError, match=r"it is gated\. Ask for access on its page"):
        data_folder(f"hf:{repo}")
    monkeypatch.setenv("HF_TOKEN", "hf_alice")
    assert find_photos(f"hf:{repo}", "train")


def test_a_failure_in_between_leaves_nothing_and_the_next_call_reads_all(hub, repo):
    hub.fail("train-00000", 500, times=10, method="GET")
    with pytest.raises(DataError, match="can't be read: the Hub is temporarily unavailable"):
        data_folder(f"hf:{repo}")
    hub.faults.clear()
    assert len(find_photos(f"hf:{repo}", "train")) == 24


def test_offline_the_commit_of_the_last_time_is_used(hub, repo, monkeypatch):
    folder = data_folder(f"hf:{repo}")
    hub.commit(repo, {"notes.txt": b""}, "dataset")
    assert data_folder(f"hf:{repo}@{folder.name[:8]}") == folder
    _commit.cache_clear()
    hub.requests.clear()
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    for revision in ("", f"@{folder.name}", f"@{folder.name[:12]}"):
        assert data_folder(f"hf:{repo}{revision}") == folder
    for unknown in (f"hf:{repo}@v1", f"hf:{repo}@{'0' * 40}"):
        with pytest.raises(DataError, match=r"isn't in the cache .* HF_HUB_OFFLINE is set"):
            data_folder(unknown)
    assert not hub.requests


def test_a_run_knows_the_commit_that_it_was_trained_on_and_resumes_on_no_other(hub, repo, shared_data, tmp_path):
    recipe = Recipe.from_values({**TINY, "epochs": 1})
    commit = hub.commits(repo, "dataset")[0]
    run = fit(recipe, f"hf:{repo}", tmp_path / "run")
    assert run.split()["dataset"] == f"hf:{repo}@{commit}"
    metrics = evaluate(run.path, f"hf:{repo}", "test", tmp_path / "out")
    assert (metrics["data"], metrics["dataset"], metrics["n"]) == (f"hf:{repo}", f"hf:{repo}@{commit}", 9)
    landmark = json.loads((run.model / "config.json").read_text())["landmark"]
    assert landmark["dataset"] == landmark["test"]["dataset"] == f"hf:{repo}@{commit}"

    rows = photo_rows(shared_data / "train")
    newer = hub.commit(repo, {TRAIN: parquet(rows[::-1], FEATURES)}, "dataset")
    _commit.cache_clear()
    with pytest.raises(LandmarkError, match=f"--data was hf:{repo}@{commit} and is now hf:{repo}@{newer}"):
        fit(recipe, f"hf:{repo}", run.path, resume=True)
    assert fit(recipe, f"hf:{repo}@{commit}", run.path, resume=True).split()["dataset"] == f"hf:{repo}@{commit}"

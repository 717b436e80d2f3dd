import os
from collections import Counter

import pytest
from helpers.photos import noisy_photo, write_data

from landmark_models.files import left_out_line
from train.data import DataError, find_photos, find_splits, find_unlabelled, train_and_val
from train.data.folders import check_output, split_folders


@pytest.mark.parametrize("name", ["val", "valid", "validation", "Val", "VALID", "Validation"])
def test_a_validation_split_is_used_by_any_of_its_names(name, data):
    (data / "test").rename(data / name)
    train, val, _ = train_and_val(data, 0.25, 0)
    assert (len(train), len(val)) == (24, 9)
    assert len(find_photos(data, name, train.labels)) == len(find_photos(data, "val", train.labels)) == 9
    assert {split: len(photos) for split, photos in find_splits(data, Counter()).items()} == {"train": 24, "val": 9}


@pytest.mark.parametrize("names", [("Train", "TEST"), ("TRAIN", "Test")])
def test_splits_may_be_in_any_case(names, data):
    (data / "train").rename(data / names[0])
    (data / "test").rename(data / names[1])
    assert len(find_photos(data, "train")) == 24
    assert len(find_photos(data, "test")) == 9


@pytest.mark.parametrize("names", [("val", "valid"), ("valid", "validation"), ("train", "Train")])
def test_two_folders_for_one_split_are_refused(names, data):
    for name in names:
        (data / name).mkdir(exist_ok=True)
    for split in ("train", "val", "test"):
        with pytest.raises(DataError, match=r"are both the (val|train) split; merge them or rename one"):
            find_photos(data, split)


def spoil(data):
    """What people have in their folders beside photos that lie where they should."""
    red = data / "train" / "00.Red_Tower"
    noisy_photo((200, 40, 40), 1).save(data / "train" / "loose.jpg")
    noisy_photo((200, 40, 40), 2).save(red / ".hidden.jpg")
    (red / "clip.mp4").write_bytes(b"film")
    (red / "@eaDir" / "000.jpg").mkdir(parents=True)
    noisy_photo((200, 40, 40), 3).save(red / "@eaDir" / "000.jpg" / "SYNOPHOTO_THUMB_M.jpg")
    (red / "gone.jpg").symlink_to(data / "nowhere.jpg")
    (data / "train" / "$RECYCLE.BIN").mkdir()
    noisy_photo((200, 40, 40), 4).save(data / "train" / "$RECYCLE.BIN" / "deleted.jpg")
    (data / "train" / "03.Nothing").mkdir()
    (data / "train" / "04.Films").mkdir()
    (data / "train" / "04.Films" / "a.mov").write_bytes(b"film")
    (data / "training").mkdir()


def test_what_is_left_out_is_counted_and_named(data):
    before = find_photos(data, "train")
    spoil(data)
    left_out = Counter()
    assert find_photos(data, "train", left_out=left_out) == before
    line = left_out_line(left_out, most=99)
    for part in (
        "1 x photo outside a class folder",
        "1 x hidden photo",
        "1 x .mp4 file",
        "1 x .mov file",
        "1 x system folder @eaDir",
        "1 x system folder $RECYCLE.BIN",
        "2 x class folder without a photo (03.Nothing, 04.Films)",
        "1 x folder beside the splits (training)",
        "1 x folder or link that can't be read",
    ):
        assert part in line
    assert sum(left_out.values()) == 10
    train_and_val(data, 0.1, 0, left_out=(again := Counter()))
    assert again == left_out


def test_nothing_left_out_is_nothing_to_say(data):
    left_out = Counter()
    find_photos(data, "train", left_out=left_out)
    assert not left_out


@pytest.mark.parametrize("suffix", [".jfif", ".JPG", ".webp"])
def test_photos_deeper_in_a_class_folder_belong_to_the_class(suffix, data):
    folder = data / "train" / "00.Red_Tower"
    (folder / "2019" / "summer").mkdir(parents=True)
    for index, photo in enumerate(sorted(folder.glob("*.jpg"))):
        photo.rename(folder / "2019" / ("summer" if index % 2 else "") / f"{photo.stem}{suffix}")
    photos = find_photos(data, "train")
    assert photos.labels == ("Red Tower", "Green Bridge", "Blue Lake")
    assert Counter(photos.targets) == {0: 8, 1: 8, 2: 8}
    assert all(file.is_file() for file in photos.files())


@pytest.mark.parametrize("way", ["../01.Green_Bridge", "..", "../../test", "../.."])
def test_a_link_to_another_class_brings_none_of_its_photos(way, data):
    (data / "train" / "00.Red_Tower" / "link").symlink_to(way)
    (data / "train" / "01.Green_Bridge" / "back").symlink_to(data)
    photos = find_photos(data, "train")
    assert Counter(photos.targets) == {0: 8, 1: 8, 2: 8}


def test_photos_of_other_splits_may_be_links_into_the_first(data):
    train = data / "train" / "00.Red_Tower"
    folder = data / "val" / "00.Red_Tower"
    folder.mkdir(parents=True)
    for photo in sorted(train.iterdir())[:3]:
        (folder / photo.name).symlink_to(os.path.relpath(photo, folder))
    assert len(find_photos(data, "val", ["Red Tower"])) == 3


def test_photos_outside_class_folders_alone_are_a_sentence(tmp_path):
    (tmp_path / "photos" / "train").mkdir(parents=True)
    for place in ("a.jpg", "train/a.jpg"):
        noisy_photo((9, 9, 9), 1).save(tmp_path / "photos" / place)
    for data in (tmp_path / "photos", tmp_path / "photos" / "train"):
        with pytest.raises(DataError, match=r"no photo in a class folder.*1 x photo outside a class folder"):
            find_photos(data, "train")


@pytest.mark.parametrize("name", ["train", "valid"])
def test_a_folder_of_data_folders_is_no_folder_of_classes(name, data):
    (data / "train").rename(data / name)
    with pytest.raises(DataError, match="isn't a class but a data folder: pass it as DATA"):
        find_photos(data.parent, "train")


def test_a_test_split_without_classes_does_not_hide_the_others(data):
    for number, photo in enumerate(sorted((data / "test").rglob("*.jpg"))):
        photo.rename(data / "test" / f"{number}.jpg")
    left_out = Counter()
    assert list(find_splits(data, left_out)) == ["train"]
    assert left_out["photo outside a class folder"] == 9


def test_labels_are_those_with_a_photo_that_is_not_excluded(data):
    listed = frozenset(f"train/00.Red_Tower/{number:03d}.jpg" for number in range(8))
    left_out = Counter()
    train, val, excluded = train_and_val(data, 0.25, 0, listed, left_out)
    assert train.labels == val.labels == ("Green Bridge", "Blue Lake")
    assert set(train.targets) == set(val.targets) == {0, 1}
    assert excluded == sorted(listed)
    assert left_out == {"class whose photos are all excluded (Red Tower)": 1}
    with pytest.raises(DataError, match="one class only, 'Blue Lake'"):
        train_and_val(data, 0.25, 0, listed | {path.replace("00.Red_Tower", "01.Green_Bridge") for path in listed})


def test_thumbnails_and_trash_are_no_negatives(data, tmp_path, capsys):
    library = tmp_path / "library"
    for number, place in enumerate(["a.jpg", "@eaDir/a.jpg/SYNOPHOTO_THUMB_XL.jpg", "#recycle/b.jpg", "2020/c.jpg"]):
        (library / place).parent.mkdir(parents=True, exist_ok=True)
        noisy_photo((9, 9, 9), number).save(library / place)
    write_data(library / "photos")
    outside, own = find_unlabelled([library], library / "photos")
    assert outside == [str(library / "2020" / "c.jpg"), str(library / "a.jpg")]
    assert len(own) == 33
    assert capsys.readouterr().out == (
        f'Left out of "{library}": 1 x system folder @eaDir, 1 x system folder #recycle.\n'
    )


def test_the_splits_of_a_folder_of_classes_are_none(data):
    assert split_folders(data / "train") == {}
    assert list(split_folders(data)) == ["train", "test"]


@pytest.mark.parametrize(
    ("layout", "output", "sentence"),
    [
        ("train", "train/run", "taken for a class"),
        ("train", "train/a/run", "taken for a class"),
        ("train", "train", "taken for a class"),
        (".", "run", "taken for a class"),
        ("train", "train/a/0.jpg", "is a file"),
        ("train", "train/a/0.jpg/below/it", "is a file"),
    ],
)
def test_an_output_among_the_classes_or_below_a_file_is_refused(tmp_path, layout, output, sentence):
    folder = tmp_path / layout / "a"
    folder.mkdir(parents=True)
    (folder / "0.jpg").touch()
    with pytest.raises(DataError, match=sentence):
        check_output(tmp_path / output, tmp_path)


def test_an_output_beside_the_splits_or_elsewhere_is_fine(tmp_path):
    (tmp_path / "train" / "a").mkdir(parents=True)
    check_output(tmp_path / "runs" / "first", tmp_path)
    check_output(tmp_path / "trainings", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["train"]


@pytest.mark.parametrize("names", [("training", "testing"), ("Training", "dev"), ("eval",)])
def test_folders_named_almost_like_splits_are_no_classes(tmp_path, names):
    for name in names:
        for label in ("Red_Tower", "Green_Bridge"):
            photo = tmp_path / name / label / "a.jpg"
            photo.parent.mkdir(parents=True)
            noisy_photo((200, 40, 40), 0).save(photo)
    with pytest.raises(DataError, match="name the folders of splits train, val and test"):
        find_photos(tmp_path, "train")


def test_the_current_folder_is_a_data_folder(data, monkeypatch):
    monkeypatch.chdir(data)
    photos = find_photos(".", "train")
    assert photos.paths == find_photos(data, "train").paths
    assert all(file.is_file() for file in photos.files())

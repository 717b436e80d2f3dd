import os
import pickle
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from helpers.photos import noisy_photo, write_data
from hypothesis import given
from hypothesis import strategies as st

import train.data.cache
from landmark_models.errors import LandmarkError
from landmark_models.text import label_of
from train.data import DataError, EpochSampler, PhotoCache, Photos, find_photos, photos_below, split_off


def test_splits_and_bare_classes_are_found(data):
    found = find_photos(data, "train")
    assert found.labels == ("Red Tower", "Green Bridge", "Blue Lake")
    assert Counter(found.targets) == {0: 8, 1: 8, 2: 8}
    assert find_photos(data, "val") is None
    assert len(find_photos(data, "test", found.labels)) == 9

    bare = find_photos(data / "train", "train")
    assert bare.labels == found.labels
    assert [path.read_bytes() for path in bare.files()] == [path.read_bytes() for path in found.files()]
    assert find_photos(data / "train", "test") is None
    assert len(find_photos(data / "train", "all")) == 24


def test_labels_are_matched_by_name_not_position(data):
    (data / "test" / "00.Red_Tower").rename(data / "test" / "77.Red_Tower")
    photos = find_photos(data, "test", ["Blue Lake", "Red Tower", "Green Bridge"])
    for path, target in zip(photos.paths, photos.targets, strict=True):
        assert photos.labels[target] == label_of(Path(path).parts[1])


def test_other_files_are_ignored_and_links_followed(data, tmp_path):
    (data / "train" / "00.Red_Tower" / "notes.txt").write_text("no photo")
    (data / "train" / "00.Red_Tower" / ".hidden.jpg").write_text("no photo")
    (data / "train" / ".cache").mkdir()
    (data / "elsewhere").mkdir()
    elsewhere = tmp_path / "more"
    (data / "train" / "01.Green_Bridge").rename(elsewhere)
    (data / "train" / "01.Green_Bridge").symlink_to(elsewhere)
    (elsewhere / "loop").symlink_to(data / "train")
    assert len(find_photos(data, "train")) == 24


def test_mistakes_in_the_data_are_sentences(data, tmp_path):
    with pytest.raises(DataError, match=r"no data folder .*nowhere\.$"):
        find_photos(tmp_path / "nowhere", "train")
    with pytest.raises(DataError, match="'Blue Lake', which the model does not know"):
        find_photos(data, "test", ["Red Tower", "Green Bridge"])
    with pytest.raises(DataError, match="choose one of them"):
        find_photos(data, "all")
    (data / "train" / "Red_Tower").mkdir()
    with pytest.raises(DataError, match="same label 'Red Tower'"):
        find_photos(data, "train")
    (tmp_path / "empty" / "train").mkdir(parents=True)
    with pytest.raises(DataError, match="no photo in a class folder"):
        find_photos(tmp_path / "empty", "train")


@given(st.lists(st.integers(0, 4), min_size=10, max_size=60), st.floats(0.05, 0.6), st.integers(0, 5))
def test_the_split_is_stratified_complete_and_repeatable(targets, fraction, seed):
    photos = Photos(Path("root"), tuple(f"{i}.jpg" for i in range(len(targets))), tuple(targets), tuple("abcde"))
    rest, val = split_off(photos, fraction, seed)
    assert sorted(rest.paths + val.paths) == sorted(photos.paths)
    assert split_off(photos, fraction, seed) == (rest, val)
    for target, count in Counter(targets).items():
        drawn = val.targets.count(target)
        assert drawn == (min(max(round(count * fraction), 1), count - 1))


def test_many_labels_are_numbered_anew_at_once():
    labels = tuple(map(str, range(30_000)))
    photos = Photos(Path("root"), labels, tuple(range(30_000)), labels)
    started = time.perf_counter()
    turned = photos.of_labels(labels[:0:-1])
    assert time.perf_counter() - started < 2  # looking through the labels for each of them takes more than ten seconds
    assert turned.targets[:2] == (29_998, 29_997)
    assert len(turned) == 29_999


def test_nothing_to_validate_on_is_said():
    one_each = Photos(Path("root"), ("a.jpg", "b.jpg"), (0, 1), ("a", "b"))
    with pytest.raises(DataError, match="a class two photos"):
        split_off(one_each, 0.5, 0)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=50), st.integers(1, 16), st.integers(0, 3))
def test_an_epoch_has_every_photo_and_whole_batches(targets, batch_size, epoch):
    sampler = EpochSampler(targets, batch_size, seed=1, balanced=False, side=lambda epoch: 8 * epoch)
    sampler.set_epoch(epoch)
    items = list(sampler)
    assert items == list(sampler)
    assert len(items) == len(sampler)
    assert len(items) % batch_size == 0
    assert len(items) < len(targets) + batch_size
    assert {index for index, _, _ in items} == set(range(len(targets)))
    assert {side for _, _, side in items} <= {8 * epoch}


def test_epochs_differ_and_balance_evens_the_classes():
    targets = [0] * 900 + [1] * 100
    sampler = EpochSampler(targets, 100, seed=1, balanced=True, side=lambda epoch: 8 * epoch)
    first = list(sampler)
    sampler.set_epoch(2)
    assert first != list(sampler)
    assert 400 < sum(targets[index] for index, _, _ in first) < 600


def test_photos_are_decoded_once_and_read_again(data, tmp_path, monkeypatch):
    (data / "train" / "00.Red_Tower" / "broken.jpg").write_bytes(b"no photo")
    files = find_photos(data, "train").files()
    cache = PhotoCache.open(files, 24, tmp_path / "cache", progress=False)
    broken = data / "train" / "00.Red_Tower" / "broken.jpg"
    assert set(cache.failures) == {broken}
    assert "broken.jpg" in cache.failures[broken]
    other = data / "train" / "00.Red_Tower" / "003.jpg"
    assert cache[other].shape == (24, 32, 3)
    assert cache[other].dtype == np.uint8

    def no_decoding(*_):
        raise AssertionError("decoded again")

    monkeypatch.setattr("train.data.cache._decode", no_decoding)
    again = PhotoCache.open(files, 24, tmp_path / "cache", progress=False)
    assert np.array_equal(again[other], cache[other])
    assert np.array_equal(pickle.loads(pickle.dumps(again))[other], cache[other])
    assert len(pickle.dumps(again)) < 10_000


@pytest.mark.parametrize("change", ["touch", "remove", "size"])
def test_the_cache_is_made_anew_when_anything_changes(change, data, tmp_path):
    files = find_photos(data, "train").files()
    PhotoCache.open(files, 24, tmp_path / "cache", progress=False)
    if change == "touch":
        os.utime(files[0], ns=(1, 1))
    if change == "remove":
        files = files[1:]
    cache = PhotoCache.open(files, 20 if change == "size" else 24, tmp_path / "cache", progress=False)
    assert len(cache) == len(files)
    assert cache[files[0]].shape[0] == (20 if change == "size" else 24)
    assert len(list((tmp_path / "cache").iterdir())) == 2


def test_two_runs_may_make_the_same_cache_at_once(data, tmp_path, monkeypatch):
    files = find_photos(data, "train").files()
    write = train.data.cache._write

    def while_another_finishes(*arguments):
        write(*arguments)
        monkeypatch.setattr("train.data.cache._write", write)
        PhotoCache.open(files, 24, tmp_path / "cache", progress=False)

    monkeypatch.setattr("train.data.cache._write", while_another_finishes)
    cache = PhotoCache.open(files, 24, tmp_path / "cache", progress=False)
    assert cache[files[0]].shape == (24, 32, 3)
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_a_half_made_cache_is_never_found(data, tmp_path, monkeypatch):
    files = find_photos(data, "train").files()

    def crash(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("train.data.cache._decode", crash)
        with pytest.raises(KeyboardInterrupt):
            PhotoCache.open(files, 24, tmp_path / "cache", progress=False)
    assert list((tmp_path / "cache").iterdir()) == []
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(LandmarkError, match="LANDMARK_CACHE"):
        PhotoCache.open(files, 24, tmp_path / "file", progress=False)


def test_small_photos_are_not_enlarged(tmp_path):
    data = write_data(tmp_path / "d", train=2, test=1)
    files = find_photos(data, "train").files()
    cache = PhotoCache.open(files, 500, tmp_path / "cache", progress=False)
    assert cache[files[0]].shape == (48, 64, 3)


def test_what_can_not_be_searched_for_photos_is_counted(tmp_path, capsys):
    noisy_photo((200, 40, 40), 1).save(tmp_path / "a.jpg")
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    assert photos_below(tmp_path) == [tmp_path / "a.jpg"]
    assert capsys.readouterr().out == (
        f'Left out of "{tmp_path}": 1 x folder or link that can\'t be read ({tmp_path / "gone.jpg"}).\n'
    )

import json
import shutil
from collections import Counter

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import PartialState
from helpers.runs import tiny

import train.data.folders
from landmark_models import models
from train.data import DataError, Photos, find_photos, train_and_val
from train.engine.prepared import TrainingPhotos, find_training_photos, worker_count
from train.engine.teacher import Teacher
from train.engine.training import fit
from train.run import RunFolder


@pytest.mark.parametrize(("cores", "processes", "workers"), [(32, 1, 8), (32, 8, 3), (4, 1, 3), (2, 4, 1)])
def test_workers_are_shared_out_among_the_processes_of_this_machine(cores, processes, workers, monkeypatch):
    monkeypatch.setattr("landmark_models.devices.available_cores", lambda: cores)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(processes))
    assert worker_count(tiny(workers=None)) == workers
    assert worker_count(tiny(workers=5)) == 5


@pytest.mark.parametrize(("process", "local_process"), [(0, 0), (2, 0), (3, 1)])
def test_the_first_process_of_each_machine_decodes_and_the_others_wait_for_it(
    process, local_process, data, tmp_path, monkeypatch
):
    """Two machines of two processes each, every one with its own cache."""
    monkeypatch.setenv("LANDMARK_CACHE", str(tmp_path / "cache"))
    accelerator = Accelerator(cpu=True)
    caches = []
    monkeypatch.setattr(PartialState, "wait_for_everyone", lambda _: caches.append(len(list(tmp_path.glob("cache/*")))))
    for name, value in {"num_processes": 4, "process_index": process, "local_process_index": local_process}.items():
        monkeypatch.setitem(PartialState._shared_state, name, value)
    photos = find_photos(data, "train")
    sizes = dict.fromkeys(photos.paths, 0)
    TrainingPhotos(photos, photos, {}, sizes).decoded(32, False, accelerator)
    assert caches == [0 if local_process else 1]


@pytest.fixture
def broken(data):
    """Data with a class of which no training photo can be read, in the middle of the others."""
    shutil.move(data / "test", data / "val")
    for split, content in (("train", b"no photo"), ("val", (data / "val" / "00.Red_Tower" / "000.jpg").read_bytes())):
        (data / split / "00.Snow_Gate").mkdir()
        for name in ("a.jpg", "b.jpg"):
            (data / split / "00.Snow_Gate" / name).write_bytes(content)
    return data


def test_a_class_of_which_no_photo_can_be_read_is_no_label(broken, tmp_path, capsys):
    run = fit(tiny(epochs=1), broken, tmp_path / "run")
    labels = ["Red Tower", "Green Bridge", "Blue Lake"]
    config = json.loads((run.model / "config.json").read_text())
    assert config["label_names"] == run.split()["labels"] == labels
    assert config["num_classes"] == 3
    printed = capsys.readouterr().out
    assert "No photo of Snow Gate can be read" in printed
    assert "24 training and 9 validation photos of 3 classes" in printed
    left_out = run.split()["left_out"]
    assert {path for path in left_out if "Snow_Gate" in path} == left_out.keys()
    assert len(left_out) == 4
    fit(tiny(epochs=1), broken, run.path, resume=True)
    assert run.split()["labels"] == labels


def test_photos_without_labels_keep_the_number_above_all_labels(broken):
    accelerator = Accelerator(cpu=True)
    known, val, _ = train_and_val(broken, 0, 0)
    red = known.of_label("Red Tower").paths
    both = known.joined(Photos(known.root, red, (len(known.labels),) * len(red), known.labels))
    photos, _ = TrainingPhotos(both, val, {}, dict.fromkeys(both.paths + val.paths, 0)).decoded(32, False, accelerator)
    assert Counter(photos.train.targets) == {0: 8, 1: 8, 2: 8, 3: 8}
    named = Counter(photos.labels[target] for target in photos.val.targets)
    assert named == {"Red Tower": 3, "Green Bridge": 3, "Blue Lake": 3}


def test_a_teacher_answers_for_the_labels_that_are_left(sure):
    teacher = Teacher(models.load(sure), tiny(), ["Blue Lake", "Red Tower", "Green Bridge"])
    images = torch.rand(2, 3, 32, 32)
    before = teacher.logits(images, [0.5] * 3, [0.2] * 3)
    teacher.keep_labels(["Blue Lake", "Red Tower", "Green Bridge"], ["Green Bridge", "Blue Lake"])
    assert torch.equal(teacher.logits(images, [0.5] * 3, [0.2] * 3), before[:, [2, 0]])


def test_one_class_that_can_be_read_is_too_few(broken, tmp_path):
    for name in ("01.Green_Bridge", "02.Blue_Lake"):
        for photo in (broken / "train" / name).iterdir():
            photo.write_bytes(b"no photo")
    with pytest.raises(DataError, match=r"Only one class in .*, 'Red Tower', has a photo that can be read"):
        fit(tiny(epochs=1), broken, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_data_is_listed_once_for_each_split(data, tmp_path, monkeypatch):
    listed = []
    below = train.data.folders.find_photos_below
    monkeypatch.setattr(
        "train.data.folders.find_photos_below", lambda top, **more: listed.append(top) or below(top, **more)
    )
    (tmp_path / "exclude.txt").write_text("train/00.Red_Tower/000.jpg\n")
    photos = find_training_photos(tiny(), data, RunFolder(tmp_path / "run"), False, tmp_path / "exclude.txt")
    assert photos.left_out == {"train/00.Red_Tower/000.jpg": f"listed in {tmp_path / 'exclude.txt'}"}
    assert len(listed) == 3

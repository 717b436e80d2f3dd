import shutil
from dataclasses import replace

import pytest
import torch
from helpers.photos import MORE_COLORS, write_data
from helpers.programs import invoke
from torch import nn

from landmark_models import LandmarkClassifier
from landmark_models.errors import LandmarkError
from landmark_models.teach import teach
from landmark_models.teaching import AddOn, combined
from train.data import find_photos
from train.engine import gallery
from train.engine.gallery import make_gallery
from train.gallery import command
from train.measure import predict
from train.measure.predict import predict_features

LABELS = ("Red Tower", "Green Bridge", "Blue Lake")


@pytest.fixture(scope="session")
def classifier(teachable) -> LandmarkClassifier:
    return LandmarkClassifier.load(teachable.path)


def test_each_class_is_the_mean_of_its_photos(classifier, data, tmp_path, monkeypatch):
    monkeypatch.setattr(predict, "fast_precision", lambda device: torch.float32)  # as predict_features
    file = tmp_path / "new" / "all.landmarks.safetensors"
    made = make_gallery(classifier, data, file)
    assert (made.photos, made.addon.labels, made.addon.projection) == (24, LABELS, None)
    read = AddOn.read(file)
    assert (read.labels, read.counts.tolist(), read.model) == (LABELS, [8, 8, 8], "")
    photos = find_photos(data, "train")
    features, _ = predict_features(classifier, photos.files(), "features")
    means = classifier.served.whitened(features).unflatten(0, (3, 8)).mean(1)
    torch.testing.assert_close(read.vectors.float(), means, atol=1e-2, rtol=1e-2)
    taught = classifier.with_taught(read)
    assert taught.labels == list(LABELS)  # it knew them
    for label in (0, 1, 2):
        answer = taught.predict(photos.files()[8 * label])
        assert answer[0].label == LABELS[label]
    assert {file.name for file in file.parent.iterdir()} == {file.name}


def test_fewer_dimensions_are_the_principal_ones(classifier, data, tmp_path):
    whole = make_gallery(classifier, data, tmp_path / "whole.landmarks.safetensors").addon
    addon = make_gallery(classifier, data, tmp_path / "two.landmarks.safetensors", dimensions=2).addon
    assert addon.vectors.shape == (3, 2)
    rows = addon.projection.float()
    torch.testing.assert_close(rows @ rows.T, torch.eye(2), atol=2e-3, rtol=0)
    units = nn.functional.normalize(whole.vectors.float(), dim=1)
    kept = (units @ rows.T).square().sum()
    torch.testing.assert_close(kept, torch.linalg.svdvals(units)[:2].square().sum(), atol=2e-3, rtol=0)
    torch.testing.assert_close(addon.vectors.float(), whole.vectors.float() @ rows.T, atol=2e-2, rtol=2e-2)
    assert classifier.with_taught(addon).predict(data / "test" / "02.Blue_Lake" / "000.jpg")[0].label == "Blue Lake"


def test_a_landmark_of_ones_own_goes_with_a_gallery_of_fewer_dimensions(classifier, data, tmp_path):
    colors = write_data(tmp_path / "more", colors=MORE_COLORS)
    addon = make_gallery(classifier, data, tmp_path / "two.landmarks.safetensors", dimensions=2).addon
    many = replace(addon, labels=("Red Wall", "Green Wall", "Blue Wall"))
    mine = teach(classifier, "Gate", sorted((colors / "train" / "03.Yellow_Gate").iterdir())).addon
    taught = classifier.with_taught(many, mine)
    assert taught.labels == [*LABELS, *many.labels, "Gate"]
    answer = taught.predict(colors / "test" / "03.Yellow_Gate" / "000.jpg", top_k=7)
    assert answer[0].label == "Gate"
    assert answer.taught["Gate"].photos == answer.taught["Red Wall"].photos == 8
    again = classifier.with_taught(many, replace(mine, labels=("Blue Wall",), facts={}))
    assert again.labels == [*LABELS, *many.labels]
    with pytest.raises(LandmarkError, match="have different dimensions, so they stay separate files; use --with"):
        combined([many, mine])


def test_what_cant_be_read_is_counted_and_named(classifier, data, tmp_path, capsys):
    (data / "train" / "00.Red_Tower" / "000.jpg").write_bytes(b"no photo")
    for photo in (data / "train" / "02.Blue_Lake").iterdir():
        photo.write_bytes(b"no photo")
    made = make_gallery(classifier, data, tmp_path / "all.landmarks.safetensors")
    assert (made.photos, made.addon.labels, made.addon.counts.tolist()) == (15, LABELS[:2], [7, 8])
    shown = capsys.readouterr().out
    assert "9 x photo that can't be read (train/00.Red_Tower/000.jpg, " in shown
    assert "1 x class of which no photo can be read (Blue Lake)" in shown
    shutil.rmtree(data / "train" / "00.Red_Tower")
    shutil.rmtree(data / "train" / "01.Green_Bridge")
    with pytest.raises(LandmarkError, match=r"No photo in .* can be read"):
        make_gallery(classifier, data, tmp_path / "none.landmarks.safetensors")


def test_an_interrupted_run_continues_with_the_class_that_it_was_in(classifier, data, tmp_path, monkeypatch):
    expected = make_gallery(classifier, data, tmp_path / "whole.landmarks.safetensors", batch_size=4).addon
    file, partial = tmp_path / "x.landmarks.safetensors", tmp_path / "x.landmarks.safetensors.partial"
    batches, taught = gallery.whitened_batches, []

    def interrupted(*arguments):
        for count, batch in enumerate(batches(*arguments)):
            if count == 3:
                raise KeyboardInterrupt
            yield batch

    monkeypatch.setattr(gallery, "whitened_batches", interrupted)
    with pytest.raises(KeyboardInterrupt):
        make_gallery(classifier, data, file, batch_size=4)
    assert not file.exists()
    with partial.open("ab") as content:
        content.write(b"half a record")  # as a killed process may leave it
    with pytest.raises(LandmarkError, match=r"continue it with --resume, or delete .*partial"):
        make_gallery(classifier, data, file, batch_size=4)

    def counted(classifier, files, *arguments):
        taught.extend(files)
        return batches(classifier, files, *arguments)

    monkeypatch.setattr(gallery, "whitened_batches", counted)
    made = make_gallery(classifier, data, file, batch_size=4, resume=True)
    assert {path.parent.name for path in taught} == {"01.Green_Bridge", "02.Blue_Lake"}
    assert made.photos == 24
    for addon in (made.addon, AddOn.read(file)):
        assert (addon.labels, addon.counts.tolist()) == (expected.labels, expected.counts.tolist())
        torch.testing.assert_close(addon.vectors, expected.vectors, atol=1e-3, rtol=2e-3)
    assert not partial.exists()


def test_a_run_is_not_continued_with_other_photos(classifier, data, tmp_path, monkeypatch):
    file, partial = tmp_path / "x.landmarks.safetensors", tmp_path / "x.landmarks.safetensors.partial"

    def fail(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(gallery, "whitened_batches", fail)
        with pytest.raises(KeyboardInterrupt):
            make_gallery(classifier, data, file)
    (data / "train" / "00.Red_Tower" / "000.jpg").unlink()
    with pytest.raises(LandmarkError, match="from other photos or another model; delete it to begin anew"):
        make_gallery(classifier, data, file, resume=True)
    partial.unlink()
    assert make_gallery(classifier, data, file, resume=True).photos == 23  # there is nothing to continue


def test_the_command_says_what_it_has_made(teachable, data, tmp_path):
    file = tmp_path / "all.landmarks.safetensors"
    options = ["--data", data, "--output", file]
    shown = invoke(command, teachable.path, *options).output
    assert "3 landmarks of 96 numbers each, 0.0 MB, taught from 24 photos in " in shown
    assert isinstance(invoke(command, teachable.path, *options).exception, LandmarkError)


def test_mistakes_are_named_before_any_photo_is_read(classifier, run, data, tmp_path):
    file = tmp_path / "all.landmarks.safetensors"
    with pytest.raises(LandmarkError, match=r"must be named NAME\.landmarks\.safetensors"):
        make_gallery(classifier, data, tmp_path / "all.safetensors")
    with pytest.raises(LandmarkError, match="has no val folder"):
        make_gallery(classifier, data, file, split="val")
    with pytest.raises(LandmarkError, match="can't be taught"):
        make_gallery(LandmarkClassifier.load(run.path), data, file)
    with pytest.raises(LandmarkError, match="can't be written"):
        make_gallery(classifier, data, data / "test" / "00.Red_Tower" / "000.jpg" / file.name)
    file.touch()
    with pytest.raises(LandmarkError, match="is there already"):
        make_gallery(classifier, data, file)

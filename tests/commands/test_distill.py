import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from helpers.photos import noisy_photo, write_data
from helpers.runs import TINY, weights

from landmark_models import models
from landmark_models.errors import LandmarkError
from train.data import DataError
from train.engine import loop
from train.engine.network import weights_digest
from train.engine.teacher import Teacher
from train.engine.training import fit
from train.recipe import Recipe

LABELS = ["Red Tower", "Green Bridge", "Blue Lake"]


@pytest.fixture(scope="module")
def teacher(shared_data, tmp_path_factory):
    """A run that knows the three classes well."""
    recipe = Recipe.from_values({**TINY, "epochs": 8, "warmup_epochs": 1})
    return fit(recipe, shared_data, tmp_path_factory.mktemp("teachers") / "good")


def student(**knobs) -> Recipe:
    return Recipe.from_values({**TINY, "model_args": {**TINY["model_args"], "channels": [8, 8]}, **knobs})


def test_the_loss_is_the_divergence_and_the_weighted_cross_entropy(teacher):
    recipe = Recipe(distill_temperature=2.0, hard_label_weight=0.3)
    lesson = Teacher(models.load(teacher.path), recipe, LABELS)
    generator = torch.Generator().manual_seed(0)
    logits, taught = torch.randn(2, 5, 3, generator=generator)
    targets = torch.tensor([0, 1, 2, 3, 3])  # the last two have no label
    p, q = (taught / 2).softmax(1), (logits / 2).softmax(1)
    divergence = (p * (p / q).log()).sum(1).mean() * 4
    own = torch.nn.functional.cross_entropy(logits[:3], targets[:3], reduction="sum") / 5
    assert lesson.loss(logits, taught, targets) == pytest.approx((divergence + 0.3 * own).item(), rel=1e-5)
    mixed = torch.nn.functional.one_hot(targets, 4).float()
    assert lesson.loss(logits, taught, mixed) == pytest.approx((divergence + 0.3 * own).item(), rel=1e-5)
    lesson.hard_label_weight = 0.0
    assert lesson.loss(taught, taught, targets) == pytest.approx(0.0, abs=1e-6)


def test_the_teacher_answers_in_the_students_order_and_sees_its_own_preprocessing(teacher):
    model = models.load(teacher.path)
    images = torch.rand(2, 3, 32, 32)

    def normalised(mean, std):
        return (images - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)

    cfg = model.pretrained_cfg
    with torch.inference_mode():
        expected = model.network(normalised(cfg["mean"], cfg["std"]))
    lesson = Teacher(model, Recipe(), LABELS[::-1])
    found = lesson.logits(normalised([0.2, 0.3, 0.4], [0.5, 0.6, 0.7]), [0.2, 0.3, 0.4], [0.5, 0.6, 0.7])
    assert torch.allclose(found, expected[:, [2, 1, 0]], atol=1e-4)


def test_a_student_learns_from_the_teacher_alone_with_photos_that_nobody_labelled(shared_data, teacher, tmp_path):
    # One labelled photo a class is all it gets besides; the hard labels play no part.
    few = tmp_path / "few"
    for split in ("train", "val"):
        for folder in (shared_data / "train").iterdir():
            (few / split / folder.name).mkdir(parents=True)
            for photo in sorted(folder.iterdir())[:1] if split == "train" else sorted(folder.iterdir())[1:]:
                (few / split / folder.name / photo.name).write_bytes(photo.read_bytes())
    unlabelled = tmp_path / "unlabelled" / "deep"
    unlabelled.mkdir(parents=True)
    for seed in range(30):
        color = [(200, 40, 40), (40, 200, 40), (40, 40, 200)][seed % 3]
        noisy_photo(color, 7000 + seed).save(unlabelled / f"{seed}.jpg")
    recipe = student(epochs=10, warmup_epochs=1, mixup=0.5, teacher_image_size=40)
    run = fit(recipe, few, tmp_path / "run", teacher=models.load(teacher.path), unlabelled=[tmp_path / "unlabelled"])
    split = run.split()
    assert len(split["train"]) == 33
    assert max(line["val_top1"] for line in run.metrics()) == 1.0
    assert run.metrics()[-1]["train_loss"] < 0.5 * run.metrics()[0]["train_loss"]
    assert (
        models.load(run.path).landmark["teacher"]
        == f"landmark_net (good, sha256 {weights_digest(models.load(teacher.path).network)[:12]})"
    )


def test_an_interrupted_distillation_ends_as_if_it_had_not_been(shared_data, teacher, tmp_path, monkeypatch):
    recipe = student(epochs=2, mixup=0.5, hard_label_weight=0.5, start_image_size=24)
    more = write_data(tmp_path / "more", train=1, test=2)
    lesson = {"teacher": models.load(teacher.path), "unlabelled": [more]}
    whole = fit(recipe, shared_data, tmp_path / "whole", **lesson)

    def stop(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(loop, "draw_curves", stop)
        with pytest.raises(KeyboardInterrupt):
            fit(recipe, shared_data, tmp_path / "stopped", **lesson, checkpointing_steps=2)
    resumed = fit(recipe, shared_data, tmp_path / "stopped", **lesson, resume=True)
    assert all(torch.equal(weights(whole)[name], weights(resumed)[name]) for name in weights(whole))
    lesson["teacher"] = replace(lesson["teacher"], source="elsewhere/other")
    with pytest.raises(LandmarkError, match=r"its teacher was landmark_net \(good, .* and is now landmark_net \(other"):
        fit(recipe, shared_data, tmp_path / "stopped", **lesson, resume=True)
    lesson.pop("teacher")
    with pytest.raises(LandmarkError, match="add --teacher MODEL"):
        fit(recipe, shared_data, tmp_path / "stopped", **lesson, resume=True)


def test_photos_of_the_data_itself_are_not_used_as_unlabelled_ones(shared_data, teacher, tmp_path, capsys):
    noisy_photo((9, 9, 9), 5).save(tmp_path / "new.jpg")
    (tmp_path / ".hidden").mkdir()
    noisy_photo((9, 9, 9), 6).save(tmp_path / ".hidden" / "thumb.jpg")
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    recipe, lesson = student(epochs=1, warmup_epochs=0), models.load(teacher.path)
    run = fit(recipe, shared_data, tmp_path / "run", teacher=lesson, unlabelled=[shared_data, tmp_path])
    assert [path for path in run.split()["train"] if not path.startswith("train/")] == [str(tmp_path / "new.jpg")]
    assert "33 of the unlabelled photos are part of the data itself" in capsys.readouterr().out
    few = fit(replace(recipe, overfit_batches=1), shared_data, tmp_path / "few", teacher=lesson, unlabelled=[tmp_path])
    assert all(path.startswith("train/") for path in few.split()["val"])


def test_mistakes_are_reported_in_a_sentence(data, teacher, tmp_path):
    model = models.load(teacher.path)
    (data / "train" / "00.Red_Tower").rename(data / "train" / "00.Old_Mill")
    with pytest.raises(LandmarkError, match="doesn't have 'Old Mill' of the data's 3 labels"):
        fit(student(), data, tmp_path / "run", teacher=model)
    (tmp_path / "empty").mkdir()
    for folder, words in ((tmp_path / "empty", "has no photo"), (tmp_path / "missing", "no folder .*missing")):
        with pytest.raises(DataError, match=words):
            fit(student(), data, tmp_path / "run", teacher=model, unlabelled=[folder])
    assert not (tmp_path / "run").exists()


def test_the_command_distills(shared_data, teacher, tmp_path):
    student(epochs=1, warmup_epochs=0).write(tmp_path / "r.yaml")
    command = [sys.executable, "-m", "train.distill", tmp_path / "r.yaml", "--data", shared_data]
    result = subprocess.run(
        [*command, "--teacher", teacher.path, "--output", tmp_path / "run"], capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    assert "epoch   1/1" in result.stdout
    assert "teacher" in models.load(tmp_path / "run").landmark
    refused = subprocess.run([*command, "--output", tmp_path / "other"], capture_output=True, text=True)
    assert refused.returncode == 2
    assert "Missing option '--teacher'" in refused.stderr

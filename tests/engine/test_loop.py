import json
import re

import pytest
import torch
from helpers.runs import TINY, weights

from landmark_models.errors import LandmarkError
from train.engine.training import fit
from train.engine.updates import Engine
from train.recipe import Recipe


def tiny(**knobs) -> Recipe:
    return Recipe.from_values({**TINY, **knobs})


def limit_memory(monkeypatch, photos: int, message: str) -> list[int]:
    """Let a batch of more than so many photos run out of memory; returns the sizes that were tried."""
    original, tried = Engine.train_batch, []

    def limited(self, images, *rest):
        tried.append(len(images))
        if len(images) > photos:
            raise RuntimeError(message)
        return original(self, images, *rest)

    monkeypatch.setattr(Engine, "train_batch", limited)
    return tried


@pytest.mark.parametrize(
    "message", ["CUDA out of memory. Tried to allocate 1 GiB", "DefaultCPUAllocator: can't allocate memory: 12 bytes"]
)
def test_out_of_memory_halves_the_micro_batch_but_not_the_batch(message, data, tmp_path, monkeypatch, capsys):
    parts = fit(tiny(gradient_accumulation_steps=4), data, tmp_path / "parts")
    tried = limit_memory(monkeypatch, 2, message)
    run = fit(tiny(), data, tmp_path / "run")
    assert tried[:3] == [8, 4, 2]
    shown = capsys.readouterr().out
    assert "Out of memory with 8 photos at a time: continuing with 4, accumulating the batch of 8 over 2" in shown
    assert "continuing with 2, accumulating the batch of 8 over 4 parts" in shown
    assert all(torch.equal(weights(run)[name], weights(parts)[name]) for name in weights(parts))
    assert "resumed" not in json.loads((run.path / "environment.json").read_text())
    assert [line["update"] for line in run.metrics()] == [3, 6]


def test_out_of_memory_late_in_a_run_resumes_from_the_last_checkpoint(data, tmp_path, monkeypatch):
    original, calls = Engine.train_batch, []

    def limited(self, images, *rest):
        calls.append(self.progress.updates)
        if len(calls) == 5:
            raise RuntimeError("CUDA out of memory. Tried to allocate 1 GiB")
        return original(self, images, *rest)

    monkeypatch.setattr(Engine, "train_batch", limited)
    run = fit(tiny(), data, tmp_path / "run")
    assert calls == [0, 1, 2, 3, 4, 3, 3, 4, 4, 5, 5]
    assert [line["epoch"] for line in run.metrics()] == [1, 2]


def test_too_little_memory_for_the_smallest_micro_batch_is_reported(data, tmp_path, monkeypatch):
    limit_memory(monkeypatch, 0, "CUDA out of memory. Tried to allocate 1 GiB")
    with pytest.raises(LandmarkError, match="isn't enough memory for 1 photos at a time: choose a smaller model"):
        fit(tiny(), data, tmp_path / "run")
    with pytest.raises(LandmarkError, match="isn't enough memory for 2 photos"):
        fit(tiny(mixup=0.2), data, tmp_path / "mixed")
    with pytest.raises(LandmarkError, match="isn't enough memory for 2 photos"):  # one would have no variance
        fit(tiny(model="test_resnet", model_args={}), data, tmp_path / "normalised")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_names_its_update_and_leaves_no_later_checkpoint(value, data, tmp_path, monkeypatch):
    original = Engine.train_batch

    def poisoned(self, *batch):
        return original(self, *batch) * (value if self.progress.updates == 4 else 1)

    monkeypatch.setattr(Engine, "train_batch", poisoned)
    with pytest.raises(LandmarkError, match=re.escape(f"loss is {value} at update 5 (epoch 2): training has diverged")):
        fit(tiny(gradient_accumulation_steps=2), data, tmp_path / "run", checkpointing_steps=1)
    assert max(entry.name for entry in (tmp_path / "run" / "checkpoints").iterdir()) == "update-00000004"


def test_a_run_that_diverges_suggests_what_to_try(data, tmp_path):
    with pytest.raises(LandmarkError, match=r"diverged. Lower learning_rate \(now 1e\+30\)"):
        fit(tiny(learning_rate=1e30, epochs=4), data, tmp_path / "run")


def test_a_network_that_can_learn_overfits_a_few_batches(data, tmp_path, capsys):
    recipe = tiny(overfit_batches=1, epochs=30, mixup=0.2, random_erasing=0.5, ema_decay=0.9999)
    run = fit(recipe, data, tmp_path / "run")
    shown = capsys.readouterr().out
    assert "validated on the same photos" in shown
    assert "100.00% on the training photos themselves" in shown
    assert "Not calibrated: a run that overfits" in shown
    split = run.split()
    assert len(split["train"]) == 8
    assert split["train"] == split["val"]
    assert [line["update"] for line in run.metrics()][:2] == [1, 2]
    assert max(line["val_top1"] for line in run.metrics()) == 1.0
    assert Recipe.read(run.recipe).overfit_batches == 1


def test_a_learning_rate_of_zero_learns_nothing(data, tmp_path):
    run = fit(tiny(overfit_batches=1, epochs=10, learning_rate=0.0), data, tmp_path / "run")
    assert max(line["val_top1"] for line in run.metrics()) < 1.0


def test_progress_bar_and_epochs_are_printed(data, tmp_path, capsys):
    fit(tiny(), data, tmp_path / "run")
    captured = capsys.readouterr()
    assert "epoch   2/2" in captured.out
    assert "photos/s" in captured.out
    assert "epoch 1/2" in captured.err

import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from helpers.runs import TINY, weights

from landmark_models.errors import LandmarkError
from train.engine.checkpoints import Checkpoints
from train.engine.training import fit
from train.engine.updates import Engine
from train.recipe import Recipe
from train.run import RunFolder

# Whatever changes on the way: momentum, schedule, average, dropout, mixing, erasing, augmentation, freezing, size.
KNOBS = {
    "epochs": 3,
    "ema_decay": 0.9,
    "mixup": 0.2,
    "cutmix": 1.0,
    "mix_probability": 0.7,
    "random_erasing": 0.5,
    "drop_rate": 0.2,
    "drop_path_rate": 0.2,
    "optimizer": "adamw",
    "learning_rate": 1e-3,
    "gradient_accumulation_steps": 2,
    "head_epochs": 1,
    "layer_decay": 0.8,
    "image_size": 48,
    "start_image_size": 32,
}


def stateful(**knobs) -> Recipe:
    return Recipe.from_values({**TINY, **KNOBS, **knobs})


@pytest.fixture(scope="module")
def uninterrupted(shared_data, tmp_path_factory) -> RunFolder:
    return fit(stateful(), shared_data, tmp_path_factory.mktemp("whole") / "run")


def last_state(run: RunFolder) -> dict:
    """The final network, moving average and progress, whichever epoch was the best."""
    newest = max(run.checkpoints.glob("update-*"))
    state = torch.load(newest / "custom_checkpoint_0.pkl", weights_only=False)
    return {"network": (newest / "model.safetensors").read_bytes(), **state}


def assert_same_end(run: RunFolder, other: RunFolder) -> None:
    ours, theirs = last_state(run), last_state(other)
    assert ours["network"] == theirs["network"]
    assert all(torch.equal(ours["ema"][name], theirs["ema"][name]) for name in theirs["ema"])
    assert all(torch.equal(weights(run)[name], weights(other)[name]) for name in weights(other))
    timing = ("seconds", "photos_per_second")
    for a, b in zip(run.metrics(), other.metrics(), strict=True):
        assert {k: v for k, v in a.items() if k not in timing} == {k: v for k, v in b.items() if k not in timing}


def interrupt(monkeypatch, owner, name: str, call: int, after: bool) -> None:
    """Let Ctrl-C strike in the given call of a method, before or after it has done its work."""
    original, calls = getattr(owner, name), []

    def struck(*arguments, **named):
        calls.append(name)
        if len(calls) == call and not after:
            raise KeyboardInterrupt
        result = original(*arguments, **named)
        if len(calls) == call:
            raise KeyboardInterrupt
        return result

    monkeypatch.setattr(owner, name, struck)


@pytest.mark.parametrize(
    ("owner", "name", "call", "after", "steps"),
    [
        (Engine, "train_batch", 1, False, None),  # before anything is there
        (Engine, "train_batch", 9, True, None),  # in the second epoch, with half an update accumulated
        (Engine, "train_batch", 9, True, 1),  # with a checkpoint in the middle of that epoch
        (Engine, "train_batch", 18, True, 2),  # after the very last update
        (Engine, "validate", 2, True, None),
        (Engine, "validate", 1, False, 1),  # after an epoch's last update, with a checkpoint due after each
        (RunFolder, "save_model", 1, True, None),
        (RunFolder, "log", 2, True, None),  # metrics written, checkpoint not
        (Checkpoints, "save", 2, True, None),
        (shutil, "rmtree", 9, True, 1),  # while old checkpoints go
        (Path, "rename", 2, False, None),  # checkpoint written, not yet named
    ],
)
def test_a_run_interrupted_anywhere_ends_as_if_it_had_not_been(
    owner, name, call, after, steps, uninterrupted, shared_data, tmp_path
):
    with pytest.MonkeyPatch.context() as patched:
        interrupt(patched, owner, name, call, after)
        with pytest.raises(KeyboardInterrupt):
            fit(stateful(), shared_data, tmp_path / "run", checkpointing_steps=steps)
    run = fit(stateful(), shared_data, tmp_path / "run", resume=True)
    assert_same_end(run, uninterrupted)


@pytest.mark.slow
def test_a_run_killed_repeatedly_ends_as_if_it_had_not_been(uninterrupted, shared_data, tmp_path):
    recipe = tmp_path / "r.yaml"
    stateful().write(recipe)
    command = [sys.executable, "-m", "train.fit", recipe, "--data", shared_data, "--output", tmp_path / "run"]
    run = RunFolder(tmp_path / "run")
    for update in (2, 7):  # within the first and the last epoch
        process = subprocess.Popen(
            [*command, "--resume", "--checkpointing-steps", "1"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        while not list(run.checkpoints.glob(f"update-{update:08d}")) and process.poll() is None:
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    subprocess.run([*command, "--resume"], check=True, capture_output=True)
    assert_same_end(run, uninterrupted)
    assert len(json.loads((run.path / "environment.json").read_text())["resumed"]) == 2


@pytest.mark.nightly
def test_a_run_killed_fifty_times_ends_as_if_it_had_not_been(shared_data, tmp_path):
    recipe = stateful(epochs=100)
    recipe.write(tmp_path / "r.yaml")
    command = [sys.executable, "-m", "train.fit", tmp_path / "r.yaml", "--data", shared_data, "--output"]
    command += [tmp_path / "run", "--resume", "--checkpointing-steps", "1"]
    run, moments, kills = RunFolder(tmp_path / "run"), random.Random(0), 0
    while kills < 50:
        before = set(run.checkpoints.glob("update-*"))
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while set(run.checkpoints.glob("update-*")) <= before and process.poll() is None:
            time.sleep(0.001)
        time.sleep(moments.uniform(0, 0.1))  # to be in the middle of anything
        process.send_signal(signal.SIGKILL)
        if process.wait() == 0:
            break  # it has ended
        kills += 1
    subprocess.run(command, check=True, capture_output=True)
    assert kills > 10
    assert_same_end(run, fit(recipe, shared_data, tmp_path / "whole"))


@pytest.mark.parametrize("room", [400, 20_000, 40_000, 60_000])  # too little for recipe, model, curves, checkpoint
def test_a_full_disk_is_reported_and_loses_nothing(room, uninterrupted, shared_data, tmp_path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))  # no file may grow beyond it
    try:
        with pytest.raises(LandmarkError, match=r"can't be written .* continue with --resume"):
            fit(stateful(), shared_data, tmp_path / "run")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert_same_end(fit(stateful(), shared_data, tmp_path / "run", resume=True), uninterrupted)


def test_the_last_two_checkpoints_are_kept(uninterrupted):
    kept = sorted(entry.name for entry in uninterrupted.checkpoints.iterdir())
    assert kept == ["update-00000006", "update-00000009"]


@pytest.mark.parametrize("damage", ["truncated", "changed", "missing", "no manifest"])
def test_a_damaged_checkpoint_is_reported_and_the_previous_one_used(
    damage, uninterrupted, shared_data, tmp_path, capsys
):
    shutil.copytree(uninterrupted.path, tmp_path / "run")
    run = RunFolder(tmp_path / "run")
    newest = max(run.checkpoints.iterdir())
    victim = newest / "optimizer.bin"
    if damage == "truncated":
        os.truncate(victim, 100)
    elif damage == "changed":
        content = bytearray(victim.read_bytes())
        content[len(content) // 2] ^= 1
        victim.write_bytes(content)
    elif damage == "missing":
        victim.unlink()
    else:
        (newest / "manifest.json").unlink()
    fit(stateful(), shared_data, run.path, resume=True)
    shown = capsys.readouterr().out
    assert f"{newest} is damaged" in shown
    assert "Resuming from" in shown
    assert "update-00000006" in shown
    assert_same_end(run, uninterrupted)
    for checkpoint in run.checkpoints.iterdir():
        os.truncate(checkpoint / "optimizer.bin", 0)
    with pytest.raises(LandmarkError, match=r"No checkpoint in .* is intact"):
        fit(stateful(), shared_data, run.path, resume=True)


def test_a_finished_run_has_nothing_left_to_do(uninterrupted, shared_data, tmp_path):
    shutil.copytree(uninterrupted.path, tmp_path / "run")
    (tmp_path / "run" / "curves.png").unlink()  # as if it was killed between its last checkpoint and its curves
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Engine, "train_batch", None)
        run = fit(stateful(), shared_data, tmp_path / "run", resume=True)
    assert_same_end(run, uninterrupted)
    assert (run.path / "curves.png").is_file()


def test_patience_survives_an_interruption(data, tmp_path):
    knobs = {"epochs": 50, "learning_rate": 0.0, "patience": 2}
    whole = fit(stateful(**knobs), data, tmp_path / "whole")
    with pytest.MonkeyPatch.context() as patched:
        interrupt(patched, Engine, "validate", 3, True)
        with pytest.raises(KeyboardInterrupt):
            fit(stateful(**knobs), data, tmp_path / "run")
    assert_same_end(fit(stateful(**knobs), data, tmp_path / "run", resume=True), whole)


def test_resuming_with_another_recipe_or_other_photos_names_the_differences(data, tmp_path):
    run = fit(stateful(epochs=1), data, tmp_path / "run")
    with pytest.raises(LandmarkError, match=r"continue it with --resume"):
        fit(stateful(epochs=1), data, run.path)
    with pytest.raises(LandmarkError, match=r"epochs was 1 and is now 2; learning_rate was 0.001 and is now 0.1"):
        fit(stateful(epochs=2, learning_rate=0.1), data, run.path, resume=True)
    fit(stateful(epochs=1, workers=1), data, run.path, resume=True)  # only how, not what
    photo = data / "train" / "00.Red_Tower" / "000.jpg"
    content = photo.read_bytes()
    photo.write_bytes(content + b"\n")
    with pytest.raises(LandmarkError, match=r"photos changed: 1 \(train/00.Red_Tower/000.jpg\)"):
        fit(stateful(epochs=1), data, run.path, resume=True)
    photo.rename(photo.with_name("new.jpg"))
    with pytest.raises(LandmarkError, match=r"photos missing: 1 .*000.jpg.*photos new: 1 .*new.jpg"):
        fit(stateful(epochs=1), data, run.path, resume=True)
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "thesis.txt").write_text("precious")
    with pytest.raises(LandmarkError, match="not empty"):
        fit(stateful(), data, tmp_path / "thesis", resume=True)


def test_a_resumed_run_reads_its_split_instead_of_drawing_it_again(data, tmp_path, monkeypatch):
    run = fit(stateful(epochs=1), data, tmp_path / "run")
    before = json.loads((run.path / "split.json").read_text())

    def other_draw(photos, fraction, seed):
        middle = len(photos) // 2
        return photos.take(range(middle)), photos.take(range(middle, len(photos)))

    monkeypatch.setattr("train.data.folders.split_off", other_draw)
    fit(stateful(epochs=1), data, run.path, resume=True)
    assert json.loads((run.path / "split.json").read_text()) == before

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from helpers.runs import TINY, launch, tiny, weights

from landmark_models import models
from landmark_models.errors import LandmarkError
from train import fit as fit_command
from train import options
from train.data import DataError
from train.engine.network import build_network
from train.engine.training import fit
from train.engine.updates import Engine
from train.recipe import Recipe, RecipeError
from train.run import RunFolder


def test_a_run_leaves_what_the_contract_names(run):
    assert {entry.name for entry in run.path.iterdir()} >= {
        "recipe.yaml", "split.json", "metrics.jsonl", "curves.png", "environment.json", "model",
    }  # fmt: skip
    assert Recipe.read(run.recipe).epochs == 2
    split = json.loads((run.path / "split.json").read_text())
    assert len(split["train"]) == 18
    assert len(split["val"]) == 6
    assert not set(split["train"]) & set(split["val"])
    assert all(path.startswith("train/") for path in split["train"] + split["val"])
    lines = run.metrics()
    assert [line["epoch"] for line in lines] == [1, 2]
    assert [line["update"] for line in lines] == [3, 6]  # 18 photos fill three batches of 8
    assert set(lines[0]) >= {"train_loss", "val_loss", "val_top1", "learning_rate", "photos_per_second"}
    environment = json.loads((run.path / "environment.json").read_text())
    assert environment["packages"]["torch"]
    assert environment["device"]


def test_the_model_is_the_best_epoch_and_clean(run):
    best = max(line["val_top1"] for line in run.metrics())
    config = json.loads((run.model / "config.json").read_text())
    assert config["landmark"]["validation"]["top1"] == best
    assert config["label_names"] == ["Red Tower", "Green Bridge", "Blue Lake"]
    assert config["pretrained_cfg"]["input_size"] == [3, 32, 32]
    names = set(weights(run))
    assert names == set(models.load(run.path).network.state_dict())
    assert not any("module." in name or "_orig_mod" in name for name in names)


def test_the_network_learns(data, tmp_path):
    run = fit(tiny(epochs=8, warmup_epochs=1), data, tmp_path / "run")
    assert run.metrics()[-1]["train_loss"] < run.metrics()[0]["train_loss"]
    assert max(line["val_top1"] for line in run.metrics()) == 1.0


def test_the_same_recipe_gives_the_same_weights_with_any_number_of_workers(data, tmp_path):
    first = fit(tiny(mixup=0.2, cutmix=1.0), data, tmp_path / "a")
    second = fit(tiny(mixup=0.2, cutmix=1.0, workers=2), data, tmp_path / "b")
    other = fit(tiny(mixup=0.2, cutmix=1.0, seed=1), data, tmp_path / "c")
    assert all(torch.equal(weights(first)[name], weights(second)[name]) for name in weights(first))
    assert not all(torch.equal(weights(first)[name], weights(other)[name]) for name in weights(first))


def test_accumulating_gives_the_update_of_the_whole_batch(data, tmp_path):
    # Without normalisation layers the parts of a batch don't see each other, so the sum must be the same.
    knobs = {"model": "landmark_cnn", "learning_rate": 0.01}
    arguments = {"channels": [8], "depths": [1], "strides": [2], "norm": False}
    whole = fit(tiny(**knobs, model_args=arguments), data, tmp_path / "whole")
    parts = fit(tiny(**knobs, model_args=arguments, gradient_accumulation_steps=4), data, tmp_path / "parts")
    assert [line["update"] for line in whole.metrics()] == [line["update"] for line in parts.metrics()]
    for a, b in zip(whole.metrics(), parts.metrics(), strict=True):
        assert a["train_loss"] == pytest.approx(b["train_loss"], abs=1e-4)
        assert a["val_loss"] == pytest.approx(b["val_loss"], abs=1e-4)


@pytest.mark.parametrize(
    "knobs",
    [
        {"mixed_precision": "bf16", "clip_grad": 1.0, "channels_last": False},
        {"schedule": "cosine", "optimizer": "adamw", "learning_rate": 1e-3, "balanced_sampling": True},
        {"schedule": "plateau", "normalization": "train", "random_erasing": 0.5, "half_weights": True},
        {"schedule": "step", "augment": "trivialaugment", "drop_path_rate": 0.1, "drop_rate": 0.1},
        {"normalization": {"mean": [0.1, 0.2, 0.3], "std": [1, 1, 1]}, "augment": "randaugment", "eval_image_size": 48},
        {"model": "resnet18", "model_args": {}, "augment": "none"},
    ],
)
def test_every_kind_of_knob_trains_and_its_model_loads(knobs, shared_data, tmp_path):
    run = fit(tiny(epochs=1, warmup_epochs=0, **knobs), shared_data, tmp_path / "run")
    loaded = models.load(run.path)
    size = knobs.get("eval_image_size", 32)
    assert tuple(loaded.pretrained_cfg["input_size"]) == (3, size, size)
    if isinstance(knobs.get("normalization"), dict):
        assert tuple(loaded.pretrained_cfg["mean"]) == (0.1, 0.2, 0.3)
    if knobs.get("normalization") == "train":
        assert loaded.pretrained_cfg["mean"][0] == pytest.approx(280 / 3 / 255, abs=0.06)


@pytest.mark.slow
def test_torch_compile_leaves_no_trace_in_the_names(shared_data, tmp_path):
    arguments = {"channels": [8], "depths": [1], "strides": [4]}  # few kernels to compile
    knobs = {"epochs": 1, "warmup_epochs": 0, "compile": True, "model": "landmark_cnn", "model_args": arguments}
    run = fit(tiny(**knobs), shared_data, tmp_path / "run")
    assert set(weights(run)) == set(models.load(run.path).network.state_dict())


def test_patience_ends_the_run(data, tmp_path):
    run = fit(tiny(epochs=50, learning_rate=0.0, patience=2), data, tmp_path / "run")
    accuracies = [line["val_top1"] for line in run.metrics()]
    assert len(accuracies) < 50
    assert len(accuracies) - 1 - accuracies.index(max(accuracies)) == 2


def test_a_bad_photo_is_named_counted_and_left_out(data, tmp_path, capsys):
    (data / "train" / "00.Red_Tower" / "broken.jpg").write_bytes(b"no photo")
    run = fit(tiny(epochs=1, warmup_epochs=0), data, tmp_path / "run")
    shown = capsys.readouterr().out
    assert "broken.jpg is not an image" in shown
    assert "1 of 25 photos" in shown
    split = json.loads((run.path / "split.json").read_text())
    assert [Path(path).name for path in split["left_out"]] == ["broken.jpg"]
    assert len(split["train"]) + len(split["val"]) == 24


def test_a_val_folder_is_used_as_it_is_and_test_is_never_read(data, tmp_path):
    (data / "test").rename(data / "val")
    run = fit(tiny(epochs=1, warmup_epochs=0), data, tmp_path / "run")
    split = json.loads((run.path / "split.json").read_text())
    assert len(split["train"]) == 24
    assert all(path.startswith("val/") for path in split["val"])


def test_mistakes_are_reported_in_a_sentence_and_leave_no_run(data, tmp_path):
    with pytest.raises(RecipeError, match=r"no model 'landmark_nett'; nearest: .*landmark_net"):
        fit(tiny(model="landmark_nett"), data, tmp_path / "run")
    with pytest.raises(RecipeError, match="can't be built"):
        fit(tiny(model_args={"magic": 1}), data, tmp_path / "run")
    with pytest.raises(RecipeError, match="can't be built"):
        fit(tiny(model_args={**TINY["model_args"], "act": "zzz"}), data, tmp_path / "run")
    with pytest.raises(RecipeError, match="can't take photos of 32 px"):
        fit(tiny(model_args={**TINY["model_args"], "in_chans": 1}), data, tmp_path / "run")
    with pytest.raises(RecipeError, match=r"multiple of 4: .* 4 accumulation steps"):
        fit(tiny(batch_size=10, gradient_accumulation_steps=4), data, tmp_path / "run")
    with pytest.raises(RecipeError, match=r"multiple of 2: .* a pair to mix"):
        fit(tiny(batch_size=7, mixup=0.2), data, tmp_path / "run")
    with pytest.raises(RecipeError, match="optimizer=magic"):
        fit(tiny(optimizer="magic"), data, tmp_path / "run")
    with pytest.raises(RecipeError, match="bogus"):
        fit(tiny(optimizer_args={"bogus": 1}), data, tmp_path / "run")
    with pytest.raises(DataError, match="no data folder"):
        fit(tiny(), tmp_path / "nowhere", tmp_path / "run")
    (tmp_path / "one" / "only").mkdir(parents=True)
    (data / "train" / "00.Red_Tower" / "000.jpg").rename(tmp_path / "one" / "only" / "a.jpg")
    with pytest.raises(DataError, match="one class only"):
        fit(tiny(), tmp_path / "one", tmp_path / "run")
    assert not (tmp_path / "run").exists()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.txt").write_text("precious")
    with pytest.raises(LandmarkError, match="not empty"):
        fit(tiny(), data, tmp_path / "run")
    assert (tmp_path / "run" / "thesis.txt").read_text() == "precious"


# A network whose last batch normalisation sees one value for each photo and channel.
SINGLE_VALUES = {"model": "test_resnet", "model_args": {}, "image_size": 32}
PLAIN = {"channels": [8], "depths": [1], "strides": [2], "norm": False}  # without normalisation


@pytest.mark.parametrize(
    "knobs", [{"batch_size": 1}, {"batch_size": 4, "gradient_accumulation_steps": 4}, {"batch_size": 1, "freeze": 1}]
)
def test_batch_normalisation_of_single_photos_is_refused_before_a_folder_is_written(knobs, shared_data, tmp_path):
    recipe = tiny(**{**SINGLE_VALUES, **knobs}, epochs=1, warmup_epochs=0)
    with pytest.raises(RecipeError, match=r"leaves a single photo at a time.*use batch_size=[28] or more"):
        fit(recipe, shared_data, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "knobs",
    [
        {"batch_size": 2},
        {"batch_size": 17},  # 18 photos: the last batch of one is filled up
        {"batch_size": 1, "freeze": "backbone", "augment": "classic"},  # frozen normalisation uses running statistics
        {"batch_size": 1, "model": "landmark_cnn", "model_args": PLAIN},
    ],
)
def test_what_can_be_trained_on_few_photos_at_a_time_is(knobs, shared_data, tmp_path):
    recipe = tiny(**{**SINGLE_VALUES, **knobs}, epochs=1, warmup_epochs=0, learning_rate=1e-3)
    assert fit(recipe, shared_data, tmp_path / "run").metrics()


@pytest.mark.parametrize("when", ["tracker", "memory", "diverged", "features", "interrupted", "full disk"])
def test_a_run_that_fails_before_its_first_checkpoint_leaves_no_folder(when, data, pretrained, tmp_path, monkeypatch):
    def failing(error):
        def fail(*arguments, **options):
            raise error

        return fail

    arguments = {"data": data, "output": tmp_path / "run"}
    knobs, expected = {}, LandmarkError
    with monkeypatch.context() as patch:
        if when == "tracker":
            patch.setattr("train.engine.training.start_trackers", failing(LandmarkError("A tracker can't be started")))
        elif when == "memory":
            patch.setattr(Engine, "train_batch", failing(RuntimeError("CUDA out of memory. Tried to allocate 1 GiB")))
        elif when == "diverged":
            knobs = {"learning_rate": 1e30}
        elif when == "features":
            patch.setattr("train.engine.linear_probe.backbone_features", failing(LandmarkError("features")))
            knobs = {**SINGLE_VALUES, "freeze": "backbone", "augment": "none"}
            arguments["pretrained_weights"] = pretrained
        elif when == "interrupted":
            patch.setattr(Engine, "train_batch", failing(KeyboardInterrupt()))
            expected = KeyboardInterrupt
        else:
            patch.setattr("train.run.write_json", failing(OSError(28, "No space left on device")))
        with pytest.raises(expected):
            fit(tiny(epochs=1, warmup_epochs=0, **knobs), **arguments)
    assert not (tmp_path / "run").exists()
    fit(tiny(epochs=1, warmup_epochs=0), data, tmp_path / "run")


def test_a_run_killed_before_its_first_checkpoint_begins_anew_with_a_mended_recipe(data, tmp_path):
    run = RunFolder(tmp_path / "run")
    run.begin(tiny(batch_size=16), {"weights_from": "x", "method": "epochs"}, {"labels": []}, {"device": "CPU"})
    with pytest.raises(LandmarkError, match="continue it with --resume"):
        fit(tiny(epochs=1, warmup_epochs=0), data, run.path)
    again = fit(tiny(epochs=1, warmup_epochs=0), data, run.path, resume=True)
    assert Recipe.read(again.recipe).batch_size == 8
    assert "resumed" not in again.environment()


@pytest.mark.parametrize("place", ["photos/train/run", "file/run"])
def test_a_run_that_could_not_be_written_or_would_be_a_class_does_not_begin(data, tmp_path, capsys, place):
    (tmp_path / "file").write_text("precious")
    with pytest.raises(DataError, match="; name a"):
        fit(tiny(), data, tmp_path / place)
    assert "parameters" not in capsys.readouterr().out
    assert not (tmp_path / "photos" / "train" / "run").exists()


def test_photos_from_elsewhere_that_cannot_be_used_are_refused_first(data, tmp_path):
    for folder, reason in (("nowhere", "no data folder"), ("strange", "does not know")):
        if folder == "strange":
            shutil.copytree(data / "test" / "00.Red_Tower", tmp_path / folder / "Unknown_Palace")
        with pytest.raises(DataError, match=reason):
            fit(tiny(), data, tmp_path / "run", validation_from=tmp_path / folder)
        assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "4", "gradient_accumulation_steps=1"),
        ("ACCELERATE_MIXED_PRECISION", "bf16", "mixed_precision=no"),
        ("ACCELERATE_DYNAMO_BACKEND", "INDUCTOR", "compile=false"),
    ],
)
def test_settings_in_the_environment_change_no_recipe_and_are_named(
    variable, value, words, run, shared_data, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv(variable, value)
    again = fit(tiny(ema_decay=0.5), shared_data, tmp_path / "run")
    assert f"{variable}={value} has no effect: the recipe decides, with {words}" in capsys.readouterr().out
    assert all(torch.equal(weights(run)[name], weights(again)[name]) for name in weights(run))


def test_what_the_launcher_always_sets_is_not_worth_a_word(shared_data, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "no")
    monkeypatch.setenv("ACCELERATE_DYNAMO_BACKEND", "NO")
    fit(tiny(epochs=1, warmup_epochs=0, mixed_precision="bf16"), shared_data, tmp_path / "run")
    assert "ACCELERATE" not in capsys.readouterr().out


@pytest.mark.parametrize("way", ["DEEPSPEED", "FSDP", "MEGATRON_LM", "PARALLELISM_CONFIG"])
def test_other_ways_to_share_out_a_training_are_refused(way, shared_data, tmp_path, monkeypatch):
    monkeypatch.setenv(f"ACCELERATE_USE_{way}", "true")
    with pytest.raises(LandmarkError, match=f"ACCELERATE_USE_{way} asks for .*unset the variable"):
        fit(tiny(), shared_data, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="it is for CPUs")
def test_float16_is_refused_on_a_cpu_which_would_compute_in_float32(shared_data, tmp_path):
    with pytest.raises(RecipeError, match="mixed_precision=fp16 needs a GPU; on this CPU use mixed_precision=bf16 or"):
        fit(tiny(mixed_precision="fp16"), shared_data, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_networks_own_dropout_stays_unless_the_recipe_says_otherwise():
    assert build_network(Recipe(model="landmark_cnn6"), 3).head.drop.p == 0.3
    assert build_network(Recipe(model="landmark_cnn6", drop_rate=0.0), 3).head.drop.p == 0.0


@pytest.mark.slow
def test_the_command_trains_under_accelerate(data, tmp_path):
    recipe = tmp_path / "r.yaml"
    tiny(epochs=1, warmup_epochs=0).write(recipe)
    command = [sys.executable, "-m", "accelerate.commands.launch", "--num_processes", "1", "-m", "train.fit"]
    result = subprocess.run(
        [*command, str(recipe), "--data", str(data), "--output", str(tmp_path / "run"), "--seed", "3"],
        capture_output=True, text=True, env={**os.environ, "ACCELERATE_USE_CPU": "true"},
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert "epoch   1/1" in result.stdout
    assert Recipe.read(tmp_path / "run" / "recipe.yaml").seed == 3
    refused = subprocess.run(
        [sys.executable, "-m", "train.fit", recipe, "--data", tmp_path / "no", "--output", tmp_path / "r2"],
        capture_output=True,
        text=True,
    )
    assert refused.returncode == 1
    assert refused.stderr.splitlines()[-1].startswith("Error: There is no data folder")
    assert "Traceback" not in refused.stderr


def loaded(modules: str) -> set[str]:
    """What importing these modules loads."""
    code = f"import sys, {modules}; print(*sys.modules)"
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())


def test_training_loads_nothing_that_only_other_commands_need_and_its_help_hardly_anything():
    training = loaded("train.engine.training")
    assert "torch" in training
    assert not {"gradio", "pi_heif", "sklearn", "train.publish", "landmark_models.library.bulk"} & training
    heavy = {"torch", "timm", "accelerate", "rich", "matplotlib", "sklearn", "huggingface_hub"}
    assert not heavy & loaded("train.fit, train.distill, train.bench")


def test_unlabelled_photos_need_a_teacher(tmp_path):
    with pytest.raises(LandmarkError, match="add --teacher MODEL"):
        fit(tiny(), tmp_path, tmp_path / "run", unlabelled=[tmp_path])


@pytest.mark.slow
def test_two_processes_train_as_one_does(data, tmp_path):
    # Normalisation layers see their own process's photos alone, so without them the result must be the same.
    (data / "train" / "00.Red_Tower" / "000.jpg").unlink()  # 17 to train, 6 to validate on: neither fills its batches
    arguments = {"channels": [8], "depths": [1], "strides": [2], "norm": False}
    recipe = tiny(model="landmark_cnn", model_args=arguments, learning_rate=0.05, ema_decay=0.5, head_epochs=1)
    one = fit(recipe, data, tmp_path / "one")
    result = launch(recipe, data, tmp_path / "two", 2, "--log-with", "tensorboard")
    assert result.returncode == 0, result.stderr
    two = RunFolder(tmp_path / "two")
    assert json.loads((two.path / "environment.json").read_text())["processes"] == 2
    assert result.stdout.count("epoch   1/2") == 1
    assert two.split() == one.split()
    assert [line["update"] for line in two.metrics()] == [line["update"] for line in one.metrics()] == [3, 6]
    for a, b in zip(one.metrics(), two.metrics(), strict=True):
        assert b["val_photos"] == len(one.split()["val"]) == 6
        for key in ("train_loss", "val_loss", "val_top1", "learning_rate"):
            assert a[key] == pytest.approx(b[key], abs=1e-5)
    assert all(torch.allclose(weights(one)[name], weights(two)[name], atol=1e-5) for name in weights(one))
    events = (two.path / "logs").rglob("events.out.tfevents.*")
    assert len({file.name.split(".")[-2] for file in events}) == 1  # named after the process that wrote it

    refused = launch(recipe, data, tmp_path / "two", 2)
    assert refused.returncode != 0
    assert refused.stderr.count("already holds a run") == 1
    misspelt = launch(recipe, data, tmp_path / "two", 2, "--epoch", "3")
    assert misspelt.stderr.count("No such option") == 1
    resumed = launch(recipe, data, tmp_path / "two", 1, "--resume")  # fewer processes may go on with it
    assert resumed.returncode == 0, resumed.stderr


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["--data", "nowhere", "--output", "out", "nowhere.yaml"], 1, "Process 1: There is no recipe nowhere.yaml"),
        (["--data", "nowhere", "--output", "out", "r.yaml", "--epoch", "3"], 2, "Process 1: No such option: --epoch"),
    ],
)
def test_later_processes_leave_it_to_the_first_to_say_what_is_wrong(words, status, said, monkeypatch, capsys):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setattr("sys.argv", ["fit.py", *words])
    waited = []
    monkeypatch.setattr("train.options.time.sleep", lambda seconds: waited.append(capsys.readouterr()))
    with pytest.raises(SystemExit) as end:
        options.run_in_each_process(fit_command.command)
    assert end.value.code == status
    assert [before.out + before.err for before in waited] == [""]
    assert said in capsys.readouterr().err


def test_strict_ends_on_the_first_unreadable_photo(data, tmp_path):
    (data / "train" / "00.Red_Tower" / "broken.jpg").write_bytes(b"no photo")
    for _ in range(2):  # before there is a cache, and when there is one
        with pytest.raises(LandmarkError, match=r"broken.jpg is not an image"):
            fit(tiny(), data, tmp_path / "run", strict=True)
        assert not (tmp_path / "run").exists()
        fit(tiny(epochs=1), data, tmp_path / "lenient", resume=True)


def test_what_is_excluded_is_neither_trained_nor_validated_on(data, tmp_path):
    (tmp_path / "list.txt").write_text("# a reason\ntrain/00.Red_Tower/000.jpg\n./train/02.Blue_Lake/007.jpg\n\n")
    run = fit(tiny(epochs=1), data, tmp_path / "run", exclude=tmp_path / "list.txt")
    split = run.split()
    assert len(split["train"]) + len(split["val"]) == 22
    assert set(split["left_out"]) == {"train/00.Red_Tower/000.jpg", "train/02.Blue_Lake/007.jpg"}
    with pytest.raises(LandmarkError, match=r"photos new: 2"):
        fit(tiny(epochs=1), data, run.path, resume=True)
    (tmp_path / "list.txt").write_text("/elsewhere/a.jpg\nother/b.jpg\n")
    with pytest.raises(DataError, match=r"None of the 2 photos listed in .*list.txt is in"):
        fit(tiny(epochs=1), data, tmp_path / "other", exclude=tmp_path / "list.txt")
    with pytest.raises(DataError, match=r"list nowhere.txt can't be read"):
        fit(tiny(epochs=1), data, tmp_path / "other", exclude="nowhere.txt")


def test_a_run_is_logged_to_tensorboard(data, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = fit(tiny(), data, tmp_path / "run", log_with=["tensorboard"])
    events = EventAccumulator(str(run.path / "logs" / "landmark-models")).Reload()
    logged = {tag: events.Scalars(tag) for tag in ("train_loss", "val_loss", "val_top1", "learning_rate")}
    for tag, values in logged.items():
        assert [value.step for value in values] == [3, 6]
        assert [value.value for value in values] == pytest.approx([line[tag] for line in run.metrics()])


def test_unknown_and_missing_trackers_are_reported(data, tmp_path, monkeypatch):
    with pytest.raises(RecipeError, match=r"no tracker 'tensorbord'; accelerate supports .*tensorboard"):
        fit(tiny(), data, tmp_path / "run", log_with=["tensorbord"])
    monkeypatch.setattr("train.engine.accelerator.get_available_trackers", lambda: [])
    with pytest.raises(RecipeError, match="pip install comet-ml"):
        fit(tiny(), data, tmp_path / "run", log_with=["comet_ml"])
    assert not (tmp_path / "run").exists()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("precision", ["no", "bf16", "fp16"])
def test_training_and_resuming_on_a_gpu(precision, data, tmp_path):
    recipe = tiny(mixed_precision=precision, epochs=8, warmup_epochs=1, ema_decay=0.5)
    run = fit(recipe, data, tmp_path / "run")
    assert max(line["val_top1"] for line in run.metrics()) == 1.0
    shutil.copytree(run.path, tmp_path / "copy")
    shutil.rmtree(max((tmp_path / "copy" / "checkpoints").iterdir()))
    again = fit(recipe, data, tmp_path / "copy", resume=True)
    for name, tensor in weights(run).items():
        assert torch.allclose(weights(again)[name].float(), tensor.float(), atol=1e-2)


@pytest.mark.gpu
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
def test_two_gpus_train_together(data, tmp_path):
    file = tmp_path / "r.yaml"
    tiny(mixed_precision="bf16").write(file)
    command = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    options = ["-m", "train.fit", file, "--data", data, "--output", tmp_path / "run"]
    subprocess.run([*command, *options], check=True)
    assert json.loads((tmp_path / "run" / "environment.json").read_text())["processes"] == 2
    assert [line["val_photos"] for line in RunFolder(tmp_path / "run").metrics()] == [6, 6]

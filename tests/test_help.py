"""Every command answers `--help` and a usage error without loading what only its work needs."""

import importlib
import json
import re
import subprocess
import sys

import pytest
import typer
from helpers.photos import write_data
from typer.testing import CliRunner

from landmark_models import LandmarkClassifier
from train.__main__ import COMMANDS
from train.engine.training import fit
from train.recipe import Recipe, allowed_values, knob_schemas

HEAVY = ["torch", "timm", "accelerate", "torchmetrics", "sklearn", "matplotlib", "huggingface_hub", "gradio"]
MODULES = ["landmark_models", *(f"train.{command}" for command in COMMANDS)]
RUN_EACH = """
import contextlib, io, json, runpy, sys
modules, heavy = json.loads(sys.argv[1])
answers = {}
for module in modules:
    for option in ("--help", "--no-such-option"):
        sys.argv = [module, option]
        with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
            try:
                runpy.run_module(module, run_name="__main__", alter_sys=True)
                status = 0
            except SystemExit as end:
                status = end.code
        loaded = [name for name in heavy if name in sys.modules]
        heavy = [name for name in heavy if name not in loaded]  # blames the first command alone
        answers[f"{module} {option}"] = [status, "Usage" in out.getvalue() + err.getvalue(), loaded]
print(json.dumps(answers))
"""


def test_help_and_usage_errors_load_nothing_heavy():
    command = [sys.executable, "-c", RUN_EACH, json.dumps([MODULES, HEAVY])]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout)
    expected = {"--help": [0, True, []], "--no-such-option": [2, True, []]}
    assert answers == {f"{module} {option}": result for module in MODULES for option, result in expected.items()}


def options_of(command) -> set[str]:
    """Every long option of a click command."""
    words = (word for parameter in command.params for word in (*parameter.opts, *parameter.secondary_opts))
    return {word for word in words if word.startswith("--")}


@pytest.mark.parametrize("name", COMMANDS)
def test_help_names_every_option_and_cuts_nothing_at_80_columns(name, monkeypatch):
    module = importlib.import_module("train.data.__main__" if name == "data" else f"train.{name}")
    app = getattr(module, "app", None)
    if app is None:
        app = typer.Typer(add_completion=False)
        app.command()(module.command)
    command = typer.main.get_command(app)
    monkeypatch.setattr("typer.rich_utils.MAX_WIDTH", 80)
    for words in [[], *([below] for below in getattr(command, "commands", ()))]:
        shown = CliRunner().invoke(app, [*words, "--help"])
        assert shown.exit_code == 0
        lines = shown.output.splitlines()
        assert max(map(len, lines)) <= 80
        assert "…" not in shown.output  # nothing is cut
        part = command.commands[words[0]] if words else command
        missing = [option for option in options_of(part) if option not in shown.output.split()]
        assert not missing


def test_every_example_of_a_knob_trains(tmp_path):
    """All at once, with the default architecture, as text like that of a command line."""
    examples = {
        knob: found[1]
        for knob, schema in knob_schemas().items()
        if (
            found := re.search(r"'([\[{].*[\]}])'", schema["description"])
            or re.search(r"(\{mean.*\})", allowed_values(knob))
        )
    }
    assert examples.keys() == {"model_args", "head_hidden", "optimizer_args", "normalization"}
    knobs = {
        "image_size": 32,
        "epochs": 1,
        "batch_size": 8,
        "warmup_epochs": 0.5,
        "workers": 0,
        "val_fraction": 0.25,
        "threads": 1,
    }
    data = write_data(tmp_path / "photos", train=4, test=1)
    run = fit(Recipe.from_values({**knobs, **examples}), data, tmp_path / "run")
    assert (run.model / "model.safetensors").is_file()
    assert LandmarkClassifier.load(run.path).predict(data / "test" / "00.Red_Tower" / "000.jpg")

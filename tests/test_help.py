"""Every command answers `--help` and a usage error without loading what only its work needs."""

import json
import subprocess
import sys

from train.__main__ import COMMANDS

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

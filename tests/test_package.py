"""What importing the package brings along, and what it must not."""

import subprocess
import sys

import pytest

import landmark_models

HEAVY = ["torch", "timm", "numpy", "PIL", "rich.table", "huggingface_hub", "accelerate", "scipy", "gradio"]


def run(code, *arguments):
    command = [sys.executable, *(["-c", code] if code else []), *arguments]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.mark.parametrize(
    "order",
    [
        "import timm, landmark_models",
        "import importlib.util, landmark_models; importlib.util.find_spec('timm'); import timm.data, timm",
        "import landmark_models.networks.mlp_head, timm",
    ],
)
def test_our_architectures_are_registered_in_whichever_order_the_packages_are_imported(order):
    result = run(f"{order}; print(timm.create_model('landmark_net').num_classes, timm.is_model('landmark_mlp'))")
    assert result.stdout == "1000 True\n", result.stderr


@pytest.mark.parametrize("module", ["landmark_models", "landmark_models.errors", "landmark_models.__main__"])
def test_importing_the_package_is_cheap(module):
    result = run(f"import sys, {module}; print([name for name in {HEAVY} if name in sys.modules])")
    assert result.stdout == "[]\n", result.stderr


@pytest.mark.parametrize("arguments", [["--help"], ["tag", "--help"], ["predict"], ["--no-such-option"], ["--version"]])
def test_help_and_usage_errors_import_nothing_heavy(arguments):
    result = run("", "-X", "importtime", "-m", "landmark_models", *arguments)
    imported = {line.rpartition("|")[2].strip() for line in result.stderr.splitlines()}
    assert "landmark_models.errors" in imported
    assert imported.isdisjoint(HEAVY)


def test_a_public_name_comes_from_its_module_and_no_other_name_does():
    from landmark_models.classifier import LandmarkClassifier

    assert landmark_models.LandmarkClassifier is LandmarkClassifier
    assert {*landmark_models.__all__, "__version__"} <= set(dir(landmark_models))
    for name in landmark_models.__all__:
        assert getattr(landmark_models, name).__module__.startswith("landmark_models.")
    with pytest.raises(AttributeError, match="no attribute 'landmark'"):
        landmark_models.landmark  # noqa: B018

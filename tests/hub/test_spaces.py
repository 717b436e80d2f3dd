import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from landmark_models import LandmarkError
from train.hub.spaces import publish_space, serving_requirements, write_space
from train.space import command

DATA_OF_THE_PAGE = (".css", ".js", ".html", ".po", ".json", ".jpg")


@pytest.fixture(scope="module")
def space(tmp_path_factory):
    folder = tmp_path_factory.mktemp("spaces") / "space"
    write_space(folder, model="hf-hub:alice/net@v1")
    return folder


def test_a_space_has_what_it_needs_and_no_more(space):
    files = {file.relative_to(space).as_posix() for file in space.rglob("*")}
    assert {"app.py", "requirements.txt", "README.md", "landmark_models/default/model.safetensors"} <= files
    code = Path(__file__).parents[2] / "landmark_models"
    data = {file.relative_to(code.parent).as_posix() for file in code.rglob("*") if file.suffix in DATA_OF_THE_PAGE}
    assert len(data) > 10
    assert data <= files
    assert not [file for file in files if "__pycache__" in file or file.startswith(("train", "tests"))]
    names = {re.split(r"[\[<>=]", line)[0] for line in serving_requirements().splitlines()}
    assert {"torch", "timm", "gradio", "babel", "huggingface_hub", "pi-heif", "typer", "openvino"} <= names
    assert "gradio[mcp]" in serving_requirements()
    assert not {"pytest", "playwright", "hypothesis", "matplotlib", "scikit-learn"} & names


def test_its_card_is_one_that_the_hub_takes(space):
    front = yaml.safe_load((space / "README.md").read_text().split("---")[1])
    assert front["sdk"] == "gradio"
    assert front["models"] == ["alice/net"]
    assert front["python_version"] in ("3.10", "3.12")  # which ZeroGPU runs
    assert front["suggested_hardware"] == "zero-a10g"
    assert len(front["short_description"]) <= 60  # the Hub refuses more


@pytest.mark.slow
def test_its_page_imports_nothing_that_it_lacks(space):
    imports = subprocess.run(
        [sys.executable, "-c", "import sys, app; print(*sys.modules)"],
        cwd=space, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert not {"train", "sklearn", "pytest", "matplotlib", "accelerate"} & set(imports.stdout.split())


def test_what_a_space_serves_is_one_of_its_variables(hub_server, owner, capsys):
    name = f"{owner}/page"
    publish_space(name, namespace=owner)
    assert hub_server.repo(name, "space").variables == {"LANDMARK_NAMESPACE": owner}
    publish_space(name)  # as the workflow does without variables of its own
    assert hub_server.repo(name, "space").variables == {"LANDMARK_NAMESPACE": owner}
    hub_server.create(f"{owner}/hidden", private=True)
    publish_space(name, model=f"hf-hub:{owner}/hidden")
    assert hub_server.repo(name, "space").variables == {"LANDMARK_MODEL": f"hf-hub:{owner}/hidden"}
    assert "secret HF_TOKEN" in capsys.readouterr().out
    with pytest.raises(LandmarkError, match="hf-hub:no/model can't be served"):
        publish_space(f"{owner}/third", model="hf-hub:no/model")
    assert ("space", f"{owner}/third") not in hub_server.repos


def test_a_space_takes_timms_older_prefix_and_refuses_a_folder(tmp_path):
    write_space(tmp_path / "space", model="hf_hub:alice/net@v1")
    assert yaml.safe_load((tmp_path / "space" / "README.md").read_text().split("---")[1])["models"] == ["alice/net"]
    with pytest.raises(LandmarkError, match="publish it first"):
        command("alice/page", model="runs/first")

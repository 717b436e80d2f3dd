import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from helpers.model_folders import files
from huggingface_hub import HfApi
from PIL import Image

from landmark_models import LandmarkError
from train.hub.spaces import publish_space, write_space
from train.hub.upload import ZERO_GPU
from train.space import command

# https://huggingface.co/docs/hub/spaces-config-reference, in August 2026
DOCUMENTED = {
    "title", "emoji", "colorFrom", "colorTo", "sdk", "python_version", "sdk_version", "suggested_hardware",
    "suggested_storage", "app_file", "app_build_command", "app_port", "base_path", "fullWidth", "header",
    "short_description", "models", "datasets", "tags", "thumbnail", "pinned", "hf_oauth", "hf_oauth_scopes",
    "hf_oauth_expiration_minutes", "hf_oauth_authorized_org", "disable_embedding", "startup_duration_timeout",
    "custom_headers", "preload_from_hub", "license",
}  # fmt: skip
COLORS = {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}
DATA_OF_THE_PAGE = (".css", ".js", ".html", ".po", ".json", ".jpg")


@pytest.fixture(scope="module")
def space(tmp_path_factory):
    folder = tmp_path_factory.mktemp("spaces") / "space"
    write_space(folder, "alice/page", model="hf-hub:alice/net@v1")
    return folder


def front_matter(readme: str) -> dict:
    return yaml.safe_load(readme.split("---")[1])


def test_a_space_has_what_it_needs_and_no_more(space):
    files = {file.relative_to(space).as_posix() for file in space.rglob("*")}
    assert {"app.py", "requirements.txt", "README.md", "landmark_models/default/model.safetensors"} <= files
    code = Path(__file__).parents[2] / "landmark_models"
    data = {file.relative_to(code.parent).as_posix() for file in code.rglob("*") if file.suffix in DATA_OF_THE_PAGE}
    assert len(data) > 10
    assert data <= files
    assert not [file for file in files if "__pycache__" in file or file.startswith(("train", "tests"))]
    lines = (space / "requirements.txt").read_text().splitlines()
    names = {re.split(r"[\[<>=]", line)[0] for line in lines}
    assert {"torch", "timm", "gradio", "babel", "huggingface_hub", "pi-heif", "typer", "openvino"} <= names
    assert not {"pytest", "playwright", "hypothesis", "matplotlib", "scikit-learn"} & names


def test_its_card_has_what_the_hub_documents(space):
    front = front_matter((space / "README.md").read_text())
    assert front.keys() <= DOCUMENTED
    assert (front["sdk"], front["app_file"], front["license"]) == ("gradio", "app.py", "apache-2.0")
    assert {front["colorFrom"], front["colorTo"]} <= COLORS
    assert front["models"] == ["alice/net"]
    assert "mcp-server" in front["tags"]
    assert len(front["short_description"]) <= 60  # the Hub refuses more
    assert front["thumbnail"].endswith("/spaces/alice/page/resolve/main/thumbnail.png")
    with Image.open(space / "thumbnail.png") as picture:
        assert picture.width >= 1200
    assert "spaces/alice/page/agents.md" in (space / "README.md").read_text()


def test_its_gradio_is_the_one_that_is_tested(space):
    front = front_matter((space / "README.md").read_text())
    assert f"gradio[mcp]=={front['sdk_version']}" in (space / "requirements.txt").read_text().splitlines()
    project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
    oldest = next(line for line in project["optional-dependencies"]["page"] if line.startswith("gradio"))
    assert oldest == f"gradio[mcp]>={front['sdk_version'].removesuffix('.0')},<7"


def test_each_hardware_gets_what_it_needs(space, tmp_path):
    write_space(tmp_path / "cpu", "alice/page", hardware="cpu-basic")
    write_space(tmp_path / "gpu", "alice/page", hardware="t4-small")
    needed = {}
    for folder in (space, tmp_path / "cpu", tmp_path / "gpu"):
        front = front_matter((folder / "README.md").read_text())
        needed[front["suggested_hardware"]] = set((folder / "requirements.txt").read_text().splitlines())
        assert front["python_version"] in ("3.10", "3.12")  # which ZeroGPU runs
    shared = needed["t4-small"]
    assert needed["zero-a10g"] - shared == {"spaces", "torch<2.12"}
    assert needed["cpu-basic"] - shared == {"--extra-index-url https://download.pytorch.org/whl/cpu"}


@pytest.mark.slow
def test_its_page_imports_nothing_that_it_lacks(space):
    imports = subprocess.run(
        [sys.executable, "-c", "import sys, app; print(*sys.modules)"],
        cwd=space, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert not {"train", "sklearn", "pytest", "matplotlib", "accelerate"} & set(imports.stdout.split())


def test_what_a_space_serves_is_one_of_its_variables(hub_server, owner, capsys):
    name = f"{owner}/page"
    publish_space(name, namespace=owner, hardware=ZERO_GPU)
    assert hub_server.repo(name, "space").variables == {"LANDMARK_NAMESPACE": owner}
    commits = hub_server.commits(name, "space")
    publish_space(name)  # as the workflow does without variables of its own
    assert hub_server.repo(name, "space").variables == {"LANDMARK_NAMESPACE": owner}
    assert hub_server.commits(name, "space") == commits
    hub_server.create(f"{owner}/hidden", private=True)
    publish_space(name, model=f"hf-hub:{owner}/hidden")
    assert hub_server.repo(name, "space").variables == {"LANDMARK_MODEL": f"hf-hub:{owner}/hidden"}
    assert "secret HF_TOKEN" in capsys.readouterr().out
    with pytest.raises(LandmarkError, match="hf-hub:no/model can't be served"):
        publish_space(f"{owner}/third", model="hf-hub:no/model")
    assert ("space", f"{owner}/third") not in hub_server.repos


def test_a_space_takes_timms_older_prefix_and_refuses_a_folder(tmp_path):
    write_space(tmp_path / "space", "alice/page", model="hf_hub:alice/net@v1")
    assert front_matter((tmp_path / "space" / "README.md").read_text())["models"] == ["alice/net"]
    with pytest.raises(LandmarkError, match="publish it first"):
        command("alice/page", model="runs/first")


def test_a_public_model_is_loaded_when_the_space_is_built(hub_server, owner, folder):
    commit = hub_server.commit(f"{owner}/net", files(folder))
    for model, pinned in ((f"hf-hub:{owner}/net", ""), (f"hf-hub:{owner}/net@{commit[:7]}", f" {commit}")):
        publish_space(f"{owner}/page", model=model, hardware=ZERO_GPU)
        front = front_matter(hub_server.files(f"{owner}/page", "space")["README.md"].decode())
        assert front["preload_from_hub"] == [f"{owner}/net config.json,model.safetensors{pinned}"]
        commits = hub_server.commits(f"{owner}/page", "space")
        publish_space(f"{owner}/page")
        assert hub_server.commits(f"{owner}/page", "space") == commits
    hub_server.set_gated(f"{owner}/net")
    publish_space(f"{owner}/page", model=f"hf-hub:{owner}/net")
    assert "preload_from_hub" not in front_matter(hub_server.files(f"{owner}/page", "space")["README.md"].decode())


def test_a_space_is_updated_although_its_model_has_no_weights_any_more(hub_server, owner, folder):
    hub_server.commit(f"{owner}/net", files(folder))
    publish_space(f"{owner}/page", model=f"hf-hub:{owner}/net", hardware=ZERO_GPU)
    HfApi().delete_file("model.safetensors", f"{owner}/net")
    with pytest.raises(LandmarkError, match=r"has no model\.safetensors"):
        publish_space(f"{owner}/page", model=f"hf-hub:{owner}/net")
    publish_space(f"{owner}/page")  # the page says then what is wrong with its model
    assert "preload_from_hub" not in front_matter(hub_server.files(f"{owner}/page", "space")["README.md"].decode())


def test_a_new_space_needs_a_kind_and_an_old_one_keeps_its_own(hub_server, owner, capsys):
    with pytest.raises(LandmarkError, match=r"choose where it runs\. A static Space \(--static\) is free"):
        command(f"{owner}/page")
    with pytest.raises(LandmarkError, match=r"paid plan \(402\)"):
        command(f"{owner}/page", hardware="cpu-basic")
    with pytest.raises(LandmarkError, match="only one of"):
        command(f"{owner}/page", zero_gpu=True, hardware="cpu-basic")
    hub_server.store.paying.add("alice")
    command(f"{owner}/page", hardware="cpu-basic")
    command(f"{owner}/page", zero_gpu=True)
    assert "It keeps its hardware, cpu-basic" in capsys.readouterr().out
    content = hub_server.files(f"{owner}/page", "space")
    assert front_matter(content["README.md"].decode())["suggested_hardware"] == "cpu-basic"
    assert b"whl/cpu" in content["requirements.txt"]
    hub_server.create(f"{owner}/static", "space", sdk="static")
    with pytest.raises(LandmarkError, match="is a static Space: update it with --static"):
        command(f"{owner}/static", zero_gpu=True)


def test_a_trusted_publisher_needs_no_token_of_its_own(hub_server, owner, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setenv("HF_OIDC_RESOURCE", f"spaces/{owner}/page")
    monkeypatch.setattr("huggingface_hub.utils._auth._OIDC_TOKEN_CACHE", None)
    hub_server.create(f"{owner}/page", "space", sdk="gradio")
    monkeypatch.setenv("HF_OIDC_ID_TOKEN", "a stranger's workflow")
    with pytest.raises(LandmarkError, match=f"{owner}/page can't be updated"):
        publish_space(f"{owner}/page")
    monkeypatch.setenv("HF_OIDC_ID_TOKEN", "alice's workflow")
    publish_space(f"{owner}/page")
    assert "app.py" in hub_server.files(f"{owner}/page", "space")

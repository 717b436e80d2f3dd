import shutil
from pathlib import Path

import huggingface_hub.constants
import pytest
import torch

from landmark_models.teaching import AddOn, AddOnError, load_addon, sources


def addon(label: str) -> AddOn:
    return AddOn("0" * 64, (label,), torch.tensor([5], dtype=torch.int32), torch.ones(1, 8).half())


def put(hub_server, repo: str, label: str, name: str = "mine.landmarks.safetensors") -> str:
    return hub_server.commit(repo, {name: addon(label).to_bytes(), "README.md": b"# Mine"})


def test_a_file_is_read_as_it_is(tmp_path):
    addon("Town Hall").write(tmp_path / "mine.landmarks.safetensors")
    assert load_addon(str(tmp_path / "mine.landmarks.safetensors")).labels == ("Town Hall",)
    with pytest.raises(AddOnError, match=r"none\.landmarks\.safetensors can't be read"):
        load_addon(str(tmp_path / "none.landmarks.safetensors"))


def test_an_add_on_on_the_hub_is_the_one_of_its_revision(hub_server, owner):
    first = put(hub_server, f"{owner}/mine", "Town Hall")
    put(hub_server, f"{owner}/mine", "Old Mill")
    labels = {"": "Old Mill", "@main": "Old Mill", f"@{first}": "Town Hall", f"@{first[:8]}": "Town Hall"}
    for revision, label in labels.items():
        assert load_addon(f"hf-hub:{owner}/mine{revision}").labels == (label,)
    assert load_addon(f"hf_hub:{owner}/mine").labels == ("Old Mill",)
    with pytest.raises(AddOnError, match="no such revision"):
        load_addon(f"hf-hub:{owner}/mine@never")


def test_without_the_hub_the_copy_in_the_cache_serves(hub_server, owner, monkeypatch):
    put(hub_server, f"{owner}/mine", "Town Hall")
    load_addon(f"hf-hub:{owner}/mine")
    hub_server.commit(f"{owner}/other", {"README.md": b"# Nothing yet"})
    hub_server.down()
    assert load_addon(f"hf-hub:{owner}/mine").labels == ("Town Hall",)
    with pytest.raises(AddOnError, match=r"not in the local cache.*can't be reached"):
        load_addon(f"hf-hub:{owner}/other")
    hub_server.up()
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert load_addon(f"hf-hub:{owner}/mine").labels == ("Town Hall",)
    folder = Path(huggingface_hub.constants.HF_HUB_CACHE, f"models--{owner}--mine", "snapshots")
    shutil.rmtree(next(folder.iterdir()))  # half a cache
    with pytest.raises(AddOnError, match=r"not in the local cache.*HF_HUB_OFFLINE is set"):
        load_addon(f"hf-hub:{owner}/mine")


def test_a_busy_hub_is_asked_again(hub_server, owner):
    put(hub_server, f"{owner}/mine", "Town Hall")
    hub_server.fail(f"/api/models/{owner}/mine", 503)
    assert load_addon(f"hf-hub:{owner}/mine").labels == ("Town Hall",)


def test_refusals_are_sentences(hub_server, owner, monkeypatch):
    content = addon("Town Hall").to_bytes()
    hub_server.commit(f"{owner}/none", {"model.safetensors": content, "below/mine.landmarks.safetensors": content})
    hub_server.commit(f"{owner}/two", {f"{name}.landmarks.safetensors": content for name in ("a", "b")})
    hub_server.commit(f"{owner}/bad", {"mine.landmarks.safetensors": b"\x80\x04."})
    hub_server.create(f"{owner}/hidden", private=True)
    monkeypatch.setenv("HF_TOKEN", "hf_bob")
    for name, words in (
        ("none", r"has no file \*\.landmarks\.safetensors"),
        ("two", r"several files of taught landmarks, a\.landmarks\.safetensors, b\."),
        ("bad", r"mine\.landmarks\.safetensors can't be read"),
        ("hidden", "none of that name, or it is private"),
        ("not a name/at/all", "isn't a valid repository name"),
    ):
        with pytest.raises(AddOnError, match=words) as caught:
            load_addon(f"hf-hub:{owner}/{name}")
        assert "\n" not in str(caught.value)
    put(hub_server, f"{owner}/large", "Town Hall")
    hub_server.requests.clear()
    monkeypatch.setattr(sources, "MAX_WEIGHTS_BYTES", 100)
    with pytest.raises(AddOnError, match="larger than"):
        load_addon(f"hf-hub:{owner}/large")
    assert not [request for request in hub_server.requests if "resolve" in request.path]

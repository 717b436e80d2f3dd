import shutil
import time
from pathlib import Path

import huggingface_hub.constants
import pytest
import timm
import torch
from helpers.model_folders import describe, files, shift

from landmark_models import LandmarkClassifier, ModelError, models
from landmark_models.models import failures, hub

PHOTOS = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def folder(run, tmp_path):
    folder = shutil.copytree(run.model, tmp_path / "model")
    (folder / "README.md").write_text("---\ntags: [landmark-classification]\n---\n")
    return folder


def test_a_revision_stays_the_same_model(hub_server, owner, folder):
    first = hub_server.commit(f"{owner}/net", files(folder))
    before = models.load(folder).network(PHOTOS)
    shift(folder)
    second = hub_server.commit(f"{owner}/net", files(folder))
    hub_server.repo(f"{owner}/net").tags["v1"] = first
    for name, commit in ((f"@{first}", first), ("@v1", first), ("@main", second), ("", second), ("@", second)):
        loaded = models.load(f"hf-hub:{owner}/net{name}")
        assert loaded.revision == commit
        assert torch.equal(loaded.network(PHOTOS), before) == (commit == first)
    for nothing in ("never", "0123456", first[:6]):
        with pytest.raises(ModelError, match="no such revision"):
            models.load(f"hf-hub:{owner}/net@{nothing}")


def test_python_code_may_name_a_model_as_other_libraries_do(hub_server, owner, folder):
    first = hub_server.commit(f"{owner}/net", files(folder))
    hub_server.repo(f"{owner}/net").tags["v1"] = first
    describe(folder, temperature=3.0)
    second = hub_server.commit(f"{owner}/net", files(folder))
    newest = LandmarkClassifier.from_pretrained(f"{owner}/net")
    assert (newest.revision, newest.temperature) == (second, 3.0)
    assert f"<LandmarkClassifier hf-hub:{owner}/net@{second[:12]}: " in repr(newest)
    for name, revision in ((f"{owner}/net", first), (f"{owner}/net@{first}", None), (f"hf-hub:{owner}/net", "v1")):
        older = LandmarkClassifier.from_pretrained(name, revision=revision)
        assert (older.revision, older.temperature) == (first, 1.0)
    with pytest.raises(ModelError, match=f"hf-hub:{owner}/none can't be downloaded"):
        LandmarkClassifier.from_pretrained(f"{owner}/none")


def test_a_shortened_commit_is_that_commit_also_without_the_hub(hub_server, owner, folder):
    first = hub_server.commit(f"{owner}/net", files(folder))
    shift(folder)
    hub_server.commit(f"{owner}/net", files(folder))
    assert models.load(f"hf-hub:{owner}/net@{first[:7]}").revision == first
    hub_server.down()
    assert models.load(f"hf-hub:{owner}/net@{first[:12]}").revision == first


def test_timms_older_prefix_means_the_same(hub_server, owner, folder):
    hub_server.commit(f"{owner}/net", files(folder))
    assert models.load(f"hf_hub:{owner}/net").source == f"hf-hub:{owner}/net"
    assert models.load(f"hf_hub:{owner}/net@main").source == f"hf-hub:{owner}/net@main"


def test_a_pickle_alone_is_refused_before_anything_is_downloaded(hub_server, owner, folder):
    content = files(folder)
    hub_server.commit(f"{owner}/net", {"config.json": content["config.json"], "pytorch_model.bin": b"\x80\x04."})
    with pytest.raises(ModelError, match=r"no model\.safetensors"):
        models.load(f"hf-hub:{owner}/net")
    assert not [request for request in hub_server.requests if "resolve" in request.path]


@pytest.mark.parametrize(("limit", "name"), [("MAX_CONFIG_BYTES", "config.json"), ("MAX_WEIGHTS_BYTES", "model.safe")])
def test_what_is_too_large_is_not_downloaded(limit, name, hub_server, owner, folder, monkeypatch):
    hub_server.commit(f"{owner}/net", files(folder))
    monkeypatch.setattr(hub, limit, 100)
    with pytest.raises(ModelError, match=f"{name}.* larger than"):
        models.load(f"hf-hub:{owner}/net")
    assert not [request for request in hub_server.requests if "resolve" in request.path]


def test_refusals_are_sentences_and_hold_no_token(hub_server, owner, folder, monkeypatch, caplog):
    hub_server.create(f"{owner}/hidden", private=True)
    hub_server.commit(f"{owner}/gated", files(folder))
    hub_server.set_gated(f"{owner}/gated")
    monkeypatch.setenv("HF_TOKEN", "hf_bob")
    said = []
    for name, words in (
        ("nothing", "none of that name, or it is private. If it is private, log in with"),
        ("hidden", "none of that name, or it is private"),
        ("gated", "it is gated. Ask for access"),
        ("not a name/at/all", "isn't a valid repository name"),
    ):
        with pytest.raises(ModelError, match=words) as caught:
            models.load(f"hf-hub:{owner}/{name}")
        said.append(str(caught.value))
    assert "hf_bob" not in " ".join(said) + caplog.text
    assert not any("\n" in sentence for sentence in said)


def test_a_gated_model_loads_with_a_token_that_has_access(hub_server, owner, folder, monkeypatch):
    hub_server.commit(f"{owner}/gated", files(folder))
    hub_server.set_gated(f"{owner}/gated")
    hub_server.grant(f"{owner}/gated", "bob")
    monkeypatch.setenv("HF_TOKEN", "hf_bob")
    assert models.load(f"hf-hub:{owner}/gated").labels


def test_without_the_hub_the_copy_that_was_downloaded_serves_and_says_so(hub_server, owner, folder, monkeypatch):
    commit = hub_server.commit(f"{owner}/net", files(folder))
    models.load(f"hf-hub:{owner}/net")
    hub_server.down()
    loaded = models.load(f"hf-hub:{owner}/net")
    assert loaded.revision == commit
    assert "can't be reached" in loaded.note
    with pytest.raises(ModelError, match=r"not in the local cache.*can't be reached"):
        models.load(f"hf-hub:{owner}/other")
    hub_server.up()
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE is set" in models.load(f"hf-hub:{owner}/net").note
    with pytest.raises(ModelError, match="HF_HUB_OFFLINE is set"):
        models.load(f"hf-hub:{owner}/other")
    assert models.load(f"hf-hub:{owner}/net", cached_only=True).revision == commit


def test_a_cache_that_cannot_be_written_serves_the_copy_in_it_and_says_why(hub_server, owner, folder):
    commit = hub_server.commit(f"{owner}/net", files(folder))
    models.load(f"hf-hub:{owner}/net")
    locks = Path(huggingface_hub.constants.HF_HUB_CACHE, ".locks", f"models--{owner}--net")
    shutil.rmtree(locks)
    locks.write_text("")  # nothing more can be downloaded, whoever runs this test
    assert models.load(f"hf-hub:{owner}/net").note == ""
    hub_server.commit(f"{owner}/net", {"README.md": b"# New words"})
    loaded = models.load(f"hf-hub:{owner}/net")
    assert loaded.revision == commit
    assert "can't be downloaded: " in loaded.note


def test_a_hub_that_cannot_be_reached_is_named_in_one_sentence_and_nothing_else_is_printed(
    hub_server, owner, caplog, capfd, monkeypatch
):
    monkeypatch.setattr("huggingface_hub.utils._http.time", time)
    hub_server.down()
    started = time.monotonic()
    for call in (lambda: models.load(f"hf-hub:{owner}/net"), lambda: models.best(owner)):
        with pytest.raises(ModelError, match=f"the Hub can't be reached at {hub_server.url} ") as caught:
            call()
        assert "\n" not in str(caught.value)
    assert time.monotonic() - started < 10
    assert caplog.text == ""
    assert capfd.readouterr() == ("", "")


def test_a_failed_attempt_is_not_printed(hub_server, owner, folder, caplog):
    hub_server.commit(f"{owner}/net", files(folder))
    hub_server.fail("config.json", status=503, times=2)
    assert models.load(f"hf-hub:{owner}/net").note == ""
    assert caplog.text == ""


def test_a_connection_that_is_slow_to_fail_is_not_tried_again(monkeypatch):
    tries = []

    def slow():
        tries.append(1)
        raise TimeoutError

    monkeypatch.setattr(failures, "_QUICK", -1.0)
    with pytest.raises(TimeoutError):
        failures.with_retries(slow)
    assert len(tries) == 1


@pytest.mark.parametrize("where", ["/api/models/", "config.json", "/cdn/"])
def test_a_503_is_retried(where, hub_server, owner, folder):
    hub_server.commit(f"{owner}/net", files(folder))
    hub_server.fail(where, status=503, times=1)
    assert models.load(f"hf-hub:{owner}/net").note == ""
    assert 503 in [request.status for request in hub_server.requests]


def test_a_retry_waits_as_long_as_the_hub_requests(hub_server, owner, folder):
    hub_server.commit(f"{owner}/net", files(folder))
    hub_server.fail("/api/models/", status=429, retry_after=1)
    started = time.monotonic()
    assert models.load(f"hf-hub:{owner}/net").note == ""
    assert time.monotonic() - started >= 1


def test_a_hub_that_keeps_failing_is_reported_in_a_sentence(hub_server, owner, folder):
    hub_server.commit(f"{owner}/net", files(folder))
    hub_server.fail("/api/models/", status=503, times=100)
    with pytest.raises(ModelError, match=r"the Hub is temporarily unavailable \(503\). Try again later"):
        models.load(f"hf-hub:{owner}/net")
    assert len(hub_server.requests) == failures._ATTEMPTS


def test_an_interrupted_download_resumes(hub_server, owner, folder):
    arguments = {"channels": [256, 512], "depths": [1, 1], "strides": [2, 1], "stem": 8}  # over 10 MiB, in two pieces
    network = timm.create_model("landmark_net", num_classes=2, **arguments).eval()
    models.save(network, folder, labels=["a", "b"], model_args=arguments, landmark={})
    hub_server.commit(f"{owner}/net", files(folder))
    hub_server.fail("model.safetensors", method="GET", cut_after=11_000_000)
    assert torch.equal(models.load(f"hf-hub:{owner}/net").network(PHOTOS), network(PHOTOS))
    assert [request.range for request in hub_server.requests if request.range] == [f"bytes={10 * 2**20}-"]


def test_a_new_commit_that_cannot_be_downloaded_whole_leaves_the_old_one(hub_server, owner, folder, monkeypatch):
    old = hub_server.commit(f"{owner}/net", files(folder))
    models.load(f"hf-hub:{owner}/net")
    shift(folder)
    hub_server.commit(f"{owner}/net", files(folder))
    hub_server.fail("/cdn/", status=500, times=100)
    loaded = models.load(f"hf-hub:{owner}/net")
    assert loaded.revision == old
    assert "temporarily unavailable (500)" in loaded.note


def test_the_examples_of_a_model_come_with_it(hub_server, owner, folder):
    assert models.examples(str(folder)) == models.examples("default") == []
    (folder / "examples").mkdir()
    (folder / "examples" / "01.jpg").write_bytes(b"a photo")
    assert models.examples(str(folder)) == [folder / "examples" / "01.jpg"]
    odd = {"examples/a.png": b"x", "examples/deep/b.jpg": b"x", "examples/c.jpg": b"x" * 2**21, "other.jpg": b"x"}
    many = {f"examples/{index}.jpg": b"photo" for index in range(9)}
    commit = hub_server.commit(f"{owner}/net", {**odd, **many})
    found = models.examples(f"hf-hub:{owner}/net", commit)
    assert [file.name for file in found] == [f"{index}.jpg" for index in range(6)]
    hub_server.down()
    assert models.examples(f"hf-hub:{owner}/net", commit) == []

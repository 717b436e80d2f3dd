import shutil

import pytest
import torch
from helpers.hub_store import Blob
from helpers.model_folders import describe, figures
from huggingface_hub import ModelCard

from landmark_models import LandmarkError, ModelError, models
from train.hub import upload
from train.hub.upload import ZERO_GPU, publish, reserve


def test_a_published_model_is_loaded_and_publishing_it_again_commits_nothing(hub_server, owner, folder):
    done = publish(folder, f"{owner}/net")
    assert done.changed
    assert done.url == f"{hub_server.url}/{owner}/net"
    assert hub_server.commits(f"{owner}/net")[0] == done.revision
    loaded = models.load(f"hf-hub:{owner}/net")
    assert loaded.revision == done.revision
    assert loaded.note == ""
    photos = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    assert torch.equal(loaded.network(photos), models.load(folder).network(photos))

    again = publish(folder, f"{owner}/net")
    assert not again.changed
    assert again.revision == done.revision
    assert len(hub_server.commits(f"{owner}/net")) == 2  # the empty repository's, and ours

    describe(folder, temperature=2.0)
    assert publish(folder, f"{owner}/net").changed


def test_publishing_downloads_nothing(hub_server, owner, folder):
    publish(folder, f"{owner}/net")
    assert not [request for request in hub_server.requests if "/resolve/" in request.path or "/cdn/" in request.path]


def test_files_missing_from_the_folder_are_deleted_on_the_hub_if_requested(hub_server, owner, folder):
    (folder / "examples").mkdir()
    (folder / "examples" / "01.jpg").write_bytes(b"a photo")
    publish(folder, f"{owner}/net", replace=["examples/*"])
    hub_server.commit(f"{owner}/net", {"notes.txt": b"the owner's"})
    shutil.rmtree(folder / "examples")
    publish(folder, f"{owner}/net", replace=["examples/*"])
    assert "examples/01.jpg" not in hub_server.files(f"{owner}/net")
    assert "notes.txt" in hub_server.files(f"{owner}/net")


def test_refusals_are_sentences_without_the_token(hub_server, owner, folder, monkeypatch, caplog):
    sentences = []
    for token, words in (
        ("hf_bob", r"may not do that \(403\)"),
        ("hf_expired", "valid token"),
        (None, "`hf auth login`"),
    ):
        monkeypatch.delenv("HF_TOKEN", raising=False)
        if token:
            monkeypatch.setenv("HF_TOKEN", token)
        with pytest.raises(LandmarkError, match=words) as caught:
            publish(folder, f"{owner}/net")
        sentences.append(str(caught.value))
    assert not any(token in " ".join(sentences) + caplog.text for token in ("hf_bob", "hf_expired"))
    assert not any("\n" in sentence for sentence in sentences)


@pytest.mark.parametrize(
    "fault",
    [
        {"match": "/api/repos/create", "status": 503},
        {"match": "/preupload/", "status": 503},
        {"match": "/info/lfs/", "status": 503},
        {"match": "/upload/", "cut_after": 1000},
        {"match": "/commit/", "status": 503},
        {"match": "/paths-info/", "status": 503},
        {"match": "/api/repos/create", "status": 429, "retry_after": 0},
    ],
    ids=str,
)
def test_publishing_survives_transient_failures(fault, hub_server, owner, folder):
    hub_server.fail(**fault)
    publish(folder, f"{owner}/net")
    assert len(hub_server.commits(f"{owner}/net")) == 2
    assert models.load(f"hf-hub:{owner}/net").labels


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ({"match": "/upload/", "status": 403}, "may not do that"),
        ({"match": "/commit/", "status": 403}, "may not do that"),
        ({"match": "/commit/", "status": 401}, "valid token"),
        ({"match": "/commit/", "status": 404}, "can't be published"),
        ({"match": "/commit/", "status": 409}, "changed it"),
        ({"match": "/commit/", "status": 503}, r"\(503\)"),
    ],
    ids=str,
)
def test_a_half_uploaded_folder_is_not_a_model(fault, words, hub_server, owner, folder):
    describe(folder, test=figures(0.9))
    hub_server.fail(**fault, times=100)
    with pytest.raises(LandmarkError, match=words):
        publish(folder, f"{owner}/net")
    hub_server.faults.clear()
    assert "model.safetensors" not in hub_server.files(f"{owner}/net")
    with pytest.raises(ModelError, match="no config"):
        models.load(f"hf-hub:{owner}/net")
    with pytest.raises(ModelError, match="no model of"):
        models.best(owner)


def test_another_commit_meanwhile_is_not_overwritten(hub_server, owner, folder, monkeypatch):
    def overtaken(*arguments, **options):
        head = reserve(*arguments, **options)
        hub_server.commit(f"{owner}/net", {"config.json": b"somebody else's"})
        return head

    monkeypatch.setattr(upload, "reserve", overtaken)
    with pytest.raises(LandmarkError, match="changed it"):
        publish(folder, f"{owner}/net")
    assert hub_server.files(f"{owner}/net")["config.json"] == b"somebody else's"


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_file_that_arrives_damaged_or_not_at_all_is_noticed(name, hub_server, owner, folder, monkeypatch):
    commit = hub_server.store.commit

    def spoiled(*arguments):
        done = commit(*arguments)
        done.files[name] = Blob(done.files[name].content + b" ", lfs=done.files[name].lfs)
        done.files.pop("README.md", None)
        return done

    monkeypatch.setattr(hub_server.store, "commit", spoiled)
    with pytest.raises(LandmarkError, match=rf"^README.md, {name} arrived damaged at {owner}/net; publish it again"):
        publish(folder, f"{owner}/net")


def test_an_upload_that_cannot_be_checked_is_distinguished_from_one_that_failed(hub_server, owner, folder):
    hub_server.fail("/paths-info/", status=404, times=100)
    with pytest.raises(LandmarkError, match=r"was published \(revision \w+\), but can't be checked"):
        publish(folder, f"{owner}/net")
    assert len(hub_server.commits(f"{owner}/net")) == 2


def test_missing_rights_are_known_before_hours_of_training(hub_server, owner, folder, monkeypatch):
    publish(folder, f"{owner}/net")
    assert reserve(f"{owner}/net") == hub_server.commits(f"{owner}/net")[0]
    monkeypatch.setenv("HF_TOKEN", "hf_bob")
    with pytest.raises(LandmarkError, match="can't be written on the Hub: the token may not do that"):
        reserve(f"{owner}/net")
    with pytest.raises(LandmarkError, match="'net' isn't the name of a repository: use owner/name"):
        reserve("net")


def test_a_public_repository_is_not_taken_for_a_private_one(hub_server, owner, folder):
    publish(folder, f"{owner}/open")
    with pytest.raises(LandmarkError, match="exists and is public"):
        publish(folder, f"{owner}/open", private=True)
    publish(folder, f"{owner}/hidden", private=True)
    assert hub_server.repo(f"{owner}/hidden").private
    publish(folder, f"{owner}/hidden")  # stays so
    assert hub_server.repo(f"{owner}/hidden").private


def test_a_free_account_creates_a_space_on_zero_gpu_alone_and_updates_any(hub_server, owner):
    reserve(f"{owner}/page", space_hardware=ZERO_GPU)
    assert hub_server.repo(f"{owner}/page", "space").hardware == ZERO_GPU
    with pytest.raises(LandmarkError, match=r"paid plan \(402\)\. .* can host two Spaces on ZeroGPU"):
        reserve(f"{owner}/other", space_hardware="cpu-basic")
    hub_server.create(f"{owner}/older", "space", sdk="gradio")  # before that took a plan
    reserve(f"{owner}/older", space_hardware="cpu-basic")
    hub_server.fail("/api/repos/create", status=403)
    with pytest.raises(LandmarkError, match=r"\(403\).* can host two"):
        reserve(f"{owner}/third", space_hardware=ZERO_GPU)
    hub_server.store.paying.add("alice")
    reserve(f"{owner}/other", space_hardware="cpu-basic")


def test_a_card_that_the_hub_refuses_is_a_sentence_before_anything_is_created(hub_server, owner, folder):
    (folder / "README.md").write_text("---\nlicense: apache\nbase_model: a model\n---\n")
    with pytest.raises(
        LandmarkError, match=r"the Hub refuses its card: \"license\" must be .*; \"base_model\" must be"
    ):
        publish(folder, f"{owner}/net")
    assert not hub_server.repos


def test_publishing_goes_on_where_the_hub_does_not_check_cards_early(hub_server, owner, folder):
    hub_server.fail("/api/validate-yaml", 500, times=1)
    assert publish(folder, f"{owner}/net").changed


def test_an_older_model_points_to_the_new_one(hub_server, owner, evaluated):
    from train.hub import publishing

    with pytest.raises(LandmarkError, match=f"{owner}/old, of which this would be a new version, isn't on the Hub"):
        publishing.publish(evaluated.path, f"{owner}/new", new_version_of=f"{owner}/old")
    assert not hub_server.repos
    publishing.publish(evaluated.path, f"{owner}/old")
    before = hub_server.files(f"{owner}/old")
    publishing.publish(evaluated.path, f"{owner}/new", new_version_of=f"{owner}/old")
    after = hub_server.files(f"{owner}/old")
    assert ModelCard(after["README.md"].decode()).data.to_dict() == {
        **ModelCard(before["README.md"].decode()).data.to_dict(), "new_version": f"{owner}/new",
    }  # fmt: skip
    assert {**after, "README.md": b""} == {**before, "README.md": b""}
    publishing.publish(evaluated.path, f"{owner}/old")  # what its card points to stays
    assert hub_server.files(f"{owner}/old") == after
    with pytest.raises(LandmarkError, match=f"{owner}/old can't be a new version of itself"):
        publishing.publish(evaluated.path, f"{owner}/old", new_version_of=f"{owner}/old")

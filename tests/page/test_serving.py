import json
import math
import shutil
import threading
import time

import pytest
import torch
from helpers.model_folders import describe, figures, files, shift
from safetensors.torch import load_file, save, save_file

from landmark_models import LandmarkClassifier, ModelError, models
from landmark_models.files import sha256
from landmark_models.page import serving
from landmark_models.page.serving import Serving
from landmark_models.teaching import AddOn, AddOnError
from landmark_models.teaching.taught_file import TaughtFile


@pytest.fixture
def folder(run, tmp_path):
    folder = shutil.copytree(run.model, tmp_path / "model")
    (folder / "README.md").write_text("---\ntags: [landmark-classification]\n---\n")
    describe(folder, test=figures(0.9))
    return folder


@pytest.fixture
def serve(monkeypatch):
    monkeypatch.setattr(serving, "HUB_TIMEOUT", 60.0)  # however slow the machine
    started = []

    def serve(*arguments, **options) -> Serving:
        started.append(Serving(*arguments, **options))
        return started[-1]

    yield serve
    for each in started:
        each.close()


def wait_for(condition) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "nothing happened within 10 s"
        time.sleep(0.02)


def test_by_default_the_embedded_model_serves(serve):
    served = serve()
    assert served.current.classifier.source == "default"
    assert served.current.why == ""


def test_a_folder_serves_and_nothing_stands_in_for_one_that_does_not(serve, run, folder):
    assert serve(str(run.path)).current.classifier.labels == ["Red Tower", "Green Bridge", "Blue Lake"]
    for mistake in (str(folder / "nothing"), "defualt", "owner/name"):
        with pytest.raises(ModelError, match="There is no model folder"):
            serve(mistake)
    state = load_file(folder / "model.safetensors")
    nan = {name: tensor * torch.nan if tensor.is_floating_point() else tensor for name, tensor in state.items()}
    save_file(nan, folder / "model.safetensors")
    with pytest.raises(ModelError, match="not finite numbers"):
        serve(str(folder))


def test_a_model_has_precedence_over_a_namespace(serve, hub_server, owner, folder):
    commit = hub_server.commit(f"{owner}/worse", files(folder))
    describe(folder, test=figures(0.94))
    better = hub_server.commit(f"{owner}/better", files(folder))
    served = serve(f"hf-hub:{owner}/worse", owner)
    assert served.current.classifier.source == f"hf-hub:{owner}/worse"
    assert (served.current.classifier.revision, served.current.why) == (commit, "")
    served = serve(None, owner)
    assert served.current.classifier.revision == better
    assert served.current.why == f"It is the best of 2 models of {owner} by accuracy on the same test photos."


def damaged(folder) -> dict[str, bytes]:
    return files(folder) | {"model.safetensors": b"damaged"}


def with_nan(folder) -> dict[str, bytes]:
    """A model that loads, and answers with scores that are no numbers."""
    state = load_file(folder / "model.safetensors")
    nan = {name: tensor * torch.nan if tensor.is_floating_point() else tensor for name, tensor in state.items()}
    return files(folder) | {"model.safetensors": save(nan, {"format": "pt"})}


@pytest.mark.parametrize(("broken", "words"), [(damaged, "don't fit"), (with_nan, "not finite numbers")])
def test_the_next_best_serves_where_the_best_cannot_until_it_can(
    broken, words, serve, hub_server, owner, folder, monkeypatch
):
    monkeypatch.setattr(serving, "RETRY_INTERVAL", 0.05)
    second = hub_server.commit(f"{owner}/second", files(folder))
    describe(folder, test=figures(0.92))
    hub_server.commit(f"{owner}/first", broken(folder))
    served = serve(None, owner)
    assert served.current.classifier.revision == second
    assert served.current.why.startswith(
        f"It is number 2 of 2 models of {owner} by accuracy on the same test photos; those before it can't serve. "
    )
    assert words in served.current.why
    first = hub_server.commit(f"{owner}/first", files(folder))
    wait_for(lambda: served.current.classifier.revision == first)
    assert served.current.why == f"It is the best of 2 models of {owner} by accuracy on the same test photos."


def test_where_no_model_of_a_namespace_can_serve_the_reasons_are_given(serve, hub_server, owner, folder):
    for name in ("a", "b"):
        hub_server.commit(f"{owner}/{name}", damaged(folder))
    served = serve(None, owner)
    assert served.current.classifier.source == "default"
    assert f"No model of {owner} can serve. " in served.current.why
    assert all(f"{owner}/{name}" in served.current.why for name in ("a", "b"))


def test_what_served_goes_on_while_the_hub_does_not_send_a_better_one(serve, hub_server, owner, folder, monkeypatch):
    monkeypatch.setattr(serving, "CHECK_INTERVAL", 0.05)
    monkeypatch.setattr(serving, "RETRY_INTERVAL", 0.05)
    hub_server.commit(f"{owner}/third", files(folder))
    describe(folder, test=figures(0.92))
    second = hub_server.commit(f"{owner}/second", files(folder))
    served = serve(None, owner)
    assert served.current.classifier.revision == second
    shift(folder)
    hub_server.fail(sha256(folder / "model.safetensors"), status=503, times=math.inf)
    hub_server.commit(f"{owner}/second", files(folder))
    wait_for(lambda: "(503). Try again later. So this one continues to serve." in served.current.why)
    assert served.current.classifier.revision == second


def test_the_next_best_serves_where_nothing_has_and_the_hub_does_not_send_the_best(serve, hub_server, owner, folder):
    second = hub_server.commit(f"{owner}/second", files(folder))
    describe(folder, test=figures(0.92))
    shift(folder)
    hub_server.fail(sha256(folder / "model.safetensors"), status=503, times=math.inf)
    hub_server.commit(f"{owner}/first", files(folder))
    served = serve(None, owner)
    assert served.current.classifier.revision == second
    assert "temporarily unavailable (503)" in served.current.why


def test_the_hub_down_then_up_then_going_down(serve, hub_server, owner, folder, monkeypatch):
    monkeypatch.setattr(serving, "CHECK_INTERVAL", 0.05)
    monkeypatch.setattr(serving, "RETRY_INTERVAL", 0.05)
    commit = hub_server.commit(f"{owner}/net", files(folder))
    hub_server.down()
    served = serve(None, owner)
    assert served.current.classifier.source == "default"
    assert "the Hub can't be reached" in served.current.why
    assert "the embedded model serves" in served.current.why
    hub_server.up()
    wait_for(lambda: served.current.classifier.revision == commit)
    wait_for(lambda: "the only model" in served.current.why)
    hub_server.down()
    wait_for(lambda: "can't be reached" in served.current.why)
    assert served.current.classifier.revision == commit
    assert "this one continues to serve" in served.current.why
    served.close()

    later = serve(None, owner)  # another start, the Hub still down
    assert later.current.classifier.revision == commit
    assert "can't be reached" in later.current.why
    assert later.current.why.endswith("So the last copy that worked serves.")


def test_what_was_taught_waits_where_a_model_of_the_hub_takes_over(
    serve, hub_server, owner, folder, monkeypatch, tmp_path
):
    monkeypatch.setattr(serving, "CHECK_INTERVAL", 0.05)
    monkeypatch.setattr(serving, "RETRY_INTERVAL", 0.05)
    commit = hub_server.commit(f"{owner}/net", files(folder))  # it has no statistics, so it can't be taught
    hub_server.down()
    embedded = LandmarkClassifier.load()
    ones = torch.ones(1, embedded.served.mean.numel()).half()
    addon = AddOn(embedded.features_digest, ("Old Oak",), torch.ones(1).int(), ones)
    addon.write(tmp_path / "all")
    served = serve(None, owner, taught=TaughtFile(tmp_path / "all"))
    assert served.current.classifier.labels[-1] == "Old Oak"
    hub_server.up()
    wait_for(lambda: served.current.classifier.revision == commit)
    waits = "It doesn't know Old Oak, which was taught to another model and stays in all."
    wait_for(lambda: served.current.why == f"It is the only model of {owner}. {waits}")
    assert served.addon is None
    with pytest.raises(AddOnError, match="can't be taught"):
        served.change_taught(lambda _: None)
    hub_server.down()
    wait_for(lambda: served.current.why.endswith(f"this one continues to serve. {waits}"))
    assert AddOn.read(tmp_path / "all").labels == ("Old Oak",)


def test_a_slow_hub_is_not_waited_for_but_served_once_it_answers(serve, hub_server, owner, folder, monkeypatch):
    monkeypatch.setattr(serving, "HUB_TIMEOUT", 0.1)
    commit = hub_server.commit(f"{owner}/net", files(folder))
    hub_server.fail("/api/models/", delay=1.5)
    served = serve(f"hf-hub:{owner}/net")
    assert served.current.classifier.source == "default"
    assert f"has not answered within 0 s at {hub_server.url}." in served.current.why
    wait_for(lambda: served.current.classifier.revision == commit)
    assert served.current.why == ""


def test_without_later_checks_the_first_model_stays(serve, hub_server, owner, folder, monkeypatch):
    monkeypatch.setattr(serving, "HUB_TIMEOUT", 0.1)
    hub_server.commit(f"{owner}/net", files(folder))
    hub_server.fail("/api/models/", delay=0.5)
    served = serve(f"hf-hub:{owner}/net", keep_checking=False)
    wait_for(lambda: not [thread for thread in threading.enumerate() if thread.name in ("hub", "model-watch")])
    assert "/cdn/" in " ".join(request.path for request in hub_server.requests)  # it was found, too late
    assert served.current.classifier.source == "default"


def test_the_thread_that_starts_moves_the_model_to_its_device(serve, hub_server, owner, folder, monkeypatch):
    hub_server.commit(f"{owner}/net", files(folder))
    movers = []
    to = torch.nn.Module.to
    monkeypatch.setattr(
        torch.nn.Module, "to", lambda *words, **more: movers.append(threading.current_thread()) or to(*words, **more)
    )
    assert serve(f"hf-hub:{owner}/net", keep_checking=False).current.classifier.revision
    assert set(movers) == {threading.main_thread()}


@pytest.mark.parametrize("wish", ["model", "namespace"])
@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ({"status": 401}, "requires a valid token"),
        ({"status": 403}, "may not do that"),
        ({"status": 404, "code": "RepoNotFound"}, "none of that name"),
        ({"status": 409}, "somebody else"),
        ({"status": 429, "retry_after": 0}, "too many requests"),
        ({"status": 503}, "temporarily unavailable (503)"),
        ({"cut_after": 0}, "can't be reached"),
    ],
    ids=str,
)
def test_whatever_the_hub_answers_the_last_good_copy_serves(fault, words, wish, serve, hub_server, owner, folder):
    commit = hub_server.commit(f"{owner}/net", files(folder))
    wanted = (f"hf-hub:{owner}/net",) if wish == "model" else (None, owner)
    assert serve(*wanted).current.classifier.revision == commit
    for where in (f"/api/models/{owner}/net", "/api/models?"):
        hub_server.fail(where, times=100, **fault)
    served = serve(*wanted)
    assert served.current.classifier.revision == commit
    assert words in served.current.why


def test_a_new_commit_takes_over_and_a_bad_one_does_not(serve, hub_server, owner, folder, monkeypatch):
    monkeypatch.setattr(serving, "CHECK_INTERVAL", 0.05)
    monkeypatch.setattr(serving, "RETRY_INTERVAL", 0.05)
    first = hub_server.commit(f"{owner}/net", files(folder))
    served = serve(f"hf-hub:{owner}/net")
    assert served.current.classifier.revision == first
    state = load_file(folder / "model.safetensors")
    nan = {name: tensor * torch.nan if tensor.is_floating_point() else tensor for name, tensor in state.items()}
    save_file(nan, folder / "nan.safetensors")
    hub_server.commit(f"{owner}/net", {"model.safetensors": (folder / "nan.safetensors").read_bytes()})
    wait_for(lambda: "scores that are not finite numbers" in served.current.why)
    assert served.current.classifier.revision == first
    hub_server.commit(f"{owner}/net", {"model.safetensors": b"damaged"})
    wait_for(lambda: "don't fit" in served.current.why)
    assert served.current.classifier.revision == first
    hub_server.commit(f"{owner}/net", {"model.safetensors": None})
    wait_for(lambda: "has no model.safetensors" in served.current.why)
    assert served.current.classifier.revision == first

    later = serve(f"hf-hub:{owner}/net")  # a start while the Hub has nothing good
    assert later.current.classifier.revision == first
    assert "the last copy that worked" in later.current.why

    good = hub_server.commit(f"{owner}/net", {"model.safetensors": (folder / "model.safetensors").read_bytes()})
    wait_for(lambda: served.current.classifier.revision == good)


def test_a_model_that_fails_while_computing_is_not_adopted(serve, hub_server, owner, folder, monkeypatch):
    hub_server.commit(f"{owner}/net", files(folder))
    load = models.load

    def broken(model, **options):
        loaded = load(model, **options)
        if str(model).startswith("hf-hub:"):
            loaded.network.forward = None
        return loaded

    monkeypatch.setattr(models, "load", broken)
    served = serve(f"hf-hub:{owner}/net")
    assert served.current.classifier.source == "default"
    assert "can't serve" in served.current.why


def test_the_page_works_without_a_readable_or_writable_record(serve, hub_server, owner, folder, monkeypatch):
    commit = hub_server.commit(f"{owner}/net", files(folder))
    monkeypatch.setattr(serving, "_record_file", lambda: folder / "nowhere" / "record.json")
    assert serve(f"hf-hub:{owner}/net").current.classifier.revision == commit
    for damaged in ("[1]", "{half"):
        (folder / "record.json").write_text(damaged)
        monkeypatch.setattr(serving, "_record_file", lambda: folder / "record.json")
        assert serve(f"hf-hub:{owner}/net").current.classifier.revision == commit
        assert json.loads((folder / "record.json").read_text()) == {
            f"hf-hub:{owner}/net": f"hf-hub:{owner}/net@{commit}"
        }
    hub_server.down()
    assert serve(f"hf-hub:{owner}/net").current.classifier.revision == commit  # the cache's own copy
    assert serve(f"hf-hub:{owner}/other").current.classifier.source == "default"

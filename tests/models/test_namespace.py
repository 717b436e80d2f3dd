"""Which of a namespace's models is the best, and in which order the others follow."""

import json
import shutil
import threading

import pytest
from helpers.model_folders import figures, files

from landmark_models import ModelError, models
from landmark_models.models import namespace


@pytest.fixture
def folder(run, tmp_path):
    return shutil.copytree(run.model, tmp_path / "model")


@pytest.fixture
def put(hub_server, owner, folder):
    def put(name, test=None, elsewhere=None, tags=("landmark-classification",), without=(), extra=b""):
        content = files(folder) | {"README.md": f"---\ntags: {list(tags)}\n---\n".encode()}
        content["model.safetensors"] += extra
        config = json.loads(content["config.json"])
        config["landmark"] |= {key: block for key, block in (("test", test), ("elsewhere", elsewhere)) if block}
        content["config.json"] = json.dumps(config).encode()
        return hub_server.commit(f"{owner}/{name}", {n: c for n, c in content.items() if n not in without})

    return put


def names(best: models.Best) -> list[str]:
    return [candidate.name.partition("/")[2] for candidate in best.ranked]


def elsewhere(right: int, photos: int = 200, digest: str = "wild", named: int = 200) -> dict:
    counts = {"photos": photos, "named": min(named, photos), "right": right}
    return {**figures(0.5, photos, digest), "data": "wild60", "named": counts}


def test_the_highest_lower_bound_wins(put, owner, hub_server):
    put("a", figures(0.90))
    commit = put("b", figures(0.92))
    put("c", {**figures(0.93), "top1_ci95": [0.80, 0.99]})  # fewer photos say less
    hub_server.page_size = 1
    try:
        best = models.best(owner)
    finally:
        hub_server.page_size = 1000
    assert best.model == f"hf-hub:{owner}/b@{commit}"
    assert best.compared == 3
    assert best.test["top1"] == 0.92
    assert models.load(best.model).revision == commit


def test_a_tie_goes_to_the_smaller_file_then_to_the_name(put, owner):
    put("c", figures(0.9))
    put("b", figures(0.9))
    put("a", figures(0.9), extra=b" ")
    assert models.best(owner).model.startswith(f"hf-hub:{owner}/b@")


def test_figures_on_other_photos_do_not_compare(put, owner):
    put("a", figures(0.94, digest="easy"))
    put("b", figures(0.80))
    put("c", figures(0.85))
    best = models.best(owner)
    assert names(best) == ["c", "b", "a"]
    assert (best.compared, best.skipped) == (2, {})
    assert best.why(2) == f"It is number 3 of 3 models of {owner}; those before it can't serve."
    put("d", figures(0.5, n=200, digest="easy"))
    put("a", figures(0.94, n=200, digest="easy"))  # two each: the set with more photos
    assert models.best(owner).model.startswith(f"hf-hub:{owner}/a@")


def test_photos_from_elsewhere_decide_where_two_models_share_them(put, owner):
    put("a", figures(0.94))
    put("b", figures(0.80), elsewhere(150))
    assert names(models.best(owner)) == ["a", "b"]  # one alone has nobody to be compared with
    put("c", figures(0.70, digest="its own"), elsewhere(160))
    best = models.best(owner)
    assert names(best) == ["c", "b", "a"]
    assert best.why() == (
        f"It is the best of 2 models of {owner} by the share named rightly on photos from elsewhere (wild60)."
    )
    assert best.why(1).startswith(f"It is number 2 of 3 models of {owner} by the share named rightly")
    put("d", figures(0.94), elsewhere(20, photos=20, digest="few"))  # other photos, whatever they are called
    put("e", figures(0.94), elsewhere(199, digest="other"))
    put("f", figures(0.94), {key: value for key, value in elsewhere(199).items() if key != "named"})
    put("g", figures(0.94), elsewhere(0, photos=0) | {"n": 200})
    assert names(models.best(owner))[:2] == ["c", "b"]


def test_of_what_is_named_rightly_elsewhere_the_lower_bound_counts(put, owner):
    put("few", figures(0.9), elsewhere(10, photos=10))
    put("many", figures(0.5), elsewhere(190, photos=200))
    assert names(models.best(owner)) == ["many", "few"]


def test_what_cannot_be_compared_is_skipped_with_a_reason(put, owner, hub_server, monkeypatch):
    put("good", figures(0.5))
    put("no-figures")
    put("no-weights", figures(0.9), without=["model.safetensors"])
    put("no-digest", {key: value for key, value in figures(0.9).items() if key != "digest"})
    put("gated", figures(0.9))
    put("hidden", figures(0.9))
    put("untagged", figures(0.9), tags=["image-classification"])
    put("impossible", {**figures(0.9), "top1_ci95": [0.99, 0.1]})
    put("no-number", {**figures(0.9), "top1_ci95": [float("nan"), 0.95]})
    hub_server.set_gated(f"{owner}/gated")
    hub_server.repo(f"{owner}/hidden").private = True
    monkeypatch.setenv("HF_TOKEN", "hf_bob")
    best = models.best(owner)
    assert best.model.startswith(f"hf-hub:{owner}/good@")
    assert best.compared == 1
    reasons = {name.split("/")[1]: reason for name, reason in best.skipped.items()}
    assert reasons.keys() == {"no-figures", "no-weights", "no-digest", "gated", "impossible", "no-number"}
    assert "no test figures" in reasons["no-figures"]
    assert "gated" in reasons["gated"]
    assert "impossible figures" in reasons["impossible"]
    hub_server.grant(f"{owner}/gated", "bob")
    assert models.best(owner).model.startswith(f"hf-hub:{owner}/gated@")
    monkeypatch.setenv("HF_TOKEN", "hf_alice")
    hub_server.set_gated(f"{owner}/gated", False)
    put("hidden", figures(0.95))
    assert models.best(owner).model.startswith(f"hf-hub:{owner}/hidden@")


@pytest.mark.parametrize("fault", [{"status": 429, "retry_after": 0}, {"status": 503}, {"cut_after": 0}], ids=str)
def test_a_transient_failure_is_retried_and_does_not_make_another_the_best(fault, put, owner, hub_server):
    commit = put("better", figures(0.94))
    put("worse", figures(0.5))
    for where in ("/api/models?", f"/api/models/{owner}/better", "config.json"):
        hub_server.fail(where, **fault)
    assert models.best(owner).model == f"hf-hub:{owner}/better@{commit}"
    hub_server.fail(f"/api/models/{owner}/better", times=100, **fault)
    with pytest.raises(ModelError, match=f"best of {owner} can't be chosen"):
        models.best(owner)


@pytest.mark.parametrize("status", [401, 403, 404, 409])
def test_a_refused_model_is_skipped_and_a_refused_list_is_an_error(status, put, owner, hub_server):
    put("a", figures(0.94))
    put("b", figures(0.5))
    hub_server.fail(f"/api/models/{owner}/a", status=status, times=100)
    best = models.best(owner)
    assert best.model.startswith(f"hf-hub:{owner}/b@")
    assert best.skipped.keys() == {f"{owner}/a"}
    hub_server.fail("/api/models?", status=status, times=100)
    with pytest.raises(ModelError, match="can't be listed"):
        models.best(owner)


def test_a_hub_that_hangs_costs_neither_time_nor_a_thread(put, owner, hub_server, monkeypatch):
    put("a", figures(0.94))
    hub_server.fail("/api/models?", delay=60, times=100)
    monkeypatch.setattr(namespace, "TIMEOUT", 0.1)
    before = set(threading.enumerate()) | set(hub_server.listener.connections.values())
    with pytest.raises(ModelError, match=f"can't be listed: the Hub does not answer at {hub_server.url}"):
        models.best(owner)
    assert set(threading.enumerate()) - set(hub_server.listener.connections.values()) <= before


def test_a_config_that_hangs_is_given_up_as_soon(put, owner, hub_server, monkeypatch):
    put("a", figures(0.94))
    hub_server.fail(f"{owner}/a/resolve", delay=60, times=100)
    monkeypatch.setattr(namespace, "TIMEOUT", 0.1)
    monkeypatch.setattr("landmark_models.models.repository.TIMEOUT", 5.0)
    with pytest.raises(ModelError, match=f"{owner}/a can't be read: the Hub does not answer"):
        models.best(owner)


def test_a_list_without_end_is_given_up(put, owner, hub_server, monkeypatch):
    put("a", figures(0.94))
    put("b", figures(0.94))
    hub_server.page_size = 1
    monkeypatch.setattr(namespace, "_LIST_TIMEOUT", -1.0)
    try:
        with pytest.raises(ModelError, match="the Hub does not answer"):
            models.best(owner)
    finally:
        hub_server.page_size = 1000


def test_a_namespace_without_models_is_an_error(put, owner, hub_server):
    with pytest.raises(ModelError, match=r"no model of .* has the tag landmark-classification"):
        models.best("nobody")
    put("no-figures")
    with pytest.raises(ModelError, match="no-figures has no test figures"):
        models.best(owner)
    hub_server.down()
    with pytest.raises(ModelError, match="can't be listed: the Hub can't be reached"):
        models.best(owner)

"""All of it: photos are learned on two processes, the model is pushed to the Hub, and a page serves it from there."""

import json

import pytest
from helpers.pages import DESK, give, open_tab
from helpers.programs import serving_page
from helpers.runs import TINY, launch, tiny

pytestmark = [pytest.mark.slow, pytest.mark.browser]


@pytest.mark.parametrize(
    "knobs",
    [
        {"model": "test_resnet", "model_args": {}, "image_size": 64, "head": "whitened_cosine"},
        {"model": "landmark_resnet", "model_args": TINY["model_args"]},
    ],
    ids=["timm", "ours"],
)
def test_a_model_trained_on_two_processes_and_pushed_names_an_uploaded_photo(
    knobs, hub_server, owner, data, photo, tmp_path, monkeypatch, browser
):
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    repo = f"{owner}/landmarks"
    pushed = launch(tiny(**knobs, epochs=4), data, tmp_path / "run", 2, "--push-to-hub", repo, "--private")
    assert pushed.returncode == 0, pushed.stderr
    assert hub_server.repo(repo).private
    assert len(hub_server.commits(repo)) == 2  # the empty repository's and one: only one of two processes published
    config = json.loads(hub_server.files(repo)["config.json"])
    assert (config["architecture"], config["landmark"]["test"]["n"]) == (knobs["model"], 9)
    assert "--push-to-hub" not in hub_server.files(repo)["README.md"].decode()

    with serving_page(repo, LANDMARK_NAMESPACE=owner) as url:
        page = browser.new_page(viewport={"width": DESK, "height": 900})
        page.goto(url)
        give(page, photo, "Red Tower")
        candidates = page.locator("#candidates")
        for name in ("Red Tower", "Green Bridge", "Blue Lake"):
            candidates.get_by_text(name).first.wait_for()
        open_tab(page, "About")
        page.locator("#about").get_by_text(f"It is the only model of {owner}.").wait_for()
        page.close()

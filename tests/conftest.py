# ruff: noqa: E402
"""What several tests need: small photos, a small data folder, a small trained run."""

import contextlib
import json
import os
import shutil
import tempfile
import uuid
from pathlib import Path
from types import SimpleNamespace

from helpers.hub_server import HubServer, Store

# Nothing is read from or left in the user's own caches, and nothing asks the network: the Hub is one on loopback, and
# even that is off limits but in tests that use `hub_server`. The libraries look when imported.
_caches = tempfile.TemporaryDirectory()
_hub_server = HubServer()
os.environ |= {
    "HF_ENDPOINT": _hub_server.url,
    "HF_HUB_DISABLE_XET": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "LANDMARK_CACHE": f"{_caches.name}/photos",
    "HF_HOME": f"{_caches.name}/hub",
    "HF_HUB_OFFLINE": "1",
    "LANDMARK_ENGINE": "torch",  # converting takes seconds; tests of the other engine ask for it
    "GRADIO_TEMP_DIR": f"{_caches.name}/gradio",
    "MPLCONFIGDIR": f"{_caches.name}/matplotlib",
}

os.environ.pop("HF_TOKEN", None)

import huggingface_hub.constants
import pytest
import timm
import torch
from helpers.model_folders import renamed
from helpers.photos import write_data
from helpers.programs import absent
from helpers.runs import TINY
from hypothesis import HealthCheck, settings
from safetensors.torch import save_file

from train.fit import fit
from train.measure.evaluation import evaluate
from train.recipe import Recipe

settings.register_profile("project", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("project")


@pytest.fixture
def data(tmp_path) -> Path:
    return write_data(tmp_path / "photos")


@pytest.fixture(scope="session")
def shared_data(tmp_path_factory) -> Path:
    """The same, for tests that only read it."""
    return write_data(tmp_path_factory.mktemp("shared") / "photos")


@pytest.fixture(scope="session")
def run(shared_data, tmp_path_factory):
    """A run of the real training loop on the small data; tests only read it."""
    return fit(Recipe.from_values({**TINY, "ema_decay": 0.5}), shared_data, tmp_path_factory.mktemp("runs") / "tiny")


@pytest.fixture(scope="session")
def pretrained(tmp_path_factory) -> Path:
    """A file of weights as timm's own repositories have them, with the classifier of another task."""
    torch.manual_seed(5)
    file = tmp_path_factory.mktemp("weights") / "model.safetensors"
    save_file(timm.create_model("test_resnet", num_classes=7).state_dict(), file)
    return file


@pytest.fixture
def hub_server(monkeypatch):
    """The Hub on loopback, empty, and huggingface_hub logged in there as alice; no wait between attempts."""
    _hub_server.store = Store({})
    _hub_server.requests.clear()
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr("landmark_models.models.failures._FIRST_WAIT", 0.01)
    monkeypatch.setattr("huggingface_hub.utils._http.time", SimpleNamespace(sleep=lambda _: None))
    monkeypatch.setenv("HF_TOKEN", "hf_alice")
    yield _hub_server
    _hub_server.faults.clear()
    _hub_server.down()
    _hub_server.up()
    assert not _hub_server.errors


@pytest.fixture
def owner(hub_server) -> str:
    """A namespace of alice's that no other test has had, so that no cache knows it."""
    name = f"team-{uuid.uuid4().hex[:8]}"
    hub_server.store.organizations[name] = {"alice"}
    return name


@pytest.fixture(scope="session")
def evaluated(shared_data, tmp_path_factory):
    """A small run of one of timm's own networks, measured on its test split."""
    knobs = {"model": "test_resnet", "model_args": {}, "image_size": 64}
    run = fit(Recipe.from_values({**TINY, **knobs}), shared_data, tmp_path_factory.mktemp("runs") / "evaluated")
    evaluate(run.path, shared_data, "test", run.test.parent)
    return run


@pytest.fixture(scope="session")
def sure(run, tmp_path_factory) -> Path:
    """The small run's model, as sure of its answers as a large one would be."""
    folder = shutil.copytree(run.model, tmp_path_factory.mktemp("models") / "sure")
    config = json.loads((folder / "config.json").read_text())
    config["landmark"]["temperature"] = 0.05
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@contextlib.contextmanager
def opened(model: Path):
    """The address of a page with a model serving."""
    import app
    from landmark_models.page.serving import Serving
    from landmark_models.page.theme import FRAMES

    page = app.build(Serving(str(model)))
    _, url, _ = page.launch(
        prevent_thread_lock=True, quiet=True, theme=app.THEME, ssr_mode=False, mcp_server=True,
        max_file_size=app.MAX_BYTES, css=FRAMES,
    )  # fmt: skip
    yield url
    page.close(verbose=False)


@pytest.fixture(scope="session")
def url(sure):
    """The page's address, with the small run's model serving."""
    with opened(sure) as url:
        yield url


@pytest.fixture(scope="session")
def famous_model(sure, tmp_path_factory) -> Path:
    """A model that takes red for the Eiffel Tower, which the gazetteer knows."""
    names = {"Red Tower": "Eiffel Tower", "Green Bridge": "Forth Bridge", "Blue Lake": "Dead Sea"}
    return renamed(sure, tmp_path_factory.mktemp("models") / "famous", names)


@pytest.fixture(scope="session")
def famous_url(famous_model):
    """Another page, with that model serving."""
    with opened(famous_model) as url:
        yield url


@pytest.fixture(scope="session")
def hostile_url(sure, tmp_path_factory):
    """A page whose model has labels that a stranger chose."""
    names = {"Red Tower": "<img src=x onerror=alert(1)>"}
    with opened(renamed(sure, tmp_path_factory.mktemp("models") / "hostile", names)) as url:
        yield url


@pytest.fixture(scope="session")
def client(url):
    """A client of the page's API."""
    from gradio_client import Client

    return Client(url, verbose=False)


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
CHROMIUM_ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
    "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream",
]  # fmt: skip


@pytest.fixture(scope="module")  # while it is there, asyncio.run can't be used
def browser():
    if CHROMIUM is None:
        absent("Chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser):
    """Opens the page at an address; what it asks of other hosts, `page.strangers`, must be nothing at the end."""
    pages = []

    def open_at(url: str, width: int, **options):
        context = browser.new_context(viewport={"width": width, "height": 900}, **options)
        page = context.new_page()
        page.strangers, page.failures = [], []
        asked = page.strangers.append
        page.on("request", lambda r: None if r.url.startswith((url, "data:", "blob:")) else asked(r.url))
        page.on("pageerror", lambda error: page.failures.append(str(error)))
        page.goto(url)
        page.locator("#photo").wait_for()
        pages.append(page)
        return page

    yield open_at
    for page in pages:
        page.context.close()
        assert not page.strangers
        assert not page.failures


@pytest.fixture(params=[390, 1440])
def page(open_page, url, request):
    """The page at a phone's and at a desk's width."""
    return open_page(url, request.param)


@pytest.fixture(params=[390, 1440])
def famous(open_page, famous_url, request):
    """The other page, likewise."""
    return open_page(famous_url, request.param)


@pytest.fixture(scope="session")
def photo(shared_data) -> Path:
    return shared_data / "test" / "00.Red_Tower" / "000.jpg"


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Landmarks-60, where LANDMARK_DATA names the folder that holds it."""
    folder = os.environ.get("LANDMARK_DATA")
    if not folder:
        pytest.skip("LANDMARK_DATA does not name the folder of real photos")
    return Path(folder) / "landmarks60"

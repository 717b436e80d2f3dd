"""Pages that serve small models, clients of their API, and a browser to open them in."""

import contextlib
from pathlib import Path

import pytest
from gradio_client import Client
from helpers.browsers import opened_browser
from helpers.model_folders import renamed
from helpers.pages import DESK, PHONE

from landmark_models.page.examples import BUNDLED
from landmark_models.page.fetching import guard_fetching
from landmark_models.page.layout import LAUNCH_OPTIONS, build
from landmark_models.page.serving import Serving


@contextlib.contextmanager
def opened(model: Path | str):
    """The address of a page with a model serving."""
    guard_fetching()
    page = build(Serving(str(model)), examples=lambda _: BUNDLED)
    _, url, _ = page.launch(prevent_thread_lock=True, quiet=True, **LAUNCH_OPTIONS)
    yield url
    page.close(verbose=False)


@pytest.fixture(scope="session")
def url(sure):
    """The page's address, with the small run's model serving."""
    with opened(sure) as url:
        yield url


@pytest.fixture(scope="session")
def famous_url(famous_model):
    """Another page, with a model whose landmarks the gazetteer knows."""
    with opened(famous_model) as url:
        yield url


@pytest.fixture(scope="session")
def hostile_url(sure, tmp_path_factory):
    """A page whose model has labels that a stranger chose."""
    names = {"Red Tower": "<img src=x onerror=alert(1)>"}
    with opened(renamed(sure, tmp_path_factory.mktemp("models") / "hostile", names)) as url:
        yield url


@pytest.fixture(scope="session")
def long_url(sure, tmp_path_factory):
    """A page whose landmark has a long name, without a place to break it."""
    names = {"Red Tower": "Red" * 20}
    with opened(renamed(sure, tmp_path_factory.mktemp("models") / "long", names)) as url:
        yield url


@pytest.fixture(scope="session")
def embedded_url():
    """A page that serves the embedded model."""
    with opened("default") as url:
        yield url


@pytest.fixture(scope="session")
def client(url):
    """A client of the page's API."""
    return Client(url, verbose=False)


@pytest.fixture
def uploads(tmp_path) -> Path:
    """An empty folder for uploads, without a page."""
    (tmp_path / "uploads").mkdir()
    return tmp_path / "uploads"


@pytest.fixture(scope="module")
def browser():
    with opened_browser() as browser:
        yield browser


@pytest.fixture
def open_page(browser):
    """Opens the page at an address; in the end no request may have gone to others (`strangers`) than `page.own`."""
    pages = []

    def open_at(url: str, width: int, **options):
        context = browser.new_context(viewport={"width": width, "height": 900}, **options)
        page = context.new_page()
        page.own, page.strangers, page.failures = [url, "data:", "blob:"], [], []
        page.on(
            "request",
            lambda r: None if r.url.startswith(tuple(page.own)) else page.strangers.append(r.url),
        )
        page.on("pageerror", lambda error: page.failures.append(str(error)))
        page.on("filechooser", lambda _: None)  # expect_file_chooser doesn't wait until choosers are intercepted
        page.goto(url)
        page.locator("#examples button").first.wait_for()  # what runs when the page opens has run
        pages.append(page)
        return page

    yield open_at
    for page in pages:
        page.context.close()
        assert not page.strangers
        assert not page.failures


@pytest.fixture
def page(open_page, url):
    """The page at a phone's width, where space is scarce."""
    return open_page(url, PHONE)


@pytest.fixture
def famous(open_page, famous_url):
    """The other page, likewise."""
    return open_page(famous_url, PHONE)


@pytest.fixture(params=[PHONE, DESK])
def width(request) -> int:
    return request.param

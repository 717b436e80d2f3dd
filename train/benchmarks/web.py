"""The page that runs in the browser, in a real Chromium, against the Python classifier on the same photos."""

import functools
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tqdm.auto import tqdm

from landmark_models import LandmarkClassifier
from landmark_models.errors import LandmarkError
from train.data import photos_below
from train.hub.web_page import write_page

_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_TIMEOUT = 120_000  # ms
# To be run in the page: its own worker, which is then asked for one photo after another.
START = """async () => {
  window.facts = await (await fetch('page.json')).json();
  window.tester = new Worker('worker.js', {type: 'module'});
  window.told = wanted => new Promise((resolve, reject) => {
    tester.onmessage = ({data}) => data.failed ? reject(Error(data.failed)) : wanted(data) && resolve(data);
  });
  const ready = told(data => data.ready);
  tester.postMessage({start: facts});
  return (await ready).ready;
}"""
ASK = """async number => {
  const file = await (await fetch(`photos/${number}`)).blob(), begun = performance.now();
  const answered = told(data => data.id === number);
  tester.postMessage({id: number, file});
  const {answer, error} = await answered;
  if (error) return {error};
  const candidates = answer.candidates.map(({index, score}) => [facts.landmarks[index].label, score]);
  return {candidates, known: answer.known, seconds: (performance.now() - begun) / 1000};
}"""


@dataclass(frozen=True)
class WebResult:
    """How the page's answers compare with the classifier's on `n` photos, and its times in seconds."""

    n: int
    failed: int  # photos that the browser couldn't read
    same_answer: int
    same_known: int
    differences: list[float]  # each photo's largest difference of a score
    seconds: list[float]  # for each photo
    cold: float  # from opening the page to the first answer, without anything kept
    warm: float  # the same on the second visit
    engine: str
    browser: str


def measure(model: str, folder: Path, n: int) -> WebResult:
    """Have `n` photos, spread over a folder that is searched recursively, answered by the page and the classifier.

    Raises:
        LandmarkError: there is no browser, no photo, or the page can't be made.
    """
    browser = next(filter(None, map(shutil.which, _BROWSERS)), None)
    if browser is None or find_spec("playwright") is None:
        raise LandmarkError("This needs Chromium and playwright: run `pip install playwright`, and install Chromium.")
    found = photos_below(folder.resolve())
    photos = [found[i * len(found) // n] for i in range(n)] if n < len(found) else found
    if not photos:
        raise LandmarkError(f"{folder} has no photos.")
    with tempfile.TemporaryDirectory() as scratch:
        write_page(model, Path(scratch) / "page")
        with served(Path(scratch) / "page", photos) as url:
            answers, facts = _in_browser(url, browser, photos)
    classifier = LandmarkClassifier.load(model)
    same_answer, same_known, differences, seconds = 0, 0, [], []
    for photo, answer in zip(photos, tqdm(answers, "here", leave=False, unit="photo"), strict=True):
        if "error" in answer:
            continue
        expected = classifier.predict(photo, len(classifier.labels))
        scores = {candidate.label: candidate.score for candidate in expected}
        same_answer += answer["candidates"][0][0] == expected[0].label
        same_known += answer["known"] == expected.known
        differences.append(max(abs(score - scores[label]) for label, score in answer["candidates"]))
        seconds.append(answer["seconds"])
    return WebResult(len(seconds), len(photos) - len(seconds), same_answer, same_known, differences, seconds, **facts)


def _in_browser(url: str, browser: str, photos: Sequence[Path]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The worker's answers to the photos, and the times of a first and a second visit."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        context = chromium.new_context()
        context.set_default_timeout(_TIMEOUT)
        visits = []
        for _ in range(2):
            page = context.new_page()
            begun = time.perf_counter()
            page.goto(url)
            page.set_input_files("#choose", photos[0])
            page.locator("#answer h2").wait_for()
            visits.append(time.perf_counter() - begun)
            page.close()
        page = context.new_page()
        page.goto(url)
        engine = page.evaluate(START)
        progress = tqdm(range(len(photos)), "in the browser", leave=False, unit="photo")
        answers = [page.evaluate(ASK, number) for number in progress]
        facts = {"cold": visits[0], "warm": visits[1], "engine": engine, "browser": chromium.version}
        chromium.close()
    return answers, facts


@contextmanager
def served(page: Path, photos: Sequence[Path] = (), headers: Mapping[str, str] = MappingProxyType({})) -> Iterator[str]:
    """Serve a folder, and photos as `photos/NUMBER`, on this machine; yields the address."""

    class Handler(SimpleHTTPRequestHandler):
        def end_headers(self) -> None:
            for name, value in headers.items():
                self.send_header(name, value)
            super().end_headers()

        def translate_path(self, path: str) -> str:
            head, _, number = path.rpartition("/photos/")
            return str(photos[int(number)]) if not head and number.isdecimal() else super().translate_path(path)

        def log_message(self, format: str, *args: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=page))
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

"""The page over HTTP against two other apps: an empty one, which is gradio's own share, and the obvious one."""

import json
import math
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from landmark_models.errors import LandmarkError
from train.benchmarks import in_turns, quantiles

APPS = ("page", "empty", "obvious")

_ROOT = Path(__file__).parents[2]
_START_TIMEOUT = 120.0  # seconds


@dataclass(frozen=True)
class PageTimes:
    """The measurements of each app: seconds for each photo sent alone, and photos/s of many at once in each round."""

    seconds: dict[str, list[float]]
    rates: dict[str, list[float]]


def measure(model: str, photo: bytes, users: int, requests: int, rounds: int) -> PageTimes:
    """Time the three apps in turns: one user who sends `requests` photos, then `users` who send as many a round."""
    each = math.ceil(requests / users)
    with ExitStack() as running, ThreadPoolExecutor(users) as pool:
        urls = {name: running.enter_context(opened(name, model)) for name in APPS}

        def send(url: str) -> None:
            list(pool.map(lambda user: [ask(url, photo, f"user {user}") for _ in range(each)], range(users)))

        seconds = in_turns({name: partial(ask, url, photo, "alone") for name, url in urls.items()}, requests, warm=2)
        durations = in_turns({name: partial(send, url) for name, url in urls.items()}, rounds, warm=1)
    return PageTimes(seconds, {name: [each * users / value for value in values] for name, values in durations.items()})


def print_page_times(times: PageTimes, users: int) -> None:
    """Print a table of the measurements, and the page's relative to the other apps'."""
    from rich.console import Console
    from rich.table import Table

    table = Table("app", "alone, p50", "p95", f"{users} at once, median", "lowest", "highest")
    for name in APPS:
        alone = [f"{1000 * value:.0f} ms" for value in quantiles(times.seconds[name])]
        rates = [f"{f(times.rates[name]):.1f} photos/s" for f in (statistics.median, min, max)]
        table.add_row(name, *alone, *rates)
    Console().print(table)

    def ratio(values: Mapping[str, list[float]], other: str) -> float:
        return statistics.median(values["page"]) / statistics.median(values[other])

    for other in APPS[1:]:
        print(
            f"page / {other}: {ratio(times.seconds, other):.2f} of its time alone, "
            f"{ratio(times.rates, other):.2f} of its photos/s with {users} at once."
        )


@contextmanager
def opened(app: str, model: str) -> Iterator[str]:
    """Serve one of `APPS` from another process on this machine; yields its address.

    Raises:
        LandmarkError: it doesn't open.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    command = ["app.py", "--model", model] if app == "page" else ["-m", f"train.benchmarks.apps.{app}", model]
    with tempfile.TemporaryDirectory() as uploads:
        environment = {
            **os.environ,
            "GRADIO_ANALYTICS_ENABLED": "False",
            "GRADIO_SERVER_PORT": str(port),
            "GRADIO_TEMP_DIR": uploads,
        }
        process = subprocess.Popen([sys.executable, *command], cwd=_ROOT, stdout=subprocess.DEVNULL, env=environment)
        try:
            deadline = time.monotonic() + _START_TIMEOUT
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), timeout=1).close()
                    break
                except OSError:
                    if process.poll() is not None or time.monotonic() > deadline:
                        program = " ".join(["python", *command])
                        raise LandmarkError(f"An app doesn't open; run `{program}` to see why.") from None
                    time.sleep(0.2)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait()


def ask(url: str, photo: bytes, session: str | None = None) -> list[Any]:
    """Upload a photo to an app and call `/predict` with it, over plain HTTP; returns the answer.

    A browser and gradio's client keep one `session` for all their calls; for a call without any, gradio makes a new
    one, which takes the longer the more components the page has.

    Raises:
        LandmarkError: the answer is an error.
    """
    import httpx  # gradio's

    # Without `verify=False`, each client would read all certificates, which takes as long as an answer.
    with httpx.Client(base_url=f"{url.rstrip('/')}/gradio_api", timeout=600, verify=False) as client:
        path = client.post("/upload", files={"files": ("photo.jpg", photo)}).raise_for_status().json()[0]
        call = {"data": [{"path": path, "meta": {"_type": "gradio.FileData"}}], "session_hash": session}
        event = client.post("/call/predict", json=call).raise_for_status().json()["event_id"]
        text = client.get(f"/call/predict/{event}").raise_for_status().text
    if "event: complete" not in text:
        raise LandmarkError(f"The app answers with an error: {text[:300]}")
    answer: list[Any] = json.loads(text.rpartition("data: ")[2])
    return answer

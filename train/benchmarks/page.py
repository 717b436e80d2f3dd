"""How long people wait: for the page's answer over HTTP, one at a time and many at once, and for its explanation."""

import json
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from landmark_models import LandmarkClassifier
from landmark_models.errors import LandmarkError
from landmark_models.explain import explain

__all__ = ["ask", "explanation", "latencies", "page", "quantiles"]

_ROOT = Path(__file__).parents[2]
_START = 120.0  # seconds that the page has to open


@contextmanager
def page(model: str) -> Iterator[str]:
    """The page in a process of its own, on this machine; its address.

    Raises:
        LandmarkError: it does not open.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    command = [sys.executable, "app.py", "--model", model, "--port", str(port)]
    environment = {**os.environ, "GRADIO_ANALYTICS_ENABLED": "False"}
    process = subprocess.Popen(command, cwd=_ROOT, stdout=subprocess.DEVNULL, env=environment)
    try:
        deadline = time.monotonic() + _START
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise LandmarkError("The page does not open; try `python app.py` by hand.") from None
                time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def ask(url: str, photo: bytes, endpoint: str = "predict") -> list[Any]:
    """Upload a photo to the page and wait for the answer of an endpoint, over plain HTTP.

    Raises:
        LandmarkError: the answer is an error.
    """
    import httpx  # gradio's

    with httpx.Client(base_url=f"{url.rstrip('/')}/gradio_api", timeout=600) as client:
        path = client.post("/upload", files={"files": ("photo.jpg", photo)}).raise_for_status().json()[0]
        data: list[Any] = [{"path": path, "meta": {"_type": "gradio.FileData"}}]
        data += [5] if endpoint == "predict" else []  # candidates
        event = client.post(f"/call/{endpoint}", json={"data": data}).raise_for_status().json()["event_id"]
        text = client.get(f"/call/{endpoint}/{event}").raise_for_status().text
    if "event: complete" not in text:
        raise LandmarkError(f"The page answers with an error: {text[:300]}")
    answer: list[Any] = json.loads(text.rpartition("data: ")[2])
    return answer


def latencies(url: str, photo: bytes, users: int, requests: int) -> list[float]:
    """Seconds from the start of the upload to the answer, of each of `requests`, asked by `users` at once."""

    def once(_: int) -> float:
        started = time.perf_counter()
        ask(url, photo)
        return time.perf_counter() - started

    with ThreadPoolExecutor(users) as pool:
        return list(pool.map(once, range(requests)))


def explanation(model: str, photo: Path, rounds: int) -> dict[str, list[float]]:
    """Seconds of a prediction and of an explanation of a photo, which take turns."""
    classifier = LandmarkClassifier.load(model)
    times: dict[str, list[float]] = {"predict": [], "explain": []}
    for position in range(rounds + 1):
        for name, call in (("predict", classifier.predict), ("explain", lambda file: explain(classifier, file))):
            started = time.perf_counter()
            call(photo)
            if position:  # the first of each is not counted
                times[name].append(time.perf_counter() - started)
    return times


def quantiles(times: list[float]) -> tuple[float, float]:
    """The median and the 95th percentile."""
    return statistics.median(times), statistics.quantiles(times, n=20, method="inclusive")[-1]

"""Latency of the page over HTTP, for one person and for many at once."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from landmark_models.errors import LandmarkError

_ROOT = Path(__file__).parents[2]
_START_TIMEOUT = 120.0  # seconds


@contextmanager
def page(model: str) -> Iterator[str]:
    """Serve the page from another process on this machine; yields its address.

    Raises:
        LandmarkError: it doesn't open.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    command = [sys.executable, "app.py", "--model", model, "--port", str(port)]
    environment = {**os.environ, "GRADIO_ANALYTICS_ENABLED": "False"}
    process = subprocess.Popen(command, cwd=_ROOT, stdout=subprocess.DEVNULL, env=environment)
    try:
        deadline = time.monotonic() + _START_TIMEOUT
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise LandmarkError("The page doesn't open; run `python app.py` to see why.") from None
                time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def ask(url: str, photo: bytes, endpoint: str = "predict") -> list[Any]:
    """Upload a photo to the page and call an endpoint with it, over plain HTTP; returns the answer.

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
    """Seconds from the start of the upload to the answer, for each of `requests` sent by `users` at once."""

    def once(_: int) -> float:
        started = time.perf_counter()
        ask(url, photo)
        return time.perf_counter() - started

    with ThreadPoolExecutor(users) as pool:
        return list(pool.map(once, range(requests)))

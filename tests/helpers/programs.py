"""Programs that some tests need, and our own commands."""

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import httpx
import pytest
import typer
from typer.testing import CliRunner


def invoke(command, *words: object):
    """What a command of one function answers to these words."""
    app = typer.Typer()
    app.command()(command)
    return CliRunner().invoke(app, [str(word) for word in words])


def absent(what: str) -> None:
    """Skip a test for want of a program, or fail where everything but LANDMARK_WITHOUT has to be there."""
    is_needed = os.environ.get("LANDMARK_TESTS") == "all"
    is_needed = is_needed and what.split()[0] not in os.environ.get("LANDMARK_WITHOUT", "").split()
    (pytest.fail if is_needed else pytest.skip)(f"{what} is not installed")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


@contextlib.contextmanager
def serving_page(model: str, **environment: str) -> Iterator[str]:
    """The address of a page that `python app.py` has opened, once this model answers there; ended with the test."""
    port = free_port()
    server = subprocess.Popen(
        [sys.executable, "app.py", "--port", str(port)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={**os.environ, **environment},
    )  # fmt: skip
    url, serves, deadline = f"http://127.0.0.1:{port}/", None, time.monotonic() + 180
    try:
        while serves != model and server.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(httpx.HTTPError):
                serves = httpx.get(f"{url}health", timeout=5).json()["model"]
            time.sleep(0.1)
        if serves != model:
            server.terminate()
            pytest.fail(f"{serves} serves, not {model}: {server.communicate()[0]}")
        yield url
    finally:
        server.terminate()
        server.communicate()

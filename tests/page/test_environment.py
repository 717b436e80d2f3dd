"""What the page needs of the machine: caches that can be written, and an address that it may open."""

import errno
import os
import socket
import subprocess
import sys

import pytest

from landmark_models import LandmarkError
from landmark_models.page.environment import check_address, provide_caches, requested_port, seconds_on_gpu, server_name
from landmark_models.page.many_handlers import Photos


@pytest.fixture
def taken():
    """A port that another server listens at."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@pytest.fixture(autouse=True)
def unset(monkeypatch):
    for name in ("GRADIO_SERVER_PORT", "XDG_CACHE_HOME", "HF_HOME", "MPLCONFIGDIR"):
        monkeypatch.setenv(name, "")  # or what a test sets would stay
        monkeypatch.delenv(name)


def test_a_free_port_may_be_opened():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    check_address(port=port)
    check_address()


def test_a_taken_port_is_called_taken_unless_the_next_one_will_do(taken, monkeypatch):
    with pytest.raises(LandmarkError, match=f"port {taken} is taken; choose another with --port"):
        check_address(port=taken)
    monkeypatch.setenv("GRADIO_SERVER_PORT", str(taken))
    check_address()


def test_a_forbidden_port_is_not_called_taken(monkeypatch):
    """A stand-in for the kernel's answer to a user who isn't root."""

    def forbid(*_):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(socket.socket, "bind", forbid)
    with pytest.raises(LandmarkError, match=r"may not open port 80 .*choose one above 1023"):
        check_address(port=80)


@pytest.mark.parametrize(
    ("name", "words"),
    [("192.0.2.1", "isn't an address of this machine"), ("host.invalid", "doesn't resolve"),
     ("a" * 64, "doesn't resolve"), ("http://localhost", "doesn't resolve"), ("300.1.2.3", "doesn't resolve")],
)  # fmt: skip
def test_a_wrong_server_name_is_called_wrong(name, words):
    with pytest.raises(LandmarkError, match=words) as caught:
        check_address(name)
    assert name in str(caught.value)
    assert "taken" not in str(caught.value)


@pytest.mark.parametrize("name", ["0.0.0.0", "localhost", "127.0.0.1"])
def test_this_machines_own_names_are_accepted(name):
    check_address(name)


@pytest.mark.parametrize(
    ("host", "name"), [("::1", "[::1]"), ("[::]", "[::]"), ("0.0.0.0", "0.0.0.0"), ("", None), (None, None)]
)
def test_gradio_takes_ipv6_in_brackets(host, name):
    assert server_name(host) == name


@pytest.mark.parametrize("text", ["http", "", "0", "70000", "-1", "7860.5"])
def test_a_port_in_the_environment_that_is_none_is_a_sentence(text, monkeypatch):
    monkeypatch.setenv("GRADIO_SERVER_PORT", text)
    with pytest.raises(LandmarkError, match="a number from 1 to 65535"):
        requested_port()


def test_caches_stay_where_they_can_be_written(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    provide_caches(tmp_path / "other")
    assert "XDG_CACHE_HOME" not in os.environ


@pytest.mark.parametrize("home", ["~", "/proc/1", "file"], ids=["unknown", "not writable", "not a folder"])
def test_without_a_usable_home_caches_get_another_place(home, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path.replace("~", home))
    provide_caches(tmp_path / "other")
    assert os.environ["XDG_CACHE_HOME"] == str(tmp_path / "other")
    assert os.environ["MPLCONFIGDIR"].startswith(str(tmp_path / "other"))
    assert "HF_HOME" not in os.environ
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


def test_models_in_a_cache_that_is_read_only_are_still_used(tmp_path, monkeypatch):
    (tmp_path / ".cache" / "huggingface").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(os, "access", lambda *_: False)
    provide_caches(tmp_path / "other")
    assert os.environ["HF_HOME"] == str(tmp_path / ".cache" / "huggingface")
    assert os.environ["XDG_CACHE_HOME"] == str(tmp_path / "other")


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_memory_of_large_photos_is_given_back():
    script = """
import threading
from PIL import Image
from landmark_models.page.environment import return_freed_memory
return_freed_memory()

resident = lambda: int(next(line for line in open("/proc/self/status") if line.startswith("VmRSS")).split()[1])
def decode():
    for side in (4500, 6000):
        Image.new("RGBA", (side, side), "red")
before = resident()
for _ in range(2):
    threads = [threading.Thread(target=decode) for _ in range(2)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
print(resident() - before)
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert int(result.stdout) < 60_000  # kB; a photo takes 144,000


def test_a_gpu_is_borrowed_for_as_long_as_so_many_photos_take(tmp_path):
    many = Photos(tuple((f"{index}.jpg", tmp_path) for index in range(200)), tmp_path)
    assert seconds_on_gpu({"path": "photo.jpg"}, 5, "") == 10
    assert seconds_on_gpu("Town Hall", [tmp_path] * 20, None, None) == 15
    assert seconds_on_gpu(many) == 60  # what ZeroGPU lends by default

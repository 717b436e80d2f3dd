import asyncio
import base64
import http.server
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
from gradio.utils import get_upload_folder
from gradio_client import handle_file
from gradio_client.exceptions import AppError
from helpers.pages import call, post

from landmark_models import LandmarkError, PhotoError, Prediction
from landmark_models.page import fetching, uploads
from landmark_models.page.cards import Knows
from landmark_models.page.handlers import Handlers, Seen
from landmark_models.page.refusals import ShownError
from landmark_models.page.results import PhotoResult
from landmark_models.page.serving import Serving
from landmark_models.tagging.tags import Tags


def test_uploads_are_deleted(client, photo):
    for name in ("/predict", "/explain"):
        client.predict(handle_file(photo), api_name=name)
    folder = Path(get_upload_folder())
    old = [file for file in folder.rglob("*") if file.is_file()]
    assert old
    uploads.sweep(folder)
    assert all(file.exists() for file in old)  # half an hour has not passed
    uploads.sweep(folder, older_than=-1)
    assert not [file for file in folder.rglob("*") if file.is_file()]


@pytest.mark.parametrize("meta", [{}, {"meta": {"_type": "gradio.FileData"}}], ids=["bare", "gradio's own form"])
def test_a_path_on_the_server_is_not_opened(url, photo, meta):
    for path in (str(photo), "/etc/passwd", "/nowhere", "../../etc/passwd"):
        answer = post(url, {"path": path, **meta})
        assert "event: error" in answer
        assert "confidences" not in answer
        assert "not an image" not in answer  # nothing is told of what lies there
        assert "never uploaded" in answer
    assert "event: error" in post(url, "/etc/passwd")
    assert "There is no photo" in post(url, {"path": "a\0b"})


def test_a_file_that_is_not_a_photo_is_refused_by_its_own_name(client, tmp_path):
    path = tmp_path / "holiday.jpg"
    path.write_text("no photo")
    with pytest.raises(AppError, match=r"holiday\.jpg is not an image") as caught:
        client.predict(handle_file(path), api_name="/predict")
    assert str(tmp_path) not in str(caught.value)
    with pytest.raises(AppError, match="no photo"):
        client.predict(None, api_name="/predict")


def test_an_error_reaches_clients_as_it_is_and_the_page_escaped(client, url, tmp_path, sure):
    name = "can't, a & b.jpg"
    (tmp_path / name).write_text("no photo")
    for endpoint in ("/predict", "/tag", "/explain"):
        with pytest.raises(AppError, match="can't, a & b\\.jpg is not an image"):
            client.predict(handle_file(tmp_path / name), api_name=endpoint)
    (uploaded,) = httpx.post(f"{url}gradio_api/upload", files={"files": (name, b"no photo")}).json()
    assert "can't, a & b.jpg is not an image" in post(url, at(uploaded))
    result = PhotoResult(name, Tags((Prediction("Red Tower", 0.9),)))
    seen = Seen(result, Knows(3, None), tmp_path / name)
    with pytest.raises(ShownError, match="can&#x27;t, a &amp; b\\.jpg is not an image"):
        Handlers(Serving(str(sure)), tmp_path).look(seen, True, "en")


NO_PHOTO = "There is no photo yet"
WRONG = "These aren't the arguments that this endpoint takes"


@pytest.mark.parametrize(
    ("endpoint", "arguments", "words"),
    [("predict", [None, 3], NO_PHOTO), ("predict", [{}, 3], NO_PHOTO), ("predict", [], NO_PHOTO),
     ("predict", [None], NO_PHOTO), ("predict", ["photo.jpg", 3], WRONG), ("predict", [["a"], 3], WRONG),
     ("tag", [None], NO_PHOTO), ("tag", [], NO_PHOTO), ("explain", [], NO_PHOTO),
     ("tag", [{"path": None, "url": None}], NO_PHOTO), ("explain", [None], NO_PHOTO), ("explain", [7], WRONG),
     ("landmarks", [None], "The query must be text"), ("landmarks", [["a"]], "The query must be text")],
)  # fmt: skip
def test_arguments_that_are_missing_or_wrong_are_told_in_a_sentence(url, endpoint, arguments, words):
    answer = call(url, endpoint, *arguments)
    assert "event: error" in answer
    assert words in answer


def test_arguments_that_are_left_out_get_their_defaults(url, photo):
    (uploaded,) = httpx.post(f"{url}gradio_api/upload", files={"files": photo.read_bytes()}).json()
    assert "Red Tower" in post(url, at(uploaded))
    assert "Blue Lake" in call(url, "landmarks")


def test_a_number_of_candidates_that_is_none_is_told_in_a_sentence(url, photo):
    (uploaded,) = httpx.post(f"{url}gradio_api/upload", files={"files": photo.read_bytes()}).json()
    assert "must be from 1 to 10" in post(url, at(uploaded), None)


def forms(photo) -> list[dict]:
    """A photo as base64 in `url`, in every form that the API's own description covers."""
    text = base64.b64encode(photo.read_bytes()).decode()
    lines = "\r\n".join(text[start : start + 76] for start in range(0, len(text), 76))
    urls = [f"data:image/jpeg;base64,{text}", f"data:;base64,{text}", f"DATA:image/jpeg;BASE64,{lines}", text,
            f"data:image/jpeg;base64,{quote(text, safe='')}", f"data:image/jpeg;charset=x;base64,{text.rstrip('=')}",
            f"data:image/jpeg;base64,{text.replace('+', '-').replace('/', '_')}",
            f"  data:image/jpeg; base64 , {text}\n"]  # fmt: skip
    meta = {"meta": {"_type": "gradio.FileData"}}
    return [{"url": url} for url in urls] + [{"url": urls[0], **meta}, {"url": urls[0], "path": None, **meta}]


def test_a_photo_may_be_base64_in_its_url(url, photo):
    for form in forms(photo):
        assert "Red Tower" in post(url, form)
    assert "Red Tower" in call(url, "tag", forms(photo)[0])
    assert "event: complete" in call(url, "explain", forms(photo)[0])


@pytest.mark.parametrize(
    ("wrong", "words"),
    [("data:image/jpeg,abc", "isn't base64"), ("data:image/jpeg;base64", "isn't base64"), ("holiday.jpg", "neither"),
     ("data:image/jpeg;base64,###", "neither"), ("data:image/jpeg;base64,", "is empty"),
     ("file:///etc/passwd", "nor an http:// or https:// address"), (" http://127.0.0.1:1/a.jpg", "can't be reached"),
     ("data:image/jpeg;base64,bm8gcGhvdG8=", "is not an image"), ("/gradio_api/file=/etc/passwd", "neither")],
)  # fmt: skip
def test_a_url_that_holds_no_photo_is_told_in_a_sentence(url, wrong, words):
    assert words in post(url, {"url": wrong})


def test_base64_has_the_limit_of_an_upload(tmp_path, monkeypatch):
    monkeypatch.setattr(uploads, "MAX_BYTES", 1000)
    with pytest.raises(PhotoError, match="is larger than"):
        uploads.uploaded_file({"url": "data:;base64," + "A" * 2**21}, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def elsewhere(photo):
    """Another host's address; requests for some paths are answered badly."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response({"/gone.jpg": 404, "/moved.jpg": 302, "/away.jpg": 302}.get(self.path, 200))
            if self.path == "/moved.jpg":
                self.send_header("Location", "/fine.jpg")
            if self.path == "/away.jpg":
                self.send_header("Location", f"http://127.0.0.1:{self.server.server_port}/fine.jpg")
            if self.path == "/packed.jpg":
                self.send_header("Content-Encoding", "gzip")
            self.end_headers()
            self.wfile.write(photo.read_bytes())

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def at(address: str) -> dict:
    return {"path": address, "meta": {"_type": "gradio.FileData"}}


def test_a_photo_at_an_address_is_fetched_within_limits(url, elsewhere, monkeypatch):
    monkeypatch.setattr(fetching, "_is_public", lambda _: True)
    assert "Red Tower" in post(url, at(f"{elsewhere}/fine.jpg"))
    assert "Red Tower" in post(url, at(f"{elsewhere}/moved.jpg"))
    assert "answers with status 404" in post(url, at(f"{elsewhere}/gone.jpg"))
    assert "compressed" in post(url, at(f"{elsewhere}/packed.jpg"))
    assert "can't be reached" in post(url, at("http://127.0.0.1:9/closed.jpg"))
    monkeypatch.setattr(fetching, "MAX_BYTES", 1000)
    assert "is larger than" in post(url, at(f"{elsewhere}/large.jpg"))


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 200 OK\r\n\r\n\xff\xd8"], ids=["nothing", "a beginning"])
def test_a_host_that_falls_silent_is_not_waited_for(url, said, monkeypatch):
    monkeypatch.setattr(fetching, "_is_public", lambda _: True)
    monkeypatch.setattr(fetching, "_TIMEOUT", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            connection, _ = listener.accept()
            held.append(connection)
            connection.sendall(said)

        held: list[socket.socket] = []
        threading.Thread(target=accept, daemon=True).start()
        started = time.monotonic()
        assert "did not arrive within" in post(url, at(f"http://127.0.0.1:{listener.getsockname()[1]}/slow.jpg"))
        assert time.monotonic() - started < 10
        for connection in held:
            connection.close()


@pytest.mark.parametrize("form", [at, lambda address: {"url": address}], ids=["as the path", "as the url"])
def test_a_photo_named_by_its_address_alone_is_fetched(url, elsewhere, monkeypatch, form):
    monkeypatch.setattr(fetching, "_is_public", lambda _: True)
    assert "Red Tower" in post(url, form(f"{elsewhere}/fine.jpg"))


@pytest.mark.parametrize(
    "address",
    [f"http://{'a' * 64}.example/a.jpg", "http://", "http://[::1/a.jpg", "http://[fe80::1%25eth0]/a.jpg",
     "http://[fe80::1%eth0]/", "http://example.com:99999/a.jpg", "http://a b/c.jpg", "http://ex\nample/",
     "http://user:secret@127.0.0.1/a.jpg", "http://..", "http://xn--/a.jpg", "http://%00/",
     "https:///a.jpg", "http://1.2.3/a.jpg", "http://0x7f000001/", "http://-/"],
)  # fmt: skip
@pytest.mark.parametrize("form", [at, lambda address: {"url": address}], ids=["as the path", "as the url"])
def test_an_address_that_is_none_is_told_in_a_sentence(url, address, form):
    answer = post(url, form(address))
    assert "please upload the photo instead" in answer
    assert "secret" not in answer


def test_redirects_are_followed_within_one_deadline_and_not_for_ever(url, monkeypatch):
    monkeypatch.setattr(fetching, "_is_public", lambda _: True)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            held.wait(how["pause"])
            self.send_response(302)
            self.send_header("Location", how["to"] or f"{self.path}x")
            self.end_headers()

        def log_message(self, *_):
            pass

    held, how = threading.Event(), {"pause": 0.0, "to": ""}
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/a"
        assert "leads on more than 10 times" in post(url, at(address))
        for how["to"] in ("file:///etc/passwd", "ftp://example.com/a.jpg", "http://user:x@127.0.0.1/"):
            assert "starts with http:// or https://" in post(url, at(address))
        how |= {"pause": 0.2, "to": ""}
        monkeypatch.setattr(fetching, "_TIMEOUT", 0.5)
        started = time.monotonic()
        assert "did not arrive within" in post(url, at(address))
        assert time.monotonic() - started < 2
        held.set()
        server.shutdown()


@pytest.mark.parametrize(
    ("host", "fetched"),
    [("huggingface.co", True), ("cdn-lfs.huggingface.co", True), ("HF.co", True),
     ("huggingface.co.evil.example", False), ("evilhuggingface.co", False),
     ("evil.example", False), ("127.0.0.1", False)],
)  # fmt: skip
def test_the_hubs_own_names_are_reached_inside_a_space_and_no_others(host, fetched, url, elsewhere, monkeypatch):
    """There they resolve to addresses that aren't public; here to this machine, which nobody else's name leads to."""
    getaddrinfo = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda _, *more, **options: getaddrinfo("127.0.0.1", *more, **options))
    port = elsewhere.rpartition(":")[2]
    answer = post(url, at(f"http://{host}:{port}/fine.jpg"))
    assert ("Red Tower" in answer) is fetched
    assert ("can't be reached" in answer) is not fetched


def test_a_redirect_from_the_hub_is_checked_anew(url, elsewhere, monkeypatch):
    getaddrinfo = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda _, *more, **options: getaddrinfo("127.0.0.1", *more, **options))
    port = elsewhere.rpartition(":")[2]
    assert "Red Tower" in post(url, at(f"http://huggingface.co:{port}/moved.jpg"))
    assert "can't be reached" in post(url, at(f"http://huggingface.co:{port}/away.jpg"))


def test_a_redirect_keeps_the_hosts_name(monkeypatch):
    """Or the certificate of the next answer could not be checked."""
    monkeypatch.setattr(fetching, "_is_public", lambda _: True)
    request = httpx.Request("GET", "https://localhost:8443/a.jpg", extensions={"timeout": {"read": 1}})
    sent = asyncio.run(fetching._to_public_host(request))
    assert request.url.host == "localhost"
    assert sent.url.host in ("127.0.0.1", "::1")
    assert sent.headers["Host"] == "localhost:8443"
    assert sent.extensions == {"timeout": {"read": 1}, "sni_hostname": "localhost"}


def test_nobody_reaches_the_server_or_its_neighbours_through_the_page(url, elsewhere):
    for address in (elsewhere, "http://localhost:1", "http://169.254.169.254", "http://[::1]:1", "http://host.invalid"):
        assert "can't be reached" in post(url, at(f"{address}/fine.jpg")), address


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.0.0.1", "192.168.1.1", "169.254.169.254", "100.100.100.200", "0.0.0.0", "224.0.0.1", "::1",
     "fe80::1", "fec0::1", "fd00::1", "2002:7f00:1::", "::ffff:127.0.0.1", "ff02::1"],
)  # fmt: skip
def test_private_addresses_are_refused(address):
    assert not fetching._is_public(address)


def test_public_addresses_are_accepted():
    assert fetching._is_public("8.8.8.8")
    assert fetching._is_public("2001:4860:4860::8888")


UPLOAD_FOLDER = "import sys; from landmark_models.page.uploads import upload_folder; print(upload_folder(sys.argv[1]))"


def another_page(parent: Path, end: str, **options) -> subprocess.Popen:
    """A process with an upload folder of its own, whose path it prints before it ends, or doesn't."""
    command = [sys.executable, "-c", f"{UPLOAD_FOLDER}; sys.stdout.flush(); {end}", str(parent)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **options)


def test_each_page_has_a_folder_of_its_own_and_those_of_dead_pages_are_removed(tmp_path):
    folder = uploads.upload_folder(tmp_path)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert folder.parent.stat().st_mode & 0o777 == 0o700
    (tmp_path / "precious").write_text("")
    with another_page(tmp_path, "sys.stdin.read()") as running:
        running_folder = Path(running.stdout.readline().strip())
        (folder / "photo.jpg").write_text("")
        (running_folder / "photo.jpg").write_text("")
        with another_page(tmp_path, "import os; os.kill(os.getpid(), 9)") as killed:
            killed_folder = Path(killed.stdout.readline().strip())
        (killed_folder / "photo.jpg").write_text("")
        (killed_folder / "link").symlink_to(tmp_path)
        last = uploads.upload_folder(tmp_path)
        assert len({folder, running_folder, killed_folder, last}) == 4
        assert not killed_folder.exists()
        assert (folder / "photo.jpg").exists()
        assert (running_folder / "photo.jpg").exists()
        running.stdin.close()
        running.wait()
    assert not running_folder.exists()  # it ended in peace, and cleared up
    assert (tmp_path / "precious").exists()


def test_a_page_that_is_told_to_stop_removes_its_folder(tmp_path):
    script = (
        "import sys; from landmark_models.page.uploads import remove_when_stopped, upload_folder\n"
        "folder = upload_folder(sys.argv[1]); remove_when_stopped(folder); print(folder, flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as page:
        folder = Path(page.stdout.readline().strip())
        assert folder.is_dir()
        page.terminate()
        assert page.wait(10) == -signal.SIGTERM
    assert not folder.exists()


def test_a_folder_that_is_a_link_or_somebody_elses_is_left_alone(tmp_path):
    shared = uploads.upload_folder(tmp_path).parent
    shutil.rmtree(shared)
    (tmp_path / "home" / "page-1").mkdir(parents=True)
    shared.symlink_to(tmp_path / "home")  # by somebody who wants it swept
    other = uploads.upload_folder(tmp_path)
    assert not other.is_relative_to(tmp_path)
    assert other.stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "home" / "page-1").is_dir()
    other.rmdir()


@pytest.mark.skipif(not hasattr(os, "setuid") or os.getuid() != 0, reason="only root may become a user without a name")
def test_a_user_without_a_name_or_a_home_gets_a_folder_too():
    script = (
        "import os, sys; from landmark_models.page.uploads import upload_folder\n"
        "os.setgroups([]); os.setgid(54321); os.setuid(54321); print(upload_folder(sys.argv[1]))"
    )
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        done = subprocess.run([sys.executable, "-c", script, folder], capture_output=True, text=True, env={})
        assert done.stderr == ""
        assert Path(done.stdout.strip()).parent == Path(folder, "landmark-pages-54321")


def test_where_nothing_can_be_written_a_sentence_says_so(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "file"))
    with pytest.raises(LandmarkError, match="no folder that uploads could be written to"):
        uploads.upload_folder(tmp_path / "file")


def test_a_sweep_takes_old_files_and_empty_folders_and_follows_no_link(tmp_path):
    (tmp_path / "precious").write_text("")
    folder = tmp_path / "uploads"
    (folder / "hash").mkdir(parents=True)
    (folder / "hash" / "photo.jpg").write_text("")
    (folder / "link").symlink_to(tmp_path)
    uploads.sweep(folder, older_than=-1)
    assert list(folder.iterdir()) == []
    assert (tmp_path / "precious").is_file()


def test_a_sweep_survives_folders_that_vanish_while_it_walks(tmp_path, monkeypatch):
    for index in range(20):
        (tmp_path / f"hash-{index}").mkdir()
        (tmp_path / f"hash-{index}" / "photo.jpg").write_text("")
    scandir = os.scandir

    def vanishing(path):
        if "hash-" in str(path):
            shutil.rmtree(path)  # another sweep, an administrator, a cleaner of temporary files
        return scandir(path)

    monkeypatch.setattr(os, "scandir", vanishing)
    uploads.sweep(tmp_path, older_than=-1)
    monkeypatch.undo()
    assert list(tmp_path.iterdir()) == []


def test_sweeping_goes_on_after_a_failure_and_reports_it(tmp_path, monkeypatch, caplog):
    rounds, enough = [], threading.Event()

    def fail(*_):
        rounds.append(1)
        if len(rounds) == 3:
            enough.set()
        raise RuntimeError("a disk that is gone")

    monkeypatch.setattr(uploads, "sweep", fail)
    monkeypatch.setattr(uploads, "SWEEP_INTERVAL", 0.01)
    uploads.keep_sweeping(tmp_path)
    assert enough.wait(10)
    monkeypatch.setattr(uploads, "sweep", lambda *_: sys.exit())  # ends the thread
    assert "a disk that is gone" in caplog.text


def test_an_upload_that_cannot_be_deleted_is_reported(tmp_path, monkeypatch, caplog):
    (tmp_path / "photo.jpg").write_text("")
    monkeypatch.setattr(Path, "unlink", lambda *_: (_ for _ in ()).throw(PermissionError(13, "no", "photo.jpg")))
    uploads.sweep(tmp_path, older_than=-1)
    assert "An old upload can't be deleted" in caplog.text

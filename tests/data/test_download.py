import functools
import os
import subprocess
import sys
import threading
import zipfile
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from helpers.photos import write_data

from train.data import DataError, find_photos
from train.data.download import SOURCES, Source, download
from train.data.scratch import locked

COUNTS = {"train": 24, "test": 9}


class Server(SimpleHTTPRequestHandler):
    """Serves a folder with ranges; breaks off after `limit` bytes while `failures` are left."""

    limit, failures, ranges, seen = 0, 0, True, []

    def log_message(self, *_):
        pass

    def do_GET(self):
        content = (Path(self.directory) / self.path.lstrip("/")).read_bytes()
        asked = self.headers.get("Range")
        type(self).seen.append(asked)
        start = int(asked.removeprefix("bytes=").split("-")[0]) if asked and self.ranges else 0
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        part = content[start:]
        if self.failures:
            type(self).failures -= 1
            part = part[: self.limit]
        self.wfile.write(part)


@pytest.fixture
def archive(tmp_path) -> Path:
    """An archive laid out as the 50-class set is, beside things that are no part of it."""
    data = write_data(tmp_path / "made" / "landmark_images")
    (tmp_path / "served").mkdir()
    with zipfile.ZipFile(tmp_path / "served" / "set.zip", "w", zipfile.ZIP_DEFLATED) as content:
        for file in sorted(data.rglob("*.jpg")):
            content.write(file, file.relative_to(tmp_path / "made"))
        content.writestr("__MACOSX/landmark_images/train/00.Red_Tower/._000.jpg", "junk")
        content.writestr("landmark_images/train/00.Red_Tower/._000.jpg", "junk")
        content.writestr("landmark_images/train/00.Red_Tower/readme.txt", "junk")
    return tmp_path / "served" / "set.zip"


@pytest.fixture
def source(archive, monkeypatch) -> Source:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    for name, value in {"limit": 0, "failures": 0, "ranges": True, "seen": []}.items():
        monkeypatch.setattr(Server, name, value)
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Server, directory=archive.parent))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield Source(f"http://127.0.0.1:{server.server_port}/{archive.name}", "landmark_images", COUNTS)
    server.shutdown()
    server.server_close()


def break_off(monkeypatch, archive: Path) -> None:
    """Let the connection break half-way, for more often than the client tries again."""
    monkeypatch.setattr("time.sleep", lambda _: None)
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1000)
    monkeypatch.setattr(Server, "limit", archive.stat().st_size // 20)
    monkeypatch.setattr(Server, "failures", 8)


def test_the_set_is_fetched_checked_and_laid_out(source, tmp_path):
    folder = download(source, tmp_path / "photos")
    assert len(find_photos(folder, "train")) == 24
    assert find_photos(folder, "train").labels == ("Red Tower", "Green Bridge", "Blue Lake")
    assert {entry.name for entry in folder.iterdir()} == {"train", "test"}
    assert len(list(folder.rglob("*.*"))) == 33 + len(list(folder.glob("*/*")))
    requests = len(Server.seen)
    assert download(source, folder) == folder  # nothing left to do
    assert len(Server.seen) == requests


def test_a_broken_connection_is_mended_within_one_call(source, archive, tmp_path, monkeypatch):
    break_off(monkeypatch, archive)
    monkeypatch.setattr(Server, "failures", 2)
    assert len(find_photos(download(source, tmp_path / "photos"), "test")) == 9
    assert Server.seen[0] is None
    assert all(asked.startswith("bytes=") for asked in Server.seen[1:])


def test_an_interrupted_download_goes_on_where_it_was(source, archive, tmp_path, monkeypatch):
    fetch = "train.data.download.http_get"
    with monkeypatch.context() as patched:

        def half(url, file, **_):
            file.write(archive.read_bytes()[:5000])
            raise OSError("the cable was pulled")

        patched.setattr(fetch, half)
        with pytest.raises(DataError, match=r"stopped early: the cable was pulled. Run the command again"):
            download(source, tmp_path / "photos")
    download(source, tmp_path / "photos")
    assert Server.seen == ["bytes=5000-"]


@pytest.mark.parametrize("about", ['{"url": "http://elsewhere/", "etag": null, "bytes": 7}', '{"url": "http'])
def test_another_file_at_the_address_is_fetched_from_its_beginning(about, source, archive, tmp_path):
    work = tmp_path / "photos" / ".download"
    work.mkdir(parents=True)
    (work / "archive.zip").write_bytes(b"x" * 5000)
    (work / "about.json").write_text(about)
    assert len(find_photos(download(source, tmp_path / "photos"), "train")) == 24
    assert Server.seen == [None]


def test_two_downloads_to_one_folder_do_not_disturb_each_other(source, tmp_path):
    with locked(tmp_path / "photos"), pytest.raises(DataError, match="Another command is downloading"):
        download(source, tmp_path / "photos")
    download(source, tmp_path / "photos")
    assert not (tmp_path / "photos.lock").exists()


def test_a_server_without_ranges_is_no_obstacle(source, archive, tmp_path, monkeypatch):
    break_off(monkeypatch, archive)
    monkeypatch.setattr(Server, "failures", 1)
    monkeypatch.setattr(Server, "ranges", False)
    assert len(find_photos(download(source, tmp_path / "photos"), "train")) == 24


@pytest.mark.parametrize(
    "name", ["../evil.jpg", "/tmp/evil.jpg", "landmark_images/train/../../../evil.jpg", "landmark_images\\..\\evil.jpg"]
)
def test_members_that_leave_the_folder_are_refused(name, source, archive, tmp_path):
    with zipfile.ZipFile(archive, "a") as content:
        content.writestr(name, "evil")
    with pytest.raises(DataError, match="leaves its folder"):
        download(source, tmp_path / "photos")
    assert not list(tmp_path.rglob("evil.jpg"))
    assert not list((tmp_path / "photos").rglob("*.jpg"))


def test_links_are_refused(source, archive, tmp_path):
    link = zipfile.ZipInfo("landmark_images/train/00.Red_Tower/link.jpg")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(archive, "a") as content:
        content.writestr(link, "/etc/passwd")
    with pytest.raises(DataError, match="leaves its folder"):
        download(source, tmp_path / "photos")


def test_a_damaged_archive_is_fetched_anew_next_time(source, archive, tmp_path):
    good = archive.read_bytes()
    archive.write_bytes(good[:3000] + b"\0" * 50 + good[3050:])
    with pytest.raises(DataError, match=r"is damaged .* Run the command again"):
        download(source, tmp_path / "photos")
    archive.write_bytes(good)
    assert len(find_photos(download(source, tmp_path / "photos"), "train")) == 24


def test_a_call_stopped_between_the_splits_is_gone_on_with(source, tmp_path):
    done = download(source, tmp_path / "photos")
    (done / ".download").mkdir()
    (done / "test").rename(tmp_path / "elsewhere")
    assert len(find_photos(download(source, done), "test")) == 9
    (done / ".download").mkdir()
    (done / "train" / "00.Red_Tower" / ".DS_Store").write_text("left by a file manager")
    download(source, done)
    assert {entry.name for entry in done.iterdir()} == {"train", "test"}


def test_too_few_photos_and_foreign_folders_are_refused(source, tmp_path):
    more = Source(source.url, source.top, {"train": 25, "test": 9})
    with pytest.raises(DataError, match="24 train photos instead of 25, 9 test photos instead of 9"):
        download(more, tmp_path / "photos")
    assert not (tmp_path / "photos" / "train").exists()
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "thesis.txt").write_text("precious")
    with pytest.raises(DataError, match="holds other files"):
        download(source, tmp_path / "thesis")


def test_the_published_set_and_its_command(source, tmp_path):
    assert SOURCES["udacity"].counts == {"train": 4996, "test": 1250}
    command = [sys.executable, "-m", "train.data", "download"]
    environment = {**os.environ, "HF_HUB_OFFLINE": "0"}
    wrong = subprocess.run(
        [*command, "udacity", "--output", tmp_path / "photos", "--url", source.url],
        capture_output=True, text=True, env=environment,
    )  # fmt: skip
    assert wrong.returncode == 1
    assert wrong.stderr.splitlines()[-1].startswith(f"Error: {source.url} has 24 train photos instead of 4996")
    assert "Traceback" not in wrong.stderr
    nothing = subprocess.run(
        [*command, "udacity", "--output", tmp_path / "other", "--url", "http://127.0.0.1:9/set.zip"],
        capture_output=True, text=True, env=environment,
    )  # fmt: skip
    assert nothing.returncode == 1
    assert "can't be reached" in nothing.stderr
    assert "Traceback" not in nothing.stderr

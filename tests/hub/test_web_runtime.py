"""ONNX Runtime for browsers: only what was tested is taken, whatever a registry or a cache holds."""

import base64
import gzip
import hashlib
import io
import sys
import tarfile

import pytest

from landmark_models.errors import LandmarkError
from train.benchmarks.web import served
from train.hub import web_runtime
from train.hub.web_runtime import Runtime, write_runtimes

SCRIPT, WASM = b"export {};", b"\0asm" * 1000


def tarball(*members: tuple[str, bytes | str]) -> bytes:
    """A package; a member of text is a link to it."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        for name, what in members:
            member = tarfile.TarInfo(name)
            if isinstance(what, str):
                member.type, member.linkname = tarfile.SYMTYPE, what
                archive.addfile(member)
            else:
                member.size = len(what)
                archive.addfile(member, io.BytesIO(what))
    return content.getvalue()


PACKAGE = tarball(
    ("package/dist/ort.mjs", SCRIPT), ("package/dist/ort.wasm", WASM), ("../../../evil", b"evil"), ("/evil", b"evil")
)


@pytest.fixture(autouse=True)
def small(monkeypatch, tmp_path):
    """A small package stands for the real one; nothing is cached yet, and there is no npm."""
    expect(monkeypatch, PACKAGE)
    digests = [hashlib.sha256(content).hexdigest() for content in (SCRIPT, WASM)]
    runtime = Runtime("ort.mjs", digests[0], "ort.wasm", digests[1])
    monkeypatch.setattr(web_runtime, "RUNTIMES", {"wasm": runtime})
    (tmp_path / "cache").mkdir()
    monkeypatch.setattr(web_runtime, "cached_assets_path", lambda *_, **__: tmp_path / "cache")
    monkeypatch.setattr(web_runtime.shutil, "which", lambda _: None)
    monkeypatch.setenv("npm_config_registry", "http://127.0.0.1:9")  # where nothing answers


def expect(monkeypatch, package: bytes) -> None:
    """Have this package be the one that the project was tested with."""
    monkeypatch.setattr(web_runtime, "_SHA512", base64.b64encode(hashlib.sha512(package).digest()).decode())


@pytest.fixture
def registry(monkeypatch, tmp_path):
    """Serves packages as npm's registry does."""
    folder = tmp_path / "registry" / "onnxruntime-web" / "-"
    folder.mkdir(parents=True)
    with served(tmp_path / "registry") as url:
        monkeypatch.setenv("npm_config_registry", url)
        yield folder / f"onnxruntime-web-{web_runtime.VERSION}.tgz"


def test_the_files_that_are_needed_come_from_the_registry_and_then_from_the_cache(registry, tmp_path):
    registry.write_bytes(PACKAGE)
    write_runtimes(tmp_path / "first")
    assert {file.name for file in (tmp_path / "first").iterdir()} == {"ort.mjs", "ort.wasm.gzip"}
    assert gzip.decompress((tmp_path / "first" / "ort.wasm.gzip").read_bytes()) == WASM
    registry.unlink()
    write_runtimes(tmp_path / "second")
    for name in ("ort.mjs", "ort.wasm.gzip"):
        assert (tmp_path / "second" / name).read_bytes() == (tmp_path / "first" / name).read_bytes()


def test_a_damaged_cache_is_filled_again(registry, tmp_path):
    registry.write_bytes(PACKAGE)
    write_runtimes(tmp_path / "first")
    (tmp_path / "cache" / "ort.wasm.gzip").write_bytes(gzip.compress(b"changed by somebody"))
    write_runtimes(tmp_path / "second")
    assert gzip.decompress((tmp_path / "second" / "ort.wasm.gzip").read_bytes()) == WASM


def test_without_a_network_there_is_a_sentence(tmp_path):
    with pytest.raises(LandmarkError, match=r"onnxruntime-web .* can't be downloaded from npm: .* Try again with a"):
        write_runtimes(tmp_path / "first")
    assert not (tmp_path / "first").exists()


def test_a_package_that_is_not_the_tested_one_is_not_even_opened(registry, tmp_path):
    registry.write_bytes(tarball(("package/dist/ort.mjs", b"steal()"), ("package/dist/ort.wasm", WASM)))
    with pytest.raises(LandmarkError, match="isn't what this project was tested with: its SHA-512 is"):
        write_runtimes(tmp_path / "first")
    assert not list((tmp_path / "cache").iterdir())


@pytest.mark.parametrize(
    "members",
    [
        [("package/dist/ort.mjs", SCRIPT)],
        [("package/dist/ort.mjs", SCRIPT), ("package/dist/ort.wasm", "/etc/passwd")],
        [("package/dist/ort.mjs", b"steal()"), ("package/dist/ort.wasm", WASM)],
    ],
    ids=["a file is missing", "a file is a link", "a file is another one"],
)
def test_only_the_tested_files_are_taken_out_of_a_package(members, registry, tmp_path, monkeypatch):
    package = tarball(*members)
    expect(monkeypatch, package)
    registry.write_bytes(package)
    with pytest.raises(LandmarkError, match=r"lacks a file|aren't those that this project was tested with"):
        write_runtimes(tmp_path / "first")
    assert not (tmp_path / "first").exists()


def test_nothing_is_written_where_a_package_says(registry, tmp_path):
    registry.write_bytes(PACKAGE)
    write_runtimes(tmp_path / "deep" / "down" / "first")
    assert not list(tmp_path.rglob("evil"))


def test_npm_is_asked_first_and_may_fail(registry, tmp_path, monkeypatch):
    """The npm here is a script that writes the package, or nothing."""
    (tmp_path / "npm.tgz").write_bytes(PACKAGE)
    npm = tmp_path / "npm"
    npm.write_text(f"#!{sys.executable}\nimport shutil\nshutil.copy({str(tmp_path / 'npm.tgz')!r}, 'package.tgz')\n")
    npm.chmod(0o755)
    monkeypatch.setattr(web_runtime.shutil, "which", lambda _: str(npm))
    write_runtimes(tmp_path / "first")
    (tmp_path / "cache" / "ort.mjs").unlink()
    npm.write_text("#!/bin/sh\nexit 1\n")
    registry.write_bytes(PACKAGE)
    write_runtimes(tmp_path / "second")
    assert (tmp_path / "second" / "ort.mjs").read_bytes() == SCRIPT

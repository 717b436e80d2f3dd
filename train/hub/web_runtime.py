"""ONNX Runtime for browsers, which runs the model on a static page: from npm, of one version, checked and cached.

Of each kind there is a script and the WebAssembly that it runs: `wasm` computes on the CPU, `webgpu` on the GPU where a
browser has WebGPU and lets WebAssembly wait for it (JSPI). A visitor's browser loads one of them.
"""

import base64
import gzip
import hashlib
import io
import os
import shutil
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

import httpx
from huggingface_hub import cached_assets_path

from landmark_models.errors import LandmarkError, reason
from landmark_models.files import atomic_path

PACKAGE, VERSION = "onnxruntime-web", "1.30.0"

_SHA512 = "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="  # SHA-512 at npm
_REGISTRY = "https://registry.npmjs.org"
_MAX_BYTES = 2**27  # of the package; it has 33 MB
_TIMEOUT = 600  # seconds


@dataclass(frozen=True)
class Runtime:
    """The names in the package of a script and of the WebAssembly it runs, and their SHA-256."""

    script: str
    script_sha256: str
    wasm: str
    wasm_sha256: str

    @property
    def packed(self) -> str:
        """What the WebAssembly is called on the page, which unpacks it itself; no server knows this ending."""
        return f"{self.wasm}.gzip"


RUNTIMES = {
    "wasm": Runtime(
        "ort.wasm.bundle.min.mjs",
        "11e64bd8ffe11bd1a2a2f0d6275fdfbbba7262f0b76b99b53d228a8a22ef3d90",
        "ort-wasm-simd-threaded.wasm",
        "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
    ),
    "webgpu": Runtime(
        "ort.jspi.bundle.min.mjs",
        "07ec090355e11b342c95436db54da2d0c2bd5b1d319745bfd3337e6bdcf170ac",
        "ort-wasm-simd-threaded.jspi.wasm",
        "a54c76f86b0f0d9572380cf1c6292a7b3903716ffcbcd6b0e5c7050bf430eb93",
    ),
}


def write_runtimes(folder: Path) -> None:
    """Write the scripts and the packed WebAssembly of all `RUNTIMES` into a new folder, from the cache or from npm.

    Raises:
        LandmarkError: the package can't be downloaded, or isn't the one that this project was tested with.
    """
    cache = Path(cached_assets_path("landmark_models", PACKAGE, subfolder=VERSION))
    if not all(_is_whole(cache, runtime) for runtime in RUNTIMES.values()):
        _fill(cache, _downloaded())
    folder.mkdir(parents=True)
    for runtime in RUNTIMES.values():
        for name in (runtime.script, runtime.packed):
            shutil.copyfile(cache / name, folder / name)


def _is_whole(folder: Path, runtime: Runtime) -> bool:
    """Whether a folder has both files of a runtime, undamaged."""
    try:
        script = (folder / runtime.script).read_bytes()
        wasm = gzip.decompress((folder / runtime.packed).read_bytes())
    except (OSError, EOFError, ValueError):
        return False
    return _sha256(script) == runtime.script_sha256 and _sha256(wasm) == runtime.wasm_sha256


def _fill(cache: Path, package: bytes) -> None:
    """Write the files that are needed out of the npm package into the cache."""
    try:
        with tarfile.open(fileobj=io.BytesIO(package), mode="r:gz") as archive:
            for runtime in RUNTIMES.values():
                for name, packed in ((runtime.script, ""), (runtime.wasm, runtime.packed)):
                    member = archive.extractfile(f"package/dist/{name}")
                    content = member.read() if member else b""
                    with atomic_path(cache / (packed or name)) as scratch:
                        # Without a time, so that the same content gives the same file.
                        scratch.write_bytes(gzip.compress(content, 9, mtime=0) if packed else content)
    except (tarfile.TarError, KeyError) as error:
        raise LandmarkError(f"{PACKAGE} {VERSION} lacks a file: {reason(error)}.") from None
    except OSError as error:
        raise LandmarkError(f"{PACKAGE} can't be kept in {cache}: {reason(error)}.") from None
    if not all(_is_whole(cache, runtime) for runtime in RUNTIMES.values()):
        raise LandmarkError(f"The files of {PACKAGE} {VERSION} aren't those that this project was tested with.")


def _downloaded() -> bytes:
    """The package as npm has it, checked."""
    package = _by_npm() or _over_https()
    digest = base64.b64encode(hashlib.sha512(package).digest()).decode()
    if digest != _SHA512:
        raise LandmarkError(
            f"What npm has as {PACKAGE} {VERSION} isn't what this project was tested with: its SHA-512 is {digest}."
        )
    return package


def _by_npm() -> bytes | None:
    """The package as npm fetches it, with its cache, registry and proxy; None where there is no npm or it fails."""
    if not (npm := shutil.which("npm")):
        return None
    with tempfile.TemporaryDirectory() as folder:
        command = [npm, "pack", f"{PACKAGE}@{VERSION}", "--ignore-scripts", "--silent"]
        try:
            subprocess.run(command, cwd=folder, capture_output=True, timeout=_TIMEOUT, check=True)
            return next(Path(folder).glob("*.tgz")).read_bytes()
        except (OSError, subprocess.SubprocessError, StopIteration):
            return None


def _over_https() -> bytes:
    registry = (os.environ.get("npm_config_registry") or _REGISTRY).rstrip("/")  # noqa: SIM112 (npm's spelling)
    package = bytearray()
    try:
        address = f"{registry}/{PACKAGE}/-/{PACKAGE}-{VERSION}.tgz"
        with httpx.stream("GET", address, timeout=30, follow_redirects=True) as answer:
            answer.raise_for_status()
            for piece in answer.iter_bytes():
                package += piece
                if len(package) > _MAX_BYTES:
                    break  # its digest will be wrong
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise LandmarkError(
            f"{PACKAGE} {VERSION}, which runs the model in a browser, can't be downloaded from npm: {error} "
            "Try again with a network, or behind a proxy set npm_config_registry."
        ) from None
    return bytes(package)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()

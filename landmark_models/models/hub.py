"""Models on the Hugging Face Hub: `load` one, `publish` one, choose the `best` of a namespace; `save` makes the folder.

model = load("hf-hub:owner/name@main")
model = load(best("owner").model)
"""

import os
import re
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from hashlib import file_digest
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, hf_hub_download, try_to_load_from_cache
from huggingface_hub.errors import OfflineModeIsEnabled
from torch import nn

from landmark_models.errors import LandmarkError, ModelError
from landmark_models.models.failures import in_background, is_passing, patiently, sentence
from landmark_models.models.folder import (
    CONFIG_FILE,
    MAX_CONFIG_BYTES,
    MAX_WEIGHTS_BYTES,
    STATISTICS_FILE,
    WEIGHTS_FILE,
    build,
    read_config,
    read_statistics,
    save,
)
from landmark_models.networks.statistics import MAX_STATISTICS_BYTES, FeatureStatistics

__all__ = [
    "EMBEDDED",
    "PREFIX",
    "TAG",
    "Best",
    "LoadedModel",
    "Published",
    "best",
    "examples",
    "load",
    "publish",
    "reserve",
    "save",
]

# The models that come with the package, by name.
EMBEDDED = {name: Path(__file__).parents[1] / name for name in ("default", "compact")}
PREFIX = "hf-hub:"
TAG = "landmark-classification"  # what a model on the Hub is found by

_TIMEOUT = 10.0  # seconds that the Hub has to answer a question
_LIST_TIMEOUT = 60.0  # seconds for a list, with huggingface_hub's own attempts
_ATTEMPTS = 3
_MAX_EXAMPLES = 6
_MAX_EXAMPLE_BYTES = 2**20


@dataclass(frozen=True)
class LoadedModel:
    """A network in evaluation mode (float32), and all that its config says of it.

    `statistics` are those of its features, where it has any. `source` is the MODEL that was asked for, `weights` the
    file that its weights come from; for one from the Hub `revision` is the commit that it was loaded from, and `note`
    says why it is the local cache's copy, where the Hub could not be asked.
    """

    network: nn.Module
    config: dict[str, Any]
    source: str
    weights: Path
    revision: str | None = None
    note: str = ""
    statistics: FeatureStatistics | None = None

    @property
    def labels(self) -> list[str]:
        return list(self.config["label_names"])

    @property
    def pretrained_cfg(self) -> dict[str, Any]:
        return dict(self.config["pretrained_cfg"])

    @property
    def landmark(self) -> dict[str, Any]:
        """Our own block: temperature, test figures, recipe; empty for models of others."""
        return dict(self.config["landmark"])


def load(model: str | os.PathLike[str] = "default", *, cached_only: bool = False) -> LoadedModel:
    """Load a MODEL: `default`, `compact`, a model folder, a run folder (its `model/`), `hf-hub:owner/name[@revision]`.

    Only `config.json` and safetensors files are ever read; nothing is executed or unpickled. Where the Hub can't be
    reached, the copy that was last loaded of that revision serves; with `cached_only` the Hub isn't asked.

    Raises:
        ModelError: it does not exist, can't be downloaded, asks for too much, or its files don't fit together.
    """
    source = os.fspath(model)
    if source.startswith(PREFIX):
        folder, note = _download(source.removeprefix(PREFIX), cached_only)
        revision: str | None = folder.name
    else:
        folder, note, revision = EMBEDDED.get(source, Path(source)), "", None
        if not (folder / CONFIG_FILE).is_file() and (folder / "model" / CONFIG_FILE).is_file():
            folder = folder / "model"
        if not folder.is_dir():
            raise ModelError(
                f"There is no model folder {folder}; take a model or run folder, hf-hub:owner/name, default or compact."
            )
        for name in (CONFIG_FILE, WEIGHTS_FILE):
            if not (folder / name).is_file():
                raise ModelError(f"{folder} has no {name}, so it is no model folder.")
    config = read_config(folder / CONFIG_FILE, source)
    weights = folder / WEIGHTS_FILE
    network = build(config, weights, source)
    statistics = read_statistics(config, network, folder / STATISTICS_FILE, source)
    return LoadedModel(network, config, source, weights, revision, note, statistics)


def _download(name: str, cached_only: bool) -> tuple[Path, str]:
    """The local folder of a model on the Hub, called as its commit, and why it is not fresh from there, if it isn't."""
    repo_id, _, revision = name.partition("@")
    revision = revision or "main"
    failure = "The Hub was not asked."
    try:
        if not cached_only:
            try:
                return patiently(partial(_download_now, repo_id, revision)), ""
            except Exception as error:
                if not (is_passing(error) or isinstance(error, OfflineModeIsEnabled)):
                    raise
                failure = sentence(f"{PREFIX}{name} can't be downloaded", error)
        files = [try_to_load_from_cache(repo_id, file, revision=revision) for file in (CONFIG_FILE, WEIGHTS_FILE)]
    except ModelError:
        raise
    except Exception as error:  # refusals of the Hub, a full disk, a name that is none
        raise ModelError(sentence(f"{PREFIX}{name} can't be downloaded", error)) from None
    if not all(isinstance(file, str) for file in files):
        raise ModelError(f"{PREFIX}{name} is not in the local cache. {failure}")
    return Path(str(files[0])).parent, failure


def _download_now(repo_id: str, revision: str) -> Path:
    """Look what the repository holds, then download that very commit; the revision's name then stands for it offline.

    A download that ends half-way leaves the earlier commit in place.
    """
    for _ in range(_ATTEMPTS):
        commit, _, has_statistics = _look_at(repo_id, revision)
        for name in (WEIGHTS_FILE, *[STATISTICS_FILE] * has_statistics):
            hf_hub_download(repo_id, name, revision=commit)
        folder = Path(hf_hub_download(repo_id, CONFIG_FILE, revision=commit)).parent
        if revision == commit or Path(hf_hub_download(repo_id, CONFIG_FILE, revision=revision)).parent == folder:
            return folder
    raise ModelError(f"{PREFIX}{repo_id} changes faster than it can be downloaded; name one of its commits.")


def _look_at(repo_id: str, revision: str | None = None) -> tuple[str, int, bool]:
    """The commit that a repository is at, the bytes of its weights, and whether it has statistics.

    Raises:
        ModelError: it has not what a model needs, or more than is served.
    """
    info = HfApi().model_info(repo_id, revision=revision, files_metadata=True, timeout=_TIMEOUT)
    sizes = {sibling.rfilename: sibling.size or 0 for sibling in info.siblings or []}
    for name, limit in ((CONFIG_FILE, MAX_CONFIG_BYTES), (WEIGHTS_FILE, MAX_WEIGHTS_BYTES)):
        if name not in sizes:
            raise ModelError(f"{PREFIX}{repo_id} has no {name}, so it is no model that could be loaded safely.")
        if sizes[name] > limit:
            raise ModelError(f"The {name} of {PREFIX}{repo_id} is larger than {limit / 2**20:.0f} MB.")
    has_statistics = STATISTICS_FILE in sizes
    if has_statistics and sizes[STATISTICS_FILE] > MAX_STATISTICS_BYTES:
        raise ModelError(
            f"The {STATISTICS_FILE} of {PREFIX}{repo_id} is larger than {MAX_STATISTICS_BYTES / 1e6:.0f} MB."
        )
    return str(info.sha), sizes[WEIGHTS_FILE], has_statistics


def examples(source: str, revision: str | None = None) -> list[Path]:
    """The example photos that come with a model, `examples/*.jpg`; none where they can't be had within seconds.

    Args:
        source: the MODEL, as in `LoadedModel`.
        revision: its commit, for one from the Hub.
    """
    if revision is None:
        folder = EMBEDDED.get(source, Path(source))
        return sorted((folder / "examples").glob("*.jpg"))[:_MAX_EXAMPLES]
    repo_id = source.removeprefix(PREFIX).partition("@")[0]

    def download() -> list[Path]:
        info = HfApi().model_info(repo_id, revision=revision, files_metadata=True, timeout=_TIMEOUT)
        names = [file.rfilename for file in info.siblings or [] if (file.size or 0) <= _MAX_EXAMPLE_BYTES]
        chosen = sorted(name for name in names if re.fullmatch(r"examples/[^/]+\.jpg", name))[:_MAX_EXAMPLES]
        return [Path(hf_hub_download(repo_id, name, revision=revision)) for name in chosen]

    try:
        return in_background(download).result(_TIMEOUT)
    except Exception:  # a page without them is a page, too
        return []


@dataclass(frozen=True)
class Published:
    """Where something stands on the Hub now, and whether this call changed it."""

    url: str
    revision: str
    changed: bool


def publish(
    folder: str | Path,
    repo_id: str,
    *,
    private: bool = False,
    space: bool = False,
    message: str = "Publish",
    replace: Sequence[str] = (),
) -> Published:
    """Put a folder into a repository of the Hub in one commit, made where it is missing, then compare what arrived.

    Nothing is committed where nothing has changed. The token is huggingface_hub's own (`HF_TOKEN`, `hf auth login`).

    Args:
        folder: all that is in it is uploaded.
        repo_id: `owner/name`.
        private: a new repository is private. One that is public is refused, not hidden.
        space: it is a Space with Gradio, else a model.
        message: of the commit.
        replace: patterns of files there that go where the folder has them no longer.

    Raises:
        LandmarkError: the Hub refuses, can't be reached, or holds something else afterwards.
    """
    api = HfApi()
    before = reserve(repo_id, private=private, space=space)
    kind = "space" if space else "model"
    try:
        commit = patiently(
            lambda: api.upload_folder(
                repo_id=repo_id,
                repo_type=kind,
                folder_path=folder,
                commit_message=message,
                delete_patterns=list(replace),
                parent_commit=before,
            )
        )
    except Exception as error:
        raise LandmarkError(sentence(f"{repo_id} can't be published", error)) from None
    try:
        _compare(Path(folder), repo_id, kind, commit.oid)
    except LandmarkError:
        raise
    except Exception as error:
        what = f"{repo_id} was published (revision {commit.oid[:12]}), but can't be read back"
        raise LandmarkError(sentence(what, error)) from None
    url = f"{api.endpoint}/{'spaces/' if space else ''}{repo_id}"
    return Published(url, commit.oid, commit.oid != before)


def reserve(repo_id: str, *, private: bool = False, space: bool = False) -> str:
    """Make a repository on the Hub where it is missing, and see that it may be written; the commit that it is at.

    Raises:
        LandmarkError: the Hub refuses or can't be reached, or it is to be private and is public.
    """
    if repo_id.count("/") != 1:
        raise LandmarkError(f"{repo_id!r} is no owner/name of a repository.")
    api, kind = HfApi(), "space" if space else "model"
    create = partial(api.create_repo, repo_id, repo_type=kind, private=private or None, exist_ok=True)
    try:
        patiently(partial(create, space_sdk="gradio") if space else create)
        patiently(partial(api.auth_check, repo_id, repo_type=kind, write=True))
        info = patiently(partial(api.repo_info, repo_id, repo_type=kind, timeout=_TIMEOUT))
    except Exception as error:
        raise LandmarkError(sentence(f"{repo_id} can't be written on the Hub", error)) from None
    if private and not info.private:
        raise LandmarkError(f"{repo_id} exists and is public: make it private on its page, or take another name.")
    return str(info.sha)


def _compare(folder: Path, repo_id: str, kind: str, revision: str) -> None:
    """Download what was uploaded once more, and see that it is the same."""
    with tempfile.TemporaryDirectory() as scratch:
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            name = file.relative_to(folder).as_posix()
            download = partial(hf_hub_download, repo_id, name, repo_type=kind, revision=revision, cache_dir=scratch)
            with file.open("rb") as here, Path(patiently(download)).open("rb") as there:
                if file_digest(here, "sha256").digest() != file_digest(there, "sha256").digest():
                    raise LandmarkError(f"{name} arrived at {repo_id} as something else; publish it again.")


@dataclass(frozen=True)
class Best:
    """The model that `best` chose: a MODEL with its commit, its test figures, how many were compared, and the others.

    `skipped` says of each model that was not compared why.
    """

    model: str
    test: dict[str, Any]
    compared: int
    skipped: dict[str, str] = field(default_factory=dict)


def best(namespace: str) -> Best:
    """The best landmark model of a user or an organisation on the Hub.

    Of the models with the tag `landmark-classification`, the one with the highest lower bound of the 95 % interval of
    its test top-1, which `train.evaluate` wrote into its config. Only figures on the same test photos (the same digest)
    compare: where models were tested on several sets, those on the set that most of them share do; of sets shared by as
    many, the one with the most photos. Of models with the same bound, the one with the smaller file of weights wins,
    then the first by name. A model without test figures or `model.safetensors`, and one that may not be read (a gated
    one without access), is skipped. Private models count where the token may see them.

    Raises:
        ModelError: the Hub can't be reached, or no model there can be compared.
    """
    try:
        listing = in_background(lambda: list(HfApi().list_models(author=namespace, filter=TAG)))
        names = sorted(model.id for model in listing.result(_LIST_TIMEOUT))
    except Exception as error:
        raise ModelError(sentence(f"The models of {namespace} can't be listed", error)) from None
    skipped: dict[str, str] = {}
    sets: dict[str, list[tuple[float, int, str, str, dict[str, Any]]]] = defaultdict(list)
    for name in names:
        try:
            test, size, commit = patiently(partial(_candidate, name))
            sets[test["digest"]].append((-test["top1_ci95"][0], size, name, commit, test))
        except ModelError as error:
            skipped[name] = str(error)
        except Exception as error:
            skipped[name] = sentence(f"{PREFIX}{name} can't be read", error)
            if is_passing(error):  # to choose among the others would be to choose by chance
                raise ModelError(f"The best of {namespace} can't be chosen. {skipped[name]}") from None
    if not sets:
        reasons = "; ".join(skipped.values()) or f"none there has the tag {TAG}"
        raise ModelError(f"There is no model of {namespace} to choose: {reasons}")
    digest = min(sets, key=lambda digest: (-len(sets[digest]), -sets[digest][0][-1]["n"], digest))
    for other in sets.keys() - {digest}:
        skipped |= {name: "It was tested on other photos than most." for _, _, name, _, _ in sets[other]}
    _, _, name, commit, test = min(sets[digest], key=lambda candidate: candidate[:3])
    return Best(f"{PREFIX}{name}@{commit}", test, len(sets[digest]), skipped)


def _candidate(name: str) -> tuple[dict[str, Any], int, str]:
    """The test figures of a model on the Hub, the bytes of its weights, and its commit."""
    commit, size, _ = _look_at(name)
    config = read_config(Path(hf_hub_download(name, CONFIG_FILE, revision=commit)), f"{PREFIX}{name}")
    test = config["landmark"].get("test")
    if not test or not isinstance(test.get("digest"), str):
        raise ModelError(f"{PREFIX}{name} has no test figures.")
    return test, size, commit

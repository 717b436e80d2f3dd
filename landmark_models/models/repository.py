"""Files of a repository on the Hugging Face Hub, downloaded at one commit, or the local cache's copy of them."""

import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from huggingface_hub import HfApi, ModelInfo, constants, hf_hub_download, snapshot_download
from huggingface_hub.errors import LocalEntryNotFoundError, RevisionNotFoundError
from huggingface_hub.file_download import repo_folder_name

from landmark_models.errors import ModelError, UnavailableError
from landmark_models.models.failures import describe_failure, in_background, is_local, is_transient, with_retries

PREFIX = "hf-hub:"
_OLD_PREFIX = "hf_hub:"  # what timm wrote at first, and still takes
TIMEOUT = 8.0  # seconds that the Hub has to answer a request

_ATTEMPTS = 3

Choose = Callable[[ModelInfo], Sequence[str]]


def on_hub(source: str) -> bool:
    """Whether a MODEL, or what `--with` takes, names a repository on the Hub."""
    return source.startswith((PREFIX, _OLD_PREFIX))


def repo_id(source: str) -> str:
    """The `owner/name` of what is on the Hub."""
    return source[len(PREFIX) :].partition("@")[0]


def name_of(model: str) -> str:
    """What a MODEL is called: its name on the Hub, an embedded model's name, or the last part of a folder's path."""
    return repo_id(model) if on_hub(model) else Path(model).resolve().name


def download(source: str, choose: Choose, *, cached_only: bool = False) -> tuple[Path, str]:
    """The local folder with files of `hf-hub:owner/name[@revision]`, named after its commit.

    If the Hub can't be reached, if the cache can't be written, or with `cached_only`, it is the copy of that revision
    that was downloaded last, which may lack any file; then the text beside it says why.

    Args:
        source: a revision is a branch, a tag, or a commit, which may be shortened.
        choose: the names of the files to download, given what the Hub says about the repository; it may refuse with a
            ModelError.
        cached_only: make no request.

    Raises:
        ModelError: the repository doesn't exist, can't be downloaded, or is refused; an UnavailableError where the same
            may succeed later.
    """
    name, _, revision = source[len(PREFIX) :].partition("@")
    revision = revision or "main"
    failure = "No request was made to the Hub."
    try:
        if not cached_only:
            try:
                return with_retries(partial(_download_now, name, revision, choose)), ""
            except Exception as error:
                if not (is_transient(error) or is_local(error)):
                    raise
                failure = describe_failure(f"{source} can't be downloaded", error)
        revision = _cached_commit(name, revision) or revision
        return Path(snapshot_download(name, revision=revision, local_files_only=True)), failure
    except ModelError:
        raise
    except LocalEntryNotFoundError:
        raise not_cached(source, failure) from None
    except Exception as error:  # the Hub refuses, the disk is full, the name is invalid
        raise ModelError(describe_failure(f"{source} can't be downloaded", error)) from None


def not_cached(source: str, failure: str) -> UnavailableError:
    """The error for a copy that isn't there, where `failure` says why a copy is wanted."""
    return UnavailableError(f"{source} is not in the local cache. {failure}")


def describe(name: str, revision: str | None = None) -> ModelInfo:
    """What the Hub says about the repository `owner/name` at a revision, with the sizes of its files."""
    ask = partial(HfApi().model_info, name, files_metadata=True, timeout=TIMEOUT)
    try:
        return ask(revision=revision)
    except RevisionNotFoundError:
        if not (commit := commit_on_hub(name, revision or "")):
            raise
        return ask(revision=commit)


def commit_on_hub(name: str, revision: str, repo_type: str = "model") -> str | None:
    """The one commit of a repository's main branch that a shortened one stands for."""
    if not is_short_commit(revision):
        return None
    commits = [commit.commit_id for commit in HfApi().list_repo_commits(name, repo_type=repo_type)]
    matches = [commit for commit in commits if commit.startswith(revision)]
    return matches[0] if len(matches) == 1 else None


def sizes_of(info: ModelInfo) -> dict[str, int]:
    """The size of each file, in bytes, by its path."""
    return {sibling.rfilename: sibling.size or 0 for sibling in info.siblings or []}


def _download_now(name: str, revision: str, choose: Choose) -> Path:
    """Check what a repository contains, then download exactly that commit.

    Offline, the name of the revision then stands for it. A download that fails half-way leaves the earlier commit in
    place.
    """
    for _ in range(_ATTEMPTS):
        # Looking up a host's name has no timeout of its own.
        info = in_background(partial(describe, name, revision)).result(1.1 * TIMEOUT)
        files = choose(info)
        folder = [Path(hf_hub_download(name, file, revision=info.sha)).parent for file in files][-1]
        by_name = folder
        if not str(info.sha).startswith(revision):
            by_name = Path(hf_hub_download(name, files[-1], revision=revision)).parent
        if by_name == folder:
            return folder
    raise ModelError(f"{PREFIX}{name} changes faster than it can be downloaded; name one of its commits.")


def is_short_commit(revision: str) -> bool:
    """Whether a revision may be the beginning of a commit's name, of at least seven digits."""
    return re.fullmatch(r"[0-9a-f]{7,39}", revision) is not None


def _cached_commit(name: str, revision: str) -> str | None:
    """The one commit in the cache that a shortened one stands for."""
    if not is_short_commit(revision):
        return None
    snapshots = Path(constants.HF_HUB_CACHE, repo_folder_name(repo_id=name, repo_type="model"), "snapshots")
    commits = [folder.name for folder in snapshots.glob(f"{revision}*")]
    return commits[0] if len(commits) == 1 else None

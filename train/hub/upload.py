"""Put a folder into a repository of the Hugging Face Hub, and check what arrived."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import file_digest
from pathlib import Path

from huggingface_hub import HfApi, hf_hub_download

from landmark_models.errors import LandmarkError
from landmark_models.models.failures import describe_failure, with_retries

__all__ = ["Published", "publish", "reserve"]

_TIMEOUT = 10.0  # seconds that the Hub has to answer a question


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
        commit = with_retries(
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
        raise LandmarkError(describe_failure(f"{repo_id} can't be published", error)) from None
    try:
        _compare(Path(folder), repo_id, kind, commit.oid)
    except LandmarkError:
        raise
    except Exception as error:
        what = f"{repo_id} was published (revision {commit.oid[:12]}), but can't be read back"
        raise LandmarkError(describe_failure(what, error)) from None
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
        with_retries(partial(create, space_sdk="gradio") if space else create)
        with_retries(partial(api.auth_check, repo_id, repo_type=kind, write=True))
        info = with_retries(partial(api.repo_info, repo_id, repo_type=kind, timeout=_TIMEOUT))
    except Exception as error:
        raise LandmarkError(describe_failure(f"{repo_id} can't be written on the Hub", error)) from None
    if private and not info.private:
        raise LandmarkError(f"{repo_id} exists and is public: make it private on its page, or take another name.")
    return str(info.sha)


def _compare(folder: Path, repo_id: str, kind: str, revision: str) -> None:
    """Download what was uploaded once more, and see that it is the same."""
    with tempfile.TemporaryDirectory() as scratch:
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            name = file.relative_to(folder).as_posix()
            download = partial(hf_hub_download, repo_id, name, repo_type=kind, revision=revision, cache_dir=scratch)
            with file.open("rb") as here, Path(with_retries(download)).open("rb") as there:
                if file_digest(here, "sha256").digest() != file_digest(there, "sha256").digest():
                    raise LandmarkError(f"{name} arrived at {repo_id} as something else; publish it again.")

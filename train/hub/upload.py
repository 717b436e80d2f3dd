"""Put a folder into a repository on the Hugging Face Hub, and check what arrived."""

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from huggingface_hub import HfApi, ModelCard, metadata_update
from huggingface_hub.errors import RepositoryNotFoundError
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils.sha import git_hash

from landmark_models.errors import LandmarkError
from landmark_models.files import sha256
from landmark_models.models.failures import describe_failure, with_retries

ZERO_GPU = "zero-a10g"  # the Hub's name for it, whatever GPU is behind it
# https://huggingface.co/docs/hub/spaces-overview and spaces-zerogpu, in August 2026
PLANS = (
    "A static Space (--static) is free for every account. A free personal account can host two Spaces on ZeroGPU "
    "(--zero-gpu) once its email address is verified and it is 30 days old. Other hardware (--hardware), even "
    "cpu-basic, needs PRO; ZeroGPU and other hardware in an organization need Team or Enterprise."
)
_TIMEOUT = 10.0  # seconds within which the Hub must answer a question


@dataclass(frozen=True)
class Published:
    """Where something is on the Hub, at which commit, and whether this call changed it."""

    url: str
    revision: str
    changed: bool


def publish(
    folder: str | Path,
    repo_id: str,
    *,
    private: bool = False,
    repo_type: str = "model",
    space_hardware: str | None = None,
    static_space: bool = False,
    message: str = "Publish",
    replace: Sequence[str] = (),
) -> Published:
    """Upload a folder to the Hub in one commit, then compare the Hub's hashes with its files.

    The repository is created if it is missing; nothing is committed if nothing has changed. With `private`, it is
    created as private; a public one is refused, not made private. With `space_hardware` it is a Gradio Space, created
    on this hardware, with `static_space` a Space of files alone; otherwise a model, or what `repo_type` says. Files of
    the repository that match a pattern of `replace` are deleted if the folder no longer has them. The token is
    huggingface_hub's own (`HF_TOKEN`, `hf auth login`).

    Raises:
        LandmarkError: the Hub refuses, can't be reached, or holds something else afterwards.
    """
    api = HfApi()
    kind = "space" if space_hardware or static_space else repo_type
    check_card(Path(folder), repo_id, kind)
    before = reserve(
        repo_id, private=private, repo_type=repo_type, space_hardware=space_hardware, static_space=static_space
    )
    upload = partial(
        api.upload_folder,
        repo_id=repo_id,
        repo_type=kind,
        folder_path=folder,
        commit_message=message,
        delete_patterns=list(replace),
        parent_commit=before,
    )
    try:
        commit = with_retries(upload)
    except Exception as error:
        raise LandmarkError(describe_failure(f"{repo_id} can't be published", error)) from None
    try:
        damaged = _damaged(Path(folder), repo_id, kind, commit.oid)
    except Exception as error:
        what = f"{repo_id} was published (revision {commit.oid[:12]}), but can't be checked"
        raise LandmarkError(describe_failure(what, error)) from None
    if damaged:
        raise LandmarkError(f"{', '.join(damaged)} arrived damaged at {repo_id}; publish it again.")
    url = f"{api.endpoint}/{'' if kind == 'model' else kind + 's/'}{repo_id}"
    return Published(url, commit.oid, commit.oid != before)


def check(repo_id: str, *, private: bool = False, repo_type: str = "model") -> str:
    """Check, without creating it, that a repository can be written if it is there, and that someone is logged in.

    Returns:
        Its newest commit; "" where it is missing.

    Raises:
        LandmarkError: as `reserve`.
    """
    return _open(repo_id, private, repo_type, None, static_space=False, create=False)


def card_on_hub(repo_id: str, *, repo_type: str = "model", dry_run: bool = False) -> dict[str, str]:
    """The `license`, `base_model` and `new_version` that a repository's card has on the Hub, to be kept, if any.

    A dry run goes on where the Hub can't be asked, and says so.

    Raises:
        LandmarkError: the Hub refuses or can't be reached.
    """
    try:
        info = with_retries(partial(HfApi().repo_info, repo_id, repo_type=repo_type, timeout=_TIMEOUT))
    except RepositoryNotFoundError:
        return {}
    except Exception as error:
        if not dry_run:
            raise LandmarkError(describe_failure(f"The card of {repo_id} can't be read", error)) from None
        print(describe_failure(f"A licence that the card of {repo_id} has on the Hub isn't in this dry run", error))
        return {}
    card_data = getattr(info, "card_data", None)
    about = card_data.to_dict() if card_data else {}
    return {key: about[key] for key in ("license", "base_model", "new_version") if isinstance(about.get(key), str)}


def reserve(
    repo_id: str,
    *,
    private: bool = False,
    repo_type: str = "model",
    space_hardware: str | None = None,
    static_space: bool = False,
) -> str:
    """Create a repository on the Hub if it is missing, check that it can be written, and return its newest commit.

    Raises:
        LandmarkError: the Hub refuses or can't be reached, or the repository is public despite `private`, or it is a
            Space of another kind than a static one that is asked for.
    """
    return _open(repo_id, private, repo_type, space_hardware, static_space, create=True)


def _open(
    repo_id: str, private: bool, repo_type: str, space_hardware: str | None, static_space: bool, create: bool
) -> str:
    """The newest commit of a repository that can be written; "" where it is missing and not to be created."""
    if repo_id.count("/") != 1:
        raise LandmarkError(f"{repo_id!r} isn't the name of a repository: use owner/name.")
    api, kind = HfApi(), "space" if space_hardware or static_space else repo_type
    describe = partial(api.repo_info, repo_id, repo_type=kind, timeout=_TIMEOUT)
    create_repo = partial(api.create_repo, repo_id, repo_type=kind, private=private or None, exist_ok=True)
    if space_hardware:
        create_repo = partial(create_repo, space_sdk="gradio", space_hardware=space_hardware)
    elif static_space:
        create_repo = partial(create_repo, space_sdk="static")
    try:
        try:
            info = with_retries(describe)
        except RepositoryNotFoundError:  # not tried first: a free account may update a Space that it can't create
            if not create:
                with_retries(api.whoami)
                return ""
            with_retries(create_repo)
            info = with_retries(describe)
        with_retries(partial(api.auth_check, repo_id, repo_type=kind, write=True))
    except Exception as error:
        raise LandmarkError(_refusal(repo_id, error, bool(space_hardware))) from None
    if static_space and (sdk := getattr(info, "sdk", None)) != "static":
        raise LandmarkError(f"{repo_id} is a Space of another kind ({sdk}); choose another name.")
    if private and not info.private:
        raise LandmarkError(f"{repo_id} exists and is public: make it private on its page, or choose another name.")
    return str(info.sha)


def point_to_new_version(repo_id: str, new: str) -> None:
    """Say in the card of a model on the Hub that another model is its new version; its page then points there.

    Raises:
        LandmarkError: the Hub refuses or can't be reached.
    """
    update = partial(metadata_update, repo_id, {"new_version": new}, overwrite=True)
    try:
        with_retries(partial(update, commit_message=f"A new version is {new}"))
    except Exception as error:
        what = f"{new} is published, but the card of {repo_id} can't point to it"
        raise LandmarkError(describe_failure(what, error)) from None


def check_card(folder: Path, repo_id: str, kind: str) -> None:
    """Let the Hub check the metadata of the folder's card, before anything is created.

    It says nothing if the Hub can't be asked: what follows will.

    Raises:
        LandmarkError: the Hub refuses it.
    """
    if not (file := folder / "README.md").is_file():
        return
    try:
        ModelCard.load(file).validate(repo_type=kind)
    except ValueError as error:
        with suppress(ValueError, LookupError, TypeError):
            error = ValueError(" ".join(part["message"] for part in json.loads(str(error))["errors"]))
        raise LandmarkError(f"{repo_id} can't be published, because the Hub refuses its card: {error}") from None
    except Exception:
        return


def _refusal(repo_id: str, error: Exception, is_space: bool) -> str:
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status == 402:
        sentence = f"{repo_id} can't be created: the Hub asks for a paid plan (402)."
    else:
        sentence = describe_failure(f"{repo_id} can't be written on the Hub", error)
    return f"{sentence} {PLANS}" if is_space and status in (402, 403) else sentence


def _damaged(folder: Path, repo_id: str, kind: str, revision: str) -> list[str]:
    """The files that the Hub holds with other content than the folder, or not at all, by its own hashes."""
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    infos = with_retries(partial(HfApi().get_paths_info, repo_id, list(files), revision=revision, repo_type=kind))
    intact = set()
    for info in infos:
        if isinstance(info, RepoFile):
            file = files[info.path]
            same = sha256(file) == info.lfs.sha256 if info.lfs else git_hash(file.read_bytes()) == info.blob_id
            intact |= {info.path} if same else set()
    return sorted(files.keys() - intact)

"""Image datasets of the Hub as DATA: `hf:owner/name` is streamed once into a folder like any other.

The folder has the photos of one commit, as `SPLIT/CLASS/ROW.jpg` in the cache, with the bytes that the dataset has.
"""

import json
import re
from collections import Counter
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from huggingface_hub import HfApi, constants
from huggingface_hub.errors import RevisionNotFoundError

from landmark_models.errors import reason
from landmark_models.files import write_json, write_text
from landmark_models.models.failures import describe_failure, with_retries
from landmark_models.models.repository import commit_on_hub, is_short_commit
from train.data import DataError
from train.data.cache import default_cache_folder
from train.data.scratch import locked, remove_abandoned, scratch_folder

_FORM = re.compile(
    r"(?:hf:/{1,2}datasets/|hf:)(?P<repo_id>[\w.-]+/[\w.-]+)(?:@(?P<revision>[^:]+))?(?::(?P<config>[^:/\\]+))?"
)
_COMMIT = re.compile(r"[0-9a-f]{40}")
_ABOUT = ".hub-dataset.json"  # in the folder: which dataset, and what of it was left out
_SCRATCH = ".fetching-"
_LONGEST = 200  # characters of a revision or a configuration, as they are escaped in a file's name
_TIMEOUT = 10.0  # seconds within which the Hub must answer a question


@dataclass(frozen=True)
class HubDataset:
    """A dataset of the Hub; as text it is the DATA that names it. `revision` is a branch, a tag or a commit.

    The text leaves out the usual branch, main.
    """

    repo_id: str
    revision: str = "main"
    config: str = ""

    def __str__(self) -> str:
        revision = "" if self.revision == "main" else f"@{self.revision}"
        return f"hf:{self.repo_id}{revision}" + (f":{self.config}" if self.config else "")

    @property
    def name(self) -> str:
        """The same without the revision."""
        return f"hf:{self.repo_id}" + (f":{self.config}" if self.config else "")

    @classmethod
    def parse(cls, data: str | Path) -> "HubDataset | None":
        """The dataset that `hf:owner/name[@revision][:config]` names; None if DATA is something else.

        Raises:
            DataError: it begins like one and isn't.
        """
        text = Path(data).as_posix()
        if not text.startswith("hf:"):
            return None
        if not (match := _FORM.fullmatch(text)):
            raise DataError(f"{text!r} doesn't name a dataset: use hf:owner/name[@revision][:configuration].")
        given = {key: value for key, value in match.groupdict().items() if value}
        if too_long := [key for key, value in given.items() if len(quote(value, safe="")) > _LONGEST]:
            raise DataError(f"{text[:_LONGEST]!r}... doesn't name a dataset: its {too_long[0]} is too long.")
        return cls(**given)


def hub_folder(dataset: HubDataset) -> Path:
    """The folder with the photos of a dataset, `SPLIT/CLASS/*`; streamed from the Hub if it isn't in the cache.

    With HF_HUB_OFFLINE it is the commit that was streamed last.

    Raises:
        DataError: the dataset isn't available, or isn't one of photos with labels.
    """
    from train.data.hub_rows import write_rows

    parent = default_cache_folder() / "hf" / dataset.repo_id
    commit = _commit(dataset, parent)
    target = parent / f"{commit}{'-' * bool(dataset.config)}{quote(dataset.config, safe='')}"
    remove_abandoned(parent, _SCRATCH)
    if target.is_dir():
        return target
    if constants.HF_HUB_OFFLINE:
        raise _not_cached(dataset, parent)
    try:
        parent.mkdir(parents=True, exist_ok=True)
        with locked(target):  # one process streams it; the others wait
            if target.is_dir():
                return target
            with scratch_folder(parent, _SCRATCH) as scratch:
                left_out = write_rows(dataset.repo_id, commit, dataset.config, scratch)
                write_json(
                    scratch / _ABOUT, {"dataset": asdict(replace(dataset, revision=commit)), "left_out": left_out}
                )
                scratch.rename(target)
    except OSError as error:
        raise DataError(
            f"{dataset} can't be written to {parent}: {reason(error)}. Set LANDMARK_CACHE to a folder with free space."
        ) from None
    return target


def dataset_of(folder: Path) -> str | None:
    """The DATA, with a commit, whose photos a folder of `hub_folder` has; None for any other folder."""
    about = _about(folder)
    return str(HubDataset(**about["dataset"])) if about else None


def left_out_of(folder: Path, split: str) -> Counter[str]:
    """What of a dataset and of one of its splits isn't in a folder of `hub_folder`, in words."""
    left_out = _about(folder).get("left_out", {})
    return Counter(left_out.get("", {}) | left_out.get(split, {}))


def _about(folder: Path) -> dict[str, Any]:
    file = folder / _ABOUT
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}


@cache  # so that a command reads one commit, even if the next one arrives meanwhile
def _commit(dataset: HubDataset, parent: Path) -> str:
    """The commit that the revision names; with HF_HUB_OFFLINE, the one that it named last."""
    if _COMMIT.fullmatch(dataset.revision):
        return dataset.revision
    noted = parent / f"ref-{quote(dataset.revision, safe='')}"
    if constants.HF_HUB_OFFLINE:
        if noted.is_file():
            return noted.read_text(encoding="utf-8")
        if is_short_commit(dataset.revision):
            streamed = {folder.name.partition("-")[0] for folder in parent.glob(f"{dataset.revision}*/")}
            if len(streamed) == 1:
                return streamed.pop()
        raise _not_cached(dataset, parent)
    api = HfApi()
    ask = partial(api.dataset_info, dataset.repo_id, timeout=_TIMEOUT)
    try:
        try:
            info = with_retries(partial(ask, revision=dataset.revision))
        except RevisionNotFoundError:
            if not (commit := commit_on_hub(dataset.repo_id, dataset.revision, "dataset")):
                raise
            info = ask(revision=commit)
        with_retries(partial(api.auth_check, dataset.repo_id, repo_type="dataset"))
    except Exception as error:
        raise DataError(describe_failure(f"The dataset {dataset} isn't available", error)) from None
    with suppress(OSError):  # then it can't be found offline
        parent.mkdir(parents=True, exist_ok=True)
        write_text(noted, str(info.sha))
    return str(info.sha)


def _not_cached(dataset: HubDataset, parent: Path) -> DataError:
    return DataError(f"{dataset} isn't in the cache {parent}, and HF_HUB_OFFLINE is set. Unset it to download it once.")

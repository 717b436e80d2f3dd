"""What a Hugging Face Hub holds: repositories, their commits and files, and who may see and change what. No HTTP."""

import base64
import hashlib
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property, partial
from typing import Any

import yaml  # the client needs it too, so it is always there

from helpers.hub_cards import mistakes

LFS_SUFFIXES = (".safetensors", ".png", ".jpg", ".bin", ".parquet")
LFS_SIZE = 10 * 2**20
FRONT_MATTER = re.compile(r"\s*---[\r\n]+([\S\s]*?)[\r\n]+---(?:[\r\n]|$)")


class HubError(Exception):
    """A request that the Hub refuses, and the commit that it looked at where it got so far."""

    def __init__(self, reason: str, message: str, commit: str | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.commit = commit


@dataclass(frozen=True)
class Blob:
    """One version of a file; `lfs` says whether Git holds the content itself or a pointer to it."""

    content: bytes
    lfs: bool

    @cached_property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @cached_property
    def pointer(self) -> bytes:
        return f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.sha256}\nsize {self.size}\n".encode()

    @cached_property
    def git_oid(self) -> str:
        data = self.pointer if self.lfs else self.content
        return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()

    @property
    def oid(self) -> str:
        """What the client compares its own file with, and the file's ETag."""
        return self.sha256 if self.lfs else self.git_oid

    @property
    def size(self) -> int:
        return len(self.content)


@dataclass(frozen=True)
class Commit:
    files: dict[str, Blob]
    title: str
    parent: str | None
    id: str = field(default_factory=partial(secrets.token_hex, 20))
    date: str = field(default_factory=lambda: datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"))


@dataclass
class Repo:
    """A model, a dataset or a Space; `tags` name commits, and a test may set them."""

    id: str
    type: str
    private: bool = False
    sdk: str | None = None
    hardware: str | None = None
    gated: str | bool = False
    granted: set[str] = field(default_factory=set)
    variables: dict[str, str] = field(default_factory=dict)
    commits: dict[str, Commit] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        start = {".gitattributes": b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n"}
        if self.sdk:
            start["README.md"] = f"---\ntitle: {self.id}\nsdk: {self.sdk}\n---\n".encode()
        self.add(Commit({path: Blob(content, lfs=False) for path, content in start.items()}, "initial commit", None))

    @property
    def owner(self) -> str:
        return self.id.split("/")[0]

    def at(self, revision: str) -> Commit:
        """The commit that a branch, a tag or a full commit id names."""
        commit = self.branches.get(revision) or self.tags.get(revision) or revision
        if commit not in self.commits:
            raise HubError("RevisionNotFound", f"Invalid rev id: {revision}")
        return self.commits[commit]

    def blob(self, revision: str, path: str) -> tuple[Commit, Blob]:
        commit = self.at(revision)
        if path not in commit.files:
            raise HubError("EntryNotFound", f"Entry not found: {path}", commit.id)
        return commit, commit.files[path]

    def add(self, commit: Commit, branch: str = "main") -> Commit:
        self.commits[commit.id] = commit
        self.branches[branch] = commit.id
        return commit

    def history(self, revision: str) -> list[Commit]:
        """Newest first."""
        commits = [self.at(revision)]
        while parent := commits[-1].parent:
            commits.append(self.commits[parent])
        return commits


class Store:
    """Repositories, large objects, and who may see and change what; knows nothing of HTTP."""

    def __init__(self, organizations: dict[str, Iterable[str]]) -> None:
        self.organizations = organizations
        self.paying: set[str] = set()  # users with a paid plan
        self.repos: dict[tuple[str, str], Repo] = {}
        self.objects: dict[str, Blob] = {}

    def belongs(self, user: str | None, namespace: str) -> bool:
        return user is not None and (user == namespace or user in self.organizations.get(namespace, ()))

    def create(self, user: str | None, repo: Repo) -> Repo:
        if not self.belongs(user, repo.owner):
            raise HubError("Forbidden", f"You don't have the rights to create a {repo.type} under {repo.owner}")
        if repo.sdk == "gradio" and repo.hardware != "zero-a10g" and user not in self.paying:
            raise HubError("PaymentRequired", "Gradio Spaces on compute require a PRO subscription")
        if (repo.type, repo.id) in self.repos:
            raise HubError("Exists", f"You already created this {repo.type} repo: {repo.id}")
        return self.repos.setdefault((repo.type, repo.id), repo)

    def visible(self, user: str | None, repo_id: str, repo_type: str) -> Repo:
        repo = self.repos.get((repo_type, repo_id))
        if repo is None or (repo.private and not self.belongs(user, repo.owner)):
            raise HubError("RepoNotFound", "Repository not found" if user else "Invalid username or password.")
        return repo

    def check_read(self, user: str | None, repo: Repo) -> None:
        """A gated repository's description is for all, its files are not."""
        if repo.gated and user not in repo.granted and not self.belongs(user, repo.owner):
            raise HubError("GatedRepo", f"Access to {repo.type} {repo.id} is restricted.")

    def check_write(self, user: str | None, repo: Repo) -> None:
        if not self.belongs(user, repo.owner):
            raise HubError("Forbidden", f"You have no write access to {repo.type} {repo.id}")

    def put(self, content: bytes, oid: str, size: int) -> None:
        blob = Blob(content, lfs=True)
        if (blob.sha256, blob.size) != (oid, size):
            raise HubError("Invalid", f"The body is {blob.size} bytes with sha256 {blob.sha256}, not {size} with {oid}")
        self.objects[oid] = blob

    def commit(self, repo: Repo, branch: str, header: dict[str, Any], operations: list[tuple[str, dict]]) -> Commit:
        """Apply all operations of the client's format, or none where one is refused."""
        head = repo.at(branch)
        if branch not in repo.branches:
            raise HubError("Invalid", f"{branch} is not a branch")
        if header.get("parentCommit", head.id) != head.id:
            raise HubError("Stale", "A commit has happened since. Please refresh and try again.")
        files = dict(head.files)
        for kind, value in operations:
            path = value["path"]
            if kind == "file":
                files[path] = Blob(base64.b64decode(value["content"]), lfs=False)
            elif kind == "lfsFile" and value["oid"] in self.objects:
                files[path] = self.objects[value["oid"]]
            elif kind == "lfsFile":
                raise HubError("Invalid", f"The LFS object of {path} was never uploaded: {value['oid']}")
            else:
                folder = f"{path.rstrip('/')}/"
                gone = {
                    name for name in files if (name.startswith(folder) if kind == "deletedFolder" else name == path)
                }
                if kind not in ("deletedFile", "deletedFolder"):
                    raise HubError("Invalid", f"Unknown operation {kind}")
                if not gone:
                    raise HubError("EntryNotFound", f"A file with this name doesn't exist: {path}", head.id)
                files = {name: blob for name, blob in files.items() if name not in gone}
        return repo.add(Commit(files, header.get("summary", ""), head.id), branch)


def is_lfs(path: str, size: int) -> bool:
    return path.endswith(LFS_SUFFIXES) or size > LFS_SIZE


def read_card(readme: str) -> dict[str, Any] | None:
    """The YAML at the head of a README, None where there is none."""
    if not (match := FRONT_MATTER.match(readme)):
        return None
    try:
        card = yaml.safe_load(match[1])
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date that is none
        raise HubError("Invalid", f"bad YAML: {error}") from error
    if not isinstance(card, dict):
        raise HubError("Invalid", "the metadata should be a mapping")
    if wrong := list(mistakes(card)):
        raise HubError("Invalid", "; ".join(wrong))
    return card

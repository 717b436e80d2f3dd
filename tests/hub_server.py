"""A Hugging Face Hub on loopback that the unmodified `huggingface_hub` client talks to, kept in memory.

with HubServer() as hub:
    env = {"HF_ENDPOINT": hub.url, "HF_HUB_DISABLE_XET": "1", "HF_TOKEN": "hf_alice"}
    # set before huggingface_hub is imported, so best for a process of its own
"""

import base64
import hashlib
import json
import re
import secrets
import socket
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property, partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

import yaml  # the client needs it too, so it is always there

TOKENS = {"hf_alice": "alice", "hf_bob": "bob"}
LFS_SUFFIXES = (".safetensors", ".png", ".jpg", ".bin")
LFS_SIZE = 10 * 2**20
FRONT_MATTER = re.compile(r"\s*---[\r\n]+([\S\s]*?)[\r\n]+---(?:[\r\n]|$)")


# Why a request is refused, and the status that says it; to one without a token, some are 401.
STATUS = {
    "RepoNotFound": 404,
    "RevisionNotFound": 404,
    "EntryNotFound": 404,
    "GatedRepo": 403,
    "Forbidden": 403,
    "Unauthorized": 401,
    "Exists": 409,
    "Stale": 412,
    "Invalid": 400,
}
FOR_STRANGERS_401 = {"RepoNotFound", "GatedRepo", "Forbidden"}
TOLD_IN_HEADER = {"RepoNotFound", "RevisionNotFound", "EntryNotFound", "GatedRepo"}


class HubError(Exception):
    """A request that the Hub refuses, and the commit that it looked at where it got so far."""

    def __init__(self, reason: str, message: str, commit: str | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.commit = commit


# What is stored ------------------------------------------------------------------------------------------------------


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
    """A model or a Space; `tags` name commits, and a test may set them."""

    id: str
    type: str
    private: bool = False
    sdk: str | None = None
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
        self.repos: dict[tuple[str, str], Repo] = {}
        self.objects: dict[str, Blob] = {}

    def belongs(self, user: str | None, namespace: str) -> bool:
        return user is not None and (user == namespace or user in self.organizations.get(namespace, ()))

    def create(self, user: str | None, repo: Repo) -> Repo:
        if not self.belongs(user, repo.owner):
            raise HubError("Forbidden", f"You don't have the rights to create a {repo.type} under {repo.owner}")
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
    return card


# What is said of it --------------------------------------------------------------------------------------------------


@dataclass
class Call:
    """A request that a route answers."""

    store: Store
    user: str | None
    url: str
    path: str
    query: dict[str, list[str]]
    body: bytes
    range: str | None
    page_size: int

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def flag(self, name: str) -> bool:
        return self.query.get(name, ["false"])[0].lower() in ("true", "1")

    def page(self, items: list[Any]) -> "Answer":
        """The part of a list that `limit` and `cursor` ask for, with the address of the next."""
        start = int(self.query.get("cursor", ["0"])[0])
        end = start + min(int(self.query.get("limit", [self.page_size])[0]), self.page_size)
        query = urlencode(self.query | {"cursor": [end]}, doseq=True)
        link = {"Link": f'<{self.url}{self.path}?{query}>; rel="next"'} if end < len(items) else {}
        return Answer(items[start:end], headers=link)


@dataclass
class Answer:
    content: Any = b""  # bytes as they are, all else as JSON
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


def error_answer(error: HubError, user: str | None) -> Answer:
    message = " ".join(str(error).split())
    headers = {"X-Error-Message": message.encode("ascii", "replace").decode()}
    if error.reason in TOLD_IN_HEADER:
        headers["X-Error-Code"] = error.reason
    if error.commit:
        headers["X-Repo-Commit"] = error.commit
    stranger = user is None and error.reason in FOR_STRANGERS_401
    return Answer({"error": message}, 401 if stranger else STATUS[error.reason], headers)


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def card_of(commit: Commit) -> dict[str, Any] | None:
    readme = commit.files.get("README.md", Blob(b"", lfs=False))
    with suppress(HubError):
        return read_card(readme.content.decode(errors="replace"))
    return None


def lfs_info(blob: Blob, key: str) -> dict[str, Any]:
    return {"lfs": {key: blob.sha256, "size": blob.size, "pointerSize": len(blob.pointer)}} if blob.lfs else {}


def describe(repo: Repo, commit: Commit, blobs: bool = False) -> dict[str, Any]:
    """All that the Hub says of a repository at a commit."""
    card = card_of(commit)
    about = card or {}
    tags = [
        repo.sdk,
        about.get("library_name"),
        "safetensors" if any(path.endswith(".safetensors") for path in commit.files) else None,
        about.get("pipeline_tag"),
        *as_list(about.get("tags")),
        *as_list(about.get("language")),
        *(f"dataset:{name}" for name in as_list(about.get("datasets"))),
        *(f"base_model:{name}" for name in as_list(about.get("base_model"))),
        *(f"license:{name}" for name in as_list(about.get("license"))),
        "model-index" if "model-index" in about else None,
        "region:us",
    ]
    siblings = [
        {"rfilename": path} | ({"size": blob.size, "blobId": blob.git_oid, **lfs_info(blob, "sha256")} if blobs else {})
        for path, blob in sorted(commit.files.items())
    ]
    info = {
        "_id": hashlib.md5(repo.id.encode()).hexdigest()[:24],
        "id": repo.id,
        "modelId": repo.id if repo.type == "model" else None,
        "author": repo.owner,
        "sha": commit.id,
        "lastModified": commit.date,
        "createdAt": next(iter(repo.commits.values())).date,
        "private": repo.private,
        "gated": repo.gated,
        "disabled": False,
        "downloads": 0,
        "likes": 0,
        "tags": list(dict.fromkeys(str(tag) for tag in tags if tag)),
        "pipeline_tag": about.get("pipeline_tag"),
        "library_name": about.get("library_name"),
        "cardData": card,
        "model-index": about.get("model-index"),
        "sdk": repo.sdk,
        "usedStorage": sum(blob.size for blob in commit.files.values()),
        "siblings": siblings,
    }
    return {key: value for key, value in info.items() if value is not None}


def expanded(call: Call, info: dict[str, Any], default: Iterable[str]) -> dict[str, Any]:
    """Only what `expand` asks for, or `default`."""
    wanted = {"_id", "id", *(call.query.get("expand") or call.query.get("expand[]") or default)}
    return {key: value for key, value in info.items() if key in wanted}


def tree_entry(commit: Commit, path: str) -> dict[str, Any] | None:
    if blob := commit.files.get(path):
        return {"type": "file", "path": path, "size": blob.size, "oid": blob.git_oid, **lfs_info(blob, "oid")}
    if any(name.startswith(f"{path}/") for name in commit.files):
        return {"type": "directory", "path": path, "size": 0, "oid": hashlib.sha1(path.encode()).hexdigest()}
    return None


def repo_url(call: Call, repo: Repo) -> str:
    return f"{call.url}/{'' if repo.type == 'model' else repo.type + 's/'}{repo.id}"


def content_answer(call: Call, blob: Blob, headers: dict[str, str]) -> Answer:
    """The content, or the range of it that is asked for."""
    headers = {"Content-Type": "application/octet-stream", "ETag": f'"{blob.oid}"', "Accept-Ranges": "bytes"} | headers
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", call.range or "")
    if not match or match[0] == "bytes=-":
        return Answer(blob.content, 200, headers)
    first, last = match.groups()
    start = int(first) if first else max(blob.size - int(last), 0)
    end = min(int(last) + 1, blob.size) if first and last else blob.size
    if start >= end:
        return Answer(b"", 416, headers | {"Content-Range": f"bytes */{blob.size}"})
    headers["Content-Range"] = f"bytes {start}-{end - 1}/{blob.size}"
    return Answer(blob.content[start:end], 206, headers)


# Routes --------------------------------------------------------------------------------------------------------------

Route = Callable[..., Answer]
ROUTES: list[tuple[str, re.Pattern[str], Route]] = []
PARTS = {
    "{type}": r"(?P<type>model|space)s",
    "{prefix}": r"(?:/(?P<type>space)s)?",
    "{repo}": r"(?P<repo>[^/]+/[^/]+)",
    "{rev}": r"(?P<rev>[^/]+)",
    "{path}": r"(?P<path>.+)",
    "{oid}": r"(?P<oid>[0-9a-f]{64})",
}


def route(methods: str, pattern: str) -> Callable[[Route], Route]:
    """Answer these methods at these addresses; a `{repo}` is handed on as the `Repo` that the user may see."""
    for name, expression in PARTS.items():
        pattern = pattern.replace(name, expression)

    def register(function: Route) -> Route:
        ROUTES.extend((method, re.compile(pattern), function) for method in methods.split())
        return function

    return register


@route("GET", "/api/whoami-v2")
def whoami(call: Call) -> Answer:
    if call.user is None:
        raise HubError("Unauthorized", "Invalid username or password.")
    orgs = [{"type": "org", "name": name} for name in call.store.organizations if call.store.belongs(call.user, name)]
    token = {"type": "access_token", "accessToken": {"displayName": "test", "role": "write"}}
    return Answer({"type": "user", "name": call.user, "fullname": call.user, "orgs": orgs, "auth": token})


@route("POST", "/api/repos/create")
def create(call: Call) -> Answer:
    body = call.json
    repo = Repo(
        id=f"{body.get('organization') or call.user}/{body['name']}",
        type=body.get("type") or "model",
        private=body.get("visibility") == "private" or bool(body.get("private")),
        sdk=body.get("sdk"),
        variables={item["key"]: item["value"] for item in body.get("variables", [])},
    )
    try:
        call.store.create(call.user, repo)
    except HubError as error:
        if error.reason != "Exists":
            raise
        return Answer({"error": str(error), "url": repo_url(call, repo)}, 409)
    return Answer({"url": repo_url(call, repo), "name": repo.id, "id": secrets.token_hex(12)})


@route("DELETE", "/api/repos/delete")
def delete(call: Call) -> Answer:
    body = call.json
    repo_id = f"{body.get('organization') or call.user}/{body['name']}"
    repo = call.store.visible(call.user, repo_id, body.get("type") or "model")
    call.store.check_write(call.user, repo)
    del call.store.repos[repo.type, repo.id]
    return Answer({"success": True})


@route("POST", "/api/validate-yaml")
def validate_yaml(call: Call) -> Answer:
    try:
        card = read_card(call.json["content"])
    except HubError as error:
        return Answer({"errors": [{"message": str(error)}], "warnings": []}, 400)
    warnings = [] if card else [{"message": "empty or missing yaml metadata in repo card"}]
    return Answer({"errors": [], "warnings": warnings})


@route("POST", "/api/{type}/{repo}/preupload/{rev}")
def preupload(call: Call, repo: Repo, rev: str) -> Answer:
    call.store.check_write(call.user, repo)
    stored = repo.at(rev).files
    files = []
    for path, size in ((file["path"], file["size"]) for file in call.json["files"]):
        mode = "lfs" if is_lfs(path, size) else "regular"
        known = {"oid": stored[path].oid} if path in stored else {}
        files.append({"path": path, "uploadMode": mode, "shouldIgnore": False, **known})
    return Answer({"files": files, "commitOid": repo.at(rev).id})


@route("POST", "{prefix}/{repo}.git/info/lfs/objects/batch")
def lfs_batch(call: Call, repo: Repo) -> Answer:
    call.store.check_write(call.user, repo)
    objects = []
    for item in call.json["objects"]:
        upload = {"href": f"{call.url}/upload/{item['oid']}?size={item['size']}"}
        actions = {"upload": upload, "verify": {"href": f"{call.url}/verify/{repo.id}"}}
        objects.append({**item} if item["oid"] in call.store.objects else {**item, "actions": actions})
    return Answer({"transfer": "basic", "objects": objects})


@route("PUT", "/upload/{oid}")
def upload(call: Call, oid: str) -> Answer:
    call.store.put(call.body, oid, int(call.query["size"][0]))
    return Answer()


@route("POST", "/verify/.+")
def verify(call: Call) -> Answer:
    blob = call.store.objects.get(call.json["oid"])
    if blob is None or blob.size != call.json["size"]:
        raise HubError("Invalid", "The object is not there, or not of this size")
    return Answer({})


@route("POST", "/api/{type}/{repo}/commit/{rev}")
def commit(call: Call, repo: Repo, rev: str) -> Answer:
    call.store.check_write(call.user, repo)
    if call.flag("create_pr"):
        raise HubError("Invalid", "This server has no pull requests")
    lines = [json.loads(line) for line in call.body.splitlines() if line.strip()]
    header = next(line["value"] for line in lines if line["key"] == "header")
    operations = [(line["key"], line["value"]) for line in lines if line["key"] != "header"]
    for kind, value in operations:
        if kind == "file" and value["path"] == "README.md":
            read_card(base64.b64decode(value["content"]).decode(errors="replace"))
    new = call.store.commit(repo, rev, header, operations)
    return Answer({"success": True, "commitOid": new.id, "commitUrl": f"{repo_url(call, repo)}/commit/{new.id}"})


@route("GET", "/api/{type}/{repo}(?:/revision/{rev})?")
def repo_info(call: Call, repo: Repo, rev: str = "main") -> Answer:
    info = describe(repo, repo.at(rev), blobs=call.flag("blobs"))
    return Answer(expanded(call, info, default=info))


@route("GET", "/api/{type}")
def list_repos(call: Call, type: str) -> Answer:
    names = ["modelId", "private", "tags", "pipeline_tag", "library_name", "likes", "downloads", "createdAt", "sdk"]
    if call.flag("full"):
        names += ["author", "sha", "lastModified", "gated", "disabled", "siblings"]
    if call.flag("cardData"):
        names += ["cardData"]
    infos = []
    for repo in call.store.repos.values():
        if repo.type != type or (repo.private and not call.store.belongs(call.user, repo.owner)):
            continue
        info = describe(repo, repo.at("main"))
        said = info | {"gated": str(bool(repo.gated)).lower()}
        fits = all(
            call.query[key][0] == said.get(key) for key in ("author", "pipeline_tag", "gated") if key in call.query
        )
        found = call.query.get("search", [""])[0].lower() in repo.id.lower()
        if fits and found and set(call.query.get("filter", [])) <= set(info["tags"]):
            infos.append(info)
    if sort := call.query.get("sort"):
        infos.sort(key=lambda info: info.get(sort[0], 0), reverse=True)
    return call.page([expanded(call, info, names) for info in infos])


@route("GET", "/api/{type}/{repo}/tree/{rev}(?:/{path})?")
def tree(call: Call, repo: Repo, rev: str, path: str = "") -> Answer:
    commit = repo.at(rev)
    top = f"{path.rstrip('/')}/" if path else ""
    parts = [name.removeprefix(top).split("/") for name in commit.files if name.startswith(top)]
    if path and not parts:
        raise HubError("EntryNotFound", f"Entry not found: {path}", commit.id)
    depths = ((part, depth) for part in parts for depth in range(1, len(part) + 1))
    names = {top + "/".join(part[:depth]) for part, depth in depths if depth == 1 or call.flag("recursive")}
    return call.page([tree_entry(commit, name) for name in sorted(names)])


@route("POST", "/api/{type}/{repo}/paths-info/{rev}")
def paths_info(call: Call, repo: Repo, rev: str) -> Answer:
    entries = [tree_entry(repo.at(rev), path.rstrip("/")) for path in parse_qs(call.body.decode())["paths"]]
    return Answer([entry for entry in entries if entry])


@route("GET", "/api/{type}/{repo}/refs")
def refs(call: Call, repo: Repo) -> Answer:
    def entries(kind: str, names: dict[str, str]) -> list[dict[str, str]]:
        return [{"name": name, "ref": f"refs/{kind}/{name}", "targetCommit": commit} for name, commit in names.items()]

    lists = {"branches": entries("heads", repo.branches), "tags": entries("tags", repo.tags)}
    return Answer(lists | {"converts": [], "pullRequests": []})


@route("GET POST DELETE", "/api/{type}/{repo}/variables")
def variables(call: Call, repo: Repo) -> Answer:
    call.store.check_write(call.user, repo)
    if call.body:
        repo.variables.pop(call.json["key"], None)
        repo.variables |= {call.json["key"]: call.json["value"]} if "value" in call.json else {}
    return Answer({key: {"value": value} for key, value in repo.variables.items()})


@route("GET HEAD", "{prefix}/{repo}/resolve/{rev}/{path}")
def resolve(call: Call, repo: Repo, rev: str, path: str) -> Answer:
    call.store.check_read(call.user, repo)
    commit, blob = repo.blob(rev, path)
    if not blob.lfs:
        return content_answer(call, blob, {"X-Repo-Commit": commit.id})
    query = urlencode({"commit": commit.id, "file": path}, safe="/")
    linked = {"X-Linked-Etag": f'"{blob.sha256}"', "X-Linked-Size": str(blob.size), "ETag": f'"{blob.git_oid}"'}
    location = {"Location": f"{call.url}/cdn/{blob.sha256}?{query}", "X-Repo-Commit": commit.id}
    return Answer(b"Found. Redirecting", 302, location | linked)


@route("GET HEAD", "/cdn/{oid}")
def cdn(call: Call, oid: str) -> Answer:
    """An LFS file's content. The client takes this address for the Hub's own, so it wants the Hub's headers here."""
    blob = call.store.objects[oid]
    linked = {"X-Linked-Etag": f'"{blob.sha256}"', "X-Linked-Size": str(blob.size)}
    return content_answer(call, blob, linked | {"X-Repo-Commit": call.query["commit"][0]})


# The server ----------------------------------------------------------------------------------------------------------


class Request(NamedTuple):
    """A request that came in; `path` with its query, `status` 0 where the connection was closed without an answer."""

    method: str
    path: str
    status: int
    range: str | None


@dataclass
class Fault:
    """What spoils the next requests whose path and query contain `match`, a text or a regular expression.

    Args:
        match: an LFS file's content is read at `/cdn/SHA256?commit=...&file=NAME`, and sent to `/upload/SHA256`.
        status: answer with this; None only waits or cuts.
        times: how many requests; `math.inf` for all.
        retry_after: seconds, for the header of that name.
        method: only requests of this method.
        delay: seconds to wait before the answer.
        cut_after: close the connection after so many bytes of a GET's answer (a shorter one is left whole), or,
            without an answer, of a PUT's or POST's body.
        code: `X-Error-Code` of the answer.
    """

    match: str
    status: int | None = None
    times: float = 1
    retry_after: int | None = None
    method: str | None = None
    delay: float = 0
    cut_after: int | None = None
    code: str | None = None

    def meets(self, method: str, path: str, body_size: int | None) -> bool:
        """Whether it strikes a request (`body_size` None), or an answer whose body has so many bytes."""
        if self.times < 1 or self.method not in (None, method):
            return False
        if not (self.match in unquote(path) or re.search(self.match, path)):
            return False
        if self.cut_after is not None and method not in ("PUT", "POST"):
            return method == "GET" and body_size is not None and body_size > self.cut_after
        return body_size is None

    def answer(self) -> Answer:
        headers = {"X-Error-Code": self.code} if self.code else {}
        headers |= {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        return Answer({"error": "A fault that the test asked for"}, self.status or 500, headers)


class Listener(ThreadingHTTPServer):
    """Bound to its port from the start, so that no one else gets it, and listening while it serves."""

    def __init__(self, hub: "HubServer", port: int) -> None:
        super().__init__(("127.0.0.1", port), Handler, bind_and_activate=False)
        self.hub = hub
        self.connections: dict[socket.socket, threading.Thread] = {}
        self.thread: threading.Thread | None = None
        self.stopping = threading.Event()
        TCPServer.server_bind(self)  # HTTPServer's own asks for the host's name, which may take long

    def start(self) -> None:
        self.server_activate()
        self.thread = threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    def stop(self) -> None:
        """Close the port and all connections."""
        self.stopping.set()
        if self.thread:
            self.shutdown()
            self.thread.join()
        self.server_close()
        for connection, thread in list(self.connections.items()):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            thread.join()

    def process_request(self, request: Any, client_address: Any) -> None:
        thread = threading.Thread(target=self.process_request_thread, args=(request, client_address), daemon=True)
        self.connections[request] = thread
        thread.start()

    def shutdown_request(self, request: Any) -> None:
        super().shutdown_request(request)
        self.connections.pop(request, None)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Keep what is a defect of this file for the test; a client that goes away is none."""
        if not isinstance(error := sys.exception(), OSError | None):
            self.hub.errors.append(error)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Listener

    def log_message(self, format: str, *args: Any) -> None: ...

    def read_body(self) -> Iterator[bytes]:
        """The body in pieces, sent with its length or in chunks."""
        chunked = "chunked" in self.headers.get("Transfer-Encoding", "")
        left = 0 if chunked else int(self.headers.get("Content-Length", 0))
        while left or (chunked and (left := int(self.rfile.readline().strip() or b"0", 16))):
            piece = self.rfile.read(min(left, 2**16))
            if not piece:
                raise ConnectionResetError
            left -= len(piece)
            yield piece
            if chunked and not left:
                self.rfile.readline()
        if chunked:
            self.rfile.readline()

    def next_fault(self, body_size: int | None = None) -> Fault | None:
        fault = self.server.hub.next_fault(self.command, self.path, body_size)
        if fault and self.server.stopping.wait(fault.delay):
            raise ConnectionAbortedError
        return fault

    def answer(self) -> None:
        fault = self.next_fault()
        if fault and fault.cut_after is not None:
            read = 0
            for piece in self.read_body():
                read += len(piece)
                if read >= fault.cut_after:
                    break
            self.record(0)
            self.close_connection = True
            return
        body = b"".join(self.read_body())
        self.send(fault.answer() if fault and fault.status else self.routed(body))

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = answer  # noqa: N815

    def routed(self, body: bytes) -> Answer:
        hub = self.server.hub
        address = urlsplit(self.path)
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        user = hub.tokens.get(token)
        query = parse_qs(address.query)
        call = Call(hub.store, user, hub.url, address.path, query, body, self.headers.get("Range"), hub.page_size)
        try:
            if token and user is None:
                raise HubError("Unauthorized", "Invalid credentials in Authorization header")
            for method, pattern, function in ROUTES:
                if method == self.command and (match := pattern.fullmatch(address.path)):
                    groups = {name: unquote(value) for name, value in match.groupdict().items() if value}
                    with hub.lock:
                        if "repo" in groups:
                            kind = groups.pop("type", "model")
                            groups["repo"] = call.store.visible(user, groups["repo"], kind)
                        return function(call, **groups)
            return Answer({"error": f"This server has no {self.command} {address.path}"}, 404)
        except HubError as error:
            return error_answer(error, user)
        except Exception as error:  # a defect of this file or a client that speaks otherwise: tell the test
            hub.errors.append(error)
            return Answer({"error": repr(error)}, 500)

    def record(self, status: int) -> None:
        self.server.hub.requests.append(Request(self.command, self.path, status, self.headers.get("Range")))

    def send(self, answer: Answer) -> None:
        is_json = not isinstance(answer.content, bytes)
        content = json.dumps(answer.content, default=str, skipkeys=True).encode() if is_json else answer.content
        cut = self.next_fault(len(content)) if answer.status in (200, 206) else None
        self.record(answer.status)
        self.send_response(answer.status)
        headers = {"Content-Type": "application/json" if is_json else "text/plain"} | answer.headers
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content[: cut.cut_after] if cut else content)
            self.close_connection = self.close_connection or cut is not None


class HubServer:
    """The Hub, from the moment that it is made until `close` or the end of its `with`.

    Args:
        tokens: user name of each token that is let in.
        organizations: names of the users that belong to each.
    """

    def __init__(
        self, tokens: dict[str, str] | None = None, organizations: dict[str, Iterable[str]] | None = None
    ) -> None:
        self.tokens = TOKENS if tokens is None else tokens
        self.store = Store(organizations or {})
        self.page_size = 1000
        self.requests: list[Request] = []
        self.faults: list[Fault] = []
        self.errors: list[BaseException] = []
        self.lock = threading.RLock()
        self.listener = Listener(self, port=0)
        self.port: int = self.listener.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.listener.start()

    def __enter__(self) -> "HubServer":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: Any) -> None:
        self.close()
        if kind is None and self.errors:
            raise self.errors[0]

    def close(self) -> None:
        self.listener.stop()

    def down(self) -> None:
        """Close all connections and refuse new ones until `up`."""
        self.listener.stop()
        self.listener = Listener(self, self.port)

    def up(self) -> None:
        self.listener.start()

    def fail(self, match: str, status: int | None = None, **how: Any) -> None:
        """Spoil the next requests that match; `Fault` says how."""
        with self.lock:
            self.faults.append(Fault(match, status, **how))

    def next_fault(self, method: str, path: str, body_size: int | None = None) -> Fault | None:
        with self.lock:
            fault = next((fault for fault in self.faults if fault.meets(method, path, body_size)), None)
            if fault:
                fault.times -= 1
            return fault

    @property
    def repos(self) -> dict[tuple[str, str], Repo]:
        """By type and id, as in `("model", "alice/net")`."""
        return self.store.repos

    def repo(self, repo_id: str, repo_type: str = "model") -> Repo:
        return self.repos[repo_type, repo_id]

    def files(self, repo_id: str, repo_type: str = "model", revision: str = "main") -> dict[str, bytes]:
        return {path: blob.content for path, blob in self.repo(repo_id, repo_type).at(revision).files.items()}

    def commits(self, repo_id: str, repo_type: str = "model") -> list[str]:
        """Ids, newest first; the last is the empty repository's."""
        return [commit.id for commit in self.repo(repo_id, repo_type).history("main")]

    def create(self, repo_id: str, repo_type: str = "model", private: bool = False, sdk: str | None = None) -> Repo:
        return self.repos.setdefault((repo_type, repo_id), Repo(repo_id, repo_type, private=private, sdk=sdk))

    def commit(self, repo_id: str, files: dict[str, bytes | None], repo_type: str = "model") -> str:
        """Put files into a repository, made where it is missing, whatever they hold; None deletes one."""
        with self.lock:
            repo = self.create(repo_id, repo_type)
            head = repo.at("main")
            blobs = dict(head.files)
            for path, content in files.items():
                blobs.pop(path, None)
                if content is not None:
                    blobs[path] = Blob(content, lfs=is_lfs(path, len(content)))
            self.store.objects |= {blob.sha256: blob for blob in blobs.values() if blob.lfs}
            return repo.add(Commit(blobs, "a test's own", head.id)).id

    def set_gated(self, repo_id: str, gated: str | bool = "manual", repo_type: str = "model") -> None:
        self.repo(repo_id, repo_type).gated = gated

    def grant(self, repo_id: str, user: str, repo_type: str = "model") -> None:
        self.repo(repo_id, repo_type).granted.add(user)

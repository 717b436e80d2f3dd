"""What a Hugging Face Hub answers to each request, as `huggingface_hub` expects it."""

import base64
import hashlib
import json
import re
import secrets
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlencode

from helpers.hub_store import Blob, Commit, HubError, Repo, Store, is_lfs, read_card

# Why a request is refused, and the status that says it; to one without a token, some are 401.
STATUS = {
    "RepoNotFound": 404,
    "RevisionNotFound": 404,
    "EntryNotFound": 404,
    "GatedRepo": 403,
    "Forbidden": 403,
    "Unauthorized": 401,
    "PaymentRequired": 402,
    "Exists": 409,
    "Stale": 412,
    "Invalid": 400,
}
FOR_STRANGERS_401 = {"RepoNotFound", "GatedRepo", "Forbidden"}
TOLD_IN_HEADER = {"RepoNotFound", "RevisionNotFound", "EntryNotFound", "GatedRepo"}


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
        "runtime": {"stage": "RUNNING", "hardware": {"current": None, "requested": repo.hardware}}
        if repo.sdk
        else None,
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
    "{type}": r"(?P<type>model|dataset|space)s",
    "{prefix}": r"(?:/(?P<type>dataset|space)s)?",
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
        hardware=body.get("hardware"),
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


@route("GET", "/api/{type}/{repo}/commits/{rev}")
def commits(call: Call, repo: Repo, rev: str) -> Answer:
    def entry(commit: Commit) -> dict[str, Any]:
        return {"id": commit.id, "authors": [], "date": commit.date, "title": commit.title, "message": ""}

    return call.page([entry(commit) for commit in repo.history(rev)])


@route("GET", "/api/{type}/{repo}/refs")
def refs(call: Call, repo: Repo) -> Answer:
    def entries(kind: str, names: dict[str, str]) -> list[dict[str, str]]:
        return [{"name": name, "ref": f"refs/{kind}/{name}", "targetCommit": commit} for name, commit in names.items()]

    lists = {"branches": entries("heads", repo.branches), "tags": entries("tags", repo.tags)}
    return Answer(lists | {"converts": [], "pullRequests": []})


@route("GET", "/api/{type}/{repo}/auth-check(?P<write>/write)?")
def auth_check(call: Call, repo: Repo, write: str | None = None) -> Answer:
    (call.store.check_write if write else call.store.check_read)(call.user, repo)
    return Answer({})


@route("POST", "/oauth/token")
def lend_token(call: Call) -> Answer:
    """To a CI whose identity is that of a trusted publisher, here `alice's workflow`."""
    if call.json["subject_token"] != "alice's workflow":
        return Answer({"error": "invalid_grant"}, 400)
    return Answer({"access_token": "hf_alice", "token_type": "bearer", "expires_in": 3600})


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

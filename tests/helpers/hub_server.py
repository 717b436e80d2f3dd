"""A Hugging Face Hub on loopback that the unmodified `huggingface_hub` client talks to, kept in memory.

with HubServer() as hub:
    env = {"HF_ENDPOINT": hub.url, "HF_HUB_DISABLE_XET": "1", "HF_TOKEN": "hf_alice"}
    # set before huggingface_hub is imported, so best for a process of its own
"""

import json
import re
import socket
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

from helpers.hub_routes import ROUTES, Answer, Call, error_answer
from helpers.hub_store import Blob, Commit, HubError, Repo, Store, is_lfs

TOKENS = {"hf_alice": "alice", "hf_bob": "bob"}


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

"""A stand-in of the Hugging Face Hub on loopback, for what `huggingface_hub` asks to push and pull a model.

It keeps everything in memory, answers as the hub does, error codes included, and knows one token, that of
the owner `me`. Large files come by the LFS protocol (`HF_HUB_DISABLE_XET=1`); Xet's own is not here.
"""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

OWNER, TOKEN = "me", "hf_of_the_tests"
_LARGE = 10_000  # bytes from which a file goes by LFS


class RefusedError(Exception):
    """An answer with an error: a status, and the hub's own code or message."""

    def __init__(self, status: int, code: str = "", message: str = "", **body: str) -> None:
        self.status, self.code, self.message, self.body = status, code, message, body


@dataclass
class Repository:
    """Branches -> commits, and commits -> files."""

    private: bool
    branches: dict[str, str] = field(default_factory=dict)
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)

    def add(self, branch: str, files: dict[str, bytes]) -> str:
        """Makes a commit on a branch; returns its hash."""
        digest = hashlib.sha1(f"{branch} {sorted(files)} {len(self.commits)}".encode()).hexdigest()
        self.commits[digest], self.branches[branch] = files, digest
        return digest

    def resolve(self, revision: str) -> str:
        """The commit of a branch or of a commit's hash."""
        commit = self.branches.get(revision, revision)
        if commit not in self.commits:
            raise RefusedError(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return commit


class Hub:
    """What the server holds, and what it was asked.

    Attributes:
        url: for `HF_ENDPOINT`.
        repositories: by `OWNER/NAME`.
        asked: method and path of each request, in order.
    """

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.asked: list[str] = []
        self.large: dict[str, bytes] = {}
        self.url = ""

    def answer(self, method: str, path: str, token: str | None, body: bytes) -> "Answer":
        """Finds who answers a request."""
        self.asked.append(f"{method} {path}")
        if token not in (None, TOKEN):
            raise RefusedError(401, "", "Invalid credentials in Authorization header")
        for pattern, methods, handle in _ROUTES:
            if method in methods and (found := re.fullmatch(pattern, path)):
                return handle(self, token == TOKEN, body, *map(unquote, found.groups()))
        raise RefusedError(501, "", f"the stand-in has no {method} {path}")

    def repository(self, name: str, known: bool, writes: bool = False) -> Repository:
        """The repository, if who asks may see it, or write to it."""
        found = self.repositories.get(name)
        if found is None or (found.private and not known):
            raise RefusedError(404 if known else 401, "RepoNotFound", "Repository not found")
        if writes and not (known and name.startswith(f"{OWNER}/")):
            raise RefusedError(403, "", "You don't have the rights required to write here")
        return found


@dataclass(frozen=True)
class Answer:
    content: bytes
    headers: dict[str, str] = field(default_factory=dict)


def _json(value: Any) -> Answer:
    return Answer(json.dumps(value).encode(), {"Content-Type": "application/json"})


def _create(hub: Hub, known: bool, body: bytes) -> Answer:
    asked = json.loads(body)
    owner = asked["organization"] or OWNER
    if not known or owner != OWNER:
        raise RefusedError(
            403 if known else 401, "", f"You may not create in the namespace {owner!r}"
        )
    name = f"{owner}/{asked['name']}"
    if name in hub.repositories:
        raise RefusedError(409, "", "You already created this repo", url=f"{hub.url}/{name}")
    hub.repositories[name] = Repository(private=asked.get("visibility") == "private")
    hub.repositories[name].add("main", {".gitattributes": b""})
    return _json({"url": f"{hub.url}/{name}"})


def _validate(hub: Hub, known: bool, body: bytes) -> Answer:
    return _json({"errors": [], "warnings": []})


def _branch(hub: Hub, known: bool, body: bytes, name: str, branch: str) -> Answer:
    repository = hub.repository(name, known, writes=True)
    if branch in repository.branches:
        raise RefusedError(409, "", "Reference already exists")
    repository.branches[branch] = repository.branches["main"]
    return _json({})


def _preupload(hub: Hub, known: bool, body: bytes, name: str, branch: str) -> Answer:
    files = hub.repository(name, known, writes=True)
    there = files.commits[files.resolve(branch)]
    return _json({"files": [_mode(file, there) for file in json.loads(body)["files"]]})


def _mode(file: dict[str, Any], there: dict[str, bytes]) -> dict[str, Any]:
    large = file["size"] >= _LARGE
    found = {
        "path": file["path"],
        "uploadMode": "lfs" if large else "regular",
        "shouldIgnore": False,
    }
    if (raw := there.get(file["path"])) is not None:
        found["oid"] = hashlib.sha256(raw).hexdigest() if large else _blob(raw)
    return found


def _blob(raw: bytes) -> str:
    """The name that git gives to a file's content."""
    return hashlib.sha1(b"blob %d\0" % len(raw) + raw).hexdigest()


def _batch(hub: Hub, known: bool, body: bytes, name: str) -> Answer:
    hub.repository(name, known, writes=True)
    objects = json.loads(body)["objects"]
    for each in objects:
        if each["oid"] not in hub.large:
            each["actions"] = {"upload": {"href": f"{hub.url}/lfs/{each['oid']}"}}
    return _json({"transfer": "basic", "objects": objects})


def _store(hub: Hub, known: bool, body: bytes, oid: str) -> Answer:
    if hashlib.sha256(body).hexdigest() != oid:
        raise RefusedError(400, "", "the content is not that of its hash")
    hub.large[oid] = body
    return Answer(b"")


def _commit(hub: Hub, known: bool, body: bytes, name: str, branch: str) -> Answer:
    repository = hub.repository(name, known, writes=True)
    files = dict(repository.commits[repository.resolve(branch)])
    for operation in map(json.loads, body.splitlines()):
        value = operation["value"]
        if operation["key"] == "file":
            files[value["path"]] = base64.b64decode(value["content"])
        elif operation["key"] == "lfsFile":
            files[value["path"]] = hub.large[value["oid"]]
    digest = repository.add(branch, files)
    return _json({"commitUrl": f"{hub.url}/{name}/commit/{digest}", "commitOid": digest})


def _info(hub: Hub, known: bool, body: bytes, name: str, revision: str = "main") -> Answer:
    repository = hub.repository(name, known)
    return _json({"id": name, "sha": repository.resolve(revision), "private": repository.private})


def _resolve(hub: Hub, known: bool, body: bytes, name: str, revision: str, path: str) -> Answer:
    repository = hub.repository(name, known)
    commit = repository.resolve(revision)
    raw = repository.commits[commit].get(path)
    if raw is None:
        raise RefusedError(404, "EntryNotFound", "Entry not found")
    return Answer(raw, {"X-Repo-Commit": commit, "ETag": f'"{_blob(raw)}"'})


_NAME = "([^/]+/[^/]+?)"
_ROUTES: list[tuple[str, tuple[str, ...], Callable[..., Answer]]] = [
    ("/api/repos/create", ("POST",), _create),
    ("/api/validate-yaml", ("POST",), _validate),
    (f"/api/models/{_NAME}/branch/([^/]+)", ("POST",), _branch),
    (f"/api/models/{_NAME}/preupload/([^/]+)", ("POST",), _preupload),
    (f"/api/models/{_NAME}/commit/([^/]+)", ("POST",), _commit),
    (f"/api/models/{_NAME}/revision/([^/]+)", ("GET",), _info),
    (f"/api/models/{_NAME}", ("GET",), _info),
    (rf"/{_NAME}\.git/info/lfs/objects/batch", ("POST",), _batch),
    ("/lfs/([0-9a-f]{64})", ("PUT",), _store),
    (f"/{_NAME}/resolve/([^/]+)/(.+)", ("GET", "HEAD"), _resolve),
]


@contextmanager
def running() -> Iterator[Hub]:
    """Serves in a thread until the block ends."""
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_one(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            token = self.headers.get("Authorization")
            try:
                answer, status = (
                    hub.answer(
                        self.command, urlsplit(self.path).path, token and token.split()[-1], body
                    ),
                    HTTPStatus.OK.value,
                )
            except RefusedError as error:
                told = {"X-Error-Code": error.code, "X-Error-Message": error.message}
                body = json.dumps({"error": error.message, **error.body}).encode()
                answer = Answer(body, {key: value for key, value in told.items() if value})
                status = error.status
            self.send_response(status)
            for key, value in {
                **answer.headers,
                "Content-Length": str(len(answer.content)),
            }.items():
                self.send_header(key, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer.content)

        do_GET = do_HEAD = do_POST = do_PUT = handle_one  # noqa: N815

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=[0.01], daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

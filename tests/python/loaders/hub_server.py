"""A model hub on localhost: the few endpoints that huggingface_hub asks when it downloads."""

from __future__ import annotations

import hashlib
import json
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub:
    """Serves each folder `root`/org/name as a model, and counts what is fetched.

    Models in `gated` answer as the hub does before its conditions are accepted.
    """

    def __init__(self, root: Path, gated: frozenset[str] = frozenset()) -> None:
        self.root = root
        self.gated = gated
        self.fetched: Counter[str] = Counter()  # path of a file in its model -> GET requests
        self.tokens: set[str | None] = set()  # Authorization headers that were seen
        self.fail_weights = False  # cut the connection in the middle of a weights file
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                hub.answer(self, body=True)

            def do_HEAD(self) -> None:
                hub.answer(self, body=False)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def answer(self, request: BaseHTTPRequestHandler, *, body: bool) -> None:
        self.tokens.add(request.headers.get("Authorization"))
        parts = unquote(urlsplit(request.path).path).strip("/").split("/")
        if parts[:2] == ["api", "models"]:
            self._answer_api(request, "/".join(parts[2:4]), parts[4:], body)
        elif len(parts) >= 5 and parts[2] == "resolve":
            self._answer_file(request, "/".join(parts[:2]), parts[3], "/".join(parts[4:]), body)
        else:
            send(request, 404, b"", body)

    def _answer_api(
        self, request: BaseHTTPRequestHandler, model: str, rest: list[str], body: bool
    ) -> None:
        folder = self._folder(request, model, body)
        if folder is None:
            return
        revision = rest[1] if len(rest) > 1 else "main"
        if revision not in ("main", COMMIT):
            send(request, 404, b"", body, {"X-Error-Code": "RevisionNotFound"})
            return
        names = sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())
        answer: object
        if rest[:1] == ["tree"]:
            answer = [
                {
                    "type": "file",
                    "path": name,
                    "size": (folder / name).stat().st_size,
                    "oid": etag(folder / name),
                }
                for name in names
            ]
        else:
            answer = {
                "id": model,
                "modelId": model,
                "sha": COMMIT,
                "private": False,
                "gated": False,
                "disabled": False,
                "downloads": 0,
                "likes": 0,
                "tags": [],
                "siblings": [{"rfilename": name} for name in names],
            }
        send(request, 200, json.dumps(answer).encode(), body)

    def _answer_file(
        self, request: BaseHTTPRequestHandler, model: str, revision: str, name: str, body: bool
    ) -> None:
        folder = self._folder(request, model, body)
        if folder is None:
            return
        path = folder / name
        if not path.is_file() or revision not in ("main", COMMIT):
            send(request, 404, b"", body, {"X-Error-Code": "EntryNotFound"})
            return
        content = path.read_bytes()
        headers = {"ETag": f'"{etag(path)}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        if body:
            self.fetched[name] += 1
        if body and self.fail_weights and name.endswith(".safetensors"):
            content, headers["Content-Length"] = content[: len(content) // 2], str(len(content))
            request.close_connection = True
        send(request, 200, content, body, headers)

    def _folder(self, request: BaseHTTPRequestHandler, model: str, body: bool) -> Path | None:
        if model in self.gated:
            send(request, 403, b"", body, {"X-Error-Code": "GatedRepo"})
            return None
        if not (self.root / model).is_dir():
            send(request, 404, b"", body, {"X-Error-Code": "RepoNotFound"})
            return None
        return self.root / model


def etag(path: Path) -> str:
    return hashlib.sha1(path.read_bytes(), usedforsecurity=False).hexdigest()


def send(
    request: BaseHTTPRequestHandler,
    status: int,
    content: bytes,
    body: bool,
    headers: dict[str, str] | None = None,
) -> None:
    request.send_response(status)
    for name, value in ({"Content-Length": str(len(content))} | (headers or {})).items():
        request.send_header(name, value)
    request.end_headers()
    if body:
        request.wfile.write(content)

"""A Graph API that follows a script: real HTTP on a free port, one canned answer for each call."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from pipeline_assets.sources.meta import GraphClient

TOKEN = "EAAtokenThatMustNeverBeSeen1234567890"
APP_SECRET = "app-secret-that-must-never-be-seen"


@dataclass
class Call:
    """One call as it arrived, parameters of address and form together."""

    method: str
    path: str
    address: str
    params: dict[str, str]
    headers: dict[str, str]


@dataclass
class Reply:
    """What to answer: JSON, or raw bytes; `announce` more bytes than are sent to cut it off."""

    body: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    raw: bytes | None = None
    announce: int | None = None
    drop: bool = False
    trickle_seconds: float = 0.0

    @property
    def content(self) -> bytes:
        return self.raw if self.raw is not None else json.dumps(self.body).encode()


def error(
    code: int, subcode: int | None = None, *, status: int = 400, message: str = "x", **more: Any
) -> Reply:
    """An error as Meta words it."""
    told: dict[str, Any] = {"message": message, "type": "OAuthException", "code": code, **more}
    if subcode:
        told["error_subcode"] = subcode
    headers = told.pop("headers", {})
    return Reply({"error": told}, status=status, headers=headers)


Script = Callable[[Call], Reply]


class _Handler(BaseHTTPRequestHandler):
    graph: "GraphServer"

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else each answer waits 40 ms for an acknowledgement

    def do_GET(self) -> None:
        self._serve("")

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        self._serve(self.rfile.read(length).decode())

    def _serve(self, form: str) -> None:
        parts = urlsplit(self.path)
        call = Call(
            self.command,
            parts.path.strip("/").removeprefix("v26.0").strip("/"),
            self.path,
            dict(parse_qsl(parts.query)) | dict(parse_qsl(form)),
            dict(self.headers),
        )
        reply = self.graph.answer(call)
        if reply.drop:
            self.close_connection = True
            return
        self._send(reply)

    def _send(self, reply: Reply) -> None:
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        length = len(reply.content) if reply.announce is None else reply.announce
        self.send_header("Content-Length", str(length))
        self.end_headers()
        if reply.announce is not None:
            self.close_connection = True
        try:
            self._write(reply)
        except OSError:
            self.close_connection = True

    def _write(self, reply: Reply) -> None:
        if not reply.trickle_seconds:
            self.wfile.write(reply.content)
            return
        for byte in reply.content:
            self.wfile.write(bytes([byte]))
            self.wfile.flush()
            time.sleep(reply.trickle_seconds)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's
        pass


class GraphServer:
    """Answers by `script` (a function of the call) or by the next of `replies`."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.replies: list[Reply] = []
        self.script: Script | None = None
        self.lock = threading.Lock()
        handler = type("Handler", (_Handler,), {"graph": self})
        self._httpd = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._httpd.daemon_threads = True
        self._thread = threading.Thread(
            target=self._httpd.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        )
        self._thread.start()
        self.base_url = f"http://127.0.0.1:{self._httpd.server_address[1]}"

    def answer(self, call: Call) -> Reply:
        with self.lock:
            self.calls.append(call)
            if self.script is not None:
                return self.script(call)
            return self.replies.pop(0)

    def close(self) -> None:
        self._httpd.shutdown()
        self._httpd.server_close()
        self._thread.join()


@pytest.fixture
def graph() -> Iterator[GraphServer]:
    server = GraphServer()
    yield server
    server.close()


@pytest.fixture
def client(graph: GraphServer, clock: Any, store: Any) -> Iterator[GraphClient]:
    with GraphClient(
        token=TOKEN, base_url=graph.base_url, budgets=store, now=clock.now, sleep=clock.sleep
    ) as made:
        yield made


@pytest.fixture
def make_error() -> Callable[..., Reply]:
    return error


@pytest.fixture
def reply() -> type[Reply]:
    return Reply

"""Serves one world over HTTP/1.1 with keep-alive: the Graph API, the CDN and the control routes.

The control routes (`/__control/…`) need no token: the server is for tests and the demo and listens
on loopback unless told otherwise.
"""

import json
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

from pipeline_assets.clock import utcnow
from pipeline_assets.simulator.apify import Apify, ApifyRequest
from pipeline_assets.simulator.calls import Call, CallLog, without_secrets
from pipeline_assets.simulator.cdn import Cdn
from pipeline_assets.simulator.exchange import Request, WireAnswer
from pipeline_assets.simulator.faults import BODY_FAULTS, Endpoint, Fault, FaultKind, Faults
from pipeline_assets.simulator.graph import Graph, spoiled_status
from pipeline_assets.simulator.language_model import PATH as LANGUAGE_MODEL_PATH
from pipeline_assets.simulator.language_model import LanguageModelServer
from pipeline_assets.simulator.library_copy import draw_picture
from pipeline_assets.simulator.reddit import Reddit
from pipeline_assets.simulator.reports import Reports
from pipeline_assets.simulator.shops import Shops
from pipeline_assets.simulator.world import World

_HTML = b"<!DOCTYPE html><html><head><title>Error</title></head><body>Sorry</body></html>"
_JSON = "application/json; charset=UTF-8"
_CHUNK = 2**16
_SLOW_PIECES = 20


class SimulatorServer:
    """A running server for one world; a context manager that starts and stops it.

    `now` is the time that everything follows from, `monotonic` what report runs are measured by.
    `reset` puts back what the constructor was given.
    """

    def __init__(
        self,
        world: World,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        now: Callable[[], datetime] = utcnow,
        monotonic: Callable[[], float] = time.monotonic,
        report_seconds: float = 0.3,
        faults: Sequence[Fault] = (),
    ) -> None:
        self.world = world
        self.faults = Faults()
        self.now = now
        self._initial_faults = tuple(faults)
        self.faults.add(*self._initial_faults)
        self._calls = CallLog()
        self._reports = Reports(monotonic=monotonic, seconds=report_seconds)
        self.cdn = Cdn(world)
        self.graph = Graph(
            world,
            cdn=self.cdn,
            faults=self.faults,
            calls=self._calls,
            reports=self._reports,
            now=now,
        )
        self._open_other_services()
        self._http = _HttpServer((host, port), self)
        self.apify = Apify(
            faults=self.faults,
            calls=self._calls,
            now=now,
            monotonic=monotonic,
            stopping=self._http.stopping,
        )
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True)

    @property
    def url(self) -> str:
        """Where it listens, without a path; the Graph API is at `url + "/v26.0"`."""
        host, port = self._http.server_address[:2]
        return f"http://{host!s}:{port}"

    @property
    def calls(self) -> tuple[Call, ...]:
        """Every call to Graph API and CDN so far."""
        return self._calls.all

    @property
    def report_seconds(self) -> float:
        """How long a report run takes; may be changed for the runs to come."""
        return self._reports.seconds

    @report_seconds.setter
    def report_seconds(self, seconds: float) -> None:
        self._reports.seconds = seconds

    def log(self, call: Call) -> None:
        """Keep a call that did not go to the Graph API."""
        self._calls.add(call)

    def reset(self) -> None:
        """Forget calls and runs of every service; the faults are those of the beginning."""
        self._calls.clear()
        self._reports.clear()
        self.apify.clear()
        self.faults.clear()
        self.faults.add(*self._initial_faults)
        self._open_other_services()

    def _open_other_services(self) -> None:
        self.shops = Shops(self.world, self.cdn)
        self.reddit = Reddit(faults=self.faults, now=self.now)
        self.language_model = LanguageModelServer(faults=self.faults)

    def start(self) -> Self:
        """Answer from now on, in threads of its own."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """Close every connection and end all threads."""
        self._http.stop()
        self._thread.join()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


class _HttpServer(ThreadingHTTPServer):
    """Keeps its connections in sight, so that `stop` can end idle keep-alive threads."""

    daemon_threads = False
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], simulator: SimulatorServer) -> None:
        self.simulator = simulator
        self.stopping = threading.Event()
        self._open: set[socket.socket] = set()
        super().__init__(address, _Handler)

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept a connection."""
        connection, address = super().get_request()
        self._open.add(connection)
        return connection, address

    def shutdown_request(self, request: Any) -> None:
        """Close a connection."""
        self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is no error; anything else is shown."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    def stop(self) -> None:
        """End the loop, every connection and their threads."""
        self.stopping.set()
        self.shutdown()
        for connection in list(self._open):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # it is closed already
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # headers and body leave in one packet
    server: _HttpServer

    def do_GET(self) -> None:
        """Answer a GET."""
        self._dispatch("GET")

    def do_POST(self) -> None:
        """Answer a POST."""
        self._dispatch("POST")

    def do_DELETE(self) -> None:
        """Answer a DELETE (control routes only)."""
        self._dispatch("DELETE")

    def log_message(self, *_: object) -> None:
        """Nothing on the console: there is the call log."""

    def _dispatch(self, method: str) -> None:
        address = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if address.path.startswith("/__control/"):
            self._control(method, address.path.removeprefix("/__control/"), body)
            return
        query = dict(parse_qsl(address.query, keep_blank_values=True))
        if address.path.startswith("/cdn/"):
            self._cdn(address.path, query)
        elif address.path == "/robots.txt" or address.path.startswith("/shops/"):
            self._shop(address.path)
        elif address.path.startswith("/library-media/"):
            self._library_media(address.path.removeprefix("/library-media/"))
        elif address.path.startswith("/v2/"):
            self._apify(method, address.path, query, body)
        elif answer := self._other_service(address.path, query, body):
            self._send(answer.status, answer.content_type, answer.body, answer.headers)
        else:
            self._graph(method, address.path, {**query, **self._form(body)})

    def _other_service(self, path: str, query: dict[str, str], body: bytes) -> WireAnswer | None:
        simulator = self.server.simulator
        if path == LANGUAGE_MODEL_PATH:
            return simulator.language_model.respond(self.headers, body)
        if simulator.reddit.handles(path):
            return simulator.reddit.respond(path, query, self.headers, body)
        return None

    def _form(self, body: bytes) -> dict[str, str]:
        if not body:
            return {}
        if self.headers.get_content_type() == "application/json":
            values = json.loads(body)
            return {
                name: value if isinstance(value, str) else json.dumps(value)
                for name, value in values.items()
            }
        return dict(parse_qsl(body.decode(), keep_blank_values=True))

    def _graph(self, method: str, path: str, params: dict[str, str]) -> None:
        scheme, _, bearer = self.headers.get("Authorization", "").partition(" ")
        response = self.server.simulator.graph.respond(
            Request(
                method=method,
                path=path,
                params=params,
                base_url=self._base_url(),
                header_token=bearer.strip() if scheme.lower() == "bearer" else None,
            )
        )
        body = json.dumps(response.body, separators=(",", ":")).encode()
        self._send(response.status, _JSON, body, response.headers, spoiled_by=response.spoiled_by)

    def _apify(self, method: str, path: str, query: dict[str, str], body: bytes) -> None:
        request = ApifyRequest(
            method=method,
            segments=tuple(path.removeprefix("/v2/").split("/")),
            query=query,
            body=body,
            base_url=self._base_url(),
            token=self.headers.get("Authorization", "").removeprefix("Bearer "),
        )
        response = self.server.simulator.apify.respond(request)
        answer = json.dumps(response.body, ensure_ascii=False).encode()
        self._send(response.status, _JSON, answer, response.headers, spoiled_by=response.spoiled_by)

    def _library_media(self, name: str) -> None:
        picture = draw_picture(name.removesuffix("_n.jpg"))
        if picture is None:
            self._send(404, "text/plain", b"Not Found", [])
        else:
            self._send(200, "image/jpeg", picture, [])

    def _base_url(self) -> str:
        return f"http://{self.headers.get('Host') or urlsplit(self.server.simulator.url).netloc}"

    def _shop(self, path: str) -> None:
        simulator = self.server.simulator
        host = urlsplit(self._base_url()).hostname or ""
        with simulator.shops.visits.of(host, path):
            page = simulator.shops.serve(path, base_url=self._base_url(), now=simulator.now())
            self.server.stopping.wait(page.seconds)
            self._send(page.status, page.content_type, page.body, page.headers)

    def _cdn(self, path: str, query: dict[str, str]) -> None:
        simulator = self.server.simulator
        now, account = simulator.now(), simulator.cdn.account_of(path)
        file = simulator.cdn.serve(path, query, now=now, faults=simulator.faults)
        spoiled_by = simulator.faults.take(BODY_FAULTS, account, Endpoint.CDN)
        simulator.log(
            Call(
                at=now,
                method="GET",
                path=path,
                params=without_secrets(query),
                status=spoiled_status(spoiled_by, file.status),
                token_hash="",
                account=account,
                endpoint=Endpoint.CDN,
            )
        )
        self._send(
            file.status,
            file.content_type,
            file.body,
            [],
            spoiled_by=spoiled_by,
            padding=file.padding,
        )

    def _send(
        self,
        status: int,
        content_type: str,
        body: bytes,
        headers: Sequence[tuple[str, str]],
        *,
        spoiled_by: Fault | None = None,
        padding: int = 0,
    ) -> None:
        kind = spoiled_by.kind if spoiled_by else None
        if kind is FaultKind.DROPPED_CONNECTION:
            self.close_connection = True
            return
        if kind in {FaultKind.UNAVAILABLE, FaultKind.HTML_ERROR, FaultKind.HTML_OK}:
            status, content_type = spoiled_status(spoiled_by, status), "text/html; charset=utf-8"
            body = _HTML
        if kind is FaultKind.TRUNCATED_JSON:
            body = body[: len(body) // 2]
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body) + padding))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        if kind is FaultKind.BROKEN_BODY:
            self.wfile.write(body[: len(body) // 2])
            self.close_connection = True
        elif spoiled_by and kind is FaultKind.SLOW_BODY:
            self._trickle(body, spoiled_by.seconds)
        else:
            self.wfile.write(body)
            self._pad(padding)

    def _pad(self, padding: int) -> None:
        while padding > 0:
            self.wfile.write(bytes(min(_CHUNK, padding)))
            padding -= _CHUNK

    def _trickle(self, body: bytes, seconds: float) -> None:
        size = -(-len(body) // _SLOW_PIECES)
        for start in range(0, len(body), size):
            self.wfile.write(body[start : start + size])
            self.wfile.flush()
            if self.server.stopping.wait(seconds / _SLOW_PIECES):
                self.close_connection = True
                return

    def _control(self, method: str, what: str, body: bytes) -> None:
        simulator = self.server.simulator
        try:
            match method, what:
                case "GET", "calls":
                    answer: Any = {"calls": [call.to_json() for call in simulator.calls]}
                case "GET", "faults":
                    answer = _show_faults(simulator)
                case "POST", "faults":
                    simulator.faults.add(*_read_faults(body))
                    answer = _show_faults(simulator)
                case "DELETE", "faults":
                    simulator.faults.clear()
                    answer = _show_faults(simulator)
                case "POST", "reset":
                    simulator.reset()
                    answer = _show_faults(simulator)
                case _:
                    self._send(404, _JSON, b'{"error":"no such control route"}', [])
                    return
        except (TypeError, ValueError) as error:
            self._send(400, _JSON, json.dumps({"error": str(error)}).encode(), [])
            return
        self._send(200, _JSON, json.dumps(answer).encode(), [])


def _show_faults(simulator: SimulatorServer) -> dict[str, Any]:
    return {"faults": [fault.to_json() for fault in simulator.faults.active]}


def _read_faults(body: bytes) -> list[Fault]:
    values = json.loads(body)
    return [Fault.from_json(each) for each in (values if isinstance(values, list) else [values])]

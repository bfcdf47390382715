import socket
import socketserver
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from http import HTTPStatus

import pytest

Script = Callable[[socket.socket], None]


def whole_answer(
    body: bytes = b"", status: int = 200, headers: Mapping[str, str] | None = None
) -> bytes:
    fields = {"Content-Length": str(len(body)), **(headers or {})}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    reason = HTTPStatus(status).phrase
    return f"HTTP/1.1 {status} {reason}\r\n{head}\r\n".encode("latin-1") + body


class ScriptedServer(socketserver.ThreadingTCPServer):
    """A web server on 127.0.0.1 that answers, byte for byte, what a test has written for a path.

    Each path has a list of answers; the last one is given again and again. An answer is the bytes
    of a whole response, or a function that writes to the socket, which is closed after it.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.scripts: dict[str, list[bytes | Script]] = {}
        self.paths: list[str] = []
        self.cookies: list[str] = []
        self.connection_count = 0
        self.lock = threading.Lock()
        self.closing = threading.Event()

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    @property
    def host_and_port(self) -> str:
        return f"127.0.0.1:{self.port}"

    def url(self, path: str) -> str:
        return f"http://{self.host_and_port}{path}"

    def script(self, path: str, *answers: bytes | Script) -> str:
        self.scripts[path] = list(answers)
        return self.url(path)

    def answers(self, path: str, body: bytes = b"", status: int = 200, **headers: str) -> str:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.script(path, whole_answer(body, status, named))

    def trickle(self, head: bytes, drip: bytes) -> Script:
        """Sends the head, then the drip over and over, until somebody hangs up."""

        def write(connection: socket.socket) -> None:
            connection.sendall(head)
            while not self.closing.wait(0.01):
                connection.sendall(drip)

        return write

    def next_answer(self, path: str) -> bytes | Script:
        with self.lock:
            self.paths.append(path)
            answers = self.scripts.get(path.partition("?")[0], [whole_answer(b"", 404)])
            return answers.pop(0) if len(answers) > 1 else answers[0]


class _Connection(socketserver.StreamRequestHandler):
    server: ScriptedServer

    def handle(self) -> None:
        with self.server.lock:
            self.server.connection_count += 1
        with suppress(OSError):
            while request_line := self.rfile.readline():
                if not request_line.startswith(b"GET "):  # a TLS handshake: never answered
                    self.server.closing.wait()
                    return
                while header := self.rfile.readline().decode("latin-1").strip():
                    if header.lower().startswith("cookie:"):
                        self.server.cookies.append(header.partition(":")[2].strip())
                answer = self.server.next_answer(request_line.split()[1].decode())
                if not isinstance(answer, bytes):
                    answer(self.connection)
                    return
                self.connection.sendall(answer)


class BudgetsInMemory:
    """`written`: each reading's key, usage and end of its block, in the order they came."""

    def __init__(self) -> None:
        self.written: list[tuple[str, float, datetime | None]] = []
        self._blocked_until: dict[str, datetime] = {}
        self._lock = threading.Lock()

    def read_blocked_until(self, keys: Sequence[str]) -> dict[str, datetime]:
        with self._lock:
            return {key: until for key, until in self._blocked_until.items() if key in keys}

    def record(
        self, key: str, *, usage_pct: float, blocked_until: datetime | None, **_: object
    ) -> None:
        with self._lock:
            self.written.append((key, usage_pct, blocked_until))
            if blocked_until is not None:
                known = self._blocked_until.get(key, blocked_until)
                self._blocked_until[key] = max(known, blocked_until)


class Clock:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.instant = datetime(2026, 11, 21, 12, tzinfo=UTC)
        self.slept: list[float] = []
        self._lock = threading.Lock()

    def now(self) -> datetime:
        return self.instant

    def sleep(self, seconds: float) -> None:
        with self._lock:
            self.slept.append(seconds)
            self.instant += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store() -> BudgetsInMemory:
    return BudgetsInMemory()


@pytest.fixture
def scripted_server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.closing.set()
        server.shutdown()
        thread.join()

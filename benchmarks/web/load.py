"""Many requests at a time from one process: raw HTTP/1.1 over keep-alive connections.

An ordinary client takes longer to ask than our server to answer, on the same two cores; this one's
own cost is measured beside (`Load.client_ms`).
"""

import asyncio
import gc
import time
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.web.site import HOST, percentile


@dataclass(frozen=True)
class Load:
    """What so many requests took: milliseconds of each, and of both sides."""

    milliseconds: Sequence[float]
    seconds: float
    client_ms: float
    """CPU of this client for one request."""
    statuses: frozenset[int]

    @property
    def p50(self) -> float:
        """The median."""
        return percentile(self.milliseconds, 0.5)

    @property
    def p95(self) -> float:
        """What one in twenty takes longer than."""
        return percentile(self.milliseconds, 0.95)

    @property
    def per_second(self) -> float:
        """Requests answered in a second."""
        return len(self.milliseconds) / self.seconds


def get_request(path: str, **headers: str) -> bytes:
    """The bytes of a GET."""
    lines = [f"GET {path} HTTP/1.1", f"Host: {HOST}", *(f"{k}: {v}" for k, v in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode()


def closed_loop(port: int, requests: Sequence[bytes], *, connections: int) -> Load:
    """Ask all of them, so many at a time: each connection asks again as soon as it has its answer.

    The times are those from a request's first byte sent to its answer's last one received.
    """

    async def run() -> Load:
        wires = await _connect(port, connections)
        left = iter(requests)
        found: list[float] = []

        async def work(wire: _Wire) -> None:
            for request in left:
                began = time.perf_counter()
                await wire.ask(request)
                found.append(time.perf_counter() - began)

        return await _timed(wires, found, [work(wire) for wire in wires])

    return asyncio.run(run())


def open_loop(port: int, requests: Sequence[bytes], *, per_second: float) -> Load:
    """Ask so many in each second, whatever the answers take.

    The times begin when a request was due: one that has to wait for its predecessors counts that.
    """

    async def run() -> Load:
        wires = await _connect(port, 50)
        idle: asyncio.Queue[_Wire] = asyncio.Queue()
        for wire in wires:
            idle.put_nowait(wire)
        found: list[float] = []
        first = time.perf_counter() + 0.01

        async def work(number: int, request: bytes) -> None:
            due = first + number / per_second
            await asyncio.sleep(due - time.perf_counter())
            wire = await idle.get()
            await wire.ask(request)
            idle.put_nowait(wire)
            found.append(time.perf_counter() - due)

        return await _timed(wires, found, [work(*each) for each in enumerate(requests)])

    return asyncio.run(run())


async def _timed(
    wires: "Sequence[_Wire]", found: list[float], work: Sequence[Coroutine[Any, Any, None]]
) -> Load:
    gc.collect()
    gc.disable()  # a pause of ours would look like one of the server's
    began, used = time.perf_counter(), time.process_time()
    try:
        await asyncio.gather(*work)
    finally:
        gc.enable()
    seconds, used = time.perf_counter() - began, time.process_time() - used
    for wire in wires:
        wire.close()
    return Load(
        milliseconds=[each * 1_000 for each in found],
        seconds=seconds,
        client_ms=used * 1_000 / len(found),
        statuses=frozenset().union(*(wire.statuses for wire in wires)),
    )


async def _connect(port: int, count: int) -> "list[_Wire]":
    loop = asyncio.get_running_loop()
    return [(await loop.create_connection(_Wire, HOST, port))[1] for _ in range(count)]


class _Wire(asyncio.Protocol):
    """One connection, one request at a time."""

    def __init__(self) -> None:
        self.statuses: set[int] = set()
        self._received = b""
        self._answer: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def ask(self, request: bytes) -> "asyncio.Future[None]":
        """Send it; done when the whole answer is here."""
        self._received = b""
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return self._answer

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, separator, body = self._received.partition(b"\r\n\r\n")
        if not separator:
            return
        _, _, length = head.lower().partition(b"content-length: ")
        if len(body) >= int(length.partition(b"\r\n")[0] or 0):  # 304 has none
            self.statuses.add(int(head[9:12]))
            assert self._answer is not None
            self._answer.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error or ConnectionError("The server hung up."))

    def close(self) -> None:
        """Hang up."""
        self._transport.close()

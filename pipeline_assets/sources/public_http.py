"""Reads addresses that others chose, over connections that only ever lead to the public internet.

Media of ads and landing pages are named by data from outside, so their addresses may point at this
machine, its network or a cloud's metadata service. The check therefore sits where nothing can slip
past it: on the very address that is connected to, anew for each connection and each redirect.
Neither an odd spelling, a redirect nor a name that changes its answer between two look-ups (DNS
rebinding) gets through. Belongs here: addresses, connections, limits of time and size. Does not:
what the bytes mean, or which status is a failure.
"""

import socket
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import Any, Self
from urllib.parse import urljoin, urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.cookies import RequestsCookieJar, extract_cookies_to_jar
from urllib3 import exceptions as urllib3_errors
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    MaxRetryError,
    NameResolutionError,
    NewConnectionError,
)
from urllib3.poolmanager import PoolManager
from urllib3.response import BaseHTTPResponse, HTTPResponse
from urllib3.util.connection import create_connection

from pipeline_assets import __version__
from pipeline_assets.errors import PermanentError, SourceUnavailableError
from pipeline_assets.sources.public_addresses import (
    AddressGuard,
    AddressRefusedError,
    Resolve,
    parse_local_host,
    system_addresses,
)

MAX_REDIRECTS = 5
DEFAULT_USER_AGENT = f"pipeline-assets/{__version__}"

_REDIRECT_STATUSES = frozenset({301, 302, 303, 307, 308})
_CHUNK_BYTES = 64 * 1024
_HOSTS_KEPT_OPEN = 32  # connections are kept for so many hosts at a time
_SHOWN_CHARACTERS = 200


class TooManyRedirectsError(PermanentError):
    """The address redirects on and on."""


class BodyTooLargeError(PermanentError):
    """The answer is larger than its reader accepts."""


def shown_url(url: str) -> str:
    """The address as messages may show it: without user name, password and query, and short."""
    try:
        parts = urlsplit(url)
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
        port = f":{parts.port}" if parts.port is not None else ""
    except ValueError:
        return "(an address that cannot be parsed)"
    return f"{parts.scheme}://{host or ''}{port}{parts.path}"[:_SHOWN_CHARACTERS]


@contextmanager
def _time_limit(seconds: float, cut: Callable[[], object]) -> Iterator[threading.Event]:
    """Calls `cut` from another thread once the time is over, and sets the event that is yielded.

    A socket's own time-out starts anew with each byte, so a sender of one byte at a time would
    never meet it.
    """
    over = threading.Event()

    def end() -> None:
        over.set()
        with suppress(OSError, ValueError):  # the connection has ended by itself in the meantime
            cut()

    timer = threading.Timer(max(seconds, 0), end)
    timer.daemon = True
    timer.start()
    try:
        yield over
    finally:
        timer.cancel()


class _GuardedConnection(HTTPConnection):
    """Connects to no address but those that the guard has just checked."""

    def __init__(self, *args: Any, guard: AddressGuard, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._guard = guard

    def _new_conn(self) -> socket.socket:
        # `_dns_host` is the host with its final dot, which the resolver has to see.
        try:
            addresses = self._guard.addresses(self._dns_host, self.port)
        except socket.gaierror as error:
            raise NameResolutionError(self.host, self, error) from error
        seconds_each = (self.timeout or 0) / max(len(addresses), 1)
        failure: OSError | None = None
        for address in addresses:
            try:
                # An IP address is given, so no second look-up can answer differently.
                return create_connection(
                    (address, self.port), seconds_each, socket_options=self.socket_options
                )
            except OSError as error:
                failure = error
        if isinstance(failure, TimeoutError):
            raise ConnectTimeoutError(self, "no connection in time") from failure
        raise NewConnectionError(self, str(failure or "the name has no address")) from failure

    def getresponse(self) -> HTTPResponse:  # type: ignore[override]  # as in urllib3 itself
        """The response's head, whole within the read time-out however slowly it trickles."""
        connected = self.sock
        response: HTTPResponse | None = None
        with _time_limit(self.timeout or 0, lambda: connected.shutdown(socket.SHUT_RDWR)) as over:
            try:
                response = super().getresponse()
            except (OSError, HTTPException):
                if not over.is_set():
                    raise
        if response is None or over.is_set():
            if response is not None:  # a head that was cut short may look like a whole one
                response.close()
            raise TimeoutError("the response's head did not come in time")
        return response


class _GuardedTlsConnection(_GuardedConnection, HTTPSConnection):
    """The same, over TLS."""


class _GuardedPool(HTTPConnectionPool):
    ConnectionCls = _GuardedConnection


class _GuardedTlsPool(HTTPSConnectionPool):
    ConnectionCls = _GuardedTlsConnection


class _GuardedPoolManager(PoolManager):
    def __init__(self, guard: AddressGuard, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._guard = guard
        self.pool_classes_by_scheme = {"http": _GuardedPool, "https": _GuardedTlsPool}

    def _new_pool(
        self, scheme: str, host: str, port: int, request_context: dict[str, Any] | None = None
    ) -> HTTPConnectionPool:
        pool = super()._new_pool(scheme, host, port, request_context)
        pool.conn_kw["guard"] = self._guard
        return pool


class _GuardedAdapter(HTTPAdapter):
    def __init__(self, guard: AddressGuard, *, pool_size: int) -> None:
        self._guard = guard
        super().__init__(pool_connections=_HOSTS_KEPT_OPEN, pool_maxsize=pool_size)

    def init_poolmanager(
        self,
        connections: int,
        maxsize: int,
        block: bool = False,  # noqa: FBT001 - requests' own signature
        **pool_kwargs: Any,
    ) -> None:
        self.poolmanager = _GuardedPoolManager(
            self._guard, num_pools=connections, maxsize=maxsize, block=block, **pool_kwargs
        )


# ---- reading ----


@dataclass(frozen=True)
class PublicResponse:
    """An answer whose body has not been read yet.

    `url` is the final address, `redirects` those that led to it, in order; the keys of `headers`
    know no case.
    """

    url: str
    redirects: tuple[str, ...]
    status_code: int
    headers: Mapping[str, str]
    _raw: BaseHTTPResponse = field(repr=False)
    _deadline: float = field(repr=False)

    def chunks(self, *, max_bytes: int) -> Iterator[bytes]:
        """The whole body in pieces, as they come, gzip undone.

        Whatever `Content-Length` promises, no more than `max_bytes` are given out, and a body that
        ends before that length is an error.

        Raises: BodyTooLargeError, SourceUnavailableError (cut off, broken, or too slow).
        """
        if (self._raw.length_remaining or 0) > max_bytes:
            raise self._too_large(max_bytes)
        byte_count = 0
        with _time_limit(self._deadline - time.monotonic(), self._cut) as over:
            while chunk := self._read_chunk(over):
                byte_count += len(chunk)
                if byte_count > max_bytes:
                    raise self._too_large(max_bytes)
                yield chunk

    def _read_chunk(self, over: threading.Event) -> bytes:
        try:
            chunk = self._raw.read1(_CHUNK_BYTES, decode_content=True)
        except (HTTPError, OSError, ValueError) as error:
            if not over.is_set():
                raise SourceUnavailableError(
                    f"{shown_url(self.url)} broke off its answer ({_reason(error)})."
                ) from None
            chunk = b""
        if over.is_set():
            raise SourceUnavailableError(f"{shown_url(self.url)} answered too slowly.")
        return chunk

    def _cut(self) -> None:
        if not self._raw.closed:  # otherwise the connection may already serve somebody else
            self._raw.shutdown()

    def _too_large(self, max_bytes: int) -> BodyTooLargeError:
        return BodyTooLargeError(
            f"{shown_url(self.url)} is larger than the {max_bytes:,} bytes accepted."
        )


class PublicHttp:
    """Reads public http and https addresses. Thread safe; connections are kept and shared.

    `allow_private_hosts` names, as `host:port` and exactly as addresses spell it, who may be on
    this machine or its network (a metadata service still may not). Proxies, `.netrc` and
    certificates named by the environment are not used: a proxy would connect in our stead,
    unchecked. Cookies live as long as one chain of redirects. `pool_size` is how many threads read
    from one host at once without losing their connections.
    """

    def __init__(
        self,
        *,
        allow_private_hosts: Collection[str] = (),
        user_agent: str = DEFAULT_USER_AGENT,
        connect_timeout_seconds: float = 10,
        read_timeout_seconds: float = 20,
        pool_size: int = 16,
        resolve: Resolve = system_addresses,
    ) -> None:
        local_hosts = frozenset(parse_local_host(entry) for entry in allow_private_hosts)
        self._adapter = _GuardedAdapter(AddressGuard(local_hosts, resolve), pool_size=pool_size)
        self._headers = {"User-Agent": user_agent, "Accept": "*/*", "Accept-Encoding": "gzip"}
        self._connect_timeout_seconds = connect_timeout_seconds
        self._read_timeout_seconds = read_timeout_seconds

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections that are kept."""
        self._adapter.close()

    @contextmanager
    def open(
        self,
        url: str,
        *,
        total_seconds: float,
        on_redirect: Callable[[str], None] | None = None,
    ) -> Iterator[PublicResponse]:
        """The answer to a GET, whatever its status, after at most five redirects.

        `total_seconds` covers everything up to the body's last byte, except that the system's name
        look-ups keep their own time. `on_redirect` is called with each address that a redirect
        leads to, before it is asked for; what it raises ends the chain, its time is not counted.

        Raises: AddressRefusedError, TooManyRedirectsError, SourceUnavailableError.
        """
        deadline = time.monotonic() + total_seconds
        cookies = RequestsCookieJar()
        redirects: list[str] = []
        while True:
            response = self._get(url, cookies, deadline)
            try:
                target = _redirect_target(response)
                if target is None:
                    yield PublicResponse(
                        response.url,
                        tuple(redirects),
                        response.status_code,
                        response.headers,
                        response.raw,
                        deadline,
                    )
                    return
            finally:
                response.close()
            redirects.append(response.url)
            if len(redirects) > MAX_REDIRECTS:
                raise TooManyRedirectsError(
                    f"{shown_url(redirects[0])} redirects more than {MAX_REDIRECTS} times."
                )
            if on_redirect is not None:
                called_at = time.monotonic()
                on_redirect(target)
                deadline += time.monotonic() - called_at
            url = target

    def _get(self, url: str, cookies: RequestsCookieJar, deadline: float) -> requests.Response:
        """One answer, redirect or not, its body unread.

        The adapter is called directly: a `requests.Session` would read the body of a redirect,
        however large, even when it is told not to follow.
        """
        request = _prepare(url, self._headers, cookies)
        left_seconds = deadline - time.monotonic()
        if left_seconds <= 0:
            raise SourceUnavailableError(f"{shown_url(url)} answered too slowly.")
        try:
            response = self._adapter.send(
                request,
                stream=True,
                timeout=(
                    min(self._connect_timeout_seconds, left_seconds),
                    min(self._read_timeout_seconds, left_seconds),
                ),
            )
        except (HTTPError, OSError, ValueError) as error:
            # Not chained: the libraries' messages quote the whole address with its signature.
            raise SourceUnavailableError(
                f"{shown_url(url)} gave no answer ({_reason(error)})."
            ) from None
        extract_cookies_to_jar(cookies, request, response.raw)  # type: ignore[no-untyped-call]
        return response


def _prepare(
    url: str, headers: Mapping[str, str], cookies: RequestsCookieJar
) -> requests.PreparedRequest:
    """The request as it will be sent, its address checked in the form that is sent."""
    try:
        request = requests.Request("GET", url, headers=headers, cookies=cookies).prepare()
        parts = urlsplit(request.url or "")
        has_user = parts.username is not None or parts.password is not None
    except ValueError:  # all that requests and urllib3 say about addresses is a ValueError
        raise AddressRefusedError(f"{shown_url(url)} is no web address.") from None
    if parts.scheme not in {"http", "https"}:
        raise AddressRefusedError(f"{shown_url(url)} is neither http nor https.")
    if has_user:
        raise AddressRefusedError(f"{shown_url(url)} carries a user name; it is not sent.")
    return request


def _redirect_target(response: requests.Response) -> str | None:
    """Where the answer sends its reader, as an absolute address; None when it does not."""
    location = response.headers.get("Location")
    if response.status_code not in _REDIRECT_STATUSES or not location:
        return None
    with suppress(UnicodeError):  # header bytes are read as Latin-1; addresses are UTF-8
        location = location.encode("latin-1").decode("utf-8")
    try:
        return urljoin(response.url, location)
    except ValueError:
        raise AddressRefusedError(
            f"{shown_url(response.url)} redirects to something that is no web address."
        ) from None


_REASONS = (
    (NameResolutionError, "its name is not found"),
    (NewConnectionError, "no connection"),
    ((requests.exceptions.Timeout, TimeoutError, urllib3_errors.TimeoutError), "timed out"),
    (
        (requests.exceptions.SSLError, urllib3_errors.SSLError),
        "its TLS certificate or handshake is not valid",
    ),
)


def _reason(error: Exception) -> str:
    """A few words on what went wrong that quote neither address nor header."""
    inner = error.args[0] if error.args else None
    if isinstance(inner, MaxRetryError) and inner.reason is not None:
        error = inner.reason
    for kind, words in _REASONS:
        if isinstance(error, kind):
            return words
    return type(error).__name__

"""Reads addresses that others chose, over connections that only ever lead to the public internet.

Media of ads and landing pages are named by data from outside, so their addresses may point at this
machine, its network or a cloud's metadata service. The check therefore sits where nothing can slip
past it: on the very address that is connected to, anew for each connection and each redirect.
Neither an odd spelling, a redirect nor a name that changes its answer between two look-ups (DNS
rebinding) gets through. Belongs here: addresses, connections, limits of time and size. Does not:
what the bytes mean, or which status is a failure.

Source: the IANA IPv4 and IPv6 Special-Purpose Address Registries (RFC 6890).
"""

import socket
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPException
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
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
from pipeline_assets.errors import InvalidConfigError, PermanentError, SourceUnavailableError

MAX_REDIRECTS = 5
DEFAULT_USER_AGENT = f"pipeline-assets/{__version__}"

_REDIRECT_STATUSES = frozenset({301, 302, 303, 307, 308})
_CHUNK_BYTES = 64 * 1024
_ADDRESSES_TRIED = 4  # a name with a hundred dead addresses may not hold a worker for long
_HOSTS_KEPT_OPEN = 32  # connections are kept for so many hosts at a time
_SHOWN_CHARACTERS = 200

Resolve = Callable[[str], Iterable[str]]
"""The IP addresses of a host name. Raises: socket.gaierror when it has none."""


class AddressRefusedError(InvalidConfigError):
    """The address is none that may be read: not http(s), not parsable, or not public."""


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


def system_addresses(host: str) -> list[str]:
    """What the system's resolver answers. Raises: socket.gaierror."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


# ---- which addresses are public ----

_NEVER = {
    ip_network(network): what
    for network, what in {
        "169.254.0.0/16": "a link-local or metadata address",
        "100.100.100.200/32": "a metadata address",
        "168.63.129.16/32": "a metadata address",  # Azure's, though not marked special by IANA
        "fd00:ec2::254/128": "a metadata address",
        "0.0.0.0/8": "an address of this host",
        "192.0.0.0/24": "a reserved address",
        "192.0.2.0/24": "a reserved address",
        "192.88.99.0/24": "a reserved address",
        "198.18.0.0/15": "a reserved address",
        "198.51.100.0/24": "a reserved address",
        "203.0.113.0/24": "a reserved address",
        "224.0.0.0/4": "a multicast address",
        "240.0.0.0/4": "a reserved address",
        "2001::/23": "a reserved address",  # Teredo and other protocols' own
        "2001:db8::/32": "a reserved address",
        "2002::/16": "a 6to4 address",
        "3fff::/20": "a reserved address",
    }.items()
}
_LOCAL = {
    ip_network(network): what
    for network, what in {
        "127.0.0.0/8": "a loopback address",
        "::1/128": "a loopback address",
        "10.0.0.0/8": "a private address",
        "172.16.0.0/12": "a private address",
        "192.168.0.0/16": "a private address",
        "100.64.0.0/10": "a private address",  # carrier-grade NAT
        "fc00::/7": "a private address",
    }.items()
}
_GLOBAL_IPV6 = ip_network("2000::/3")
"""The only part of IPv6 that IANA hands out; IPv4-mapped, NAT64, link-local and multicast are
outside of it."""


def _what_is_wrong(address: IPv4Address | IPv6Address, *, may_be_local: bool) -> str | None:
    """What kind of address it is, when it is none that may be connected to."""
    for networks, allowed in ((_NEVER, False), (_LOCAL, may_be_local)):
        for network, what in networks.items():
            if address in network:
                return None if allowed else what
    if address.version == 6 and address not in _GLOBAL_IPV6:
        return "not a public IPv6 address"
    return None


@dataclass(frozen=True)
class _Guard:
    """Decides which IP addresses stand behind a host and port and may be connected to."""

    local_hosts: frozenset[tuple[str, int]]
    resolve: Resolve

    def addresses(self, host: str, port: int) -> list[str]:
        """The addresses to connect to, in the resolver's order; never one that is not allowed.

        One bad address among good ones refuses the host.

        Raises: AddressRefusedError, socket.gaierror.
        """
        may_be_local = (host.rstrip(".").lower(), port) in self.local_hosts
        try:
            found = [ip_address(text) for text in dict.fromkeys(self.resolve(host))]
        except ValueError:  # also what the standard library says to names that cannot be names
            raise AddressRefusedError(f"'{host[:_SHOWN_CHARACTERS]}' is no host name.") from None
        for address in found:
            if wrong := _what_is_wrong(address, may_be_local=may_be_local):
                raise AddressRefusedError(
                    f"{host[:_SHOWN_CHARACTERS]}:{port} leads to {address}, {wrong}; "
                    "only public addresses are read.",
                    advice="Correct the address; a host of your own network that should be read "
                    "belongs into PIPELINE_ALLOW_PRIVATE_HOSTS as host:port.",
                )
        return [str(address) for address in found[:_ADDRESSES_TRIED]]


def _parse_local_host(entry: str) -> tuple[str, int]:
    """The host and port of a `host:port` entry. Raises: InvalidConfigError."""
    try:
        parts = urlsplit(f"//{entry}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host or port is None or parts.netloc != entry or "@" in entry:
        raise InvalidConfigError(
            f"'{entry}' does not name a host that may be private.",
            advice="Write it as host:port, for example 127.0.0.1:8080 or [::1]:8080.",
        )
    return host.rstrip("."), port


# ---- connections that ask the guard ----


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

    def __init__(self, *args: Any, guard: _Guard, **kwargs: Any) -> None:
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
    def __init__(self, guard: _Guard, **kwargs: Any) -> None:
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
    def __init__(self, guard: _Guard, *, pool_size: int) -> None:
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
        local_hosts = frozenset(_parse_local_host(entry) for entry in allow_private_hosts)
        self._adapter = _GuardedAdapter(_Guard(local_hosts, resolve), pool_size=pool_size)
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
    def open(self, url: str, *, total_seconds: float) -> Iterator[PublicResponse]:
        """The answer to a GET, whatever its status, after at most five redirects.

        `total_seconds` covers everything up to the body's last byte, except that the system's name
        look-ups keep their own time.

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

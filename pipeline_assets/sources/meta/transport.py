"""One HTTP exchange with the Graph API: the request out, JSON and headers back.

Belongs here: the session, time-outs, keeping the token out of addresses and logs, telling a broken
answer from a good one. Does not: retries, limits, the meaning of errors.
"""

import contextlib
import copy
import hashlib
import hmac
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http.cookiejar import DefaultCookiePolicy
from typing import Any, Self

import orjson
import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase

from pipeline_assets.errors import InvalidConfigError
from pipeline_assets.redaction import redact, register_secret

_CHUNK_BYTES = 1 << 18  # at most; about what a socket holds at a time
_POOL_SIZE = 16  # more connections than an ingest has threads: none is thrown away


class BrokenAnswerError(Exception):
    """No usable answer: dropped, late, HTML or cut off. Its text is ours and free of secrets."""


@dataclass(frozen=True)
class Answer:
    """What came back. `body` is the parsed JSON; `headers` finds names in any case."""

    status: int
    headers: Mapping[str, str]
    body: Any


class _BearerAuth(AuthBase):
    """Sets the token as a header; being set, it keeps requests from asking ~/.netrc instead."""

    def __init__(self, token: str) -> None:
        self._header = f"Bearer {token}"

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = self._header
        return request


class _RedactingFilter(logging.Filter):
    """Masks secrets in urllib3's debug lines, which hold the address with its parameters."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = redact(record.getMessage()), ()
        return True


_REDACTING_FILTER = _RedactingFilter()


class GraphTransport:
    """Exchanges with one Graph host on behalf of one token; safe to share between threads."""

    def __init__(
        self,
        *,
        token: str,
        app_secret: str,
        base_url: str,
        connect_timeout_seconds: float,
        read_timeout_seconds: float,
        total_timeout_seconds: float,
    ) -> None:
        if not token:
            raise InvalidConfigError("There is no Meta token to call the Graph API with.")
        if not base_url.startswith(("https://", "http://")):
            raise InvalidConfigError(f"The Graph API's address {base_url!r} is not an http(s) one.")
        register_secret(app_secret)
        self._app_secret = app_secret
        self.base_url = base_url.rstrip("/")
        self._use_token(token)
        self._timeout = (connect_timeout_seconds, read_timeout_seconds)
        self._total_timeout_seconds = total_timeout_seconds
        self._session = _make_session()

    def with_token(self, token: str) -> Self:
        """The same, sharing its connections, on behalf of another token of the same app."""
        other = copy.copy(self)
        other._use_token(token)  # noqa: SLF001 - a copy of this very object
        return other

    def _use_token(self, token: str) -> None:
        register_secret(token)
        self.token = token
        self._auth = _BearerAuth(token)
        self._proof: dict[str, str] = {}
        if self._app_secret:
            key = self._app_secret.encode()
            proof = hmac.new(key, token.encode(), hashlib.sha256).hexdigest()
            register_secret(proof)
            self._proof = {"appsecret_proof": proof}

    def exchange(
        self, method: str, path: str, params: Mapping[str, str], *, bearer: str = ""
    ) -> Answer:
        """Send one call; `bearer` stands in for the token (debug_token wants the app's).

        Raises:
            BrokenAnswerError: nothing usable came back.
        """
        # debug_token is judged by its own credentials, which no proof of our token fits.
        sent = dict(params) if bearer else {**params, **self._proof}
        deadline = time.monotonic() + self._total_timeout_seconds
        try:
            with self._session.request(
                method,
                f"{self.base_url}/{path}",
                params=sent if method == "GET" else None,
                data=sent if method == "POST" else None,
                auth=_BearerAuth(bearer) if bearer else self._auth,
                timeout=self._timeout,
                stream=True,
                allow_redirects=False,
            ) as response:
                content = self._read_body(response, deadline)
                return Answer(response.status_code, response.headers, _parse(content, response))
        except requests.ConnectTimeout:
            problem = f"{self.base_url} did not take the connection in time"
        except requests.ConnectionError as error:
            problem = f"{self.base_url}: {_connection_problem(error)}"
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            problem = f"the call to {self.base_url} failed ({type(error).__name__})"
        # Raised here and not above, so that not even as its context does it carry the library's
        # error, whose text holds the address with its parameters.
        raise BrokenAnswerError(problem)

    def _read_body(self, response: requests.Response, deadline: float) -> bytes:
        """The whole body; a read time-out alone would let one byte a minute go on for hours."""
        parts = []
        while part := response.raw.read1(_CHUNK_BYTES, decode_content=True):
            parts.append(part)
            if time.monotonic() > deadline:
                raise BrokenAnswerError(
                    f"the answer was not complete after {self._total_timeout_seconds:g} s"
                )
        return b"".join(parts)

    def close(self) -> None:
        """Close the connections that are idle; a call under way ends by itself."""
        self._session.close()


def _make_session() -> requests.Session:
    session = requests.Session()
    adapter = HTTPAdapter(pool_connections=2, pool_maxsize=_POOL_SIZE)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    # A cookie jar shared by threads is not safe, and the API needs none.
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    logging.getLogger("urllib3.connectionpool").addFilter(_REDACTING_FILTER)
    return session


def _connection_problem(error: requests.ConnectionError) -> str:
    """What went wrong, in words of our own: the library's text holds the address."""
    reason = getattr(error.args[0] if error.args else None, "reason", None)
    if isinstance(reason, urllib3.exceptions.NameResolutionError):
        return "its name cannot be resolved"
    if isinstance(reason, urllib3.exceptions.NewConnectionError):
        return "it takes no connection"
    return "the connection ended before the answer did"


def _parse(content: bytes, response: requests.Response) -> Any:
    """The JSON; Meta sends it as text/javascript too, so only the content decides."""
    with contextlib.suppress(orjson.JSONDecodeError):
        return orjson.loads(content)
    kind = "HTML" if content.lstrip()[:1] == b"<" else "broken JSON"
    raise BrokenAnswerError(f"HTTP {response.status_code} with {kind} of {len(content)} bytes")

"""One HTTP exchange with the Graph API: the request out, JSON and headers back.

Belongs here: the session, time-outs, keeping the token out of addresses and logs, telling a broken
answer from a good one. Does not: retries, limits, the meaning of errors.
"""

import contextlib
import copy
import hashlib
import hmac
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import requests
from requests.adapters import HTTPAdapter

from pipeline_assets.errors import InvalidConfigError
from pipeline_assets.redaction import redact, register_secret
from pipeline_assets.sources.api_http import (
    BearerAuth,
    BrokenAnswerError,
    RawAnswer,
    exchange,
    open_session,
    read_json,
)

_POOL_SIZE = 16  # more connections than an ingest has threads: none is thrown away


@dataclass(frozen=True)
class Answer:
    """What came back. `body` is the parsed JSON; `headers` finds names in any case."""

    status: int
    headers: Mapping[str, str]
    body: Any


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
        self._auth = BearerAuth(token)
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
        answer = exchange(
            self._session,
            method,
            f"{self.base_url}/{path}",
            total_seconds=self._total_timeout_seconds,
            timeout=self._timeout,
            params=sent if method == "GET" else None,
            data=sent if method == "POST" else None,
            auth=BearerAuth(bearer) if bearer else self._auth,
        )
        return Answer(answer.status, answer.headers, _parse(answer))

    def close(self) -> None:
        """Close the connections that are idle; a call under way ends by itself."""
        self._session.close()


def _make_session() -> requests.Session:
    session = open_session()
    adapter = HTTPAdapter(pool_connections=2, pool_maxsize=_POOL_SIZE)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    logging.getLogger("urllib3.connectionpool").addFilter(_REDACTING_FILTER)
    return session


def _parse(answer: RawAnswer) -> Any:
    """The JSON; Meta sends it as text/javascript too, so only the content decides."""
    content = answer.content
    with contextlib.suppress(ValueError):
        return read_json(content)
    kind = "HTML" if content.lstrip()[:1] == b"<" else "broken JSON"
    raise BrokenAnswerError(f"HTTP {answer.status} with {kind} of {len(content)} bytes")

"""HTTP with APIs that we are known to: a session that keeps nothing, and one exchange on it.

Belongs here: what is the same whoever the API is. Does not: retries, limits, what an answer means;
addresses that others give us (`public_http.py`).
"""

import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http.cookiejar import DefaultCookiePolicy
from typing import Any
from urllib.parse import urlsplit

import orjson
import requests
import urllib3
from requests.auth import AuthBase

_SURROGATE = re.compile("[\ud800-\udfff]")
_CHUNK_BYTES = 1 << 18  # at most; about what a socket holds at a time


class BrokenAnswerError(Exception):
    """No usable answer: dropped, late, HTML or cut off. Its text is ours and free of secrets."""


class BearerAuth(AuthBase):
    """Sets the token as a header; being set, it keeps requests from asking ~/.netrc instead."""

    def __init__(self, token: str) -> None:
        self._header = f"Bearer {token}"

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """As requests calls it for each request."""
        request.headers["Authorization"] = self._header
        return request


@dataclass(frozen=True)
class RawAnswer:
    """A whole answer; `headers` finds names in any case."""

    status: int
    headers: Mapping[str, str]
    content: bytes


def open_session() -> requests.Session:
    """A session without cookies: a jar shared by threads is not safe, and no API needs one."""
    session = requests.Session()
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    return session


def exchange(
    session: requests.Session, method: str, url: str, *, total_seconds: float, **sent: Any
) -> RawAnswer:
    """Send one call, with `sent` as requests takes it; a redirect is not followed.

    Raises:
        BrokenAnswerError: no whole answer came, or not within `total_seconds`; a read time-out
            alone would let one byte a minute go on for hours.
    """
    host = urlsplit(url).netloc.rpartition("@")[2]
    try:
        return _exchange(session, method, url, total_seconds, sent)
    except TimeoutError:
        problem = f"the answer was not complete after {total_seconds:g} s"
    except requests.ConnectTimeout:
        problem = f"{host} did not take the connection in time"
    except requests.ConnectionError as error:
        problem = _connection_problem(error, host)
    except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
        problem = f"the call to {host} failed ({type(error).__name__})"
    # Raised here and not above, so that not even as its context does it carry the library's error,
    # whose text holds the address with its parameters.
    raise BrokenAnswerError(problem)


def _exchange(
    session: requests.Session, method: str, url: str, total_seconds: float, sent: Mapping[str, Any]
) -> RawAnswer:
    deadline = time.monotonic() + total_seconds
    parts = []
    with session.request(method, url, stream=True, allow_redirects=False, **sent) as response:
        while part := response.raw.read1(_CHUNK_BYTES, decode_content=True):
            parts.append(part)
            if time.monotonic() > deadline:
                raise TimeoutError
        return RawAnswer(response.status_code, response.headers, b"".join(parts))


def _connection_problem(error: requests.ConnectionError, host: str) -> str:
    reason = getattr(error.args[0] if error.args else None, "reason", None)
    if isinstance(reason, urllib3.exceptions.NameResolutionError):
        return f"the name of {host} cannot be resolved"
    if isinstance(reason, urllib3.exceptions.NewConnectionError):
        return f"{host} takes no connection"
    return f"the connection to {host} ended before the answer did"


def read_json(content: bytes | str) -> Any:
    """What an answer says; half of a pair of surrogates, as a text cut in mid-emoji ends, is �.

    Raises: ValueError: it is no JSON.
    """
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError:
        try:
            text = json.dumps(json.loads(content), ensure_ascii=False)  # it lets the halves pass
        except RecursionError:
            raise ValueError("nested too deeply") from None
        return orjson.loads(_SURROGATE.sub("\ufffd", text))


def read_number(headers: Mapping[str, str], name: str) -> float | None:
    """A header's number; None where it is missing or none, as a date in Retry-After is."""
    text = headers.get(name, "")
    return float(text) if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text) else None

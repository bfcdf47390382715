"""Asking for one address the polite way: in the host's turn, as robots.txt allows, patiently.

Belongs here: turns, robots.txt, redirects, tries. Does not: what an answer means (`judging.py`).
"""

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from pipeline_assets.clock import utcnow
from pipeline_assets.errors import SourceUnavailableError
from pipeline_assets.sources.public_addresses import AddressRefusedError
from pipeline_assets.sources.public_http import (
    BodyTooLargeError,
    PublicHttp,
    PublicResponse,
    TooManyRedirectsError,
    shown_url,
)
from pipeline_assets.sources.web_pages.hosts import Host, Hosts, Sleep
from pipeline_assets.sources.web_pages.robots import ALLOW_ALL, RobotsRules, rules_of_answer

TOTAL_SECONDS = 30.0
"""For one request with its redirects, the body included."""
MAX_PAGE_BYTES = 5_000_000
MAX_WAIT_SECONDS = 10.0
"""A host that asks for a longer pause is left alone for the run."""

_TRIES = 2
_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 10.0**6  # for messages: some hosts send nonsense
_BUSY = frozenset({429, 500, 502, 503, 504})
_ROBOTS_BYTES_READ = 5_000_000


class DisallowedError(Exception):
    """robots.txt keeps our reader out; the message says whose and why."""


class HostBusyError(Exception):
    """The host asks for a longer pause than a run waits; `answer` is what it said."""

    def __init__(self, message: str, answer: "Answer") -> None:
        super().__init__(message)
        self.answer = answer


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A whole answer; `body` is None where `Requester` was told not to read it."""

    url: str
    redirect_count: int
    status_code: int
    headers: Mapping[str, str]
    body: bytes | None


@dataclass
class Stopwatch:
    """Counts the seconds that hosts took to answer, and redirects, also when it ends badly."""

    seconds: float = 0.0
    redirect_count: int = 0
    _began: float | None = field(default=None, repr=False)

    def start(self) -> None:
        """Count from now."""
        self._began = time.monotonic()

    def stop(self) -> None:
        """Count no further until it is started again."""
        if self._began is not None:
            self.seconds += time.monotonic() - self._began
            self._began = None


class Requester:
    """Asks hosts for pages; thread safe. What robots.txt says is remembered as long as it lives."""

    def __init__(self, http: PublicHttp, *, sleep: Sleep) -> None:
        self._http = http
        self._hosts = Hosts(sleep)
        self._robots: dict[str, RobotsRules | SourceUnavailableError] = {}
        self._robots_locks: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()

    def ask(
        self, url: str, watch: Stopwatch, *, reads_body: Callable[[PublicResponse], bool]
    ) -> Answer:
        """The page's answer, whatever its status, asked for a second time when it was broken.

        `reads_body` decides by status and headers whether the body is wanted.

        Raises: DisallowedError, HostBusyError, HostClosedError, AddressRefusedError,
        TooManyRedirectsError, BodyTooLargeError, SourceUnavailableError.
        """
        return self._ask(url, watch, rules_of=self._rules_of, reads_body=reads_body)

    def _ask(
        self,
        url: str,
        watch: Stopwatch,
        *,
        rules_of: Callable[[str], RobotsRules],
        reads_body: Callable[[PublicResponse], bool],
        max_bytes: int = MAX_PAGE_BYTES,
    ) -> Answer:
        for tries_left in reversed(range(_TRIES)):
            turns = _Turns(self._hosts, rules_of, watch)
            try:
                turns.enter(url)
                answer = self._ask_once(url, turns, reads_body=reads_body, max_bytes=max_bytes)
                turns.note_answer()
                if answer.status_code not in _BUSY:
                    return answer
                turns.rest(_pause_seconds(answer), answer)
                if not tries_left:
                    return answer
            except SourceUnavailableError:
                turns.note_silence()
                if not tries_left:
                    raise
            finally:
                turns.leave()
        raise AssertionError("the last try returns or raises")

    def _ask_once(
        self,
        url: str,
        turns: "_Turns",
        *,
        reads_body: Callable[[PublicResponse], bool],
        max_bytes: int,
    ) -> Answer:
        with self._http.open(
            url, total_seconds=TOTAL_SECONDS, on_redirect=turns.follow
        ) as response:
            is_wanted = reads_body(response)
            body = b"".join(response.chunks(max_bytes=max_bytes)) if is_wanted else None
            return Answer(
                url=response.url,
                redirect_count=len(response.redirects),
                status_code=response.status_code,
                headers=response.headers,
                body=body,
            )

    def _rules_of(self, url: str) -> RobotsRules:
        """The rules for an address, read once for each scheme, host and port.

        Raises: SourceUnavailableError when the host cannot be asked: nothing may be read there.
        """
        try:
            parts = urlsplit(url)
            origin = f"{parts.scheme}://{parts.netloc.lower()}"
        except ValueError:
            return ALLOW_ALL  # no address at all: the page's own request says so
        with self._lock:
            lock = self._robots_locks.setdefault(origin, threading.Lock())
        with lock:
            if origin not in self._robots:
                self._robots[origin] = self._read_rules(f"{origin}/robots.txt")
            known = self._robots[origin]
        if isinstance(known, SourceUnavailableError):
            raise known
        return known

    def _read_rules(self, url: str) -> RobotsRules | SourceUnavailableError:
        try:
            answer = self._ask(
                url,
                Stopwatch(),
                rules_of=lambda _: ALLOW_ALL,
                reads_body=lambda response: response.status_code < 300,
                max_bytes=_ROBOTS_BYTES_READ,
            )
        except HostBusyError as error:
            answer = error.answer
        except SourceUnavailableError as error:
            return SourceUnavailableError(f"robots.txt cannot be read: {error}")
        except (AddressRefusedError, TooManyRedirectsError, BodyTooLargeError):
            # There is no file that could be read. A host that is itself refused refuses the page.
            return ALLOW_ALL
        return rules_of_answer(answer.status_code, answer.body or b"")


class _Turns:
    """The turns of one request on its way through redirects: never of two hosts at once."""

    def __init__(
        self, hosts: Hosts, rules_of: Callable[[str], RobotsRules], watch: Stopwatch
    ) -> None:
        self._hosts = hosts
        self._rules_of = rules_of
        self._watch = watch
        self._host: Host | None = None
        watch.redirect_count = 0

    def enter(self, url: str) -> None:
        """Take the turn of the host that the address names, when its robots.txt allows the page.

        Raises: DisallowedError, HostClosedError, SourceUnavailableError.
        """
        rules = self._rules_of(url)
        if not rules.allows(url):
            raise DisallowedError(
                rules.problem or f"robots.txt of {_host_of(url)} asks not to read {shown_url(url)}."
            )
        host = self._hosts.of(url)
        host.take_turn(rules.delay_seconds)
        self._host = host
        self._watch.start()

    def follow(self, url: str) -> None:
        """Go on to where a redirect leads."""
        self._watch.redirect_count += 1
        self.leave()
        self.enter(url)

    def leave(self) -> None:
        """Give the turn back, if one was taken."""
        self._watch.stop()
        if self._host is not None:
            self._host.give_turn_back()
            self._host = None

    def note_answer(self) -> None:
        """Count a request that got its answer."""
        if self._host is not None:
            self._host.note_answer(has_answered=True)

    def note_silence(self) -> None:
        """Count a request that got no answer, and let the host rest before the next."""
        if self._host is not None:
            self._host.note_answer(has_answered=False)
            self._host.pause(_PAUSE_SECONDS)

    def rest(self, seconds: float, answer: Answer) -> None:
        """Leave a busy host alone for as long as it asks.

        Raises: HostBusyError when that is longer than a run waits.
        """
        assert self._host is not None  # its answer has just been read in its turn
        if seconds > MAX_WAIT_SECONDS:
            reason = f"The host answered {answer.status_code} and wants {seconds:,.0f} s of rest."
            self._host.close(reason)
            raise HostBusyError(reason, answer)
        self._host.pause(seconds)


def _host_of(url: str) -> str:
    """The host for messages."""
    return shown_url(url).split("://", 1)[-1].split("/", 1)[0]


def _pause_seconds(answer: Answer) -> float:
    """How long a busy host wants to be left alone; a second when it does not say."""
    said = answer.headers.get("Retry-After", "").strip()
    if said.isdecimal():
        return min(float(said), _LONGEST_PAUSE_SECONDS)
    with suppress(ValueError, TypeError, OverflowError):
        return max((_aware(parsedate_to_datetime(said)) - utcnow()).total_seconds(), 0.0)
    return _PAUSE_SECONDS


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)

"""Whose turn it is: one request at a time on a host, with the pauses that the host asks for."""

import threading
import time
from collections.abc import Callable
from urllib.parse import urlsplit

Sleep = Callable[[float], object]

_MOST_FAILURES = 3
"""After so many requests in a row without an answer, a host is left alone for the run."""


class HostClosedError(Exception):
    """The host is left alone for the rest of the run; the message says why."""


class Host:
    """One host: its turn is taken before each request and given back after the answer."""

    def __init__(self, sleep: Sleep) -> None:
        self._sleep = sleep
        self._turn = threading.Lock()
        self._free_at = 0.0
        self._delay_seconds = 0.0
        self._failures = 0
        self._closed: str | None = None

    def take_turn(self, delay_seconds: float) -> None:
        """Wait for the turn; `delay_seconds` is the pause that the host wants after it.

        Raises: HostClosedError.
        """
        self._turn.acquire()
        wait = self._free_at - time.monotonic()
        if self._closed is None and wait > 0:
            self._sleep(wait)
        if self._closed is not None:
            self._turn.release()
            raise HostClosedError(self._closed)
        self._delay_seconds = delay_seconds

    def give_turn_back(self) -> None:
        """Let the next one ask, after the host's pause."""
        self._free_at = max(self._free_at, time.monotonic() + self._delay_seconds)
        self._turn.release()

    def pause(self, seconds: float) -> None:
        """Let nobody ask for so long."""
        self._free_at = max(self._free_at, time.monotonic() + seconds)

    def close(self, reason: str) -> None:
        """Let nobody ask any more."""
        self._closed = reason

    def note_answer(self, *, has_answered: bool) -> None:
        """Count what a request came to; a host that is silent again and again is closed."""
        self._failures = 0 if has_answered else self._failures + 1
        if self._failures >= _MOST_FAILURES:
            self.close(f"The host gave no answer {self._failures} times in a row.")


class Hosts:
    """Every host of a run by its name; thread safe."""

    def __init__(self, sleep: Sleep) -> None:
        self._sleep = sleep
        self._lock = threading.Lock()
        self._hosts: dict[str, Host] = {}

    def of(self, url: str) -> Host:
        """The host that an address names, whatever scheme and port."""
        with self._lock:
            return self._hosts.setdefault(host_name(url), Host(self._sleep))


def host_name(url: str) -> str:
    """The host's name in lower case; empty for what is no address."""
    try:
        return (urlsplit(url).hostname or "").rstrip(".").lower()
    except ValueError:
        return ""

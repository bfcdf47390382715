"""The log of calls: what was asked, by whom, and what was answered; no secret is kept."""

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any

from pipeline_assets.simulator.faults import Endpoint

_SECRET_PARAMETERS = {"access_token", "appsecret_proof", "input_token", "batch"}


@dataclass(frozen=True, kw_only=True)
class Call:
    """One call; `status` 0 is a connection that was closed without an answer.

    `token_hash` tells tokens apart (the first 12 digits of SHA-256; empty without a token).
    """

    at: datetime
    method: str
    path: str
    params: Mapping[str, str]
    status: int
    token_hash: str
    account: str | None
    endpoint: Endpoint
    in_batch: bool = False

    def to_json(self) -> dict[str, Any]:
        """The call as `/__control/calls` shows it."""
        return {**vars(self), "at": self.at.isoformat(), "params": dict(self.params)}


def without_secrets(params: Mapping[str, str]) -> dict[str, str]:
    """The parameters that may be shown."""
    return {name: value for name, value in params.items() if name not in _SECRET_PARAMETERS}


def token_hash(token: str | None) -> str:
    """A short name for a token that does not give it away."""
    return sha256(token.encode()).hexdigest()[:12] if token else ""


class CallLog:
    """All calls since the last reset, in the order of their answers; safe across threads."""

    def __init__(self) -> None:
        self._calls: list[Call] = []
        self._counts: Counter[str | None] = Counter()
        self._lock = threading.Lock()

    def add(self, call: Call) -> None:
        """Keep one call."""
        with self._lock:
            self._calls.append(call)
            self._counts[call.account] += 1

    def __len__(self) -> int:
        return len(self._calls)

    def count(self, account: str | None) -> int:
        """How many calls an account had."""
        return self._counts[account]

    @property
    def all(self) -> tuple[Call, ...]:
        """Every call so far."""
        with self._lock:
            return tuple(self._calls)

    def clear(self) -> None:
        """Forget them."""
        with self._lock:
            self._calls.clear()
            self._counts.clear()

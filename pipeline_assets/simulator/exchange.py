"""Calls and answers, apart from how they travel."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline_assets.simulator.faults import Fault
from pipeline_assets.simulator.world import TokenSpec


@dataclass(frozen=True, kw_only=True)
class Request:
    """A call to the Graph API; `params` from query and form, `path` without them.

    `base_url` is without a path. `caller` is whose token it is, once that is known to be good.
    """

    method: str
    path: str
    params: Mapping[str, str]
    base_url: str
    header_token: str | None = None
    in_batch: bool = False
    caller: TokenSpec | None = None

    @property
    def token(self) -> str | None:
        """The token, wherever it was sent."""
        return self.params.get("access_token") or self.header_token


@dataclass(frozen=True, kw_only=True)
class Response:
    """An answer: JSON body, headers, and the fault that spoils how it is sent."""

    status: int
    body: Any
    headers: list[tuple[str, str]]
    spoiled_by: Fault | None = None


@dataclass(frozen=True)
class WireAnswer:
    """An answer as it goes over the wire."""

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()
    content_type: str = "application/json; charset=UTF-8"

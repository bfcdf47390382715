"""Up to 50 reads in one call; each item is judged, retried and counted on its own.

Source: Meta Graph API v26.0, "Batch requests" (50 at most; a null item timed out).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from pipeline_assets.errors import SourceUnavailableError
from pipeline_assets.sources.api_http import read_json
from pipeline_assets.sources.meta.client import GraphClient, encode_params
from pipeline_assets.sources.meta.graph_failures import (
    GraphFailure,
    Json,
    Remedy,
    TooMuchDataError,
    read_failure,
    remedy_for,
)
from pipeline_assets.sources.meta.rate_budget import Usage

BATCH_SIZE = 50  # Meta's limit
_ROUNDS = 4  # how often an item is sent at most


@dataclass(frozen=True)
class BatchRead:
    """One read of a batch: what it is of, and its call."""

    item_id: str
    path: str
    params: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class BatchResult:
    """What one read gave: a body, or why there is none."""

    item_id: str
    body: Json | None = None
    failure: GraphFailure | None = None


_TIMED_OUT = GraphFailure(status=0, message="Meta left the item unanswered")


def fetch_batched(
    client: GraphClient,
    reads: Sequence[BatchRead],
    *,
    account_id: str,
    usage: Usage = Usage.ADS_MANAGEMENT,
) -> Iterator[BatchResult]:
    """One result for each read; an item that fails for good does not touch the others.

    Items that were left out or met a hiccup are sent again, in smaller batches; so are those that
    met a limit, once it is lifted.

    Raises:
        CredentialError, RateLimitedError, SourceUnavailableError: what concerns all of them.
    """
    for start in range(0, len(reads), BATCH_SIZE):
        yield from _fetch_rounds(
            client, list(reads[start : start + BATCH_SIZE]), account_id=account_id, usage=usage
        )


def _fetch_rounds(
    client: GraphClient, pending: list[BatchRead], *, account_id: str, usage: Usage
) -> Iterator[BatchResult]:
    size = BATCH_SIZE
    for round_number in range(1, _ROUNDS + 1):
        again: list[BatchRead] = []
        last: dict[str, GraphFailure] = {}
        for start in range(0, len(pending), size):
            part = pending[start : start + size]
            for read, result in zip(
                part, _send(client, part, account_id=account_id, usage=usage), strict=True
            ):
                if result.failure is None or not _worth_repeating(result.failure):
                    yield result
                else:
                    again.append(read)
                    last[read.item_id] = result.failure
        if not again:
            return
        pending, size = again, max(size // 2, 1)
        if round_number < _ROUNDS:
            client.pause(round_number)
    for read in pending:
        failure = last[read.item_id]
        if remedy_for(failure) is Remedy.WAIT:
            raise client.error_for(failure, account_id)
        yield BatchResult(read.item_id, failure=failure)


def _worth_repeating(failure: GraphFailure) -> bool:
    return remedy_for(failure) in {Remedy.RETRY, Remedy.AMBIGUOUS, Remedy.WAIT, Remedy.ASK_LESS}


def _send(
    client: GraphClient, reads: Sequence[BatchRead], *, account_id: str, usage: Usage
) -> list[BatchResult]:
    try:
        body = client.call(
            "POST",
            "",
            {"batch": _encode(client, reads), "include_headers": "true"},
            account_id=account_id,
            usage=usage,
        )
    except TooMuchDataError:  # the batch as a whole took too long (960)
        return [BatchResult(read.item_id, failure=_TIMED_OUT) for read in reads]
    if not isinstance(body, list) or len(body) != len(reads):
        raise SourceUnavailableError(f"Meta did not answer a batch of {len(reads)} item by item.")
    return [
        _judge(client, read, item, account_id=account_id, usage=usage)
        for read, item in zip(reads, body, strict=True)
    ]


def _encode(client: GraphClient, reads: Sequence[BatchRead]) -> list[dict[str, str]]:
    return [
        {
            "method": "GET",
            "relative_url": f"{client.version}/{read.path}?{urlencode(encode_params(read.params))}",
        }
        for read in reads
    ]


def _judge(
    client: GraphClient, read: BatchRead, item: Any, *, account_id: str, usage: Usage
) -> BatchResult:
    """One item's result.

    Raises:
        CredentialError: the token is refused, which ends everything.
    """
    if not isinstance(item, dict):
        return BatchResult(read.item_id, failure=_TIMED_OUT)
    body, failure = _read_item(item)
    client.note_item(_headers(item), failure, account_id=account_id, usage=usage)
    if failure is not None and remedy_for(failure) is Remedy.RENEW_TOKEN:
        raise client.error_for(failure, account_id)
    return BatchResult(read.item_id, body, failure)


def _read_item(item: Json) -> tuple[Json | None, GraphFailure | None]:
    status = int(item.get("code") or 0)
    try:
        body = read_json(item.get("body") or "")
    except ValueError:
        return None, GraphFailure(status=status, message="the item's body is not JSON")
    if isinstance(body, dict) and "error" in body:
        return None, read_failure(status, body["error"])
    if status >= 400 or not isinstance(body, dict):
        return None, GraphFailure(status=status, message="the item's body is not an object")
    return body, None


def _headers(item: Json) -> dict[str, str]:
    """The item's headers by their names in lower case."""
    listed = item.get("headers") or []
    return {
        str(header.get("name", "")).lower(): str(header.get("value", ""))
        for header in listed
        if isinstance(header, dict)
    }

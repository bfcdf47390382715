"""Meta's rate limits: who is blocked until when, shared by all who call.

Limits belong to an app, an ad account, or an account's use of one kind of call; the four usage
headers of every answer and the limit codes of errors feed them. Belongs here: reading those, and
asking the store before a call. Does not: waiting (client) and the table (storage).

Source: Meta Graph API v26.0, "Rate limits" and "Marketing API rate limiting".
"""

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

import orjson

from pipeline_assets.sources.meta.graph_failures import GraphFailure
from pipeline_assets.sources.rate_budgets import BudgetStore


class Usage(StrEnum):
    """The kinds of calls that Meta counts apart (`type` of x-business-use-case-usage)."""

    ADS_INSIGHTS = "ads_insights"
    ADS_MANAGEMENT = "ads_management"


@dataclass(frozen=True)
class _Reading:
    key: str
    usage_pct: float
    detail: Mapping[str, object]
    block_seconds: float = 0.0
    reason: str = ""


_APP_BLOCK_SECONDS = 300.0  # an app's limit slides over an hour and comes without a time
_FULL_TIER = "standard_access"
_FULL_TIER_BLOCK_SECONDS = 60.0  # how long Meta blocks an account with full access
_LIMITED_TIER_BLOCK_SECONDS = 300.0  # and one with limited or unknown access
_CUSTOM_BLOCK_SECONDS = 3600.0  # 613 without subcode: a custom limit that frees slowly
_ERRATIC_BLOCK_SECONDS = 6 * 3600.0  # 613/1996: Meta wants the caller to stop
_APP_CODES = frozenset({4, 341})
_USAGE_BY_CODE = {
    80000: "ads_insights",
    80001: "pages",
    80002: "instagram",
    80003: "custom_audience",
    80004: "ads_management",
    80005: "leadgen",
    80006: "messenger",
    80008: "whatsapp",
    80009: "catalog_management",
    80014: "catalog_batch",
}


class RateBudget:
    """The limits of one app as seen by one client; thread safe.

    Keys are `app:<app id or "default">`, `account:act_1` and `account:act_1:ads_insights`.
    Writes to the store only what changed: usage by a point or more, or a block.
    """

    def __init__(self, store: BudgetStore, *, app_id: str, now: Callable[[], datetime]) -> None:
        self._store = store
        self._now = now
        self._app_key = f"app:{app_id or 'default'}"
        self._lock = threading.Lock()
        self._written: dict[str, tuple[float, datetime | None]] = {}
        self._tier = ""

    def keys_for(self, account_id: str | None, usage: Usage) -> list[str]:
        """The keys whose block stops a call."""
        if account_id is None:
            return [self._app_key]
        return [self._app_key, f"account:{account_id}", f"account:{account_id}:{usage}"]

    def find_block(self, account_id: str | None, usage: Usage) -> tuple[str, datetime] | None:
        """The key that is blocked longest and the end of its block; None when calls may go."""
        now = self._now()
        blocks = self._store.read_blocked_until(self.keys_for(account_id, usage))
        open_blocks = [(until, key) for key, until in blocks.items() if until > now]
        if not open_blocks:
            return None
        until, key = max(open_blocks)
        return key, until

    def note_headers(self, headers: Mapping[str, str], account_id: str | None) -> None:
        """Take in the usage headers of an answer; `headers` finds names in lower case."""
        merged: dict[str, _Reading] = {}
        for reading in self._read_headers(headers, account_id):
            known = merged.get(reading.key)
            merged[reading.key] = _worse(known, reading) if known else reading
        for reading in merged.values():
            self._note(reading)

    def note_limit(self, failure: GraphFailure, account_id: str | None, usage: Usage) -> None:
        """Take in an error that says a limit is reached; times of the headers go before ours.

        Afterwards the call that met it is blocked, even where Meta names another kind of call.
        """
        if self.find_block(account_id, usage) is not None:
            return
        keys, seconds = self._block_for(failure, account_id, usage)
        detail = {"code": failure.code, "subcode": failure.subcode}
        for key in keys:
            self._note(_Reading(key, 100.0, detail, seconds, f"Meta answered code {failure.codes}"))

    def _block_for(
        self, failure: GraphFailure, account_id: str | None, usage: Usage
    ) -> tuple[set[str], float]:
        code, subcode = failure.code, failure.subcode
        if account_id is None or code is None or code in _APP_CODES:
            return {self._app_key}, _APP_BLOCK_SECONDS
        if code >= 80000:
            kinds = {_USAGE_BY_CODE.get(code, usage), usage}
            return {f"account:{account_id}:{kind}" for kind in kinds}, self._tier_block_seconds()
        keys = {f"account:{account_id}"}
        if code == 613 and subcode == 1996:
            return keys, _ERRATIC_BLOCK_SECONDS
        if code == 613 and not subcode:
            return keys, _CUSTOM_BLOCK_SECONDS
        return keys, self._tier_block_seconds()

    def _tier_block_seconds(self) -> float:
        full = self._tier == _FULL_TIER
        return _FULL_TIER_BLOCK_SECONDS if full else _LIMITED_TIER_BLOCK_SECONDS

    def _note(self, reading: _Reading) -> None:
        blocked_until = None
        if reading.block_seconds > 0:
            blocked_until = self._now() + timedelta(seconds=reading.block_seconds)
        with self._lock:
            pct, block = self._written.get(reading.key, (-1.0, None))
            moved = abs(reading.usage_pct - pct) >= 1.0
            extended = blocked_until is not None and (
                block is None or blocked_until - block >= timedelta(seconds=1)
            )
            if not moved and not extended:
                return
            self._written[reading.key] = (reading.usage_pct, blocked_until or block)
        self._store.record(
            reading.key,
            usage_pct=reading.usage_pct,
            detail=reading.detail,
            blocked_until=blocked_until,
            reason=reading.reason,
        )

    def _read_headers(
        self, headers: Mapping[str, str], account_id: str | None
    ) -> Iterator[_Reading]:
        app = _header(headers, "x-app-usage")
        if app:
            yield self._reading(self._app_key, app, "x-app-usage")
        throttle = _header(headers, _THROTTLE)
        account = _header(headers, "x-ad-account-usage")
        business = _header(headers, "x-business-use-case-usage")
        for detail in (throttle, account):
            self._tier = str(detail.get("ads_api_access_tier") or self._tier)
        if business:
            yield from self._business_readings(business, account_id)
        if "app_id_util_pct" in throttle:
            pct = throttle["app_id_util_pct"]
            yield self._reading(self._app_key, {"app_id_util_pct": pct}, _THROTTLE)
        if account_id is None:
            return
        if account:
            yield self._reading(
                f"account:{account_id}",
                account,
                "x-ad-account-usage",
                seconds_when_full=_decimal(account.get("reset_time_duration")),
            )
        if throttle:
            key = f"account:{account_id}:{Usage.ADS_INSIGHTS}"
            pct = throttle.get("acc_id_util_pct")
            yield self._reading(key, {"acc_id_util_pct": pct}, _THROTTLE)

    def _business_readings(
        self, business: Mapping[str, object], account_id: str | None
    ) -> Iterator[_Reading]:
        """Readings by account and kind; the header's ids are of accounts or of businesses.

        Where the asked account is not among the ids, its business is meant: then it counts for it.
        """
        asked = (account_id or "").removeprefix("act_")
        for owner, entries in business.items():
            owned_by_business = bool(asked) and asked not in business
            name = account_id if owned_by_business else f"act_{owner}"
            for entry in entries if isinstance(entries, list) else []:
                if not isinstance(entry, dict):
                    continue
                self._tier = str(entry.get("ads_api_access_tier") or self._tier)
                yield self._reading(
                    f"account:{name}:{entry.get('type')}",
                    entry,
                    "x-business-use-case-usage",
                    block_seconds=60 * _decimal(entry.get("estimated_time_to_regain_access")),
                )

    def _reading(
        self,
        key: str,
        detail: Mapping[str, object],
        header: str,
        *,
        block_seconds: float = 0.0,
        seconds_when_full: float = 0.0,
    ) -> _Reading:
        """A reading; at 100 % the next call would be refused, so it blocks even without a time."""
        usage_pct = max((_decimal(detail.get(name)) for name in _USAGE_FIELDS), default=0.0)
        if usage_pct >= 100 and not block_seconds:
            block_seconds = seconds_when_full or self._tier_block_seconds()
        reason = f"{header} at {usage_pct:g} %"
        return _Reading(key, usage_pct, {header: detail}, block_seconds, reason)


def _worse(one: _Reading, other: _Reading) -> _Reading:
    """One reading of what two headers say of the same key: the worse of each figure."""
    worst = max(one, other, key=lambda reading: (reading.block_seconds, reading.usage_pct))
    return _Reading(
        worst.key,
        max(one.usage_pct, other.usage_pct),
        {**one.detail, **other.detail},
        worst.block_seconds,
        worst.reason,
    )


_THROTTLE = "x-fb-ads-insights-throttle"
_USAGE_FIELDS = ("call_count", "total_cputime", "total_time", "acc_id_util_pct", "app_id_util_pct")


def _header(headers: Mapping[str, str], name: str) -> dict[str, object]:
    """The header's JSON object; empty when it is absent or broken, as a header is only advice."""
    text = headers.get(name)
    if not text:
        return {}
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}


def _decimal(value: object) -> float:
    try:
        return float(value) if isinstance(value, int | float | str) else 0.0
    except ValueError:
        return 0.0

"""Insights: reading a query, walking its rows lazily, and showing a row as Meta shows it.

Numbers are strings, zeros are omitted, days are the account's, rows without delivery do not exist.
Totals of a parent hold its deleted ads, lists of its children do not unless `ad.effective_status`
is filtered by. Source: Meta Marketing API v26.0, Insights; "Manage your ad object's status".
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cached_property, lru_cache
from itertools import groupby
from typing import Any

from pipeline_assets.simulator.answers import GraphError
from pipeline_assets.simulator.insight_fields import FIELDS, Row
from pipeline_assets.simulator.metrics import Metrics, add_up, split
from pipeline_assets.simulator.paging import (
    Filter,
    decode_cursor,
    encode_cursor,
    read_filters,
    read_json,
    read_json_list,
    read_names,
)
from pipeline_assets.simulator.world import Account, Ad, ObjectKind

LEVELS = ("account", "campaign", "adset", "ad")
RETENTION_MONTHS = 37
BREAKDOWN_REACH_MONTHS = 13
_EXTRA_KEY_EVERY = 7

_AGES = ("18-24", "25-34", "35-44", "45-54", "55-64", "65+")
_GENDERS = ("female", "male", "unknown")
_PLATFORMS = ("facebook", "instagram", "audience_network", "messenger")
_POSITIONS = (
    ("facebook", "feed"),
    ("facebook", "facebook_reels"),
    ("instagram", "feed"),
    ("instagram", "instagram_stories"),
    ("instagram", "instagram_reels"),
    ("audience_network", "an_classic"),
)
_DEVICES = ("mobile_app", "mobile_web", "desktop")
_OPT_IN = {
    "impression_device",
    "hourly_stats_aggregated_by_audience_time_zone",
    "frequency_value",
}
"""Empty without an error for accounts that have not opted in, as all of ours have not."""

_KNOWN_BREAKDOWNS = _OPT_IN | {
    "age",
    "gender",
    "country",
    "publisher_platform",
    "platform_position",
    "device_platform",
    "region",
    "product_id",
    "hourly_stats_aggregated_by_advertiser_time_zone",
}
_PRESET_DAYS = {f"last_{count}d": count for count in (3, 7, 14, 28, 30, 90)}

Period = tuple[date, date]
Cell = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Query:
    """What was asked of insights; `now` fixes what is known of young days."""

    account: Account
    kind: ObjectKind | None
    index: int
    now: datetime
    level: str
    fields: tuple[str, ...]
    periods: tuple[Period, ...]
    breakdowns: tuple[str, ...]
    windows: tuple[str, ...]
    filters: tuple[Filter, ...]
    is_async: bool

    @cached_property
    def cells(self) -> tuple[Cell, ...]:
        """The values of the breakdowns, or one empty cell."""
        return _cells(self.account, self.breakdowns)

    @property
    def groups(self) -> tuple[tuple[Ad, ...], ...]:
        """The ads behind each row's object, in the order of rows."""
        on_objects = tuple(each for each in self.filters if "." in each.field)
        today = self.account.today(self.now)
        return _group(
            self.account, self.kind, self.index, level=self.level, filters=on_objects, today=today
        )

    @cached_property
    def row_estimate(self) -> int:
        """At least as many rows as there are, from life spans alone."""
        sinces = [since for since, _ in self.periods]
        untils = [until for _, until in self.periods]
        return len(self.cells) * sum(
            bisect_right(sinces, max(ad.ends or date.max for ad in group))
            - bisect_left(untils, min(ad.starts for ad in group))
            for group in self.groups
        )

    @property
    def withholds_reach(self) -> bool:
        """Whether reach and what follows from it is left out: old, broken down, not async."""
        oldest = _months_before(self.account.today(self.now), BREAKDOWN_REACH_MONTHS)
        return bool(self.breakdowns) and self.periods[0][0] < oldest and not self.is_async

    def accepts(self, metrics: Metrics) -> bool:
        """Whether the conditions on figures let a row through."""
        on_figures = [each for each in self.filters if "." not in each.field]
        if not on_figures:
            return True
        values = {
            "impressions": metrics.impressions,
            "clicks": metrics.clicks,
            "spend": metrics.spend / self.account.minor_units,
            "reach": metrics.distinct_reach,
        }
        return all(each.accepts(values) for each in on_figures)


@lru_cache(maxsize=16)  # every page of a list asks for the same
def _group(
    account: Account,
    kind: ObjectKind | None,
    index: int,
    *,
    level: str,
    filters: tuple[Filter, ...],
    today: date,
) -> tuple[tuple[Ad, ...], ...]:
    names_status = any(each.field == "ad.effective_status" for each in filters)
    hides_deleted = level == "ad" and kind is not ObjectKind.AD and not names_status
    place = {"campaign": lambda ad: ad.campaign_index, "adset": lambda ad: ad.adset_index}
    ads = [
        ad
        for ad in _ads_below(account, kind, index, today)
        if not (hides_deleted and ad.status == "DELETED") and _passes(ad, filters)
    ]
    if level == "account":
        return (tuple(ads),) if ads else ()
    key = place.get(level, lambda ad: ad.index)
    return tuple(tuple(members) for _, members in groupby(ads, key))


def _ads_below(account: Account, kind: ObjectKind | None, index: int, today: date) -> Iterator[Ad]:
    match kind:
        case ObjectKind.AD:
            return iter([account.ads[index]])
        case ObjectKind.ADSET:
            return (ad for ad in account.ads_on(today) if ad.adset_index == index)
        case ObjectKind.CAMPAIGN:
            return (ad for ad in account.ads_on(today) if ad.campaign_index == index)
        case _:
            return account.ads_on(today)


def _passes(ad: Ad, filters: tuple[Filter, ...]) -> bool:
    values = filter_values(ad) if filters else {}
    return all(each.accepts(values) for each in filters)


def read_query(
    account: Account,
    kind: ObjectKind | None,
    index: int,
    params: Mapping[str, str],
    *,
    now: datetime,
    is_async: bool,
) -> Query:
    """The query that these parameters ask for.

    Raises:
        GraphError: 100, 2/1504041 or 3018, with Meta's code for what is wrong.
    """
    own_level = {ObjectKind.CAMPAIGN: "campaign", ObjectKind.ADSET: "adset", ObjectKind.AD: "ad"}
    level = params.get("level", own_level.get(kind, "account") if kind else "account")
    if level not in LEVELS:
        raise GraphError.bad_parameter(f"level must be one of the following values: {LEVELS}")
    breakdowns = read_names(params, "breakdowns")
    _check_breakdowns(breakdowns)
    return Query(
        account=account,
        kind=kind,
        index=index,
        now=now,
        level=level,
        fields=_read_fields(params),
        periods=_read_periods(params, account.today(now)),
        breakdowns=breakdowns,
        windows=read_names(params, "action_attribution_windows"),
        filters=read_filters(params),
        is_async=is_async,
    )


def filter_values(ad: Ad) -> dict[str, Any]:
    """What an ad can be filtered by."""
    account = ad.account
    return {
        "ad.id": ad.id,
        "ad.name": ad.name,
        "ad.effective_status": ad.status,
        "ad.updated_time": _timestamp(account, ad.updated_date),
        "ad.created_time": _timestamp(account, ad.starts),
        "adset.id": account.object_id(ObjectKind.ADSET, ad.adset_index),
        "adset.effective_status": "ACTIVE",
        "campaign.id": account.object_id(ObjectKind.CAMPAIGN, ad.campaign_index),
        "campaign.effective_status": "ACTIVE",
    }


def _timestamp(account: Account, day: date) -> int:
    return int(datetime(day.year, day.month, day.day, 9, tzinfo=account.zone).timestamp())


def read_page(
    query: Query, *, limit: int, after: str | None
) -> tuple[list[dict[str, Any]], str, bool]:
    """One page of rows, the cursor behind it, and whether more rows follow.

    Raises:
        GraphError: 100, no cursor of ours.
    """
    start = _read_position(after)
    rows: list[dict[str, Any]] = []
    position = start
    for behind, metrics, group, period, cell in _walk(query, start):
        if len(rows) == limit:
            return rows, encode_cursor(_write_position(position)), True
        rows.append(_show(query, metrics, group, period, cell))
        position = behind
    return rows, encode_cursor(_write_position(position)), False


Position = tuple[int, int, int]
"""The next group, period and cell to look at."""


def _read_position(cursor: str | None) -> Position:
    if cursor is None:
        return (0, 0, 0)
    match = re.fullmatch(r"(\d+):(\d+):(\d+)", decode_cursor(cursor))
    if match is None:
        raise GraphError.bad_parameter("Invalid cursors values.")
    return (int(match[1]), int(match[2]), int(match[3]))


def _write_position(position: Position) -> str:
    return ":".join(map(str, position))


def _walk(
    query: Query, start: Position
) -> Iterator[tuple[Position, Metrics, tuple[Ad, ...], Period, Cell]]:
    if set(query.breakdowns) & _OPT_IN:
        return
    groups = query.groups
    first_group, first_period, first_cell = start
    for group_at in range(first_group, len(groups)):
        group = groups[group_at]
        for period_at in range(first_period, len(query.periods)):
            period = query.periods[period_at]
            parts = _figures(query, group, period)
            for cell_at in range(first_cell, len(parts)):
                metrics = parts[cell_at]
                if metrics.impressions and query.accepts(metrics):
                    behind = (group_at, period_at, cell_at + 1)
                    yield behind, metrics, group, period, query.cells[cell_at]
            first_cell = 0
        first_period = 0


def _figures(query: Query, group: tuple[Ad, ...], period: Period) -> list[Metrics]:
    """A row's figures per cell; empty when nothing was delivered."""
    account, (since, until) = query.account, period
    delivered = []
    for ad in group:
        first = max(since, ad.starts)
        last = until if ad.ends is None else min(until, ad.ends - timedelta(days=1))
        for offset in range((last - first).days + 1):
            metrics = account.metrics(ad, first + timedelta(days=offset), now=query.now)
            if metrics is not None:
                delivered.append((ad, metrics))
    if not delivered:
        return []
    if not query.breakdowns:
        return [delivered[0][1] if len(delivered) == 1 else add_up(m for _, m in delivered)]
    name, count = ",".join(sorted(query.breakdowns)), len(query.cells)
    spread = [split(metrics, account.shares(name, ad, count)) for ad, metrics in delivered]
    return [add_up(parts) for parts in zip(*spread, strict=True)]


def _show(
    query: Query, metrics: Metrics, group: tuple[Ad, ...], period: Period, cell: Cell
) -> dict[str, Any]:
    row = Row(
        metrics=metrics,
        ad=group[0],
        level=query.level,
        windows=query.windows,
        without_reach=query.withholds_reach,
    )
    shown: dict[str, Any] = {}
    for name in query.fields:
        value = FIELDS[name](row)
        if value is not None:
            shown["results" if name == "objective_results" else name] = value
    shown["date_start"] = period[0].isoformat()
    shown["date_stop"] = period[1].isoformat()
    shown.update(cell)
    if (group[0].index + period[0].toordinal()) % _EXTRA_KEY_EVERY == 0:
        shown["unlisted_metric"] = {"value": "1"}  # Meta adds keys that nobody asked for
    return shown


def _read_fields(params: Mapping[str, str]) -> tuple[str, ...]:
    names = read_names(params, "fields") or ("impressions", "spend")
    for name in names:
        if name not in FIELDS and name not in {"date_start", "date_stop"}:
            raise GraphError.bad_parameter(
                f"{name} is not valid for fields param. please check "
                "https://developers.facebook.com/docs/marketing-api/reference/ads-insights/ for "
                "all valid values"
            )
    return tuple(name for name in names if name in FIELDS)


def _check_breakdowns(breakdowns: tuple[str, ...]) -> None:
    for place, name in enumerate(breakdowns):
        if name not in _KNOWN_BREAKDOWNS:
            raise GraphError.bad_parameter(
                f"breakdowns[{place}] must be one of the following values: "
                + ", ".join(sorted(_KNOWN_BREAKDOWNS))
            )
    if frozenset(breakdowns) not in _ALLOWED and not set(breakdowns) <= _OPT_IN:
        raise GraphError(
            2,
            "Invalid breakdowns",
            subcode=1504041,
            status=500,
            title="Invalid Breakdowns",
            user_message=f"The breakdowns {', '.join(breakdowns)} cannot be combined.",
        )


_ALLOWED = {
    frozenset(names.split(",")) if names else frozenset()
    for names in (
        "",
        "age",
        "gender",
        "age,gender",
        "country",
        "publisher_platform",
        "publisher_platform,platform_position",
        "device_platform",
    )
}


def _cells(account: Account, breakdowns: tuple[str, ...]) -> tuple[Cell, ...]:
    match frozenset(breakdowns):
        case names if names == {"age", "gender"}:
            return tuple((("age", age), ("gender", sex)) for age in _AGES for sex in _GENDERS)
        case names if names == {"publisher_platform", "platform_position"}:
            return tuple(
                (("publisher_platform", platform), ("platform_position", position))
                for platform, position in _POSITIONS
            )
        case names if len(names) == 1:
            (name,) = names
            values: dict[str, tuple[str, ...]] = {
                "age": _AGES,
                "gender": _GENDERS,
                "country": account.spec.countries,
                "publisher_platform": _PLATFORMS,
                "device_platform": _DEVICES,
            }
            return tuple(((name, value),) for value in values.get(name, ()))
        case _:
            return ((),)


def _read_periods(params: Mapping[str, str], today: date) -> tuple[Period, ...]:
    ranges = read_json_list(params, "time_ranges") or [read_json(params, "time_range")]
    spans = [
        _read_span(each) if each else _preset(params.get("date_preset", "last_30d"), today)
        for each in ranges
    ]
    oldest = _months_before(today, RETENTION_MONTHS)
    if any(since < oldest for since, _ in spans):
        raise GraphError(
            3018,
            "(#3018) The start date of the time range cannot be beyond 37 months from the "
            "current date",
        )
    increment = params.get("time_increment", "all_days")
    return tuple(period for span in spans for period in _steps(span, increment))


def _read_span(value: Any) -> Period:
    try:
        since, until = date.fromisoformat(value["since"]), date.fromisoformat(value["until"])
    except (KeyError, TypeError, ValueError) as error:
        raise GraphError.bad_parameter("time_range must have since and until dates") from error
    if since > until:
        raise GraphError.bad_parameter("since must be before until")
    return since, until


def _preset(name: str, today: date) -> Period:
    yesterday = today - timedelta(days=1)
    month = today.replace(day=1)
    if name in _PRESET_DAYS:
        return today - timedelta(days=_PRESET_DAYS[name]), yesterday
    named: dict[str, Period] = {
        "today": (today, today),
        "yesterday": (yesterday, yesterday),
        "this_month": (month, today),
        "last_month": ((month - timedelta(days=1)).replace(day=1), month - timedelta(days=1)),
        "last_week_mon_sun": _last_week(today),
        "maximum": (_months_before(today, RETENTION_MONTHS), today),
        "data_maximum": (_months_before(today, RETENTION_MONTHS), today),
    }
    if name not in named:
        raise GraphError.bad_parameter(f"date_preset {name} is not valid")
    return named[name]


def _last_week(today: date) -> Period:
    monday = today - timedelta(days=today.weekday() + 7)
    return monday, monday + timedelta(days=6)


def _steps(span: Period, increment: str) -> Iterator[Period]:
    since, until = span
    if increment == "all_days":
        yield span
        return
    if increment != "monthly" and not (increment.isdecimal() and 1 <= int(increment) <= 90):
        raise GraphError.bad_parameter("time_increment must be 1 to 90, monthly or all_days")
    while since <= until:
        if increment == "monthly":
            following = (since.replace(day=1) + timedelta(days=32)).replace(day=1)
        else:
            following = since + timedelta(days=int(increment))
        yield since, min(until, following - timedelta(days=1))
        since = following


def _months_before(day: date, months: int) -> date:
    """The same day that many months ago, the month's last when it is shorter."""
    month = day.year * 12 + day.month - 1 - months
    year, month = divmod(month, 12)
    following = date(year + (month == 11), (month + 1) % 12 + 1, 1)
    return date(year, month + 1, min(day.day, (following - timedelta(days=1)).day))

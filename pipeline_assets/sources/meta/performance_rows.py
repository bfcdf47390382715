"""Insights as Meta sends them into rows of `meta_ads_performance`.

Every scalar arrives as text and a figure of zero does not arrive at all. This is the hot path of an
ingest (millions of rows), so it is one flat function with a slow twin for numbers that are odd.
Source: Meta Marketing API v26.0, "Ad insights" and "AdsActionStats".
"""

from collections.abc import Callable, Iterable
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from pipeline_assets.errors import SourceUnavailableError
from pipeline_assets.sources.meta.graph_failures import Json
from pipeline_assets.sources.meta.insight_parts import InsightsQuery
from pipeline_assets.sources.meta.windows import DateWindow, is_provisional

PERFORMANCE_FIELDS = (
    "account_currency",
    "campaign_id",
    "campaign_name",
    "adset_id",
    "adset_name",
    "ad_id",
    "ad_name",
    "attribution_setting",
    "impressions",
    "reach",
    "clicks",
    "inline_link_clicks",
    "spend",
    "actions",
    "action_values",
    "video_play_actions",
    "video_thruplay_watched_actions",
    "video_p25_watched_actions",
    "video_p50_watched_actions",
    "video_p75_watched_actions",
    "video_p95_watched_actions",
    "video_p100_watched_actions",
)
"""The fields that `meta_ads_performance` is made from."""

PURCHASE_ACTION_TYPES = (
    "omni_purchase",
    "purchase",
    "offsite_conversion.fb_pixel_purchase",
    "onsite_conversion.purchase",
    "app_custom_event.fb_mobile_purchase",
)
"""The first of these that a row has counts its purchases: they overlap, a sum counts twice."""

Row = tuple[Any, ...]
_ZERO = Decimal(0)


def performance_query(account_id: str, window: DateWindow) -> InsightsQuery:
    """The question whose rows `performance_row_parser` reads."""
    return InsightsQuery(
        account_id=account_id, fields=PERFORMANCE_FIELDS, since=window.since, until=window.until
    )


def performance_row_parser(
    *, brand_id: str, account_id: str, currency: str, today: date, fetched_at: datetime
) -> Callable[[Iterable[Json]], list[Row]]:
    """A function from Meta's rows to tuples in the order of `META_ADS_PERFORMANCE.columns`.

    `today` is the account's day (it decides what is provisional), `currency` counts where a row
    does not name its own. Lists of actions are handed on as they came.

    Raises (the function):
        SourceUnavailableError: a row without ad, date or with a figure that is no number.
    """
    days: dict[str, tuple[date, bool]] = {}

    def day_of(text: str) -> tuple[date, bool]:
        day = date.fromisoformat(text)
        days[text] = known = (day, is_provisional(day, today))
        return known

    def parse_row(row: Json) -> Row:
        get = row.get
        text = row["date_start"]
        day, provisional = days.get(text) or day_of(text)
        actions, values = get("actions"), get("action_values")
        counts = {item["action_type"]: item.get("value") for item in actions} if actions else {}
        worths = {item["action_type"]: item.get("value") for item in values} if values else {}
        purchase_type = _purchase_type(counts) or _purchase_type(worths)
        impressions = _count(get("impressions"))
        reach = get("reach")
        return (
            brand_id,
            account_id,
            day,
            row["ad_id"],
            get("ad_name"),
            get("adset_id"),
            get("adset_name"),
            get("campaign_id"),
            get("campaign_name"),
            impressions,
            # Without impressions a missing reach is zero; with some, Meta withholds it.
            _count(reach) if reach is not None or not impressions else None,
            _count(get("clicks")),
            _count(get("inline_link_clicks")),
            _amount(get("spend")),
            get("account_currency") or currency,
            _amount(counts.get(purchase_type)) if purchase_type else _ZERO,
            _amount(worths.get(purchase_type)) if purchase_type else _ZERO,
            purchase_type,
            _count(counts.get("landing_page_view")),
            _first(get("video_play_actions")),
            _count(counts.get("video_view")),
            _first(get("video_thruplay_watched_actions")),
            _first(get("video_p25_watched_actions")),
            _first(get("video_p50_watched_actions")),
            _first(get("video_p75_watched_actions")),
            _first(get("video_p95_watched_actions")),
            _first(get("video_p100_watched_actions")),
            get("attribution_setting"),
            provisional,
            actions,
            values,
            fetched_at,
        )

    def parse_rows(rows: Iterable[Json]) -> list[Row]:
        try:
            return [parse_row(row) for row in rows]
        except (KeyError, TypeError, ValueError, InvalidOperation) as error:
            raise SourceUnavailableError(
                f"Meta sent a row of insights for {account_id} that cannot be read: {error!r}."
            ) from None

    return parse_rows


def _purchase_type(figures: dict[str, Any]) -> str | None:
    for name in PURCHASE_ACTION_TYPES:
        if name in figures:
            return name
    return None


def _count(value: str | int | None) -> int:
    """A whole number; Meta sends some counts with decimals, which are cut off."""
    if value is None:
        return 0
    try:
        return int(value)
    except ValueError:
        return int(Decimal(value))


def _amount(value: str | int | None) -> Decimal:
    return _ZERO if value is None else Decimal(value)


def _first(stats: list[Json] | None) -> int:
    """The figure of a list that holds one, as those of video do."""
    return _count(stats[0].get("value")) if stats else 0

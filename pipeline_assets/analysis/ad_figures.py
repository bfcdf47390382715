"""What is computed from sums of the ads' daily figures: ratios, periods and series of days.

Belongs here: each figure's one definition, by the names of the sums it is made of, so that what is
shown, sorted by and exported is the same. Does not: reading the sums (`storage/ad_performance.py`).
A ratio is always one of sums, never a mean of ratios, and None where its denominator is 0. Sums of
different currencies are never added.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from enum import StrEnum

Sums = Mapping[str, Decimal | int]
"""Sums by name: those that `FIGURES` name as numerator and denominator."""


class Unit(StrEnum):
    """How a figure is to be read."""

    MONEY = "money"
    """An amount in the account's currency."""
    COUNT = "count"
    MULTIPLE = "multiple"
    """How many times as much: 2.5 is 2.5x."""
    SHARE = "share"
    """A ratio of 0 to 1, shown as a percentage."""


class Better(StrEnum):
    """Which way a figure should move, as far as one can say."""

    HIGHER = "higher"
    LOWER = "lower"
    NEITHER = "neither"


@dataclass(frozen=True)
class Figure:
    """One figure: `factor` * the sum `numerator` / the sum `denominator`, or the sum alone."""

    name: str
    title: str
    unit: Unit
    meaning: str
    numerator: str
    denominator: str | None = None
    factor: int = 1
    better: Better = Better.HIGHER

    def of(self, sums: Sums) -> Decimal | None:
        """The figure of these sums; None where it divides by 0."""
        numerator = Decimal(sums[self.numerator])
        if self.denominator is None:
            return numerator
        denominator = sums[self.denominator]
        return self.factor * numerator / denominator if denominator else None


FIGURES: dict[str, Figure] = {
    figure.name: figure
    for figure in (
        Figure("spend", "Spend", Unit.MONEY, "Amount spent", "spend", better=Better.NEITHER),
        Figure("purchase_value", "Value", Unit.MONEY, "Value of the purchases", "purchase_value"),
        Figure(
            "roas",
            "ROAS",
            Unit.MULTIPLE,
            "Return on ad spend: purchase value / spend",
            "purchase_value",
            "spend",
        ),
        Figure("purchases", "Purchases", Unit.COUNT, "Purchases, of one action type", "purchases"),
        Figure(
            "cpa",
            "CPA",
            Unit.MONEY,
            "Cost per purchase: spend / purchases",
            "spend",
            "purchases",
            better=Better.LOWER,
        ),
        Figure(
            "aov",
            "AOV",
            Unit.MONEY,
            "Average order value: purchase value / purchases",
            "purchase_value",
            "purchases",
        ),
        Figure(
            "impressions",
            "Impressions",
            Unit.COUNT,
            "Times the ads were on a screen",
            "impressions",
            better=Better.NEITHER,
        ),
        Figure(
            "cpm",
            "CPM",
            Unit.MONEY,
            "Cost per 1,000 impressions",
            "spend",
            "impressions",
            factor=1000,
            better=Better.LOWER,
        ),
        Figure(
            "inline_link_clicks",
            "Link clicks",
            Unit.COUNT,
            "Clicks on links in the ads",
            "inline_link_clicks",
        ),
        Figure(
            "link_ctr",
            "CTR (link)",
            Unit.SHARE,
            "Link clicks / impressions",
            "inline_link_clicks",
            "impressions",
        ),
        Figure(
            "cpc",
            "CPC (link)",
            Unit.MONEY,
            "Cost per link click: spend / link clicks",
            "spend",
            "inline_link_clicks",
            better=Better.LOWER,
        ),
        Figure(
            "cvr",
            "CVR",
            Unit.SHARE,
            "Conversion rate: purchases / link clicks",
            "purchases",
            "inline_link_clicks",
        ),
        Figure(
            "hook_rate",
            "Hook rate",
            Unit.SHARE,
            "3-second views / impressions, of ads with video plays only",
            "hooked_views",
            "video_impressions",
        ),
        Figure(
            "hold_rate",
            "Hold rate",
            Unit.SHARE,
            "ThruPlays / 3-second views",
            "thruplays",
            "video_3s_views",
        ),
    )
}
"""Every figure by name, in the order in which people read them."""


def relative_change(value: Decimal | None, before: Decimal | None) -> Decimal | None:
    """How much a figure moved, as a share of what it was; None without something to compare."""
    if value is None or not before:
        return None
    return (value - before) / before


@dataclass(frozen=True)
class Period:
    """Days from `since` to `until`, both included."""

    since: date
    until: date

    @property
    def day_count(self) -> int:
        """How many days it has."""
        return (self.until - self.since).days + 1

    @property
    def before(self) -> "Period":
        """The period of as many days that ends where this one begins."""
        return Period(self.since - timedelta(self.day_count), self.since - timedelta(1))

    @property
    def days(self) -> list[date]:
        """Its days in order."""
        return [self.since + timedelta(number) for number in range(self.day_count)]


def last_days(day_count: int, *, today: date) -> Period:
    """The last whole days before today, as Meta's own presets count them."""
    return Period(today - timedelta(day_count), today - timedelta(1))


@dataclass(frozen=True)
class Day:
    """The sums of one day in one currency; provisional when any row behind them is."""

    date: date
    currency: str
    is_provisional: bool
    sums: Sums


@dataclass(frozen=True)
class Series:
    """One currency's figures over a period: for each of its days the day, or None without rows.

    `totals` are the whole period's sums, `totals_before` those of the period before it, None when
    that has no rows.
    """

    currency: str
    days: tuple[tuple[date, Day | None], ...]
    totals: Sums
    totals_before: Sums | None

    @property
    def is_provisional(self) -> bool:
        """Whether a day of the period may still change."""
        return any(day is not None and day.is_provisional for _, day in self.days)


def build_series(days: Iterable[Day], period: Period) -> list[Series]:
    """A series per currency that has rows in the period, the one with most impressions first.

    `days` are those of the period and of the period before it.
    """
    now: dict[str, dict[date, Day]] = {}
    before: dict[str, list[Day]] = {}
    for day in days:
        if day.date >= period.since:
            now.setdefault(day.currency, {})[day.date] = day
        else:
            before.setdefault(day.currency, []).append(day)
    found = [
        Series(
            currency=currency,
            days=tuple((each, by_date.get(each)) for each in period.days),
            totals=add_up(day.sums for day in by_date.values()),
            totals_before=add_up(day.sums for day in before.get(currency, ())) or None,
        )
        for currency, by_date in now.items()
    ]
    # Amounts of different currencies do not compare, impressions do.
    return sorted(found, key=lambda series: (-series.totals["impressions"], series.currency))


def add_up(parts: Iterable[Sums]) -> Sums:
    """The sums of all parts by name; the same names in each part."""
    total: dict[str, Decimal | int] = {}
    for part in parts:
        for name, value in part.items():
            total[name] = total.get(name, 0) + value
    return total

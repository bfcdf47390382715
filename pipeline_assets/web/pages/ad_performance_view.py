"""How the page "Ad performance" writes figures: texts, tiles, charts' data, lines of CSV. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from pipeline_assets.analysis.ad_figures import (
    FIGURES,
    Better,
    Figure,
    Period,
    Series,
    Sums,
    Unit,
    relative_change,
)
from pipeline_assets.storage.ad_performance import AdSums

TILES = (
    "spend",
    "purchase_value",
    "roas",
    "purchases",
    "cpa",
    "link_ctr",
    "hook_rate",
    "hold_rate",
)
CHARTS = ("spend", "roas", "link_ctr", "hook_rate")

NO_FIGURE = "–"


def write_figure(figure: Figure, sums: Sums) -> str:
    """The figure of these sums for people; amounts without their currency."""
    return write_value(figure, figure.of(sums))


def write_value(figure: Figure, value: Decimal | None) -> str:
    """A value of the figure for people."""
    if value is None:
        return NO_FIGURE
    if figure.unit is Unit.SHARE:
        return f"{value:.2%}".replace("%", " %")
    if figure.unit is Unit.MULTIPLE:
        return f"{value:,.2f}x"
    is_whole = figure.unit is Unit.COUNT and value == value.to_integral_value()
    return f"{value:,.0f}" if is_whole else f"{value:,.2f}"


@dataclass(frozen=True)
class Change:
    """How a figure moved against the period before: `+12.3 %`, `up`, and whether that is good."""

    text: str
    direction: str
    verdict: str


@dataclass(frozen=True)
class Tile:
    """One figure of a period; `change` None: nothing to compare with."""

    figure: Figure
    text: str
    change: Change | None


def build_tiles(series: Series, *, is_comparable: bool) -> list[Tile]:
    """The period's most asked figures; a change only where the period before is all stored."""
    before = series.totals_before if is_comparable else None
    return [_tile(FIGURES[name], series.totals, before) for name in TILES]


def _tile(figure: Figure, totals: Sums, before: Sums | None) -> Tile:
    value = figure.of(totals)
    moved = relative_change(value, figure.of(before)) if before is not None else None
    change = _change(figure, moved) if moved is not None else None
    return Tile(figure, write_value(figure, value), change)


def _change(figure: Figure, moved: Decimal) -> Change:
    text = f"{moved:+.1%}".replace("%", " %")
    if round(moved, 3) == 0:
        return Change("0.0 %", "same", "")
    direction = "up" if moved > 0 else "down"
    if figure.better is Better.NEITHER:
        return Change(text, direction, "")
    is_better = (moved > 0) == (figure.better is Better.HIGHER)
    return Change(text, direction, "better" if is_better else "worse")


def chart_data(series: Series) -> dict[str, Any]:
    """What charts.js draws: days, which of them are provisional, and the values of each chart."""
    return {
        "currency": series.currency,
        "days": [day.isoformat() for day, _ in series.days],
        "is_provisional": [day is not None and day.is_provisional for _, day in series.days],
        "figures": {
            name: [_number(FIGURES[name], day.sums) if day else None for _, day in series.days]
            for name in CHARTS
        },
    }


def _number(figure: Figure, sums: Sums) -> float | None:
    value = figure.of(sums)
    return None if value is None else round(float(value), 6)


@dataclass(frozen=True)
class DayRow:
    """One line of the table that says what the charts show; `state` in words."""

    date: date
    state: str
    texts: Sequence[str]


def build_day_rows(series: Series) -> list[DayRow]:
    """A line per day of the period, the newest first."""
    return [
        DayRow(
            date=each,
            state="no rows" if day is None else "provisional" if day.is_provisional else "final",
            texts=[write_figure(FIGURES[name], day.sums) if day else NO_FIGURE for name in CHARTS],
        )
        for each, day in reversed(series.days)
    ]


_FACTS = (
    "ad_id",
    "ad_name",
    "ad_account_id",
    "adset_id",
    "adset_name",
    "campaign_id",
    "campaign_name",
    "status",
    "media_type",
    "hook_type",
    "messaging_angle",
    "funnel_stage",
    "currency",
)
_SCORES = ("label", "fatigued")
CSV_COLUMNS = ("since", "until", *_FACTS, *_SCORES, "provisional", *FIGURES)


def csv_row(ad: AdSums, period: Period) -> list[object]:
    """The ad's line under `CSV_COLUMNS`: figures to the millionth, shares as 0 to 1."""
    return [
        period.since.isoformat(),
        period.until.isoformat(),
        *(getattr(ad, name) for name in _FACTS),
        *((ad.score.label, _yes_or_no(ad.score.is_fatigued)) if ad.score else (None, None)),
        _yes_or_no(ad.is_provisional),
        *(_rounded(figure.of(ad.sums)) for figure in FIGURES.values()),
    ]


def _yes_or_no(is_so: bool) -> str:  # noqa: FBT001 - what it writes
    return "yes" if is_so else "no"


def _rounded(value: Decimal | None) -> Decimal | None:
    """The value without zeros at its end, which would read as precision."""
    if value is None:
        return None
    text = f"{round(value, 6):f}"
    return Decimal(text.rstrip("0").rstrip(".") if "." in text else text)

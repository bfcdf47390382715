"""The page "Ad performance" of a brand: charts over time, the table of ads, and its CSV.

Belongs here: what the address asks for, what is read for it, and when nothing may be shown. Does
not: how figures are written (`ad_performance_view.py`) or read (`storage/ad_performance.py`).
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    model_validator,
)

from pipeline_assets.analysis.ad_figures import (
    FIGURES,
    Day,
    Period,
    Series,
    build_series,
    last_days,
)
from pipeline_assets.analysis.taxonomy import MediaType
from pipeline_assets.brands.models import Brand
from pipeline_assets.control.readiness import read_readiness
from pipeline_assets.datasets import Reader
from pipeline_assets.freshness.readiness import Answer, Readiness
from pipeline_assets.people.roles import Role
from pipeline_assets.storage.ad_performance import (
    AdFilter,
    AdOrder,
    AdSums,
    Totals,
    read_ads,
    read_daily_sums,
    read_statuses,
    read_stored_days,
    read_totals,
)
from pipeline_assets.web.context import Context, Web
from pipeline_assets.web.identity import PageViewer
from pipeline_assets.web.pages.ad_performance_view import (
    CHARTS,
    CSV_COLUMNS,
    build_day_rows,
    build_tiles,
    chart_data,
    csv_row,
    write_figure,
)
from pipeline_assets.web.pages.csv_lines import answer_csv
from pipeline_assets.web.pages.listing import address
from pipeline_assets.web.pages.reader_page import Text, page_tag, shown_brand
from pipeline_assets.web.problems import Problem
from pipeline_assets.web.templating import render

router = APIRouter()

PAGE_SIZE = 50
MAX_DAYS = 1200
"""Meta answers for 37 months; nothing older is ever stored by a sync."""

_FILTERS = ("q", "campaign", "status", "media_type", "currency", "label", "fatigued")
LABELS = ("winner", "middle", "loser", "too_early")
"""What the scorecard calls creatives, the best first; of those too early it says nothing yet."""
_EARLIEST = date(2000, 1, 1)


def _check_figure(name: str) -> str:
    if name not in FIGURES:
        raise ValueError(f"there is no such figure; figures are {', '.join(FIGURES)}")
    return name


class Asked(BaseModel):
    """What an address asks for. Whatever is empty, as forms send it, is as if it were not there."""

    model_config = ConfigDict(frozen=True)

    days: Literal["7", "14", "28", "90"] = "28"
    since: date | None = None
    until: date | None = None
    q: Text = ""
    campaign: Text = ""
    status: Text = ""
    media_type: MediaType | None = None
    currency: Text = ""
    label: Literal["", "winner", "middle", "loser", "too_early"] = ""
    fatigued: Literal["", "yes"] = ""
    sort: Annotated[str, AfterValidator(_check_figure)] = "spend"
    order: Literal["asc", "desc"] = "desc"
    page: Annotated[int, Field(ge=1, le=100_000)] = 1
    seen: Text = ""

    @model_validator(mode="before")
    @classmethod
    def _drop_empty(cls, values: Any) -> Any:
        return {name: value for name, value in values.items() if value != ""}

    @property
    def wanted(self) -> AdFilter:
        """Which ads, if the scorecard is usable."""
        return AdFilter(
            text=self.q,
            campaign=self.campaign,
            status=self.status,
            media_type=self.media_type or "",
            currency=self.currency,
            label=self.label,
            is_fatigued=self.fatigued == "yes",
        )

    @property
    def ad_order(self) -> AdOrder:
        """In which order."""
        figure = FIGURES[self.sort]
        return AdOrder(
            numerator=figure.numerator,
            denominator=figure.denominator,
            is_descending=self.order == "desc",
        )

    def period(self, today: date) -> Period:
        """Which days.

        Raises:
            Problem: 422, only one end is given, or the days are not a period.
        """
        if self.since is None and self.until is None:
            return last_days(int(self.days), today=today)
        if self.since is None or self.until is None:
            raise Problem(422, "A period needs both its first and its last day.")
        if not _EARLIEST <= self.since <= self.until <= today + timedelta(1):
            raise Problem(
                422,
                f"{self.since} to {self.until} is no period that can be shown.",
                advice="Its first day cannot come after its last, nor its last after today.",
            )
        period = Period(self.since, self.until)
        if period.day_count > MAX_DAYS:
            raise Problem(422, f"A period has at most {MAX_DAYS} days, not {period.day_count}.")
        return period


ShownBrand = Annotated[Brand, Depends(shown_brand(Reader.AD_PERFORMANCE))]
AskedQuery = Annotated[Asked, Query()]


@router.get("/brands/{brand}/ad-performance", name="ad_performance")
def ad_performance(
    request: Request, web: Web, brand: ShownBrand, principal: PageViewer, asked: AskedQuery
) -> Response:
    """The page; for a poll that has seen what stands there, 204."""
    now = web.now()
    readiness = _readiness(web, brand, now)
    pulse = web.background.pulse
    tag = page_tag(readiness, pulse)
    if asked.seen == tag:
        return Response(status_code=204)
    today = _today(brand, now)
    period = asked.period(today)
    path = request.url.path
    is_withheld = readiness.answer is Answer.WITHHOLD
    return render(
        request,
        "ad_performance.html",
        now=now,
        brand=brand,
        readiness=readiness,
        pulse=pulse,
        poll_url=address(request, seen=tag, page=asked.page if asked.page > 1 else None),
        address=lambda **changes: address(request, **{"seen": None, **changes}),
        may_sync=principal.may(Role.OPERATOR, brand.organization_id),
        asked=asked,
        kept=asked.model_dump(mode="json", exclude_defaults=True, exclude={"page", "seen"}),
        csv_url=f"{path}.csv{address(request, seen=None, page=None).removeprefix(path)}",
        is_filtered=asked.wanted != AdFilter(),
        clear_url=address(request, seen=None, **dict.fromkeys(_FILTERS)),
        period=period,
        period_lengths=("7", "14", "28", "90"),
        today=today,
        is_withheld=is_withheld,
        figures=FIGURES,
        charts=CHARTS,
        media_types=list(MediaType),
        labels=LABELS,
        has_scores=_is_scorecard_usable(readiness),
        write=write_figure,
        **({} if is_withheld else _figures(web, brand, asked, period, readiness)),
    )


@router.get("/brands/{brand}/ad-performance.csv", name="ad_performance_csv")
def ad_performance_csv(web: Web, brand: ShownBrand, asked: AskedQuery) -> StreamingResponse:
    """All ads that the filter finds, in the page's order."""
    now = web.now()
    readiness = _readiness(web, brand, now)
    if readiness.answer is Answer.WITHHOLD:
        raise Problem(
            409,
            f"The figures of {brand.id} are not shown: the data is not fresh enough.",
            advice="The page tells why, and what to do.",
        )
    period = asked.period(_today(brand, now))
    ads = _ads(web, brand, asked, period, _wanted(asked, readiness))
    name = f"ad-performance_{brand.id}_{period.since}_{period.until}.csv"
    return answer_csv(name, CSV_COLUMNS, (csv_row(ad, period) for ad in ads))


def _readiness(web: Context, brand: Brand, now: datetime) -> Readiness:
    pages = web.pages
    return read_readiness(web.engine, brand.id, pages[Reader.AD_PERFORMANCE], now=now)


def _is_scorecard_usable(readiness: Readiness) -> bool:
    return all(each.is_usable for each in readiness.datasets if each.dataset == "scorecard")


def _wanted(asked: Asked, readiness: Readiness) -> AdFilter:
    return replace(asked.wanted, is_scorecard_usable=_is_scorecard_usable(readiness))


def _today(brand: Brand, now: datetime) -> date:
    return now.astimezone(ZoneInfo(brand.timezone)).date()


def _ads(
    web: Context,
    brand: Brand,
    asked: Asked,
    period: Period,
    wanted: AdFilter,
    *,
    limit: int | None = None,
    offset: int = 0,
) -> Iterator[AdSums]:
    return read_ads(
        web.engine,
        brand.id,
        since=period.since,
        until=period.until,
        wanted=wanted,
        order=asked.ad_order,
        limit=limit,
        offset=offset,
    )


@dataclass(frozen=True)
class AdPage:
    """A page of the table of ads, and what all its pages come to."""

    ads: list[AdSums]
    totals: list[Totals]
    number: int

    @property
    def ad_count(self) -> int:
        """How many ads the filter finds."""
        return sum(each.ad_count for each in self.totals)

    @property
    def page_count(self) -> int:
        """On how many pages they are."""
        return max(1, -(-self.ad_count // PAGE_SIZE))


def _figures(
    web: Context, brand: Brand, asked: Asked, period: Period, readiness: Readiness
) -> dict[str, Any]:
    """What the page shows unless it is withheld."""
    stored = read_stored_days(web.engine, brand.id)
    if stored is None:
        return {"stored": None}
    days = read_daily_sums(web.engine, brand.id, since=period.before.since, until=period.until)
    series = build_series(
        (Day(each.date, each.currency, each.is_provisional, each.sums) for each in days), period
    )
    is_comparable = stored[0] <= period.before.since
    wanted = _wanted(asked, readiness)
    totals = read_totals(
        web.engine, brand.id, since=period.since, until=period.until, wanted=wanted
    )
    offset = (asked.page - 1) * PAGE_SIZE
    ads = list(_ads(web, brand, asked, period, wanted, limit=PAGE_SIZE, offset=offset))
    return {
        "stored": stored,
        "latest": Period(max(stored[0], stored[1] - timedelta(27)), stored[1]),
        "is_comparable": is_comparable,
        "series": [_series_view(each, is_comparable=is_comparable) for each in series],
        "ad_page": AdPage(ads, totals, asked.page),
        "statuses": read_statuses(web.engine, brand.id),
    }


def _series_view(series: Series, *, is_comparable: bool) -> dict[str, Any]:
    return {
        "currency": series.currency,
        "is_provisional": series.is_provisional,
        "tiles": build_tiles(series, is_comparable=is_comparable),
        "chart_data": chart_data(series),
        "day_rows": build_day_rows(series),
    }

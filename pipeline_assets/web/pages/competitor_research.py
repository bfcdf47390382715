"""The page "Competitor research" of a brand: what others advertise, and for how long.

An ad and its copies are one row, under the oldest of them: it ran when any of them did.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Annotated, Any

import sqlalchemy as sa
from fastapi import APIRouter, Depends, Response
from fastapi.responses import StreamingResponse

from pipeline_assets.datasets import Reader
from pipeline_assets.schemas import COMPETITOR_ADS
from pipeline_assets.storage.json_lists import Held
from pipeline_assets.storage.listing import BRAND, Beside, read_groups, read_listing
from pipeline_assets.storage.reading import read_rows
from pipeline_assets.storage.tables import DATASET_TABLES
from pipeline_assets.web.pages.reader_page import NOTHING, ReaderPage, Text, View

router = APIRouter()

MAX_ADVERTISERS = 8
MAX_BARS = 24
"""So many bars are shared out among the advertisers of the timeline: what one screen holds."""

MAX_TICKS = 6
"""So many months are named at the timeline, without one's words running into the next's."""

MAX_COPIES = 50

NEW_FOR = timedelta(days=30)

_CANDIDATES = 500
"""So many of the ads that have run longest are looked through for the timeline's advertisers."""

_SECONDS_A_DAY = 86_400
_ADS = DATASET_TABLES["competitor_ads"].c


def _copies() -> Beside:
    """What an ad and its copies come to together, at the oldest of them."""
    oldest = sa.func.coalesce(_ADS.duplicate_of, _ADS.library_ad_id)
    # Without the cast SQLite makes no index of them, and goes through all for each of ours.
    original = sa.cast(oldest, sa.Text).label("library_ad_id")
    began = sa.cast(sa.extract("epoch", _ADS.started_on), sa.BigInteger)
    ended = began + _ADS.days_running * _SECONDS_A_DAY
    # The highest of these words by the alphabet is what the copies show together.
    media = sa.case(
        (sa.cast(_ADS.video_urls, sa.Text) != "[]", "video"),
        (sa.cast(_ADS.image_urls, sa.Text) != "[]", "picture"),
        else_="not told",
    )
    together: dict[str, sa.ColumnElement[Any]] = {
        "is_active": sa.func.sum(sa.case((_ADS.is_active, 1), else_=0)) > 0,
        "started_on": sa.func.min(_ADS.started_on),
        "days_running": (sa.func.max(ended) - sa.func.min(began)) // _SECONDS_A_DAY,
        "last_seen_at": sa.func.max(_ADS.last_seen_at),
        "copy_count": sa.func.count() - 1,
        "page_count": sa.func.count(sa.distinct(_ADS.page_name)),
        "page_names": sa.func.aggregate_strings(_ADS.page_name, " | "),
        "library_ad_ids": sa.func.aggregate_strings(_ADS.library_ad_id, " | "),
        "media": sa.func.max(media),
    }
    rows = (
        sa.select(original, *(value.label(name) for name, value in together.items()))
        .where(_ADS.brand_id == BRAND)
        .group_by(original)
        .subquery("copies")
    )
    return Beside(rows=rows, on=("library_ad_id",), columns={name: name for name in together})


PAGE = ReaderPage(
    reader=Reader.COMPETITOR_RESEARCH,
    schema=COMPETITOR_ADS,
    item="ad",
    sort="days_running",
    sortable=("days_running", "started_on", "page_name", "copy_count", "eu_reach"),
    columns=(
        *("library_ad_id", "page_id", "page_name", "title", "body", "description", "cta"),
        *("display_domain", "landing_url", "library_url", "preview_sha256", "eu_reach"),
        *("platforms", "languages", "source", "matched_by", "first_seen_at"),
    ),
    besides={"competitor_ads": _copies()},
    where=(_ADS.duplicate_of.is_(None),),
    searched=("library_ad_ids", "page_names", "title", "body", "description", "display_domain"),
    choices={
        "page_name": "Advertiser",
        "is_active": "Running",
        "media": "Media",
        "language": "Language",
        "source": "Source",
    },
    held={"language": Held("languages")},
    csv=(
        *("library_ad_id", "page_name", "page_id", "title", "body", "description", "cta"),
        *("display_domain", "landing_url", "is_active", "started_on", "days_running", "copy_count"),
        *("library_ad_ids", "media", "languages", "platforms", "eu_reach", "source", "matched_by"),
        *("library_url", "first_seen_at", "last_seen_at"),
    ),
)


@router.get("/brands/{brand}/competitor-research", name="competitor_research")
def competitor_research(view: Annotated[View, Depends(PAGE.open)], open: Text = "") -> Response:  # noqa: A002 - the name in the address
    """The page: who has run what for how long, and the ads; `open` is the id of one of them."""
    template = "competitor_research.html"
    if view.is_seen() or view.is_withheld:
        return view.render(template)
    return view.render(
        template, timeline=_read_timeline(view), opened=_open(view, open), last_day=last_day
    )


@router.get("/brands/{brand}/competitor-research.csv", name="competitor_research_csv")
def competitor_research_csv(
    view: Annotated[View, Depends(PAGE.open_csv)],
) -> StreamingResponse:
    """The ads that the filters find, each with its copies in one row."""
    return view.answer_csv()


def last_day(ad: Mapping[str, Any]) -> date:
    """The last day on which an ad, whose first is known, was delivered or seen."""
    days: int = ad["days_running"]
    began: date = ad["started_on"]
    return began + timedelta(days=max(days - 1, 0))


@dataclass(frozen=True, kw_only=True)
class Bar:
    """How long an ad has run: from `x`, so wide, in per cent of the timeline's width."""

    x: float
    width: float
    ad: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Advertiser:
    """What a page's ads come to, and the bars of those that have run longest, longest first.

    `name` is None for ads of which the page is not known. An ad counts once, whatever its copies.
    """

    name: str | None
    ad_count: int
    copy_count: int
    running_count: int
    new_count: int
    bars: Sequence[Bar]

    @property
    def value(self) -> str:
        """How the address writes the name."""
        return self.name or NOTHING


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """The ads that have run longest, of each advertiser; the one with the longest first.

    `copy_count`: those of all ads. `months`: (place in per cent, first day) of those with a name.
    """

    advertisers: Sequence[Advertiser]
    advertiser_count: int
    copy_count: int
    months: Sequence[tuple[float, date]]


def _read_timeline(view: View) -> Timeline | None:
    """The timeline of the ads that the filters find; None when no first day is known."""
    selection = view.selection()
    longest = replace(
        selection,
        columns=("library_ad_id", "page_name", "title", "body"),
        where=(*selection.where, selection.column("days_running").is_not(None)),
        sort="days_running",
        is_descending=True,
    )
    ads = read_listing(view.web.engine, longest, limit=_CANDIDATES).rows
    if not ads:
        return None
    sums = _read_advertisers(view)
    shown = dict.fromkeys(ad["page_name"] for ad in ads)
    names = list(shown)[:MAX_ADVERTISERS]
    bar_count = -(-MAX_BARS // len(names))
    of_each = {name: [ad for ad in ads if ad["page_name"] == name][:bar_count] for name in names}
    axis = _Axis.of([ad for each in of_each.values() for ad in each], today=view.now.date())
    return Timeline(
        advertisers=[
            Advertiser(
                name=name,
                ad_count=sums[name]["ad_count"],
                copy_count=int(sums[name]["copy_count"]),
                running_count=sums[name]["running_count"],
                new_count=sums[name]["new_count"],
                bars=[axis.bar(ad) for ad in of_each[name]],
            )
            for name in names
        ],
        advertiser_count=len(sums),
        copy_count=sum(int(each["copy_count"]) for each in sums.values()),
        months=list(axis.months()),
    )


def _read_advertisers(view: View) -> dict[str | None, Mapping[str, Any]]:
    selection = view.selection()
    since = view.now.date() - NEW_FOR
    figures = {
        "ad_count": sa.func.count(),
        "copy_count": sa.func.sum(selection.column("copy_count")),
        "running_count": sa.func.count().filter(selection.column("is_active").is_(True)),
        "new_count": sa.func.count().filter(selection.column("started_on") > since),
    }
    groups = read_groups(view.web.engine, selection, by=("page_name",), figures=figures)
    return {group["page_name"]: group for group in groups}


@dataclass(frozen=True)
class _Axis:
    """Days from the first of a month up to an end that is not in it any more."""

    start: date
    end: date

    @classmethod
    def of(cls, ads: Sequence[Mapping[str, Any]], *, today: date) -> "_Axis":
        """From the month of the first ad to today, or to the last day of an ad."""
        first = min(ad["started_on"] for ad in ads)
        last = max(today, *(last_day(ad) for ad in ads))
        return cls(first.replace(day=1), last + timedelta(days=1))

    def place(self, day: date) -> float:
        return (day - self.start) / (self.end - self.start) * 100

    def bar(self, ad: Mapping[str, Any]) -> Bar:
        x = self.place(ad["started_on"])
        return Bar(x=x, width=self.place(last_day(ad) + timedelta(days=1)) - x, ad=ad)

    def months(self) -> Iterator[tuple[float, date]]:
        """Months at even distances, such as each January and July."""
        first, last = (day.year * 12 + day.month - 1 for day in (self.start, self.end))
        steps = (1, 2, 3, 6, 12, 24, 60)
        step = next((each for each in steps if (last - first) // each < MAX_TICKS), 120)
        for month in range(-(-first // step) * step, last + 1, step):
            day = date(month // 12, month % 12 + 1, 1)
            if day < self.end:
                yield self.place(day), day


@dataclass(frozen=True, kw_only=True)
class Opened:
    """An ad, and its copies, the oldest first; `copy_count` of them in all."""

    ad: Mapping[str, Any]
    copies: Sequence[Mapping[str, Any]]
    copy_count: int


def _open(view: View, library_ad_id: str) -> Opened | None:
    """What the address names as open; None when the brand knows no such ad."""
    if not library_ad_id:
        return None
    is_it = (_ADS.library_ad_id == library_ad_id) | (_ADS.duplicate_of == library_ad_id)
    columns = tuple(name for name in COMPETITOR_ADS.column_names if name != "raw")
    found = read_rows(
        view.web.engine, COMPETITOR_ADS, brand_id=view.brand.id, columns=columns, where=(is_it,)
    )
    ad = next((row for row in found if row["library_ad_id"] == library_ad_id), None)
    if ad is None:
        return None
    copies = [row for row in found if row is not ad]
    copies.sort(key=lambda row: (row["started_on"] or date.max, row["library_ad_id"]))
    return Opened(ad=ad, copies=copies[:MAX_COPIES], copy_count=len(copies))

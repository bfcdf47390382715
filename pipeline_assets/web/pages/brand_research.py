"""The pages "Brand research" of a brand: its media library, and the landing pages of its ads."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import sqlalchemy as sa
from fastapi import APIRouter, Depends, Response
from fastapi.responses import StreamingResponse

from pipeline_assets.datasets import Reader
from pipeline_assets.schemas import AD_ASSETS, LANDING_PAGES, META_AD_CREATIVES
from pipeline_assets.storage.listing import BRAND, Beside
from pipeline_assets.storage.reading import read_rows
from pipeline_assets.storage.tables import DATASET_TABLES
from pipeline_assets.web.pages.reader_page import ReaderPage, Text, View

router = APIRouter()

MAX_ADS = 100
"""So many ads of one picture are listed; a library picture may be in thousands."""

_ASSETS = DATASET_TABLES["ad_assets"].c
_ADS = DATASET_TABLES["meta_ad_creatives"].c


def _media() -> Beside:
    """Each picture and video once, however many creatives show it, with its ads.

    `shown_creative_id` is a creative whose row has the bytes, if any has.
    """
    # The ads of each creative first: a join of all with all would take SQLite minutes.
    of_creative = (
        sa.select(
            _ADS.creative_id,
            sa.func.count().label("ad_count"),
            sa.func.min(_ADS.ad_name).label("ad_name"),
            sa.func.aggregate_strings(_ADS.ad_name, " | ").label("ad_names"),
        )
        .where(_ADS.brand_id == BRAND)
        .group_by(_ADS.creative_id)
        .subquery("ads_of_creative")
    )
    has_bytes = _ASSETS.sha256.is_not(None) | _ASSETS.poster_sha256.is_not(None)
    with_bytes = sa.func.min(sa.case((has_bytes, _ASSETS.creative_id)))
    ads = of_creative.c
    ad_count = sa.func.coalesce(sa.func.sum(ads.ad_count), 0)
    rows = (
        sa.select(
            _ASSETS.media_type,
            _ASSETS.media_id,
            sa.func.coalesce(with_bytes, sa.func.min(_ASSETS.creative_id)).label("creative_id"),
            sa.cast(ad_count, sa.BigInteger).label("ad_count"),
            sa.func.min(ads.ad_name).label("ad_name"),
            sa.func.aggregate_strings(ads.ad_names, " | ").label("ad_names"),
        )
        .select_from(DATASET_TABLES["ad_assets"])
        .outerjoin(of_creative, ads.creative_id == _ASSETS.creative_id)
        .where(_ASSETS.brand_id == BRAND)
        .group_by(_ASSETS.media_type, _ASSETS.media_id)
        .subquery("media")
    )
    columns = {"shown_creative_id": "creative_id"}
    columns |= {name: name for name in ("ad_count", "ad_name", "ad_names")}
    return Beside(rows=rows, on=("media_type", "media_id"), columns=columns)


_MEDIA = _media()

LIBRARY = ReaderPage(
    reader=Reader.BRAND_RESEARCH,
    schema=AD_ASSETS,
    item="picture or video",
    items="pictures and videos",
    sort="stored_at",
    sortable=("stored_at", "ad_count", "ad_name", "byte_count", "duration_seconds"),
    besides={"ad_assets": _MEDIA},
    where=(_ASSETS.creative_id == _MEDIA.rows.c.creative_id,),
    searched=("media_id", "ad_names"),
    choices={"media_type": "Kind", "state": "State"},
    csv=(
        *("media_type", "media_id", "state", "sha256", "content_type", "byte_count", "width"),
        *("height", "duration_seconds", "stored_at", "error", "ad_count", "ad_names"),
    ),
)

PAGES = ReaderPage(
    reader=Reader.BRAND_RESEARCH,
    schema=LANDING_PAGES,
    item="landing page",
    sort="ad_count",
    sortable=("ad_count", "title", "price", "changed_at", "read_at", "url"),
    columns=tuple(name for name in LANDING_PAGES.column_names if name != "main_text"),
    searched=("url", "title", "h1", "hero_text"),
    choices={"state": "State", "language": "Language", "host": "Shop", "currency": "Currency"},
)


@router.get("/brands/{brand}/brand-research", name="brand_research")
def media_library(view: Annotated[View, Depends(LIBRARY.open)], open: Text = "") -> Response:  # noqa: A002 - the name in the address
    """The media library; `open` is a picture or video, such as `video:123`, shown with its ads."""
    if view.is_seen() or view.is_withheld:
        return view.render("brand_research.html")
    return view.render("brand_research.html", opened=_open(view, open), sorts=_SORTS)


@router.get("/brands/{brand}/brand-research.csv", name="brand_research_csv")
def media_library_csv(view: Annotated[View, Depends(LIBRARY.open_csv)]) -> StreamingResponse:
    """The pictures and videos that the filters find, with their ads."""
    return view.answer_csv()


@router.get("/brands/{brand}/brand-research/pages", name="brand_research_pages")
def landing_pages(view: Annotated[View, Depends(PAGES.open)]) -> Response:
    """The landing pages of the brand's ads, with what each one said when."""
    return view.render("brand_research_pages.html")


@router.get("/brands/{brand}/brand-research/pages.csv", name="brand_research_pages_csv")
def landing_pages_csv(view: Annotated[View, Depends(PAGES.open_csv)]) -> StreamingResponse:
    """The landing pages that the filters find."""
    return view.answer_csv()


_SORTS = {
    "stored_at": "Newest",
    "ad_count": "In most ads",
    "byte_count": "Largest",
    "duration_seconds": "Longest",
}


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A picture or video and its ads, by name; `ad_count` of them in all."""

    media: Mapping[str, Any]
    ads: Sequence[Mapping[str, Any]]
    ad_count: int


def _open(view: View, name: str) -> Opened | None:
    """What the address names as open; None when the brand has no such picture or video."""
    media_type, _, media_id = name.partition(":")
    if not media_id:
        return None
    is_it = (_ASSETS.media_type == media_type, _ASSETS.media_id == media_id)
    rows = read_rows(view.web.engine, AD_ASSETS, brand_id=view.brand.id, where=is_it)
    if not rows:
        return None
    shown = next((row for row in rows if row["sha256"] or row["poster_sha256"]), rows[0])
    creatives = sa.select(_ASSETS.creative_id).where(_ASSETS.brand_id == view.brand.id, *is_it)
    ads = read_rows(
        view.web.engine,
        META_AD_CREATIVES,
        brand_id=view.brand.id,
        columns=("ad_id", "ad_name", "effective_status", "title", "body"),
        where=(_ADS.creative_id.in_(creatives),),
    )
    ads.sort(key=lambda ad: (ad["effective_status"] != "ACTIVE", ad["ad_name"] or ad["ad_id"]))
    return Opened(media=shown, ads=ads[:MAX_ADS], ad_count=len(ads))

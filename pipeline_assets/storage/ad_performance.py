"""Sums of a brand's daily ad figures: by day, and by ad with what is known of each.

Belongs here: grouping, filtering, sorting and paging in the database, because a brand may have a
million ad-days. Does not: what is made of the sums (`analysis/ad_figures.py` names the figures). No
sum adds up different currencies. Amounts are added exactly (`exact_sums.py`).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import date
from decimal import Decimal
from typing import Any

import sqlalchemy as sa

from pipeline_assets.storage.exact_sums import amount_as_double, amount_parts, join_amount
from pipeline_assets.storage.listing import contains
from pipeline_assets.storage.tables import DATASET_TABLES

_ROWS = DATASET_TABLES["meta_ads_performance"]
_CREATIVES = DATASET_TABLES["meta_ad_creatives"]
_THUMBNAILS = DATASET_TABLES["ad_thumbnails"]
_ASSETS = DATASET_TABLES["ad_assets"]
_CLASSES = DATASET_TABLES["ad_classifications"]
_SCORES = DATASET_TABLES["scorecard"]
_LIBRARY_ADS = (DATASET_TABLES["templates_scraped"], DATASET_TABLES["competitor_ads"])
_DRAFTS = DATASET_TABLES["ad_creations"]
_ADS_AT_ONCE = 500

Sums = Mapping[str, Decimal | int]


def _of_videos(column: sa.Column[int]) -> sa.ColumnElement[int]:
    return sa.case((_ROWS.c.video_plays > 0, column), else_=0)


_AMOUNTS = ("spend", "purchases", "purchase_value")
_COUNTS: dict[str, sa.ColumnElement[int]] = {
    "impressions": _ROWS.c.impressions,
    "inline_link_clicks": _ROWS.c.inline_link_clicks,
    "video_impressions": _of_videos(_ROWS.c.impressions),
    "hooked_views": _of_videos(_ROWS.c.video_3s_views),
    "video_3s_views": _ROWS.c.video_3s_views,
    "thruplays": _ROWS.c.thruplays,
}
_SUMMED: dict[str, sa.ColumnElement[int]] = {
    **{part: each for name in _AMOUNTS for part, each in amount_parts(_ROWS.c[name]).items()},
    **_COUNTS,
}
SUM_NAMES = (*_AMOUNTS, *_COUNTS)
"""What is summed: amounts as Decimal, counts as int.

`video_impressions` and `hooked_views` are the impressions and 3-second views of rows with video
plays: pictures have no hook rate.
"""


@dataclass(frozen=True, kw_only=True)
class DaySums:
    """A day in one currency, all accounts added; provisional when any row of it is."""

    date: date
    currency: str
    is_provisional: bool
    sums: Sums


@dataclass(frozen=True, kw_only=True)
class AdFilter:
    """Which ads; what is None or empty does not narrow.

    `text` is looked for in the names of ad, ad set and campaign, `campaign` in the campaign's name,
    or is its id. Case does not matter (SQLite: all of lower or upper case, or as it stands).
    `media_type` and `status` are as in `meta_ad_creatives`, effective status first; `label` and
    `is_fatigued` are what the scorecard says of the ad's creative: nothing, unless it is usable.
    """

    text: str = ""
    campaign: str = ""
    status: str = ""
    media_type: str = ""
    currency: str = ""
    label: str = ""
    is_fatigued: bool = False
    is_scorecard_usable: bool = True


@dataclass(frozen=True, kw_only=True)
class AdOrder:
    """By one sum, or by one divided by another; what divides by 0 comes last either way."""

    numerator: str = "spend"
    denominator: str | None = None
    is_descending: bool = True


@dataclass(frozen=True, kw_only=True)
class Score:
    """What the scorecard says of an ad's creative in the ad's currency, of its own 28 days."""

    label: str
    label_reason: str
    is_fatigued: bool
    fatigue_reasons: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class AdSums:
    """One ad's sums of a period, in one currency, and what is known of the ad.

    Names are those of its last day in the period. What comes from other datasets is None as long as
    they do not hold it.
    """

    ad_account_id: str
    ad_id: str
    ad_name: str | None
    adset_id: str | None
    adset_name: str | None
    campaign_id: str | None
    campaign_name: str | None
    currency: str
    last_date: date
    is_provisional: bool
    status: str | None
    media_type: str | None
    creative_id: str | None
    thumbnail_sha256: str | None
    hook_type: str | None
    messaging_angle: str | None
    funnel_stage: str | None
    score: Score | None
    sums: Sums


_FACTS = [field.name for field in fields(AdSums) if field.name not in {"score", "sums"}]


@dataclass(frozen=True, kw_only=True)
class Totals:
    """How many ads a filter finds in one currency, and their sums."""

    currency: str
    ad_count: int
    is_provisional: bool
    sums: Sums


def read_daily_sums(engine: sa.Engine, brand_id: str, *, since: date, until: date) -> list[DaySums]:
    """The days that have rows, by date and currency."""
    columns = _ROWS.c
    statement = (
        sa.select(columns.date, columns.currency, *_aggregates())
        .where(*_within(brand_id, since, until))
        .group_by(columns.date, columns.currency)
        .order_by(columns.date, columns.currency)
    )
    with engine.connect() as connection:
        return [
            DaySums(
                date=row["date"],
                currency=row["currency"],
                is_provisional=bool(row["is_provisional"]),
                sums=_sums(row),
            )
            for row in connection.execute(statement).mappings()
        ]


def read_stored_days(engine: sa.Engine, brand_id: str) -> tuple[date, date] | None:
    """The first and the last day that a brand has rows of; None without any."""
    days = sa.select(_ROWS.c.date).where(_ROWS.c.brand_id == brand_id)
    # Each end by itself is one step in the index.
    first = days.order_by(_ROWS.c.date).limit(1).scalar_subquery()
    last = days.order_by(_ROWS.c.date.desc()).limit(1).scalar_subquery()
    with engine.connect() as connection:
        found = connection.execute(sa.select(first, last)).one()
    return (found[0], found[1]) if found[0] is not None else None


def read_ads(
    engine: sa.Engine,
    brand_id: str,
    *,
    since: date,
    until: date,
    wanted: AdFilter,
    order: AdOrder,
    limit: int | None = None,
    offset: int = 0,
) -> Iterator[AdSums]:
    """The ads with rows in the period that the filter finds, in the wanted order, then by id.

    They are read while they are taken, a few hundred at a time: all of them fit into little memory.
    An iterator that is not read to its end is to be closed.
    """
    ads = _found_ads(brand_id, since, until, wanted)
    statement = (
        sa.select(
            ads,
            _THUMBNAILS.c.sha256.label("thumbnail_sha256"),
            _CLASSES.c.hook_type,
            _CLASSES.c.messaging_angle,
            _CLASSES.c.funnel_stage,
        )
        .select_from(ads)
        .outerjoin(_THUMBNAILS, _of_creative(_THUMBNAILS, ads, brand_id))
        .outerjoin(_CLASSES, _of_creative(_CLASSES, ads, brand_id))
        .order_by(_sort_key(ads, order), ads.c.ad_id, ads.c.ad_account_id, ads.c.currency)
        .limit(limit)
        .offset(offset)
    )
    with engine.connect() as connection:
        found = connection.execute(statement, execution_options={"yield_per": _ADS_AT_ONCE})
        for rows in found.mappings().partitions():
            scores = _read_scores(connection, brand_id, rows) if wanted.is_scorecard_usable else {}
            for row in rows:
                facts = {name: row[name] for name in _FACTS}
                facts["is_provisional"] = bool(facts["is_provisional"])
                score = scores.get((row["creative_key"], row["currency"]))
                yield AdSums(**facts, score=score, sums=_sums(row))


def _read_scores(
    connection: sa.Connection, brand_id: str, ads: Sequence[sa.RowMapping]
) -> dict[tuple[str, str], Score]:
    """By creative's key and currency. Joined to the ads, PostgreSQL compares all with all."""
    columns = _SCORES.c
    names = [field.name for field in fields(Score)]
    statement = sa.select(
        columns.creative_key, columns.currency, *(columns[name] for name in names)
    ).where(
        columns.brand_id == brand_id, columns.creative_key.in_({ad["creative_key"] for ad in ads})
    )
    return {
        (row["creative_key"], row["currency"]): Score(**{name: row[name] for name in names})
        for row in connection.execute(statement).mappings()
    }


def read_totals(
    engine: sa.Engine, brand_id: str, *, since: date, until: date, wanted: AdFilter
) -> list[Totals]:
    """What `read_ads` with this filter comes to without paging, by currency."""
    ads = _found_ads(brand_id, since, until, wanted)
    statement = (
        sa.select(
            ads.c.currency,
            sa.func.count().label("ad_count"),
            sa.func.max(ads.c.is_provisional).label("is_provisional"),
            *(sa.func.sum(ads.c[name]).label(name) for name in _SUMMED),
        )
        .group_by(ads.c.currency)
        .order_by(ads.c.currency)
    )
    with engine.connect() as connection:
        return [
            Totals(
                currency=row["currency"],
                ad_count=row["ad_count"],
                is_provisional=bool(row["is_provisional"]),
                sums=_sums(row),
            )
            for row in connection.execute(statement).mappings()
        ]


def read_statuses(engine: sa.Engine, brand_id: str) -> list[str]:
    """The statuses that a brand's ads have, by name."""
    status = _status()
    statement = sa.select(status).where(_CREATIVES.c.brand_id == brand_id, status.is_not(None))
    with engine.connect() as connection:
        return sorted(connection.execute(statement.distinct()).scalars())


def find_media_type(engine: sa.Engine, brand_id: str, sha256: str) -> str | None:
    """The content type of a brand's picture or video with this hash, whoever's ad shows it.

    None when the brand has none: another brand's bytes are not told from those of nobody.
    """
    jpeg = sa.literal("image/jpeg")  # its own is not kept; browsers tell pictures by their bytes
    drafts = _DRAFTS.c.pictures
    places = (
        (_THUMBNAILS, _THUMBNAILS.c.sha256 == sha256, _THUMBNAILS.c.content_type),
        (_ASSETS, _ASSETS.c.sha256 == sha256, _ASSETS.c.content_type),
        (_ASSETS, _ASSETS.c.poster_sha256 == sha256, jpeg),
        *((ads, ads.c.preview_sha256 == sha256, jpeg) for ads in _LIBRARY_ADS),
        (_DRAFTS, sa.cast(drafts, sa.Text).contains(f'"{sha256}"'), sa.literal("image/png")),
    )
    statement = sa.union_all(
        *(
            sa.select(content_type).where(table.c.brand_id == brand_id, is_it)
            for table, is_it, content_type in places
        )
    ).limit(1)
    with engine.connect() as connection:
        return connection.execute(statement).scalar()


def _aggregates() -> list[sa.Label[Any]]:
    return [
        sa.func.max(sa.cast(_ROWS.c.provisional, sa.Integer)).label("is_provisional"),
        *(sa.func.sum(each).label(name) for name, each in _SUMMED.items()),
    ]


def _within(brand_id: str, since: date, until: date) -> tuple[sa.ColumnElement[bool], ...]:
    return _ROWS.c.brand_id == brand_id, _ROWS.c.date.between(since, until)


def _found_ads(brand_id: str, since: date, until: date, wanted: AdFilter) -> sa.Subquery:
    """A row per ad with sums, names and what its creative says."""
    columns = _ROWS.c
    key = (columns.ad_account_id, columns.ad_id, columns.currency)
    by_ad = (
        sa.select(*key, sa.func.max(columns.date).label("last_date"), *_aggregates())
        .where(*_within(brand_id, since, until))
        .group_by(*key)
    )
    if wanted.currency:
        by_ad = by_ad.where(columns.currency == wanted.currency)
    if wanted.label or wanted.is_fatigued:
        by_ad = by_ad.where(sa.tuple_(*key).in_(_ads_with_score(brand_id, wanted)))
    sums = by_ad.subquery("sums")
    last = _ROWS.alias("last")
    names = [last.c[n] for n in ("adset_id", "adset_name", "campaign_id", "campaign_name")]
    ad_name = sa.func.coalesce(last.c.ad_name, _CREATIVES.c.ad_name)
    media_type = sa.func.coalesce(_CREATIVES.c.media_type, "unknown")
    found = (
        sa.select(
            sums,
            ad_name.label("ad_name"),
            *names,
            _status().label("status"),
            media_type.label("media_type"),
            _CREATIVES.c.creative_id,
            _creative_key().label("creative_key"),
        )
        .select_from(sums)
        .join(
            last,
            sa.and_(
                last.c.brand_id == brand_id,
                last.c.ad_account_id == sums.c.ad_account_id,
                last.c.date == sums.c.last_date,
                last.c.ad_id == sums.c.ad_id,
            ),
        )
        .outerjoin(
            _CREATIVES,
            sa.and_(
                _CREATIVES.c.brand_id == brand_id,
                _CREATIVES.c.ad_account_id == sums.c.ad_account_id,
                _CREATIVES.c.ad_id == sums.c.ad_id,
            ),
        )
    )
    if wanted.text:
        named = (ad_name, last.c.adset_name, last.c.campaign_name)
        found = found.where(sa.or_(*(contains(name, wanted.text) for name in named)))
    if wanted.campaign:
        is_campaign = last.c.campaign_id == wanted.campaign
        found = found.where(is_campaign | contains(last.c.campaign_name, wanted.campaign))
    if wanted.status:
        found = found.where(_status() == wanted.status)
    if wanted.media_type:
        found = found.where(media_type == wanted.media_type)
    return found.subquery("ads")


def _status() -> sa.ColumnElement[str]:
    return sa.func.coalesce(_CREATIVES.c.effective_status, _CREATIVES.c.status)


def _creative_key() -> sa.ColumnElement[str]:
    """Which creative of the scorecard an ad shows, as `analysis/creative_days.py` names it."""
    columns = _CREATIVES.c
    video, image = (columns[ids][0].as_string() for ids in ("video_ids", "image_hashes"))
    return sa.case(
        (columns.media_type.in_(["carousel", "collection"]), "creative:" + columns.creative_id),
        (video.is_not(None), "video:" + video),
        (image.is_not(None), "image:" + image),
        else_="creative:" + columns.creative_id,
    )


def _ads_with_score(brand_id: str, wanted: AdFilter) -> sa.Select[tuple[str, str, str]]:
    """Account, id and currency of the ads whose creative's score is a wanted one."""
    columns = _SCORES.c
    found = (
        sa.select(_CREATIVES.c.ad_account_id, _CREATIVES.c.ad_id, columns.currency)
        .join(_SCORES, columns.creative_key == _creative_key())
        .where(_CREATIVES.c.brand_id == brand_id, columns.brand_id == brand_id)
    )
    if wanted.label:
        found = found.where(columns.label == wanted.label)
    if wanted.is_fatigued:
        found = found.where(columns.is_fatigued)
    return found if wanted.is_scorecard_usable else found.where(sa.false())


def _of_creative(table: sa.Table, ads: sa.Subquery, brand_id: str) -> sa.ColumnElement[bool]:
    return sa.and_(table.c.brand_id == brand_id, table.c.creative_id == ads.c.creative_id)


def _sort_key(ads: sa.Subquery, order: AdOrder) -> sa.UnaryExpression[Any]:
    key = _double(ads, order.numerator)
    if order.denominator is not None:
        key = key / sa.func.nullif(_double(ads, order.denominator), 0)
    return (key.desc() if order.is_descending else key.asc()).nulls_last()


def _double(ads: sa.Subquery, name: str) -> sa.ColumnElement[float]:
    """A sum as it is sorted by: SQLite divides whole numbers without a rest."""
    return amount_as_double(ads, name) if name in _AMOUNTS else sa.cast(ads.c[name], sa.Double)


def _sums(row: sa.RowMapping) -> Sums:
    amounts = {name: join_amount(row, name) for name in _AMOUNTS}
    return amounts | {name: int(row[name]) for name in _COUNTS}

"""Sums of a brand's daily ad figures: by day, and by ad with what is known of each.

Belongs here: grouping, filtering, sorting and paging in the database, because a brand may have a
million ad-days. Does not: what is made of the sums (`analysis/ad_figures.py` names the figures). No
sum adds up different currencies. Amounts are added as whole units and whole millionths: exact for
amounts of up to six decimals, on both databases, where SQLite would add doubles.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

import sqlalchemy as sa

from pipeline_assets.storage.listing import contains
from pipeline_assets.storage.tables import DATASET_TABLES

_MICRO_DIGITS = 6
_MICROS = "_micros"
_ROWS = DATASET_TABLES["meta_ads_performance"]
_CREATIVES = DATASET_TABLES["meta_ad_creatives"]
_THUMBNAILS = DATASET_TABLES["ad_thumbnails"]
_ASSETS = DATASET_TABLES["ad_assets"]
_CLASSES = DATASET_TABLES["ad_classifications"]

Sums = Mapping[str, Decimal | int]


def _units_and_micros(name: str) -> dict[str, sa.ColumnElement[int]]:
    """An amount's two parts; in millionths alone, a shop's nonsense of 10 digits would overflow."""
    amount = _ROWS.c[name]
    units = sa.cast(amount, sa.BigInteger)  # cut off or rounded: the other part makes up for it
    micros = sa.cast(sa.func.round((amount - units) * 10**_MICRO_DIGITS), sa.BigInteger)
    return {name: units, f"{name}{_MICROS}": micros}


def _of_videos(column: sa.Column[int]) -> sa.ColumnElement[int]:
    return sa.case((_ROWS.c.video_plays > 0, column), else_=0)


_AMOUNTS = ("spend", "purchases", "purchase_value")
_SUMMED: dict[str, sa.ColumnElement[int]] = {
    **{part: each for name in _AMOUNTS for part, each in _units_and_micros(name).items()},
    "impressions": _ROWS.c.impressions,
    "inline_link_clicks": _ROWS.c.inline_link_clicks,
    "video_impressions": _of_videos(_ROWS.c.impressions),
    "hooked_views": _of_videos(_ROWS.c.video_3s_views),
    "video_3s_views": _ROWS.c.video_3s_views,
    "thruplays": _ROWS.c.thruplays,
}
SUM_NAMES = tuple(name for name in _SUMMED if not name.endswith(_MICROS))
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
    `media_type` and `status` are as in `meta_ad_creatives`, effective status first.
    """

    text: str = ""
    campaign: str = ""
    status: str = ""
    media_type: str = ""
    currency: str = ""


@dataclass(frozen=True, kw_only=True)
class AdOrder:
    """By one sum, or by one divided by another; what divides by 0 comes last either way."""

    numerator: str = "spend"
    denominator: str | None = None
    is_descending: bool = True


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
    sums: Sums


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
    with engine.connect().execution_options(yield_per=500) as connection:
        for row in connection.execute(statement).mappings():
            facts = {name: value for name, value in row.items() if name not in _SUMMED}
            facts["is_provisional"] = bool(facts["is_provisional"])
            yield AdSums(**facts, sums=_sums(row))


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
    """The content type of a brand's thumbnail, picture or video with this hash.

    None when the brand has none: another brand's bytes are not told from those of nobody.
    """
    poster = sa.literal("image/jpeg")  # its own is not kept; browsers tell pictures by their bytes
    places = (
        (_THUMBNAILS, _THUMBNAILS.c.sha256, _THUMBNAILS.c.content_type),
        (_ASSETS, _ASSETS.c.sha256, _ASSETS.c.content_type),
        (_ASSETS, _ASSETS.c.poster_sha256, poster),
    )
    statement = sa.union_all(
        *(
            sa.select(content_type).where(table.c.brand_id == brand_id, name == sha256)
            for table, name, content_type in places
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


def _of_creative(table: sa.Table, ads: sa.Subquery, brand_id: str) -> sa.ColumnElement[bool]:
    return sa.and_(table.c.brand_id == brand_id, table.c.creative_id == ads.c.creative_id)


def _sort_key(ads: sa.Subquery, order: AdOrder) -> sa.UnaryExpression[Any]:
    key = _double(ads, order.numerator)
    if order.denominator is not None:
        key = key / sa.func.nullif(_double(ads, order.denominator), 0)
    return (key.desc() if order.is_descending else key.asc()).nulls_last()


def _double(ads: sa.Subquery, name: str) -> sa.ColumnElement[float]:
    """A sum as it is sorted by: SQLite divides whole numbers without a rest."""
    double = sa.cast(ads.c[name], sa.Double)
    if name in _AMOUNTS:
        micros = sa.cast(ads.c[f"{name}{_MICROS}"], sa.Double)
        double = double + micros / 10**_MICRO_DIGITS
    return double


def _sums(row: sa.RowMapping) -> Sums:
    return {name: _amount(row, name) if name in _AMOUNTS else int(row[name]) for name in SUM_NAMES}


def _amount(row: sa.RowMapping, name: str) -> Decimal:
    micros = Decimal(int(row[f"{name}{_MICROS}"]))
    return int(row[name]) + micros.scaleb(-_MICRO_DIGITS)

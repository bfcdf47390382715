"""What each creative delivered on each of 28 days: many ads' daily figures, added up exactly.

Belongs here: what a creative is, and the sums. Does not: reading the figures
(`storage/ad_days.py`), what is made of the sums (`scorecard.py`).

A creative is one moving or still picture, however many ads show it: `creative_keys` names it by the
first video, else the first picture. A carousel or collection is its cards and no single picture:
its key is Meta's creative id, which ads with the same cards share.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

DAY_COUNT = 28
"""As long as Meta changes a day's results."""

WEEK_COUNT, WEEK_DAYS = 4, 7

AMOUNTS = ("spend", "purchases", "purchase_value")
AD_DAY_COLUMNS = (
    "ad_id",
    "currency",
    "date",
    "impressions",
    "reach",
    "inline_link_clicks",
    "video_plays",
    "video_3s_views",
    "thruplays",
    *AMOUNTS,
)
CREATIVE_COLUMNS = ("ad_id", "ad_name", "creative_id", "media_type", "image_hashes", "video_ids")
CLASS_COLUMNS = ("creative_id", "hook_type", "messaging_angle")

# Memory grows with what is kept by day: the rest is kept by week.
_BY_DAY = (
    "impressions",
    "reach",
    "reached_impressions",
    "inline_link_clicks",
    "spend",
    "spend_micros",
)
_BY_WEEK = (
    "video_impressions",
    "hooked_views",
    "video_3s_views",
    "thruplays",
    "purchases",
    "purchases_micros",
    "purchase_value",
    "purchase_value_micros",
)
_SLOTS = dict.fromkeys(_BY_DAY, DAY_COUNT) | dict.fromkeys(_BY_WEEK, WEEK_COUNT)

Floats = npt.NDArray[np.float64]
AdDays = Mapping[str, npt.NDArray[Any]]
"""Rows by column: arrays of one length by the names of AD_DAY_COLUMNS. ad_id, currency and date
(ISO 8601) are str objects, all else doubles; a reach that Meta withholds is NaN."""


def first_day(until: date) -> date:
    """The first of the 28 days that end with this one."""
    return until - timedelta(DAY_COUNT - 1)


def creative_keys(creatives: pd.DataFrame) -> pd.Series:
    """`video:<id>`, `image:<hash>` or `creative:<id>` of each row, in its order."""
    rows = zip(
        *(creatives[n] for n in ("media_type", "video_ids", "image_hashes", "creative_id")),
        strict=True,
    )
    return pd.Series([_creative_key(*row) for row in rows], index=creatives.index, dtype="object")


def _creative_key(
    media_type: object, video_ids: object, image_hashes: object, creative_id: str
) -> str:
    if media_type not in {"carousel", "collection"}:
        for kind, ids in (("video", video_ids), ("image", image_hashes)):
            if isinstance(ids, list) and ids:
                return f"{kind}:{ids[0]}"
    return f"creative:{creative_id}"


@dataclass(frozen=True)
class CreativeDays:
    """The creatives with figures in one currency.

    `facts` has a row for each: creative_key, ad_count, has_video; and of its ad with most spend
    creative_id, ad_name, media_type, hook_type, messaging_angle. Rows of all else are in its order.
    """

    currency: str
    facts: pd.DataFrame
    _figures: dict[str, Floats]

    def sums(self, first_week: int = 0, end_week: int = WEEK_COUNT) -> pd.DataFrame:
        """Sums from a week of the four to before another, as doubles.

        Columns: those that `ad_figures.FIGURES` divide, reach, and reached_impressions (of rows
        with a reach).
        """
        sums = pd.DataFrame(
            {name: self._sum(name, first_week, end_week) for name in (*_BY_DAY, *_BY_WEEK)}
        )
        for name in AMOUNTS:
            sums[name] += sums.pop(f"{name}_micros") / 1e6
        return sums

    def exact_sums(self, name: str) -> list[Decimal]:
        """The sums of an amount over all days."""
        parts = (self._sum(each, 0, WEEK_COUNT) for each in (name, f"{name}_micros"))
        return [
            int(units) + Decimal(int(micros)).scaleb(-6)
            for units, micros in zip(*parts, strict=True)
        ]

    def rolling_weeks(self, name: str) -> Floats:
        """By creative, the sums of the 7 days that end with each day, from the seventh day on.

        For spend, impressions, inline_link_clicks, reach and reached_impressions.
        """
        values = self._figures[name]
        if name in AMOUNTS:
            values = values + self._figures[f"{name}_micros"] / 1e6
        sums = np.cumsum(np.pad(values, ((0, 0), (1, 0))), axis=1)
        return sums[:, WEEK_DAYS:] - sums[:, :-WEEK_DAYS]

    def _sum(self, name: str, first_week: int, end_week: int) -> Floats:
        slots = _SLOTS[name] // WEEK_COUNT
        wanted = slice(first_week * slots, end_week * slots)
        summed: Floats = self._figures[name][:, wanted].sum(axis=1)
        return summed


def add_up(
    ad_days: Iterable[AdDays],
    creatives: pd.DataFrame,
    classes: pd.DataFrame,
    *,
    until: date,
) -> list[CreativeDays]:
    """The creatives of the 28 days that end with `until`, by currency.

    `ad_days` are chunks of rows, at most one per ad and day, in any order and number; other days
    are left out. `creatives` has a row per ad with CREATIVE_COLUMNS (ads without creative_id are
    left out), `classes` a row per creative id with CLASS_COLUMNS. Amounts of up to six decimals and
    15 digits add up exactly, in whatever order they come.
    """
    ads = _Ads(creatives, classes)
    dates = pd.Index([str(first_day(until) + timedelta(day)) for day in range(DAY_COUNT)])
    found: dict[str, _CurrencySums] = {}
    for chunk in ad_days:
        ad = ads.ids.get_indexer(pd.Index(chunk["ad_id"], dtype="object"))
        day = dates.get_indexer(pd.Index(chunk["date"], dtype="object"))
        is_known = (ad >= 0) & (day >= 0)
        summands = _summands(chunk)
        for currency in pd.unique(chunk["currency"][is_known]):
            here = is_known & (chunk["currency"] == currency)
            if currency not in found:
                found[currency] = _CurrencySums(ads)
            values = {name: each[here] for name, each in summands.items()}
            found[currency].add(ad[here], day[here], values)
    return [found[currency].build(currency) for currency in sorted(found)]


class _Ads:
    """What is known of each ad, by its position; `creative` is the position of its creative."""

    def __init__(self, creatives: pd.DataFrame, classes: pd.DataFrame) -> None:
        known = creatives[creatives["creative_id"].notna()]
        known = known.drop_duplicates("ad_id").sort_values("ad_id", ignore_index=True)
        self.ids = pd.Index(known["ad_id"], dtype="object")
        self.creative, keys = pd.factorize(creative_keys(known), sort=True)
        self.keys = np.asarray(keys, dtype="object")
        self.has_video = np.zeros(len(keys), dtype=bool)  # by creative
        np.logical_or.at(self.has_video, self.creative, _shows_video(known))
        facts = known[["creative_id", "ad_name", "media_type"]].merge(
            classes[list(CLASS_COLUMNS)].drop_duplicates("creative_id"),
            on="creative_id",
            how="left",
        )
        facts["media_type"] = facts["media_type"].fillna("unknown")
        self.facts = facts.astype("object")


def _shows_video(creatives: pd.DataFrame) -> list[bool]:
    return [
        media_type == "video" or (isinstance(ids, list) and bool(ids))
        for media_type, ids in zip(creatives["media_type"], creatives["video_ids"], strict=True)
    ]


def _summands(chunk: AdDays) -> dict[str, Floats]:
    """What of each row is added up: whole numbers, which doubles add up exactly."""
    row: dict[str, Floats] = {name: chunk[name] for name in AD_DAY_COLUMNS[3:]}
    is_reached, is_played = ~np.isnan(row["reach"]), row.pop("video_plays") > 0
    row["reached_impressions"] = np.where(is_reached, row["impressions"], 0)
    row["reach"] = np.where(is_reached, row["reach"], 0)
    row["video_impressions"] = np.where(is_played, row["impressions"], 0)
    row["hooked_views"] = np.where(is_played, row["video_3s_views"], 0)
    for name in AMOUNTS:
        units = np.trunc(row[name])
        row[f"{name}_micros"] = np.rint((row[name] - units) * 1e6)
        row[name] = units
    return row


class _CurrencySums:
    """Sums of one currency, while they are added up."""

    def __init__(self, ads: _Ads) -> None:
        self._ads = ads
        self._figures = {name: np.zeros((len(ads.keys), slots)) for name, slots in _SLOTS.items()}
        self._spend_micros = np.zeros(len(ads.ids))  # by ad
        self._is_shown = np.zeros(len(ads.ids), dtype=bool)

    def add(
        self, ad: npt.NDArray[np.intp], day: npt.NDArray[np.intp], summands: dict[str, Floats]
    ) -> None:
        """Add rows, by the positions of their ads and days."""
        creative = self._ads.creative[ad]
        for name, figures in self._figures.items():
            slots = _SLOTS[name]
            cell = creative * slots + day * slots // DAY_COUNT  # one index adds six times as fast
            np.add.at(figures.reshape(-1), cell, summands[name])
        spend_micros = summands["spend"] * 1e6 + summands["spend_micros"]
        np.add.at(self._spend_micros, ad, spend_micros)
        self._is_shown[ad] = True

    def build(self, currency: str) -> CreativeDays:
        """The creatives that were shown."""
        ads, shown = self._ads, np.flatnonzero(self._is_shown)
        heaviest_first = shown[np.lexsort((-self._spend_micros[shown], ads.creative[shown]))]
        position, first, ad_count = np.unique(
            ads.creative[heaviest_first], return_index=True, return_counts=True
        )
        facts = ads.facts.iloc[heaviest_first[first]].reset_index(drop=True)
        facts = facts.assign(
            creative_key=ads.keys[position], has_video=ads.has_video[position], ad_count=ad_count
        )
        # One at a time, so that no second copy of everything stands in memory.
        names = list(self._figures)
        figures = {name: self._figures.pop(name)[position] for name in names}
        return CreativeDays(currency, facts, figures)

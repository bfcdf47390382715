"""Rows of other advertisers' ads: what was found now, merged with what was found before. Pure."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline_assets.sources.library_ads import LibraryAd

KEPT_FOR = timedelta(days=180)
"""How long an ad that is no longer found is remembered: half a year shows what was seasonal."""

UNKNOWN_SEARCH = "actor"
"""What has found an actor's ad whose search cannot be told."""

Row = dict[str, Any]


@dataclass(frozen=True)
class FoundAd:
    """An ad, the row it was read from, and the search (`page:…`, `term:…`) that found it."""

    ad: LibraryAd
    raw: Any
    source: str
    matched_by: str

    @property
    def preview_url(self) -> str | None:
        """Where its first picture is, or its video's poster."""
        return next(iter(self.ad.image_urls), self.ad.poster_url)

    @cached_property
    def content_hash(self) -> str:
        """sha256 of texts and pictures; of an ad that shows neither, its own."""
        from pipeline_assets.sources.signed_urls import url_source_key  # noqa: PLC0415

        ad = self.ad
        texts = [*ad.titles, *ad.bodies, ad.description or ""]
        media = [url_source_key(url) for url in (*ad.image_urls, *ad.video_urls)]
        shown = [" ".join(text.casefold().split()) for text in texts if text]
        content = [shown, media] if shown or media else [ad.library_ad_id]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def find_clashes(ads: Iterable[FoundAd]) -> list[str]:
    """The ids under which different ads were sent; the same ad sent twice is none."""
    contents: dict[str, set[str]] = {}
    for each in ads:
        contents.setdefault(each.ad.library_ad_id, set()).add(each.content_hash)
    return sorted(ad_id for ad_id, hashes in contents.items() if len(hashes) > 1)


def share_ads(ads: Sequence[FoundAd], count: int) -> tuple[list[FoundAd], list[FoundAd]]:
    """What was sent of at most `count` different ads, repeated ones too, and what was of others.

    The searches have equal shares; what one does not need goes to those that have found more.
    """
    turn_of: dict[str, int] = {}
    turns: Counter[str] = Counter()
    for each in ads:
        if each.ad.library_ad_id not in turn_of:
            turn_of[each.ad.library_ad_id] = turns[each.matched_by]
            turns[each.matched_by] += 1
    shared = set(sorted(turn_of, key=turn_of.__getitem__)[:count])
    kept = [each for each in ads if each.ad.library_ad_id in shared]
    return kept, [each for each in ads if each.ad.library_ad_id not in shared]


def first_finders(ads: Sequence[FoundAd]) -> set[str]:
    """The searches that these ads count for: of an ad that several have found, the first."""
    return {*{each.ad.library_ad_id: each.matched_by for each in reversed(ads)}.values()}


def merge_ads(
    found: Sequence[FoundAd],
    stored: Mapping[str, Row],
    *,
    brand_id: str,
    now: datetime,
    searches: AbstractSet[str],
    unfinished: AbstractSet[str],
) -> dict[str, Row]:
    """The rows to store by library id, each with every column.

    An ad found by several searches is the first one's. One that is no longer found stays for 180
    days, and is no longer active unless its search is `unfinished`: then nothing is known of it.
    One whose search is none of the `searches` any more goes.
    """
    rows: dict[str, Row] = {}
    for each in found:
        if each.ad.library_ad_id not in rows:
            known = stored.get(each.ad.library_ad_id)
            rows[each.ad.library_ad_id] = _row(each, known, brand_id=brand_id, now=now)
    for library_ad_id, row in stored.items():
        search = row["matched_by"]
        found_by = searches if search == UNKNOWN_SEARCH else searches & {search}
        if library_ad_id not in rows and found_by and now - row["last_seen_at"] <= KEPT_FOR:
            is_active = row["is_active"] and bool(found_by & unfinished)
            rows[library_ad_id] = {**row, "is_active": is_active, "fetched_at": now}
    _name_duplicates(rows.values())
    return rows


def _row(found: FoundAd, known: Row | None, *, brand_id: str, now: datetime) -> Row:
    from pipeline_assets.sources.actor_rows import without_secrets  # noqa: PLC0415
    from pipeline_assets.sources.library_ads import library_url  # noqa: PLC0415

    ad = found.ad
    last_day = ad.stopped_on or now.date()
    return {
        "brand_id": brand_id,
        "library_ad_id": ad.library_ad_id,
        "source": found.source,
        "matched_by": found.matched_by,
        "page_id": ad.page_id,
        "page_name": ad.page_name,
        "title": next(iter(ad.titles), None),
        "body": next(iter(ad.bodies), None),
        "titles": list(ad.titles),
        "bodies": list(ad.bodies),
        "description": ad.description,
        "display_domain": ad.display_domain,
        "landing_url": ad.landing_url,
        "cta": ad.cta,
        "image_urls": list(ad.image_urls),
        "video_urls": list(ad.video_urls),
        "preview_sha256": None,
        "started_on": ad.started_on,
        "stopped_on": ad.stopped_on,
        "is_active": ad.is_active,
        "days_running": _days_running(ad.started_on, last_day),
        "platforms": list(ad.platforms),
        "languages": list(ad.languages),
        "eu_reach": ad.eu_reach,
        "content_hash": found.content_hash,
        "duplicate_of": None,
        "library_url": library_url(ad.library_ad_id),
        "raw": without_secrets(found.raw),
        "first_seen_at": known["first_seen_at"] if known else now,
        "last_seen_at": now,
        "error": ad.problem,
        "fetched_at": now,
    }


def _days_running(started_on: date | None, last_day: date) -> int | None:
    """Days of delivery, the first and the last included."""
    return max((last_day - started_on).days + 1, 0) if started_on else None


def _name_duplicates(rows: Iterable[Row]) -> None:
    """Let each copy name the oldest ad with its content."""
    oldest: dict[str, str] = {}
    for row in sorted(rows, key=_age):
        original = oldest.setdefault(row["content_hash"], row["library_ad_id"])
        row["duplicate_of"] = None if original == row["library_ad_id"] else original


def _age(row: Row) -> tuple[date, str]:
    return row["started_on"] or row["first_seen_at"].date(), row["library_ad_id"]

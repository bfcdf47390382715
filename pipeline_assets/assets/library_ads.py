"""Other advertisers' ads: templates to learn from, and what competitors run.

Both datasets differ only in whose ads they are. Belongs here: the searches and what they find.
Does not: how that is merged with what is stored (`library_rows.py`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from pipeline_assets.assets.accounts import combine_errors
from pipeline_assets.assets.actor_runs import (
    READABLE_CHECK,
    RowReader,
    gather_items,
    store_rows,
)
from pipeline_assets.assets.attempt import Attempt, Check, Outcome, dataset_asset
from pipeline_assets.assets.library_rows import FoundAd, find_clashes, first_ads, merge_ads
from pipeline_assets.assets.media_fetch import ItemKey, MediaItem, StoredMedia, fetch_media
from pipeline_assets.assets.media_rows import is_in_store
from pipeline_assets.errors import (
    AccessError,
    DatabaseUnavailableError,
    InvalidConfigError,
    PipelineError,
    StorageFullError,
)

if TYPE_CHECKING:
    from pipeline_assets.brands.models import ApifyActor, LibrarySource
    from pipeline_assets.sources.library_ads import LibraryAd
    from pipeline_assets.sources.meta.ad_library import LibrarySearch

SEARCHES_CHECK = "searches_found_ads"
IDS_CHECK = "ids_name_one_ad_each"
CHECKS = (READABLE_CHECK, SEARCHES_CHECK, IDS_CHECK)

UNKNOWN_SEARCH = "actor"
"""What has found an actor's ad whose search cannot be told."""

LIBRARY_LIMITS = (
    "Meta's Ad Library API gives running ads that reached the EU or the UK, elsewhere only those "
    "about social issues, elections or politics; no pictures, and not where a click leads."
)

Row = dict[str, Any]


@dataset_asset("templates_scraped", checks=CHECKS)
def templates_scraped(attempt: Attempt) -> Outcome:
    """Ads of others that may serve as templates, by advertisers' pages and by words.

    Source: Meta's Ad Library API, or an Apify actor where the brand names one. The API gives only
    ads that reached the EU or the UK (elsewhere political ones alone) and no pictures; an actor
    gives both. Copies of an ad name the oldest. An ad that is no longer found stays for 180 days.

    Check: nineteen in twenty rows can be read, every page and term found something, and an id
    stands for one ad.
    """
    return _gather(attempt, attempt.brand.sources.templates)


@dataset_asset("competitor_ads", checks=CHECKS)
def competitor_ads(attempt: Attempt) -> Outcome:
    """Ads that the brand's competitors run, by their pages and by words.

    Source: Meta's Ad Library API, or an Apify actor where the brand names one. The API gives only
    ads that reached the EU or the UK (elsewhere political ones alone) and no pictures; an actor
    gives both. Copies of an ad name the oldest. An ad that is no longer found stays for 180 days.

    Check: nineteen in twenty rows can be read, every page and term found something, and an id
    stands for one ad.
    """
    return _gather(attempt, attempt.brand.sources.competitors)


@dataclass(frozen=True, kw_only=True)
class _Findings:
    """What the searches gave; `metadata` says from where and within which limits."""

    ads: list[FoundAd]
    rows: RowReader[LibraryAd]
    metadata: Row
    incomplete: PipelineError | None = None


def _gather(attempt: Attempt, source: LibrarySource | None) -> Outcome:
    if source is None:
        raise InvalidConfigError(
            f"Brand {attempt.brand.id!r} does not say whose ads to gather.",
            advice=f"Give it a source `{attempt.dataset.source.value}`.",
        )
    if source.actor is None:
        found = _search_library(attempt, source)
    else:
        found = _run_actor(attempt, source, source.actor)
    stored = {row["library_ad_id"]: row for row in attempt.read_rows()}
    rows = merge_ads(
        found.ads,
        stored,
        brand_id=attempt.brand.id,
        now=attempt.started_at,
        are_all_seen=found.incomplete is None,
    )
    previews = _fetch_previews(attempt, found.ads, rows, stored)
    return Outcome(
        records=store_rows(attempt, rows.values()),
        checks={
            READABLE_CHECK: found.rows.check(),
            SEARCHES_CHECK: _searches_check(source, found.ads),
            IDS_CHECK: _ids_check(found.ads),
        },
        metadata={
            **found.metadata,
            **found.rows.metadata(),
            **previews,
            "found": len({each.ad.library_ad_id for each in found.ads}),
            "copies": sum(1 for row in rows.values() if row["duplicate_of"]),
            "no_longer_running": sum(1 for row in rows.values() if not row["is_active"]),
        },
        incomplete=found.incomplete,
    )


def _search_library(attempt: Attempt, source: LibrarySource) -> _Findings:
    """Ask the library page group by page group and term by term; `max_ads` is shared out evenly.

    One search's trouble does not stop the others.
    """
    from pipeline_assets.sources.meta import ad_library  # noqa: PLC0415

    client = attempt.installation.library_client(attempt.brand, source)
    searches = ad_library.plan_searches(source.page_ids, source.search_terms)
    each = source.max_ads / sum(search.key_count for search in searches)
    reader = RowReader("Meta's Ad Library", ad_library.read_library_row)
    ads: list[FoundAd] = []
    errors: list[PipelineError] = []
    for search in searches:
        found = ad_library.fetch_library_ads(
            client,
            search,
            countries=source.countries,
            max_ads=math.ceil(each * search.key_count),
        )
        try:
            for rows in found:
                ads += _of_search(search, reader.read_all(rows))
                attempt.heartbeat.progress(len(ads), source.max_ads, "ads found")
        except (DatabaseUnavailableError, StorageFullError):
            raise
        except PipelineError as error:
            attempt.log(f"A search of the Ad Library failed: {error}")
            errors.append(error)
    if len(errors) == len(searches):
        raise combine_errors(errors)
    _refuse_hopeless_search(attempt, source, ads, errors)
    reader.refuse_changed_schema()
    return _Findings(
        ads=first_ads(ads, source.max_ads),
        rows=reader,
        metadata={"source": "ad_library", "limits": LIBRARY_LIMITS, "searches": len(searches)},
        incomplete=combine_errors(errors) if errors else None,
    )


def _of_search(search: LibrarySearch, typed: Iterable[tuple[LibraryAd, Any]]) -> list[FoundAd]:
    term = search.search_terms
    return [
        FoundAd(
            ad,
            row,
            source="ad_library",
            matched_by=f"term:{term}" if term else f"page:{ad.page_id}",
        )
        for ad, row in typed
    ]


def _refuse_hopeless_search(
    attempt: Attempt,
    source: LibrarySource,
    ads: Sequence[FoundAd],
    errors: Sequence[PipelineError],
) -> None:
    """Nothing found because nothing can be found is no result.

    Raises:
        InvalidConfigError: none of the countries is one whose commercial ads the library gives.
    """
    from pipeline_assets.sources.meta import ad_library  # noqa: PLC0415

    if ads or errors or not ad_library.reaches_only_political_ads(source.countries):
        return
    raise InvalidConfigError(
        f"{attempt.dataset.title} of brand {attempt.brand.id!r}: nothing can be found in "
        f"{', '.join(source.countries)}. {LIBRARY_LIMITS}",
        advice="Add a country of the EU or GB to the source's `countries` if the advertisers are "
        "there, or name an Apify `actor`.",
    )


def _run_actor(attempt: Attempt, source: LibrarySource, actor: ApifyActor) -> _Findings:
    from pipeline_assets.sources import library_ads  # noqa: PLC0415

    run_input = library_ads.build_actor_input(
        source.page_ids, source.search_terms, source.countries, source.max_ads
    )
    found = gather_items(attempt, actor, run_input, wanted=source.max_ads)
    read_row = partial(library_ads.read_actor_row, today=attempt.started_at.date())
    reader = RowReader(f"the actor {actor.actor}", read_row)
    ads = [
        FoundAd(ad, row, source=actor.actor, matched_by=_matched_by(ad, source))
        for ad, row in reader.read_all(found.items)
    ]
    reader.refuse_changed_schema()
    return _Findings(
        ads=first_ads(ads, source.max_ads),
        rows=reader,
        metadata={
            "source": actor.actor,
            "actor_run": found.run_id,
            "actor_run_was_resumed": found.is_resumed,
        },
    )


def _matched_by(ad: LibraryAd, source: LibrarySource) -> str:
    """The page or term behind an actor's row, as far as it can be told."""
    if ad.page_id in source.page_ids:
        return f"page:{ad.page_id}"
    if len(source.search_terms) == 1 and not source.page_ids:
        return f"term:{source.search_terms[0]}"
    told = (ad.found_by or "").casefold()
    texts = " ".join([*ad.titles, *ad.bodies, ad.page_name or ""]).casefold()
    for term in source.search_terms:
        words = term.casefold()
        if words == told or all(word in texts for word in words.split()):
            return f"term:{term}"
    return UNKNOWN_SEARCH


def _fetch_previews(
    attempt: Attempt, ads: Sequence[FoundAd], rows: dict[str, Row], stored: dict[str, Row]
) -> Row:
    """Put each ad's first picture onto its row; one that is there with the same content stays."""
    items: list[MediaItem] = []
    for library_ad_id, url in {each.ad.library_ad_id: each.preview_url for each in ads}.items():
        row, known = rows[library_ad_id], stored.get(library_ad_id)
        if known and known["content_hash"] == row["content_hash"]:
            row["preview_sha256"] = known["preview_sha256"]
        if url and not is_in_store(attempt, row["preview_sha256"]):
            items.append(MediaItem(("image", library_ad_id), is_video=False, url=url))
    if not items:
        return {}
    fetched = fetch_media(attempt, items, refresh=_refuse_expired)
    for (_, library_ad_id), result in fetched.items():
        row = rows[library_ad_id]
        if isinstance(result, StoredMedia):
            row["preview_sha256"] = result.sha256
        else:
            row["preview_sha256"], row["error"] = None, f"Its picture: {result}"
    failed = sum(1 for result in fetched.values() if isinstance(result, PipelineError))
    return {"pictures_fetched": len(fetched) - failed, "pictures_failed": failed}


def _refuse_expired(keys: Sequence[ItemKey]) -> dict[ItemKey, str | PipelineError]:
    """Only another run of the actor, which costs, tells addresses anew."""
    return {
        key: AccessError("its address has expired, and the next sync reads a new one")
        for key in keys
    }


def _searches_check(source: LibrarySource, ads: Sequence[FoundAd]) -> Check:
    pages = [f"page:{page_id}" for page_id in source.page_ids]
    terms = [f"term:{term}" for term in source.search_terms]
    matched = {each.matched_by for each in ads}
    # Any term may be what has found an ad of which that cannot be told.
    wanted = pages if UNKNOWN_SEARCH in matched else [*pages, *terms]
    without = [each for each in wanted if each not in matched]
    figures = {"searches": len(wanted), "without_ads": without}
    if not without:
        return Check(True, f"Each of {len(wanted)} pages and terms found ads.", figures)
    limits = f" {LIBRARY_LIMITS}" if source.actor is None else ""
    return Check(
        False,
        f"{len(without)} of {len(wanted)} pages and terms found no ads: "
        f"{', '.join(without[:10])}.{limits}",
        figures,
        is_warning=True,
    )


def _ids_check(ads: Sequence[FoundAd]) -> Check:
    clashes = find_clashes(ads)
    return Check(
        not clashes,
        f"{len(clashes)} ids stand for several different ads"
        + (f", for example {clashes[0]}." if clashes else "."),
        {"ids": len({each.ad.library_ad_id for each in ads}), "clashes": clashes[:20]},
    )

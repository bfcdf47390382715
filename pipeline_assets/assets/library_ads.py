"""Other advertisers' ads: templates to learn from, and what competitors run.

Both datasets differ only in whose ads they are. Belongs here: the searches and what they find.
Does not: how that is merged with what is stored (`library_rows.py`).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any

from pipeline_assets.assets.accounts import combine_errors
from pipeline_assets.assets.actor_runs import (
    READABLE_CHECK,
    ActorRows,
    RowReader,
    gather_rows,
    store_rows,
)
from pipeline_assets.assets.attempt import Attempt, Check, Outcome, dataset_asset
from pipeline_assets.assets.library_rows import (
    UNKNOWN_SEARCH,
    FoundAd,
    find_clashes,
    first_finders,
    merge_ads,
    share_ads,
)
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

SEARCHES_CHECK = "searches_found_ads"
IDS_CHECK = "ids_name_one_ad_each"
CHECKS = (READABLE_CHECK, SEARCHES_CHECK, IDS_CHECK)

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
    gives both. Copies of an ad name the oldest. An ad that is no longer found stays for 180 days;
    that it has ended is only said where its page or term was searched to the end.

    Check: nineteen in twenty rows can be read, every page and term found something, and an id
    stands for one ad.
    """
    return _gather(attempt, attempt.brand.sources.templates)


@dataset_asset("competitor_ads", checks=CHECKS)
def competitor_ads(attempt: Attempt) -> Outcome:
    """Ads that the brand's competitors run, by their pages and by words.

    Source: Meta's Ad Library API, or an Apify actor where the brand names one. The API gives only
    ads that reached the EU or the UK (elsewhere political ones alone) and no pictures; an actor
    gives both. Copies of an ad name the oldest. An ad that is no longer found stays for 180 days;
    that it has ended is only said where its page or term was searched to the end.

    Check: nineteen in twenty rows can be read, every page and term found something, and an id
    stands for one ad.
    """
    return _gather(attempt, attempt.brand.sources.competitors)


@dataclass(frozen=True, kw_only=True)
class _Findings:
    """What the searches gave; `metadata` says from where and within which limits.

    `limited`: the searches that reached a limit and may have more ads; `failed`: that broke off.
    """

    ads: list[FoundAd]
    rows: RowReader[Any]
    metadata: Row
    limited: Collection[str]
    failed: Mapping[str, PipelineError] = field(default_factory=dict)


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
        searches={*_searches(source)},
        unfinished={*found.limited, *found.failed},
    )
    previews = _fetch_previews(attempt, found.ads, rows, stored)
    return Outcome(
        records=store_rows(attempt, rows.values()),
        checks={
            READABLE_CHECK: found.rows.check(),
            SEARCHES_CHECK: _searches_check(source, found),
            IDS_CHECK: _ids_check(found.ads),
        },
        metadata={
            **found.metadata,
            **found.rows.metadata(),
            **previews,
            "found": len({each.ad.library_ad_id for each in found.ads}),
            "partly_read": len({each.ad.library_ad_id for each in found.ads if each.ad.problem}),
            "copies": sum(1 for row in rows.values() if row["duplicate_of"]),
            "no_longer_running": sum(1 for row in rows.values() if not row["is_active"]),
            "reached_limit": [name for name in _searches(source) if name in found.limited],
        },
        incomplete=combine_errors([*found.failed.values()]) if found.failed else None,
    )


def _searches(source: LibrarySource) -> list[str]:
    """The names of what is asked for, as rows and checks tell them."""
    return [*map(_by_page, source.page_ids), *map(_by_term, source.search_terms)]


def _by_page(page_id: str) -> str:
    return f"page:{page_id}"


def _by_term(term: str) -> str:
    return f"term:{term}"


def _search_library(attempt: Attempt, source: LibrarySource) -> _Findings:
    """Ask the library by each page and term; one search's trouble does not stop the others."""
    from pipeline_assets.sources.meta import ad_library  # noqa: PLC0415

    fetch = partial(
        ad_library.fetch_library_ads,
        attempt.installation.library_client(attempt.brand, source),
        countries=source.countries,
        ads_at_once=min(ad_library.ADS_AT_ONCE, source.max_ads),
    )
    searches = {
        **{_by_page(each): fetch(ad_library.search_by_page(each)) for each in source.page_ids},
        **{_by_term(each): fetch(ad_library.search_by_words(each)) for each in source.search_terms},
    }
    reader = RowReader("Meta's Ad Library", ad_library.read_library_row)
    found = _read_in_turns(attempt, searches, reader, source.max_ads)
    if len(found.failed) == len(searches):
        raise combine_errors([*found.failed.values()])
    if not found.ads and not found.failed:
        _refuse_hopeless_search(attempt, source)
    reader.refuse_changed_schema()
    return found


def _read_in_turns(
    attempt: Attempt,
    searches: Mapping[str, Iterator[list[Row]]],
    reader: RowReader[LibraryAd],
    count: int,
) -> _Findings:
    """Read each search until it ends, fails, or has found more than its share of `count` ads."""
    going = dict(searches)
    found: dict[str, list[FoundAd]] = {name: [] for name in searches}
    failed: dict[str, PipelineError] = {}
    ads: list[FoundAd] = []
    rest: list[FoundAd] = []
    at_share: set[str] = set()
    while turns := [name for name in going if name not in at_share]:
        for name in turns:
            try:
                rows = next(going[name], None)
            except (DatabaseUnavailableError, StorageFullError):
                raise
            except PipelineError as error:
                attempt.log(f"The search {name} of the Ad Library failed: {error}")
                failed[name], rows = error, None
            if rows is None:
                del going[name]
            else:
                found[name] += [
                    FoundAd(ad, row, source="ad_library", matched_by=name)
                    for ad, row in reader.read_all(rows)
                ]
        ads, rest = share_ads([*chain.from_iterable(found.values())], count)
        at_share = first_finders(rest)
        attempt.heartbeat.progress(min(len(ads), count), count, "ads found")
    return _Findings(
        ads=ads,
        rows=reader,
        metadata={"source": "ad_library", "limits": LIBRARY_LIMITS, "searches": len(searches)},
        limited={each.matched_by for each in rest},
        failed=failed,
    )


def _refuse_hopeless_search(attempt: Attempt, source: LibrarySource) -> None:
    """Nothing found because nothing can be found is no result.

    Raises:
        InvalidConfigError: none of the countries is one whose commercial ads the library gives.
    """
    from pipeline_assets.sources.meta import ad_library  # noqa: PLC0415

    if ad_library.reaches_only_political_ads(source.countries):
        raise InvalidConfigError(
            f"{attempt.dataset.title} of brand {attempt.brand.id!r}: nothing can be found in "
            f"{', '.join(source.countries)}. {LIBRARY_LIMITS}",
            advice="Add a country of the EU or GB to the source's `countries` if the advertisers "
            "are there, or name an Apify `actor`.",
        )


def _run_actor(attempt: Attempt, source: LibrarySource, actor: ApifyActor) -> _Findings:
    from pipeline_assets.sources import library_ads  # noqa: PLC0415

    rows = gather_rows(
        attempt,
        actor,
        library_ads.build_actor_input(
            source.page_ids, source.search_terms, source.countries, source.max_ads
        ),
        wanted=source.max_ads,
        read=partial(library_ads.read_actor_row, today=attempt.started_at.date()),
        nothing=f"no ad of {', '.join(_searches(source)[:5])} in {', '.join(source.countries[:5])}",
    )
    found = [
        FoundAd(
            ad,
            row,
            source=actor.actor,
            matched_by=next(iter(_searches_behind(ad, source)), UNKNOWN_SEARCH),
        )
        for ad, row in rows.items
    ]
    ads, _ = share_ads(found, source.max_ads)
    return _Findings(
        ads=ads,
        rows=rows.reader,
        metadata={"source": actor.actor, **rows.metadata()},
        limited=_limited(source, rows),
    )


def _searches_behind(ad: LibraryAd, source: LibrarySource) -> list[str]:
    """The searches that can be told to have found an actor's ad, the surest first."""
    if not source.page_ids and len(source.search_terms) == 1:
        return _searches(source)
    told = (ad.found_by or "").casefold()
    texts = " ".join([*ad.titles, *ad.bodies, ad.page_name or ""]).casefold()
    terms = [
        term
        for term in source.search_terms
        if term.casefold() == told or all(word in texts for word in term.casefold().split())
    ]
    pages = [ad.page_id] if ad.page_id in source.page_ids else []
    return [*map(_by_page, pages), *map(_by_term, terms)]


def _limited(source: LibrarySource, rows: ActorRows[LibraryAd]) -> set[str]:
    """The searches that may have reached a limit of the run's input, and so may have more ads.

    An ad may come once for each country; one of which it cannot be told may be any term's, and a
    row that cannot be read anybody's.
    """
    of_run = min(source.max_ads, _least(rows.run_input, "count", "maxItems"))
    if rows.reader.total >= of_run:
        return {*_searches(source)}
    counts = Counter(dict.fromkeys(_searches(source), rows.reader.rejected))
    for ad, times in Counter(ad for ad, _ in rows.items).items():
        for name in _searches_behind(ad, source) or map(_by_term, source.search_terms):
            counts[name] += math.ceil(times / len(source.countries))
    of_search = _least(rows.run_input, "resultsLimit")
    return {name for name, count in counts.items() if count >= of_search}


def _least(run_input: Mapping[str, Any], *names: str) -> float:
    """The least of these limits; infinite where none is set."""
    limits = [run_input[name] for name in names if isinstance(run_input.get(name), int)]
    return min((limit for limit in limits if limit > 0), default=math.inf)


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
            row["preview_sha256"] = None
            row["error"] = " ".join(filter(None, (row["error"], f"Its picture: {result}")))
    failed = sum(1 for result in fetched.values() if isinstance(result, PipelineError))
    return {"pictures_fetched": len(fetched) - failed, "pictures_failed": failed}


def _refuse_expired(keys: Sequence[ItemKey]) -> dict[ItemKey, str | PipelineError]:
    """Only another run of the actor, which costs, tells addresses anew."""
    return {
        key: AccessError("its address has expired, and the next sync reads a new one")
        for key in keys
    }


def _searches_check(source: LibrarySource, found: _Findings) -> Check:
    """Whether each search found ads, but for those that were not read to their end."""
    names = _searches(source)
    matched = {each.matched_by for each in found.ads}
    if source.actor is None:
        matched |= {*found.limited}  # what they found may be beyond their share
    said = [f"{len(matched & {*names})} of {len(names)} pages and terms found ads."]
    without = [each for each in names if each not in {*matched, *found.limited, *found.failed}]
    if UNKNOWN_SEARCH in matched:
        without = [each for each in without if each in map(_by_page, source.page_ids)]
        said.append("Of some ads it cannot be told which term found them.")
    limited = [each for each in names if each in found.limited]
    if without:
        said.append(f"None: {_name(without)}.")
    if without and source.actor is None:
        said.append(LIBRARY_LIMITS)
    if limited:
        limit = f"`max_ads` is {source.max_ads}"
        if source.actor is not None and source.actor.input:
            limit += ", and the actor's `input` may say less"
        said.append(f"At their limit ({limit}), so there may be more: {_name(limited)}.")
    if found.failed:
        said.append(f"Failed: {_name([*found.failed])}.")
    return Check(
        not without,
        " ".join(said),
        {
            "searches": len(names),
            "without_ads": without,
            "reached_limit": limited,
            "failed": [*found.failed],
        },
        is_warning=bool(without),
    )


def _name(searches: Sequence[str]) -> str:
    return ", ".join([*searches[:10], *(["…"] if len(searches) > 10 else [])])


def _ids_check(ads: Sequence[FoundAd]) -> Check:
    clashes = find_clashes(ads)
    return Check(
        not clashes,
        f"{len(clashes)} ids stand for several different ads"
        + (f", for example {clashes[0]}." if clashes else "."),
        {"ids": len({each.ad.library_ad_id for each in ads}), "clashes": clashes[:20]},
    )

"""Meta's Ad Library API: ads of others, by their pages or by words.

Ads that did not reach the EU or the UK come only when they are about social issues, elections or
politics. It tells neither pictures nor where a click leads, and it answers only the token of a
person who has confirmed their identity.

Source: Meta Graph API v26.0, "Ad Library API" (`GET /ads_archive`), "Archived Ad".
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import date
from typing import Any

from pipeline_assets.errors import AccessError
from pipeline_assets.sources.actor_rows import UnreadableRowError, plain_text, read_date
from pipeline_assets.sources.library_ads import LibraryAd
from pipeline_assets.sources.meta.client import GraphClient
from pipeline_assets.sources.meta.graph_failures import Json
from pipeline_assets.sources.meta.paging import PageSize, fetch_pages

FIELDS = (
    "id",
    "ad_creation_time",
    "ad_creative_bodies",
    "ad_creative_link_titles",
    "ad_creative_link_captions",
    "ad_creative_link_descriptions",
    "ad_delivery_start_time",
    "ad_delivery_stop_time",
    "eu_total_reach",
    "languages",
    "page_id",
    "page_name",
    "publisher_platforms",
)
"""Not `ad_snapshot_url`, which is made of the token."""

EU_AND_UK = frozenset(
    {
        *("AT", "BE", "BG", "CY", "CZ", "DE", "DK", "EE", "ES", "FI", "FR", "GR", "HR", "HU"),
        *("IE", "IT", "LT", "LU", "LV", "MT", "NL", "PL", "PT", "RO", "SE", "SI", "SK", "GB"),
    }
)
"""Countries whose commercial ads the Ad Library API gives, ISO 3166."""

ADS_AT_ONCE = 100


def search_by_page(page_id: str) -> Json:
    """The parameters of a search for the ads of one advertiser's page.

    Meta takes ten pages in one search, but then one of many ads would keep the others from having
    their share of those that are read.
    """
    return {"search_page_ids": [page_id]}


def search_by_words(words: str) -> Json:
    """The parameters of a search for the ads that have all of these words, in any order."""
    return {"search_terms": words, "search_type": "KEYWORD_UNORDERED"}


def reaches_only_political_ads(countries: Collection[str]) -> bool:
    """Whether a search in these countries cannot find a commercial ad."""
    return not EU_AND_UK & set(countries)


def fetch_library_ads(
    client: GraphClient, search: Json, *, countries: Sequence[str], ads_at_once: int
) -> Iterator[list[Json]]:
    """The running ads that the search finds, as sent, page by page; a page is asked for when used.

    Raises:
        AccessError: the library does not answer this token; CredentialError: nobody does.
        SourceRejectedError, RateLimitedError, SourceUnavailableError: as of `GraphClient.get`.
    """
    params: dict[str, Any] = {
        **search,
        "ad_reached_countries": list(countries),
        "ad_type": "ALL",
        "ad_active_status": "ACTIVE",
        "fields": ",".join(FIELDS),
    }
    try:
        yield from fetch_pages(client, "ads_archive", params, page_size=PageSize(ads_at_once))
    except AccessError as error:
        raise AccessError(
            f"Meta's Ad Library does not answer this token: {error}",
            advice="The person behind the token confirms identity and place at facebook.com/ID and "
            "accepts the terms at facebook.com/ads/library/api; or let an `actor` gather the ads.",
        ) from None


def read_library_row(row: Any) -> LibraryAd:
    """The ad in a row of `ads_archive`.

    Raises: UnreadableRowError, without an id or a page, or with a date that is none.
    """
    if not isinstance(row, Mapping):
        raise UnreadableRowError(["the row, which is no object"])
    lacking = [name for name in ("id", "page_id") if not row.get(name)]
    started_on = _read_day(row, "ad_delivery_start_time", lacking)
    stopped_on = _read_day(row, "ad_delivery_stop_time", lacking)
    if lacking:
        raise UnreadableRowError(lacking)
    reach = str(row.get("eu_total_reach"))
    return LibraryAd(
        library_ad_id=str(row["id"]),
        page_id=str(row["page_id"]),
        page_name=plain_text(row.get("page_name")),
        titles=_texts(row, "ad_creative_link_titles"),
        bodies=_texts(row, "ad_creative_bodies"),
        description=next(iter(_texts(row, "ad_creative_link_descriptions")), None),
        display_domain=next(iter(_texts(row, "ad_creative_link_captions")), None),
        landing_url=None,
        cta=None,
        image_urls=(),
        video_urls=(),
        poster_url=None,
        started_on=started_on,
        stopped_on=stopped_on,
        is_active=True,  # only running ads are asked for; a stop in the future may be told
        platforms=tuple(str(each).lower() for each in _list(row, "publisher_platforms")),
        languages=tuple(map(str, _list(row, "languages"))),
        eu_reach=int(reach) if reach.isdecimal() else None,
    )


def _read_day(row: Mapping[str, Any], name: str, lacking: list[str]) -> date | None:
    try:
        return read_date(row[name]) if row.get(name) else None
    except ValueError:
        lacking.append(name)
        return None


def _list(row: Mapping[str, Any], name: str) -> list[Any]:
    value = row.get(name)
    return value if isinstance(value, list) else []


def _texts(row: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """The distinct texts of a list, without those that are empty."""
    texts = map(plain_text, _list(row, name))
    return tuple(dict.fromkeys(text for text in texts if text))

"""The Ad Library's edge `ads_archive`: other advertisers' ads as Meta tells of them.

Source: Meta Graph API v26.0, "Ad Library API", "Archived Ad".
"""

from collections.abc import Mapping
from datetime import date
from typing import Any
from urllib.parse import urlencode

from pipeline_assets.simulator import paging
from pipeline_assets.simulator.answers import GraphError
from pipeline_assets.simulator.exchange import Request
from pipeline_assets.simulator.faults import FaultKind, unconfirmed_identity
from pipeline_assets.simulator.fields import parse_fields, project
from pipeline_assets.simulator.library_copy import IN_THE_EU_OR_UK, ForeignAd, find_ads

_MOST_PAGES = 10
_MOST_CHARACTERS = 100
_SNAPSHOT = "https://www.facebook.com/ads/archive/render_ad/"


def read_archive(request: Request, *, today: date, fault: FaultKind | None = None) -> Any:
    """A page of the running ads that the search finds, all of them commercial.

    So a search that names no country of the EU or the UK finds none. `fault` EMPTY_PAGE answers an
    empty page with a `next`.

    Raises:
        GraphError: 10/2332002 without a confirmed identity, 100 for a parameter that does not fit.
    """
    if request.caller is None or not request.caller.has_identity:
        raise unconfirmed_identity()
    ads = _search(request.params, today)
    asked = parse_fields(request.params.get("fields") or "id")
    start = int(paging.decode_cursor(request.params.get("after", paging.encode_cursor("0"))))
    end = start if fault is FaultKind.EMPTY_PAGE else start + paging.read_limit(request.params)
    data = [project(asked, _node(ad, request), "ArchivedAd") for ad in ads[start:end]]
    after = paging.encode_cursor(str(end))
    url = f"{request.base_url}{request.path}"
    next_url = paging.link(url, request.params, after=after) if end < len(ads) else None
    return paging.build_page(
        data, before=paging.encode_cursor(str(start)), after=after, next_url=next_url
    )


def _search(params: Mapping[str, str], today: date) -> list[ForeignAd]:
    countries = set(paging.read_names(params, "ad_reached_countries"))
    page_ids = paging.read_names(params, "search_page_ids")
    terms = params.get("search_terms", "")
    if not countries:
        raise GraphError.bad_parameter("The parameter ad_reached_countries is required.")
    if not page_ids and not terms:
        raise GraphError.bad_parameter("search_terms or search_page_ids is required.")
    if len(page_ids) > _MOST_PAGES or len(terms) > _MOST_CHARACTERS:
        raise GraphError.bad_parameter("Too many search_page_ids or too long search_terms.")
    if "ALL" not in countries and not countries & IN_THE_EU_OR_UK:
        return []
    return find_ads(page_ids, [terms] if terms else [], today)


def _node(ad: ForeignAd, request: Request) -> dict[str, Any]:
    snapshot = urlencode({"id": ad.id, "access_token": request.token or ""})
    return {
        "id": ad.id,
        "ad_creation_time": ad.starts.isoformat(),
        "ad_creative_bodies": [ad.body],
        "ad_creative_link_titles": [ad.headline],
        "ad_creative_link_captions": [ad.host],
        "ad_creative_link_descriptions": [ad.description],
        "ad_delivery_start_time": ad.starts.isoformat(),
        "ad_delivery_stop_time": None,
        "ad_snapshot_url": f"{_SNAPSHOT}?{snapshot}",
        "age_country_gender_reach_breakdown": None,
        "beneficiary_payers": [{"payer": ad.page_name, "beneficiary": ad.page_name}],
        "bylines": None,
        "currency": None,
        "eu_total_reach": ad.eu_reach,
        "languages": ["en"],
        "page_id": ad.page_id,
        "page_name": ad.page_name,
        "publisher_platforms": list(ad.platforms),
        "target_ages": ["18", "65+"],
        "target_gender": "All",
    }

"""Ads of other advertisers, whatever they were read from.

Belongs here: what an ad of the Ad Library is to us, and reading one from an actor's row. Does not:
Meta's own Ad Library API (`meta/ad_library.py`).
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any
from urllib.parse import urlencode

from pydantic import AliasChoices, AliasPath, BeforeValidator, Field

from pipeline_assets.sources.actor_rows import (
    ActorRow,
    Day,
    Text,
    UnreadableRowError,
    fold,
    read_fields,
)

_MACRO = re.compile(r"\{\{[^{}]+\}\}")

LIBRARY_URL = "https://www.facebook.com/ads/library/"


@dataclass(frozen=True, kw_only=True)
class LibraryAd:
    """One ad; `found_by`: the words of the search that found it, where the source tells.

    `problem` says which of its lesser fields could not be read.
    """

    library_ad_id: str
    page_id: str | None
    page_name: str | None
    titles: tuple[str, ...]
    bodies: tuple[str, ...]
    description: str | None
    display_domain: str | None
    landing_url: str | None
    cta: str | None
    image_urls: tuple[str, ...]
    video_urls: tuple[str, ...]
    poster_url: str | None
    started_on: date | None
    stopped_on: date | None
    is_active: bool
    platforms: tuple[str, ...]
    languages: tuple[str, ...]
    eu_reach: int | None
    found_by: str | None = None
    problem: str | None = None


def library_url(library_ad_id: str) -> str:
    """The ad's public page, which needs no token."""
    return f"{LIBRARY_URL}?{urlencode({'id': library_ad_id})}"


def build_actor_input(
    page_ids: Sequence[str], search_terms: Sequence[str], countries: Sequence[str], max_ads: int
) -> dict[str, Any]:
    """What the usual actors for the Ad Library ask for: addresses of searches, and a limit.

    They differ in names (`startUrls` and `resultsLimit`, `urls` and `count`) and ignore the others.
    """
    searches: list[dict[str, str]] = []
    for country in countries:
        usual = {"active_status": "active", "ad_type": "all", "country": country}
        searches += [
            {**usual, "search_type": "page", "view_all_page_id": page} for page in page_ids
        ]
        searches += [
            {**usual, "search_type": "keyword_unordered", "q": term} for term in search_terms
        ]
    urls = [{"url": f"{LIBRARY_URL}?{urlencode(search)}"} for search in searches]
    each = -(-max_ads // len(urls))
    return {
        "startUrls": urls,
        "urls": urls,
        "resultsLimit": each,
        "count": max_ads,
        "maxItems": max_ads,
    }


def _as_list(value: Any) -> Any:
    if isinstance(value, str):
        return [part.strip() for part in value.split(",")]
    return value


def _read_state(value: Any) -> Any:
    words = {"active": True, "inactive": False}
    return words.get(value.lower(), value) if isinstance(value, str) else value


def _only_objects(value: Any) -> Any:
    if isinstance(value, list):
        return [each for each in value if isinstance(each, Mapping)]
    return value


def _address_in(names: Sequence[str]) -> BeforeValidator:
    """A list of addresses, each given as such or in an object by one of the names, best first."""

    def find(value: Any) -> Any:
        if isinstance(value, Mapping):
            return next((value[name] for name in names if name in value), None)
        return value

    def read(value: Any) -> list[str]:
        found = map(find, value if isinstance(value, list) else [value])
        return [
            each
            for each in found
            if isinstance(each, str) and each.startswith(("https://", "http://"))
        ]

    return BeforeValidator(read)


_IMAGE_NAMES = ("originalimageurl", "resizedimageurl", "imageurl", "url", "src")
_VIDEO_NAMES = ("videohdurl", "videosdurl", "videourl", "url", "src")
_POSTER_NAMES = ("videopreviewimageurl", "previewimageurl", "thumbnailurl")
Words = Annotated[tuple[str, ...], BeforeValidator(_as_list)]
Images = Annotated[tuple[str, ...], _address_in(_IMAGE_NAMES)]
Videos = Annotated[tuple[str, ...], _address_in(_VIDEO_NAMES)]
Posters = Annotated[tuple[str, ...], _address_in(_POSTER_NAMES)]


class _Content(ActorRow):
    """What an ad shows, or one of its cards."""

    title: Text = Field(None, validation_alias=AliasChoices("title", "headline", "linktitle"))
    body: Text = Field(None, validation_alias=AliasChoices("body", "adtext", "text", "message"))
    description: Text = Field(None, validation_alias=AliasChoices("linkdescription", "description"))
    caption: Text = Field(None, validation_alias=AliasChoices("caption", "displaydomain", "domain"))
    cta: Text = Field(
        None, validation_alias=AliasChoices("ctatext", "ctatype", "cta", "calltoaction")
    )
    link_url: Text = Field(
        None, validation_alias=AliasChoices("linkurl", "landingurl", "destinationurl")
    )
    images: Images = Field(
        (), validation_alias=AliasChoices("images", "imageurls", *_IMAGE_NAMES[:2])
    )
    videos: Videos = Field(
        (), validation_alias=AliasChoices("videos", "videourls", *_VIDEO_NAMES[:2])
    )
    posters: Posters = Field((), validation_alias=AliasChoices("videos", *_POSTER_NAMES))


class _Ad(_Content):
    id: Annotated[str, Field(pattern=r"^[0-9]{5,32}$")] = Field(
        validation_alias=AliasChoices(
            "adarchiveid", "archiveid", "libraryid", "adlibraryid", "adid", "id"
        )
    )
    page_id: str | None = Field(
        None, validation_alias=AliasChoices("pageid", AliasPath("advertiser", "id"))
    )
    page_name: Text = Field(
        None,
        validation_alias=AliasChoices(
            "pagename", "advertisername", AliasPath("advertiser", "name")
        ),
    )
    started_on: Day = Field(
        None,
        validation_alias=AliasChoices("startdate", "startdateformatted", "addeliverystarttime"),
    )
    stopped_on: Day = Field(
        None, validation_alias=AliasChoices("enddate", "enddateformatted", "addeliverystoptime")
    )
    is_active: Annotated[bool | None, BeforeValidator(_read_state)] = Field(
        None, validation_alias=AliasChoices("isactive", "active")
    )
    platforms: Words = Field(
        (), validation_alias=AliasChoices("publisherplatform", "publisherplatforms", "platforms")
    )
    languages: Words = Field((), validation_alias=AliasChoices("languages", "language"))
    eu_reach: int | None = Field(
        None, validation_alias=AliasChoices("eutotalreach", AliasPath("aaainfo", "eutotalreach"))
    )
    cards: Annotated[tuple[_Content, ...], BeforeValidator(_only_objects)] = ()
    found_by: Text = Field(None, validation_alias=AliasChoices("searchterm", "keyword", "query"))


_SHOWN_NAMES = {
    "adarchiveid": "adArchiveID",
    "startdate": "startDate",
    "enddate": "endDate",
    "pageid": "pageID",
    "isactive": "isActive",
    "publisherplatform": "publisherPlatform",
}


def read_actor_row(row: Any, *, today: date) -> LibraryAd:
    """The ad in a row of one of the usual actors for the Ad Library, by whatever names.

    Raises: UnreadableRowError, without an id, an advertiser or anything that it shows.
    """
    if not isinstance(row, Mapping):
        raise UnreadableRowError(["the row, which is no object"])
    folded = fold(row)
    snapshot = folded.get("snapshot")
    shown = snapshot if isinstance(snapshot, dict) else {}
    ad, problem = read_fields(_Ad, {**folded, **shown}, _SHOWN_NAMES)
    found = _to_library_ad(ad, (ad, *ad.cards), today=today, problem=problem)
    lacking = []
    if not (found.page_id or found.page_name):
        lacking.append("pageID or pageName")
    if not (found.bodies or found.titles or found.image_urls or found.video_urls):
        lacking.append("snapshot with a text, picture or video")
    if lacking:
        raise UnreadableRowError(lacking)
    return found


def _to_library_ad(
    ad: _Ad, contents: Sequence[_Content], *, today: date, problem: str | None
) -> LibraryAd:
    is_active = ad.is_active
    if is_active is None:
        is_active = ad.stopped_on is None or ad.stopped_on >= today
    return LibraryAd(
        library_ad_id=ad.id,
        page_id=ad.page_id,
        page_name=ad.page_name,
        titles=_texts(each.title for each in contents),
        bodies=_texts(each.body for each in contents),
        description=_first(each.description for each in contents),
        display_domain=_first(each.caption for each in contents),
        landing_url=_first(each.link_url for each in contents),
        cta=_first(each.cta for each in contents),
        image_urls=_distinct(url for each in contents for url in each.images),
        video_urls=_distinct(url for each in contents for url in each.videos),
        poster_url=_first(url for each in contents for url in each.posters),
        started_on=ad.started_on,
        # Of an ad that runs, actors tell the last day seen as its end.
        stopped_on=None if is_active else ad.stopped_on,
        is_active=is_active,
        platforms=_distinct(each.lower() for each in ad.platforms),
        languages=_distinct(ad.languages),
        eu_reach=ad.eu_reach,
        found_by=ad.found_by,
        problem=problem,
    )


def _texts(values: Iterable[str | None]) -> tuple[str, ...]:
    """The distinct texts; a product's name that Meta puts in for each reader is none."""
    return _distinct(each for each in values if each and not _MACRO.fullmatch(each))


def _distinct(values: Iterable[str | None]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(filter(None, values)))


def _first(values: Iterable[str | None]) -> str | None:
    return next(filter(None, values), None)

"""Reviews of Amazon's products as actors gather them: what to ask for, and reading a row."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any

from pydantic import AliasChoices, AliasPath, BeforeValidator, Field

from pipeline_assets.sources.actor_rows import (
    ActorRow,
    Text,
    UnreadableRowError,
    fold,
    plain_text,
    read_date,
    read_fields,
)

DOMAINS = {
    "AE": "amazon.ae",
    "AU": "amazon.com.au",
    "BE": "amazon.com.be",
    "BR": "amazon.com.br",
    "CA": "amazon.ca",
    "DE": "amazon.de",
    "EG": "amazon.eg",
    "ES": "amazon.es",
    "FR": "amazon.fr",
    "GB": "amazon.co.uk",
    "IE": "amazon.ie",
    "IN": "amazon.in",
    "IT": "amazon.it",
    "JP": "amazon.co.jp",
    "MX": "amazon.com.mx",
    "NL": "amazon.nl",
    "PL": "amazon.pl",
    "SA": "amazon.sa",
    "SE": "amazon.se",
    "SG": "amazon.sg",
    "TR": "amazon.com.tr",
    "US": "amazon.com",
    "ZA": "amazon.co.za",
}
"""Amazon's marketplaces by the ISO 3166 code of their country."""

_COUNTRY_NAMES = {
    "australia": "AU",
    "belgium": "BE",
    "brazil": "BR",
    "canada": "CA",
    "egypt": "EG",
    "france": "FR",
    "germany": "DE",
    "india": "IN",
    "ireland": "IE",
    "italy": "IT",
    "japan": "JP",
    "mexico": "MX",
    "netherlands": "NL",
    "poland": "PL",
    "saudi arabia": "SA",
    "singapore": "SG",
    "south africa": "ZA",
    "spain": "ES",
    "sweden": "SE",
    "turkey": "TR",
    "türkiye": "TR",
    "united arab emirates": "AE",
    "united kingdom": "GB",
    "united states": "US",
    "usa": "US",
    "uk": "GB",
}
_REVIEWED_IN = re.compile(r"reviewed in (?:the )?(.+?)(?: on |$)", re.IGNORECASE)
_DAYLESS = re.compile(r"\s*reviewed in \D+", re.IGNORECASE)
_REVIEW_ID = re.compile(r"\bR[A-Z0-9]{8,16}\b")
_STARS = re.compile(r"\d+(?:[.,]\d+)?")
_BADGE = re.compile(
    r"(?!.*\b(?:un|(?:not|non|nicht|no)\b)).*(?:v[eé]rifi|weryfi|potwierdz|doğrulanmış|で購入|معتمد)",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"\d[\d,. ]*")


@dataclass(frozen=True, kw_only=True)
class Review:
    """One review; `problem` says which of its lesser fields could not be read."""

    review_id: str
    asin: str
    product_title: str | None
    rating: int
    title: str | None
    body: str | None
    reviewed_on: date | None
    country: str | None
    language: str | None
    variant: str | None
    is_verified: bool
    helpful_votes: int
    problem: str | None


def build_actor_input(asins: Sequence[str], country: str, max_reviews: int) -> dict[str, Any]:
    """What the usual actors for reviews ask for: products by ASIN and by address, and a limit.

    They differ in names and ignore those that they do not know.
    """
    domain = DOMAINS.get(country, DOMAINS["US"])
    urls = [{"url": f"https://www.{domain}/dp/{asin}"} for asin in asins]
    return {
        "asins": list(asins),
        "productUrls": urls,
        "startUrls": urls,
        "country": country,
        "domain": domain,
        "maxReviews": max_reviews,
        "maxItems": max_reviews * len(asins),
        "sort": "recent",
    }


def _read_stars(value: Any) -> Any:
    """Whole stars of 4, "4.0", "4,0 von 5 Sternen" or "5つ星のうち4": the lesser number.

    Only of the first two, as in "5 out of 5 stars, 1 rating".
    """
    found = _STARS.findall(str(value))[:2]
    return round(min(float(each.replace(",", ".")) for each in found)) if found else value


def _read_reviewed_on(value: Any) -> date | None:
    """The day; None of "Reviewed in Germany", which tells none.

    Raises: ValueError for anything else that is no date.
    """
    return None if _DAYLESS.fullmatch(str(value)) else read_date(value)


def _read_count(value: Any) -> Any:
    """The number in 12, "1,204" or "12 people found this helpful"; "One person …" is 1."""
    if isinstance(value, str):
        found = _NUMBER.search(value)
        return int(re.sub(r"\D", "", found[0])) if found else int("one " in value.lower())
    return value


def _read_badge(value: Any) -> Any:
    """True for the words by which a shop marks a purchase as verified."""
    return True if isinstance(value, str) and _BADGE.match(value) else value


def _read_review_id(value: Any) -> Any:
    """Amazon's id, alone or within the review's address."""
    found = _REVIEW_ID.search(str(value))
    return found[0] if found else value


def _read_variant(value: Any) -> Any:
    """Size, colour and the like as one text: also of objects and lists of them."""
    if isinstance(value, list):
        return "; ".join(str(_read_variant(each)) for each in value)
    if isinstance(value, Mapping):
        if {"key", "value"} <= set(value) or {"name", "value"} <= set(value):
            return f"{value.get('key') or value.get('name')}: {value['value']}"
        return "; ".join(f"{name}: {each}" for name, each in value.items())
    return value


class _Review(ActorRow):
    review_id: Annotated[
        str, BeforeValidator(_read_review_id), Field(pattern=r"^[A-Za-z0-9_-]{6,64}$")
    ] = Field(validation_alias=AliasChoices("reviewid", "id", "reviewurl", "reviewlink"))
    rating: Annotated[int, BeforeValidator(_read_stars), Field(ge=1, le=5)] = Field(
        validation_alias=AliasChoices(
            "ratingscore", "rating", "stars", "reviewrating", "starrating"
        )
    )
    product_title: Text = Field(
        None,
        validation_alias=AliasChoices("producttitle", "productname", AliasPath("product", "title")),
    )
    title: Text = Field(None, validation_alias=AliasChoices("reviewtitle", "title", "headline"))
    body: Text = Field(
        None,
        validation_alias=AliasChoices(
            "reviewdescription", "reviewtext", "text", "body", "content", "review"
        ),
    )
    reviewed_on: Annotated[date | None, BeforeValidator(_read_reviewed_on)] = Field(
        None, validation_alias=AliasChoices("date", "reviewdate", "reviewedon", "reviewedin")
    )
    country_code: Text = Field(None, validation_alias=AliasChoices("countrycode", "country"))
    language: Text = Field(None, validation_alias=AliasChoices("language", "reviewlanguage"))
    variant: Annotated[Text, BeforeValidator(_read_variant)] = Field(
        None,
        validation_alias=AliasChoices(
            "variant", "variantattributes", "variation", "variationlist", "style"
        ),
    )
    is_verified: Annotated[bool, BeforeValidator(_read_badge)] = Field(
        default=False, validation_alias=AliasChoices("isverified", "verifiedpurchase", "verified")
    )
    helpful_votes: Annotated[int, BeforeValidator(_read_count)] = Field(
        0,
        validation_alias=AliasChoices(
            "helpfulvotes", "helpfulcount", "numberofhelpful", "reviewreaction", "helpful"
        ),
    )


_SHOWN_NAMES = {
    "reviewid": "reviewId",
    "ratingscore": "ratingScore",
    "isverified": "isVerified",
    "reviewedin": "reviewedIn",
}
_ASIN_NAMES = ("asin", "productasin", "originalasin", "productoriginalasin", "parentasin")


def read_actor_row(row: Any, *, asins: Collection[str]) -> Review | None:
    """The review in a row of one of the usual actors; None when it is of no product in `asins`.

    Raises: UnreadableRowError, without an id, a product, stars or any text.
    """
    if not isinstance(row, Mapping):
        raise UnreadableRowError(["the row, which is no object"])
    folded = fold(row)
    told = [str(folded[name]) for name in _ASIN_NAMES if name in folded]
    problems = [] if told else ["asin"]
    try:
        review, problem = read_fields(_Review, folded, _SHOWN_NAMES)
    except UnreadableRowError as error:
        raise UnreadableRowError([*problems, *error.fields]) from None
    if not (review.title or review.body):
        problems.append("reviewDescription")
    if problems:
        raise UnreadableRowError(problems)
    asin = next((each for each in told if each in asins), None)
    country = _country(review.country_code) or _country_reviewed_in(folded)
    return _to_review(review, asin, country, problem) if asin else None


def _to_review(review: _Review, asin: str, country: str | None, problem: str | None) -> Review:
    return Review(
        review_id=review.review_id,
        asin=asin,
        product_title=review.product_title,
        rating=review.rating,
        title=review.title,
        body=review.body,
        reviewed_on=review.reviewed_on,
        country=country,
        language=review.language,
        variant=review.variant,
        is_verified=review.is_verified,
        helpful_votes=review.helpful_votes,
        problem=problem,
    )


def _country(told: str | None) -> str | None:
    if told is None:
        return None
    return told.upper() if told.upper() in DOMAINS else _COUNTRY_NAMES.get(told.lower())


def _country_reviewed_in(row: Mapping[str, Any]) -> str | None:
    """The country in the words of the day, also where the day in them cannot be read."""
    told = next((row[name] for name in ("reviewedin", "date", "reviewdate") if name in row), None)
    found = _REVIEWED_IN.search(plain_text(told) or "")
    return _country(found[1].strip()) if found else None

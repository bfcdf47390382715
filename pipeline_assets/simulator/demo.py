"""The demo world: three brands, one healthy, one rate-limited for a moment, one locked out.

The tokens are made up; they only look like Meta's.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

from pipeline_assets.simulator import reddit
from pipeline_assets.simulator.faults import Endpoint, Fault, FaultKind
from pipeline_assets.simulator.world import PAGES_SCOPE, AccountSpec, AdKind, TokenSpec, World


@dataclass(frozen=True, kw_only=True)
class DemoBrand:
    """A brand as it is to be registered: its token sees `ad_accounts`.

    `fresh_token` sees them too, where the other one has expired. `other_sources` are those beside
    Meta as the registry takes them; where a secret belongs stands its name in `SECRETS`.
    """

    slug: str
    name: str
    timezone: str
    token: str = field(repr=False)
    fresh_token: str | None = field(default=None, repr=False)
    ad_accounts: tuple[str, ...]
    other_sources: Mapping[str, Any] = field(default_factory=dict)


SECRETS = {
    "apify": "apify_api_DemoTokenOfNobody7d1c5e9a3b",
    "reddit": reddit.CLIENT_SECRET,
}
"""What the demo's sources beside Meta are opened with, by name; made up as well."""

_REVIEWS = {"actor": "demo/amazon-reviews", "token": "apify"}
_ADS = {"actor": "demo/facebook-ads-library", "token": "apify"}
_REDDIT = {"client_id": reddit.CLIENT_ID, "client_secret": "reddit", "username": reddit.USERNAME}

DEMO_BRANDS = (
    DemoBrand(
        slug="acme",
        name="Acme Skin & Coffee",
        timezone="Europe/Paris",
        token="EAADemoAcme4f1c9b7e2a8d6c3b5f0a9e8d7c6b5a4f3e2d1c0b",  # noqa: S106  made up
        ad_accounts=("act_1001", "act_1002"),
        other_sources={
            "templates": {"search_terms": ["skincare", "coffee"], "countries": ["FR", "DE"]},
            "competitors": {"page_ids": ["104857600001", "104857600002"], "countries": ["FR"]},
            "reddit": {
                **_REDDIT,
                "subreddits": ["SkincareAddiction", "Coffee"],
                "search_terms": ["serum", "espresso"],
            },
            "amazon": {"asins": ["B0ACMESER1", "B0ACMECOF2"], "country": "FR", "actor": _REVIEWS},
        },
    ),
    DemoBrand(
        slug="globex",
        name="Globex Footwear",
        timezone="America/New_York",
        token="EAADemoGlobex7b3e1d9c5a2f8e6d4c0b9a7f5e3d1c8b6a4f2e",  # noqa: S106  made up
        ad_accounts=("act_2001",),
        other_sources={
            "templates": {"search_terms": ["running shoes"], "actor": _ADS, "max_ads": 60},
            "competitors": {"page_ids": ["104857600003"], "actor": _ADS, "max_ads": 40},
            "reddit": {
                **_REDDIT,
                "subreddits": ["running"],
                "search_terms": ["running shoes", "insoles"],
            },
            "amazon": {"asins": ["B0GLOBEXR1"], "actor": _REVIEWS},
        },
    ),
    DemoBrand(
        slug="initech",
        name="Initech Beauty",
        timezone="Asia/Tokyo",
        token="EAADemoInitech2d8f6b4a0c9e7d5b3f1a8c6e4d2b0f9a7c5e3",  # noqa: S106  made up
        fresh_token="EAADemoInitech9e1c7a5f3d2b8e6c4a0f9d7b5e3c1a8f6d4b2",  # noqa: S106  made up
        ad_accounts=("act_3001",),
        # From the Ad Library, with the token that has expired.
        other_sources={"competitors": {"search_terms": ["skincare"], "countries": ["DE"]}},
    ),
)
"""The brands of the demo, by what they are to show: healthy, throttled, expired."""

DEMO_FAULTS = (
    Fault(
        kind=FaultKind.ACCOUNT_LIMIT,
        account="act_2001",
        endpoint=Endpoint.INSIGHTS,
        count=1,
        seconds=15,
    ),
)
"""What goes wrong in the demo beside the expired token: globex's first insights call."""

_ALL_KINDS = (
    AdKind.IMAGE,
    AdKind.VIDEO,
    AdKind.CAROUSEL,
    AdKind.IMAGE,
    AdKind.VIDEO,
    AdKind.DYNAMIC,
)

_ACCOUNTS = (
    AccountSpec(
        id="act_1001",
        name="Acme Europe",
        currency="EUR",
        timezone="Europe/Paris",
        ad_count=24,
        kinds=(
            *_ALL_KINDS,
            AdKind.BOOSTED_POST,
            *_ALL_KINDS,
            AdKind.LEAD_FORM,
            *_ALL_KINDS,
            *_ALL_KINDS,
        ),
        paused_count=2,
        countries=("FR", "DE", "IT", "ES"),
        theme="skincare",
        landing_host="skin.acme.example",
        has_shop=True,
    ),
    AccountSpec(
        id="act_1002",
        name="Acme US",
        currency="USD",
        timezone="America/Los_Angeles",
        ad_count=18,
        kinds=_ALL_KINDS,
        theme="coffee",
        landing_host="coffee.acme.example",
        has_shop=True,
    ),
    AccountSpec(
        id="act_2001",
        name="Globex",
        currency="USD",
        timezone="America/New_York",
        ad_count=12,
        kinds=_ALL_KINDS,
        theme="shoes",
        landing_host="globex.example",
        has_shop=True,
    ),
    AccountSpec(
        id="act_3001",
        name="Initech",
        currency="JPY",
        timezone="Asia/Tokyo",
        ad_count=8,
        theme="skincare",
        countries=("JP",),
        landing_host="initech.example",
        has_shop=True,
    ),
)

_READS_PAGES_OF = {"acme": ("act_1001",)}
"""Whose videos and boosted posts can be read; of act_1002 a video stays a poster."""
_EXPIRED = "initech"
_EXPIRED_AT = datetime(2026, 8, 18, 12, tzinfo=UTC)


def build_demo_world(today: date) -> World:
    """The demo world with statuses as of this week's Monday; figures do not depend on `today`."""
    tokens = [
        TokenSpec(
            brand.token,
            accounts=brand.ad_accounts,
            expires_at=_EXPIRED_AT if brand.slug == _EXPIRED else None,
            scopes=("ads_read", PAGES_SCOPE) if brand.slug in _READS_PAGES_OF else ("ads_read",),
            pages=_READS_PAGES_OF.get(brand.slug),
        )
        for brand in DEMO_BRANDS
    ]
    tokens += [
        TokenSpec(brand.fresh_token, accounts=brand.ad_accounts)
        for brand in DEMO_BRANDS
        if brand.fresh_token
    ]
    return World(_ACCOUNTS, tokens=tokens, anchor=today - timedelta(days=today.weekday()))

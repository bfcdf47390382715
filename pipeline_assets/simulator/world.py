"""The simulated accounts: who exists, what belongs to whom, what was delivered when.

Pure: everything follows from the specs, the seed and the `now` that is handed in. Belongs here:
identities, life spans and the truth that tests compare with. Does not: how the API shows it
(`nodes.py`, `insights.py`) and what goes wrong (`faults.py`).
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from enum import IntEnum, StrEnum
from functools import cached_property
from hashlib import md5, sha256
from zoneinfo import ZoneInfo

from pipeline_assets.simulator.ad_copy import THEMES, Hook, Product, Theme
from pipeline_assets.simulator.metrics import (
    Metrics,
    Traits,
    draw_traits,
    metrics_on,
    uniform,
)

ADS_PER_ADSET = 4
ADSETS_PER_CAMPAIGN = 2
IMAGES_PER_CREATIVE = 4
_VIDEO_SECONDS = (4.0, 5.0, 6.0)

ZERO_DECIMAL_CURRENCIES = frozenset(
    {"CLP", "COP", "CRC", "HUF", "ISK", "IDR", "JPY", "KRW", "PYG", "TWD", "VND"}
)
"""Currencies whose budgets Meta gives without minor units."""

PAGES_SCOPE = "pages_read_engagement"


class AdKind(StrEnum):
    """What an ad is made of."""

    IMAGE = "image"
    VIDEO = "video"
    CAROUSEL = "carousel"
    DYNAMIC = "dynamic"
    """Several texts, images and a video that Meta combines (asset_feed_spec)."""
    BOOSTED_POST = "boosted_post"
    LEAD_FORM = "lead_form"


class ObjectKind(IntEnum):
    """The digit of an id that says what it names."""

    CAMPAIGN = 1
    ADSET = 2
    AD = 3
    CREATIVE = 4
    VIDEO = 5
    POST = 6
    RUN = 7
    PAGE = 8
    FORM = 9


@dataclass(frozen=True, kw_only=True)
class AccountSpec:
    """What an ad account looks like; its last ads are paused, archived and deleted, in this order.

    The first of its videos have a `source` for their page's token alone. `history_days` is how long
    before the world's anchor the first ads started. `has_shop`: its ads lead to pages that the
    simulator serves itself, below `/shops/<landing_host>/`; no two shops share a host.
    """

    id: str
    name: str
    currency: str = "USD"
    timezone: str = "America/New_York"
    ad_count: int = 12
    kinds: tuple[AdKind, ...] = (AdKind.IMAGE, AdKind.VIDEO, AdKind.CAROUSEL, AdKind.DYNAMIC)
    paused_count: int = 1
    archived_count: int = 1
    deleted_count: int = 1
    history_days: int = 120
    sourceless_video_count: int = 1
    countries: tuple[str, ...] = ("US", "CA")
    theme: str = "skincare"
    landing_host: str = "shop.example"
    has_shop: bool = False

    def __post_init__(self) -> None:
        if not re.fullmatch(r"act_[1-9]\d{0,14}", self.id):
            raise ValueError(f"an account id is act_ and 1 to 15 digits, not {self.id!r}")


@dataclass(frozen=True, kw_only=True)
class AppSpec:
    """The app that every token belongs to; with `proof_required` it refuses calls without proof."""

    id: str = "730011223344556"
    secret: str = field(default="5f2b7c9d1e3a4b6c8d0e2f4a6b8c0d1e", repr=False)
    name: str = "Pipeline assets demo"
    proof_required: bool = False


@dataclass(frozen=True)
class TokenSpec:
    """A system-user token: which accounts it sees (None: all), and whether it is still good.

    `error_subcode` makes it bad for another reason than its expiry (458 app removed, 460 password
    changed, 467 invalidated). With the scope pages_read_engagement it also reads the pages of the
    accounts in `pages` (None: of all that it sees). `is_page`: it is a page's own token.
    `has_identity`: the person behind it has confirmed who they are, as the Ad Library wants.
    """

    value: str = field(repr=False)
    accounts: tuple[str, ...] | None = None
    expires_at: datetime | None = None
    scopes: tuple[str, ...] = ("ads_read",)
    error_subcode: int | None = None
    pages: tuple[str, ...] | None = None
    is_page: bool = False
    has_identity: bool = True

    def reads_page(self, account_id: str) -> bool:
        """Whether the account's page was assigned to it."""
        return self.sees(account_id) and (self.pages is None or account_id in self.pages)

    def of_page(self, account_id: str) -> "TokenSpec":
        """The token of that account's page that its holder is given; as good as this one."""
        if self.is_page:
            return self
        digest = sha256(f"{account_id}:{self.value}".encode()).hexdigest()
        return replace(
            self,
            value=f"EAAPage{digest[:40]}",
            accounts=(account_id,),
            pages=None,
            scopes=(PAGES_SCOPE,),
            is_page=True,
        )

    def sees(self, account_id: str) -> bool:
        """Whether the account was granted to it."""
        return self.accounts is None or account_id in self.accounts


@dataclass(frozen=True, slots=True, eq=False)
class Ad:
    """One ad; delivers on days `starts` <= day < `ends` (None: it goes on)."""

    account: "Account" = field(repr=False)
    index: int
    id: str
    kind: AdKind
    status: str
    starts: date
    ends: date | None
    creative_index: int
    traits: Traits

    @property
    def name(self) -> str:
        """As people name ads: shop, kind, running number."""
        return f"{self.account.spec.name} | {self.kind.value} | {self.index + 1:03d}"

    @property
    def adset_index(self) -> int:
        """Position of its ad set in the account."""
        return self.index // ADS_PER_ADSET

    @property
    def campaign_index(self) -> int:
        """Position of its campaign in the account."""
        return self.adset_index // ADSETS_PER_CAMPAIGN

    @property
    def updated_date(self) -> date:
        """The day of its last change: its end, else a few days after it started."""
        return self.ends or self.starts + timedelta(days=2 + self.index % 5)


@dataclass(frozen=True, slots=True)
class Creative:
    """What is shown: words, pictures and videos of one creative."""

    account: "Account"
    index: int
    id: str
    kind: AdKind
    hooks: tuple[Hook, ...]
    products: tuple[Product, ...]
    image_indexes: tuple[int, ...]
    video_id: str | None

    @property
    def has_post(self) -> bool:
        """Whether it is one post of the page; a dynamic one becomes many."""
        return self.kind is not AdKind.DYNAMIC


class Account:
    """One ad account with everything in it; built from its spec, the seed and the anchor."""

    def __init__(self, spec: AccountSpec, *, seed: int, anchor: date) -> None:
        self.spec = spec
        self.seed = seed
        self.anchor = anchor
        self.id = spec.id
        self.number = spec.id.removeprefix("act_")
        self.zone = ZoneInfo(spec.timezone)
        self.theme: Theme = THEMES[spec.theme]
        self.minor_units = 1 if spec.currency in ZERO_DECIMAL_CURRENCIES else 100

    def object_id(self, kind: ObjectKind, index: int) -> str:
        """The id of one of its objects: 19 digits or more, so that no float can hold it."""
        return f"120{self.number:0>8}{kind.value}{index:07d}"

    @cached_property
    def ads(self) -> tuple[Ad, ...]:
        """All ads that ever were or will be, oldest first, deleted ones too."""
        return tuple(self._ad(index) for index in range(self.spec.ad_count))

    def ads_on(self, day: date) -> Iterator[Ad]:
        """The ads that exist on that day, whatever their status."""
        return (ad for ad in self.ads if ad.starts <= day)

    @property
    def adset_count(self) -> int:
        """How many ad sets it has."""
        return -(-self.spec.ad_count // ADS_PER_ADSET)

    @property
    def campaign_count(self) -> int:
        """How many campaigns it has."""
        return -(-self.adset_count // ADSETS_PER_CAMPAIGN)

    def campaign_name(self, index: int) -> str:
        """As people name campaigns: shop, aim, running number."""
        return f"{self.spec.name} | {('Sales', 'Traffic', 'Awareness')[index % 3]} {index + 1}"

    def adset_name(self, index: int) -> str:
        """As people name ad sets: audience and running number."""
        return f"{('Broad', 'Lookalike 1%', 'Retargeting 30d')[index % 3]} {index + 1}"

    def today(self, now: datetime) -> date:
        """The day it is in the account's time zone."""
        return now.astimezone(self.zone).date()

    def metrics(self, ad: Ad, day: date, *, now: datetime) -> Metrics | None:
        """What the API knows at `now` of that ad and day; None when nothing was delivered."""
        today = self.today(now)
        if day < ad.starts or day > today or (ad.ends is not None and day >= ad.ends):
            return None
        elapsed = _elapsed(now.astimezone(self.zone)) if day == today else 1.0
        return metrics_on(ad.traits, day, age_days=(today - day).days, elapsed=elapsed)

    def status(self, index: int) -> str:
        """An ad's status as of the anchor."""
        from_end = self.spec.ad_count - index
        for status, count in (
            ("DELETED", self.spec.deleted_count),
            ("ARCHIVED", self.spec.archived_count),
            ("PAUSED", self.spec.paused_count),
        ):
            if from_end <= count:
                return status
            from_end -= count
        return "ACTIVE"

    def _ad(self, index: int) -> Ad:
        kind = self._kind(_creative_index(index))
        ad_id = self.object_id(ObjectKind.AD, index)
        status = self.status(index)
        has_video = kind in {AdKind.VIDEO, AdKind.DYNAMIC}
        # Half of the ads are there from the start, the others come evenly over the history.
        late = 0 if index % 2 == 0 else index / max(1, self.spec.ad_count)
        start_offset = int((self.spec.history_days - 7) * late)
        return Ad(
            account=self,
            index=index,
            id=ad_id,
            kind=kind,
            status=status,
            starts=self.anchor - timedelta(days=self.spec.history_days - start_offset),
            ends=None if status == "ACTIVE" else self.anchor - timedelta(days=index % 4),
            creative_index=_creative_index(index),
            traits=draw_traits(
                self.seed,
                ad_id,
                video_seconds=self.video_seconds(_creative_index(index)) if has_video else None,
                has_lead_form=kind is AdKind.LEAD_FORM,
                minor_units=self.minor_units,
            ),
        )

    def _kind(self, creative_index: int) -> AdKind:
        return self.spec.kinds[creative_index % len(self.spec.kinds)]

    @cached_property
    def creative_indexes(self) -> tuple[int, ...]:
        """The indexes of its creatives; some are shared by two ads."""
        return tuple(dict.fromkeys(map(_creative_index, range(self.spec.ad_count))))

    def creative(self, index: int) -> Creative:
        """The creative with that index, which is its first ad's."""
        kind = self._kind(index)
        hooks, products = self.theme.hooks, self.theme.products
        images = {AdKind.CAROUSEL: 3, AdKind.DYNAMIC: 2}.get(kind, 1)
        has_video = kind in {AdKind.VIDEO, AdKind.DYNAMIC}
        return Creative(
            account=self,
            index=index,
            id=self.object_id(ObjectKind.CREATIVE, index),
            kind=kind,
            hooks=tuple(hooks[(index + step) % len(hooks)] for step in range(3)),
            products=tuple(products[(index + step) % len(products)] for step in range(3)),
            image_indexes=tuple(index * IMAGES_PER_CREATIVE + place for place in range(images)),
            video_id=self.object_id(ObjectKind.VIDEO, index) if has_video else None,
        )

    def video_seconds(self, index: int) -> float:
        """Length of the video with that index."""
        return _VIDEO_SECONDS[index % len(_VIDEO_SECONDS)]

    @cached_property
    def video_indexes(self) -> tuple[int, ...]:
        """The indexes of its videos, which are their creatives'."""
        video_kinds = {AdKind.VIDEO, AdKind.DYNAMIC}
        return tuple(index for index in self.creative_indexes if self._kind(index) in video_kinds)

    @cached_property
    def sourceless_videos(self) -> frozenset[int]:
        """The videos whose file only their page may read."""
        return frozenset(self.video_indexes[: self.spec.sourceless_video_count])

    @cached_property
    def image_indexes(self) -> tuple[int, ...]:
        """The images in its library: all that its creatives name by hash."""
        return tuple(
            image
            for index in self.creative_indexes
            if self._kind(index) is not AdKind.BOOSTED_POST
            for image in self.creative(index).image_indexes
        )

    def image_hash(self, index: int) -> str:
        """32 hexadecimal digits, as Meta names an image."""
        return md5(f"{self.seed}:{self.id}:{index}".encode(), usedforsecurity=False).hexdigest()

    @cached_property
    def images_by_hash(self) -> dict[str, int]:
        """Every image of its library by hash."""
        return {self.image_hash(index): index for index in self.image_indexes}

    def shares(self, name: str, ad: Ad, count: int) -> list[int]:
        """How an ad's delivery spreads over `count` cells of a breakdown; positive whole parts."""
        draw = uniform(self.seed, ad.id, name, count=min(count, 16))
        return [10 + int(90 * draw[place % len(draw)]) for place in range(count)]


class World:
    """All accounts, tokens and the app; statuses are as of `anchor`, active ads go on for ever."""

    def __init__(
        self,
        accounts: Sequence[AccountSpec],
        *,
        tokens: Sequence[TokenSpec],
        app: AppSpec | None = None,
        seed: int = 7,
        anchor: date = date(2026, 11, 2),
    ) -> None:
        self.app = app or AppSpec()
        self.seed = seed
        self.accounts = {spec.id: Account(spec, seed=seed, anchor=anchor) for spec in accounts}
        self.tokens = {token.value: token for token in tokens}
        page_tokens = (
            token.of_page(account_id)
            for token in tokens
            for account_id in self.accounts
            if PAGES_SCOPE in token.scopes and token.reads_page(account_id)
        )
        self._page_tokens = {token.value: token for token in page_tokens}
        self._by_number = {f"{each.number:0>8}": each for each in self.accounts.values()}

    def metrics(self, account_id: str, ad_id: str, day: date, *, now: datetime) -> Metrics | None:
        """The truth about one ad and day as the API would know it at `now`."""
        account = self.accounts[account_id]
        found = self.find(ad_id)
        if found is None or found[1] is not ObjectKind.AD:
            raise KeyError(ad_id)
        return account.metrics(account.ads[found[2]], day, now=now)

    def find_token(self, value: str) -> TokenSpec | None:
        """A token that was given out, to a system user or for a page."""
        return self.tokens.get(value) or self._page_tokens.get(value)

    def find(self, object_id: str) -> tuple[Account, ObjectKind, int] | None:
        """What an id names: its account, kind and index; None for an id that nobody gave."""
        match = re.fullmatch(r"120(\d{8,15})([1-9])(\d{7})", object_id)
        account = self._by_number.get(match[1]) if match else None
        if match is None or account is None:
            return None
        kind, index = ObjectKind(int(match[2])), int(match[3])
        return (account, kind, index) if _exists(account, kind, index) else None


def _exists(account: Account, kind: ObjectKind, index: int) -> bool:
    counts = {
        ObjectKind.CAMPAIGN: account.campaign_count,
        ObjectKind.ADSET: account.adset_count,
        ObjectKind.PAGE: 1,
    }
    match kind:
        case ObjectKind.CREATIVE:
            return index < account.spec.ad_count and _creative_index(index) == index
        case ObjectKind.VIDEO:
            return index in account.video_indexes
        case ObjectKind.POST:
            return index in account.creative_indexes and account.creative(index).has_post
        case ObjectKind.RUN:
            return True
        case _:
            return index < counts.get(kind, account.spec.ad_count)


def _creative_index(ad_index: int) -> int:
    """Every tenth ad shows the same creative as the one before it."""
    return ad_index - 1 if ad_index % 10 == 9 else ad_index


def _elapsed(local: datetime) -> float:
    """The part of the day that is reported: Meta refreshes every 15 minutes."""
    return (local.hour * 60 + local.minute) // 15 * 15 / 1440

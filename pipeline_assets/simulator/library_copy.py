"""Other advertisers and their ads, as Meta's Ad Library knows them: invented, and always the same.

Everything follows from a page's number and the week an ad was born in, so ads come and go as time
passes. A page whose number begins with 0 does not exist, and no ad speaks of a term with "nothing"
in it: as with Meta, both find no ad and are no error.

Belongs here: who advertises what. Does not: how an API or an actor shows it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import lru_cache
from hashlib import blake2b
from itertools import count, islice
from urllib.parse import urlencode

from pipeline_assets.simulator import pictures
from pipeline_assets.simulator.ad_copy import THEMES, Hook, Product
from pipeline_assets.simulator.metrics import uniform

IN_THE_EU_OR_UK = frozenset({"AT", "BE", "DE", "ES", "FR", "GB", "IE", "IT", "NL", "PL", "SE"})
"""The countries of those two where these advertisers are."""

SILENT_PAGE = "999999999999999"
"""The page that advertises nothing."""

_FIRST_NAMES = ("Lumen", "Fjord", "Juniper", "Solstice", "Marlow", "Pebble", "Aurora", "Tidewater")
_LAST_NAMES = ("& Co", "Labs", "Studio", "Collective", "Supply", "House", "Botanics", "Works")
_EPOCH = date(2020, 1, 6)
_LONGEST_WEEKS = 30
_EMOJI = ("✨", "☕️", "👟", "🔥", "💧", "🌿")
_BUTTONS = (("Shop now", "SHOP_NOW"), ("Learn more", "LEARN_MORE"), ("Get offer", "GET_OFFER"))
_PLATFORMS = (
    ("facebook", "instagram"),
    ("facebook", "instagram", "messenger"),
    ("instagram",),
    ("facebook",),
)
_MOST_ADS_OF_A_WEEK = 3
_PAGES_OF_A_TERM = 3
_WORDS_OF_THEMES = {
    "coffee": ("coffee", "brew", "espresso", "bean"),
    "shoes": ("shoe", "sneaker", "sock", "runn"),
    "skincare": ("skin", "serum", "cream", "spf"),
}
_ADDRESS_LIFE = timedelta(days=4)


@dataclass(frozen=True, kw_only=True)
class ForeignAd:
    """One ad of another advertiser; it runs on days `starts` <= day < `ends`."""

    id: str
    page_id: str
    page_name: str
    host: str
    headline: str
    body: str
    description: str
    button: str
    button_type: str
    link_url: str
    starts: date
    ends: date
    platforms: tuple[str, ...]
    eu_reach: int
    picture_key: str
    has_video: bool
    copies: int

    def is_running(self, day: date) -> bool:
        """Whether it is delivered on that day."""
        return self.starts <= day < self.ends


def ads_of_page(page_id: str, today: date) -> list[ForeignAd]:
    """The ads of a page that run today, newest first."""
    if page_id == SILENT_PAGE or page_id.startswith("0"):
        return []
    return [ad for ad in _born_before(page_id, today) if ad.is_running(today)]


def ads_with_words(term: str, today: date) -> list[ForeignAd]:
    """The running ads of several pages that speak of the term, newest first."""
    if "nothing" in term.casefold():
        return []
    found = [ad for page_id in _pages_of_term(term) for ad in _of_term(page_id, term, today)]
    return sorted(found, key=lambda ad: (ad.starts, ad.id), reverse=True)


def _pages_of_term(term: str) -> Iterator[str]:
    """Some pages that sell what the term is about, or anything where it names none of our goods."""
    about = [
        theme
        for theme, words in _WORDS_OF_THEMES.items()
        if any(word in term.casefold() for word in words)
    ]
    pages = (_digits(f"term:{term.casefold()}:{place}", 15) for place in count())
    return islice(
        (page for page in pages if not about or _theme_name(page) in about), _PAGES_OF_A_TERM
    )


def _of_term(page_id: str, term: str, today: date) -> Iterator[ForeignAd]:
    for ad in ads_of_page(page_id, today):
        yield replace(ad, body=f"{ad.body}\nMore about {term} on our page.")


def _born_before(page_id: str, today: date) -> Iterator[ForeignAd]:
    week = (today - _EPOCH).days // 7
    for born in range(week, week - _LONGEST_WEEKS, -1):
        births = uniform(page_id, born, "births", count=1)[0]
        for place in range(int(births * (_MOST_ADS_OF_A_WEEK + 1))):
            yield _ad(page_id, born, place)


def _ad(page_id: str, week: int, place: int) -> ForeignAd:
    theme = THEMES[_theme_name(page_id)]
    draw = uniform(page_id, week, place, count=8)
    # Every third ad of a week repeats the week's first one under another id: a copy.
    shown = uniform(page_id, week, 0 if place == 2 else place, "shown", count=5)
    hook: Hook = theme.hooks[int(shown[0] * len(theme.hooks))]
    product: Product = theme.products[int(shown[1] * len(theme.products))]
    name = _page_name(page_id)
    host = f"{name.split()[0].lower()}.example"
    starts = _EPOCH + timedelta(days=7 * week + int(draw[0] * 7))
    # Most ads are ended within weeks, a few run for months.
    weeks = 1 + int((_LONGEST_WEEKS - 2) * draw[1] ** 3)
    button, button_type = _BUTTONS[int(shown[2] * len(_BUTTONS))]
    texts = {"product": product.name, "price": f"${product.price}"}
    emoji = _EMOJI[int(shown[3] * len(_EMOJI))]
    return ForeignAd(
        id=f"{_digits(page_id, 7)}{week:05d}{place}{_digits(f'{page_id}:{week}', 3)}",
        page_id=page_id,
        page_name=name,
        host=host,
        headline=hook.headline.format(**texts),
        body=f"{emoji} {hook.body.format(**texts)}\nMade & shipped by {name}.",
        description=f"Free shipping from ${10 * (2 + int(page_id[-1]) % 4)}",
        button=button,
        button_type=button_type,
        link_url=f"https://{host}/products/{product.slug}?utm_source=facebook",
        starts=starts,
        ends=starts + timedelta(days=7 * weeks + int(draw[2] * 7)),
        platforms=_PLATFORMS[int(draw[3] * len(_PLATFORMS))],
        eu_reach=int(1_000 + 400_000 * draw[4] ** 2),
        picture_key=f"{page_id}-{week}-{0 if place == 2 else place}",
        has_video=shown[4] < 0.3,
        copies=1 + int(draw[5] * 4),
    )


def _theme_name(page_id: str) -> str:
    return sorted(THEMES)[int(uniform(page_id, "page", count=1)[0] * len(THEMES))]


def _page_name(page_id: str) -> str:
    draw = uniform(page_id, "name", count=2)
    first = _FIRST_NAMES[int(draw[0] * len(_FIRST_NAMES))]
    return f"{first} {_LAST_NAMES[int(draw[1] * len(_LAST_NAMES))]}"


def _digits(text: str, count: int) -> str:
    number = int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")
    return f"{1 + number % (9 * 10 ** (count - 1)):0>{count}}"


def picture_url(base_url: str, ad: ForeignAd, *, today: date) -> str:
    """Where the ad's picture is, for some days: the query changes daily, the path does not."""
    lives_until = today + _ADDRESS_LIFE
    expiry = f"{(lives_until - date(1970, 1, 1)).days * 86_400:x}"
    query = urlencode({"stp": "dst-jpg_s600x600", "oh": f"00_{expiry}", "oe": expiry})
    return f"{base_url}/library-media/{ad.picture_key}_n.jpg?{query}"


@lru_cache(maxsize=512)
def draw_picture(picture_key: str) -> bytes | None:
    """The JPEG with that key; None where no ad shows it."""
    page_id, _, rest = picture_key.partition("-")
    week, _, place = rest.partition("-")
    if not (page_id.isdecimal() and week.isdecimal() and place.isdecimal()):
        return None
    ad = _ad(page_id, int(week), int(place))
    theme = THEMES[_theme_name(page_id)]
    product = next(each for each in theme.products if f"/{each.slug}?" in ad.link_url)
    picture = pictures.Picture(
        size=pictures.SIZES[int(week) % 2],
        palette=theme.palettes[int(week) % len(theme.palettes)],
        brand=ad.page_name,
        headline=ad.headline,
        badge="",
        button=ad.button,
        shape=product.shape,
        mirrored=False,
    )
    return pictures.encode(pictures.draw(picture), "JPEG")


def find_ads(page_ids: Sequence[str], search_terms: Sequence[str], today: date) -> list[ForeignAd]:
    """The running ads of these pages, and those that speak of these terms."""
    found = [ad for page_id in page_ids for ad in ads_of_page(page_id, today)]
    return found + [ad for term in search_terms for ad in ads_with_words(term, today)]

"""The shops that the ads of an account lead to, at `/shops/<landing host>/…`, in every condition.

A shop has an evergreen page for each product, `/products/<slug>`, and a page for each creative,
`/c/<creative's index>/<slug>`. Most keep the promises of their ads; which do not, and how, follows
from the creative's index. Any condition can be asked for by name: `/as/<condition>/<slug>`.

Pages differ in what no visitor reads from one load to the next (a token, the moment), as real ones
do; what they say changes with `edition` alone.
"""

import json
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from hashlib import sha256
from html import escape

from pipeline_assets.simulator.ad_copy import Hook, Product
from pipeline_assets.simulator.cdn import Cdn, price_of
from pipeline_assets.simulator.world import Account, Creative, World

SLOW_SECONDS = 1.5

_ROBOTS = """# One file for all shops of this server.
User-agent: *
Disallow: /shops/*/members/
Disallow: /*?preview=
Allow: /shops/
"""


class Condition(StrEnum):
    """What a page is like, beside the ad that leads to it."""

    CONGRUENT = "congruent"
    PLAIN = "plain"
    """Congruent, but nothing is marked up for machines."""
    LATIN1 = "latin1"
    """Congruent, in another charset that only the HTTP header names."""
    WINDOWS1252 = "windows1252"
    """Congruent, in a charset that only the page itself names."""
    SLOW = "slow"
    """Congruent, after a while."""
    MOVED = "moved"
    """Two redirects away."""
    MOVED_AGAIN = "moved_again"
    """One redirect away."""
    OTHER_PRICE = "other_price"
    """A quarter dearer than the ad says."""
    NO_DISCOUNT = "no_discount"
    OTHER_PRODUCT = "other_product"
    OTHER_LANGUAGE = "other_language"
    MEMBERS = "members"
    """Below a path that robots.txt keeps readers out of."""
    BLOCKED = "blocked"
    """403 with a challenge."""
    CHALLENGE = "challenge"
    """200 with a challenge."""
    NEEDS_JS = "needs_js"
    MISSING = "missing"
    TO_LOOPBACK = "to_loopback"
    TO_METADATA = "to_metadata"
    PDF = "pdf"


_OF_CREATIVE = (
    Condition.CONGRUENT,
    Condition.PLAIN,
    Condition.NO_DISCOUNT,
    Condition.OTHER_PRICE,
    Condition.CONGRUENT,
    Condition.LATIN1,
    Condition.MOVED,
    Condition.OTHER_PRODUCT,
    Condition.CONGRUENT,
    Condition.CONGRUENT,
    Condition.CONGRUENT,
    Condition.OTHER_LANGUAGE,
    Condition.NEEDS_JS,
    Condition.SLOW,
    Condition.BLOCKED,
    Condition.WINDOWS1252,
    Condition.MEMBERS,
    Condition.CONGRUENT,
    Condition.MISSING,
    Condition.PLAIN,
)
"""By the creative's index: what the ad says, the page keeps, breaks or hides."""


@dataclass(frozen=True)
class Page:
    """An answer of a shop, to be sent after `seconds`."""

    status: int
    content_type: str
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()
    seconds: float = 0


@dataclass(frozen=True, kw_only=True)
class _Copy:
    """What a page says. `was` is the old price where the present one is lower."""

    language: str
    product: str
    headline: str
    body: str
    offer: str
    price: int
    was: int | None
    button: str
    points: tuple[str, ...]


@dataclass
class Visits:
    """Who came: the paths in order, and how many requests a host had to answer at once, at most."""

    paths: list[str] = field(default_factory=list)
    most_at_once: Counter[str] = field(default_factory=Counter)
    _now: Counter[str] = field(default_factory=Counter, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @contextmanager
    def of(self, host: str, path: str) -> Iterator[None]:
        """Count a visit while it lasts."""
        with self._lock:
            self.paths.append(path)
            self._now[host] += 1
            self.most_at_once[host] = max(self.most_at_once[host], self._now[host])
        try:
            yield
        finally:
            with self._lock:
                self._now[host] -= 1


class Shops:
    """The shops of a world: a new `edition` has other prices, products in `closed` have no page."""

    def __init__(self, world: World, cdn: Cdn) -> None:
        self.edition = 0
        self.closed: set[str] = set()
        self.visits = Visits()
        self._cdn = cdn
        self._accounts = {
            each.spec.landing_host: each for each in world.accounts.values() if each.spec.has_shop
        }

    def serve(self, path: str, *, base_url: str, now: datetime) -> Page:
        """The page at a path, or what stands in its place."""
        if path == "/robots.txt":
            return Page(200, "text/plain; charset=utf-8", _ROBOTS.encode())
        host, *rest = path.removeprefix("/shops/").split("/")
        account = self._accounts.get(host)
        asked = _read_path(rest)
        if account is None or asked is None:
            return _MISSING
        index, condition, slug = asked
        products = account.theme.products
        place = next((n for n, product in enumerate(products) if product.slug == slug), None)
        if place is None or slug in self.closed:
            return _MISSING
        root = f"{base_url}/shops/{host}"
        if instead := _instead(condition, root, slug):
            return instead
        if condition is Condition.OTHER_PRODUCT:
            place = (place + 1) % len(products)
        hook = None if index is None else account.theme.hooks[index % len(account.theme.hooks)]
        html = _html(
            account,
            self._copy(account, products[place], hook, condition),
            address=f"{root}/products/{products[place].slug}",
            picture=self._cdn.image_url(base_url, account, 4 * (index or place), now=now),
            condition=condition,
            now=now,
        )
        return _encoded(html, condition)

    def _copy(
        self, account: Account, product: Product, hook: Hook | None, condition: Condition
    ) -> _Copy:
        price = price_of(account, product.price) + self.edition * (account.minor_units // 100 or 50)
        if condition is Condition.OTHER_PRICE:
            price = price * 5 // 4
        if condition in {Condition.NO_DISCOUNT, Condition.OTHER_PRODUCT}:
            hook = None
        shown = f"{account.spec.currency} {price}"
        has_offer = hook is not None and hook.badge.startswith(("-", "2+1"))
        is_german = condition is Condition.OTHER_LANGUAGE
        headline = hook.headline if hook else product.name
        body = hook.body if hook else f"{product.name}: made in small batches, loved for years."
        return _Copy(
            language="de" if is_german else "en",
            product=product.name,
            headline=_GERMAN_HEADLINE if is_german else headline.format(product=product.name),
            body=(_GERMAN_BODY if is_german else body).format(product=product.name, price=shown),
            offer=hook.headline if hook and has_offer else "",
            price=price,
            was=price * 5 // 4 if has_offer else None,
            button="In den Warenkorb" if is_german else "Add to cart",
            points=_GERMAN_POINTS if is_german else _POINTS,
        )


def _read_path(parts: Sequence[str]) -> tuple[int | None, Condition, str] | None:
    """The creative's index, the page's condition and the product's slug that a path asks for."""
    match parts:
        case ["products", slug]:
            return None, Condition.CONGRUENT, slug
        case ["c" | "members", index, slug] if index.isdecimal():
            return int(index), _OF_CREATIVE[int(index) % len(_OF_CREATIVE)], slug
        case ["as", name, slug] if name in set(Condition):
            return 0, Condition(name), slug
        case _:
            return None


def landing_url(creative: Creative, place: int, *, base_url: str) -> str:
    """Where the creative's link to its product at that place leads.

    The first product has a page of the creative's own, the others their evergreen pages.
    """
    account, product = creative.account, creative.products[place]
    if not account.spec.has_shop:
        return f"https://{account.spec.landing_host}/products/{product.slug}"
    root = f"{base_url}/shops/{account.spec.landing_host}"
    if place:
        return f"{root}/products/{product.slug}"
    is_members = _OF_CREATIVE[creative.index % len(_OF_CREATIVE)] is Condition.MEMBERS
    return f"{root}/{'members' if is_members else 'c'}/{creative.index}/{product.slug}"


# ---- what stands in a page's place ----


def _answer(status: int, html: str, *headers: tuple[str, str]) -> Page:
    return Page(status, "text/html; charset=utf-8", html.encode(), headers)


def _redirect(status: int, location: str) -> Page:
    return _answer(status, "", ("Location", location))


_MISSING = _answer(
    404, "<!DOCTYPE html><title>Not found</title><h1>This page is gone</h1><p>Sorry.</p>"
)
_CHALLENGE = (
    "<!DOCTYPE html><title>Just a moment...</title><h1>Checking your browser</h1>"
    '<p>Verify you are human.</p><script src="/cdn-cgi/challenge-platform/h/b/x.js"></script>'
)
_SHELL = (
    '<!DOCTYPE html><html lang="en"><title>Shop</title><body><div id="root"></div>'
    '<noscript>Please enable JavaScript.</noscript><script src="/static/app.js"></script>'
)


def _instead(condition: Condition, root: str, slug: str) -> Page | None:
    """What a shop answers in place of a page of its own; None when it has one."""
    answers: Mapping[Condition, Page] = {
        Condition.MISSING: _MISSING,
        Condition.BLOCKED: _answer(403, _CHALLENGE, ("cf-mitigated", "challenge")),
        Condition.CHALLENGE: _answer(200, _CHALLENGE),
        Condition.NEEDS_JS: _answer(200, _SHELL),
        Condition.MOVED: _redirect(301, f"{root}/as/moved_again/{slug}"),
        Condition.MOVED_AGAIN: _redirect(302, f"{root}/products/{slug}"),
        Condition.TO_LOOPBACK: _redirect(302, "http://127.0.0.1:22/"),
        Condition.TO_METADATA: _redirect(302, "http://169.254.169.254/latest/meta-data/"),
        Condition.PDF: Page(200, "application/pdf", b"%PDF-1.7\n%%EOF\n"),
    }
    return answers.get(condition)


# ---- pages ----

_POINTS = (
    "Made in small batches and checked by people who use it themselves every single day.",
    "Delivered in two to four working days, in a box that fits through your letter box.",
    "Not happy? Send it back within 60 days, opened or not, and get your money back.",
    "Questions? Our team answers from Monday to Saturday, mostly within the hour.",
)
_GERMAN_HEADLINE = "Willkommen in unserem Geschäft"
_GERMAN_BODY = (
    "Hier finden Sie {product} und vieles mehr für jeden Tag. Schauen Sie sich in Ruhe um und "
    "lassen Sie sich von unseren Mitarbeitern beraten."
)
_GERMAN_POINTS = (
    "In kleinen Mengen hergestellt und von Menschen geprüft, die es selbst jeden Tag benutzen.",
    "Lieferung in zwei bis vier Werktagen, in einer Schachtel, die durch den Briefschlitz passt.",
    "Nicht zufrieden? Schicken Sie es innerhalb von 60 Tagen zurück, auch geöffnet.",
    "Fragen? Unser Team antwortet von Montag bis Samstag, meistens innerhalb einer Stunde.",
)
_SIGNS = {"EUR": "€", "USD": "$", "GBP": "£", "JPY": "¥"}


def _html(
    account: Account,
    text: _Copy,
    *,
    address: str,
    picture: str,
    condition: Condition,
    now: datetime,
) -> str:
    shop = account.spec.name.split()[0]
    token = sha256(f"{now.isoformat()}{address}".encode()).hexdigest()
    declared = '<meta charset="windows-1252">' if condition is Condition.WINDOWS1252 else ""
    marks = "" if condition is Condition.PLAIN else _marks(account, text, address, picture)
    was = f'<s class="was">{_money(account, text.was)}</s> ' if text.was else ""
    offer = f'<p class="offer">{escape(text.offer)}</p>' if text.offer else ""
    points = "".join(f"<li>{escape(point)}</li>" for point in text.points)
    return f"""<!DOCTYPE html>
<html lang="{text.language}"><head>{declared}<title>{escape(text.product)} – {escape(shop)}</title>
<meta name="description" content="{escape(text.body)}">
<link rel="canonical" href="{escape(address)}">{marks}
<script>window.csrf = "{token}";</script></head>
<body><header><a href="/">{escape(shop)}</a>
<nav><a class="btn" href="/cart">Cart (0)</a></nav></header>
<main><h1>{escape(text.headline)}</h1><p>{escape(text.body)}</p>{offer}
<h2>{escape(text.product)} — crème de la crème</h2>
<p class="price">{was}<span>{_money(account, text.price)}</span></p>
<form><input type="hidden" name="token" value="{token}"><button>{text.button}</button></form>
<ul>{points}</ul></main>
<footer><p>Page {token[:20]} made at {now:%H:%M:%S}</p>
<button>Subscribe to our newsletter</button></footer></body></html>"""


def _marks(account: Account, text: _Copy, address: str, picture: str) -> str:
    """What shops add for machines: the social networks' tags and the product as JSON-LD."""
    offer = {
        "@type": "Offer",
        "price": f"{text.price}.00" if account.minor_units == 100 else str(text.price),
        "priceCurrency": account.spec.currency,
        "availability": "https://schema.org/InStock",
    }
    product = {"@type": "Product", "name": text.product, "url": address, "offers": offer}
    graph = {"@context": "https://schema.org", "@graph": [{"@type": "WebSite"}, product]}
    return (
        f'<meta property="og:type" content="product"><meta property="og:title" '
        f'content="{escape(text.product)}"><meta property="og:image" content="{escape(picture)}">'
        f'<script type="application/ld+json">{json.dumps(graph)}</script>'
    )


def _money(account: Account, amount: int) -> str:
    """An amount as the account's country writes it."""
    sign = _SIGNS.get(account.spec.currency, f"{account.spec.currency} ")
    if account.minor_units == 1:
        return f"{sign}{amount:,}"
    return f"{amount},00 {sign}" if sign == "€" else f"{sign}{amount}.00"


def _encoded(html: str, condition: Condition) -> Page:
    seconds = SLOW_SECONDS if condition is Condition.SLOW else 0
    match condition:
        case Condition.LATIN1:
            body = html.encode("iso-8859-15", "xmlcharrefreplace")
            return Page(200, "text/html; charset=ISO-8859-15", body)
        case Condition.WINDOWS1252:
            return Page(200, "text/html", html.encode("cp1252", "xmlcharrefreplace"))
        case _:
            return Page(200, "text/html; charset=utf-8", html.encode(), seconds=seconds)

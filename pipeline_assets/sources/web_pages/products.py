"""What a page sells and for how much, from the marks that shops put there for machines.

JSON-LD first, then microdata, then the meta tags of social networks, then the words themselves.
Sources: schema.org Product, ProductGroup and Offer; the Open Graph protocol; Facebook's product
tags (`product:price:amount`).
"""

import json
import re
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import islice
from typing import Any

import lxml.html

from pipeline_assets.money import (
    NUMBER,
    currencies_of,
    find_money,
    has_thousandths,
    parse_number,
)
from pipeline_assets.sources.web_pages.document import Line, squeeze
from pipeline_assets.sources.web_pages.wording import NO_PRICE, PART_AFTER, PART_BEFORE

MAX_NAMES = 20
_MAX_NAME_CHARACTERS = 200
_MAX_PRICE = Decimal(10) ** 10  # what is more is no price; a database keeps 15 digits exactly
_MAX_NODES = 5_000
_MAX_ELEMENTS = 500  # of a kind; a page with more is made to keep its reader busy
_PRODUCT_TYPES = frozenset(
    {"Product", "ProductGroup", "IndividualProduct", "ProductModel", "Vehicle", "Course", "Book"}
)
_NOT_ITS_OWN = frozenset({"offers", "isRelatedTo", "isSimilarTo"})
_OFFER_KEYS = ("offers", "priceSpecification", "hasVariant")
_LINES_NEAR_THE_HEADING = 25
_LONGEST_PRICE_LINE = 60
_SEARCHED_CHARACTERS = 200
_OTHER_PRICE = re.compile(
    r"old|was|before|compare|regular|strike|list|msrp|rrp|save|ship|unit|instal|payment|month|"
    r"(?<!to[-_])cart",
    re.IGNORECASE,
)
_NEGATIVE_OR_POWER = re.compile(r"\D*(?:[-−–][^\w\s]?\d|[\d.,]+[eE][-+]?\d)")  # -5.00  1e3
_OTHER_PARTS = (
    "ancestor::nav or ancestor::footer or ancestor::dialog or "
    "ancestor::header[not(ancestor::main or ancestor::article or ancestor::section)]"
)

_OF_COUNTRY = {
    "CA": "CAD", "AU": "AUD", "NZ": "NZD", "MX": "MXN", "SG": "SGD", "HK": "HKD", "CL": "CLP",
    "AR": "ARS", "CO": "COP",
}  # fmt: skip
_OF_LANGUAGE = {
    "sv": "SEK", "da": "DKK", "nb": "NOK", "no": "NOK", "nn": "NOK", "is": "ISK", "zh": "CNY",
}  # fmt: skip
_LIKELIEST = ("USD", "JPY")
"""Of the dollars and of ¥, where the page does not tell its country."""


@dataclass(frozen=True)
class Offer:
    """Names of products in the page's order, and the first one's price in an ISO 4217 currency."""

    names: tuple[str, ...]
    price: Decimal | None
    currency: str | None


@dataclass(frozen=True)
class _Found:
    """A product as one kind of marks has it."""

    name: str
    price: str = ""
    currency: str = ""


@dataclass(frozen=True)
class _Price:
    """An amount and the currencies that the page may mean; none when it does not say."""

    amount: Decimal
    currencies: frozenset[str]


def read_offer(
    tree: lxml.html.HtmlElement, lines: Sequence[Line], *, language: str | None
) -> Offer:
    """What the page sells; `language` tells which dollar or crown a bare sign means."""
    products = [*_json_ld_products(tree), *_microdata_products(tree), *_meta_products(tree)]
    names = dict.fromkeys(name for each in products if (name := squeeze(each.name)))
    marked = (_marked_price(each.price, each.currency) for each in products)
    price = next(filter(None, marked), None) or _written_price(tree, lines)
    return Offer(
        tuple(name[:_MAX_NAME_CHARACTERS] for name in list(names)[:MAX_NAMES]),
        price.amount if price else None,
        _own_currency(price.currencies, language) if price else None,
    )


# ---- JSON-LD ----


def _json_ld_products(tree: lxml.html.HtmlElement) -> Iterator[_Found]:
    for script in islice(tree.iter("script"), _MAX_ELEMENTS):
        if (script.get("type") or "").split(";")[0].strip().lower() == "application/ld+json":
            for node in _nodes(_load(script.text or "")):
                if _PRODUCT_TYPES.intersection(_types(node)):
                    yield _Found(_text(node.get("name")), *_price_of(node))


def _load(text: str) -> Any:
    """The JSON, also where a shop wrapped it in a comment; None when it is broken."""
    cleaned = re.sub(r"^\s*(<!--|//\s*<!\[CDATA\[)|(-->|//\s*\]\]>)\s*$", "", text).strip(" ;\n\t")
    try:
        return json.loads(cleaned, strict=False, parse_float=Decimal)
    except (ValueError, ArithmeticError, RecursionError):
        return None


def _nodes(value: Any) -> Iterator[dict[str, Any]]:
    """Every object, outer ones first, in their order; of a huge document the first ones."""
    waiting, seen = deque([value]), 0
    while waiting and seen < _MAX_NODES:
        seen += 1
        each = waiting.popleft()
        if isinstance(each, dict):
            yield each
            waiting.extend(v for k, v in each.items() if k not in _NOT_ITS_OWN)
        elif isinstance(each, list):
            waiting.extend(each)


def _types(node: dict[str, Any]) -> set[str]:
    types = node.get("@type")
    names = types if isinstance(types, list) else [types]
    return {name.rsplit("/", 1)[-1] for name in names if isinstance(name, str)}


def _price_of(node: dict[str, Any]) -> tuple[str, str]:
    """Price and currency as written, of the product's first offer that has one."""
    waiting: deque[Any] = deque([node])
    for _ in range(_MAX_NODES):
        if not waiting:
            break
        each = waiting.popleft()
        if isinstance(each, list):
            waiting.extendleft(reversed(each))
        elif isinstance(each, dict):
            price = _text(each.get("price")) or _text(each.get("lowPrice"))
            currency = _text(each.get("priceCurrency"))
            if each is not node and _marked_price(price, currency):
                return price, currency
            waiting.extend(each[key] for key in _OFFER_KEYS if key in each)
    return "", ""


def _text(value: Any) -> str:
    """A text, or an amount as one; nothing for anything else."""
    if isinstance(value, int | Decimal) and not isinstance(value, bool):
        return f"{value:.4f}" if 0 <= value < _MAX_PRICE else ""  # three might be thousands
    return value[:1_000] if isinstance(value, str) else ""


# ---- microdata, meta tags, words ----


def _microdata_products(tree: lxml.html.HtmlElement) -> Iterator[_Found]:
    for product in tree.xpath("//*[@itemtype]"):
        if (product.get("itemtype") or "").rstrip("/").rsplit("/", 1)[-1] in _PRODUCT_TYPES:
            yield _Found(
                _property(product, "name"),
                _property(product, "price") or _property(product, "lowPrice"),
                _property(product, "priceCurrency"),
            )


def _property(product: lxml.html.HtmlElement, name: str) -> str:
    for element in product.xpath(".//*[@itemprop=$name]", name=name):
        return element.get("content") or squeeze("".join(element.itertext()))
    return ""


def _meta_products(tree: lxml.html.HtmlElement) -> Iterator[_Found]:
    amount = meta(tree, "product:price:amount", "og:price:amount", "product:sale_price:amount")
    currency = meta(tree, "product:price:currency", "og:price:currency")
    is_product = meta(tree, "og:type").startswith("product")
    if amount or is_product:
        yield _Found(meta(tree, "og:title") if is_product else "", amount, currency)


def meta(tree: lxml.html.HtmlElement, *names: str) -> str:
    """The content of the first of these meta tags that says something."""
    for name in names:
        for element in islice(tree.iter("meta"), _MAX_ELEMENTS):
            names_of = {(element.get(key) or "").lower() for key in ("property", "name")}
            if name in names_of and (content := squeeze(element.get("content"))):
                return content
    return ""


def _written_price(tree: lxml.html.HtmlElement, lines: Sequence[Line]) -> _Price | None:
    """The price as it is written: in a part that is named so, else near the heading."""
    named = tree.xpath(
        f"//*[contains(@class, 'price') or contains(@id, 'price')][not({_OTHER_PARTS})]"
    )
    for element in named[:_MAX_ELEMENTS]:
        marks = f"{element.get('class')} {element.get('id')}"
        if not _OTHER_PRICE.search(marks) and element.tag not in {"del", "s", "meta"}:
            # Line ends, because numbers of neighbours are not thousands of one number.
            text = "\n".join(filter(None, map(squeeze, _current_texts(element))))
            if price := _whole_price(text[:_SEARCHED_CHARACTERS]):
                return price
    near = [line.text for line in lines if line.is_after_h1 and not line.is_footer]
    for text in near[:_LINES_NEAR_THE_HEADING]:
        is_short = len(text) <= _LONGEST_PRICE_LINE
        if is_short and not NO_PRICE.search(text) and (price := _whole_price(text)):
            return price
    return None


def _current_texts(element: lxml.html.HtmlElement) -> Iterator[str]:
    """The texts of an element without those of another price, such as one struck through, in it."""
    for text in element.xpath(".//text()[not(ancestor::del or ancestor::s or ancestor::script)]"):
        parent = text.getparent()
        if parent is element or not _OTHER_PRICE.search(parent.get("class") or ""):
            yield text


def _whole_price(text: str) -> _Price | None:
    """The first amount in the text that is paid at once; an empty cart's 0 is no price."""
    for money in find_money(text):
        is_part = PART_BEFORE.search(text[: money.start]) or PART_AFTER.search(text[money.end :])
        if money.value and not is_part:
            return _price(money.value, money.currencies)
    return None


def _marked_price(text: str, currency: str) -> _Price | None:
    """The price that marks for machines tell; they may have a sign in it all the same."""
    text = text[:_SEARCHED_CHARACTERS]
    if _NEGATIVE_OR_POWER.match(text):
        return None
    told = _currencies(currency)
    if money := next(find_money(text), None):
        return _price(money.value, told or money.currencies)
    number = re.search(NUMBER, text)
    return _price(parse_number(number[0], told), told) if number else None


def _price(amount: Decimal, currencies: frozenset[str]) -> _Price | None:
    """The price in the currency's smallest coins; None for a number that is no price."""
    if amount >= _MAX_PRICE:
        return None
    if amount.as_tuple().exponent:
        amount = amount.quantize(Decimal("0.001" if has_thousandths(currencies) else "0.01"))
    return _Price(amount, currencies)


def _currencies(written: str) -> frozenset[str]:
    """The currencies that a page's word for one may mean, a code above all."""
    if re.fullmatch(r"[A-Za-z]{3}", written):
        return frozenset({written.upper()})
    return currencies_of(written)


def _own_currency(currencies: frozenset[str], language: str | None) -> str | None:
    """The one of the currencies that is the page's country's, or most pages'; else None."""
    base, _, rest = (language or "").partition("-")
    own = (*currencies,) if len(currencies) == 1 else ()
    candidates = (*own, _OF_COUNTRY.get(rest[-2:].upper()), _OF_LANGUAGE.get(base), *_LIKELIEST)
    return next((each for each in candidates if each in currencies), None)

"""Words a draft: a template's structure, filled with what the brand and its customers say.

Belongs here: the lengths that Meta shows, how a template is built, and the lines that may stand in
its place, each with its source. Does not: which template, hook and product come together
(`drafting.py`), the patterns (`drafting.yaml`). Of a template only its order, its manner and its
length are taken, never a word.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from functools import cache, lru_cache
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from pipeline_assets.analysis.congruence_texts import find_language, stems_of, words_of
from pipeline_assets.analysis.offers import Kind, Offers, find_offers

PATTERNS_PATH = Path(__file__).with_name("drafting.yaml")

MAX_HEADLINE, MAX_PRIMARY_TEXT, MAX_DESCRIPTION = 40, 125, 30
"""Characters that Meta shows whole in the feed; what is longer it cuts."""

FALLBACK_LANGUAGE = "en"

_SHORTEST_PRIMARY_TEXT = 60
_SHORTEST_SENTENCE, _LONGEST_SENTENCE = 15, 100
_READ_CHARACTERS = 3_000  # of a page's main text; what sells stands at its top
_SENTENCE_END = re.compile(r"(?<=[.!?…])\s+|(?<=[.!?…][\"”»])\s+|(?<=[。！？])|\n+")
_LIST_MARK = re.compile(r"^\s*(?:[•✓✔✅☑➤→*-]|\d+[.)])\s", re.MULTILINE)
_PROOF = re.compile(
    r"[★⭐]|\b\d(?:[.,]\d)?\s*(?:/\s*5|stars?\b|sterne|étoiles|estrellas)"
    r"|\b(?:reviews?|customers?|rated|bewertung(?:en)?|kund(?:en|innen)|avis|client(?:s|es)"
    r"|reseñas|tested|getestet|award|testé)\b",
    re.IGNORECASE,
)
_MACHINERY = re.compile(
    r"cookie|newsletter|javascript|privacy|datenschutz|©|copyright|log ?in|your cart|warenkorb"
    r"|panier|carrito|welcome|willkommen|bienven|https?:|www\.|@",
    re.IGNORECASE,
)
_NAME_END = re.compile(r"\s[–—|-]\s|[,(:|]")
_SHARED_STEMS = 2  # one may be a word that every page has: years, day
_SIGNS = {"USD": "$", "EUR": "€", "GBP": "£"}
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")

Row = Mapping[str, Any]


class Beat(StrEnum):
    """What a sentence of an ad does."""

    HOOK = "hook"
    BENEFIT = "benefit"
    PROOF = "proof"
    OFFER = "offer"


class Device(StrEnum):
    """How a headline speaks."""

    QUESTION = "question"
    OFFER = "offer"
    STATEMENT = "statement"


class Cta(StrEnum):
    """Meta's types of the button that drafts use."""

    SHOP_NOW = "SHOP_NOW"
    ORDER_NOW = "ORDER_NOW"
    BUY_NOW = "BUY_NOW"
    GET_OFFER = "GET_OFFER"
    LEARN_MORE = "LEARN_MORE"
    SIGN_UP = "SIGN_UP"
    SUBSCRIBE = "SUBSCRIBE"
    BOOK_NOW = "BOOK_NOW"
    DOWNLOAD = "DOWNLOAD"
    CONTACT_US = "CONTACT_US"
    GET_QUOTE = "GET_QUOTE"
    APPLY_NOW = "APPLY_NOW"


_CTAS_OF_PRODUCTS = {Cta.SHOP_NOW, Cta.ORDER_NOW, Cta.BUY_NOW, Cta.GET_OFFER, Cta.LEARN_MORE}
"""They suit any product; another is only taken from an ad that leads to the same page."""

_UNPROVEN_HOOKS = frozenset({"offer", "urgency", "news"})
"""Such a hook may have been true on the day of its ad only."""

_HOOKS_OF_CUSTOMERS = frozenset({"problem", "question", "story", "direct_address", "negative"})
"""Hooks that can begin with what customers say."""


@dataclass(frozen=True, kw_only=True)
class Structure:
    """How a template is built: its sentences' order, its headline's manner, its length."""

    beats: tuple[Beat, ...]
    device: Device
    is_list: bool
    length: int


@dataclass(frozen=True, kw_only=True)
class Product:
    """What a draft is for, as its page says it.

    `urls` are all pages that sell it, `texts` the page's sentences in order, `page_text` all of it.
    """

    url: str
    urls: frozenset[str]
    name: str
    price: Decimal | None
    currency: str | None
    discount: str | None
    heading: str | None
    language: str
    declared_language: str | None
    texts: tuple[str, ...]
    page_text: str
    stems: frozenset[str]

    @property
    def is_in_its_language(self) -> bool:
        """Whether drafts speak the page's language; else only names and prices are taken of it."""
        return self.declared_language in {None, self.language}


@dataclass(frozen=True, kw_only=True)
class Hook:
    """The first words of one of the brand's own ads in the ad's language, and how it does."""

    creative_key: str
    creative_id: str | None
    ad_name: str | None
    hook_type: str | None
    opening: str | None
    language: str | None
    call_to_action: str | None
    urls: frozenset[str]
    why: str


class CustomerPhrase(NamedTuple):
    """What customers say, in their own words; `said` is how many posts or reviews say it.

    `stems` are its telling words by their stems.
    """

    kind: str
    text: str
    said: int
    language: str | None
    stems: Mapping[str, str]


class Line(NamedTuple):
    """Words for a draft, where they come from, and why they may be said."""

    text: str
    source: str
    why: str


@dataclass(frozen=True, kw_only=True)
class Texts:
    """A draft's texts; `lines` are what they are made of, by field."""

    headline: str
    primary_text: str
    description: str | None
    cta: Cta
    lines: tuple[tuple[str, Line], ...]
    phrase: CustomerPhrase | None


Allows = Callable[[str, Product], bool]
"""Whether a line may be said of a product."""


@cache
def load_patterns() -> dict[str, dict[str, Any]]:
    """The patterns by language, read once."""
    document: dict[str, dict[str, Any]] = yaml.safe_load(PATTERNS_PATH.read_text(encoding="utf-8"))
    return document


def read_structure(template: Row) -> Structure:
    """How a row of templates_scraped is built. One without a text has the usual order."""
    body, title = template["body"] or "", template["title"] or ""
    beats = [_beat(sentence, first=not at) for at, sentence in enumerate(sentences(body))]
    if Beat.HOOK not in beats:
        beats.insert(1, Beat.HOOK)
    if len(beats) == 1:
        beats += [Beat.BENEFIT, Beat.OFFER]
    return Structure(
        beats=tuple(dict.fromkeys(beats)),
        device=_device(title),
        is_list=len(_LIST_MARK.findall(body)) > 1,
        length=min(max(len(body), _SHORTEST_PRIMARY_TEXT), MAX_PRIMARY_TEXT),
    )


def sentences(text: str) -> list[str]:
    """The sentences of a text as they stand, without marks of lists."""
    plain = _LIST_MARK.sub("\n", text)
    return [found for each in _SENTENCE_END.split(plain) if (found := " ".join(each.split()))]


def _beat(sentence: str, *, first: bool) -> Beat:
    if _offers_something(sentence):
        return Beat.OFFER
    if _PROOF.search(sentence):
        return Beat.PROOF
    return Beat.HOOK if first else Beat.BENEFIT


def _device(title: str) -> Device:
    if title.rstrip().endswith(("?", "？", "؟")):
        return Device.QUESTION
    return Device.OFFER if _offers_something(title) else Device.STATEMENT


def _offers_something(text: str) -> bool:
    found = find_offers(text)
    return bool(
        found.amounts or found.percents or found.is_shipping_free or found.is_something_free
    )


def read_product(page: Row) -> Product | None:
    """The product of a row of landing_pages; None when the page names none."""
    name = next(filter(None, (_plain(each) for each in page["product_names"] or ())), None)
    if name is None:
        return None
    main_text = (page["main_text"] or "")[:_READ_CHARACTERS]
    told = [page[column] or "" for column in ("description", "hero_text")]
    page_text = "\n".join(
        filter(None, (page["title"], page["h1"], *told, main_text, page["discount"], name))
    )
    words = words_of(page_text)
    declared = (page["language"] or "").replace("_", "-").split("-")[0].lower() or None
    language = find_language(page_text, words) or declared
    return Product(
        url=page["url"],
        urls=frozenset({page["url"]}),
        name=name,
        price=page["price"] if page["currency"] else None,
        currency=page["currency"],
        discount=_plain(page["discount"] or "") or None,
        heading=_plain(page["h1"] or "") or None,
        language=language if language in load_patterns() else FALLBACK_LANGUAGE,
        declared_language=language,
        texts=tuple(dict.fromkeys(_telling_sentences([*told, main_text]))),
        page_text=_plain(page_text).casefold(),
        stems=frozenset(stems_of(words)),
    )


def _telling_sentences(texts: Iterable[str]) -> Iterator[str]:
    for text in texts:
        for sentence in sentences(text):
            is_whole = sentence[-1] in ".!" and sentence[0].isalnum()
            fits = _SHORTEST_SENTENCE <= len(sentence) <= _LONGEST_SENTENCE
            if is_whole and fits and not _MACHINERY.search(sentence):
                yield _plain(sentence)


def _plain(text: str) -> str:
    """The text in composed characters, on one line, without what cannot be seen."""
    seen = "".join(" " if unicodedata.category(each) in {"Cc", "Zl"} else each for each in text)
    return " ".join(unicodedata.normalize("NFC", seen).split())


def customer_phrase(kind: str, text: str, count: int) -> CustomerPhrase:
    """A phrase of `voice_of_customer.top_phrases`, ready to be compared with pages."""
    plain = _plain(text).strip("\"“”„«»'. ")
    words = words_of(plain)
    return CustomerPhrase(kind, plain, count, find_language(plain, words), stems_of(words))


def opening_of(body: str | None, title: str | None) -> str | None:
    """The first sentence of an ad's text, else of its headline."""
    found = next(iter(sentences(body or "")), None) or next(iter(sentences(title or "")), None)
    return _plain(found) if found else None


def language_of(text: str) -> str | None:
    """The language that the text shows; None if unsure."""
    return find_language(text, words_of(text))


def compose(
    structure: Structure,
    hook: Hook,
    product: Product,
    phrases: Sequence[CustomerPhrase],
    *,
    template_cta: str | None,
    turn: int,
    allows: Allows,
) -> Texts | None:
    """A draft's texts; None when nothing that is allowed fits. `turn` varies the page's lines.

    Headline at most 40 characters, primary text 125, description 30; nothing is cut within a word.
    """
    writer = _Writer(product, allows, turn)
    headline = writer.headline(structure.device)
    phrase, opening = writer.hook(hook, phrases)
    if headline is None or opening is None:
        return None
    body = writer.body(structure, opening)
    description = writer.description(headline.text)
    cta = _choose_cta(template_cta, hook, product)
    marked = [("headline", headline), *(("primary_text", line) for line in body)]
    return Texts(
        headline=headline.text,
        primary_text=("\n" if structure.is_list else " ").join(line.text for line in body),
        description=description.text if description else None,
        cta=cta,
        lines=(*marked, *([("description", description)] if description else [])),
        phrase=phrase if opening.source == "phrases" else None,
    )


class _Writer:
    """Finds lines for one product that fit and are allowed."""

    def __init__(self, product: Product, allows: Allows, turn: int) -> None:
        self._product, self._turn = product, turn
        self._allows = allows
        self._patterns = load_patterns()[product.language]
        price = _price(product.price, product.currency, product.language)
        self._slots = {"price": price}
        if product.is_in_its_language or not any(map(str.isalpha, product.discount or "")):
            self._slots["discount"] = (product.discount or "").rstrip(".!")

    def headline(self, device: Device) -> Line | None:
        """The manner's patterns, turn about; a page's own heading for a statement."""
        patterns = self._patterns["headlines"][device]
        if device is not Device.OFFER:  # which goes from the strongest offer to none
            patterns = self._turned(patterns, keep_last=1)
        heading = self._product.heading
        if (
            device is Device.STATEMENT
            and self._turn % 2
            and heading
            and heading != self._product.name
            and not _MACHINERY.search(heading)
            and self._product.is_in_its_language
            and self._fits(heading, MAX_HEADLINE)
        ):
            return Line(heading, "product", "the page's main heading")
        return self._first(patterns, MAX_HEADLINE)

    def hook(
        self, hook: Hook, phrases: Sequence[CustomerPhrase]
    ) -> tuple[CustomerPhrase | None, Line | None]:
        """The first words, in this order: the ad's own, a customer's, a pattern of its type."""
        if hook.opening and self._may_repeat(hook):
            return None, Line(hook.opening, "hook", f"the first words of its ad {hook.ad_name}")
        if hook.hook_type in _HOOKS_OF_CUSTOMERS:
            for phrase in self._related(phrases):
                line = self._first(
                    self._patterns["hooks"]["customer"], _LONGEST_SENTENCE, phrase=phrase.text
                )
                if line:
                    both = (w for stem, w in phrase.stems.items() if stem in self._product.stems)
                    shared = ", ".join(islice(both, 3))
                    why = f"{phrase.said} posts or reviews say so; the page speaks of it: {shared}"
                    return phrase, Line(line.text, "phrases", why)
        kinds = self._patterns["hooks"]
        patterns = [*kinds.get(hook.hook_type, ()), *self._turned(kinds["other"])]
        return None, self._first(patterns, _LONGEST_SENTENCE)

    def body(self, structure: Structure, opening: Line) -> list[Line]:
        """Lines in the template's order, as many as its length has room for."""
        used = {opening.text}
        room = max(structure.length, len(opening.text)) - len(opening.text)
        lines: dict[Beat, Line] = {Beat.HOOK: opening}
        for beat in structure.beats:
            line = None if beat is Beat.HOOK else self._line(beat, room - 1, used)
            if line:
                lines[beat] = line
                used.add(line.text)
                room -= len(line.text) + 1
        return [lines[beat] for beat in structure.beats if beat in lines]

    def description(self, headline: str) -> Line | None:
        """What the headline does not say yet."""
        patterns = self._patterns["descriptions"]
        said = headline.casefold()
        for pattern in patterns:
            line = self._first([pattern], MAX_DESCRIPTION)
            if line and line.text.casefold() not in said:
                return line
        return None

    def _line(self, beat: Beat, room: int, used: set[str]) -> Line | None:
        if beat is Beat.OFFER:
            return self._first(self._patterns["offers"], room)
        if not self._product.is_in_its_language:
            return None
        for text in self._turned(self._product.texts):
            is_of_beat = _beat(text, first=False) is beat and text not in used
            if is_of_beat and self._fits(text, room):
                return Line(text, "product", "the page says so in these words")
        return None

    def _first(self, patterns: Sequence[str], limit: int, **slots: str) -> Line | None:
        """The first pattern that fits, its name as long as can be; one without slots last."""
        filled = self._slots | slots
        names = short_names(self._product.name)
        for name in names:
            for pattern in patterns:
                if "{" not in pattern and name != names[-1]:
                    continue
                text = _fill(pattern, filled | {"product": name})
                if text and self._fits(text, limit):
                    return Line(text, "pattern", _why_pattern(pattern))
        return None

    def _fits(self, text: str, limit: int) -> bool:
        return len(text) <= limit and self._allows(text, self._product)

    def _may_repeat(self, hook: Hook) -> bool:
        """Whether the ad's first words hold for this product too: they ask, or were said of it."""
        opening = hook.opening or ""
        is_of_product = bool(self._product.urls & hook.urls) or opening.endswith("?")
        return (
            is_of_product
            and hook.hook_type not in _UNPROVEN_HOOKS
            and self._product.is_in_its_language
            and (hook.language or FALLBACK_LANGUAGE) == self._product.language
            and len(opening) >= _SHORTEST_SENTENCE
            and self._fits(opening, _LONGEST_SENTENCE)
        )

    def _related(self, phrases: Sequence[CustomerPhrase]) -> list[CustomerPhrase]:
        """What customers say of things that the page speaks of, in the draft's language."""
        related = [
            phrase
            for phrase in phrases
            if len(phrase.stems.keys() & self._product.stems) >= _SHARED_STEMS
            and (phrase.language or FALLBACK_LANGUAGE) == self._product.language
        ]
        return self._turned(related)

    def _turned(self, items: Sequence[Any], *, keep_last: int = 0) -> list[Any]:
        """The items from another one on each turn; the last ones stay where they are."""
        turned, kept = list(items[: len(items) - keep_last]), items[len(items) - keep_last :]
        at = self._turn % len(turned) if turned else 0
        return [*turned[at:], *turned[:at], *kept]


def _fill(pattern: str, slots: Mapping[str, str]) -> str | None:
    """The pattern with its slots filled; None when one is not known."""
    needed = re.findall(r"\{(\w+)\}", pattern)
    return pattern.format(**slots) if all(slots.get(name) for name in needed) else None


def _why_pattern(pattern: str) -> str:
    names = {"product": "the product's name", "price": "the page's price"}
    names |= {"discount": "the page's discount", "phrase": "a customer's words"}
    used = [names[slot] for slot in re.findall(r"\{(\w+)\}", pattern)]
    return f"a pattern with {' and '.join(used)}" if used else "a pattern that claims nothing"


def short_names(name: str) -> list[str]:
    """The name, then shorter ones: up to its first mark, then up to three words; all whole."""
    first = _NAME_END.split(name, maxsplit=1)[0].strip()
    words = first.split()
    return list(dict.fromkeys(filter(None, (name, first, " ".join(words[:3])))))


def written_amount(amount: Decimal) -> str:
    """With two digits after the point, or as many as it has: some currencies have three."""
    digits = -int(amount.normalize().as_tuple().exponent)
    return f"{amount:,.{max(2, digits)}f}"


def _price(price: Decimal | None, currency: str | None, language: str) -> str:
    """The price as the language writes it; empty when none is known."""
    if price is None or currency is None or price <= 0:
        return ""
    amount = f"{price:,.0f}" if price == price.to_integral_value() else written_amount(price)
    sign = _SIGNS.get(currency)
    if language == "en":
        return f"{sign}{amount}" if sign else f"{currency} {amount}"
    thousands = "\N{NO-BREAK SPACE}" if language == "fr" else "."
    amount = amount.translate(str.maketrans(",.", f"{thousands},"))
    return f"{amount}\N{NO-BREAK SPACE}{sign or currency}"


def _choose_cta(template_cta: str | None, hook: Hook, product: Product) -> Cta:
    """The template's button where it suits any product, else the own ad's, else the usual one."""
    usable = set(_CTAS_OF_PRODUCTS) - (set() if product.discount else {Cta.GET_OFFER})
    of_template = _cta(template_cta)
    if of_template in usable:
        return of_template
    of_hook = _cta(hook.call_to_action)
    is_honest = of_hook is not Cta.GET_OFFER or product.discount
    if of_hook and is_honest and product.urls & hook.urls:
        return of_hook
    return Cta.SHOP_NOW if product.price is not None else Cta.LEARN_MORE


def _cta(words: str | None) -> Cta | None:
    name = (words or "").strip().upper().replace(" ", "_")
    return Cta(name) if name in Cta.__members__ else None


def says_more_than_page(text: str, product: Product) -> bool:
    """Whether the text has a number or an offer that the product's page does not have."""
    price = _price(product.price, product.currency, product.language)
    numbers, page = _numbers_and_offers(product.page_text)
    own = {*numbers, *_NUMBER.findall(price)}
    if not set(_NUMBER.findall(text)) <= own:
        return True
    said = find_offers(text)
    return (
        (said.is_shipping_free and not page.is_shipping_free)
        or (said.is_something_free and not page.is_something_free)
        or (said.is_several_for_less and not page.is_several_for_less)
        or (_has_discount(said) and not (_has_discount(page) or product.discount))
    )


@lru_cache(maxsize=1_024)
def _numbers_and_offers(page_text: str) -> tuple[frozenset[str], Offers]:
    """Of a page, which every line for its product is held against."""
    return frozenset(_NUMBER.findall(page_text)), find_offers(page_text)


def _has_discount(offers: Offers) -> bool:
    return bool(offers.percents or offers.of_kind(Kind.OFF, Kind.BEFORE))

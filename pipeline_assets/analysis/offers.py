"""Finds what a text offers: prices, discounts, free shipping and the like, in many notations.

Belongs here: amounts and the words around them. Does not: notations (`money.py`), comparing two
texts' offers (`congruence_scores.py`), the words themselves (`congruence_words.yaml`).
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from pipeline_assets.money import NUMBER, find_money, parse_number

WORDS_PATH = Path(__file__).with_name("congruence_words.yaml")

_HALF = Decimal(50)
_CONTEXT_CHARACTERS = 45  # "ab einem Bestellwert von" and a small word
_WHOLE = Decimal(100)  # nothing is sold for nothing: "100% off your worries"
_CLAUSE_END = re.compile(r"[.!?;](?:\s|$)|[|•\n]")  # not ":", for "was: $59"


class Kind(StrEnum):
    """What an amount of money is for."""

    PRICE = "price"
    BEFORE = "before"
    """What it cost or would cost elsewhere: "was $79", "statt 799 €"."""
    OFF = "off"
    """A discount: "$40 off"."""
    CEILING = "ceiling"
    """The price is below it: "under £60"."""
    SEVERAL = "several"
    """For more than one piece: "two pairs for $50"."""
    RATE = "rate"
    """For each of something, or a part of the price: "$5 a month", "4 payments of $15"."""
    OTHER = "other"
    """Not what is to be paid for it: the least order, money back, a deposit, a donation."""


@dataclass(frozen=True)
class Amount:
    """An amount of money; `currencies` are the ISO codes that the text may mean, none if silent.

    `per` is what a RATE is paid for each of (month, kg, instalment, …), empty for other kinds.
    """

    value: Decimal
    currencies: frozenset[str]
    kind: Kind = Kind.PRICE
    per: str = ""

    def is_same_currency(self, other: "Amount") -> bool:
        """Whether nothing speaks against both being in one currency."""
        return (
            not self.currencies or not other.currencies or bool(self.currencies & other.currencies)
        )

    def __str__(self) -> str:
        # A dollar sign alone may be one of many.
        code = next(iter(self.currencies)) if len(self.currencies) == 1 else ""
        return f"{self.value:f} {code}".strip() + (f" per {self.per}" if self.per else "")


@dataclass(frozen=True, kw_only=True)
class Offers:
    """Everything that a text offers, in the order of the text; percents are 0-100."""

    amounts: tuple[Amount, ...] = ()
    percents: tuple[Decimal, ...] = ()
    is_shipping_free: bool = False
    is_shipping_paid: bool = False
    is_several_for_less: bool = False
    is_something_free: bool = False
    has_code: bool = False

    def of_kind(self, *kinds: Kind) -> tuple[Amount, ...]:
        """The amounts of these kinds."""
        return tuple(amount for amount in self.amounts if amount.kind in kinds)


def find_offers(text: str, *, is_discount: bool = False) -> Offers:
    """What the text offers; `is_discount`: all of it words a discount, as a page's badge does."""
    words = load_words()
    text = text.replace("İ", "I")  # the one letter that is longer in lower case
    rest, percents = _find_percents(text.lower(), is_discount=is_discount)
    without_shipping = words.free_shipping.sub(" ", rest)
    return Offers(
        amounts=_find_amounts(text, rest, is_discount=is_discount),
        percents=percents,
        is_shipping_free=without_shipping != rest,
        is_shipping_paid=bool(words.paid_shipping.search(without_shipping)),
        is_several_for_less=bool(words.several_for_less.search(without_shipping)),
        is_something_free=bool(words.free.search(without_shipping)),
        has_code=bool(words.code.search(text)),
    )


@dataclass(frozen=True, kw_only=True)
class Words:
    """The compiled words of `congruence_words.yaml` that offers are made of."""

    percent: re.Pattern[str]
    kinds_by_before: tuple[tuple[Kind, re.Pattern[str]], ...]
    kinds_by_after: tuple[tuple[Kind, re.Pattern[str]], ...]
    units_by_before: tuple[tuple[str, re.Pattern[str]], ...]
    units_by_after: tuple[tuple[str, re.Pattern[str]], ...]
    percent_before: re.Pattern[str]
    percent_after: re.Pattern[str]
    no_discount_after: tuple[re.Pattern[str], ...]
    half_price: re.Pattern[str]
    free_shipping: re.Pattern[str]
    of_shipping: re.Pattern[str]
    paid_shipping: re.Pattern[str]
    several_for_less: re.Pattern[str]
    free: re.Pattern[str]
    code: re.Pattern[str]


@cache
def load_words() -> Words:
    """The words, read and compiled once."""
    document = read_words_file()
    offers: dict[str, Any] = document["offers"]
    units: dict[str, str] = offers["per"]
    after_word = "|".join([offers["off_after"], offers["percent_after"]])
    return Words(
        percent=_compile(
            rf"(?P<minus>[-–−]\s?)?(?P<number>{NUMBER})\s?(?:%|٪|％|percent\b"
            r"|per cent\b|prozent\b|pour ?cent\b|por ciento\b|per cento\b)"
        ),
        kinds_by_before=(
            (Kind.SEVERAL, _before(offers["several_before"])),
            (Kind.OTHER, _before(f"{offers['orders_before']}|{offers['not_price_before']}")),
            (Kind.OTHER, _before(offers["just_before"], small_words=0)),
            (Kind.BEFORE, _before(offers["was_before"])),
            (Kind.CEILING, _before(offers["under_before"])),
            (Kind.OFF, _before(offers["off_before"])),
        ),
        kinds_by_after=(
            (Kind.OTHER, _after(f"{offers['orders_after']}|{offers['not_price_after']}")),
            (Kind.OTHER, _after(offers["just_after"], small_words=0)),
            (Kind.BEFORE, _after(offers["just_was_after"], small_words=0)),
            (Kind.OFF, _after(offers["off_after"])),
        ),
        units_by_before=(
            ("instalment", _before(offers["instalment_before"])),
            *((unit, _before(words)) for unit, words in units.items()),
        ),
        units_by_after=tuple((unit, _after(words)) for unit, words in units.items()),
        percent_before=_before(offers["off_before"]),
        percent_after=_after(after_word),
        no_discount_after=(
            _after(offers["not_price_after"]),
            _after(offers["share_after"], small_words=0),
        ),
        half_price=_compile(offers["half_price"]),
        free_shipping=_compile(offers["free_shipping"]),
        of_shipping=_compile(
            rf"(?:{offers['free_shipping']}|{offers['paid_shipping']})[^\d:]{{0,25}}$"
        ),
        paid_shipping=_compile(offers["paid_shipping"]),
        several_for_less=_compile(offers["several_for_less"]),
        free=_compile(offers["free"]),
        code=re.compile(f"(?i:{offers['code'].rsplit('[A-Z', 1)[0]})[A-Z0-9]{{3,}}"),
    )


@cache
def read_words_file() -> dict[str, Any]:
    """`congruence_words.yaml` as it stands."""
    document: dict[str, Any] = yaml.safe_load(WORDS_PATH.read_text(encoding="utf-8"))
    return document


def _compile(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)  # of lower case, as the texts are: twice as fast as ignoring it


def _before(words: str, *, small_words: int = 2) -> re.Pattern[str]:
    return _compile(rf"(?<!\w)(?:{words})(?!\w)[\s:]*(?:[^\W\d]+\s){{0,{small_words}}}$")


def _after(words: str, *, small_words: int = 2) -> re.Pattern[str]:
    return _compile(rf"^\s?(?:[^\W\d]+\s){{0,{small_words}}}(?:{words})(?!\w)")


def _find_percents(text: str, *, is_discount: bool) -> tuple[str, tuple[Decimal, ...]]:
    """The text without its percentages, and those that are discounts."""
    words = load_words()
    percents: list[Decimal] = []
    for match in words.percent.finditer(text):
        value = parse_number(match["number"])
        before, after = _context(text, match.start(), match.end())
        is_off = words.percent_before.search(before) or words.percent_after.search(after)
        is_share = any(pattern.search(after) for pattern in words.no_discount_after)
        is_meant = is_discount or match["minus"] or (is_off and not is_share)
        if is_meant and value < _WHOLE:
            percents.append(value)
    rest = words.percent.sub(lambda match: " " * len(match.group()), text)
    if not percents and words.half_price.search(text):
        percents.append(_HALF)
    return rest, tuple(dict.fromkeys(percents))


def _find_amounts(text: str, rest: str, *, is_discount: bool) -> tuple[Amount, ...]:
    """The amounts in the text; `rest` is the same in lower case, without percentages."""
    found = []
    for money in find_money(text):
        kind, unit = _kind(rest, money.start, money.end) if money.value else (Kind.OTHER, "")
        if is_discount and kind == Kind.PRICE:
            kind = Kind.OFF
        found.append(Amount(money.value, money.currencies, kind, unit))
    return tuple(dict.fromkeys(found))


_FOR_EACH = {
    Kind.PRICE: Kind.RATE,
    Kind.CEILING: Kind.RATE,
    Kind.SEVERAL: Kind.RATE,
    Kind.OFF: Kind.OTHER,
}
"""What an amount is for that is paid, or saved, for each of something."""


def _kind(text: str, start: int, end: int) -> tuple[Kind, str]:
    """What the amount is for; of a rate also what it is paid for each of."""
    words = load_words()
    before, after = _context(text, start, end)
    if words.of_shipping.search(before):
        return Kind.OTHER, ""
    kind = Kind(
        _first(words.kinds_by_after, after) or _first(words.kinds_by_before, before) or Kind.PRICE
    )
    unit = _first(words.units_by_after, after) or _first(words.units_by_before, before)
    if unit:
        kind = _FOR_EACH.get(kind, kind)
    return kind, unit if kind == Kind.RATE else ""


def _first(patterns: Iterable[tuple[str, re.Pattern[str]]], text: str) -> str:
    """The name of the first pattern that the text has; empty without one."""
    return next((name for name, pattern in patterns if pattern.search(text)), "")


def _context(text: str, start: int, end: int) -> tuple[str, str]:
    """What stands before and after in the same clause."""
    end += text.startswith("kr.", end - 2)  # an abbreviation's dot ends no clause
    before = text[max(start - _CONTEXT_CHARACTERS, 0) : start]
    after = text[end : end + _CONTEXT_CHARACTERS]
    return _CLAUSE_END.split(before)[-1], _CLAUSE_END.split(after)[0]

"""Finds what a text offers: prices, discounts, free shipping and the like, in many notations.

Belongs here: numbers, currencies and the words around them. Does not: comparing two texts' offers
(`congruence_scores.py`), the words themselves (`congruence_words.yaml`).
"""

import re
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any

import yaml

WORDS_PATH = Path(__file__).with_name("congruence_words.yaml")

_HALF = Decimal(50)
_CONTEXT_CHARACTERS = 45  # "ab einem Bestellwert von" and a small word
_WHOLE = Decimal(100)  # no discount is larger

# 1.299,00  1,299  1 299  1'299  12.90  890.–  20,-
_NUMBER = (
    r"(?<![\d.,])(?:\d{1,3}(?:[.,'’ \u00a0\u202f]\d{3}){1,4}(?!\d)(?:[.,]\d{1,2}(?!\d))?"
    r"|\d{1,12}(?:[.,]\d{1,3}(?!\d))?)(?:[.,][-–—]{1,2})?"
)
_THOUSANDS = re.compile(r"['’ \u00a0\u202f]")
_NO_CENTS = re.compile(r"[.,][-–—]{1,2}$")
_GROUPS = re.compile(r"[1-9]\d{0,2}[.,]\d{3}|\d{1,3}(?:[.,]\d{3}){2,}")
_CLAUSE_END = re.compile(r"[.!?;:\n](?:\s|$)|[|•]")


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
    OTHER = "other"
    """Not what is to be paid: the least order, money back."""


@dataclass(frozen=True)
class Amount:
    """An amount of money; `currencies` are the ISO codes that the text may mean, none if silent."""

    value: Decimal
    currencies: frozenset[str]
    kind: Kind = Kind.PRICE

    def is_same_currency(self, other: "Amount") -> bool:
        """Whether nothing speaks against both being in one currency."""
        return (
            not self.currencies or not other.currencies or bool(self.currencies & other.currencies)
        )

    def __str__(self) -> str:
        # A dollar sign alone may be one of many.
        code = next(iter(self.currencies)) if len(self.currencies) == 1 else ""
        return f"{self.value:f} {code}".strip()


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
    rest, percents = _find_percents(text.lower(), is_discount=is_discount)
    without_shipping = words.free_shipping.sub(" ", rest)
    return Offers(
        amounts=_find_amounts(rest, is_discount=is_discount),
        percents=percents,
        is_shipping_free=without_shipping != rest,
        is_shipping_paid=bool(words.paid_shipping.search(without_shipping)),
        is_several_for_less=bool(words.several_for_less.search(without_shipping)),
        is_something_free=bool(words.free.search(without_shipping)),
        has_code=bool(words.code.search(text)),
    )


def parse_number(text: str) -> Decimal:
    """The value of a number as people write it: 1.299,00 and 1,299 and 1 299 and 20,- alike.

    A single mark with three digits behind it separates thousands, unless a 0 stands before it.

    Raises: ValueError for what is no number.
    """
    digits = _NO_CENTS.sub("", _THOUSANDS.sub("", text.strip()))
    marks = [mark for mark in digits if mark in ".,"]
    if len(set(marks)) == 2:
        last = digits.rfind(marks[-1])
        digits = re.sub(r"[.,]", "", digits[:last]) + "." + digits[last + 1 :]
    elif _GROUPS.fullmatch(digits):
        digits = re.sub(r"[.,]", "", digits)
    else:
        digits = digits.replace(",", ".")
    if not re.fullmatch(r"\d+(?:\.\d+)?", digits):
        raise ValueError(f"{text!r} is not a number")
    return Decimal(digits)


@dataclass(frozen=True, kw_only=True)
class Words:
    """The compiled words of `congruence_words.yaml` that offers are made of."""

    money: re.Pattern[str]
    percent: re.Pattern[str]
    currencies: dict[str, frozenset[str]]
    kinds_by_before: tuple[tuple[Kind, re.Pattern[str]], ...]
    kinds_by_after: tuple[tuple[Kind, re.Pattern[str]], ...]
    percent_before: re.Pattern[str]
    percent_after: re.Pattern[str]
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
    offers: dict[str, str] = document["offers"]
    currencies = {
        sign.lower(): frozenset(str(codes).split())
        for sign, codes in document["currencies"].items()
    } | {code.lower(): frozenset({code}) for code in document["currency_codes"].split()}
    sign = "|".join(
        rf"{re.escape(name)}(?!\w)" if name[-1].isalpha() else re.escape(name)
        for name in sorted(currencies, key=len, reverse=True)
    )
    after_word = "|".join([offers["off_after"], offers["percent_after"]])
    return Words(
        money=_compile(
            rf"(?<!\w)(?P<sign>{sign})\s?(?P<number>{_NUMBER})"
            rf"|(?P<number2>{_NUMBER})\s?(?P<sign2>{sign})"
        ),
        percent=_compile(
            rf"(?P<minus>[-–−]\s?)?(?P<number>{_NUMBER})\s?(?:%|٪|％|percent\b"
            r"|per cent\b|prozent\b|pour ?cent\b|por ciento\b|per cento\b)"
        ),
        currencies=currencies,
        kinds_by_before=(
            (Kind.SEVERAL, _before(offers["several_before"])),
            (Kind.OTHER, _before(offers["orders_before"])),
            (Kind.BEFORE, _before(offers["was_before"])),
            (Kind.CEILING, _before(offers["under_before"])),
            (Kind.OFF, _before(offers["off_before"])),
        ),
        kinds_by_after=(
            (Kind.OTHER, _after(f"{offers['orders_after']}|{offers['not_price_after']}")),
            (Kind.OFF, _after(offers["off_after"])),
        ),
        percent_before=_before(offers["off_before"]),
        percent_after=_after(after_word),
        half_price=_compile(offers["half_price"]),
        free_shipping=_compile(offers["free_shipping"]),
        of_shipping=_compile(
            rf"(?:{offers['free_shipping']}|{offers['paid_shipping']})[^\d]{{0,25}}$"
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


def _before(words: str) -> re.Pattern[str]:
    return _compile(rf"(?<!\w)(?:{words})[\s:]*(?:[^\W\d]+\s){{0,2}}$")


def _after(words: str) -> re.Pattern[str]:
    return _compile(rf"^\s?(?:[^\W\d]+\s){{0,2}}(?:{words})(?!\w)")


def _find_percents(text: str, *, is_discount: bool) -> tuple[str, tuple[Decimal, ...]]:
    """The text without its percentages, and those that are discounts."""
    words = load_words()
    percents: list[Decimal] = []
    for match in words.percent.finditer(text):
        value = parse_number(match["number"])
        before, after = _context(text, match.start(), match.end())
        is_off = match["minus"] or words.percent_before.search(before)
        if value <= _WHOLE and (is_discount or is_off or words.percent_after.search(after)):
            percents.append(value)
    rest = words.percent.sub(lambda match: " " * len(match.group()), text)
    if not percents and words.half_price.search(text):
        percents.append(_HALF)
    return rest, tuple(dict.fromkeys(percents))


def _find_amounts(text: str, *, is_discount: bool) -> tuple[Amount, ...]:
    words = load_words()
    found = []
    for match in words.money.finditer(text):
        sign, number = match["sign"] or match["sign2"], match["number"] or match["number2"]
        kind = _kind(text, match.start(), match.end())
        if is_discount and kind == Kind.PRICE:
            kind = Kind.OFF
        found.append(Amount(parse_number(number), words.currencies[sign], kind))
    return tuple(dict.fromkeys(found))


def _kind(text: str, start: int, end: int) -> Kind:
    words = load_words()
    before, after = _context(text, start, end)
    if words.of_shipping.search(before):
        return Kind.OTHER
    for kind, pattern in words.kinds_by_after:
        if pattern.search(after):
            return kind
    for kind, pattern in words.kinds_by_before:
        if pattern.search(before):
            return kind
    return Kind.PRICE


def _context(text: str, start: int, end: int) -> tuple[str, str]:
    """What stands before and after in the same clause."""
    before = text[max(start - _CONTEXT_CHARACTERS, 0) : start]
    after = text[end : end + _CONTEXT_CHARACTERS]
    return _CLAUSE_END.split(before)[-1], _CLAUSE_END.split(after)[0]

"""Reads amounts of money as people write them, in ads and on pages alike.

Belongs here: notations of numbers, and the currencies that signs mean. Does not: what an amount is
for, and which of several currencies a country means by a sign.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal

# 1,29,999.00  1.299,00  1,299  1 299  1'299  12.90  890.–  20,-
# A number has one mark between its groups, and another one before its decimals.
_DIGITS = (
    r"(?:(?:\d{1,2}(?:,\d\d){1,3},\d{3}|\d{1,3}(?:,\d{3}){1,4})(?:\.\d{1,6})?"
    r"|\d{1,3}(?:\.\d{3}){1,4}(?:,\d{1,6})?"
    r"|\d{1,3}(?:['’ \u00a0\u202f]\d{3}){1,4}(?:[.,]\d{1,6})?"
    r"|\d{1,12}(?:[.,]\d{1,6})?)(?:[.,][-–—]{1,2})?(?![.,]?\d)"
)
NUMBER = rf"(?<![\d.,]){_DIGITS}"
"""A regular expression for a number, never for a part of one; `parse_number` reads each."""

_THOUSANDS = re.compile(r"['’ \u00a0\u202f]")
_NO_CENTS = re.compile(r"[.,][-–—]{1,2}$")
_ONE_GROUP = re.compile(r"[1-9]\d{0,2}[.,]\d{3}")
_THOUSANDTHS = {"BHD": ".", "JOD": ".", "KWD": ".", "OMR": ".", "LYD": ".,", "TND": ".,"}
"""Currencies whose coins are thousandths, and what stands before these."""

_WORDS = {
    "euro": "EUR", "euros": "EUR", "dollars": "USD CAD AUD NZD", "pounds": "GBP", "franken": "CHF",
    "kr": "SEK NOK DKK ISK", "eur": "EUR", "usd": "USD", "gbp": "GBP", "chf": "CHF",
}  # fmt: skip
"""In any case. Signs are read exactly so, because "Try 30 days" and "12 ft" are no prices."""
_SIGNS = {
    "$": "USD CAD AUD NZD SGD HKD MXN CLP ARS COP", "US$": "USD", "CA$": "CAD", "C$": "CAD",
    "A$": "AUD", "AU$": "AUD", "NZ$": "NZD", "HK$": "HKD", "S$": "SGD", "R$": "BRL", "MX$": "MXN",
    "NT$": "TWD", "€": "EUR", "£": "GBP", "¥": "JPY CNY", "￥": "JPY CNY", "₹": "INR", "₺": "TRY",
    "₩": "KRW", "￦": "KRW", "₽": "RUB", "₪": "ILS", "฿": "THB", "₫": "VND", "Kč": "CZK",
    "zł": "PLN", "Fr.": "CHF", "Rp": "IDR", "KD": "KWD",
}  # fmt: skip
_SIGNS_BEHIND = {
    "Ft": "HUF", "TL": "TRY", "TRY": "TRY", "円": "JPY", "元": "CNY", "원": "KRW", "đ": "VND",
}  # fmt: skip
"""Never before the number."""
_CODES = (
    "CAD AUD NZD JPY CNY INR SEK NOK DKK PLN CZK HUF RON BRL MXN SGD HKD ZAR AED ILS RUB KRW THB "
    "IDR VND KWD BHD OMR JOD TND LYD"
)
_CURRENCIES = {
    sign: frozenset(codes.split())
    for sign, codes in (
        _WORDS | _SIGNS | _SIGNS_BEHIND | {"R": "ZAR"} | {code: code for code in _CODES.split()}
    ).items()
}


@dataclass(frozen=True)
class Money:
    """An amount found in a text from `start` to `end`.

    `currencies` are the ISO 4217 codes that its sign may mean, at least one.
    """

    value: Decimal
    currencies: frozenset[str]
    start: int
    end: int


def find_money(text: str) -> Iterator[Money]:
    """The amounts that have a currency beside them, in the order of the text; no percentages."""
    for match in _MONEY.finditer(text):
        currencies = currencies_of(match["sign"] or match["sign_behind"] or "€")
        number = match["number"] or match["number_before"]
        value = parse_number(number, currencies)
        if match["cents"]:
            value += Decimal(match["cents"]) / 100
        yield Money(value, currencies, match.start(), match.end())


def parse_number(text: str, currencies: frozenset[str] = frozenset()) -> Decimal:
    """The value of a number as people write it: 1.299,00 and 1,299 and 1 299 and 20,- alike.

    A single mark with three digits behind it separates thousands, unless a 0 stands before it or
    `currencies` are one that has thousandths.

    Raises: ValueError for what is no number.
    """
    text = text.strip()
    if not re.fullmatch(_DIGITS, text):
        raise ValueError(f"{text!r} is not a number")
    digits = _NO_CENTS.sub("", _THOUSANDS.sub("", text))
    marks = [mark for mark in digits if mark in ".,"]
    if len(set(marks)) == 2:
        last = digits.rfind(marks[-1])
        digits = re.sub(r"[.,]", "", digits[:last]) + "." + digits[last + 1 :]
    elif len(marks) > 1 or (
        _ONE_GROUP.fullmatch(digits) and not _are_thousandths(marks[0], currencies)
    ):
        digits = re.sub(r"[.,]", "", digits)
    else:
        digits = digits.replace(",", ".")
    return Decimal(digits)


def currencies_of(sign: str) -> frozenset[str]:
    """The ISO 4217 codes that a sign, word or code (`CAD$` too) may mean; none for others."""
    without_dollar = sign.rstrip("$")
    for name in (sign, without_dollar, without_dollar.lower(), without_dollar.upper()):
        if name in _CURRENCIES:
            return _CURRENCIES[name]
    return frozenset()


def has_thousandths(currencies: frozenset[str]) -> bool:
    """Whether amounts in these currencies have three decimals."""
    return bool(currencies) and currencies <= _THOUSANDTHS.keys()


def _are_thousandths(mark: str, currencies: frozenset[str]) -> bool:
    """Whether the three digits behind a number's only mark are."""
    return has_thousandths(currencies) and all(mark in _THOUSANDTHS[code] for code in currencies)


def _any_of(signs: Iterable[str], *, after_letter: str = "") -> str:
    """One of the signs, the longest that fits; `after_letter` follows those that end in one."""
    return "|".join(
        re.escape(sign) + (after_letter if sign[-1].lower() != sign[-1].upper() else "")
        for sign in sorted(signs, key=len, reverse=True)
    )


def _compile_money() -> re.Pattern[str]:
    word_end = r"(?!\w)"
    signs, words, codes = _any_of(_SIGNS), _any_of(_WORDS), _any_of(_CODES.split())
    signs_behind = _any_of([*_SIGNS, *_SIGNS_BEHIND], after_letter=word_end)
    # R is a letter of many products' names: only before an amount with groups or cents.
    before = rf"{signs}|R(?=\s?\d{{1,3}}[ ,.]\d\d)|(?:{codes}|(?i:{words}))\$?"
    behind = rf"(?:{signs_behind}|(?i:{words}|{codes}){word_end})(?!\d)"
    # Words stand by themselves; symbols anywhere, but a capital before $ makes it another sign.
    start = r"(?:(?<!\w)(?=\w)|(?<![A-Z])(?=\$)|(?=[^\w$]))"
    return re.compile(
        rf"{start}(?P<sign>{before})\s?(?P<number>{_DIGITS})(?!\s?[%٪％])"
        rf"|(?P<number_before>{NUMBER})(?:€(?P<cents>\d\d)(?!\d)|\s?(?P<sign_behind>{behind}))"
    )


_MONEY = _compile_money()

"""Amounts of money are read in every notation that ads and shops use."""

from decimal import Decimal

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline_assets.money import NUMBER, currencies_of, find_money, parse_number


def amounts(text: str) -> list[tuple[str, str]]:
    return [(f"{each.value:f}", "/".join(sorted(each.currencies))) for each in find_money(text)]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1.299,00", "1299.00"),
        ("1,299.00", "1299.00"),
        ("1,299", "1299"),
        ("1.299", "1299"),
        ("1 299", "1299"),
        ("1\u202f299,50", "1299.50"),
        ("1'299.50", "1299.50"),
        ("1.234.567", "1234567"),
        ("1.234.567,89", "1234567.89"),
        ("1,29,999", "129999"),
        ("1,29,999.50", "129999.50"),
        ("12,90", "12.90"),
        ("12.9", "12.9"),
        ("12.990000", "12.990000"),
        ("1299.000", "1299.000"),
        ("0.125", "0.125"),
        ("20,-", "20"),
        ("890.–", "890"),
        ("7", "7"),
    ],
)
def test_a_number_has_its_value_in_every_notation(text: str, value: str) -> None:
    assert parse_number(text) == Decimal(value)


@pytest.mark.parametrize(
    "text", ["", "abc", "12.5.2026.", "1,2,", "-", "1,299,00", "1.299.00", "1,299 000", "1.2,3.4"]
)
def test_what_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a number"):
        parse_number(text)


@pytest.mark.parametrize(
    ("text", "currency", "value"),
    [
        ("19.500", "KWD", "19.500"),
        ("1,500", "KWD", "1500"),
        ("1,299.500", "KWD", "1299.500"),
        ("1.299.000", "KWD", "1299000"),
        ("19,500", "TND", "19.500"),
        ("19.500", "EUR", "19500"),
    ],
)
def test_three_digits_are_thousandths_where_the_currency_has_them(
    text: str, currency: str, value: str
) -> None:
    assert parse_number(text, frozenset({currency})) == Decimal(value)


@pytest.mark.parametrize(
    ("text", "value", "currency"),
    [
        ("1 299,00 €", "1299.00", "EUR"),
        ("1\u00a0299,00\u00a0€", "1299.00", "EUR"),
        ("1\u202f299,00\u00a0€", "1299.00", "EUR"),
        ("1.299,00 €", "1299.00", "EUR"),
        ("€1,299.00", "1299.00", "EUR"),
        ("Ab€39", "39", "EUR"),
        ("29€99", "29.99", "EUR"),
        ("20,- €", "20", "EUR"),
        ("5 Euros", "5", "EUR"),
        ("eur 5", "5", "EUR"),
        ("499 sek", "499", "SEK"),
        ("1 299 kr", "1299", "DKK/ISK/NOK/SEK"),
        ("kr 1 299,-", "1299", "DKK/ISK/NOK/SEK"),
        ("CHF 1’299.00", "1299.00", "CHF"),
        ("CHF 1'299.–", "1299", "CHF"),
        ("Fr.20", "20", "CHF"),
        ("12 990 Ft", "12990", "HUF"),
        ("1 299 Kč", "1299", "CZK"),
        ("1 299,00 zł", "1299.00", "PLN"),
        ("₹1,29,999.00", "129999.00", "INR"),
        ("R$ 1.299,90", "1299.90", "BRL"),
        ("¥1,980", "1980", "CNY/JPY"),
        ("特価￥1,980", "1980", "CNY/JPY"),
        ("1,980円税込", "1980", "JPY"),
        ("￦19,900", "19900", "KRW"),
        ("19,900원", "19900", "KRW"),
        ("₽ 1 299", "1299", "RUB"),
        ("1 299 ₽", "1299", "RUB"),
        ("AED 199", "199", "AED"),
        ("R 1 299.00", "1299.00", "ZAR"),
        ("₺1.299,90", "1299.90", "TRY"),
        ("1.299,90 TL", "1299.90", "TRY"),
        ("₪129", "129", "ILS"),
        ("฿1,290", "1290", "THB"),
        ("Rp 1.299.000", "1299000", "IDR"),
        ("1.299.000 ₫", "1299000", "VND"),
        ("299.000đ", "299000", "VND"),
        ("US$49", "49", "USD"),
        ("CAD$5", "5", "CAD"),
        ("NT$500", "500", "TWD"),
        ("KD 19.500", "19.500", "KWD"),
        ("20% € 5", "5", "EUR"),
        ("2 €", "2", "EUR"),
    ],
)
def test_an_amount_is_found_whole_with_the_currencies_it_may_mean(
    text: str, value: str, currency: str
) -> None:
    assert amounts(text) == [(value, currency)]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("$1,299 150,000+ happy customers", "1299"),
        ("$1.299 000.50", "1299"),
        ("$1,299.500", "1299.500"),
        ("150,000 1.299 €", "1299"),
    ],
)
def test_a_number_with_other_marks_beside_an_amount_is_no_part_of_it(text: str, value: str) -> None:
    assert [found for found, _ in amounts(text)] == [value]


def test_amounts_come_in_the_order_of_the_text_and_a_number_before_a_sign_is_not_its_own() -> None:
    assert amounts("2 £10, 9 € 12 €") == [("10", "GBP"), ("9", "EUR"), ("12", "EUR")]
    (found,) = find_money("only € 12,50 today")
    assert (found.start, found.end) == (5, 12)


@pytest.mark.parametrize(
    "text",
    ["Try 30 days", "TRY 30 days", "nok 5", "12 ft", "R2 D2", "R 12", "XX$5", "€20%", "€ 12,5 %",
     "9ct", "2.1 kg", "1234567890123456 €", "12.5.2026.7 €", "€", "",
     "$1,299,00", "€1.299.00", "1,299,00 €"],
)  # fmt: skip
def test_what_only_looks_like_an_amount_is_none(text: str) -> None:
    assert amounts(text) == []


@pytest.mark.parametrize(
    ("sign", "currencies"),
    [("€", {"EUR"}), ("Kr", {"SEK", "NOK", "DKK", "ISK"}), ("MXN$", {"MXN"}), ("?", set()),
     ("", set())],
)  # fmt: skip
def test_a_sign_by_itself_tells_its_currencies(sign: str, currencies: set[str]) -> None:
    assert currencies_of(sign) == currencies


def odd_amounts() -> st.SearchStrategy[str]:
    """Signs around digits with marks anywhere, hardly ever a proper number."""
    signs = st.sampled_from(["$", "€", " ", "KD ", " kr", "%", ",-", ""])
    groups = st.sampled_from(["1", "29", "299", "000", "1299"])
    marks = st.sampled_from(".,'’ \u202f")
    rest = st.lists(st.builds(str.__add__, marks, groups), max_size=4).map("".join)
    return st.tuples(signs, groups, rest, signs).map("".join)


@settings(deadline=None)
@given(st.from_regex(NUMBER, fullmatch=True))
def test_every_number_that_is_found_has_a_value(number: str) -> None:
    assert parse_number(number) >= 0


@settings(deadline=None, max_examples=200)
@given(st.lists(odd_amounts() | st.text(max_size=3), max_size=4).map("".join))
@example("$1,299,00")
@example("$1,299 150,000+ happy customers")
@example("1" * 100_000 + " €")
@example("1,11" * 50_000 + " €")
@example("1 111" * 50_000)
@example("$" * 100_000)
def test_no_text_is_too_strange_or_takes_for_ever(text: str) -> None:
    for each in find_money(text):
        assert each.value >= 0
        assert each.currencies

"""Prices and discounts are found in every notation that ads and shops use."""

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_assets.analysis.offers import Kind, find_offers, parse_number

Found = list[tuple[str, str, str]]


def amounts(text: str, *, is_discount: bool = False) -> Found:
    found = find_offers(text, is_discount=is_discount).amounts
    return [(f"{each.value:f}", "/".join(sorted(each.currencies)), each.kind) for each in found]


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
        ("12,90", "12.90"),
        ("12.9", "12.9"),
        ("0.125", "0.125"),
        ("20,-", "20"),
        ("890.–", "890"),
        ("7", "7"),
    ],
)
def test_a_number_has_its_value_in_every_notation(text: str, value: str) -> None:
    assert parse_number(text) == Decimal(value)


@pytest.mark.parametrize("text", ["", "abc", "12.5.2026.", "1,2,", "-"])
def test_what_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a number"):
        parse_number(text)


DOLLARS = "ARS/AUD/CAD/CLP/COP/HKD/MXN/NZD/SGD/USD"
CROWNS = "DKK/ISK/NOK/SEK"


@pytest.mark.parametrize(
    ("text", "value", "currencies"),
    [
        ("nur 1.299,00 €", "1299.00", "EUR"),
        ("$1,299 today", "1299", DOLLARS),
        ("US$ 1,299.50", "1299.50", "USD"),
        ("à 1 299 €", "1299", "EUR"),
        ("€39", "39", "EUR"),
        ("39€", "39", "EUR"),
        ("20,- €", "20", "EUR"),
        ("CHF 890.– inkl. MwSt.", "890", "CHF"),
        ("890 CHF", "890", "CHF"),
        ("£9.99", "9.99", "GBP"),
        ("kr 1 299,00", "1299.00", CROWNS),
        ("49 zł", "49", "PLN"),
        ("35 euros", "35", "EUR"),
        ("₹2,499", "2499", "INR"),
        ("R$ 59,90", "59.90", "BRL"),
        ("¥3000", "3000", "CNY/JPY"),
    ],
)
def test_a_price_is_found_with_the_currencies_it_may_mean(
    text: str, value: str, currencies: str
) -> None:
    assert amounts(text) == [(value, currencies, Kind.PRICE)]


@pytest.mark.parametrize(
    "text",
    ["9ct gold", "2.1 kg", "55 x 35 x 20 cm", "12,400 people", "24 hours", "v1.2.3", "", "€"],
)
def test_numbers_without_a_currency_are_no_prices(text: str) -> None:
    assert amounts(text) == []


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("€39 instead of €79", {"39": Kind.PRICE, "79": Kind.BEFORE}),
        ("Was €79, now €39.", {"79": Kind.BEFORE, "39": Kind.PRICE}),
        ("für 99 € statt 119 €!", {"99": Kind.PRICE, "119": Kind.BEFORE}),
        ("Antes 99 €, ahora 69,30 €", {"99": Kind.BEFORE, "69.30": Kind.PRICE}),
        ("29 € au lieu de 49 €", {"29": Kind.PRICE, "49": Kind.BEFORE}),
        ("We compared Dew Serum with a $90 cream", {"90": Kind.BEFORE}),
        ("$40 off your first box", {"40": Kind.OFF}),
        ("Spare 20 € auf den Schuh", {"20": Kind.OFF}),
        ("20 € günstiger", {"20": Kind.OFF}),
        ("10 € de réduction", {"10": Kind.OFF}),
        ("save up to $200", {"200": Kind.OFF}),
        ("Gold hoops under £60", {"60": Kind.CEILING}),
        ("Two pairs for $50", {"50": Kind.SEVERAL}),
        ("Box of 12 for $29", {"29": Kind.SEVERAL}),
        ("orders over €50", {"50": Kind.OTHER}),
        ("versandkostenfrei ab 30 €", {"30": Kind.OTHER}),
        ("ab 30 € Bestellwert", {"30": Kind.OTHER}),
        ("Livraison offerte dès 35 €", {"35": Kind.OTHER}),
        ("Delivery costs £6.95", {"6.95": Kind.OTHER}),
        ("Hol dir 1.095 € zurück", {"1095": Kind.OTHER}),
        ("It was cheap. Now $30", {"30": Kind.PRICE}),
    ],
)
def test_the_words_around_an_amount_tell_what_it_is_for(text: str, kinds: dict[str, Kind]) -> None:
    assert {value: kind for value, _, kind in amounts(text)} == kinds


@pytest.mark.parametrize(
    ("text", "percents"),
    [
        ("20% off", ["20"]),
        ("-20 %", ["20"]),
        ("−15%", ["15"]),
        ("20 % Rabatt", ["20"]),
        ("20 % auf alles", ["20"]),
        ("bis zu 50 % reduziert", ["50"]),
        ("save 12.5%", ["12.5"]),
        ("30 % de descuento", ["30"]),
        ("30 % de réduction", ["30"]),
        ("25 Prozent günstiger", ["25"]),
        ("20 percent off", ["20"]),
        ("half price this week", ["50"]),
        ("zum halben Preis", ["50"]),
        ("93% saw calmer skin", []),
        ("100% cotton", []),
        ("made with 70 % cocoa", []),
    ],
)
def test_a_percentage_is_a_discount_only_where_words_say_so(text: str, percents: list[str]) -> None:
    assert find_offers(text).percents == tuple(map(Decimal, percents))


def test_in_a_discount_badge_every_figure_is_a_discount() -> None:
    badge = find_offers("20 %", is_discount=True)
    assert badge.percents == (Decimal(20),)
    assert amounts("20 €", is_discount=True) == [("20", "EUR", Kind.OFF)]


@pytest.mark.parametrize(
    ("text", "flag"),
    [
        ("Free shipping, 60 days to return", "is_shipping_free"),
        ("Free UK delivery", "is_shipping_free"),
        ("versandkostenfrei", "is_shipping_free"),
        ("¡Envío gratis!", "is_shipping_free"),
        ("Livraison offerte", "is_shipping_free"),
        ("Delivery costs £6.95", "is_shipping_paid"),
        ("zzgl. Versandkosten", "is_shipping_paid"),
        ("Buy 2, get 1 free", "is_several_for_less"),
        ("BOGO", "is_several_for_less"),
        ("2+1 gratis", "is_several_for_less"),
        ("Nimm 3, zahl 2", "is_several_for_less"),
        ("lleva 3 paga 2", "is_several_for_less"),
        ("Try it free for 30 days", "is_something_free"),
        ("Pruébalo gratis", "is_something_free"),
        ("kostenlos testen", "is_something_free"),
        ("use code THREE", "has_code"),
        ("mit Code: FAST40", "has_code"),
    ],
)
def test_offers_without_a_figure_are_recognised(text: str, flag: str) -> None:
    assert getattr(find_offers(text), flag)


@pytest.mark.parametrize("text", ["free returns", "gluten-free", "free from palm oil", "carefree"])
def test_not_everything_free_is_an_offer(text: str) -> None:
    assert not find_offers(text).is_something_free


def test_free_shipping_is_not_taken_for_a_gift() -> None:
    offers = find_offers("Free shipping on all orders")
    assert offers.is_shipping_free
    assert not offers.is_something_free


def test_a_currency_is_the_same_as_long_as_nothing_speaks_against_it() -> None:
    dollars, us, euros = (find_offers(text).amounts[0] for text in ("$5", "5 USD", "5 €"))
    assert dollars.is_same_currency(us)
    assert not us.is_same_currency(euros)


@settings(deadline=None, max_examples=60)
@given(st.text(alphabet="0123456789.,' -–€$%£ abokr\u202f", max_size=60))
def test_no_text_of_figures_and_signs_is_too_strange(text: str) -> None:
    offers = find_offers(text)
    assert all(amount.value >= 0 for amount in offers.amounts)
    assert all(0 <= percent <= 100 for percent in offers.percents)


@settings(deadline=None, max_examples=60)
@given(st.text(max_size=200))
def test_reading_any_text_twice_gives_the_same(text: str) -> None:
    assert find_offers(text) == find_offers(text)

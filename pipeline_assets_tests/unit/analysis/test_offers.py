"""Prices and discounts are found in every notation that ads and shops use."""

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_assets.analysis.offers import Kind, find_offers

Found = list[tuple[str, str, str]]


def amounts(text: str, *, is_discount: bool = False) -> Found:
    found = find_offers(text, is_discount=is_discount).amounts
    return [(f"{each.value:f}", "/".join(sorted(each.currencies)), each.kind) for each in found]


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


def test_words_stay_beside_their_amount_where_a_capital_is_longer_in_lower_case() -> None:
    assert amounts("İİİİİİİİ save €20 today") == [("20", "EUR", Kind.OFF)]


@pytest.mark.parametrize(
    "text",
    [
        "9ct gold",
        "2.1 kg",
        "55 x 35 x 20 cm",
        "12,400 people",
        "24 hours",
        "v1.2.3",
        "Try 30 days",
        "",
        "€",
    ],
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
        ("Trade in and get up to $300", {"300": Kind.OTHER}),
        ("Cut your bill by $30", {"30": Kind.OTHER}),
        ("Du får 200 kr. retur", {"200": Kind.OTHER}),
        ("Spend $100, get $20", {"100": Kind.OTHER, "20": Kind.OTHER}),
        ("pedidos de más de 60 €", {"60": Kind.OTHER}),
        ("zamówienia powyżej 200 zł", {"200": Kind.OTHER}),
        ("We donate $1 per pair", {"1": Kind.OTHER}),
        ("Wir spenden pro Paar 1 €", {"1": Kind.OTHER}),
        ("Nous reversons 1 € par achat", {"1": Kind.OTHER}),
        ("$1 per pair goes to charity", {"1": Kind.OTHER}),
        ("We raised $5 million", {"5": Kind.OTHER}),
        ("a $25 gift card", {"25": Kind.OTHER}),
        ("$0 down", {"0": Kind.OTHER}),
        ("Anzahlung 50 €", {"50": Kind.OTHER}),
        ("jetzt 89 €, plus 4,90 € Versand", {"89": Kind.PRICE, "4.90": Kind.OTHER}),
        ("Only $79 with free shipping", {"79": Kind.PRICE}),
        ("$79 shipping included", {"79": Kind.PRICE}),
        ("Save $300 a year", {"300": Kind.OTHER}),
        ("Save $300 on your heating bills", {"300": Kind.OTHER}),
        ("Spare 300 € Heizkosten", {"300": Kind.OTHER}),
        ("a $120 value", {"120": Kind.BEFORE}),
        ("$49, best value", {"49": Kind.PRICE}),
        ("$49 great value", {"49": Kind.PRICE}),
        ("$120 down jacket", {"120": Kind.PRICE}),
        ("Overnight Mask $39", {"39": Kind.PRICE}),
        ("Washing machine $300", {"300": Kind.PRICE}),
        ("99 € kosten die Schuhe", {"99": Kind.PRICE}),
        ("$49 plus taxes", {"49": Kind.PRICE}),
        ("€60 statt €90 im Monat", {"60": Kind.PRICE, "90": Kind.BEFORE}),
        ("It was cheap. Now $30", {"30": Kind.PRICE}),
        ("You save: $20", {"20": Kind.OFF}),
        ("Was: $59 Now: $29", {"59": Kind.BEFORE, "29": Kind.PRICE}),
        ("UVP: 79 €. Nur heute: 39 €", {"79": Kind.BEFORE, "39": Kind.PRICE}),
        ("Avant : 49 €, prix : 29 €", {"49": Kind.BEFORE, "29": Kind.PRICE}),
        ("Rabatt: 20 €", {"20": Kind.OFF}),
        ("Deposit: $50", {"50": Kind.OTHER}),
        ("Shipping: $5", {"5": Kind.OTHER}),
        ("Shipping: $5. Price: $20", {"5": Kind.OTHER, "20": Kind.PRICE}),
        (
            "Price: $20. Shipping: $5 Total: $25",
            {"20": Kind.PRICE, "5": Kind.OTHER, "25": Kind.PRICE},
        ),
        ("Price: $20\nShipping: $5", {"20": Kind.PRICE, "5": Kind.OTHER}),
        ("It was\nnow $29", {"29": Kind.PRICE}),
        ("Shipping costs: $5, price: $20", {"5": Kind.OTHER, "20": Kind.PRICE}),
        ("Standardversand: 4,90 €", {"4.90": Kind.OTHER}),
        ("Livraison : 4,90 €", {"4.90": Kind.OTHER}),
        ("Free shipping this week: boots $79", {"79": Kind.PRICE}),
        ("What you save today: $29", {"29": Kind.PRICE}),
        ("$0 down: drive away", {"0": Kind.OTHER}),
        ("$40 off: today only", {"40": Kind.OFF}),
    ],
)
def test_the_words_around_an_amount_tell_what_it_is_for(text: str, kinds: dict[str, Kind]) -> None:
    assert {value: kind for value, _, kind in amounts(text)} == kinds


@pytest.mark.parametrize(
    ("text", "per"),
    [
        ("4 payments of $15", "instalment"),
        ("Pay in 4 of $15", "instalment"),
        ("4 interest-free payments of $15", "instalment"),
        ("$15 x 4", "instalment"),
        ("in 4 Raten zu je 15 €", "instalment"),
        ("en 4 fois 15 €", "instalment"),
        ("4 x 15 € sans frais", "instalment"),
        ("12 cuotas de 15 €", "instalment"),
        ("4 rate da 15 €", "instalment"),
        ("4 termijnen van € 15", "instalment"),
        ("em 4x de 15 €", "instalment"),
        ("4 delbetalningar på 15 kr", "instalment"),
        ("4 rater på 15 kr", "instalment"),
        ("4 raty po 15 zł", "instalment"),
        ("$15 a month", "month"),
        ("$15/mo", "month"),
        ("billed monthly $15", "month"),
        ("15 € p.m.", "month"),
        ("Vanaf €15 p/m", "month"),
        ("15 € im Monat", "month"),
        ("15 €/Monat", "month"),
        ("monatlich nur 15 €", "month"),
        ("15 € par mois", "month"),
        ("15 €/mois", "month"),
        ("15 € al mes", "month"),
        ("15 € al mese", "month"),
        ("€ 15 per maand", "month"),
        ("15 € por mês", "month"),
        ("15 kr/mån", "month"),
        ("15 kr. om måneden", "month"),
        ("15 zł miesięcznie", "month"),
        ("your first month for $15", "first month"),
        ("15 € im ersten Monat", "first month"),
        ("under $15 a year", "year"),
        ("15 € jährlich", "year"),
        ("$15 a week", "week"),
        ("only $15 a day", "day"),
        ("from $15 an hour", "hour"),
        ("15 € la nuit", "night"),
        ("$15 per seat", "person"),
        ("15 € pro Person", "person"),
        ("(15 €/kg)", "kg"),
        ("1 kg = 15 €", "kg"),
        ("15 € / 100 g", "100 g"),
    ],
)
def test_a_price_for_each_of_something_says_of_what(text: str, per: str) -> None:
    (found,) = find_offers(text).amounts
    assert (found.value, found.kind, found.per) == (15, Kind.RATE, per)


@pytest.mark.parametrize(
    "text",
    [
        "$15 this month",
        "$15 or 4 payments",
        "Once it was a day. $15",
        "$15 in 4 payments",
        "15 €",
        "All for $15",
        "$15 all in",
    ],
)
def test_a_price_is_for_the_whole_unless_words_say_otherwise(text: str) -> None:
    (found,) = find_offers(text).amounts
    assert (found.kind, found.per) == (Kind.PRICE, "")


def test_a_rate_is_told_with_what_it_is_for() -> None:
    assert str(find_offers("9,90 €/Monat").amounts[0]) == "9.90 EUR per month"


@pytest.mark.parametrize(
    ("text", "percents"),
    [
        ("20% off", ["20"]),
        ("-20 %", ["20"]),
        ("Save: 20%", ["20"]),
        ("Rabatt: 20 %", ["20"]),
        ("Discount: up to 20%", ["20"]),
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
        ("Save 80% of your time", []),
        ("Save 50% of the price", ["50"]),
        ("Save 100%", []),
        ("99% off", ["99"]),
        ("Spare 50 % deiner Zeit", []),
        ("Économisez 50 % de votre temps", []),
        ("20 % moins cher", ["20"]),
        ("-50 % de ton panier", ["50"]),
        ("Ahorra el 50 % de tu tiempo", []),
        ("20% less sugar", []),
        ("20% less this week", ["20"]),
        ("30 % menos azúcar", []),
        ("Save 30% on your heating bill", []),
        ("Save 30% on heaters", ["30"]),
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

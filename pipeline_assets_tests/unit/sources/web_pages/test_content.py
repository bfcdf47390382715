"""What is read from a page's HTML."""

import json
from decimal import Decimal

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline_assets.sources.web_pages.content import (
    MAX_MAIN_TEXT_CHARACTERS,
    PageContent,
    count_words,
    read_page,
)
from pipeline_assets.sources.web_pages.document import decode

URL = "https://shop.example/products/soap?color=green"


def read(html: str | bytes, content_type: str | None = None) -> PageContent:
    body = html if isinstance(html, bytes) else html.encode()
    page = read_page(body, url=URL, content_type=content_type or "text/html; charset=utf-8")
    assert page is not None
    return page.content


def body(html: str, head: str = "", lang: str = "en") -> PageContent:
    return read(f"<!DOCTYPE html><html lang='{lang}'><head>{head}</head><body>{html}</body></html>")


# ---- charset ----

GERMAN = "Öl für Bäder, groß & weich – schön wäre es, über größere Flaschen zu verfügen"
RUSSIAN = "Мыло ручной работы из оливкового масла, сделанное в маленьком городе у моря"
JAPANESE = "オリーブオイルから手作りされた石鹸です。毎日のお風呂にどうぞ。"


def page(text: str, meta: str = "") -> str:
    return f"<html><head>{meta}</head><body><p>{text}</p></body></html>"


@pytest.mark.parametrize(
    ("sent", "header", "text"),
    [
        (page(GERMAN).encode(), "text/html; charset=utf-8", GERMAN),
        (page(GERMAN).encode("cp1252"), "text/html; charset=windows-1252", GERMAN),
        (page(GERMAN).encode("cp1252"), "text/html; charset=iso-8859-1", GERMAN),
        (page(GERMAN).encode("cp1252"), 'text/html; charset="ISO-8859-1"', GERMAN),
        (page(JAPANESE).encode("shift_jis"), "text/html; charset=Shift_JIS", JAPANESE),
        (page(RUSSIAN).encode("cp1251"), "text/html; charset=windows-1251", RUSSIAN),
        (b"\xef\xbb\xbf" + page(GERMAN).encode(), "text/html; charset=iso-8859-1", GERMAN),
        (page(GERMAN).encode("utf-16"), "text/html; charset=utf-8", GERMAN),
        (b"\xfe\xff" + page(GERMAN).encode("utf-16-be"), "text/html", GERMAN),
        (page(GERMAN, '<meta charset="utf-8">').encode("cp1252"),
         "text/html; charset=windows-1252", GERMAN),
        (page(GERMAN, '<meta charset="windows-1252">').encode("cp1252"), "text/html", GERMAN),
        (page(JAPANESE, '<meta charset="euc-jp">').encode("euc_jp"), "text/html", JAPANESE),
        (page(RUSSIAN, '<meta http-equiv="Content-Type" content="text/html; charset=koi8-r">')
         .encode("koi8-r"), None, RUSSIAN),
        (b'<?xml version="1.0" encoding="ISO-8859-15"?>' + page(GERMAN.replace("–", "-"))
         .encode("iso-8859-15"), "application/xhtml+xml", GERMAN.replace("–", "-")),
        (page(GERMAN).encode(), "text/html", GERMAN),
        (page(GERMAN).encode(), "text/html; charset=no-such-charset", GERMAN),
        (page(GERMAN).encode(), "text/html; charset=hex", GERMAN),
        (page(GERMAN, '<meta charset="undefined">').encode(), "text/html", GERMAN),
        (page(RUSSIAN * 5).encode("cp1251"), "text/html; charset=idna", RUSSIAN * 5),
        (page(RUSSIAN * 5).encode("cp1251"), "text/html", RUSSIAN * 5),
    ],
)  # fmt: skip
def test_the_charset_is_that_of_bom_header_page_or_bytes_in_this_order(sent, header, text):
    assert f"<p>{text}</p>" in decode(sent, header)


def test_bytes_that_are_wrong_in_their_charset_do_not_hide_the_rest():
    assert body("<h1>A</h1>").h1 == "A"
    assert read(b"<h1>Soap \xff here</h1>").h1 == "Soap \ufffd here"


# ---- words ----


def test_heading_first_words_title_and_description():
    found = body(
        "<header><a>Shop</a><nav>Sale</nav></header><h1> Olive <b>soap</b>\n</h1>"
        "<p>Made by   hand.</p><button>Buy now</button><script>var no;</script><p>Since 1920.</p>"
        "<p hidden>Secret</p><p style='display: none'>Secret</p><footer>Imprint</footer>",
        "<title> Soap &amp; more </title><meta name=description content='All  of it'>",
    )
    assert found.title == "Soap & more"
    assert found.h1 == "Olive soap"
    assert found.hero_text == "Made by hand. Since 1920."
    assert found.description == "All of it"


def test_without_a_heading_the_first_words_are_the_pages():
    found = body("<nav>Menu</nav><p>Made by hand.</p>")
    assert (found.title, found.h1, found.hero_text) == (None, None, "Made by hand.")


def test_long_texts_are_cut_between_words():
    found = body(f"<h1>{'soap ' * 200}</h1><p>{'olive ' * 10_000}</p>")
    assert len(found.h1) <= 500
    assert found.h1.endswith("soap")
    assert found.hero_text == ("olive " * 50).strip()
    assert len(found.main_text) == MAX_MAIN_TEXT_CHARACTERS


@pytest.mark.parametrize(
    ("text", "count"),
    [("", 0), ("one two-three, 4!", 4), ("石鹸です", 4), ("비누 soap", 3), ("l'huile", 2)],
)
def test_words_are_counted_and_signs_of_languages_without_spaces_too(text, count):
    assert count_words(text) == count


@pytest.mark.parametrize(
    ("declared", "head", "language"),
    [
        ("en", "", "en"),
        ("de-DE", "", "de-DE"),
        ("DE_de", "", "de-DE"),
        ("zh-Hans-cn", "", "zh-Hans-CN"),
        ("", "<meta property='og:locale' content='fr_FR'>", "fr-FR"),
        ("", "", "de"),
        ("{{ lang }}", "", "de"),
    ],
)
def test_the_language_is_the_declared_one_or_else_what_the_words_are_in(declared, head, language):
    words = (
        "Diese Seife wird von Hand aus Olivenöl gemacht, wie seit hundert Jahren, und sie hält "
        "länger als jede andere, weil sie in der Sonne trocknen darf."
    )
    assert body(f"<p>{words}</p>", head, declared).language == language


def test_too_few_words_are_in_no_language():
    assert body("<p>Soap</p>", lang="").language is None


def test_addresses_on_the_page_are_made_absolute_and_others_left_out():
    found = body(
        "",
        "<link rel=canonical href='/products/soap'>"
        "<meta property='og:image' content='//cdn.example/a.jpg?sig=1'>",
    )
    assert found.canonical_url == "https://shop.example/products/soap"
    assert found.image_url == "https://cdn.example/a.jpg?sig=1"
    odd = body(
        "",
        "<link rel=canonical href='javascript:x'><meta property='og:image' content='data:,x'>"
        "<meta property='og:image' content='http://[bad'>",
    )
    assert (odd.canonical_url, odd.image_url) == (None, None)


@pytest.mark.parametrize(
    ("html", "words"),
    [
        ("<button>Add to cart</button>", "Add to cart"),
        ("<a class='btn btn-primary'>Shop now</a>", "Shop now"),
        ("<a role=button>Learn more</a><button>In den Warenkorb</button>", "In den Warenkorb"),
        ("<button>Accept all cookies</button><a class=cta>Start free trial</a>",
         "Start free trial"),
        ("<header><button>Buy gift cards</button></header><input type=submit value='Get it'>",
         "Get it"),
        ("<form><button><span>カートに入れる</span></button></form>", "カートに入れる"),
        ("<button>Let's go</button>", "Let's go"),
        ("<button>Menu</button><button>+</button><a>Buy</a>", None),
        ("<footer><button>Subscribe</button></footer>", None),
        ("<button>Buy every one of the seven products at once today</button>", None),
    ],
)  # fmt: skip
def test_the_call_to_action_is_the_main_buttons_words(html, words):
    assert body(html).cta == words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Today only: 20% off all soap. Free shipping.", "Today only: 20% off all soap."),
        ("-30% bis Sonntag", "-30% bis Sonntag"),
        ("− 15 % on soap", "− 15 % on soap"),
        ("Save up to 40% now", "Save up to 40% now"),
        ("Save $10 with code SOAP", "Save $10 with code SOAP"),
        ("Get $5 off", "Get $5 off"),
        ("20 % Rabatt auf alles", "20 % Rabatt auf alles"),
        ("25% de réduction", "25% de réduction"),
        ("10% de descuento | Envío gratis", "10% de descuento"),
        ("Sconto: 10% di sconto!", "Sconto: 10% di sconto!"),
        ("Buy 2, get 1 free", "Buy 2, get 1 free"),
        ("3 for 2 on bars", "3 for 2 on bars"),
        ("Jetzt 2 + 1 gratis", "Jetzt 2 + 1 gratis"),
        ("10 € gespart", "10 € gespart"),
        ("1 200 € de remise", "1 200 € de remise"),
        ("Spare 1’200.– CHF", "Spare 1’200.– CHF"),
        ("Spare CHF 1’200.–", "Spare CHF 1’200.–"),
        ("100% cotton", None),
        ("93% saw calmer skin", None),
        ("5-10% of people", None),
        ("Free shipping over $50", None),
        ("4.8 of 5 stars", None),
        ("2 for 1 year", "2 for 1 year"),
    ],
)
def test_a_discount_is_told_in_the_pages_own_words(text, words):
    assert body(f"<h1>Soap</h1><p>{text}</p>").discount == words


# ---- products and prices ----


def json_ld(data: object) -> str:
    return f"<script type='application/ld+json'>{json.dumps(data)}</script>"


SOAP = {"@type": "Product", "name": "Soap", "offers": {"price": "8.50", "priceCurrency": "EUR"}}


@pytest.mark.parametrize(
    "data",
    [
        SOAP,
        [SOAP],
        {"@graph": [{"@type": "WebPage"}, SOAP]},
        {"@type": "WebPage", "mainEntity": SOAP},
        SOAP | {"@type": ["Thing", "https://schema.org/Product"]},
        SOAP | {"offers": [{"price": 8.5, "priceCurrency": "eur"}, {"price": 1}]},
        SOAP | {"offers": {"@type": "AggregateOffer", "lowPrice": "8.50", "priceCurrency": "EUR"}},
        SOAP | {"offers": {"priceSpecification": {"price": 8.50, "priceCurrency": "EUR"}}},
        {"@type": "ProductGroup", "name": "Soap", "hasVariant": [SOAP]},
    ],
)
def test_a_product_is_read_from_the_marks_for_machines(data):
    found = body(json_ld(data))
    assert found.product_names == ("Soap",)
    assert (found.price, found.currency) == (Decimal("8.50"), "EUR")


def test_products_are_named_in_the_pages_order_and_those_beside_it_are_not():
    related = SOAP | {"name": "Towel"}
    found = body(
        json_ld(SOAP | {"isRelatedTo": [related]})
        + json_ld({"itemListElement": [{"item": SOAP | {"name": "Brush"}}]})
    )
    assert found.product_names == ("Soap", "Brush")


MICRODATA = """<div itemtype='http://schema.org/Product' itemscope><b itemprop=name>Soap</b>
<meta itemprop=price content='1299.00'><i itemprop=priceCurrency content=USD></i></div>"""
META_TAGS = """<meta property='product:price:amount' content='8.5'>
<meta property='product:price:currency' content='GBP'>"""


@pytest.mark.parametrize(
    ("html", "price", "currency"),
    [
        (MICRODATA, "1299.00", "USD"),
        (META_TAGS, "8.50", "GBP"),
        ("<h1>Soap</h1><span class=price>1.299,00 €</span>", "1299.00", "EUR"),
        ("<h1>Soap</h1><span class=price><s>$20</s> $12.90</span>", "12.90", "USD"),
        ("<h1>Soap</h1><b class='price price--compare'>$20</b><b class=price>$12</b>", "12", "USD"),
        ("<h1>Soap</h1><p>Now only £7</p>", "7", "GBP"),
        ("<h1>Soap</h1><p>JPY 5,100</p>", "5100", "JPY"),
        ("<h1>Soap</h1><p>CHF 12.50</p>", "12.50", "CHF"),
        ("<h1>Soap</h1><p>Free shipping over $50</p><p>$8</p>", "8", "USD"),
        ("<h1>Soap</h1><p>¥900</p>", "900", "JPY"),
        ("<h1>Soap</h1><p><span>Price</span><span>$8</span></p>", "8", "USD"),
        ("<h1>Soap</h1><p>1 299 SEK</p>", "1299", "SEK"),
        ("<h1>Soap</h1><b class=price><i>€ 12</i> <i>500 sold</i></b>", "12", "EUR"),
        ("<b class=price>\n <i>€</i>\n <i> 1 299,90</i>\n</b>", "1299.90", "EUR"),
        ("<h1>Soap</h1><p>Garden hose, 12 ft</p>", None, None),
        ("<header><b class=cart-total-price>$0.00</b></header><b class=price>$60</b>", "60", "USD"),
        ("<header><b class=price>$99.00</b></header><b class=price>$60</b>", "60", "USD"),
        ("<main><header><h1>Soap</h1><b class=price>$60</b></header></main>", "60", "USD"),
        ("<div class='price mini-cart'>$9</div><b class=add-to-cart-price>$60</b>", "60", "USD"),
        ("<b class=price>$0.00</b>", None, None),
        ("<i class=price>4 payments of $12.25</i><b class=price>$49.00</b>", "49.00", "USD"),
        ("<b class=price>$49.00 or 4 interest-free payments of $12.25</b>", "49.00", "USD"),
        ("<b class=price>3 Raten zu 33,33 € oder 99 €</b>", "99", "EUR"),
        ("<i class=price-installments>$15</i><b class=price>$60</b>", "60", "USD"),
        ("<i class=price__monthly>$5</i><b class=price>$60</b>", "60", "USD"),
        ("<h1>Soap</h1><p>$5 a month</p><p>$60 once</p>", "60", "USD"),
        ("<h1>Soap</h1><b class=price>9,90 €/Monat</b>", None, None),
        ("<h1>Soap</h1><p>Since 1920</p>", None, None),
        ("<p>$5 above the heading</p><h1>Soap</h1>", None, None),
        (json_ld(SOAP | {"offers": {"price": "", "priceCurrency": "EUR"}}), None, None),
        (json_ld(SOAP | {"offers": {"price": 1e40}}), None, None),
        (json_ld(SOAP | {"offers": {"price": True}}), None, None),
        (json_ld(SOAP | {"offers": {"price": -3}}), None, None),
        (json_ld(SOAP | {"offers": {"price": 1.299, "priceCurrency": "EUR"}}), "1.30", "EUR"),
        (json_ld(SOAP | {"offers": {"price": 12.345, "priceCurrency": "BHD"}}), "12.345", "BHD"),
        (json_ld(SOAP | {"offers": {"price": "19.500", "priceCurrency": "KWD"}}), "19.500", "KWD"),
        (json_ld(SOAP | {"offers": {"price": "19.500", "priceCurrency": "VND"}}), "19500", "VND"),
        (json_ld(SOAP | {"offers": {"price": "1299.0000", "priceCurrency": "USD"}}),
         "1299.00", "USD"),
        (json_ld(SOAP | {"offers": {"price": "12.990000", "priceCurrency": "€"}}), "12.99", "EUR"),
        (json_ld(SOAP | {"offers": {"price": "1 299,90 €"}}), "1299.90", "EUR"),
        (json_ld(SOAP | {"offers": {"price": "CHF 1’299.–", "priceCurrency": ""}}), "1299", "CHF"),
        (json_ld(SOAP | {"offers": {"price": "1" * 11, "priceCurrency": "EUR"}}), None, None),
        (json_ld(SOAP | {"offers": {"price": "on request", "priceCurrency": "EUR"}}), None, None),
        (json_ld(SOAP | {"offers": {"price": "1,299,00", "priceCurrency": "EUR"}}), None, None),
        (json_ld(SOAP | {"offers": {"price": "1.299.00", "priceCurrency": "EUR"}}), None, None),
        (json_ld(SOAP | {"offers": {"price": "-5.00", "priceCurrency": "EUR"}}), None, None),
        (json_ld(SOAP | {"offers": {"price": "-€5.00"}}), None, None),
        (json_ld(SOAP | {"offers": {"price": "EUR −5.00"}}), None, None),
        (json_ld(SOAP | {"offers": {"price": "1e3", "priceCurrency": "EUR"}}), None, None),
        (json_ld(SOAP | {"offers": {"price": "1.5E+3", "priceCurrency": "EUR"}}), None, None),
        (json_ld(SOAP | {"offers": {"price": "5.00-9.00", "priceCurrency": "EUR"}}), "5", "EUR"),
        (json_ld(SOAP | {"offers": {"price": "5 each", "priceCurrency": "EUR"}}), "5", "EUR"),
        ("<h1>Soap</h1><b class=price>$1,299,00</b>", None, None),
        ("<h1>Soap</h1><b class=price>$1,299 150,000 sold</b>", "1299", "USD"),
        (META_TAGS.replace("8.5", "1299.000").replace("GBP", "KWD"), "1299.000", "KWD"),
    ],
)  # fmt: skip
def test_prices_are_found_wherever_a_page_has_them(html, price, currency):
    found = body(html)
    assert (found.price, found.currency) == (price and Decimal(price), currency)


@pytest.mark.parametrize(
    ("language", "text", "currency"),
    [("en-AU", "$9", "AUD"), ("en", "$9", "USD"), ("fr-CA", "9 $", "CAD"), ("zh-CN", "¥9", "CNY"),
     ("sv", "9 kr", "SEK"), ("da-DK", "9 kr", "DKK"), ("en", "9 kr", None), ("pl", "9 zł", "PLN"),
     ("es-CL", "$9", "CLP"), ("es-AR", "$9", "ARS"), ("es-CO", "$9", "COP"), ("en-AU", "£9", "GBP"),
     ("en-AU", "US$9", "USD"), ("fr-CA", "CAD$9", "CAD"), ("ja", "￥9", "JPY")],
)  # fmt: skip
def test_a_bare_sign_means_the_currency_of_the_pages_country(language, text, currency):
    found = body(f"<h1>A</h1><b class=price>{text}</b>", lang=language)
    assert (found.price, found.currency) == (9, currency)


@pytest.mark.parametrize(
    "script",
    ["{", "[" * 100_000, '{"@graph": ' * 5_000, "null", '"text"', "1e999999999", '{"@type": {}}',
     '<!-- {"@type": "Product"} -->', '{"@type": "Product", "name": ["a"], "offers": [[[]]]}'],
)  # fmt: skip
def test_broken_marks_are_as_good_as_none(script):
    found = body(f"<h1>A</h1><script type='application/ld+json'>{script}</script>")
    assert (found.h1, found.product_names, found.price) == ("A", (), None)


# ---- the hash ----

PLAIN = "<h1>Soap</h1><p>Made by hand in {place}.</p><p class=price>{price}</p>"
PLAIN += "<p>Made at {moment}, visit {token}</p><script>var t = '{token}'</script>"
PLAIN += "<input type=hidden value='{token}'><img src='/a.jpg?sig={token}'>"
SAID = {"place": "Aleppo", "price": "$8", "moment": "09:15:02", "token": "8f14e45fceea167a5a36"}


@pytest.mark.parametrize(
    ("change", "is_same"),
    [
        ({"moment": "23:59:59"}, True),
        ({"moment": "2026-11-22T10:00:00Z"}, True),
        ({"token": "c4ca4238a0b923820dcc"}, True),
        ({"price": "$9"}, False),
        ({"place": "Nablus"}, False),
        ({"place": "Aleppo until 30 November"}, False),
    ],
)
def test_the_hash_changes_with_what_is_said_and_not_with_moments_and_tokens(change, is_same):
    before, after = body(PLAIN.format(**SAID)), body(PLAIN.format(**SAID | change))
    assert (before.content_hash == after.content_hash) is is_same


# ---- rubbish ----


@pytest.mark.parametrize("rubbish", [b"", b" ", b"\0", b"<!-- -->", b"<", b"\xff\xfe"])
def test_nothing_is_no_page_or_an_empty_one(rubbish):
    found = read_page(rubbish, url=URL)
    assert found is None or (found.visible_words == 0 and not found.content.main_text.strip("<"))


_PIECES = st.sampled_from(
    ["<", ">", "<h1", "</h1>", "<p class='price'>", "$", "€", "1.299,00", "</script>", "[", "}",
     "<script type=application/ld+json>", '{"@type":"Product","offers":', "<!--", "-->", "'", '"',
     "<![CDATA[", "<?xml?>", "<meta charset=utf-16>", "<meta property=og:image content=", "&#0;",
     "&#x110000;", "<table><td><svg><title>", "<body hidden>", "\0", "\ud83d", "-20%", " off", "{{",
     "<button>", "<frameset>", "<template>", "<base href=//[>", "<a href='http://[x'>", "\u202e"]
)  # fmt: skip
_RUBBISH = st.one_of(
    st.binary(max_size=400),
    st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.lists(_PIECES, max_size=40).map(lambda all_: "".join(all_).encode("utf-8", "surrogatepass")),
)


@given(_RUBBISH, st.one_of(st.none(), st.text(max_size=30)))
@example(b"<div>" * 20_000, None)
@example(b"<p>" + b"1" * 200_000, None)  # for ever, if the time grew with the square
@example(b"<p class=price>" + b"1." * 100_000, None)
@example(b"<p>" + b"a-" * 100_000, None)
@example(b"<a class=btn>Buy" * 5_000, None)
@example(b"<svg><title>x</title></svg>", "text/html; charset=utf-7")
@example(b"&#55357;<p title='&#0;'>", "text/html; charset=")
@example(b"<p>x", "text/html; charset=hex")
@settings(deadline=None, max_examples=150)
def test_no_html_whatever_makes_reading_fail(rubbish, content_type):
    found = read_page(rubbish, url=URL, content_type=content_type)
    if found is not None:
        content = found.content
        assert len(content.content_hash) == 64
        texts = [content.title, content.h1, content.hero_text, content.main_text, content.cta]
        for text in (*texts, content.discount, *content.product_names):
            (text or "").encode()  # no lone surrogates: a database would refuse them
            assert "\0" not in (text or "")

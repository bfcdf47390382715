from decimal import Decimal
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_assets.analysis.destinations import COLUMNS as LINK_COLUMNS
from pipeline_assets.analysis.drafting import (
    CREATIVE_COLUMNS,
    SCORECARD_COLUMNS,
    Draft,
    Reviewed,
    draft_ads,
    draft_id,
    find_copies,
    rank_hooks,
    read_phrases,
    read_products,
    read_templates,
)
from pipeline_assets.analysis.drafting_texts import (
    Beat,
    Cta,
    Device,
    Hook,
    load_patterns,
    read_product,
    read_structure,
    says_more_than_page,
    sentences,
    short_names,
)
from pipeline_assets.analysis.taxonomy import HookType

SERUM, CREAM = "https://shop.example/serum", "https://shop.example/cream"

Row = dict[str, Any]


def template(name: str = "t1", **fields: Any) -> Row:
    return {
        "library_ad_id": name,
        "page_name": "Lumen Labs",
        "title": "Mugs",
        "body": "Is your coffee cold? The mug keeps it hot. Save 30% today.",
        "cta": "Shop now",
    } | fields


def page(url: str = SERUM, product: str = "Dew Serum", **fields: Any) -> Row:
    return {
        "url": url,
        "state": "ok",
        "ad_count": 1,
        "title": product,
        "h1": product,
        "hero_text": None,
        "description": "It is made in small batches. It sinks in within a minute.",
        "main_text": None,
        "price": Decimal(34),
        "currency": "USD",
        "discount": None,
        "language": "en",
        "product_names": [product],
    } | fields


def hook(number: int = 1, **fields: Any) -> Hook:
    values: Row = {
        "creative_key": f"image:{number}",
        "creative_id": f"c{number}",
        "ad_name": f"Ad {number}",
        "hook_type": "question",
        "opening": "Is your skin dry by noon?",
        "language": "en",
        "call_to_action": None,
        "urls": frozenset(),
        "why": "winner",
    }
    return Hook(**values | fields)


def drafts(
    *,
    templates: list[Row] | None = None,
    hooks: list[Hook] | None = None,
    pages: list[Row] | None = None,
    phrases: list[tuple[str, str, int]] | None = None,
    max_drafts: int = 12,
    **options: Any,
) -> list[Draft]:
    rows = [template()] if templates is None else templates
    approvals = [
        {"template_id": each["library_ad_id"], "state": "approved", "score": 80.0}
        | {"decided_by": "rules"}
        for each in rows
    ]
    said = pd.DataFrame(phrases or [], columns=["kind", "phrase", "count"])
    return draft_ads(
        templates=read_templates(rows, approvals),
        hooks=[hook()] if hooks is None else hooks,
        products=read_products([page()] if pages is None else pages),
        phrases=read_phrases(said),
        max_drafts=max_drafts,
        **options,
    )


def only(found: list[Draft]) -> Draft:
    assert len(found) == 1
    return found[0]


@pytest.mark.parametrize(
    ("body", "beats"),
    [
        (
            "Is it cold? It keeps hot. Save 30% today.",
            (Beat.HOOK, Beat.BENEFIT, Beat.OFFER),
        ),
        ("Save 30% today. It keeps hot.", (Beat.OFFER, Beat.HOOK, Beat.BENEFIT)),
        (
            "4.8 stars from 900 people. Warm all day.",
            (Beat.PROOF, Beat.HOOK, Beat.BENEFIT),
        ),
        ("Warm all day.", (Beat.HOOK, Beat.BENEFIT, Beat.OFFER)),
        (None, (Beat.HOOK, Beat.BENEFIT, Beat.OFFER)),
    ],
)
def test_a_templates_order_is_read(body: str | None, beats: tuple[Beat, ...]) -> None:
    assert read_structure(template(body=body)).beats == beats


@pytest.mark.parametrize(
    ("title", "device"),
    [
        ("Cold again?", Device.QUESTION),
        ("20% off mugs", Device.OFFER),
        ("A mug", Device.STATEMENT),
        (None, Device.STATEMENT),
    ],
)
def test_a_templates_headline_is_read(title: str | None, device: Device) -> None:
    assert read_structure(template(title=title)).device == device


def test_lists_and_length_are_read() -> None:
    listed = read_structure(template(body="Why us:\n✓ Warm\n✓ Light\n✓ Cheap"))
    assert listed.is_list
    assert not read_structure(template()).is_list
    assert read_structure(template(body="Hi.")).length == 60
    assert read_structure(template(body="x" * 90)).length == 90
    assert read_structure(template(body="x" * 900)).length == 125


def test_sentences_end_where_people_end_them() -> None:
    text = "4.8 stars. Really! “Soft.” Yes?\n• One\n• Two 3.5 oz. 好。是"
    assert sentences(text) == [
        *("4.8 stars.", "Really!", "“Soft.”", "Yes?", "One", "Two 3.5 oz.", "好。", "是")
    ]


def test_a_draft_follows_the_templates_order_with_the_brands_own_words() -> None:
    made = only(drafts(pages=[page(discount="Save 20%")]))
    lines = [line for field, line in made.texts.lines if field == "primary_text"]
    assert lines[0].text == "Is your skin dry by noon?"
    assert lines[0].source == "hook"
    assert lines[1].text in {"It is made in small batches.", "It sinks in within a minute."}
    assert lines[1].source == "product"
    assert made.lineage["template"]["order"] == ["hook", "benefit", "offer"]


def test_what_the_template_says_is_never_taken_over() -> None:
    for made in drafts(templates=[template(f"t{n}") for n in range(6)]):
        said = f"{made.texts.headline} {made.texts.primary_text} {made.texts.description}"
        for foreign in ("coffee", "mug", "30", "Lumen"):
            assert foreign not in said.lower()


@pytest.mark.parametrize(
    ("discount", "expected"), [(None, False), ("-20%", True), ("Save 20% today", True)]
)
def test_a_discount_is_named_only_when_the_page_has_it(
    discount: str | None, expected: bool
) -> None:
    made = drafts(pages=[page(discount=discount)], templates=[template(title="20% off")])
    said = " ".join(f"{each.texts.headline} {each.texts.description}" for each in made)
    assert ("20%" in said) is expected


@pytest.mark.parametrize(
    ("text", "is_more"),
    [
        ("Only $34.", False),
        ("Only $35.", True),
        ("It lasts 24 hours.", True),
        ("Free shipping on all.", True),
        ("Now 20% off.", True),
        ("Made in small batches.", False),
    ],
)
def test_numbers_and_offers_are_the_pages_or_none(text: str, is_more: bool) -> None:
    product = read_product(page())
    assert product is not None
    assert says_more_than_page(text, product) is is_more


def test_a_number_of_the_page_may_be_said() -> None:
    product = read_product(page(main_text="Locks in water for 24 hours. Free shipping."))
    assert product is not None
    assert not says_more_than_page("24 hours, free shipping.", product)


@pytest.mark.parametrize(
    "changes",
    [
        {"opening": "It locks in water for 99 hours.", "urls": frozenset({SERUM})},
        {"opening": "Only today: be quick, be happy.", "hook_type": "urgency"},
        {"opening": "The softest skin of your life."},  # of another product, and no question
        {"opening": "Have you met Barrier Cream yet?"},
        {"opening": "Are you overweight and tired of it?"},
        {"opening": "Ist deine Haut schon mittags trocken?", "language": "de"},
        {"opening": "x" * 130 + "?"},
    ],
    ids=lambda changes: changes["opening"][:20],
)
def test_an_ads_own_words_are_not_repeated_where_they_may_not_hold(changes: Row) -> None:
    pages = [page(), page(CREAM, "Barrier Cream")]
    made = drafts(hooks=[hook(**changes)], pages=pages)
    of_serum = next(each for each in made if each.product.name == "Dew Serum")
    assert changes["opening"] not in of_serum.texts.primary_text
    assert of_serum.texts.primary_text


def test_an_ads_own_claim_is_repeated_for_the_product_it_leads_to() -> None:
    own = hook(opening="The softest skin of your life.", urls=frozenset({SERUM}))
    assert "softest" in only(drafts(hooks=[own])).texts.primary_text


def test_customers_words_are_quoted_where_the_page_speaks_of_the_same() -> None:
    asks = hook(hook_type="problem", opening=None)
    said = [("pain", "small batches always sell out", 3), ("pain", "my car will not start", 9)]
    made = only(drafts(hooks=[asks], phrases=said))
    assert "small batches always sell out" in made.texts.primary_text
    assert made.lineage["phrases"] == [
        {
            "kind": "pain",
            "phrase": "small batches always sell out",
            "count": 3,
            "why": "3 posts or reviews say so",
        }
    ]
    praised = [("praise", "small batches are the best", 9)]
    assert only(drafts(hooks=[asks], phrases=praised)).lineage["phrases"] == []


def test_words_that_policies_or_the_brand_forbid_are_left_out() -> None:
    cures = page(description="It cures eczema for good. It is made in small batches.")
    made = only(drafts(pages=[cures], policy_words=["batches"]))
    assert "cures" not in made.texts.primary_text
    assert "batches" not in made.texts.primary_text
    assert drafts(policy_words=["serum"], pages=[page(h1="Serum")])[0].texts.headline in {
        "Seen it yet?",
        "Take a closer look",
    }


@pytest.mark.parametrize(
    ("language", "text", "button"),
    [
        ("de", "Das ist für dich und deine Haut, die nicht mehr trocken ist.", "Jetzt kaufen"),
        ("fr", "Pour vous et pour la peau qui est sèche dans le vent.", "Acheter"),
        ("es", "Para ti y para la piel que está seca con el viento.", "Comprar"),
    ],
)
def test_drafts_speak_the_pages_language(language: str, text: str, button: str) -> None:
    made = only(drafts(pages=[page(language=language, description=text)]))
    assert made.lineage["language"] == language
    assert made.lineage["language_note"] is None
    assert load_patterns()[language]["buttons"]["SHOP_NOW"] == button
    assert "skin" not in made.texts.primary_text
    assert "34\N{NO-BREAK SPACE}$" in f"{made.texts.description} {made.texts.primary_text}"


def test_a_language_without_patterns_gives_english_drafts_that_say_so() -> None:
    polish = page(language="pl", description="Serum, które nie klei się i nie jest drogie.")
    made = only(drafts(pages=[polish]))
    assert made.lineage["language"] == "en"
    assert "'pl'" in made.lineage["language_note"]
    assert "klei" not in made.texts.primary_text


@pytest.mark.parametrize(
    ("price", "language", "written"),
    [
        ("12.125", "en", "KWD 12.125"),
        ("12.125000", "de", "12,125\N{NO-BREAK SPACE}KWD"),
        ("12.5", "en", "KWD 12.50"),
        ("1234.000", "en", "KWD 1,234"),
    ],
)
def test_a_price_is_written_with_all_its_digits(price: str, language: str, written: str) -> None:
    text = {"de": "Die Creme ist für die Haut und zieht schnell ein.", "en": None}[language]
    sold = page(price=Decimal(price), currency="KWD", language=language, main_text=text)
    draft = only(drafts(pages=[sold]))
    assert written in f"{draft.texts.headline} {draft.texts.primary_text} {draft.texts.description}"


@pytest.mark.parametrize(
    ("template_cta", "discount", "own", "urls", "price", "expected"),
    [
        ("Get offer", "-20%", None, frozenset(), Decimal(1), Cta.GET_OFFER),
        ("Get offer", None, None, frozenset(), Decimal(1), Cta.SHOP_NOW),
        ("LEARN_MORE", None, None, frozenset(), Decimal(1), Cta.LEARN_MORE),
        ("Play game", None, None, frozenset(), Decimal(1), Cta.SHOP_NOW),
        ("Sign up", None, "BOOK_NOW", frozenset({SERUM}), None, Cta.BOOK_NOW),
        ("Sign up", None, "BOOK_NOW", frozenset({CREAM}), None, Cta.LEARN_MORE),
        (None, None, "GET_OFFER", frozenset({SERUM}), None, Cta.LEARN_MORE),
    ],
)
def test_the_button_suits_the_product(
    template_cta: str | None,
    discount: str | None,
    own: str | None,
    urls: frozenset[str],
    price: Decimal | None,
    expected: Cta,
) -> None:
    made = only(
        drafts(
            templates=[template(cta=template_cta)],
            hooks=[hook(call_to_action=own, urls=urls)],
            pages=[page(discount=discount, price=price)],
        )
    )
    assert made.texts.cta == expected


def test_long_names_are_shortened_by_whole_words() -> None:
    name = "Dew Serum Deluxe Edition – with hyaluronic acid, 50 ml"
    assert short_names(name) == [name, "Dew Serum Deluxe Edition", "Dew Serum Deluxe"]
    made = only(drafts(pages=[page(product=name)]))
    assert "Dew Serum Deluxe" in made.texts.headline


@pytest.mark.parametrize(("length", "is_named"), [(39, True), (40, True), (41, False)])
def test_a_headline_has_at_most_forty_characters(length: int, *, is_named: bool) -> None:
    name = "x" * length
    headline = only(drafts(pages=[page(product=name)])).texts.headline
    assert headline == (name if is_named else "Take a closer look")


def test_drafts_are_spread_and_bounded_and_the_same_each_time() -> None:
    long = "Is your coffee cold? The mug keeps it hot all day, wherever you go and whatever comes."
    told_of = {
        "Red": "Boiled by hand in copper kettles.",
        "Green": "Olive trees grow behind our workshop.",
        "Blue": "Sailors trust it against tar.",
        "Black": "Charcoal makes every bar dark.",
        "White": "Goat milk keeps things gentle.",
    }
    openings = (
        "Which scent reminds you of home?",
        "Still looking for softer hands?",
        "Who taught your children how to wash?",
        "Do tiles deserve something better?",
    )
    many = {
        "templates": [template(f"t{n}", body=long) for n in range(3)],
        "hooks": [hook(n, opening=text) for n, text in enumerate(openings)],
        "pages": [
            page(f"https://shop.example/{n}", f"{name} Soap") | {"description": told}
            for n, (name, told) in enumerate(told_of.items())
        ],
    }
    first = drafts(**many, max_drafts=10)
    assert first == drafts(**many, max_drafts=10)
    assert len(first) == 10
    products = [each.product.name for each in first]
    assert all(products.count(name) == 2 for name in products)
    assert {each.template_id for each in first} == {"t0", "t1", "t2"}
    assert {each.creative_key for each in first} == {f"image:{n}" for n in range(4)}
    assert len({each.draft_id for each in first}) == 10


def test_every_combination_is_tried_before_there_are_no_more() -> None:
    many = {
        "templates": [template(f"t{n}") for n in range(3)],
        "hooks": [hook(n, opening=None, hook_type=kind) for n, kind in enumerate(HookType)],
    }
    made = drafts(**many, max_drafts=200)
    pairs = {(each.template_id, each.creative_key) for each in made}
    assert len(pairs) == len(made) > 5
    copies = find_copies((x.draft_id, x.texts.headline, x.texts.primary_text) for x in made)
    assert copies == []


def test_reviewed_drafts_are_neither_drafted_again_nor_repeated() -> None:
    before = only(drafts())
    same = Reviewed(
        draft_id=before.draft_id,
        headline=before.texts.headline,
        primary_text=before.texts.primary_text,
    )
    assert drafts(reviewed=[same]) == []
    changed = Reviewed(draft_id=before.draft_id, headline="a", primary_text="b")
    assert drafts(reviewed=[changed]) == []
    other = Reviewed(draft_id="x", headline=same.headline, primary_text=same.primary_text)
    assert drafts(reviewed=[other]) == []
    assert len(drafts(reviewed=[Reviewed(draft_id="x", headline="a", primary_text="b")])) == 1


def test_the_name_of_a_draft_follows_from_its_lineage() -> None:
    made = only(drafts())
    assert made.draft_id == draft_id("t1", "image:1", SERUM)
    assert len(made.draft_id) == 64


@pytest.mark.parametrize("missing", ["templates", "hooks", "pages"])
def test_without_one_of_the_three_there_are_no_drafts(missing: str) -> None:
    assert drafts(**{missing: []}) == []


def test_products_are_those_of_pages_that_are_there_once_each() -> None:
    pages = [
        page("https://shop.example/b", "Dew Serum", ad_count=2),
        page("https://shop.example/a", "dew serum", ad_count=5),
        page("https://shop.example/c", "Soap", state="blocked"),  # keeps what it said before
        page("https://shop.example/gone", "Balm", state="not_found"),
        page("https://shop.example/d", product_names=[]),
        page("https://shop.example/e", product_names=None),
        page("https://shop.example/f", product_names=["", "Mask"]),
    ]
    products = read_products(pages)
    assert [(each.name, each.url) for each in products] == [
        ("dew serum", "https://shop.example/a"),
        ("Soap", "https://shop.example/c"),
        ("Mask", "https://shop.example/f"),
    ]
    assert products[0].urls == {"https://shop.example/a", "https://shop.example/b"}


def hooks_of(*rows: Row, texts: list[Row] | None = None, most: int = 10) -> list[str]:
    blank = dict.fromkeys(SCORECARD_COLUMNS) | {"label": "middle", "confidence": "high"}
    scores = [blank | {"creative_id": row["creative_key"]} | row for row in rows]
    ads = texts or [
        {"creative_id": row["creative_id"], "body": f"Hook of {row['creative_key']}."}
        for row in scores
    ]
    blank_ad = dict.fromkeys(CREATIVE_COLUMNS)
    found = rank_hooks(
        pd.DataFrame(scores, columns=list(SCORECARD_COLUMNS)),
        pd.DataFrame([blank_ad | ad for ad in ads], columns=list(CREATIVE_COLUMNS)),
        pd.DataFrame([], columns=list(LINK_COLUMNS)),
        most=most,
    )
    return [each.creative_key for each in found]


def test_winners_give_hooks_first_then_by_certainty_rank_and_roas() -> None:
    assert hooks_of(
        {"creative_key": "loser", "label": "loser", "hook_percentile": 100.0},
        {"creative_key": "new", "label": "too_early", "hook_percentile": 99.0},
        {"creative_key": "low", "label": "winner", "confidence": "low", "hook_percentile": 99.0},
        {"creative_key": "high", "label": "winner", "hook_percentile": 60.0},
        {"creative_key": "clicks", "label": "winner", "click_percentile": 70.0},
        {"creative_key": "roas", "label": "winner", "hook_percentile": 60.0, "roas": 4.0},
        {"creative_key": "nothing", "label": "winner"},
    ) == ["clicks", "roas", "high", "nothing", "low", "new"]


def test_a_creative_or_an_opening_counts_once_and_one_without_an_ad_not_at_all() -> None:
    rows = [
        {"creative_key": "a", "currency": "USD", "hook_percentile": 9.0},
        {"creative_key": "a", "currency": "EUR", "hook_percentile": 8.0},
        {"creative_key": "b", "hook_percentile": 7.0},
        {"creative_key": "gone", "hook_percentile": 6.0},
        {"creative_key": "mute", "hook_percentile": 5.0},
        {"creative_key": "typed", "hook_percentile": 4.0, "hook_type": "story"},
    ]
    texts = [
        {"creative_id": "a", "body": "Same words. More."},
        {"creative_id": "b", "title": "Same words."},
        {"creative_id": "mute"},
        {"creative_id": "typed"},
    ]
    assert hooks_of(*rows, texts=texts) == ["a", "typed"]
    assert hooks_of(*rows, texts=texts, most=1) == ["a"]


def test_every_hook_type_and_language_has_patterns_that_fit_any_name() -> None:
    assert set(load_patterns()) == {"en", "de", "fr", "es"}
    for patterns in load_patterns().values():
        assert set(patterns["headlines"]) == set(Device)
        assert set(patterns["buttons"]) == set(Cta)
        assert set(patterns["hooks"]) <= {*HookType, "customer", "other"}
        for device in (Device.QUESTION, Device.STATEMENT):
            assert "{" not in patterns["headlines"][device][-1]
        assert not any(char.isdigit() for char in str(patterns["headlines"]))


words = st.text(min_size=1, max_size=60)


@settings(max_examples=150, deadline=None)
@given(
    name=words,
    body=st.text(max_size=300),
    opening=st.one_of(st.none(), st.text(max_size=200)),
    description=st.text(max_size=300),
    discount=st.one_of(st.none(), words),
    phrase=words,
    hook_type=st.sampled_from([None, *HookType]),
    price=st.one_of(st.none(), st.decimals(0, 10**6, places=2)),
    language=st.sampled_from(["en", "de-DE", "fr_FR", "es", "ar", None]),
)
def test_any_words_give_texts_within_their_lengths(
    name: str,
    body: str,
    opening: str | None,
    description: str,
    discount: str | None,
    phrase: str,
    hook_type: str | None,
    price: Decimal | None,
    language: str | None,
) -> None:
    fields = {"description": description, "discount": discount, "price": price}
    made = drafts(
        templates=[template(body=body), template("t2", title=body)],
        hooks=[hook(opening=opening, hook_type=hook_type, urls=frozenset({SERUM}))],
        pages=[page(product=name, language=language, **fields)],
        phrases=[("pain", phrase, 1)],
    )
    for each in made:
        texts = each.texts
        assert 0 < len(texts.headline) <= 40
        assert 0 < len(texts.primary_text) <= 125
        assert texts.description is None or 0 < len(texts.description) <= 30
        assert texts.headline == texts.headline.strip()


@pytest.mark.parametrize("name", ["مصل الندى", "潤いセラム", "Сыворотка «Роса»", "🧴🧴", "X" * 200])
def test_names_in_any_script_give_drafts(name: str) -> None:
    made = only(drafts(pages=[page(product=name, h1=None)]))
    assert name in made.texts.headline or "{" not in made.texts.headline
    assert len(made.texts.headline) <= 40

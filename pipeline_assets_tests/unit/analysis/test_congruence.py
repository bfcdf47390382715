"""An ad is judged by what its page takes up, and a broken promise holds its total down."""

import random
from decimal import Decimal
from io import BytesIO
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from pipeline_assets.analysis import congruence
from pipeline_assets.analysis.congruence import CAP, judge, judge_outcomes
from pipeline_assets.analysis.congruence_scores import NoPicture
from pipeline_assets.analysis.picture_sketches import Sketch, read_sketch

Row = dict[str, Any]

NAMED_COLUMNS = {"ad_id", "url", "ad_account_id", "creative_id"}
SCORES = ("message", "offer", "visual", "tone")
URL = "https://shop.example/dew-serum"

AD: Row = {
    **dict.fromkeys(congruence.AD_COLUMNS),
    "ad_id": "1",
    "url": URL,
    "ad_account_id": "act_1",
    "creative_id": "c1",
    "ad_name": "Serum",
    "title": "20% off your first order",
    "body": "Today only: 20% off Dew Serum, now $27. Free shipping, 60 days to return.",
}
PAGE: Row = {
    **dict.fromkeys(congruence.PAGE_COLUMNS),
    "url": URL,
    "state": "ok",
    "status_code": 200,
    "redirect_count": 0,
    "language": "en",
    "title": "Dew Serum | Morrow Skin",
    "h1": "Dew Serum",
    "hero_text": "20% off your first order. Water for dry skin. Free shipping, 60 days to return.",
    "price": Decimal("27.20"),
    "currency": "USD",
    "discount": "-20%",
    "product_names": ["Dew Serum"],
    "main_text": "Dew Serum locks in water for 24 hours. Use it on damp skin. You have 60 days to "
    "return it, and shipping is free on your first order.",
    "picture_key": "shop.example/dew-serum.jpg",
}


def ads(*rows: Row) -> pd.DataFrame:
    return pd.DataFrame(list(rows), columns=list(congruence.AD_COLUMNS))


def pages(*rows: Row) -> pd.DataFrame:
    return pd.DataFrame(list(rows), columns=list(congruence.PAGE_COLUMNS))


def figures(*rows: tuple[str, int, int, float]) -> pd.DataFrame:
    return pd.DataFrame(list(rows), columns=list(congruence.FIGURE_COLUMNS))


def judged(ad: Row | None = None, page: Row | None = None, **pictures: Sketch | NoPicture) -> Row:
    """The row of one ad and page; what is given changes AD and PAGE."""
    frame = judge(
        ads({**AD, **(ad or {})}), pages({**PAGE, **(page or {})}), figures(), pictures=pictures
    )
    (row,) = frame.to_dict("records")
    return {str(name): value for name, value in row.items()}


def test_a_page_that_keeps_the_promise_scores_high_with_the_reasons() -> None:
    row = judged()
    assert row["page_state"] == "ok"
    assert row["message"] >= 9
    assert row["offer"] >= 9
    assert row["tone"] >= 7
    assert row["total"] >= 9
    assert row["mismatches"] == []
    assert row["is_capped"] is False
    assert any(
        "20% off stands in the page's first words" in line for line in row["evidence"]["offer"]
    )
    assert (row["judge"], row["judge_version"]) == ("rules", congruence.JUDGE_VERSION)


@pytest.mark.parametrize(
    ("ad", "page", "said"),
    [
        ({}, {"price": Decimal(34), "discount": "-20%"}, "Higher price: 27 in the ad, 34 USD"),
        (
            {"title": "Dew Serum 27 €", "body": "Jetzt kaufen und das Serum für Sie testen."},
            {"price": Decimal("1027.00"), "currency": "EUR", "language": "de", "main_text": "x"},
            "Higher price: 27 EUR in the ad, 1027.00 EUR",
        ),
        (
            {"body": "Today only: 20% off Dew Serum."},
            {"discount": None, "hero_text": "Water for dry skin."},
            "Discount missing: the ad promises 20% off",
        ),
        (
            {"body": "Today only: 20% off Dew Serum."},
            {"discount": "-10%", "hero_text": "Water for dry skin."},
            "Smaller discount: 20% off in the ad, 10% off on the page.",
        ),
        (
            {"title": "Dew Serum", "body": "Buy two Dew Serum, get one free."},
            {"discount": None},
            "Discount missing: more for less in the ad",
        ),
        (
            {"title": "$15 off Dew Serum", "body": "Only this week."},
            {"discount": None, "hero_text": "Water for dry skin."},
            "Discount missing: the ad promises 15 off",
        ),
        (
            {
                "title": "20 % Rabatt auf das Dew Serum",
                "body": "Nur heute bei uns: das Dew Serum für 27 $, und der Versand ist kostenlos.",
            },
            {},
            "Other language: the ad is in de, the page in en.",
        ),
        (
            {"title": "Hike further", "body": "Boots that keep feet dry on wet rock, resoleable."},
            {},
            "Other product: the page is about Dew Serum",
        ),
        (
            {"body": "Dew Serum for $9 a month."},
            {"main_text": "Dew Serum comes to you for $12 a month or $99 a year."},
            "Higher price: 9 per month in the ad, 12 per month on the page.",
        ),
        (
            {"body": "Dew Serum, now $9."},
            {"price": Decimal(36), "main_text": "Dew Serum for $36 or 4 payments of $9."},
            "Higher price: 9 in the ad, 36 USD on the page.",
        ),
        ({}, {"state": "not_found", "status_code": 404}, "The page is gone: HTTP 404."),
    ],
)
def test_a_severe_mismatch_is_told_and_holds_the_total_down(ad: Row, page: Row, said: str) -> None:
    row = judged(ad, page)
    assert any(said in line for line in row["mismatches"]), row["mismatches"]
    assert row["total"] is None or row["total"] <= CAP


def test_the_cap_is_told_only_where_it_changed_the_total() -> None:
    dear = judged({}, {"price": Decimal(34)})
    assert (dear["total"], dear["is_capped"]) == (CAP, True)
    foreign = judged({"title": "Hike further", "body": "Boots for wet rock, made to be resoled."})
    assert foreign["total"] < CAP
    assert foreign["is_capped"] is False
    assert foreign["mismatches"]


@pytest.mark.parametrize(
    ("ad", "page"),
    [
        ({"title": "Dew Serum for 27.20", "body": "USD 27.20"}, {}),
        ({"title": "Dew Serum", "body": "Now $27.50"}, {}),  # rounded up
        ({"title": "Dew Serum", "body": "Gone under $30"}, {}),
        ({"title": "Dew Serum", "body": "Now $34"}, {}),  # cheaper than promised
        ({"title": "Dew Serum", "body": "Compared it with a $90 cream? $27.20"}, {}),
        ({"title": "Dew Serum", "body": "Now 27,20 €"}, {}),  # other currency: not compared
        (
            {"title": "Dew Serum", "body": "Jetzt 1.299,00 €"},
            {"price": Decimal(1299), "currency": "EUR"},
        ),
        ({"title": "Dew Serum", "body": "1 299 €"}, {"price": Decimal(1299), "currency": "EUR"}),
        ({"title": "Dew Serum", "body": "$1,299"}, {"price": Decimal(1299), "currency": "CAD"}),
        (
            {"title": "20% off Dew Serum", "body": "Only today."},
            {"discount": None, "hero_text": "Was $34, now $27.20."},
        ),
        (
            {"title": "20% off Dew Serum with code DEW20", "body": "Only today."},
            {"discount": None, "hero_text": "Water for dry skin."},
        ),
        ({"title": "Dew Serum", "body": "30% off, now $27.20"}, {"discount": "-30%"}),
        ({"title": "Dew Serum", "body": "Pay in 4 of $6.80"}, {}),
        ({"title": "Dew Serum", "body": "From $5 a month"}, {"main_text": "$60 a year."}),
        ({"title": "Dew Serum", "body": "$5/mo"}, {"main_text": "Now for $5 a month."}),
        ({"title": "Dew Serum", "body": "Under $30 a month"}, {"price": Decimal("27.20")}),
        ({"title": "Dew Serum", "body": "We donate $1 per bottle."}, {}),
        ({"title": "Dew Serum", "body": "Spend $20, get $5"}, {}),
        ({"title": "Dew Serum", "body": "Save 100% of your time."}, {}),
    ],
)
def test_what_can_be_meant_as_written_is_no_severe_mismatch(ad: Row, page: Row) -> None:
    assert judged(ad, page)["mismatches"] == []


@pytest.mark.parametrize(
    ("said", "on_page", "evidence"),
    [
        ("for $9 a week", "It is $9 a week.", "The same price: 9 per week."),
        ("for $9 a week", "It is $9 a day.", "Not compared: 9 per week in the ad, 9 per day"),
        ("€5 per kg", "It is €5 per 100 g.", "Not compared: 5 EUR per kg in the ad, 5 EUR per 100"),
        ("in 4 payments of $20", "It is $20 per hour.", "Not compared: 20 per instalment in the"),
        ("for $9 a week or $30 a month", "It is $30 a month.", "The same price: 30 per month."),
        ("for $9 a week", "All for $9.", "The same price: 9."),
        ("for $9", "It is $9 a week.", "The same price: 9 per week."),
        ("for $10", "It is $99 a year.", "Not compared: 10 in the ad, 99 per year on the page."),
        ("under $10", "It is $8 a week.", "Not compared: 10 in the ad, 8 per week on the page."),
        ("for $49", "In 4 payments of $30.", "Not compared: 49 in the ad, 30 per instalment"),
        ("for $9", "It is 9 € a week.", "Not compared: 9 in the ad, 9 EUR per week on the page."),
    ],
)
def test_prices_for_each_of_something_are_compared_only_with_the_same(
    said: str, on_page: str, evidence: str
) -> None:
    row = judged(
        {"title": "Dew Serum", "body": f"Dew Serum {said}."},
        {"price": None, "discount": None, "main_text": f"Dew Serum for dry skin. {on_page}"},
    )
    assert row["evidence"]["offer"][0].startswith(evidence)
    assert row["mismatches"] == []


def test_a_number_that_is_none_hinders_no_judging() -> None:
    ad = {"title": "Dew Serum $1,299 150,000+ happy customers", "body": "Not $1,999,00."}
    row = judged(ad, {"price": Decimal(1299)})
    assert row["evidence"]["offer"][0] == "The same price: 1299 USD."


def test_an_ad_without_an_offer_and_a_product_has_no_offer_score() -> None:
    row = judged({"title": "Dry by noon?", "body": "Water stays in damp skin for 24 hours."})
    assert row["offer"] is None
    assert row["evidence"]["offer"]
    assert row["confidence"] == pytest.approx(0.55)


def test_a_product_of_another_page_of_the_brand_is_another_product() -> None:
    mask = {**PAGE, "url": "https://shop.example/mask", "product_names": ["Overnight Mask"]}
    ad = {**AD, "title": "New: Overnight Mask", "body": "Free shipping, 60 days to return."}
    frame = judge(ads(ad), pages(PAGE, mask), figures())
    (row,) = frame.to_dict("records")
    assert row["mismatches"] == [
        "Other product: the ad speaks of Overnight Mask, the page of Dew Serum."
    ]
    listed = {**PAGE, "main_text": "Dew Serum $27.20. Overnight Mask $39."}
    (row,) = judge(ads(ad), pages(listed, mask), figures()).to_dict("records")
    assert row["mismatches"] == []


@pytest.mark.parametrize("state", ["blocked", "needs_js", "disallowed", "refused", "failed"])
def test_a_page_that_is_not_ok_is_not_judged_though_it_was_read_before(state: str) -> None:
    row = judged({}, {"state": state})
    assert row["page_state"] == state
    assert [row[name] for name in (*SCORES, "total")] == [None] * 5
    assert (row["confidence"], row["is_capped"], row["mismatches"]) == (0.0, False, [])
    assert row["evidence"]["message"] == [f"The page is not judged: {state}."]


def test_a_page_that_nobody_has_read_is_called_so() -> None:
    (row,) = judge(ads(AD), pages(), figures()).to_dict("records")
    assert row["page_state"] == "not_read"
    assert row["total"] is None


def test_more_than_two_redirects_cost_half_a_point() -> None:
    direct, far = judged({}, {"redirect_count": 2}), judged({}, {"redirect_count": 3})
    assert far["total"] == pytest.approx(direct["total"] - 0.5)
    assert far["evidence"]["page"] == ["3 redirects on the way."]
    assert "page" not in direct["evidence"]


def test_of_many_texts_the_best_counts() -> None:
    other = {"title": "Hike further", "body": "Boots for wet rock."}
    dynamic = {
        **other,
        "titles": [other["title"], AD["title"]],
        "bodies": [other["body"], AD["body"]],
    }
    best, plain = judged(dynamic), judged()
    assert [best[name] for name in SCORES] == [plain[name] for name in SCORES]


def test_each_destination_of_a_carousel_is_judged_by_itself() -> None:
    mask = {**PAGE, "url": "https://shop.example/mask", "price": Decimal(39), "discount": None}
    frame = judge(ads(AD, {**AD, "url": mask["url"]}), pages(PAGE, mask), figures())
    serum, other = frame.to_dict("records")
    assert serum["total"] > other["total"]
    assert other["mismatches"]


def test_texts_without_a_word_are_not_judged() -> None:
    empty = judged({"title": None, "body": ""})
    assert (empty["message"], empty["tone"]) == (None, None)
    blank = dict.fromkeys(("title", "h1", "hero_text", "main_text", "discount", "price"))
    assert judged({}, blank | {"product_names": []})["message"] is None


@pytest.mark.parametrize(
    ("title", "body", "page"),
    [
        ("Frische Bohnen", "Dein Espresso wird heute geröstet und ist morgen bei dir.", "de"),
        (
            "Des graines bio",
            "Chaque mois, des graines dans votre boîte. Vous jardinez enfin.",
            "fr",
        ),
        ("Haz tu web", "Elige un diseño para tu página y publica con nosotros.", "es"),
        ("Fatto a mano", "Una borsa che dura tutta la vita, per te e per i tuoi.", "it"),
    ],
)
def test_the_same_words_are_congruent_in_each_language(title: str, body: str, page: str) -> None:
    same = {"title": title, "h1": title, "hero_text": body, "main_text": f"{body} {body} {body}"}
    row = judged(
        {"title": title, "body": body},
        {**same, "language": page, "product_names": [], "discount": None},
    )
    assert row["message"] == 10
    assert row["mismatches"] == []
    declared_wrongly = judged(
        {"title": title, "body": body}, {**same, "language": "en", "product_names": []}
    )
    assert declared_wrongly["mismatches"] == [], "what the texts show counts more"


def test_the_same_numbers_and_names_are_no_message_in_another_language() -> None:
    page = {
        "language": "de",
        "h1": "Dew Serum",
        "hero_text": "20 % auf das erste Serum und kostenloser Versand für alle.",
        "main_text": "Das Dew Serum ist für die Haut, die bei der Arbeit nicht trocken sein soll.",
    }
    row = judged(
        {"title": "Dew Serum 20%", "body": "The Dew Serum for 20% off is all yours."}, page
    )
    assert row["message"] <= 2
    assert row["tone"] == 0
    assert row["mismatches"] == ["Other language: the ad is in en, the page in de."]


def test_formal_and_informal_address_do_not_go_together() -> None:
    du = {"title": "Dein Schuh", "body": "Hol dir den Schuh, mit dem du weiter läufst als je."}
    page = {
        "language": "de",
        "hero_text": "Der Schuh, mit dem Sie weiter laufen.",
        "main_text": "Wir beraten Sie gern. Testen Sie den Schuh, und schicken Sie ihn zurück.",
    }
    row = judged(du, page)
    assert row["tone"] <= 5
    assert "One addresses formally, the other does not." in row["evidence"]["tone"]


def picture(colour: str, *, badge: bool = False, size: int = 200, kind: str = "PNG") -> Sketch:
    image = Image.new("RGB", (size, size), "white")
    draw = ImageDraw.Draw(image)
    draw.ellipse((size * 0.2, size * 0.1, size * 0.7, size * 0.9), fill=colour)
    draw.rectangle((size * 0.6, size * 0.3, size * 0.95, size * 0.5), fill="black")
    if badge:
        draw.rectangle((size * 0.02, size * 0.02, size * 0.2, size * 0.12), fill="red")
    return sketch_of(image, kind)


def sketch_of(image: Image.Image, kind: str = "PNG") -> Sketch:
    file = BytesIO()
    image.save(file, kind)
    file.seek(0)
    return read_sketch(file)


def visual(ad: Sketch | NoPicture | None, page: Sketch | NoPicture | None) -> Row:
    named = {"sha": ad, PAGE["picture_key"]: page}
    known = {name: sketch for name, sketch in named.items() if sketch}
    return judged({"picture_sha256": "sha"}, {}, **known)


def test_the_same_picture_is_known_in_another_size_and_format_and_with_a_badge() -> None:
    row = visual(picture("navy"), picture("navy", size=500, kind="JPEG", badge=True))
    assert row["visual"] == 10
    assert row["confidence"] == 1
    assert row["evidence"]["visual"] == ["The page shows the ad's picture."]


def test_another_picture_is_scored_by_its_colours_and_never_best() -> None:
    stripes = Image.new("RGB", (200, 200), "white")
    ImageDraw.Draw(stripes).polygon([(0, 200), (200, 0), (200, 200)], fill="navy")
    alike = visual(picture("navy"), sketch_of(stripes))["visual"]
    unlike = visual(picture("navy"), sketch_of(Image.new("RGB", (200, 200), "lime")))["visual"]
    assert 10 > alike > unlike >= 2


def test_a_picture_that_is_not_known_is_not_compared() -> None:
    row = visual(picture("navy"), None)
    assert row["visual"] is None
    assert row["evidence"]["visual"] == ["Not compared: there are not pictures of both."]
    assert visual(None, picture("navy"))["visual"] is None


def test_what_is_transparent_is_white() -> None:
    clear = Image.new("RGBA", (64, 64), (0, 0, 0, 0))
    assert sketch_of(clear) == sketch_of(Image.new("RGB", (64, 64), "white"))


@pytest.mark.parametrize("data", [b"", b"no picture", b"\x89PNG\r\n\x1a\n" + bytes(20)])
def test_bytes_that_are_no_picture_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="not a picture"):
        read_sketch(BytesIO(data))


# ------------------------------------------------------------------------------------- hashes


def hash_of(ad: Row | None = None, page: Row | None = None) -> str:
    frames = ads({**AD, **(ad or {})}), pages({**PAGE, **(page or {})})
    return congruence.input_hashes(*frames)["1", URL]


def test_the_hash_is_the_one_that_judging_writes() -> None:
    pictured = {"picture_sha256": "sha"}
    row = visual(picture("navy"), picture("navy"))
    assert row["input_hash"] == hash_of(pictured)
    assert judged()["input_hash"] == hash_of()


def test_a_row_judged_without_its_pictures_is_judged_again_unless_that_is_final() -> None:
    hashed = hash_of({"picture_sha256": "sha"})
    late, gone = NoPicture("no time.", is_final=False), NoPicture("it is gone.", is_final=True)
    assert visual(picture("navy"), None)["input_hash"] != hashed
    assert visual(picture("navy"), late)["input_hash"] != hashed
    assert visual(picture("navy"), gone)["input_hash"] == hashed
    assert visual(None, gone)["input_hash"] == hashed
    assert visual(None, late)["evidence"]["visual"] == ["Not compared: no time."]


@pytest.mark.parametrize(
    ("ad", "page"),
    [
        ({"title": "Other"}, {}),
        ({"bodies": ["One more"]}, {}),
        ({}, {"price": Decimal(28)}),
        ({}, {"main_text": "New text"}),
        ({}, {"redirect_count": 3}),
        ({}, {"state": "failed"}),
    ],
)
def test_what_is_compared_changes_the_hash(ad: Row, page: Row) -> None:
    assert hash_of(ad, page) != hash_of()


@pytest.mark.parametrize(
    ("ad", "page"),
    [
        ({"ad_name": "Renamed"}, {}),
        ({"creative_id": "c2"}, {}),
        ({"titles": [AD["title"]]}, {}),
        ({}, {"price": Decimal("27.2000")}),
        ({}, {"product_names": ("Dew Serum",)}),
    ],
)
def test_what_is_not_compared_does_not(ad: Row, page: Row) -> None:
    assert hash_of(ad, page) == hash_of()


def test_of_a_page_that_is_not_judged_only_the_state_counts() -> None:
    failed = {"state": "failed"}
    assert hash_of({}, failed) == hash_of({}, {**failed, "main_text": "New", "price": None})


# ----------------------------------------------------------------------------------- outcomes

USUAL = [(f"usual{n}", 10_000, 200, 10.0) for n in range(5)]  # 2 % and 5 %


@pytest.mark.parametrize(
    ("impressions", "clicks", "purchases", "outcome"),
    [
        (10_000, 300, 3.0, "page_suspect"),
        (10_000, 200, 6.0, "fine"),  # just 60 % of the median
        (10_000, 200, 5.9, "page_suspect"),
        (20_000, 200, 10.0, "ad_suspect"),
        (20_000, 240, 12.0, "fine"),
        (20_000, 200, 5.0, "weak"),
        (10_000, 250, 13.0, "fine"),
        (10_000, 159, 1.0, "too_little_data"),  # 7.95 purchases to be expected
        (10_000, 160, 8.0, "fine"),  # 8
        (0, 0, 0.0, "too_little_data"),
    ],
)
def test_clicks_and_purchases_are_measured_by_the_brands_medians(
    impressions: int, clicks: int, purchases: float, outcome: str
) -> None:
    found = judge_outcomes(figures(*USUAL, *USUAL, ("x", impressions, clicks, purchases)))
    assert found["x"]["outcome"] == outcome


def test_the_figures_stand_beside_the_outcome() -> None:
    (row,) = judge(ads(AD), pages(PAGE), figures(*USUAL, ("1", 10_000, 300, Decimal(3)))).to_dict(
        "records"
    )
    assert row["link_ctr"] == pytest.approx(0.03)
    assert row["cvr"] == pytest.approx(0.01)
    assert row["outcome"] == "page_suspect"


def test_few_ads_have_no_median_to_be_measured_by() -> None:
    found = judge_outcomes(figures(*USUAL[:4]))
    assert {each["outcome"] for each in found.values()} == {"too_little_data"}
    assert found["usual0"]["cvr"] == 0.05


def test_an_ad_without_figures_has_no_outcome() -> None:
    assert judged()["outcome"] == "too_little_data"
    assert (judged()["link_ctr"], judged()["cvr"]) == (None, None)


# --------------------------------------------------------------------------------- properties

PIECES = (
    *("serum", "Dew", "Serum", "20% off", "$27", "1.299,00 €", "free shipping", "buy 2 get 1 free"),
    *("was $49", "-5 %", "code ABC", "123", "du", "Sie", "the", "and", "your", "für", "und", "ein"),
    *("une", "les", "化粧水", "скидка", "!", "\n", "…", "🙂", "'", "’s", "ä" * 30, "\x00"),
)
WORDS = st.lists(st.sampled_from(PIECES), max_size=12).map(" ".join)
AD_ROWS = st.builds(
    lambda title, body, titles: {**AD, "title": title, "body": body, "titles": titles},
    WORDS,
    WORDS,
    st.none() | st.lists(WORDS, max_size=2),
)
PAGE_ROWS = st.builds(
    lambda texts, price, names, language, state: {
        **PAGE,
        **dict(zip(("title", "h1", "hero_text", "discount", "main_text"), texts, strict=True)),
        "price": price,
        "product_names": names,
        "language": language,
        "state": state,
    },
    st.tuples(*[st.none() | WORDS] * 5),
    st.none() | st.decimals(0, 10**7, places=2),
    st.none() | st.lists(WORDS, max_size=2),
    st.sampled_from([None, "en", "de-AT", "", "pt_BR", "xx"]),
    st.sampled_from(["ok", "ok", "ok", "blocked", "not_found"]),
)


@settings(deadline=None, max_examples=40)
@given(AD_ROWS, PAGE_ROWS)
def test_every_score_is_0_to_10_or_none_and_the_same_again(ad: Row, page: Row) -> None:
    first = judge(ads(ad), pages(page), figures()).to_dict("records")
    assert first == judge(ads(ad), pages(page), figures()).to_dict("records")
    (row,) = first
    for name in (*SCORES, "total"):
        assert row[name] is None or 0 <= row[name] <= 10
    assert 0 <= row["confidence"] <= 1
    assert (row["total"] is None) == (row["confidence"] == 0)
    assert not row["mismatches"] or row["total"] is None or row["total"] <= CAP
    assert all(row["evidence"][name] for name in SCORES), "every score has its reason"


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(AD_ROWS, PAGE_ROWS), min_size=2, max_size=5), st.randoms())
def test_the_order_and_the_company_of_rows_do_not_matter(
    pairs: list[tuple[Row, Row]], chance: random.Random
) -> None:
    named = [
        (
            {**ad, "ad_id": str(n), "url": f"https://shop.example/{n}"},
            {**page, "url": f"https://shop.example/{n}"},
        )
        for n, (ad, page) in enumerate(pairs)
    ]
    all_pages = pages(*(page for _, page in named))
    straight = judge(ads(*(ad for ad, _ in named)), all_pages, figures()).to_dict("records")
    chance.shuffle(named)
    shuffled = judge(
        ads(*(ad for ad, _ in named)), pages(*(page for _, page in named)), figures()
    ).to_dict("records")
    assert [row["ad_id"] for row in shuffled] == [ad["ad_id"] for ad, _ in named]
    assert sorted(shuffled, key=lambda row: row["ad_id"]) == straight
    alone = judge(ads(named[0][0]), all_pages, figures()).to_dict("records")
    assert alone == shuffled[:1]


def test_rows_as_the_database_gives_them_are_judged() -> None:
    stored = pages(PAGE).astype(
        {"title": "str", "language": "str", "status_code": "Int64", "redirect_count": "Int64"}
    )
    stored.loc[0, ["language", "redirect_count"]] = None
    named = ads({**AD, "ad_name": None}).astype({"title": "str", "ad_name": "str"})
    (row,) = judge(named, stored, figures()).to_dict("records")
    assert row["total"] == judged()["total"]
    assert row["ad_name"] is None


def test_a_missing_column_is_named() -> None:
    with pytest.raises(ValueError, match="the frame of ads lacks the columns title"):
        judge(ads(AD).drop(columns="title"), pages(PAGE), figures())
    with pytest.raises(ValueError, match="the frame of pages lacks the columns state"):
        judge(ads(AD), pages(PAGE).drop(columns="state"), figures())
    with pytest.raises(ValueError, match="the frame of figures lacks the columns purchases"):
        judge(ads(AD), pages(PAGE), figures().drop(columns="purchases"))


def test_a_text_where_a_list_belongs_is_a_mistake() -> None:
    with pytest.raises(TypeError, match="a list of texts was expected"):
        judged({"titles": "20% off"})

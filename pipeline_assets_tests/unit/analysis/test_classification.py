import json
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_assets.analysis.classification import (
    CLASSIFIER,
    CLASSIFIER_VERSION,
    INPUT_COLUMNS,
    OUTPUT_COLUMNS,
    classify_ads,
    content_hashes,
)
from pipeline_assets.analysis.phrases import PhraseIndex, name_tokens, text_tokens
from pipeline_assets.analysis.rules import RULES_PATH, read_phrases
from pipeline_assets.analysis.taxonomy import DIMENSIONS, TAXONOMY_VERSION
from pipeline_assets.schemas import AD_CLASSIFICATIONS, META_AD_CREATIVES

LABELLED_ADS = Path(__file__).parents[3] / "benchmarks/classification/labelled_ads.jsonl"
TEXT_DIMENSIONS = list(DIMENSIONS)[3:]


def frame(*ads: dict[str, Any]) -> pd.DataFrame:
    rows = [
        dict.fromkeys(INPUT_COLUMNS) | {"creative_id": f"c{number}", "ad_account_id": "act_1"} | ad
        for number, ad in enumerate(ads)
    ]
    return pd.DataFrame(rows, columns=list(INPUT_COLUMNS))


def tags_of(**ad: Any) -> dict[str, dict[str, Any]]:
    tags: dict[str, dict[str, Any]] = classify_ads(frame(ad))["tags"].iloc[0]
    return tags


def hash_of(**ad: Any) -> str:
    return str(content_hashes(frame(ad)).loc["c0"])


# ------------------------------------------------------------------- a sentence per rule family


@pytest.mark.parametrize(
    ("dimension", "value", "ad"),
    [
        ("hook_type", "problem", {"body": "Fed up with shin splints? So was our whole club."}),
        ("hook_type", "question", {"body": "What would you cook with an extra hour?"}),
        ("hook_type", "bold_claim", {"body": "The softest blanket in the world. Period."}),
        ("hook_type", "curiosity", {"body": "Here's why bakers never throw away the crust."}),
        ("hook_type", "social_proof", {"body": "Loved by 30,000 cyclists across Europe."}),
        ("hook_type", "offer", {"body": "Get 30% off every rug with code RUG30."}),
        ("hook_type", "how_to", {"body": "How to pack for ten days in one small bag."}),
        ("hook_type", "story", {"body": "I quit my job on a Tuesday and bought a van."}),
        ("hook_type", "comparison", {"body": "Linen vs. cotton: which one keeps you cool?"}),
        ("hook_type", "negative", {"body": "Stop buying plants from the supermarket."}),
        ("hook_type", "news", {"body": "Introducing the Tern, our lightest tent yet."}),
        ("hook_type", "direct_address", {"body": "Cat owners, this one is for you."}),
        ("hook_type", "statistic", {"body": "1 in 3 adults sleeps less than six hours."}),
        ("hook_type", "urgency", {"body": "Last chance. Registration closes on Friday."}),
        ("messaging_angle", "pain", {"body": "Tired of a kitchen that never stays clean?"}),
        ("messaging_angle", "proof", {"body": "Rated 4.8 by our customers. 900 reviews."}),
        ("messaging_angle", "value", {"body": "Half price this week, so you save $40."}),
        ("messaging_angle", "novelty", {"body": "Introducing the all-new Tern. Now available."}),
        ("messaging_angle", "objection", {"body": "Cancel anytime. No contract, full refund."}),
        ("awareness_stage", "problem_aware", {"body": "Struggling with noisy neighbours?"}),
        ("awareness_stage", "solution_aware", {"body": "How to compare: a heat pump vs. gas."}),
        ("awareness_stage", "product_aware", {"body": "Meet the Tern. Rated 5 stars."}),
        ("awareness_stage", "most_aware", {"body": "Your cart is waiting. 10% off with BACK10"}),
        ("emotion", "fear", {"body": "Hackers love old routers. Are you at risk of fraud?"}),
        ("emotion", "frustration", {"body": "Sick of hold music? So annoying."}),
        ("emotion", "trust", {"body": "Clinically proven, certified, independently tested."}),
        ("emotion", "fomo", {"body": "Only 4 left. Ends tonight."}),
        ("emotion", "relief", {"body": "Relax. Peace of mind, effortless, hassle-free."}),
        ("emotion", "belonging", {"body": "Join our community. You're not alone."}),
        ("offer_type", "discount", {"title": "15% off", "body": "Use code TENT15"}),
        ("offer_type", "bundle", {"body": "Buy 2 get 1 on all socks"}),
        ("offer_type", "free_shipping", {"body": "Free shipping on every order"}),
        ("offer_type", "free_trial", {"body": "Start your 30-day free trial"}),
        ("offer_type", "free_gift", {"body": "A free gift with every kettle"}),
        ("offer_type", "lead_magnet", {"body": "Download our free guide to heat pumps"}),
        ("offer_type", "guarantee", {"body": "60-day money-back guarantee"}),
        ("offer_type", "financing", {"body": "Buy now, pay later with Klarna"}),
        ("offer_type", "giveaway", {"body": "Enter to win a trip to Oslo"}),
        ("offer_type", "reward", {"body": "Refer a friend and earn $30"}),
        ("offer_type", "none", {"body": "The kettle that your kitchen was made for."}),
        ("funnel_stage", "top", {"body": "Struggling with dry skin? Nobody tells you why."}),
        ("funnel_stage", "middle", {"body": "Trusted by 900 bakers. Read the reviews."}),
        ("funnel_stage", "bottom", {"body": "Final hours: 25% off. Ends tonight."}),
        ("funnel_stage", "bottom", {"ad_name": "BOF_dpa_2"}),
        ("cta", "contact", {"call_to_action_type": "WHATSAPP_MESSAGE"}),
        ("cta", "book", {"call_to_action_type": "BOOK_NOW"}),
        ("cta", "download", {"destination_url": "https://apps.apple.com/app/id1?utm_source=fb"}),
        ("cta", "donate", {"body": "Please donate today"}),
        ("asset_type", "ugc", {"ad_name": "UGC_v2"}),
        ("asset_type", "founder", {"ad_name": "2026-03 | Founder story"}),
        ("asset_type", "testimonial", {"ad_name": "testimonial-anna-9x16"}),
        ("visual_format", "us_vs_them", {"ad_name": "UsVsThem_static_v1"}),
        ("visual_format", "us_vs_them", {"ad_name": "USvsTHEM"}),
        ("visual_format", "unboxing", {"ad_name": "UnboxingReel3", "media_type": "video"}),
        ("visual_format", "carousel_cards", {"ad_name": "Carousel", "media_type": "carousel"}),
        ("visual_format", "single_image", {"media_type": "image"}),
        ("media_type", "video", {"object_type": "VIDEO"}),
        ("media_type", "video", {"video_ids": ["1"]}),
        ("media_type", "carousel", {"media_type": "carousel", "object_type": "SHARE"}),
    ],
)
def test_a_plain_case_of_each_rule_is_recognised(
    dimension: str, value: str, ad: dict[str, Any]
) -> None:
    tag = tags_of(**ad)[dimension]
    assert (tag["value"], bool(tag["evidence"])) == (value, True)


def test_a_button_decides_what_is_asked_for_and_says_so() -> None:
    assert tags_of(call_to_action_type="SHOP_NOW")["cta"] == {
        "value": "shop",
        "confidence": 0.95,
        "evidence": ["call_to_action_type: SHOP_NOW"],
    }


def test_an_offer_that_the_ad_denies_is_no_offer() -> None:
    assert tags_of(body="There is no sale here, and no discount for you.")["offer_type"] == {
        "value": "none",
        "confidence": 0.9,
        "evidence": ["body"],
    }


def test_a_question_that_names_a_pain_is_a_problem_not_a_question() -> None:
    assert tags_of(body="Tired of tangled cables?")["hook_type"]["value"] == "problem"


def test_only_the_first_words_can_be_the_hook() -> None:
    body = "The Tern folds into a bag of two kilos. "
    assert tags_of(body=body + "Tired of heavy tents?")["hook_type"]["value"] == "unknown"


def test_a_first_sentence_of_few_words_opens_together_with_the_next() -> None:
    assert tags_of(body="Heavy? Slow? Tired of old tents?")["hook_type"]["value"] == "problem"


def test_evidence_quotes_the_words_letter_by_letter() -> None:
    body = "We’re back: FREE  Shipping, for you."
    assert tags_of(body=body)["offer_type"]["evidence"] == ["body: FREE  Shipping"]


def test_rival_evidence_lowers_the_confidence() -> None:
    alone = tags_of(body="Free shipping for all orders")["offer_type"]
    rivalled = tags_of(body="Free shipping for all orders, and a money-back guarantee")
    assert alone["confidence"] == 0.8
    assert rivalled["offer_type"]["confidence"] < alone["confidence"]


def test_the_same_words_in_every_variant_are_no_further_evidence() -> None:
    once = tags_of(body="Free shipping")["offer_type"]
    many = tags_of(body="Free shipping", bodies=["Free shipping", "FREE SHIPPING!"], title="Free")
    assert many["offer_type"]["confidence"] == once["confidence"]


# ----------------------------------------------------------------- what cannot be read, unknown


@pytest.mark.parametrize(
    "body",
    [
        None,
        "",
        "   ",
        "✨✨✨",
        "👀",
        "{{product.name}}",
        "Tern 2",
        "مرحبا بكم",
        "Ⅷ ﷽ \u202e\u0000",
        "テント",
    ],
)
def test_without_evidence_every_tag_of_the_text_is_unknown_with_confidence_0(
    body: str | None,
) -> None:
    tags = tags_of(body=body)
    assert {tags[name]["value"] for name in TEXT_DIMENSIONS} == {"unknown"}
    assert {tags[name]["confidence"] for name in TEXT_DIMENSIONS} == {0.0}


@pytest.mark.parametrize(
    ("body", "offer_type"),
    [
        ("Nur heute: 20 % Rabatt auf alles", "discount"),
        ("Envío gratis en todos los pedidos", "free_shipping"),
        ("خصم ٣٠٪ على جميع المنتجات", "discount"),
        ("初回限定50%OFF", "discount"),
        ("Wir backen jeden Morgen frisches Brot.", "unknown"),
    ],
)
def test_other_languages_are_read_where_the_rules_know_them_and_left_alone_where_not(
    body: str, offer_type: str
) -> None:
    assert tags_of(body=body)["offer_type"]["value"] == offer_type


def test_a_text_of_10000_characters_is_read_in_milliseconds() -> None:
    texts = ["Save 50% off! " * 800, "9" * 10_000, "$1." * 4_000, "A" * 10_000, "a'" * 5_000]
    tags_of(body="The rules are loaded once.")
    started = time.perf_counter()
    for text in texts:
        tags_of(body=text, title=text, ad_name=text)
    assert time.perf_counter() - started < 2  # milliseconds each; a quadratic search takes minutes


# ----------------------------------------------------------------------------------- guarantees

any_text = (
    st.none()
    | st.text(max_size=80)
    | st.sampled_from(
        [
            "Tired of it? 50% off, $5 free gift!",
            "“I’ve lost 3 kg” – Ana ★★★★★",
            "UGC_usVsThem-BOF 9x16",
        ]
    )
)
any_ad = st.fixed_dictionaries(
    {
        "ad_name": any_text,
        "title": any_text,
        "body": any_text,
        "titles": st.none() | st.lists(any_text, max_size=2),
        "media_type": st.sampled_from([None, "", "image", "video", "reel"]),
        "object_type": st.sampled_from([None, "VIDEO", "SHARE"]),
        "call_to_action_type": st.sampled_from([None, "SHOP_NOW", "LEARN_MORE", "NEW_BUTTON"]),
        "destination_url": st.sampled_from([None, "https://wa.me/1", "http://[", "fb.me/x"]),
        "video_ids": st.sampled_from([None, [], ["1"]]),
        "image_hashes": st.sampled_from([None, [], ["h"]]),
    }
)


@given(any_ad)
@settings(max_examples=150, deadline=None)
def test_whatever_the_ad_says_values_confidences_and_evidence_keep_their_promises(
    ad: dict[str, Any],
) -> None:
    row = classify_ads(frame(ad)).iloc[0]
    for dimension, vocabulary in DIMENSIONS.items():
        tag = row["tags"][dimension]
        assert tag["value"] in set(vocabulary)
        assert tag["value"] == row[dimension]
        assert 0 <= tag["confidence"] <= 1
        assert bool(tag["evidence"]) == (tag["value"] != "unknown") == (tag["confidence"] > 0)
        for quote in tag["evidence"]:
            assert_is_in_the_ad(quote, ad)


def assert_is_in_the_ad(quote: str, ad: dict[str, Any]) -> None:
    name, _, words = quote.partition(": ")
    texts = [ad[name], *(ad.get("titles") or [])] if name == "title" else [ad[name]]
    assert any(texts), f"{quote!r} names a field that says nothing"
    assert any(words in str(text) for text in texts)


@given(any_ad)
@settings(max_examples=30, deadline=None)
def test_the_same_ad_gives_the_same_tags_alone_and_among_others(ad: dict[str, Any]) -> None:
    others = [{"body": "Last chance: 50% off"}, ad, {"ad_name": "UGC", "title": "How to sleep"}]
    alone, among = classify_ads(frame(ad)).iloc[0], classify_ads(frame(*others)).iloc[1]
    assert alone["tags"] == among["tags"]
    assert alone["content_hash"] == among["content_hash"]


def test_rows_carry_the_versions_and_all_columns_that_the_table_needs_of_them() -> None:
    row = classify_ads(frame({"body": "Hello"})).iloc[0]
    assert (row["classifier"], row["classifier_version"], row["taxonomy_version"]) == (
        CLASSIFIER,
        CLASSIFIER_VERSION,
        TAXONOMY_VERSION,
    )
    added_by_the_caller = {"brand_id", "classified_at", "fallback_reason", "fetched_at"}
    assert {*OUTPUT_COLUMNS} == {*AD_CLASSIFICATIONS.column_names} - added_by_the_caller
    assert {*INPUT_COLUMNS} <= {*META_AD_CREATIVES.column_names}
    assert json.loads(json.dumps(row["tags"])) == row["tags"]


def test_an_empty_frame_gives_an_empty_frame_with_all_columns() -> None:
    empty = frame()
    assert list(classify_ads(empty).columns) == list(OUTPUT_COLUMNS)
    assert classify_ads(empty).empty
    assert content_hashes(empty).empty


def test_a_missing_column_is_named() -> None:
    with pytest.raises(ValueError, match="lacks the columns body, video_ids"):
        classify_ads(frame().drop(columns=["body", "video_ids"]))


def test_a_text_where_a_list_belongs_is_refused_not_read_letter_by_letter() -> None:
    with pytest.raises(TypeError, match="a list of texts was expected"):
        classify_ads(frame({"titles": '["50% off"]'}))


def test_ads_that_share_a_creative_become_one_row_and_ads_without_one_none() -> None:
    ads = frame(
        {"creative_id": "c1", "ad_name": "b_UGC", "body": "Hello"},
        {"creative_id": None, "ad_name": "boosted post"},
        {"creative_id": "c1", "ad_name": "a_BOF", "body": "Hello"},
    )
    classified = classify_ads(ads)
    assert list(classified["creative_id"]) == ["c1"]
    assert classified.iloc[0]["asset_type"] == "ugc"
    assert classified.iloc[0]["funnel_stage"] == "bottom"
    assert content_hashes(ads).equals(content_hashes(ads.iloc[::-1]))


# ----------------------------------------------------------------------------------------- hash

READ: dict[str, tuple[Any, Any]] = {
    "ad_name": ("a", "b"),
    "object_type": ("SHARE", "VIDEO"),
    "media_type": ("image", "video"),
    "title": ("a", "b"),
    "body": ("a", "b"),
    "titles": (["a"], ["a", "b"]),
    "bodies": (["a"], ["b"]),
    "call_to_action_type": ("SHOP_NOW", "LEARN_MORE"),
    "destination_url": ("https://a.example/", "https://wa.me/1"),
    "video_ids": ([], ["1"]),
    "image_hashes": (None, ["h"]),
}


@pytest.mark.parametrize("column", READ)
def test_the_hash_changes_with_every_column_that_is_read(column: str) -> None:
    before, after = READ[column]
    assert hash_of(**{column: before}) != hash_of(**{column: after})
    assert hash_of(**{column: before}) == hash_of(**{column: before})


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"ad_account_id": "act_1"}, {"ad_account_id": "act_2"}),
        (
            {"destination_url": "https://a.example/x?utm_id=1"},
            {"destination_url": "https://a.example/y"},
        ),
        ({"video_ids": ["1"]}, {"video_ids": ["2"]}),
        ({"title": None}, {"title": float("nan")}),
        ({"title": "a", "titles": ["a"]}, {"title": "a", "titles": None}),
        ({"body": "a" * 3_000 + "b"}, {"body": "a" * 3_000 + "c"}),
    ],
)
def test_the_hash_stays_when_nothing_that_is_read_changes(
    before: dict[str, Any], after: dict[str, Any]
) -> None:
    assert hash_of(**before) == hash_of(**after)


def test_the_hash_is_the_one_that_classification_writes() -> None:
    ads = frame({"body": "Hello"}, {"body": "World"})
    assert list(content_hashes(ads)) == list(classify_ads(ads)["content_hash"])
    assert content_hashes(ads).str.fullmatch("[0-9a-f]{64}").all()


# ------------------------------------------------------------------------ rules and benchmark


def all_phrases() -> list[tuple[str, bool]]:
    """Every phrase of rules.yaml, with whether it is one for ad names."""
    document = yaml.safe_load(RULES_PATH.read_text(encoding="utf-8"))
    sections = {**document["text"], "opening": document["opening"]}
    in_texts = read_phrases(document["text"]) + read_phrases({"hook_type": sections["opening"]})
    in_names = read_phrases(document["ad_name"])
    return [(phrase, False) for phrase, _ in in_texts] + [(phrase, True) for phrase, _ in in_names]


def test_every_phrase_of_the_rules_finds_itself() -> None:
    examples = {"#": "7", "%": "7%", "$": "$7", "*": "word", "^": ""}
    lost = []
    for phrase, is_name in all_phrases():
        text = " ".join(examples.get(word, word.split("/")[0]) for word in phrase.split())
        tokens = name_tokens(text) if is_name else text_tokens(text.strip())
        if not any(PhraseIndex([(phrase, True)]).find(tokens)):
            lost.append(phrase)
    assert lost == []


def test_the_benchmark_has_enough_ads_with_unique_ids_and_labels_of_the_vocabularies() -> None:
    ads = [json.loads(line) for line in LABELLED_ADS.read_text(encoding="utf-8").splitlines()]
    assert len(ads) >= 180
    assert len({ad["id"] for ad in ads}) == len(ads)
    for ad in ads:
        assert ad["title"] or ad["body"], ad["id"]
        for dimension, label in ad["labels"].items():
            assert label in set(DIMENSIONS[dimension]), (ad["id"], dimension)
    for dimension in TEXT_DIMENSIONS:
        assert sum(dimension in ad["labels"] for ad in ads) >= 150

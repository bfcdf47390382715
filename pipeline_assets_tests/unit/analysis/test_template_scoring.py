"""What the rules say of templates, and what becomes of copies when people decide."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_assets.analysis.template_scoring import (
    Judgement,
    State,
    Thresholds,
    find_policy_words,
    judge_templates,
    settle,
)
from pipeline_assets.schemas import TEMPLATES_SCRAPED

TODAY = date(2026, 11, 22)
SEEN = datetime(2026, 11, 22, 6, tzinfo=UTC)
USUAL = Thresholds(approve_from=70, reject_below=30)

Row = dict[str, Any]


def template(name: str = "t", **fields: Any) -> Row:
    """One from an actor that ran for 90 days and still does, complete, with its EU reach."""
    row: Row = dict.fromkeys(TEMPLATES_SCRAPED.column_names)
    row |= {
        "library_ad_id": name,
        "source": "apify/facebook-ads-scraper",
        "title": "Soft shoes",
        "body": "Made for long walks.",
        "titles": ["Soft shoes"],
        "bodies": ["Made for long walks."],
        "image_urls": ["https://cdn.example/1.png"],
        "video_urls": [],
        "started_on": date(2026, 8, 24),
        "is_active": True,
        "days_running": 90,
        "eu_reach": 1_000_000,
        "content_hash": f"hash of {name}",
        "first_seen_at": SEEN,
        "last_seen_at": SEEN,
    }
    return row | fields


def judge(*rows: Row, thresholds: Thresholds = USUAL) -> dict[str, Judgement]:
    judgements = judge_templates(rows, thresholds=thresholds, today=TODAY)
    return {each.template_id: each for each in judgements}


def only(row: Row, thresholds: Thresholds = USUAL) -> Judgement:
    return judge(row, thresholds=thresholds)[row["library_ad_id"]]


def points(judgement: Judgement) -> Mapping[str, tuple[float, float]]:
    return {part.name: (part.points, part.most) for part in judgement.parts}


def test_a_worked_example() -> None:
    """A proven ad has all points but those for copies: 85 of 100."""
    judged = only(template())
    assert points(judged) == {
        "days_running": (30, 30),
        "still_active": (15, 15),
        "copies": (0, 15),
        "eu_reach": (15, 15),
        "complete": (15, 15),
        "recent": (10, 10),
    }
    assert (judged.score, judged.state) == (85, State.APPROVED)
    assert judged.reasons == (
        "Its score is 85, at least 70: it ran for 90 days, it is still running.",
    )


def test_what_is_not_known_counts_neither_for_nor_against() -> None:
    judged = only(template(eu_reach=None))
    assert points(judged)["eu_reach"] == (0, 0)
    assert judged.score == pytest.approx(100 * 70 / 85, abs=0.05)


def test_one_whose_days_nobody_knows_is_never_approved_without_a_person() -> None:
    judged = only(template(days_running=None), Thresholds(approve_from=0, reject_below=0))
    assert judged.state is State.PENDING
    assert judged.reasons == ("Its score is 78.6, but how long it ran is not known.",)


@pytest.mark.parametrize(
    ("fields", "name", "expected"),
    [
        ({"days_running": 0}, "days_running", 0),
        ({"days_running": 9}, "days_running", 15.3),
        ({"days_running": 900}, "days_running", 30),
        ({"is_active": False, "stopped_on": TODAY}, "still_active", 0),
        ({"eu_reach": 1_000}, "eu_reach", 0),
        ({"eu_reach": 10_000}, "eu_reach", 5),
        ({"eu_reach": 0}, "eu_reach", 0),
        ({"eu_reach": 50_000_000}, "eu_reach", 15),
        ({"title": None}, "complete", 10),
        ({"title": None, "body": None, "image_urls": []}, "complete", 0),
        ({"title": None, "image_urls": [], "source": "ad_library"}, "complete", 7.5),
        ({"is_active": False, "stopped_on": TODAY - timedelta(days=30)}, "recent", 10),
        ({"is_active": False, "stopped_on": TODAY - timedelta(days=31)}, "recent", 10),
        ({"is_active": False, "stopped_on": TODAY - timedelta(days=198)}, "recent", 5),
        ({"is_active": False, "stopped_on": TODAY - timedelta(days=365)}, "recent", 0),
        ({"is_active": False}, "recent", 10),
    ],
)
def test_each_sign_has_its_points(fields: Row, name: str, expected: float) -> None:
    assert points(only(template(**fields)))[name][0] == pytest.approx(expected, abs=0.05)


def test_copies_that_run_at_once_speak_for_the_first_and_the_others_are_copies() -> None:
    same = {"content_hash": "same"}
    judged = judge(
        template("b", **same, started_on=date(2026, 3, 1)),
        template("a", **same, started_on=date(2026, 2, 1)),
        template("c", **same, started_on=date(2026, 4, 1)),
        template("gone", **same, started_on=None, is_active=False, stopped_on=TODAY),
    )
    assert {name: each.duplicate_of for name, each in judged.items()} == {
        "a": None, "b": "a", "c": "a", "gone": "a",
    }  # fmt: skip
    assert points(judged["a"])["copies"] == (10, 15)
    assert points(judged["gone"])["copies"] == (15, 15)


@pytest.mark.parametrize(
    ("approve_from", "reject_below", "state"),
    [
        (85, 30, State.APPROVED),
        (85.1, 30, State.PENDING),
        (90, 85, State.PENDING),
        (90, 85.1, State.REJECTED),
    ],
)
def test_a_brands_thresholds_decide(approve_from: float, reject_below: float, state: State) -> None:
    thresholds = Thresholds(approve_from=approve_from, reject_below=reject_below)
    assert only(template(), thresholds).state is state


def test_words_that_policies_forbid_leave_it_to_a_person() -> None:
    judged = only(template(bodies=["Earn $5,000 a week from home!"]))
    assert judged.state is State.PENDING
    assert judged.policy_words == ("Earn $5,000 a week",)
    assert judged.reasons == (
        "Its score is 85, but policies may forbid what it says.",
        "“Earn $5,000 a week”: it promises income or quick money.",
    )
    weak = only(
        template(bodies=["Guaranteed income"]), Thresholds(approve_from=90, reject_below=90)
    )
    assert weak.state is State.REJECTED


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (
            "Are you overweight? Do you have diabetes?",
            ["Are you overweight", "Do you have diabetes"],
        ),
        ("See the before-and-after pictures", ["before-and-after"]),
        ("Lose 10 kg in a month", ["Lose 10 kg"]),
        ("Vorher/Nachher: in 2 Wochen 5 kg abnehmen", ["Vorher/Nachher", "5 kg abnehmen"]),
        ("It CURES cancer", ["CURES"]),
        ("Garantiertes Einkommen für alle", ["Garantiertes Einkommen"]),
        ("Souffrez-vous de migraines ?", ["Souffrez-vous de"]),
        ("𝐏𝐚𝐬𝐬𝐢𝐯𝐞 𝐢𝐧𝐜𝐨𝐦𝐞 now", ["Passive income"]),
        ("They don’t want you to know", ["They don’t want you to know"]),
        ("Best online casino", ["online casino"]),
        # What is no such claim:
        ("Secure checkout, manicure set, procures", []),
        ("Your income tax, done in an hour", []),
        ("Ask us before you buy, and after", []),
        ("Meet the team; earn points on each order", []),
        ("Gain 10 kg of storage", []),
        ("", []),
    ],
)
def test_forbidden_claims_are_found_as_they_stand_there(text: str, found: list[str]) -> None:
    assert [word for word, _ in find_policy_words([text], ())] == found


def test_a_brands_own_words_are_whole_words_whatever_their_case_and_signs() -> None:
    text = "Try C++ & the #1 Rival, rivalry aside: STRASSE"
    own = ("rival", "c++", "#1", "straße", "try c")
    assert [word for word, _ in find_policy_words([text], own)] == [
        "rival",
        "c++",
        "#1",
        "straße",
        "try c",
    ]
    assert find_policy_words(["rivalry, arrival"], ("rival",)) == []


def test_a_word_that_comes_twice_is_told_once() -> None:
    texts = ["Miracle cure", "miracle CURE"]
    assert [word for word, _ in find_policy_words(texts, ())] == ["Miracle cure"]


# ---- copies, when people have decided


def two_of_a_kind(**fields: Any) -> list[Judgement]:
    older = template("old", content_hash="same", **fields)
    newer = template("new", content_hash="same", started_on=TODAY, **fields)
    return list(judge(older, newer).values())


@pytest.mark.parametrize(
    ("fields", "decided", "state", "said"),
    [
        ({}, {}, State.REJECTED, "It is a copy of old, which is approved already."),
        ({"days_running": None}, {}, State.PENDING, "which waits for a person"),
        ({"days_running": None}, {"old": "approved"}, State.REJECTED, "which is approved already"),
        ({}, {"old": "rejected"}, State.REJECTED, "which is rejected already"),
    ],
)
def test_a_copy_shares_the_fate_of_what_it_copies(
    fields: Row, decided: dict[str, str], state: State, said: str
) -> None:
    old, new = settle(two_of_a_kind(**fields), decided)
    assert old.duplicate_of is None
    assert new.state is state
    assert said in new.reasons[0]


signs = st.fixed_dictionaries(
    {
        "days_running": st.none() | st.integers(0, 10_000),
        "is_active": st.booleans(),
        "eu_reach": st.none() | st.integers(0, 10**10),
        "title": st.none() | st.text(),
        "body": st.none() | st.text(),
        "bodies": st.lists(st.text()),
        "image_urls": st.lists(st.just("https://x.example/1.png"), max_size=1),
        "source": st.sampled_from(["ad_library", "some/actor"]),
        "stopped_on": st.none() | st.dates(date(2015, 1, 1), date(2030, 1, 1)),
        "started_on": st.none() | st.dates(date(2015, 1, 1), date(2030, 1, 1)),
        "content_hash": st.sampled_from(["a", "b", "c"]),
    }
)


@given(st.lists(signs, min_size=1, max_size=8))
def test_whatever_comes_the_score_is_in_its_range_and_says_why(found: list[Row]) -> None:
    rows = [template(f"t{number}", **fields) for number, fields in enumerate(found)]
    judgements = settle(judge_templates(rows, thresholds=USUAL, today=TODAY), {})
    assert [each.template_id for each in judgements] == [row["library_ad_id"] for row in rows]
    for each in judgements:
        assert 0 <= each.score <= 100
        assert each.reasons
        assert all(0 <= part.points <= part.most for part in each.parts)
    by_id = {each.template_id: each for each in judgements}
    for each in judgements:
        if each.duplicate_of is not None:
            assert by_id[each.duplicate_of].duplicate_of is None
            assert each.state is not State.APPROVED


@given(st.integers(0, 400), st.integers(0, 400))
def test_who_lets_an_ad_run_longer_never_gets_fewer_points(one: int, other: int) -> None:
    shorter, longer = sorted((one, other))
    assert only(template(days_running=shorter)).score <= only(template(days_running=longer)).score


@given(st.permutations([template(f"t{n}", content_hash=f"h{n % 3}") for n in range(6)]))
def test_the_order_of_rows_does_not_matter(rows: list[Row]) -> None:
    usual = judge(*sorted(rows, key=lambda row: row["library_ad_id"]))
    assert judge(*rows) == usual

"""The answer for a page to the instant, and every line of a banner word by word."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pipeline_assets.freshness.pages import Need, Page
from pipeline_assets.freshness.readiness import (
    MAX_NAMED_BRANDS,
    Activity,
    BannerLine,
    Facts,
    Pause,
    Readiness,
    banner_lines,
    judge_brands,
    judge_page,
)

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
DAY = timedelta(hours=24)
INSTANT = timedelta(microseconds=1)
PERFORMANCE, CREATIVES, THUMBNAILS = "meta_ads_performance", "meta_ad_creatives", "ad_thumbnails"
PAGE = Page(
    name="ad_performance",
    title="Ad performance",
    needs=(
        Need(dataset=PERFORMANCE, withhold=True),
        Need(dataset=CREATIVES),
        Need(dataset=THUMBNAILS),
    ),
)
RESYNC = "Sync it now with `pipeline-assets sync acme meta_sync`."


def facts(age: timedelta | None = timedelta(minutes=5), **more: Any) -> Facts:
    values = {"allowed_age": DAY, "is_configured": True}
    return Facts(**(values | {"last_success_at": None if age is None else NOW - age} | more))


def failed(age: timedelta | None, message: str = "The token has expired.", **more: Any) -> Facts:
    told = {"error_class": "CredentialError", "error_message": message}
    return facts(age, failed_at=NOW - timedelta(hours=2), **(told | more))


def judge(
    performance: Facts | None = None,
    creatives: Facts | None = None,
    thumbnails: Facts | None = None,
    *,
    brand_id: str = "acme",
    pause: Pause | None = None,
) -> Readiness:
    seen = {
        PERFORMANCE: performance or facts(),
        CREATIVES: creatives or facts(),
        THUMBNAILS: thumbnails or facts(),
    }
    return judge_page(PAGE, seen, brand_id=brand_id, pause=pause, now=NOW)


def told(readiness: Readiness) -> list[tuple[str, str]]:
    return [(line.kind.value, line.text) for line in readiness.lines]


def answer(**of: Facts) -> str:
    return judge(**of).answer.value


# The answer


def test_a_page_whose_datasets_are_all_fresh_is_ready() -> None:
    assert answer() == "ready"


def test_what_the_page_is_about_is_withheld_from_the_instant_it_is_too_old() -> None:
    assert answer(performance=facts(DAY - INSTANT)) == "ready"
    assert answer(performance=facts(DAY)) == "withhold"
    assert answer(performance=facts(DAY + INSTANT)) == "withhold"


def test_the_rest_of_a_page_that_is_too_old_degrades_it() -> None:
    assert answer(thumbnails=facts(DAY - INSTANT)) == "ready"
    assert answer(thumbnails=facts(DAY)) == "degraded"
    assert answer(thumbnails=facts(DAY * 11)) == "degraded"


def test_data_that_ages_is_ready_and_said() -> None:
    ready = judge(performance=facts(DAY * 0.8))
    assert (ready.answer, ready.datasets[0].state) == ("ready", "warn")
    assert told(ready)[0][0] == "warning"


def test_data_whose_refresh_failed_is_used_until_it_is_too_old() -> None:
    assert answer(performance=failed(DAY * 0.8 - INSTANT)) == "ready"
    assert answer(performance=failed(DAY * 0.8)) == "degraded"
    assert answer(performance=failed(DAY - INSTANT)) == "degraded"
    assert answer(performance=failed(DAY)) == "withhold"
    assert answer(thumbnails=failed(DAY * 5)) == "degraded"


@pytest.mark.parametrize(
    "missing", [facts(None), failed(None), facts(is_configured=False)], ids=["never", "fails", "no"]
)
def test_what_is_missing_withholds_or_degrades_as_the_page_needs_it(missing: Facts) -> None:
    assert answer(performance=missing) == "withhold"
    assert answer(creatives=missing) == "degraded"


def test_data_that_never_gets_too_old_is_always_usable() -> None:
    assert answer(performance=facts(DAY * 400, allowed_age=None)) == "ready"


def test_neither_a_pause_nor_a_refresh_makes_data_younger() -> None:
    running = {"activity": Activity.RUNNING, "activity_since": NOW}
    assert answer(performance=facts(DAY, **running)) == "withhold"
    pause = Pause(at=NOW - DAY)
    assert judge(facts(DAY), pause=pause).answer == "withhold"
    assert judge(pause=pause).answer == "ready"


def test_a_page_may_ask_for_younger_data_through_the_age_that_it_allows() -> None:
    page = Page(name="mine", title="Mine", needs=(Need(dataset=PERFORMANCE),), action="Ask Ann.")
    seen = {PERFORMANCE: facts(timedelta(hours=6), allowed_age=timedelta(hours=6))}
    readiness = judge_page(page, seen, brand_id="acme", now=NOW)
    assert readiness.answer == "degraded"
    assert told(readiness) == [
        ("warning", "Ad performance: last synced 6 h ago, allowed age 6 h. Ask Ann.")
    ]


# The banner


def test_all_fresh_is_one_green_line() -> None:
    assert told(judge()) == [("ok", "Data fresh: Ad performance synced 5 min ago")]


def test_the_green_line_names_the_oldest_when_it_is_older_by_what_one_can_see() -> None:
    older = judge(thumbnails=facts(timedelta(hours=3)))
    assert told(older) == [
        ("ok", "Data fresh: Ad performance synced 5 min ago; the oldest, Thumbnails, 3 h ago")
    ]
    younger = judge(performance=facts(timedelta(hours=3)))
    assert told(younger) == [("ok", "Data fresh: Ad performance synced 3 h ago")]


def test_ages_are_told_in_minutes_at_the_finest() -> None:
    def words(**age: float) -> str:
        old = facts(timedelta(**age))
        return told(judge(old, old, old))[0][1].removeprefix("Data fresh: Ad performance synced ")

    assert [words(seconds=-5), words(seconds=0), words(seconds=89)] == ["just now"] * 3
    assert (words(seconds=90), words(minutes=89)) == ("2 min ago", "89 min ago")
    assert (words(minutes=90), words(hours=19)) == ("2 h ago", "19 h ago")


def test_mixed_tells_the_problems_first_and_the_fresh_as_information() -> None:
    mixed = judge(creatives=facts(DAY * 3), thumbnails=facts(DAY * 0.9))
    assert told(mixed) == [
        ("warning", f"Ads and creatives: last synced 3 d ago, allowed age 24 h. {RESYNC}"),
        ("warning", f"Thumbnails: last synced 22 h ago, too old in 2 h. {RESYNC}"),
        ("info", "Fresh: Ad performance 5 min ago."),
    ]


def test_a_failure_is_told_with_its_message_and_the_data_that_is_shown() -> None:
    fail = failed(
        timedelta(hours=3), "Meta says:\n  token \x00 expired.", advice="Write a new one."
    )
    assert told(judge(thumbnails=fail)) == [
        (
            "warning",
            (
                "Thumbnails failed 2 h ago: Meta says: token \x00 expired; "
                "showing data from 3 h ago. Write a new one."
            ),
        ),
        ("info", "Fresh: Ad performance 5 min ago, Ads and creatives 5 min ago."),
    ]


def test_what_is_withheld_says_so_and_why_first_of_all() -> None:
    worst = judge(facts(DAY * 11), failed(DAY * 2), facts(None))
    assert told(worst) == [
        (
            "error",
            f"Ad performance not shown: last synced 11 d ago, allowed age 24 h. {RESYNC}",
        ),
        (
            "warning",
            (
                "Ads and creatives failed 2 h ago: The token has expired; last synced 2 d ago, "
                f"allowed age 24 h. {RESYNC}"
            ),
        ),
        ("warning", f"Thumbnails: never synced. {RESYNC}"),
    ]


def test_never_synced_and_failing_and_not_configured_have_words_of_their_own() -> None:
    assert told(judge(failed(None)))[0] == (
        "error",
        "Ad performance not shown: failed 2 h ago: The token has expired; never synced. " + RESYNC,
    )
    assert told(judge(facts(is_configured=False)))[0] == (
        "error",
        (
            "Ad performance not shown: not configured for this brand. "
            "Add the brand's source meta with `pipeline-assets brands apply`."
        ),
    )


def test_what_is_being_refreshed_needs_no_action() -> None:
    running = {"activity": Activity.RUNNING, "activity_since": NOW - timedelta(minutes=2)}
    queued = {"activity": Activity.QUEUED, "activity_since": NOW - timedelta(seconds=89)}
    refreshed = judge(facts(None, **running), facts(DAY, **queued), failed(DAY, **running))
    assert told(refreshed) == [
        ("warning", "Ad performance not shown: never synced; being refreshed now, since 2 min."),
        (
            "warning",
            (
                "Thumbnails failed 2 h ago: The token has expired; last synced 24 h ago, "
                "allowed age 24 h; being refreshed now, since 2 min."
            ),
        ),
        (
            "info",
            "Ads and creatives: last synced 24 h ago, allowed age 24 h; queued to refresh.",
        ),
    ]
    assert [d.is_refreshing for d in refreshed.datasets] == [True] * 3
    assert [d.action for d in refreshed.datasets] == [""] * 3


def test_fresh_data_that_is_being_refreshed_is_one_line_more() -> None:
    running = {"activity": Activity.RUNNING, "activity_since": NOW - timedelta(minutes=2)}
    queued = {"activity": Activity.QUEUED, "activity_since": NOW}
    lines = told(judge(facts(**running), facts(**queued), facts(**queued)))
    assert lines == [
        ("ok", "Data fresh: Ad performance synced 5 min ago"),
        ("info", "Ad performance: being refreshed now, since 2 min."),
        ("info", "Ads and creatives, Thumbnails: queued to refresh."),
    ]


def test_a_try_to_come_is_told_in_place_of_what_to_do() -> None:
    waiting = {"activity": Activity.WAITING, "next_try_at": NOW + timedelta(minutes=12)}
    assert told(judge(thumbnails=failed(timedelta(hours=3), **waiting)))[0][1] == (
        "Thumbnails failed 2 h ago: The token has expired; showing data from 3 h ago; "
        "next try in 12 min."
    )


def test_a_paused_brand_is_paused_and_not_just_late() -> None:
    pause = Pause(at=NOW - timedelta(days=9), reason="Summer break.")
    paused = judge(facts(DAY * 11), pause=pause)
    assert told(paused)[0] == (
        "error",
        (
            "Ad performance not shown: last synced 11 d ago, allowed age 24 h; syncing is paused, "
            "since 9 d: Summer break. Resume the brand with `pipeline-assets brands resume acme`."
        ),
    )
    assert told(judge(pause=pause)) == [("ok", "Data fresh: Ad performance synced 5 min ago")]


def test_a_long_message_is_cut_in_the_banner_and_whole_in_the_answer() -> None:
    message = "<b>" + "x" * 10_000
    readiness = judge(thumbnails=failed(timedelta(hours=3), message))
    assert readiness.datasets[2].error_message == message
    assert len(told(readiness)[0][1]) < 600
    assert "<b>xxx" in told(readiness)[0][1], "whoever renders it escapes it"


def test_a_banner_may_be_worded_for_a_later_instant() -> None:
    (line,) = banner_lines(judge(), NOW + timedelta(minutes=10))
    assert line == BannerLine("ok", "Data fresh: Ad performance synced 15 min ago")


def test_the_answer_as_plain_values_is_what_programs_build_on() -> None:
    row = judge(performance=failed(timedelta(hours=3), advice="Write a new one.")).as_row()
    assert list(row) == [
        *("page", "brand", "answer", "checked_at", "paused_at", "paused_until"),
        *("datasets", "lines"),
    ]
    assert (row["page"], row["brand"], row["answer"]) == ("ad_performance", "acme", "ready")
    assert row["datasets"][0] == {
        "dataset": PERFORMANCE,
        "title": "Ad performance",
        "state": "fresh",
        "is_usable": True,
        "withholds": False,
        "last_success_at": NOW - timedelta(hours=3),
        "age_seconds": 10_800.0,
        "allowed_seconds": 86_400.0,
        "failed_at": NOW - timedelta(hours=2),
        "error_class": "CredentialError",
        "error_message": "The token has expired.",
        "advice": "Write a new one.",
        "is_refreshing": False,
        "activity": None,
        "activity_since": None,
        "next_try_at": None,
        "action": "Write a new one.",
    }
    assert type(row["datasets"][0]["state"]) is str
    assert row["lines"][1] == {
        "kind": "info",
        "text": "Fresh: Ads and creatives 5 min ago, Thumbnails 5 min ago.",
    }


# Across brands


def brands(**of: Readiness) -> list[Readiness]:
    return [replace(readiness, brand_id=name) for name, readiness in of.items()]


def test_across_brands_the_answer_is_ready_only_if_all_are() -> None:
    fresh, old = judge(), judge(facts(DAY * 2))
    missing = judge(creatives=facts(None))
    nothing = judge(*[facts(is_configured=False)] * 3)

    def of(*found: Readiness) -> tuple[str, dict[str, int]]:
        across = judge_brands(PAGE, found, now=NOW)
        return across.answer.value, dict(across.counts)

    counts = {"ready": 0, "degraded": 0, "withhold": 0, "not_configured": 0}
    assert of(fresh, fresh, nothing) == ("ready", counts | {"ready": 2, "not_configured": 1})
    assert of(fresh, old) == ("degraded", counts | {"ready": 1, "withhold": 1})
    assert of(fresh, missing) == ("degraded", counts | {"ready": 1, "degraded": 1})
    assert of(old, old) == ("withhold", counts | {"withhold": 2})
    assert of(nothing) == ("withhold", counts | {"not_configured": 1})
    assert of() == ("withhold", counts)


def test_across_brands_the_worst_are_named_first() -> None:
    found = brands(
        fine=judge(facts(timedelta(hours=4))),
        no_thumbnails=judge(thumbnails=facts(None)),
        old=judge(facts(DAY * 2)),
        older=judge(facts(DAY * 3)),
        empty=judge(facts(None)),
    )
    across = judge_brands(PAGE, found, now=NOW)
    assert [b.brand_id for b in across.brands] == ["empty", "older", "old", "no_thumbnails"]
    lines = [(line.kind.value, line.text) for line in across.lines]
    assert [kind for kind, _ in lines] == ["warning", "error", "error", "error", "warning"]
    assert lines[0][1] == "4 of 5 brands not ready."
    assert lines[1][1].startswith("empty: Ad performance not shown: never synced.")
    row = across.as_row()
    assert (row["brand"], row["answer"]) == (None, "degraded")
    assert [brand["brand"] for brand in row["brands"]] == [b.brand_id for b in across.brands]


def test_across_brands_all_fresh_is_one_green_line_with_the_oldest_of_all() -> None:
    found = brands(one=judge(), two=judge(thumbnails=facts(timedelta(hours=4))))
    (line,) = judge_brands(PAGE, found, now=NOW).lines
    assert line == BannerLine("ok", "Data fresh: 2 brands; the oldest, Thumbnails of two, 4 h ago")


def test_across_brands_a_thousand_are_counted_and_fifty_named() -> None:
    found = brands(**{f"b{number:03}": judge(facts(DAY * 2)) for number in range(1000)})
    across = judge_brands(PAGE, found, now=NOW)
    assert across.counts["withhold"] == 1000
    assert [b.brand_id for b in across.brands] == [f"b{n:03}" for n in range(MAX_NAMED_BRANDS)]
    assert across.lines[0] == BannerLine("error", "1000 of 1000 brands not ready.")
    assert across.lines[-1] == BannerLine("warning", "And 995 more.")
    assert len(across.lines) == 7


def test_across_brands_what_nobody_has_is_said() -> None:
    nobody = judge_brands(PAGE, [judge(*[facts(is_configured=False)] * 3)], now=NOW)
    assert [line.text for line in nobody.lines] == [
        "Ad performance not shown: not configured for any brand."
    ]

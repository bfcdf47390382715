"""What a page's readiness reads from the database: one query, whoever's brand, whatever is on."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from pipeline_assets.brands.registry import get_brand, pause_brand, resume_brand
from pipeline_assets.control.dagster_log import Failure, Materialization, RunState
from pipeline_assets.control.readiness import etag_of, read_readiness, read_readiness_across
from pipeline_assets.control.requests import cancel_request
from pipeline_assets.control.resyncs import start_resync
from pipeline_assets.errors import InvalidConfigError
from pipeline_assets.freshness.pages import PAGES, Need, Page
from pipeline_assets.freshness.readiness import DatasetReadiness
from pipeline_assets.storage.engine import write_transaction
from pipeline_assets.storage.tables import brands, dataset_status

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
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
DOWN = Failure("SourceUnavailableError", "Meta did not answer.", advice="Wait.")
HOUR = timedelta(hours=1)


@contextmanager
def counted_queries(engine: sa.Engine) -> Iterator[list[str]]:
    seen: list[str] = []

    def note(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        if not statement.startswith("BEGIN"):
            seen.append(statement)

    sa.event.listen(engine, "before_cursor_execute", note)
    yield seen
    sa.event.remove(engine, "before_cursor_execute", note)


def answer(loop: Any, brand_id: str = "acme", page: Page = PAGE) -> str:
    return read_readiness(loop.engine, brand_id, page, now=loop.now).answer.value


def dataset(loop: Any, key: str = PERFORMANCE, brand_id: str = "acme") -> DatasetReadiness:
    readiness = read_readiness(loop.engine, brand_id, PAGE, now=loop.now)
    return next(each for each in readiness.datasets if each.dataset == key)


def lines(loop: Any, brand_id: str = "acme") -> list[str]:
    return [line.text for line in read_readiness(loop.engine, brand_id, PAGE, now=loop.now).lines]


def synced(loop: Any, brand_id: str = "acme", **more: Any) -> None:
    loop.apply(loop.run(brand_id=brand_id, **more))


def test_a_brand_goes_from_never_through_fresh_to_withheld(loop: Any) -> None:
    assert answer(loop) == "withhold"
    assert {each.state for each in read_readiness(loop.engine, "acme", PAGE, now=NOW).datasets} == {
        "never"
    }
    synced(loop)
    loop.pass_time(minutes=5)
    assert answer(loop) == "ready"
    assert lines(loop) == ["Data fresh: Ad performance synced 5 min ago"]
    loop.pass_time(hours=24)
    assert answer(loop) == "withhold"


def test_a_failed_sync_is_told_beside_the_data_that_there_is(loop: Any) -> None:
    synced(loop)
    loop.pass_time(hours=1)
    synced(loop, state=RunState.FAILED, fails={THUMBNAILS: DOWN})
    loop.pass_time(hours=2)
    found = dataset(loop, THUMBNAILS)
    assert (found.state, found.error_class, found.advice) == ("fresh", DOWN.error_class, "Wait.")
    assert (found.last_success_at, found.failed_at) == (NOW, NOW + HOUR)
    assert lines(loop) == [
        (
            "Thumbnails failed 2 h ago: Meta did not answer; showing data from 3 h ago; "
            "queued to refresh, since 2 h."
        ),
        "Fresh: Ad performance 2 h ago, Ads and creatives 2 h ago.",
    ]


def test_a_page_of_a_brand_is_one_query(loop: Any) -> None:
    synced(loop)
    loop.wish()
    loop.wish(job="ad_classification")
    with counted_queries(loop.engine) as seen:
        readiness = read_readiness(loop.engine, "acme", PAGE, now=loop.now)
    assert len(seen) == 1
    assert [each.dataset for each in readiness.datasets] == [need.dataset for need in PAGE.needs]


def test_a_page_across_brands_is_one_query(loop: Any) -> None:
    synced(loop)
    loop.wish("globex")
    with counted_queries(loop.engine) as seen:
        across = read_readiness_across(loop.engine, PAGE, now=loop.now)
    assert len(seen) == 1
    assert dict(across.counts) == {"ready": 1, "degraded": 0, "withhold": 2, "not_configured": 1}
    assert {brand.brand_id for brand in across.brands} == {"globex", "rival"}
    assert across.answer == "degraded"


def test_a_brand_without_the_source_is_not_configured(loop: Any) -> None:
    assert answer(loop, "bare") == "withhold"
    assert dataset(loop, brand_id="bare").state == "not_configured"


def test_an_unknown_and_a_forbidden_brand_are_refused_alike(loop: Any) -> None:
    def refusal(brand_id: str, organization_ids: set[str] | None = None) -> tuple[str, str]:
        with pytest.raises(InvalidConfigError) as caught:
            read_readiness(loop.engine, brand_id, PAGE, now=NOW, organization_ids=organization_ids)
        with pytest.raises(InvalidConfigError) as usual:
            get_brand(loop.engine, brand_id, organization_ids=organization_ids)
        assert (str(caught.value), caught.value.advice) == (str(usual.value), usual.value.advice)
        return str(caught.value).replace(brand_id, "…"), caught.value.advice

    assert refusal("rival", {"default"}) == refusal("nobody", {"default"})
    assert refusal("acme", set()) == refusal("nobody", set())
    for allowed in (None, {"other"}, {"other", "default"}):
        assert (
            read_readiness(loop.engine, "rival", PAGE, now=NOW, organization_ids=allowed).brand_id
            == "rival"
        )


def test_across_brands_nobody_sees_another_organizations(loop: Any) -> None:
    def brands_of(organization_ids: set[str] | None) -> set[str]:
        across = read_readiness_across(
            loop.engine, PAGE, now=NOW, organization_ids=organization_ids
        )
        assert sum(across.counts.values()) == len(across.brands) + across.counts["not_configured"]
        return {brand.brand_id for brand in across.brands}

    assert brands_of({"other"}) == {"rival"}
    assert brands_of({"default"}) == {"acme", "globex"}
    assert brands_of(set()) == set()
    assert brands_of(None) == {"acme", "globex", "rival"}


def test_a_request_is_seen_from_the_wish_to_the_end(loop: Any) -> None:
    request = loop.wish()
    assert (dataset(loop).activity, dataset(loop).activity_since) == ("queued", NOW)
    loop.pass_time(minutes=3)
    loop.apply(loop.run(request, RunState.WAITING, run_id="r"))
    assert (dataset(loop).activity, dataset(loop).is_refreshing) == ("queued", True)
    loop.apply(loop.run(request, RunState.ACTIVE, run_id="r"))
    assert dataset(loop, CREATIVES).activity == "running"
    assert dataset(loop, CREATIVES).activity_since == loop.now - timedelta(minutes=1)
    loop.apply(loop.run(request, run_id="r"))
    assert [d.activity for d in read_readiness(loop.engine, "acme", PAGE, now=NOW).datasets] == [
        None
    ] * 3


def test_a_dataset_that_a_run_has_done_is_not_refreshed_by_it_any_more(loop: Any) -> None:
    request = loop.wish()
    running = loop.run(request, RunState.ACTIVE, run_id="r")
    running.steps["acme", PERFORMANCE].materialization = Materialization(NOW, {"records": 1})
    loop.apply(running)
    assert (dataset(loop).state, dataset(loop).activity) == ("fresh", None)
    assert dataset(loop, THUMBNAILS).activity == "running"


def test_a_retry_that_waits_is_a_try_to_come_until_it_is_due(loop: Any) -> None:
    request = loop.wish()
    loop.apply(loop.run(request, RunState.FAILED, fails={PERFORMANCE: DOWN}))
    (retry,) = loop.all(state="queued")
    found = dataset(loop)
    assert (found.activity, found.next_try_at) == ("waiting", retry.not_before)
    assert not found.is_refreshing
    loop.now = retry.not_before
    assert (dataset(loop).activity, dataset(loop).is_refreshing) == ("queued", True)
    cancel_request(loop.engine, retry.id, actor="cli:alice", now=loop.now)
    assert dataset(loop).activity is None


def test_a_request_for_other_datasets_and_another_brands_say_nothing(loop: Any) -> None:
    loop.wish(datasets=(CREATIVES,))
    loop.wish("globex")
    assert dataset(loop, CREATIVES).activity == "queued"
    assert dataset(loop, PERFORMANCE).activity is None


def test_old_days_that_are_synced_again_do_not_count_as_a_refresh(loop: Any) -> None:
    since, until = datetime(2026, 1, 5).date(), datetime(2026, 2, 1).date()  # noqa: DTZ001
    wanted = {"brand_id": "acme", "job": "meta_sync", "since": since, "until": until}
    start_resync(loop.engine, **wanted, actor="cli:alice", now=NOW)
    assert dataset(loop).activity is None


def test_the_first_of_two_waits_is_the_next_try(loop: Any) -> None:
    later = NOW + HOUR
    loop.wish(not_before=later)
    loop.wish(job="ad_classification", not_before=NOW + timedelta(minutes=5))
    page = PAGES["hook_analysis"]
    found, *_ = read_readiness(loop.engine, "acme", page, now=NOW).datasets
    assert found.next_try_at == NOW + timedelta(minutes=5)


def test_a_brands_own_window_and_a_pages_own_are_kept_to_the_instant(loop: Any) -> None:
    synced(loop)
    with write_transaction(loop.engine) as connection:
        six = {PERFORMANCE: 6.0}
        connection.execute(brands.update().where(brands.c.id == "acme").values(windows=six))
    page = Page(
        name="mine", title="Mine", needs=(Need(dataset=PERFORMANCE, max_age=HOUR, withhold=True),)
    )
    instant = timedelta(microseconds=1)
    loop.now = NOW + HOUR - instant
    assert (answer(loop, page=page), answer(loop)) == ("ready", "ready")
    loop.now = NOW + HOUR
    assert (answer(loop, page=page), answer(loop)) == ("withhold", "ready")
    loop.now = NOW + 6 * HOUR
    assert answer(loop) == "withhold"


def test_a_pause_is_told_while_it_holds(loop: Any) -> None:
    until = NOW + 2 * HOUR
    pause_brand(
        loop.engine, "acme", reason="Contract ended.", until=until, actor="cli:alice", now=NOW
    )
    loop.pass_time(hours=1)
    assert "never synced; syncing is paused, since 60 min: Contract ended." in lines(loop)[0]
    loop.now = until
    assert "paused" not in lines(loop)[0]
    pause_brand(loop.engine, "acme", reason="", actor="cli:alice", now=until)
    assert "syncing is paused" in lines(loop)[0]
    resume_brand(loop.engine, "acme", actor="cli:alice", now=until)
    assert "paused" not in lines(loop)[0]


def test_the_tag_changes_with_what_is_shown_and_not_with_each_second(loop: Any) -> None:
    def tag() -> str:
        return etag_of(read_readiness(loop.engine, "acme", PAGE, now=loop.now))

    synced(loop)
    loop.pass_time(minutes=5)
    seen = [tag()]
    assert seen[0].startswith('"')
    loop.pass_time(seconds=20)
    assert tag() == seen[0]
    loop.pass_time(minutes=2)
    seen.append(tag())
    loop.wish()
    seen.append(tag())
    loop.pass_time(hours=20)
    seen.append(tag())
    with write_transaction(loop.engine) as connection:
        connection.execute(dataset_status.update().values(error_class="AccessError"))
    seen.append(tag())
    assert len(set(seen)) == len(seen)
    across = read_readiness_across(loop.engine, PAGE, now=loop.now)
    assert etag_of(across) == etag_of(read_readiness_across(loop.engine, PAGE, now=loop.now))
    assert etag_of(across) not in seen

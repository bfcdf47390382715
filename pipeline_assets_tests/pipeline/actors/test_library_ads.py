"""Templates and competitors' ads: found, typed, merged; nothing lost, nothing paid for twice."""

import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from datetime import date, timedelta
from io import StringIO
from logging import DEBUG, StreamHandler, getLogger
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import dagster as dg
import pytest
import sqlalchemy as sa

from pipeline_assets.clock import utcnow
from pipeline_assets.schemas import SCHEMAS, TABLES
from pipeline_assets.settings import Settings
from pipeline_assets.simulator import apify, library_copy
from pipeline_assets.simulator.faults import Endpoint, Fault, FaultKind
from pipeline_assets.simulator.server import SimulatorServer
from pipeline_assets.simulator.world import AccountSpec, TokenSpec, World
from pipeline_assets.sources.meta import ad_library
from pipeline_assets.storage.media import MediaStore
from pipeline_assets.storage.tables import DATASET_TABLES, METADATA
from pipeline_assets.storage.windows import read_rows

TOKEN = "EAAPlantedTokenOfTheTests0123456789abcdef"
APIFY_TOKEN = "apify_api_PlantedTokenOfTheTests0123456789"
UNCONFIRMED = "EAATokenOfSomebodyNobodyKnows000000000001"
ADS = "apify/facebook-ads-scraper"
PAGES = ("100200300400500", "100200300400501")
DATASETS = ("templates_scraped", "competitor_ads")
SOURCE_OF = {"templates_scraped": "templates", "competitor_ads": "competitors"}

BOTH_DATABASES = pytest.mark.parametrize("database_url", ["sqlite", "postgresql"], indirect=True)

Row = dict[str, Any]
Gather = Callable[[str], dg.ExecuteInProcessResult]
Configure = Callable[..., None]
MakeActor = Callable[..., dict[str, Any]]
Metadata = Callable[[dg.ExecuteInProcessResult, str], Row]
Checks = Callable[[dg.ExecuteInProcessResult], dict[str, dg.AssetCheckEvaluation]]
Pair = tuple[str, str, int, date]
Failure = Callable[[dg.ExecuteInProcessResult], tuple[str, str, Row]]


def rows_of(engine: sa.Engine, dataset: str = "competitor_ads") -> dict[str, Row]:
    rows = read_rows(engine, SCHEMAS[dataset], brand_id="acme")
    return {row["library_ad_id"]: row for row in rows}


def running_ads(*page_ids: str) -> dict[str, library_copy.ForeignAd]:
    today = utcnow().date()
    return {ad.id: ad for page in page_ids for ad in library_copy.ads_of_page(page, today)}


SIX_PAGES = [
    page for page in map(str, range(100200300400500, 100200300400560)) if len(running_ads(page)) > 3
][:6]


@pytest.fixture(scope="module")
def world() -> World:
    return World(
        accounts=(AccountSpec(id="act_11", name="Paris", ad_count=2),),
        tokens=(TokenSpec(TOKEN), TokenSpec(UNCONFIRMED, has_identity=False)),
        anchor=utcnow().date(),
    )


@pytest.fixture
def meta(token_file: Path) -> Row:
    return {"ad_accounts": ["act_11"], "token": f"file:{token_file}"}


@pytest.fixture
def from_library(configure: Configure, meta: Row) -> Callable[..., None]:
    """Configure both datasets from the Ad Library."""

    def apply(**changes: Any) -> None:
        source = {"page_ids": PAGES, "search_terms": ["cold brew"], "countries": ["DE"], **changes}
        configure({"meta": meta, "templates": source, "competitors": source})

    return apply


@pytest.fixture
def from_actor(configure: Configure, make_actor: MakeActor) -> Callable[..., None]:
    """Configure both datasets from an actor."""

    def apply(*, actor: str = ADS, run_input: Row | None = None, **changes: Any) -> None:
        source = {"page_ids": PAGES, "actor": make_actor(actor, **(run_input or {})), **changes}
        configure({"templates": source, "competitors": source})

    return apply


@BOTH_DATABASES
@pytest.mark.parametrize("dataset", DATASETS)
def test_the_library_gives_the_running_ads_of_each_page_and_term(
    gather: Gather,
    engine: sa.Engine,
    from_library: Callable[..., None],
    metadata_of: Metadata,
    checks_of: Checks,
    dataset: str,
) -> None:
    from_library()
    result = gather(dataset)
    assert result.success
    assert all(check.passed for check in checks_of(result).values())
    assert set(checks_of(result)) > {
        "rows_are_readable",
        "searches_found_ads",
        "ids_name_one_ad_each",
    }
    rows = rows_of(engine, dataset)
    of_pages = running_ads(*PAGES)
    of_term = {ad.id for ad in library_copy.ads_with_words("cold brew", utcnow().date())}
    assert set(rows) == set(of_pages) | of_term
    for ad_id, ad in of_pages.items():
        row = rows[ad_id]
        assert (row["title"], row["body"]) == (ad.headline, ad.body)
        assert (row["page_id"], row["page_name"]) == (ad.page_id, ad.page_name)
        assert row["matched_by"] == f"page:{ad.page_id}"
        assert (row["started_on"], row["stopped_on"], row["is_active"]) == (ad.starts, None, True)
        assert row["days_running"] == (row["last_seen_at"].date() - ad.starts).days + 1
        assert (row["eu_reach"], row["platforms"]) == (ad.eu_reach, list(ad.platforms))
        assert (row["landing_url"], row["image_urls"], row["preview_sha256"]) == (None, [], None)
        assert row["library_url"] == f"https://www.facebook.com/ads/library/?id={ad_id}"
    assert {rows[ad_id]["matched_by"] for ad_id in of_term} == {"term:cold brew"}
    metadata = metadata_of(result, dataset)
    assert metadata["records"] == metadata["found"] == len(rows)
    assert metadata["source"] == "ad_library"
    assert "reached the EU or the UK" in metadata["limits"]


def test_the_library_is_asked_once_for_each_page_and_never_for_an_address_with_a_token(
    gather: Gather, simulator: SimulatorServer, from_library: Callable[..., None]
) -> None:
    from_library(page_ids=SIX_PAGES, countries=["DE", "GB"])
    assert gather("competitor_ads").success
    calls = [call for call in simulator.calls if call.endpoint is Endpoint.LIBRARY]
    asked = [call.params.get("search_page_ids") for call in calls]
    assert asked == [*(f'["{page}"]' for page in SIX_PAGES), None]
    assert all(call.params["ad_reached_countries"] == '["DE","GB"]' for call in calls)
    assert not any("ad_snapshot_url" in call.params["fields"] for call in calls)


def test_no_more_ads_are_kept_than_were_wished_for_and_each_search_has_its_share(
    gather: Gather, engine: sa.Engine, from_library: Callable[..., None]
) -> None:
    from_library(page_ids=PAGES[:1], max_ads=10)
    assert gather("competitor_ads").success
    by_search = [row["matched_by"] for row in rows_of(engine).values()]
    assert sorted(set(by_search)) == [f"page:{PAGES[0]}", "term:cold brew"]
    assert len(by_search) == 10
    assert by_search.count("term:cold brew") == 5


def test_a_search_whose_ads_are_all_beyond_the_limit_has_found_some(
    gather: Gather, engine: sa.Engine, from_library: Callable[..., None], checks_of: Checks
) -> None:
    from_library(page_ids=SIX_PAGES, search_terms=[], max_ads=1)
    check = checks_of(gather("competitor_ads"))["searches_found_ads"]
    assert len(rows_of(engine)) == 1
    assert (check.description or "").startswith("6 of 6 pages and terms found ads. At their limit")


def test_a_page_with_many_ads_leaves_the_others_their_share(
    gather: Gather, engine: sa.Engine, from_library: Callable[..., None], checks_of: Checks
) -> None:
    from_library(page_ids=SIX_PAGES, search_terms=[], max_ads=12)
    check = checks_of(gather("competitor_ads"))["searches_found_ads"]
    by_page = Counter(row["page_id"] for row in rows_of(engine).values())
    assert by_page == dict.fromkeys(SIX_PAGES, 2)
    assert check.passed
    assert (check.description or "").startswith(
        "6 of 6 pages and terms found ads. At their limit (`max_ads` is 12), so there may be more: "
        f"page:{SIX_PAGES[0]}, "
    )


def test_what_some_searches_do_not_need_goes_to_one_that_has_more(
    gather: Gather,
    engine: sa.Engine,
    monkeypatch: pytest.MonkeyPatch,
    simulator: SimulatorServer,
    from_library: Callable[..., None],
    metadata_of: Metadata,
    checks_of: Checks,
) -> None:
    monkeypatch.setattr(ad_library, "ADS_AT_ONCE", 2)
    truth = running_ads(PAGES[0])
    silent = [f"nothing {number}" for number in range(9)]
    from_library(page_ids=PAGES[:1], search_terms=silent, max_ads=len(truth))
    result = gather("competitor_ads")
    assert set(rows_of(engine)) == set(truth)
    assert metadata_of(result, "competitor_ads")["reached_limit"] == []
    check = checks_of(result)["searches_found_ads"]
    assert check.metadata["without_ads"].value == [f"term:{term}" for term in silent]
    calls = [call for call in simulator.calls if call.endpoint is Endpoint.LIBRARY]
    assert len(calls) == len(silent) + -(-len(truth) // 2)


def test_a_search_is_read_no_further_than_its_share(
    gather: Gather,
    monkeypatch: pytest.MonkeyPatch,
    simulator: SimulatorServer,
    from_library: Callable[..., None],
    metadata_of: Metadata,
) -> None:
    monkeypatch.setattr(ad_library, "ADS_AT_ONCE", 2)
    from_library(page_ids=SIX_PAGES[:2], search_terms=[], max_ads=5)
    metadata = metadata_of(gather("competitor_ads"), "competitor_ads")
    assert metadata["reached_limit"] == [f"page:{page}" for page in SIX_PAGES[:2]]
    calls = [call for call in simulator.calls if call.endpoint is Endpoint.LIBRARY]
    assert len(calls) == 4, "of shares of 3 and 2, two ads at once, and who is at its limit"


@pytest.fixture
def repeating_term(monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """A term whose search gives the second to fourth ad of a page, then so many of its own."""

    def make(page: str, *, own: int) -> str:
        find = library_copy.ads_with_words

        def find_repeating(term: str, today: date) -> list[library_copy.ForeignAd]:
            return [*library_copy.ads_of_page(page, today)[1:4], *find(term, today)[:own]]

        monkeypatch.setattr(library_copy, "ads_with_words", find_repeating)
        return "cold brew"

    return make


def test_a_search_that_repeats_what_another_has_too_much_of_still_has_its_share(
    gather: Gather,
    engine: sa.Engine,
    monkeypatch: pytest.MonkeyPatch,
    from_library: Callable[..., None],
    repeating_term: Callable[..., str],
) -> None:
    monkeypatch.setattr(ad_library, "ADS_AT_ONCE", 4)
    page = SIX_PAGES[0]
    from_library(page_ids=[page], search_terms=[repeating_term(page, own=4)], max_ads=4)
    assert gather("competitor_ads").success
    assert Counter(row["matched_by"] for row in rows_of(engine).values()) == {
        f"page:{page}": 2,
        "term:cold brew": 2,
    }


def test_an_ad_that_another_search_has_too_much_of_is_not_said_to_have_ended(
    gather: Gather,
    engine: sa.Engine,
    from_library: Callable[..., None],
    repeating_term: Callable[..., str],
) -> None:
    page = SIX_PAGES[0]
    term = repeating_term(page, own=1)
    from_library(page_ids=[], search_terms=[term])
    assert gather("competitor_ads").success
    from_library(page_ids=[page], search_terms=[term], max_ads=4)
    assert gather("competitor_ads").success
    rows = rows_of(engine)
    first_ads = [*running_ads(page)][:4]
    assert [rows[ad_id]["matched_by"] for ad_id in first_ads] == [
        *[f"page:{page}"] * 3,
        "term:cold brew",
    ]
    assert rows[first_ads[3]]["is_active"]


def ended_of(page: str, later: date) -> set[str]:
    """The page's ads that run today and no longer on that day."""
    return {*running_ads(page)} - {ad.id for ad in library_copy.ads_of_page(page, later)}


@pytest.fixture
def pair() -> Pair:
    """A page of few and one of many ads in six weeks' time, of which both end some until then."""
    later = (utcnow() + timedelta(days=45)).date()
    sizes = {
        str(page): len(library_copy.ads_of_page(str(page), later))
        for page in range(100200300400500, 100200300400560)
        if ended_of(str(page), later)
    }
    small = next(page for page, size in sizes.items() if 2 <= size <= 6)
    large = next(page for page, size in sizes.items() if size >= 10)
    return small, large, sizes[small], later


@BOTH_DATABASES
def test_what_a_limit_hides_is_not_said_to_have_ended_and_what_has_ended_elsewhere_is(
    gather: Gather,
    engine: sa.Engine,
    clock: Any,
    pair: Pair,
    from_library: Callable[..., None],
    metadata_of: Metadata,
) -> None:
    small, large, size, later = pair
    from_library(page_ids=[large, small], search_terms=[])
    assert gather("competitor_ads").success
    first = rows_of(engine)
    clock.ahead = timedelta(days=45)
    from_library(page_ids=[large, small], search_terms=[], max_ads=2 * size + 2)
    result = gather("competitor_ads")
    ended = ended_of(small, later)
    rows = rows_of(engine)
    assert set(rows) > set(first)
    assert {ad_id for ad_id, row in rows.items() if not row["is_active"]} == ended
    metadata = metadata_of(result, "competitor_ads")
    assert metadata["reached_limit"] == [f"page:{large}"]
    assert metadata["no_longer_running"] == len(ended)


def test_a_page_or_term_that_is_no_longer_wanted_takes_its_ads_with_it(
    gather: Gather, engine: sa.Engine, from_library: Callable[..., None]
) -> None:
    from_library()
    assert gather("templates_scraped").success
    from_library(page_ids=PAGES[:1], search_terms=[])
    assert gather("templates_scraped").success
    rows = rows_of(engine, "templates_scraped")
    assert set(rows) == set(running_ads(PAGES[0]))
    assert all(row["is_active"] for row in rows.values())


def test_a_country_outside_of_the_eu_and_uk_fails_and_says_why(
    gather: Gather, from_library: Callable[..., None], failure_of: Failure
) -> None:
    from_library(countries=["US", "CA"])
    error_class, message, metadata = failure_of(gather("templates_scraped"))
    assert error_class == "InvalidConfigError"
    assert "'acme'" in message
    assert "US, CA" in message
    assert "EU or the UK" in message
    assert "actor" in metadata["advice"]


def test_a_page_without_ads_is_named_by_a_warning(
    gather: Gather, from_library: Callable[..., None], checks_of: Checks
) -> None:
    silent = library_copy.SILENT_PAGE
    from_library(page_ids=[*PAGES, silent, "0123"], search_terms=["says nothing"])
    result = gather("competitor_ads")
    assert result.success
    check = checks_of(result)["searches_found_ads"]
    assert not check.passed
    assert check.severity is dg.AssetCheckSeverity.WARN
    for search in (f"page:{silent}", "page:0123", "term:says nothing"):
        assert search in (check.description or "")
    assert PAGES[0] not in (check.description or "")


def test_a_token_without_a_confirmed_identity_is_told_what_to_do(
    gather: Gather, from_library: Callable[..., None], tmp_path: Path, failure_of: Failure
) -> None:
    file = tmp_path / "unconfirmed"
    file.write_text(UNCONFIRMED)
    from_library(token=f"file:{file}")
    error_class, message, metadata = failure_of(gather("competitor_ads"))
    assert error_class == "AccessError"
    assert "Ad Library" in message
    assert "2332002" in message
    assert "facebook.com/ID" in metadata["advice"]


def test_the_library_needs_a_token_from_somewhere(
    gather: Gather, configure: Configure, failure_of: Failure
) -> None:
    configure({"competitors": {"page_ids": PAGES, "countries": ["DE"]}})
    error_class, message, metadata = failure_of(gather("competitor_ads"))
    assert error_class == "InvalidConfigError"
    assert "no token for Meta's Ad Library" in message
    assert "`actor`" in metadata["advice"]


def test_a_search_that_fails_leaves_the_attempt_incomplete_and_the_other_searches_stored(
    gather: Gather,
    engine: sa.Engine,
    simulator: SimulatorServer,
    from_library: Callable[..., None],
    metadata_of: Metadata,
) -> None:
    from_library()
    assert gather("competitor_ads").success
    before = rows_of(engine)
    simulator.faults.add(
        Fault(kind=FaultKind.SERVICE_ERROR, endpoint=Endpoint.LIBRARY, after_calls=1)
    )
    result = gather("competitor_ads")
    assert result.success
    metadata = metadata_of(result, "competitor_ads")
    assert metadata["incomplete_error_class"] == "SourceUnavailableError"
    after = rows_of(engine)
    assert set(after) == set(before)
    assert all(row["is_active"] for row in after.values()), "of those not asked for, none is known"


def test_trouble_of_every_search_is_the_datasets_failure(
    gather: Gather,
    engine: sa.Engine,
    simulator: SimulatorServer,
    from_library: Callable[..., None],
    failure_of: Failure,
) -> None:
    from_library()
    simulator.faults.add(Fault(kind=FaultKind.TOKEN_EXPIRED, endpoint=Endpoint.LIBRARY))
    error_class, _, _ = failure_of(gather("competitor_ads"))
    assert error_class == "CredentialError"
    assert rows_of(engine) == {}


def test_an_empty_page_in_the_middle_is_not_the_end(
    gather: Gather,
    engine: sa.Engine,
    simulator: SimulatorServer,
    from_library: Callable[..., None],
) -> None:
    from_library(search_terms=[])
    simulator.faults.add(Fault(kind=FaultKind.EMPTY_PAGE, endpoint=Endpoint.LIBRARY, count=1))
    assert gather("competitor_ads").success
    assert set(rows_of(engine)) == set(running_ads(*PAGES))


@BOTH_DATABASES
@pytest.mark.parametrize("actor", [ADS, "curious_coder/facebook-ads-library-scraper"])
def test_an_actors_rows_are_typed_and_their_pictures_kept(
    gather: Gather,
    engine: sa.Engine,
    from_actor: Callable[..., None],
    metadata_of: Metadata,
    checks_of: Checks,
    tmp_path: Path,
    actor: str,
) -> None:
    from_actor(actor=actor)
    result = gather("competitor_ads")
    assert result.success
    assert all(check.passed for check in checks_of(result).values())
    rows, truth = rows_of(engine), running_ads(*PAGES)
    assert set(rows) == set(truth)
    media = MediaStore(str(tmp_path / "media"))
    for ad_id, ad in truth.items():
        row = rows[ad_id]
        assert (row["title"], row["body"]) == (ad.headline, ad.body)
        assert (row["landing_url"], row["cta"]) == (ad.link_url, ad.button)
        assert (row["started_on"], row["stopped_on"], row["is_active"]) == (ad.starts, None, True)
        assert row["platforms"] == list(ad.platforms)
        assert row["source"] == actor
        assert row["matched_by"] == f"page:{ad.page_id}"
        assert row["error"] is None
        with media.open(row["preview_sha256"]) as picture:
            assert picture.read() == library_copy.draw_picture(ad.picture_key)
    metadata = metadata_of(result, "competitor_ads")
    assert metadata["pictures_fetched"] == len(rows)
    assert metadata["rows_sent"] > len(rows), "actors send some rows twice"


def test_copies_name_the_oldest_ad_with_their_content(
    gather: Gather, engine: sa.Engine, from_actor: Callable[..., None]
) -> None:
    pages = [str(100200300400500 + n) for n in range(8)]
    from_actor(page_ids=pages)
    assert gather("competitor_ads").success
    rows = rows_of(engine)
    copies = [row for row in rows.values() if row["duplicate_of"]]
    assert copies
    for copy in copies:
        original = rows[copy["duplicate_of"]]
        assert original["duplicate_of"] is None
        assert original["content_hash"] == copy["content_hash"]
        assert (original["body"], original["title"]) == (copy["body"], copy["title"])
        assert (original["started_on"], original["library_ad_id"]) < (
            copy["started_on"],
            copy["library_ad_id"],
        )
    hashes = [row["content_hash"] for row in rows.values() if not row["duplicate_of"]]
    assert len(hashes) == len(set(hashes))


def test_the_actor_is_asked_for_the_searches_and_the_brands_own_input_wins(
    gather: Gather, simulator: SimulatorServer, from_actor: Callable[..., None]
) -> None:
    from_actor(
        search_terms=["cold brew"],
        countries=["DE", "US"],
        max_ads=12,
        run_input={"resultsLimit": 3, "proxy": "residential"},
    )
    assert gather("templates_scraped").success
    (run_input,) = simulator.apify.inputs
    queries = [parse_qs(urlsplit(each["url"]).query) for each in run_input["startUrls"]]
    asked = [(q.get("view_all_page_id") or q.get("q"), q["country"]) for q in queries]
    assert asked == [
        *(([page], ["DE"]) for page in PAGES),
        (["cold brew"], ["DE"]),
        *(([page], ["US"]) for page in PAGES),
        (["cold brew"], ["US"]),
    ]
    assert (run_input["resultsLimit"], run_input["proxy"]) == (3, "residential")
    (start,) = [call for call in simulator.calls if call.endpoint is Endpoint.APIFY_START]
    assert start.params == {"maxItems": "15"}, "a quarter more, for rows that come twice"
    assert start.path == "/v2/acts/apify~facebook-ads-scraper/runs"


def test_no_more_ads_are_kept_than_were_wished_for_whatever_the_actor_gives(
    gather: Gather, engine: sa.Engine, from_actor: Callable[..., None]
) -> None:
    from_actor(max_ads=5, run_input={"resultsLimit": 50})
    assert gather("competitor_ads").success
    assert len(rows_of(engine)) == 5


def test_ads_beyond_the_limit_of_an_actors_search_are_not_said_to_have_ended(
    gather: Gather,
    engine: sa.Engine,
    clock: Any,
    pair: Pair,
    from_actor: Callable[..., None],
    checks_of: Checks,
) -> None:
    small, large, size, later = pair
    from_actor(page_ids=[large, small])
    assert gather("competitor_ads").success
    clock.ahead = timedelta(days=45)
    from_actor(page_ids=[large, small], run_input={"resultsLimit": size + 2})
    result = gather("competitor_ads")
    rows = rows_of(engine)
    assert {ad_id for ad_id, row in rows.items() if not row["is_active"]} == ended_of(small, later)
    check = checks_of(result)["searches_found_ads"]
    assert check.passed
    assert check.description == (
        "2 of 2 pages and terms found ads. At their limit (`max_ads` is 500, and the actor's "
        f"`input` may say less), so there may be more: page:{large}."
    )


@pytest.mark.parametrize("changes", [{"max_ads": 6}, {"run_input": {"count": 6}}])
def test_of_a_run_that_reached_its_limit_no_ad_is_said_to_have_ended(
    gather: Gather,
    engine: sa.Engine,
    clock: Any,
    from_actor: Callable[..., None],
    metadata_of: Metadata,
    changes: Row,
) -> None:
    from_actor(search_terms=["cold brew"])
    assert gather("competitor_ads").success
    before = rows_of(engine)
    clock.ahead = timedelta(days=45)
    from_actor(search_terms=["cold brew"], **changes)
    result = gather("competitor_ads")
    after = rows_of(engine)
    assert set(before) <= set(after)
    assert all(row["is_active"] for row in after.values())
    names = [*(f"page:{page}" for page in PAGES), "term:cold brew"]
    assert metadata_of(result, "competitor_ads")["reached_limit"] == names


@BOTH_DATABASES
def test_ads_that_are_gone_stay_inactive_and_new_ones_join_them(
    gather: Gather, engine: sa.Engine, clock: Any, from_actor: Callable[..., None]
) -> None:
    from_actor()
    assert gather("competitor_ads").success
    first = rows_of(engine)
    clock.ahead = timedelta(days=45)
    assert gather("competitor_ads").success
    second = rows_of(engine)
    later = (utcnow() + clock.ahead).date()
    running = {ad.id for page in PAGES for ad in library_copy.ads_of_page(page, later)}
    assert set(first) - running
    assert running - set(first)
    assert set(second) == set(first) | running
    assert {ad_id for ad_id, row in second.items() if row["is_active"]} == running
    for ad_id, row in first.items():
        assert second[ad_id]["first_seen_at"] == row["first_seen_at"]
        gone = ad_id not in running
        assert (second[ad_id]["last_seen_at"] == row["last_seen_at"]) is gone


def test_ads_unseen_for_half_a_year_are_forgotten(
    gather: Gather, engine: sa.Engine, clock: Any, from_actor: Callable[..., None]
) -> None:
    from_actor()
    assert gather("competitor_ads").success
    clock.ahead = timedelta(days=45)
    table = DATASET_TABLES["competitor_ads"]
    ids = sorted(
        set(running_ads(*PAGES))
        - {
            ad.id
            for page in PAGES
            for ad in library_copy.ads_of_page(page, (utcnow() + clock.ahead).date())
        }
    )
    old, young = ids[0], ids[1]
    with engine.begin() as connection:
        for ad_id, days in ((old, 181), (young, 179)):
            seen = utcnow() - timedelta(days=days)
            connection.execute(
                sa.update(table).where(table.c.library_ad_id == ad_id).values(last_seen_at=seen)
            )
    assert gather("competitor_ads").success
    rows = rows_of(engine)
    assert old not in rows
    assert not rows[young]["is_active"]


def test_a_second_sync_starts_another_run_but_fetches_no_picture_twice(
    gather: Gather,
    engine: sa.Engine,
    simulator: SimulatorServer,
    from_actor: Callable[..., None],
    metadata_of: Metadata,
) -> None:
    from_actor()
    gather("competitor_ads")
    before = rows_of(engine)
    result = gather("competitor_ads")
    assert len(simulator.apify.inputs) == 2
    assert "pictures_fetched" not in metadata_of(result, "competitor_ads")
    assert {key: row["preview_sha256"] for key, row in rows_of(engine).items()} == {
        key: row["preview_sha256"] for key, row in before.items()
    }


def test_a_picture_that_cannot_be_had_is_its_ads_trouble_alone(
    gather: Gather,
    engine: sa.Engine,
    monkeypatch: pytest.MonkeyPatch,
    from_actor: Callable[..., None],
    metadata_of: Metadata,
) -> None:
    broken = next(iter(running_ads(*PAGES).values())).picture_key
    draw = library_copy.draw_picture
    monkeypatch.setattr(
        "pipeline_assets.simulator.server.draw_picture",
        lambda key: b"<html>" if key == broken else draw(key),
    )
    from_actor()
    result = gather("competitor_ads")
    assert result.success
    failed = [row for row in rows_of(engine).values() if row["error"]]
    assert failed
    assert all(row["preview_sha256"] is None for row in failed)
    assert all("Its picture" in row["error"] for row in failed)
    assert metadata_of(result, "competitor_ads")["pictures_failed"] == len(failed)


def test_a_picture_that_cannot_be_had_hides_no_other_trouble_of_its_ad(
    gather: Gather,
    engine: sa.Engine,
    monkeypatch: pytest.MonkeyPatch,
    from_actor: Callable[..., None],
) -> None:
    show = apify._camel_ad
    monkeypatch.setattr(apify, "_camel_ad", lambda *each: {**show(*each), "startDate": "soon"})
    monkeypatch.setattr("pipeline_assets.simulator.server.draw_picture", lambda _: b"<html>")
    from_actor()
    assert gather("competitor_ads").success
    errors = [row["error"] for row in rows_of(engine).values()]
    assert errors
    for error in errors:
        assert error.startswith("Left out as unreadable: startDate 'soon'. Its picture: ")


def test_the_same_ad_of_two_brands_is_each_brands_own(
    gather: Gather, engine: sa.Engine, from_actor: Callable[..., None]
) -> None:
    from_actor()
    assert gather("competitor_ads").success
    assert gather("templates_scraped").success
    assert set(rows_of(engine)) == set(rows_of(engine, "templates_scraped"))


@BOTH_DATABASES
def test_what_is_stored_and_said_holds_no_token(
    gather: Gather,
    engine: sa.Engine,
    instance: dg.DagsterInstance,
    simulator: SimulatorServer,
    from_library: Callable[..., None],
    from_actor: Callable[..., None],
) -> None:
    stream = StringIO()
    handler = StreamHandler(stream)
    root = getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(DEBUG)
    try:
        from_library()
        results = [gather("templates_scraped")]
        from_actor()
        results.append(gather("competitor_ads"))
        simulator.faults.add(Fault(kind=FaultKind.APIFY_UNAUTHORIZED))
        results.append(gather("competitor_ads"))
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
    assert [result.success for result in results] == [True, True, False]
    written = stream.getvalue()
    for result in results:
        written += "".join(str(log) for log in instance.all_logs(result.run_id))
    with engine.connect() as connection:
        for table in METADATA.sorted_tables:
            written += str(connection.execute(sa.select(table)).all())
    assert len(written) > 10_000
    for secret in (TOKEN, APIFY_TOKEN, "access_token=EAA", "ad_snapshot_url"):
        assert secret not in written


# Bad days of the actor


@pytest.mark.parametrize(
    ("kind", "error_class", "said", "advised"),
    [
        (FaultKind.APIFY_UNAUTHORIZED, "CredentialError", "refuses the token", "Apify's settings"),
        (FaultKind.APIFY_RUN_FAILED, "SourceUnavailableError", "TypeError", "log on Apify"),
        (FaultKind.APIFY_SCHEMA_CHANGED, "InvalidConfigError", "adArchiveID", "rows have changed"),
        (FaultKind.APIFY_ROWS_BROKEN, "InvalidConfigError", "cannot be read", "rows have changed"),
        (FaultKind.APIFY_EMPTY, "InvalidConfigError", f"no ad of page:{PAGES[0]}", "kept out"),
    ],
)
def test_each_trouble_of_apify_says_what_to_do_and_loses_nothing(
    gather: Gather,
    engine: sa.Engine,
    simulator: SimulatorServer,
    from_actor: Callable[..., None],
    failure_of: Failure,
    kind: FaultKind,
    error_class: str,
    said: str,
    advised: str,
) -> None:
    from_actor()
    assert gather("competitor_ads").success
    before = rows_of(engine)
    simulator.faults.add(Fault(kind=kind))
    seen_class, message, metadata = failure_of(gather("competitor_ads"))
    assert seen_class == error_class
    assert said in message
    assert advised in metadata["advice"]
    assert rows_of(engine) == before
    if kind.value.startswith("apify_run_"):
        assert "run0000000000002" in message
    simulator.faults.clear()
    assert gather("competitor_ads").success, "a run that was of no use is not read again"
    assert {row["is_active"] for row in rows_of(engine).values()} == {True}


def test_few_broken_rows_are_counted_and_shown_and_the_others_stored(
    gather: Gather,
    engine: sa.Engine,
    monkeypatch: pytest.MonkeyPatch,
    from_actor: Callable[..., None],
    metadata_of: Metadata,
    checks_of: Checks,
) -> None:
    broken, *others = running_ads(*PAGES)
    show = apify._camel_ad

    def show_broken(ad: library_copy.ForeignAd, *where: Any) -> Row:
        row = show(ad, *where)
        return row if ad.id != broken else {**row, "pageID": None, "pageName": "", "snapshot": {}}

    monkeypatch.setattr(apify, "_camel_ad", show_broken)
    from_actor()
    result = gather("competitor_ads")
    assert result.success
    metadata = metadata_of(result, "competitor_ads")
    assert metadata["rows_rejected"] == 1
    assert metadata["fields_lacking"] == {
        "pageID or pageName": 1,
        "snapshot with a text, picture or video": 1,
    }
    assert set(rows_of(engine)) == set(others)
    check = checks_of(result)["rows_are_readable"]
    assert not check.passed, "one of fewer than twenty"
    assert "pageID or pageName (1)" in (check.description or "")


def test_an_id_that_stands_for_many_ads_fails_its_check(
    gather: Gather,
    simulator: SimulatorServer,
    from_actor: Callable[..., None],
    checks_of: Checks,
) -> None:
    from_actor()
    simulator.faults.add(Fault(kind=FaultKind.APIFY_KEYS_COLLIDE))
    result = gather("competitor_ads")
    check = checks_of(result)["ids_name_one_ad_each"]
    assert not check.passed
    assert "1 ids stand for several different ads" in (check.description or "")


# Runs are paid for once


def test_a_run_that_outlasts_the_attempt_is_gone_on_with_by_the_next_one(
    gather: Gather,
    engine: sa.Engine,
    simulator: SimulatorServer,
    configure: Configure,
    make_actor: MakeActor,
    failure_of: Failure,
    metadata_of: Metadata,
) -> None:
    source = {"page_ids": PAGES, "actor": make_actor(ADS)}
    limit = {"competitor_scrape": 0.02}  # minutes: 1.2 s, three quarters of it for waiting
    configure({"competitors": source}, max_runtime_minutes=limit)
    simulator.apify.run_seconds = 600
    error_class, message, metadata = failure_of(gather("competitor_ads"))
    assert error_class == "SourceUnavailableError"
    assert "run0000000000001 of actor apify/facebook-ads-scraper is still " in message
    assert metadata["retry_after_seconds"] == 60
    simulator.apify.finish_runs()
    result = gather("competitor_ads")
    assert result.success
    assert len(simulator.apify.inputs) == 1
    assert metadata_of(result, "competitor_ads")["actor_run_was_resumed"]
    assert set(rows_of(engine)) == set(running_ads(*PAGES))


KILLED_WHILE_WAITING = """
import sys
import dagster as dg
from pipeline_assets.definitions import build_definitions
from pipeline_assets.resources.installation import Installation
from pipeline_assets.settings import Settings
settings = Settings.model_validate_json(sys.argv[1])
job = build_definitions(Installation(settings)).resolve_job_def("competitor_scrape")
with dg.instance_for_test() as instance:
    instance.add_dynamic_partitions("brand", ["acme"])
    job.execute_in_process(instance=instance, partition_key="acme")
"""


@BOTH_DATABASES
def test_after_kill_nine_the_next_attempt_goes_on_with_the_run_that_is_paid_for(
    gather: Gather,
    engine: sa.Engine,
    settings: Settings,
    database_url: str,
    simulator: SimulatorServer,
    from_actor: Callable[..., None],
    metadata_of: Metadata,
) -> None:
    from_actor()
    simulator.apify.run_seconds = 600
    told = settings.model_dump_json(exclude_defaults=True, exclude={"database_url"})
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED_WHILE_WAITING, told],
        env={**os.environ, "PIPELINE_DATABASE_URL": database_url},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        positions = METADATA.tables["fetch_positions"]
        deadline = time.monotonic() + 60
        stored = None
        while stored is None and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.05)
            with engine.connect() as connection:
                stored = connection.execute(sa.select(positions.c.position)).scalar_one_or_none()
    finally:
        process.kill()
        process.wait()
    assert stored is not None
    simulator.apify.finish_runs()
    result = gather("competitor_ads")
    assert result.success
    metadata = metadata_of(result, "competitor_ads")
    assert (metadata["actor_run"], metadata["actor_run_was_resumed"]) == (stored["run_id"], True)
    assert len(simulator.apify.inputs) == 1
    with engine.connect() as connection:
        assert connection.execute(sa.select(positions)).all() == [], "the next one starts its own"


def test_all_tables_of_ads_have_the_columns_that_are_filled(
    gather: Gather, engine: sa.Engine, from_actor: Callable[..., None]
) -> None:
    from_actor()
    assert gather("competitor_ads").success
    row = next(iter(rows_of(engine).values()))
    assert tuple(row) == TABLES["competitor_ads"].column_names

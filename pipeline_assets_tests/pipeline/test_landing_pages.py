"""The dataset landing_pages against the simulator's shops: what is read, kept and withheld."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import sqlalchemy as sa

from pipeline_assets.assets import landing_pages as asset
from pipeline_assets.brands.models import parse_brand
from pipeline_assets.brands.registry import apply_brands
from pipeline_assets.clock import utcnow
from pipeline_assets.control.dagster_log import INCOMPLETE
from pipeline_assets.definitions import build_definitions
from pipeline_assets.resources.installation import Installation
from pipeline_assets.schemas import LANDING_PAGES, META_AD_CREATIVES
from pipeline_assets.simulator.server import SimulatorServer
from pipeline_assets.simulator.world import AccountSpec, AdKind, TokenSpec, World
from pipeline_assets.sources.web_pages import PageState, PageVisit, reading
from pipeline_assets.sources.web_pages.content import read_page
from pipeline_assets.storage.windows import Scope, read_rows, replace_rows

ACCOUNT, HOST = "act_77", "skin.example"
TOKEN = "EAAPlantedTokenOfTheShops0123456789abcdef"
CHECKS = ("pages_are_reachable", "most_pages_can_be_read", "prices_are_still_found")

BOTH_DATABASES = pytest.mark.parametrize("database_url", ["sqlite", "postgresql"], indirect=True)

Sync = Callable[..., dg.ExecuteInProcessResult]
Scrape = Callable[[], dg.ExecuteInProcessResult]
Lead = Callable[..., None]
HaveSynced = Callable[..., None]


@pytest.fixture
def world() -> World:
    account = AccountSpec(
        id=ACCOUNT,
        name="Skin",
        currency="EUR",
        ad_count=14,
        kinds=tuple(kind for kind in AdKind if kind is not AdKind.LEAD_FORM),
        has_shop=True,
        landing_host=HOST,
    )
    return World((account,), tokens=(TokenSpec(TOKEN),), anchor=utcnow().date())


@pytest.fixture
def shop(simulator: SimulatorServer) -> str:
    """The address of the shop, without a path."""
    return f"{simulator.url}/shops/{HOST}"


@pytest.fixture
def lead(engine: sa.Engine, have_synced: HaveSynced) -> Lead:
    """Makes ads that lead to these addresses the brand's only ones."""
    have_synced("meta_ad_creatives")

    def store(*urls: str, status: str = "ACTIVE") -> None:
        now = utcnow()
        blank: dict[str, Any] = dict.fromkeys(META_AD_CREATIVES.column_names)
        blank |= {"brand_id": "acme", "ad_account_id": ACCOUNT, "fetched_at": now}
        blank |= {"effective_status": status}
        rows = [
            blank | {"ad_id": str(n), "creative_id": f"c{n}", "destination_urls": [url]}
            for n, url in enumerate(urls)
        ]
        replace_rows(
            engine,
            META_AD_CREATIVES,
            brand_id="acme",
            scopes=[Scope(values={"ad_account_id": ACCOUNT})],
            chunks=[[tuple(row.values()) for row in rows]],
            attempt_started_at=now,
        )

    return store


@pytest.fixture
def scrape(installation: Installation, instance: dg.DagsterInstance) -> Scrape:
    job = build_definitions(installation).resolve_job_def("landing_page_scrape")

    def run() -> dg.ExecuteInProcessResult:
        return job.execute_in_process(instance=instance, partition_key="acme", raise_on_error=False)

    return run


def pages(engine: sa.Engine) -> dict[str, dict[str, Any]]:
    """The stored rows by what follows the shop's address."""
    rows = read_rows(engine, LANDING_PAGES, brand_id="acme")
    return {row["url"].partition(f"/{HOST}")[2] or row["url"]: row for row in rows}


def checks_of(result: dg.ExecuteInProcessResult) -> Mapping[str, bool]:
    return {
        each.check_name: each.passed
        for each in result.get_asset_check_evaluations()
        if each.check_name in CHECKS
    }


def failure_of(result: dg.ExecuteInProcessResult) -> Any:
    failure = result.failure_data_for_node("landing_pages")
    assert failure is not None
    assert failure.user_failure_data is not None
    return failure.user_failure_data


def test_the_pages_of_the_ads_of_a_sync_are_read(
    engine: sa.Engine,
    simulator: SimulatorServer,
    sync: Sync,
    scrape: Scrape,
    tmp_path: Path,
) -> None:
    (tmp_path / "shop_token").write_text(TOKEN)
    source = {"ad_accounts": [ACCOUNT], "token": f"file:{tmp_path / 'shop_token'}"}
    brand = {"id": "acme", "name": "Acme", "timezone": "UTC", "sources": {"meta": source}}
    apply_brands(engine, [parse_brand(brand)], actor="test", now=datetime(2026, 1, 2, tzinfo=UTC))
    assert sync("meta_ad_creatives").success

    result = scrape()

    assert result.success
    found = pages(engine)
    states = {path: row["state"] for path, row in found.items()}
    assert set(states.values()) == {"ok"}
    assert set(states) == {
        *(f"/c/{n}/dew-serum" for n in (0, 8)),
        *(f"/c/{n}/barrier-cream" for n in (1, 5)),
        *(f"/c/{n}/mineral-spf" for n in (2, 6, 10)),
        *(f"/c/{n}/overnight-mask" for n in (3, 7)),
        *(f"/products/{slug}" for slug in ("barrier-cream", "dew-serum", "overnight-mask")),
    }
    (materialization,) = result.asset_materializations_for_node("landing_pages")
    assert (
        materialization.metadata["distinct_ads"].value == 10
    )  # one boosts a post, three are not delivered
    assert materialization.metadata["records"].value == len(found)
    assert simulator.shops.visits.most_at_once == {"127.0.0.1": 1}


@BOTH_DATABASES
def test_a_page_is_stored_with_what_it_says(
    engine: sa.Engine, lead: Lead, scrape: Scrape, shop: str
) -> None:
    lead(f"{shop}/c/13/dew-serum?utm_source=fb", f"{shop}/c/13/dew-serum?fbclid=2#top")
    assert scrape().success
    (row,) = pages(engine).values()
    assert {name: row[name] for name in row if name not in {"main_text", "fetched_at"}} == {
        "brand_id": "acme",
        "url": f"{shop}/c/13/dew-serum",
        "host": "127.0.0.1",
        "ad_count": 2,
        "state": "ok",
        "status_code": 200,
        "final_url": f"{shop}/c/13/dew-serum",
        "redirect_count": 0,
        "canonical_url": f"{shop}/products/dew-serum",
        "language": "en",
        "title": "Dew Serum – Skin",
        "h1": "20% off your first order",
        "hero_text": row["hero_text"],
        "description": "Today only: 20% off Dew Serum, now from EUR 34. "
        "Free shipping, 60 days to return.",
        "price": Decimal("34.00"),
        "currency": "EUR",
        "discount": "20% off your first order",
        "cta": "Add to cart",
        "product_names": ["Dew Serum"],
        "image_url": row["image_url"],
        "word_count": row["word_count"],
        "content_hash": row["content_hash"],
        "versions": [
            {
                "content_hash": row["content_hash"],
                "seen_at": row["read_at"].isoformat(),
                "title": "Dew Serum – Skin",
                "price": "34.00",
                "currency": "EUR",
            }
        ],
        "first_seen_at": row["fetched_at"],
        "changed_at": None,
        "read_at": row["fetched_at"],
        "seconds": row["seconds"],
        "error": None,
    }
    assert row["hero_text"].startswith("Today only: 20% off Dew Serum, now from EUR 34.")
    assert "/cdn/v/" in row["image_url"]
    assert "Made in small batches" in row["main_text"]
    assert row["word_count"] > 60
    assert row["seconds"] > 1, "the page takes a second and a half"


def test_each_state_has_its_reason_and_no_content(
    engine: sa.Engine, lead: Lead, scrape: Scrape, shop: str, simulator: SimulatorServer
) -> None:
    conditions = {
        "blocked": ("blocked", 403, "Cloudflare"),
        "challenge": ("blocked", 200, "Cloudflare"),
        "needs_js": ("needs_js", 200, "Without a browser"),
        "missing": ("not_found", 404, "no such page"),
        "pdf": ("not_html", 200, "application/pdf"),
        "to_loopback": ("refused", None, "127.0.0.1, a loopback address"),
        "to_metadata": ("refused", None, "metadata address"),
    }
    members = f"{shop}/members/16/dew-serum"
    lead(*(f"{shop}/as/{name}/dew-serum" for name in conditions), members)
    result = scrape()
    assert result.success
    found = pages(engine)
    for name, (state, status, reason) in conditions.items():
        row = found[f"/as/{name}/dew-serum"]
        assert (row["state"], row["status_code"]) == (state, status)
        assert reason in row["error"]
    assert found["/members/16/dew-serum"]["state"] == "disallowed"
    assert members not in simulator.shops.visits.paths
    assert "/shops/skin.example/members/16/dew-serum" not in simulator.shops.visits.paths
    for row in found.values():
        assert (row["title"], row["content_hash"], row["versions"]) == (None, None, [])
        assert row["read_at"] is None
    assert checks_of(result) == {
        "pages_are_reachable": False,
        "most_pages_can_be_read": False,
        "prices_are_still_found": True,
    }


@BOTH_DATABASES
def test_a_changed_page_keeps_its_history_and_an_unchanged_one_has_none(
    engine: sa.Engine, lead: Lead, scrape: Scrape, shop: str, simulator: SimulatorServer
) -> None:
    lead(f"{shop}/products/dew-serum")
    assert scrape().success
    assert scrape().success
    (first,) = pages(engine).values()
    assert len(first["versions"]) == 1, "tokens and moments on a page do not change it"
    assert first["changed_at"] is None
    assert first["read_at"] > first["first_seen_at"]

    simulator.shops.edition = 1
    result = scrape()

    assert result.success
    (second,) = pages(engine).values()
    assert [version["price"] for version in second["versions"]] == ["35.00", "34.00"]
    assert second["versions"][1] == first["versions"][0]
    assert second["price"] == 35
    assert second["changed_at"] == second["read_at"] == second["fetched_at"]
    assert second["first_seen_at"] == first["first_seen_at"]
    (materialization,) = result.asset_materializations_for_node("landing_pages")
    assert materialization.metadata["changed"].value == 1


@BOTH_DATABASES
def test_only_so_many_versions_are_kept_and_the_newest_first(
    engine: sa.Engine,
    lead: Lead,
    scrape: Scrape,
    shop: str,
    simulator: SimulatorServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(asset, "MAX_VERSIONS", 2)
    lead(f"{shop}/products/dew-serum")
    for edition in range(3):
        simulator.shops.edition = edition
        assert scrape().success
    (row,) = pages(engine).values()
    assert [version["price"] for version in row["versions"]] == ["36.00", "35.00"]


@BOTH_DATABASES
def test_a_page_that_cannot_be_read_now_keeps_what_it_said(
    engine: sa.Engine, lead: Lead, scrape: Scrape, shop: str, simulator: SimulatorServer
) -> None:
    lead(f"{shop}/products/dew-serum", f"{shop}/products/barrier-cream")
    assert scrape().success
    before = pages(engine)["/products/dew-serum"]
    simulator.shops.closed.add("dew-serum")

    result = scrape()

    assert result.success
    after = pages(engine)["/products/dew-serum"]
    assert (after["state"], after["status_code"]) == ("not_found", 404)
    for name in ("title", "price", "content_hash", "versions", "read_at", "first_seen_at"):
        assert after[name] == before[name]
    assert after["fetched_at"] > before["fetched_at"]
    assert checks_of(result)["pages_are_reachable"] is False
    assert checks_of(result)["most_pages_can_be_read"] is True


def test_pages_of_ads_that_are_not_delivered_are_neither_read_nor_kept(
    engine: sa.Engine, lead: Lead, scrape: Scrape, shop: str, simulator: SimulatorServer
) -> None:
    lead(f"{shop}/products/dew-serum")
    assert scrape().success
    lead(f"{shop}/products/dew-serum", status="PAUSED")
    simulator.shops.visits.paths.clear()
    result = scrape()
    assert result.success
    assert pages(engine) == {}
    assert simulator.shops.visits.paths == []
    assert all(checks_of(result).values())


def test_when_nobody_answers_the_dataset_fails_and_keeps_its_rows(
    engine: sa.Engine, lead: Lead, scrape: Scrape, shop: str, simulator: SimulatorServer
) -> None:
    lead(f"{shop}/products/dew-serum", f"{shop}/products/barrier-cream")
    assert scrape().success
    before = pages(engine)
    simulator.stop()

    result = scrape()

    assert not result.success
    failure = failure_of(result)
    assert failure.metadata["error_class"].value == "TooManyBadItemsError"
    assert "None of 2 landing pages gave an answer" in failure.description
    assert pages(engine) == before


def test_one_silent_host_among_others_is_that_hosts_trouble(
    engine: sa.Engine, lead: Lead, scrape: Scrape, shop: str
) -> None:
    lead(f"{shop}/products/dew-serum", "http://nobody.invalid/")
    assert scrape().success
    found = pages(engine)
    assert found["/products/dew-serum"]["state"] == "ok"
    silent = found["http://nobody.invalid/"]
    assert (silent["state"], silent["status_code"]) == ("failed", None)
    assert "its name is not found" in silent["error"]


def test_pages_out_of_time_are_told_and_read_first_the_next_time(
    engine: sa.Engine,
    lead: Lead,
    scrape: Scrape,
    shop: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slugs = ("barrier-cream", "dew-serum", "mineral-spf")
    lead(*(f"{shop}/products/{slug}" for slug in slugs))
    monkeypatch.setattr(asset, "_RUNTIME_SHARE", -1)
    # With a second thread the second page may be understood before the first.
    monkeypatch.setattr(reading, "_MOST_THREADS", 1)
    read = []
    for _ in slugs:
        result = scrape()
        assert result.success
        (materialization,) = result.asset_materializations_for_node("landing_pages")
        newest = max(pages(engine).values(), key=lambda row: row["fetched_at"])
        read.append(newest["url"].rpartition("/")[2])
        message = materialization.metadata[f"{INCOMPLETE}_error_message"].value
        assert "2 of 3 landing pages were not reached" in str(message)
    assert sorted(read) == sorted(slugs)
    assert set(checks_of(result).values()) == {False}


@pytest.mark.parametrize(("lost", "is_passed"), [(0, True), (2, True), (3, False), (4, False)])
def test_prices_that_more_than_half_of_the_pages_have_lost_are_a_warning(
    lost: int, is_passed: bool
) -> None:
    def visit(url: str, words: str) -> PageVisit:
        page = read_page(f"<h1>Soap</h1><p>{words}</p>".encode(), url=url)
        assert page is not None
        return PageVisit(url=url, state=PageState.OK, content=page.content)

    before = {str(n): {"price": Decimal(8)} for n in range(4)} | {"free": {"price": None}}
    visits = [visit(str(n), "Soap" if n < lost else "$8") for n in range(4)]
    check = asset.check_prices(before, [*visits, visit("free", "Soap"), visit("new", "Soap")])
    assert (check.is_passed, check.is_warning) == (is_passed, True)
    assert check.metadata == {"pages_with_a_price_before": 4, "lost": lost}

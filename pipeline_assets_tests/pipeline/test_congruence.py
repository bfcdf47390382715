"""The job `congruence_reanalysis`: ads against the simulator's shop pages, on both databases."""

import shutil
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import sqlalchemy as sa

from pipeline_assets.analysis.destinations import destinations
from pipeline_assets.assets import congruence as asset
from pipeline_assets.brands.models import parse_brand
from pipeline_assets.brands.registry import add_brand
from pipeline_assets.clock import utcnow
from pipeline_assets.control.brand_partitions import BRAND_PARTITIONS
from pipeline_assets.control.projector import project
from pipeline_assets.control.status import read_states
from pipeline_assets.definitions import build_definitions
from pipeline_assets.freshness.evaluate import State
from pipeline_assets.resources.installation import Installation
from pipeline_assets.schemas import (
    AD_THUMBNAILS,
    CONGRUENCE_ANALYSIS,
    LANDING_PAGES,
    META_AD_CREATIVES,
    META_ADS_PERFORMANCE,
)
from pipeline_assets.settings import Settings
from pipeline_assets.simulator.server import SimulatorServer
from pipeline_assets.simulator.world import AccountSpec, AdKind, TokenSpec, World
from pipeline_assets.storage.tables import DATASET_TABLES
from pipeline_assets.storage.windows import Scope, read_frame, read_rows, replace_rows

ACCOUNT, HOST = "act_77", "skin.example"
TOKEN = "EAAPlantedTokenOfTheShops0123456789abcdef"
CHECKS = ("most_ads_could_be_judged", "every_page_is_known")
UPSTREAM = (META_ADS_PERFORMANCE, META_AD_CREATIVES, AD_THUMBNAILS, LANDING_PAGES)
SCORES = ("message", "offer", "visual", "tone", "total")

BOTH_DATABASES = pytest.mark.parametrize("database_url", ["sqlite", "postgresql"], indirect=True)

Row = dict[str, Any]
Result = dg.ExecuteInProcessResult
Run = Callable[..., Result]
HaveSynced = Callable[..., None]


@pytest.fixture(scope="module")
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


@pytest.fixture(scope="module")
def simulator(world: World) -> Iterator[SimulatorServer]:
    with SimulatorServer(world, report_seconds=0.02) as server:
        yield server


@pytest.fixture(scope="module")
def synced(
    simulator: SimulatorServer, migrated_sqlite_file: Path, tmp_path_factory: pytest.TempPathFactory
) -> Installation:
    """An installation that has synced the account and read its pages: once, as it takes seconds."""
    folder = tmp_path_factory.mktemp("synced")
    shutil.copy(migrated_sqlite_file, folder / "pipeline.db")
    installation = Installation(
        Settings(
            database_url=f"sqlite:///{folder / 'pipeline.db'}",
            media_url=str(folder / "media"),
            graph_url=simulator.url,
            allow_private_hosts=(simulator.url.removeprefix("http://"),),
        )
    )
    (folder / "token").write_text(TOKEN)
    source = {"ad_accounts": [ACCOUNT], "token": f"file:{folder / 'token'}"}
    brand = {"id": "acme", "name": "Acme", "timezone": "UTC", "sources": {"meta": source}}
    add_brand(installation.engine, parse_brand(brand), actor="test", now=utcnow())
    definitions = build_definitions(installation)
    with dg.instance_for_test() as instance:
        instance.add_dynamic_partitions(BRAND_PARTITIONS, ["acme"])
        for name in ("meta_sync", "landing_page_scrape"):
            job = definitions.resolve_job_def(name)
            assert job.execute_in_process(instance=instance, partition_key="acme").success
    return installation


@pytest.fixture
def run(installation: Installation, instance: dg.DagsterInstance) -> Run:
    """Run the job `congruence_reanalysis` for acme, with settings of its own if any are given."""

    def execute(**settings: Any) -> Result:
        changed = installation.settings.model_copy(update=settings)
        definitions = build_definitions(Installation(changed))
        return definitions.resolve_job_def("congruence_reanalysis").execute_in_process(
            instance=instance, partition_key="acme", raise_on_error=False
        )

    return execute


class BusyHost(ThreadingHTTPServer):
    """Answers 503 to everything, and keeps what it was asked for."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Busy)
        self.paths: list[str] = []

    @property
    def name(self) -> str:
        return f"127.0.0.1:{self.server_port}"


class _Busy(BaseHTTPRequestHandler):
    server: BusyHost

    def do_GET(self) -> None:
        self.server.paths.append(self.path)
        self.send_error(503)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def busy_host() -> Iterator[BusyHost]:
    with BusyHost() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def judged(
    synced: Installation, engine: sa.Engine, tmp_path: Path, run: Run, have_synced: HaveSynced
) -> Result:
    """The first judgement of all of the account's ads, in this test's own database."""
    have_synced("meta_ad_creatives", "landing_pages")
    for schema in UPSTREAM:
        rows = read_rows(synced.engine, schema, brand_id="acme")
        replace_rows(
            engine,
            schema,
            brand_id="acme",
            scopes=[Scope()],
            chunks=[[tuple(row.values()) for row in rows]],
            attempt_started_at=utcnow(),
        )
    shutil.copytree(synced.settings.resolved_media_url(), tmp_path / "media")
    return run()


def stored(engine: sa.Engine) -> dict[tuple[str, str], Row]:
    rows = read_rows(engine, CONGRUENCE_ANALYSIS, brand_id="acme")
    return {(row["ad_id"], row["url"].partition(f"/{HOST}")[2]): row for row in rows}


def metadata_of(result: Result) -> Row:
    (event,) = result.asset_materializations_for_node("congruence_analysis")
    return {key: value.value for key, value in event.metadata.items()}


def checks_of(result: Result) -> dict[str, bool]:
    found = {each.check_name: each.passed for each in result.get_asset_check_evaluations()}
    return {name: found[name] for name in CHECKS}


def change(engine: sa.Engine, dataset: str, where: str, **values: Any) -> None:
    table = DATASET_TABLES[dataset]
    with engine.begin() as connection:
        connection.execute(table.update().where(table.c.url.endswith(where)).values(**values))


@BOTH_DATABASES
def test_every_active_ad_is_judged_against_each_page_it_leads_to(
    judged: Result, engine: sa.Engine, instance: dg.DagsterInstance
) -> None:
    assert judged.success
    assert all(checks_of(judged).values())
    links = destinations(read_frame(engine, META_AD_CREATIVES, brand_id="acme"))
    wanted = {
        (ad, url.partition(f"/{HOST}")[2])
        for ad, url in links.loc[links["is_active"], ["ad_id", "url"]].itertuples(index=False)
    }
    rows = stored(engine)
    assert rows.keys() == wanted
    assert len({ad for ad, _ in wanted}) < len(wanted), "a carousel leads to many pages"
    metadata = metadata_of(judged)
    assert metadata["records"] == metadata["judged"] == len(rows)
    assert metadata["distinct_ads"] == len({ad for ad, _ in rows})
    project(instance, engine)
    states = {each.dataset: each.state for each in read_states(engine, now=utcnow())}
    assert states["congruence_analysis"] is State.FRESH


def test_what_the_shop_breaks_is_found_and_what_it_keeps_is_praised(
    judged: Result, engine: sa.Engine
) -> None:
    pages = {
        row["url"].partition(f"/{HOST}")[2]: row
        for row in read_rows(engine, LANDING_PAGES, brand_id="acme")
    }
    kept = 0
    for (_, path), row in stored(engine).items():
        assert row["page_state"] == pages[path]["state"]
        if row["page_state"] != "ok":
            assert [row[name] for name in SCORES] == [None] * 5
            assert row["confidence"] == 0
            continue
        assert 0 <= row["total"] <= 10
        assert all(row["evidence"][name] for name in ("message", "offer", "visual", "tone"))
        assert row["visual"] is not None or pages[path]["image_url"] is None
        if row["mismatches"]:
            assert row["total"] <= 6
        else:
            kept += 1
    assert kept >= 3
    severe = sum(bool(row["mismatches"]) for row in stored(engine).values())
    assert metadata_of(judged)["severe_mismatches"] == severe


@BOTH_DATABASES
def test_what_has_not_changed_is_not_judged_again_but_its_outcome_is(
    judged: Result, run: Run, engine: sa.Engine
) -> None:
    before = stored(engine)
    with engine.begin() as connection:
        table = DATASET_TABLES["meta_ads_performance"]
        connection.execute(table.update().values(impressions=0, inline_link_clicks=0))
        ads = DATASET_TABLES["meta_ad_creatives"]
        connection.execute(ads.update().values(ad_name="Renamed"))
    again = run()
    metadata = metadata_of(again)
    assert (metadata["judged"], metadata["unchanged"]) == (0, len(before))
    changed = {"link_ctr", "cvr", "outcome", "ad_name", "fetched_at"}
    for key, row in stored(engine).items():
        assert {n: v for n, v in row.items() if n not in changed} == {
            n: v for n, v in before[key].items() if n not in changed
        }
        assert (row["ad_name"], row["link_ctr"]) == ("Renamed", None)
        assert row["outcome"] == "too_little_data"
    assert any(row["link_ctr"] is not None for row in before.values())


@BOTH_DATABASES
def test_a_changed_page_is_judged_again_and_only_its_ads(
    judged: Result, run: Run, engine: sa.Engine
) -> None:
    before = stored(engine)
    (path, *_) = [path for (_, path), row in before.items() if row["page_state"] == "ok"]
    change(engine, "landing_pages", path, price=100_000, currency="EUR", main_text="All sold out.")
    metadata = metadata_of(run())
    rows = stored(engine)
    touched = {key for key, row in rows.items() if row["judged_at"] != before[key]["judged_at"]}
    assert touched == {key for key in rows if key[1] == path}
    assert metadata["judged"] == len(touched)


def test_a_page_that_was_not_read_yet_is_told_by_its_check(
    judged: Result, run: Run, engine: sa.Engine
) -> None:
    with engine.begin() as connection:
        connection.execute(DATASET_TABLES["landing_pages"].delete())
    again = run()
    assert again.success
    assert checks_of(again) == dict.fromkeys(CHECKS, False)
    assert {row["page_state"] for row in stored(engine).values()} == {"not_read"}


def test_a_picture_that_is_not_there_leaves_the_other_scores_and_is_not_asked_for_again(
    judged: Result, run: Run, engine: sa.Engine, simulator: SimulatorServer
) -> None:
    before = stored(engine)
    (key, *_) = [key for key, row in before.items() if row["visual"] is not None]
    address = f"{simulator.url}/cdn/nothing.jpg"
    change(engine, "landing_pages", key[1], image_url=address)
    assert metadata_of(run())["judged"] >= 1
    row = stored(engine)[key]
    assert row["visual"] is None
    (why,) = row["evidence"]["visual"]
    assert why.startswith(f"Not compared: the page's picture cannot be had: {address} answered 404")
    assert row["message"] == before[key]["message"]
    assert row["confidence"] == pytest.approx(before[key]["confidence"] - 0.15)
    assert metadata_of(run())["judged"] == 0


def show_pictures_of(host: BusyHost, engine: sa.Engine) -> set[str]:
    """Each page that shows a picture that is compared shows one of this host; their paths."""
    paths = {path for (_, path), row in stored(engine).items() if row["visual"] is not None}
    for number, path in enumerate(sorted(paths)):
        address = f"http://{host.name}/{number}.jpg"
        change(engine, "landing_pages", path, image_url=address)
    return paths


def test_a_host_that_fails_three_times_is_left_alone_and_asked_by_the_next_run(
    judged: Result, run: Run, engine: sa.Engine, busy_host: BusyHost
) -> None:
    paths = show_pictures_of(busy_host, engine)
    assert len(paths) > 3
    for asked in (3, 6):
        result = run(allow_private_hosts=(busy_host.name,))
        assert all(checks_of(result).values())
        assert len(busy_host.paths) == asked
        rows = {path: row for (_, path), row in stored(engine).items() if path in paths}
        assert metadata_of(result)["judged"] >= len(rows)
        whys = [row["evidence"]["visual"][0] for row in rows.values()]
        assert {row["visual"] for row in rows.values()} == {None}
        assert sum("answered 503" in why for why in whys) == 3
        left = "Not compared: the host of the page's picture did not give 3 others in a row."
        assert whys.count(left) == len(paths) - 3


def test_rows_are_stored_without_the_pictures_that_there_is_no_time_for(
    judged: Result,
    run: Run,
    engine: sa.Engine,
    busy_host: BusyHost,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    paths = show_pictures_of(busy_host, engine)
    monkeypatch.setattr(asset, "_PICTURES_SHARE", 0)
    assert run(allow_private_hosts=(busy_host.name,)).success
    assert busy_host.paths == []
    rows = [row for (_, path), row in stored(engine).items() if path in paths]
    assert {row["evidence"]["visual"][0] for row in rows} == {
        "Not compared: there was no time for the page's picture."
    }
    assert all(row["total"] is not None for row in rows)


def test_an_address_inside_the_network_is_never_asked_for_a_picture(
    judged: Result, run: Run, engine: sa.Engine
) -> None:
    (key, *_) = [key for key, row in stored(engine).items() if row["visual"] is not None]
    change(engine, "landing_pages", key[1], image_url="http://169.254.169.254/latest/meta-data/")
    assert run().success
    assert stored(engine)[key]["visual"] is None


def test_a_brand_without_ads_has_no_rows_and_passing_checks(
    run: Run, engine: sa.Engine, have_synced: HaveSynced
) -> None:
    have_synced("meta_ad_creatives", "landing_pages")
    result = run()
    assert result.success
    assert all(checks_of(result).values())
    assert stored(engine) == {}

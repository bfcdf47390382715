"""What pages give away with their own tokens: files of videos, destinations of boosted posts."""

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import sqlalchemy as sa

from pipeline_assets.clock import utcnow
from pipeline_assets.resources.installation import Installation
from pipeline_assets.schemas import SCHEMAS
from pipeline_assets.simulator.calls import token_hash
from pipeline_assets.simulator.faults import Endpoint, Fault, FaultKind
from pipeline_assets.simulator.server import SimulatorServer
from pipeline_assets.simulator.world import PAGES_SCOPE, AccountSpec, AdKind, TokenSpec, World
from pipeline_assets.storage.tables import METADATA
from pipeline_assets.storage.windows import read_rows

PARIS, ANGELES = "act_11", "act_12"
TOKEN = TokenSpec(
    "EAAPlantedTokenOfTheTests0123456789abcdef",
    scopes=("ads_read", PAGES_SCOPE),
    pages=(PARIS,),
)
BOTH_DATABASES = pytest.mark.parametrize("database_url", ["sqlite", "postgresql"], indirect=True)

PAGE_TOKEN = TOKEN.of_page(PARIS).value
KINDS = (AdKind.VIDEO, AdKind.BOOSTED_POST, AdKind.IMAGE, AdKind.DYNAMIC)

Row = dict[str, Any]
Sync = Callable[..., dg.ExecuteInProcessResult]


@pytest.fixture(scope="module")
def world() -> World:
    """Two accounts alike; the page of Paris alone was assigned to the token.

    Two videos of each are withheld: a video ad's and a dynamic one's, which names no post.
    """
    accounts = [
        AccountSpec(id=each, name=each, ad_count=8, kinds=KINDS, sourceless_video_count=2)
        for each in (PARIS, ANGELES)
    ]
    return World(accounts, tokens=(TOKEN,), anchor=utcnow().date())


@pytest.fixture
def simulator(world: World) -> Iterator[SimulatorServer]:
    with SimulatorServer(world, report_seconds=0.02) as server:
        yield server


def rows_of(engine: sa.Engine, dataset: str, account_id: str) -> list[Row]:
    rows = read_rows(engine, SCHEMAS[dataset], brand_id="acme")
    return [row for row in rows if row["ad_account_id"] == account_id]


def states_of_videos(engine: sa.Engine, account_id: str) -> Counter[str]:
    rows = rows_of(engine, "ad_assets", account_id)
    return Counter(row["state"] for row in rows if row["media_type"] == "video")


def destinations_of_posts(engine: sa.Engine, simulator: SimulatorServer, account_id: str) -> Row:
    account = simulator.world.accounts[account_id]
    boosted = {ad.id for ad in account.ads if ad.kind is AdKind.BOOSTED_POST}
    rows = rows_of(engine, "meta_ad_creatives", account_id)
    assert [row["error"] for row in rows] == [None] * len(rows)
    return {row["ad_id"]: row["destination_url"] for row in rows if row["ad_id"] in boosted}


@BOTH_DATABASES
def test_what_the_page_may_give_is_stored_and_the_rest_stays_poster_and_without_destination(
    sync: Sync, engine: sa.Engine, simulator: SimulatorServer, installation: Installation
) -> None:
    assert sync("meta_ad_creatives", "ad_assets").success
    assert states_of_videos(engine, PARIS) == {"stored": 4}
    assert states_of_videos(engine, ANGELES) == {"stored": 2, "poster_only": 2}
    for row in rows_of(engine, "ad_assets", PARIS):
        assert row["error"] is None
        assert installation.media.has(row["sha256"])
    found = destinations_of_posts(engine, simulator, PARIS)
    assert len(found) == 2
    assert all(url.startswith("https://shop.example/products/") for url in found.values())
    posts = [r for r in rows_of(engine, "meta_ad_creatives", PARIS) if r["ad_id"] in found]
    assert all(row["title"] and row["call_to_action_type"] == "SHOP_NOW" for row in posts)
    assert set(destinations_of_posts(engine, simulator, ANGELES).values()) == {None}
    asked = Counter(call.account for call in simulator.calls if call.endpoint is Endpoint.PAGE)
    assert asked == {PARIS: 1, ANGELES: 1}, "once for both datasets, refused or not"


def test_a_dead_page_token_costs_the_page_and_nothing_else(
    sync: Sync, engine: sa.Engine, simulator: SimulatorServer
) -> None:
    simulator.faults.add(Fault(kind=FaultKind.TOKEN_INVALID, endpoint=Endpoint.POST))
    assert sync("meta_ad_creatives", "ad_assets").success
    assert set(destinations_of_posts(engine, simulator, PARIS).values()) == {None}
    assert states_of_videos(engine, PARIS) == {"stored": 2, "poster_only": 2}
    assert states_of_videos(engine, ANGELES) == {"stored": 2, "poster_only": 2}


@BOTH_DATABASES
@pytest.mark.parametrize("instance", ["files"], indirect=True)
def test_a_page_token_is_in_no_table_log_event_or_file(
    sync: Sync,
    instance: dg.DagsterInstance,
    engine: sa.Engine,
    simulator: SimulatorServer,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    simulator.faults.add(Fault(kind=FaultKind.SERVICE_ERROR, endpoint=Endpoint.POST))
    runs = [sync("meta_ad_creatives", haste=50)]
    errors = {row["error"] for row in rows_of(engine, "meta_ad_creatives", PARIS)} - {None}
    assert len(errors) == 2, "posts that could not be read just now"
    simulator.faults.clear()
    own_reads = 4  # then come those with the page's token
    simulator.faults.add(
        Fault(kind=FaultKind.TOKEN_INVALID, endpoint=Endpoint.VIDEO, after_calls=own_reads, count=2)
    )
    runs.append(sync("meta_ad_creatives", "ad_assets"))
    assert None not in destinations_of_posts(engine, simulator, PARIS).values(), "read again"
    used = token_hash(PAGE_TOKEN)
    assert {call.status for call in simulator.calls if call.token_hash == used} == {200, 400, 500}
    written = "".join(capfd.readouterr())
    for run in runs:
        written += "".join(str(entry) for entry in instance.all_logs(run.run_id))
    with engine.connect() as connection:
        for table in METADATA.tables.values():
            written += str(connection.execute(sa.select(table)).all())
    assert "acme" in written
    assert PAGE_TOKEN not in written
    for file in [*tmp_path.rglob("*"), *Path(instance.root_directory).rglob("*")]:
        if file.is_file():
            assert PAGE_TOKEN.encode() not in file.read_bytes(), file

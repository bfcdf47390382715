"""Each asset check fails when what it watches goes wrong; a brand set up wrongly says how."""

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import dagster as dg
import pytest
import sqlalchemy as sa

from pipeline_assets.brands.models import parse_brand
from pipeline_assets.brands.registry import apply_brands
from pipeline_assets.clock import utcnow
from pipeline_assets.control.projector import project
from pipeline_assets.control.status import DatasetState, read_states
from pipeline_assets.freshness.evaluate import State
from pipeline_assets.resources.installation import Installation
from pipeline_assets.schemas import SCHEMAS
from pipeline_assets.simulator.faults import Endpoint, Fault, FaultKind
from pipeline_assets.simulator.server import SimulatorServer
from pipeline_assets.simulator.world import World
from pipeline_assets.storage.tables import DATASET_TABLES
from pipeline_assets.storage.windows import read_rows

PARIS = "act_11"

BOTH_DATABASES = pytest.mark.parametrize("database_url", ["sqlite", "postgresql"], indirect=True)

Sync = Callable[..., dg.ExecuteInProcessResult]


class Clock:
    """The simulator's clock: the real one, until a test puts another in its place."""

    def __init__(self) -> None:
        self.read: Callable[[], datetime] = utcnow

    def __call__(self) -> datetime:
        return self.read()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def simulator(world: World, clock: Clock) -> Iterator[SimulatorServer]:
    with SimulatorServer(world, now=clock, report_seconds=0.02) as server:
        yield server


def states_of(instance: dg.DagsterInstance, engine: sa.Engine) -> dict[str, DatasetState]:
    project(instance, engine)
    return {state.dataset: state for state in read_states(engine, now=utcnow())}


def check_of(result: dg.ExecuteInProcessResult, dataset: str, name: str) -> dg.AssetCheckEvaluation:
    found = result.get_asset_check_evaluations()
    (check,) = [
        each for each in found if each.asset_key == dg.AssetKey(dataset) and each.check_name == name
    ]
    return check


def assert_failed_check_of_a_stored_dataset(
    result: dg.ExecuteInProcessResult, dataset: str, name: str
) -> dg.AssetCheckEvaluation:
    """The check is red for the brand, and what was stored is stored all the same."""
    assert result.success
    check = check_of(result, dataset, name)
    assert not check.passed
    assert check.partition == "acme"
    assert check.severity is dg.AssetCheckSeverity.ERROR
    (stored,) = result.asset_materializations_for_node(dataset)
    assert stored.metadata["records"].value > 0
    return check


@BOTH_DATABASES
def test_ads_whose_spend_does_not_add_up_to_the_accounts_fail_the_check(
    sync: Sync, simulator: SimulatorServer, clock: Clock
) -> None:
    zone = ZoneInfo("Europe/Paris")
    today = utcnow().astimezone(zone).date()
    morning = datetime.combine(today, time(hour=0, minute=1), zone)

    def a_day_that_passes_between_two_answers() -> datetime:
        answered = [call for call in simulator.calls if call.endpoint is Endpoint.INSIGHTS]
        is_late = PARIS in {call.account for call in answered}
        return (morning + timedelta(hours=22 if is_late else 0)).astimezone(UTC)

    clock.read = a_day_that_passes_between_two_answers
    days = (today - timedelta(days=1), today)
    result = sync("meta_ads_performance", window=(days[0].isoformat(), days[1].isoformat()))
    check = assert_failed_check_of_a_stored_dataset(
        result, "meta_ads_performance", "spend_matches_account_total"
    )
    assert f"{PARIS}: ads " in (check.description or "")
    assert "EUR" in (check.description or "")


def test_one_creative_in_seventeen_that_cannot_be_read_fails_the_check(
    sync: Sync, engine: sa.Engine, simulator: SimulatorServer
) -> None:
    simulator.faults.add(
        Fault(kind=FaultKind.OBJECT_MISSING, endpoint=Endpoint.CREATIVE, account=PARIS, count=1)
    )
    result = sync("meta_ad_creatives")
    check = assert_failed_check_of_a_stored_dataset(
        result, "meta_ad_creatives", "ads_have_readable_creatives"
    )
    assert check.metadata["without_creative"].value == 1
    assert check.metadata["ads"].value == 17
    rows = read_rows(engine, SCHEMAS["meta_ad_creatives"], brand_id="acme")
    (bad,) = [row for row in rows if row["error"]]
    assert bad["ad_account_id"] == PARIS


@pytest.mark.parametrize(
    ("dataset", "name"),
    [
        ("ad_thumbnails", "media_are_in_the_store"),
        ("ad_assets", "media_are_in_the_store"),
    ],
)
def test_more_than_one_missing_picture_in_twenty_fails_the_check(
    sync: Sync, simulator: SimulatorServer, dataset: str, name: str
) -> None:
    sync("meta_ad_creatives")
    simulator.faults.add(Fault(kind=FaultKind.CDN_HTML, count=2))
    check = assert_failed_check_of_a_stored_dataset(sync(dataset), dataset, name)
    assert check.metadata["missing"].value == 2
    assert check.metadata["items"].value < 40


def test_texts_whose_hooks_are_mostly_unknown_fail_the_check(sync: Sync, engine: sa.Engine) -> None:
    sync("meta_ad_creatives")
    hooks = "ad_classifications", "most_hooks_are_recognised"
    assert check_of(sync("ad_classifications"), *hooks).passed
    table = DATASET_TABLES["meta_ad_creatives"]
    blurred = {"title": "zq", "body": "zq zq", "titles": ["zq"], "bodies": ["zq zq"]}
    with engine.begin() as connection:
        connection.execute(table.update().values(**blurred))
    result = sync("ad_classifications")
    check = assert_failed_check_of_a_stored_dataset(result, *hooks)
    assert check.metadata["unknown_hooks"].value > check.metadata["creatives"].value / 2


@BOTH_DATABASES
@pytest.mark.parametrize(
    ("age", "asks_again"),
    [(timedelta(hours=23, minutes=58), False), (timedelta(hours=24), True)],
)
def test_a_video_that_meta_withholds_is_asked_for_again_after_a_day(
    sync: Sync,
    engine: sa.Engine,
    simulator: SimulatorServer,
    age: timedelta,
    asks_again: bool,
) -> None:
    sync("meta_ad_creatives")
    sync("ad_assets")
    table = DATASET_TABLES["ad_assets"]
    withheld = table.c.state == "poster_only"
    with engine.begin() as connection:
        connection.execute(table.update().where(withheld).values(stored_at=utcnow() - age))
        posters = connection.execute(sa.select(table.c.media_id).where(withheld)).scalars().all()
    assert posters
    simulator.reset()
    assert sync("ad_assets").success
    calls = Counter(call.endpoint for call in simulator.calls)
    assert (calls[Endpoint.VIDEO] > 0) is asks_again
    assert calls[Endpoint.IMAGES] == 0, "what is stored is not asked for"
    with engine.connect() as connection:
        after = connection.execute(sa.select(table.c.media_id).where(withheld)).scalars().all()
    assert sorted(after) == sorted(posters)


def change_brand(engine: sa.Engine, sources: dict[str, Any]) -> None:
    brand = {"id": "acme", "name": "Acme", "timezone": "UTC", "sources": sources}
    apply_brands(engine, [parse_brand(brand)], actor="test", now=utcnow())


def test_a_brand_without_a_meta_source_is_not_configured_rather_than_stale(
    sync: Sync, instance: dg.DagsterInstance, installation: Installation, engine: sa.Engine
) -> None:
    sync("meta_ad_creatives")
    change_brand(engine, {})
    states = states_of(instance, engine)
    assert {state.state for state in states.values()} == {State.NOT_CONFIGURED}
    assert not sync().success
    states = states_of(instance, engine)
    assert {state.state for state in states.values()} == {State.NOT_CONFIGURED}
    for key in ("meta_ads_performance", "meta_ad_creatives"):
        assert states[key].error_class == "InvalidConfigError"
        assert states[key].error_message == "Brand 'acme' has no Meta source."
        assert "brands apply" in (states[key].advice or "")
    rows = read_rows(installation.engine, SCHEMAS["meta_ad_creatives"], brand_id="acme")
    assert rows, "what an earlier sync stored stays"


def test_a_token_that_is_not_where_the_brand_says_costs_no_call_and_is_named(
    sync: Sync, instance: dg.DagsterInstance, engine: sa.Engine, simulator: SimulatorServer
) -> None:
    reference = "env:META_TOKEN_THAT_NOBODY_HAS_SET"
    change_brand(engine, {"meta": {"ad_accounts": [PARIS], "token": reference}})
    assert not sync().success
    assert simulator.calls == ()
    states = states_of(instance, engine)
    for key in ("meta_ads_performance", "meta_ad_creatives"):
        assert states[key].state is State.FAILING
        assert states[key].error_class == "CredentialError"
        assert reference in (states[key].error_message or "")
        assert states[key].advice == "Set the environment variable where Dagster runs."
    assert states["ad_thumbnails"].last_attempt_outcome == "skipped"


def test_a_library_token_that_is_the_brands_own_does_not_cost_it_its_proof(
    installation: Installation, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("proof-of-the-app")
    token = f"file:{tmp_path / 'token'}"
    meta = {"ad_accounts": [PARIS], "token": token, "app_secret": f"file:{secret}"}
    templates = {"search_terms": ["soap"], "countries": ["FR"], "token": token}
    sources = {"meta": meta, "templates": templates}
    brand = parse_brand({"id": "acme", "name": "Acme", "timezone": "UTC", "sources": sources})
    assert brand.sources.templates is not None
    of_library = installation.library_client(brand, brand.sources.templates)
    own = installation.graph_client(brand)
    assert own is not of_library
    assert own is installation.graph_client(brand)

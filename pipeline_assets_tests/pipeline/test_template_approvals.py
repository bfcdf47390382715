"""The asset template_approvals: one brand like any other dataset, and several brands at once."""

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import sqlalchemy as sa

from pipeline_assets.brands.models import parse_brand
from pipeline_assets.brands.registry import add_brand
from pipeline_assets.clock import utcnow
from pipeline_assets.control.brand_partitions import BRAND_PARTITIONS
from pipeline_assets.control.item_decisions import decide
from pipeline_assets.control.projector import project
from pipeline_assets.control.run_tags import PARTITION_RANGE_END, PARTITION_RANGE_START
from pipeline_assets.definitions import build_definitions
from pipeline_assets.resources.installation import Installation
from pipeline_assets.schemas import TEMPLATE_APPROVALS, TEMPLATES_SCRAPED
from pipeline_assets.settings import Settings
from pipeline_assets.storage.engine import write_transaction
from pipeline_assets.storage.tables import DATASET_TABLES, brands, dataset_status
from pipeline_assets.storage.windows import Scope, read_rows, replace_rows

BRANDS = ("acme", "globex", "initech")
DATASET = "template_approvals"
ACTOR = "user:ann@example.com"

BOTH_DATABASES = pytest.mark.parametrize("database_url", ["sqlite", "postgresql"], indirect=True)

Row = dict[str, Any]
Approve = Callable[..., dg.ExecuteInProcessResult]
HaveSynced = Callable[..., None]


def template(number: int, **fields: Any) -> Row:
    """A template that the rules approve: 120 days, still running, complete."""
    now = utcnow()
    row: Row = dict.fromkeys(TEMPLATES_SCRAPED.column_names)
    row |= {
        "library_ad_id": f"t{number}",
        "source": "apify/facebook-ads-scraper",
        "matched_by": "shoes",
        "title": f"Shoe {number}",
        "body": "Walk on air.",
        "titles": [f"Shoe {number}"],
        "bodies": ["Walk on air."],
        "image_urls": ["https://cdn.example/1.png"],
        "video_urls": [],
        "started_on": date(2026, 1, 1),
        "is_active": True,
        "days_running": 120,
        "platforms": ["facebook"],
        "languages": ["en"],
        "content_hash": f"h{number}",
        "raw": {},
        "first_seen_at": now,
        "last_seen_at": now,
        "fetched_at": now,
    }
    return row | fields


def store(engine: sa.Engine, brand_id: str, *templates: Row) -> None:
    names = TEMPLATES_SCRAPED.column_names
    rows = [tuple({**each, "brand_id": brand_id}[name] for name in names) for each in templates]
    replace_rows(
        engine,
        TEMPLATES_SCRAPED,
        brand_id=brand_id,
        scopes=[Scope()],
        chunks=[rows],
        attempt_started_at=utcnow(),
    )


WEAK = {"days_running": 3, "is_active": False, "stopped_on": date(2025, 1, 4), "body": None}


@pytest.fixture
def installation(
    database_url: str, engine: sa.Engine, tmp_path: Path, have_synced: HaveSynced
) -> Installation:
    for brand_id in BRANDS:
        have_synced("templates_scraped", brand_id=brand_id)
        data = {
            "id": brand_id,
            "name": brand_id,
            "timezone": "UTC",
            "sources": {"templates": {"search_terms": ["shoes"], "policy_words": ["air"]}},
        }
        if brand_id != "acme":
            data["sources"]["templates"]["policy_words"] = []  # type: ignore[index]
        add_brand(engine, parse_brand(data), actor="test", now=datetime(2026, 1, 1, tzinfo=UTC))
    return Installation(Settings(database_url=database_url, media_url=str(tmp_path / "media")))


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions(BRAND_PARTITIONS, ["acme", "foreign", *BRANDS[1:]])
        yield instance


@pytest.fixture
def approve(installation: Installation, instance: dg.DagsterInstance) -> Approve:
    """`approve("acme")` runs one brand as the asset page does, `approve("acme", "globex")` a range.

    `chosen=False`: the range without the config that our sensor gives it.
    """
    job = build_definitions(installation).resolve_job_def("template_approval")

    def run(*brand_ids: str, chosen: bool = True) -> dg.ExecuteInProcessResult:
        if len(brand_ids) == 1:
            return job.execute_in_process(
                instance=instance, partition_key=brand_ids[0], raise_on_error=False
            )
        tags = {PARTITION_RANGE_START: brand_ids[0], PARTITION_RANGE_END: brand_ids[-1]}
        config = {"ops": {DATASET: {"config": {"brands": list(brand_ids)}}}} if chosen else {}
        return job.execute_in_process(
            instance=instance, tags=tags, run_config=config, raise_on_error=False
        )

    return run


def judged(engine: sa.Engine, brand_id: str = "acme") -> dict[str, Row]:
    rows = read_rows(engine, TEMPLATE_APPROVALS, brand_id=brand_id)
    return {row["template_id"]: row for row in rows}


def states(engine: sa.Engine, brand_id: str = "acme") -> dict[str, str]:
    return {item: row["state"] for item, row in judged(engine, brand_id).items()}


def checks(result: dg.ExecuteInProcessResult) -> dict[tuple[str | None, str], bool]:
    """By brand and name, whether the run's checks passed."""
    found = [event.asset_check_evaluation_data for event in result.all_events if is_check(event)]
    return {(each.partition, each.check_name): each.passed for each in found}


def is_check(event: dg.DagsterEvent) -> bool:
    return event.event_type is dg.DagsterEventType.ASSET_CHECK_EVALUATION


def status(engine: sa.Engine) -> Mapping[str, Row]:
    with engine.connect() as connection:
        is_it = dataset_status.c.dataset == DATASET
        rows = connection.execute(sa.select(dataset_status).where(is_it)).mappings()
        return {row["brand_id"]: dict(row) for row in rows}


@BOTH_DATABASES
def test_one_brand_is_judged_like_any_dataset_and_every_state_has_its_reason(
    engine: sa.Engine, installation: Installation, instance: dg.DagsterInstance, approve: Approve
) -> None:
    calm = {"body": "Soft soles.", "bodies": ["Soft soles."]}
    store(
        engine,
        "acme",
        template(1, **calm),
        template(2),  # "air" is a word that acme forbids itself
        template(3, **WEAK),
        template(4, **calm, content_hash="h1", started_on=date(2026, 2, 1)),
        template(5, body="Guaranteed income from day one"),
    )
    result = approve("acme")
    assert result.success
    assert states(engine) == {
        "t1": "approved",
        "t2": "pending",
        "t3": "rejected",
        "t4": "rejected",
        "t5": "pending",
    }
    rows = judged(engine)
    assert all(row["reasons"] and row["decided_by"] == "rules" for row in rows.values())
    assert (rows["t4"]["duplicate_of"], rows["t4"]["reasons"]) == (
        "t1",
        ["It is a copy of t1, which is approved already."],
    )
    assert rows["t2"]["policy_words"] == ["air"]
    assert rows["t5"]["policy_words"] == ["Guaranteed income", "air"]
    assert sum(part["points"] for part in rows["t1"]["score_parts"]) > 0
    assert set(checks(result).values()) == {True}
    project(instance, engine)
    assert status(engine)["acme"]["records_affected"] == 5
    assert status(engine)["acme"]["last_attempt_outcome"] == "succeeded"


@BOTH_DATABASES
def test_one_brands_trouble_stops_no_other_and_is_its_own(
    engine: sa.Engine, installation: Installation, instance: dg.DagsterInstance, approve: Approve
) -> None:
    for brand_id in BRANDS:
        store(engine, brand_id, template(1), template(2, **WEAK))
    with write_transaction(engine) as connection:
        bad = brands.update().where(brands.c.id == "globex")
        connection.execute(bad.values(sources={}))
    result = approve(*BRANDS)
    assert not result.success
    assert states(engine, "acme") == {"t1": "pending", "t2": "rejected"}
    assert states(engine, "initech") == {"t1": "approved", "t2": "rejected"}
    assert states(engine, "globex") == {}
    project(instance, engine)
    found = status(engine)
    assert {brand: row["last_attempt_outcome"] for brand, row in found.items()} == {
        "acme": "succeeded",
        "globex": "failed",
        "initech": "succeeded",
    }  # and of `foreign`, which lies in the range, nothing
    assert found["globex"]["error_class"] == "InvalidConfigError"
    assert found["globex"]["error_message"] == "Brand 'globex' has no templates source."
    assert "brands apply" in found["globex"]["advice"]
    assert found["acme"]["records_affected"] == 2
    assert {brand for brand, _ in checks(result)} == {"acme", "initech"}
    asset = dg.AssetKey(DATASET)
    assert instance.get_materialized_partitions(asset) == {"acme", "initech"}


def test_a_run_over_several_brands_succeeds_when_all_did(
    engine: sa.Engine, installation: Installation, instance: dg.DagsterInstance, approve: Approve
) -> None:
    for brand_id in BRANDS:
        store(engine, brand_id, template(1))
    assert approve(*BRANDS).success
    project(instance, engine)
    assert {row["last_attempt_outcome"] for row in status(engine).values()} == {"succeeded"}
    assert instance.get_materialized_partitions(dg.AssetKey(DATASET)) == set(BRANDS)


def test_a_range_that_a_person_chose_in_dagster_is_done_as_it_is(
    engine: sa.Engine, installation: Installation, instance: dg.DagsterInstance, approve: Approve
) -> None:
    assert not approve("acme", "globex", chosen=False).success  # `foreign` is no brand of ours
    project(instance, engine)
    assert {brand: row["last_attempt_outcome"] for brand, row in status(engine).items()} == {
        "acme": "succeeded",
        "foreign": "failed",
        "globex": "succeeded",
    }


@BOTH_DATABASES
def test_a_persons_decision_outlives_syncs_until_it_is_given_back(
    engine: sa.Engine, installation: Installation, approve: Approve
) -> None:
    assert installation
    store(engine, "initech", template(1), template(2, content_hash="h1"))
    assert approve("initech").success
    assert states(engine, "initech") == {"t1": "approved", "t2": "rejected"}
    said = {"brand_id": "initech", "dataset": DATASET, "actor": ACTOR, "now": utcnow()}
    row = decide(engine, **said, item_id="t1", decision="rejected", reason="Not our tone.").row
    assert (row["state"], row["is_overruled"]) == ("rejected", True)
    assert approve("initech").success
    rows = judged(engine, "initech")
    assert (rows["t1"]["state"], rows["t1"]["decided_by"]) == ("rejected", ACTOR)
    assert rows["t1"]["reasons"][0] == "Not our tone."
    assert rows["t1"]["is_overruled"]
    assert rows["t1"]["rule_state"] == "approved"
    assert rows["t2"]["reasons"] == ["It is a copy of t1, which is rejected already."]
    decide(engine, **said, item_id="t1", decision="pending", reason="Let the rules decide.")
    assert judged(engine, "initech")["t1"]["reasons"] == rows["t1"]["reasons"][1:]
    assert approve("initech").success
    assert states(engine, "initech") == {"t1": "approved", "t2": "rejected"}
    assert not any(row["is_overruled"] for row in judged(engine, "initech").values())


@BOTH_DATABASES
def test_a_decision_made_while_a_run_writes_is_not_lost(
    engine: sa.Engine,
    installation: Installation,
    approve: Approve,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The person decides when the run has read the templates and is about to write."""
    from pipeline_assets.analysis import template_scoring  # noqa: PLC0415

    assert installation
    store(engine, "initech", template(1))
    assert approve("initech").success
    judge = template_scoring.judge_templates

    def judge_and_decide(*args: Any, **kwargs: Any) -> Any:
        said = {"brand_id": "initech", "dataset": DATASET, "actor": ACTOR, "now": utcnow()}
        decide(engine, **said, item_id="t1", decision="rejected", reason="No.")
        return judge(*args, **kwargs)

    monkeypatch.setattr(template_scoring, "judge_templates", judge_and_decide)
    assert approve("initech").success
    assert states(engine, "initech") == {"t1": "rejected"}


@BOTH_DATABASES
def test_what_the_rules_say_again_they_have_said_since_the_first_time(
    engine: sa.Engine, installation: Installation, approve: Approve
) -> None:
    assert installation
    store(engine, "initech", template(1, days_running=None))
    assert approve("initech").success
    first = judged(engine, "initech")["t1"]
    assert first["state"] == "pending"
    assert approve("initech").success
    again = judged(engine, "initech")["t1"]
    assert again["decided_at"] == first["decided_at"] < again["fetched_at"]


def test_a_queue_to_which_nobody_comes_and_a_template_without_a_row_fail_their_checks(
    engine: sa.Engine,
    installation: Installation,
    approve: Approve,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from pipeline_assets.analysis import template_scoring  # noqa: PLC0415

    assert installation
    store(engine, "initech", template(1, days_running=None))
    assert approve("initech").success
    table = DATASET_TABLES[DATASET]
    with write_transaction(engine) as connection:
        long_ago = utcnow() - timedelta(days=7, minutes=1)
        connection.execute(table.update().values(decided_at=long_ago))
    judge = template_scoring.judge_templates

    def judge_while_more_come(*args: Any, **kwargs: Any) -> Any:
        judgements = judge(*args, **kwargs)
        store(engine, "initech", template(1, days_running=None), template(2))
        return judgements

    monkeypatch.setattr(template_scoring, "judge_templates", judge_while_more_come)
    result = approve("initech")
    assert result.success
    found = {name: passed for (_, name), passed in checks(result).items()}
    assert found["people_come_to_the_queue"] is False
    assert found["every_template_is_judged"] is False


def test_a_brand_without_the_source_is_told_what_to_configure(
    engine: sa.Engine, installation: Installation, instance: dg.DagsterInstance, approve: Approve
) -> None:
    with write_transaction(engine) as connection:
        connection.execute(brands.update().values(sources={}))
    assert not approve("acme").success
    project(instance, engine)
    assert status(engine)["acme"]["error_class"] == "InvalidConfigError"


def test_of_all_brands_only_those_with_gathered_templates_are_tried(
    engine: sa.Engine, instance: dg.DagsterInstance, approve: Approve
) -> None:
    with write_transaction(engine) as connection:
        never = dataset_status.c.brand_id == "globex"
        connection.execute(dataset_status.delete().where(never))
    assert not approve(*BRANDS).success
    project(instance, engine)
    found = status(engine)
    assert {brand_id: row["last_attempt_outcome"] for brand_id, row in found.items()} == {
        "acme": "succeeded",
        "globex": "skipped",
        "initech": "succeeded",
    }
    assert found["globex"]["error_class"] == "UpstreamFailed"
    assert found["globex"]["advice"] == (
        "Sync that first: `pipeline-assets sync globex template_scrape`."
    )


def test_a_range_launched_on_the_asset_page_leaves_the_check_of_freshness_to_the_sensor(
    engine: sa.Engine, installation: Installation, instance: dg.DagsterInstance
) -> None:
    for brand_id in BRANDS:
        store(engine, brand_id, template(1))
    definitions = build_definitions(installation)
    key = dg.AssetKey(DATASET)
    job = definitions.resolve_implicit_global_asset_job_def().get_subset(asset_selection={key})
    tags = {PARTITION_RANGE_START: "globex", PARTITION_RANGE_END: "initech"}
    result = job.execute_in_process(instance=instance, tags=tags, raise_on_error=False)
    assert result.success
    names = {name for _, name in checks(result)}
    assert len(names) == 3
    assert "fresh" not in names  # Dagster executes it for one partition alone

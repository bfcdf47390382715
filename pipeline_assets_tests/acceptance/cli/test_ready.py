"""`pipeline-assets ready`: the answer in words, as JSON and as an exit code."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from pipeline_assets.schemas import SCHEMAS
from pipeline_assets.storage.engine import build_engine, write_transaction
from pipeline_assets.storage.tables import dataset_status

if TYPE_CHECKING:
    from conftest import CommandLine

PAGES = """
pages:
  - name: hourly
    title: Hourly report
    needs: [{dataset: meta_ads_performance, max_age_hours: 0.5, withhold: true}]
"""


def add_brand(cli: CommandLine, brand_id: str) -> None:
    add = ("brands", "add", brand_id, "--timezone", "UTC", "--ad-account", "1")
    cli.done(*add, "--token", "env:NOT_SET_ANYWHERE")


def put(cli: CommandLine, brand_id: str, *, hours: dict[str, float]) -> None:
    """Statuses as syncs so many hours ago have left them."""
    database = build_engine(f"sqlite:///{cli.home / 'pipeline_assets.db'}")
    now = datetime.now(UTC)
    rows: list[dict[str, Any]] = [
        {
            "brand_id": brand_id,
            "dataset": key,
            "organization_id": "default",
            "last_attempt_run_id": "r",
            "last_attempt_outcome": "succeeded",
            "last_success_at": now - timedelta(hours=hours.get(key, 1)),
        }
        for key in SCHEMAS
    ]
    with write_transaction(database) as connection:
        connection.execute(dataset_status.delete().where(dataset_status.c.brand_id == brand_id))
        connection.execute(dataset_status.insert(), rows)
    database.dispose()


def test_the_exit_code_is_the_answer_and_the_words_say_why(cli: CommandLine) -> None:
    add_brand(cli, "acme")
    never = cli("ready", "acme", "ad_performance")
    assert (never.code, never.err) == (4, "")
    assert never.out.startswith(
        "✗ Ad performance not shown: never synced. "
        "Sync it now with `pipeline-assets sync acme meta_sync`.\n"
    )
    put(cli, "acme", hours={})
    ready = cli("ready", "acme", "ad_performance")
    assert (ready.code, ready.err) == (0, "")
    assert ready.out == "● Data fresh: Ad performance synced 60 min ago\n"
    put(cli, "acme", hours={"ad_thumbnails": 50})
    degraded = cli("ready", "acme", "ad_performance")
    assert (degraded.code, degraded.err) == (3, "")
    first, second = degraded.out.splitlines()
    assert first.startswith("◐ Thumbnails: last synced 2 d ago, allowed age 2 d. Sync it now")
    assert second == (
        "· Fresh: Ad performance 60 min ago, Ads and creatives 60 min ago, "
        "Creative scorecard 60 min ago."
    )
    put(cli, "acme", hours={"meta_ads_performance": 25})
    assert cli("ready", "acme", "ad_performance").code == 4


def test_json_is_the_apis_answer_and_the_exit_code_stays(cli: CommandLine) -> None:
    add_brand(cli, "acme")
    outcome = cli("ready", "acme", "ad_performance", "--json")
    assert (outcome.code, outcome.err) == (4, "")
    assert (outcome.json["page"], outcome.json["brand"]) == ("ad_performance", "acme")
    assert outcome.json["answer"] == "withhold"
    assert outcome.json["checked_at"].endswith("Z")
    assert [each["state"] for each in outcome.json["datasets"]] == ["never"] * 4
    assert outcome.json["lines"][0]["kind"] == "error"


def test_a_star_asks_about_all_brands(cli: CommandLine) -> None:
    for brand_id in ("acme", "globex"):
        add_brand(cli, brand_id)
        put(cli, brand_id, hours={})
    assert cli("ready", "*", "ad_performance").code == 0
    put(cli, "globex", hours={"meta_ads_performance": 25})
    outcome = cli("ready", "*", "ad_performance")
    assert outcome.code == 3
    assert outcome.out.startswith("◐ 1 of 2 brands not ready.\n✗ globex: Ad performance not shown:")
    queue = cli("ready", "*", "template_queue", "--json")
    assert (queue.code, queue.json["answer"], queue.json["brand"]) == (4, "withhold", None)


def test_a_page_of_ones_own_is_asked_like_any_other(cli: CommandLine) -> None:
    file = cli.folder / "pages.yaml"
    file.write_text(PAGES)
    cli.settings["PIPELINE_PAGES_FILE"] = str(file)
    add_brand(cli, "acme")
    put(cli, "acme", hours={"meta_ads_performance": 0.4})
    assert cli("ready", "acme", "hourly").code == 0
    put(cli, "acme", hours={"meta_ads_performance": 0.6})
    assert cli("ready", "acme", "hourly").code == 4


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nobody", "ad_performance"), "There is no brand 'nobody'."),
        (("acme", "ad_performence"), "Did you mean ad_performance?"),
    ],
)
def test_what_there_is_not_gets_no_answer(
    cli: CommandLine, arguments: tuple[str, ...], said: str
) -> None:
    add_brand(cli, "acme")
    assert said in cli.refused("ready", *arguments)


def test_a_pages_file_that_is_wrong_gets_no_answer(cli: CommandLine) -> None:
    cli.settings["PIPELINE_PAGES_FILE"] = str(cli.folder / "missing.yaml")
    add_brand(cli, "acme")
    assert "missing.yaml cannot be read" in cli.refused("ready", "acme", "ad_performance")

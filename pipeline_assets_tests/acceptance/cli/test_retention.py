"""`pipeline-assets retention`: what it tells, that it changes nothing unless told to, and does."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from pipeline_assets.clock import utcnow
from pipeline_assets.storage import audit
from pipeline_assets.storage.engine import build_engine, write_transaction

if TYPE_CHECKING:
    from conftest import CommandLine

YEARS_OLD = utcnow() - timedelta(days=1000)


@pytest.fixture
def with_history(cli: CommandLine) -> CommandLine:
    """An installation with three audit entries of long ago."""
    engine = build_engine(f"sqlite:///{cli.home}/pipeline_assets.db")
    with write_transaction(engine) as connection:
        for _ in range(3):
            audit.record(connection, at=YEARS_OLD, actor="a", action="brand.add", target="acme")
    engine.dispose()
    return cli


def counts(report: dict[str, list[dict[str, object]]]) -> dict[object, object]:
    return {item["part"]: item["count"] for item in report["expired"]}


def test_nothing_changes_without_apply_and_apply_does_what_was_told(
    with_history: CommandLine,
) -> None:
    cli = with_history
    told = cli.done("retention", "--json").json
    assert told["is_applied"] is False
    assert counts(told) == {
        "audit entries": 3,
        "resyncs": 0,
        "archived requests": 0,
        "attempts": 0,
        "runs": 0,
        "requests to archive": 0,
    }
    assert cli.done("retention", "--json").json == told
    assert cli.done("retention", "--apply", "--json").json == told | {"is_applied": True}
    assert set(counts(cli.done("retention", "--json").json).values()) == {0}
    (entry,) = cli.done("audit", "--json").json
    assert (entry["action"], entry["detail"]) == ("retention.apply", {"audit entries": 3})


def test_people_see_what_would_go_how_old_it_is_and_what_to_do(with_history: CommandLine) -> None:
    cli = with_history
    lines = cli.done("retention").out.splitlines()
    assert lines[0].split() == ["what", "older", "than", "would", "clear"]
    assert lines[1].split() == ["audit", "entries", "365", "days", "3"]
    assert lines[-1] == "Nothing has changed. `pipeline-assets retention --apply` does it."
    lines = cli.done("retention", "--apply").out.splitlines()
    assert lines[0].split() == ["what", "older", "than", "cleared"]
    assert lines[1].split() == ["audit", "entries", "365", "days", "3"]
    assert "Nothing has changed" not in cli.done("retention").out


def test_what_is_kept_for_ever_is_told_so(with_history: CommandLine) -> None:
    cli = with_history
    cli.settings["PIPELINE_RETENTION_HISTORY_DAYS"] = "0"
    line = cli.done("retention", "--apply").out.splitlines()[1]
    assert line.split() == ["audit", "entries", "(kept", "for", "ever)", "0"]


def test_a_limit_below_zero_is_refused(cli: CommandLine) -> None:
    cli.settings["PIPELINE_RETENTION_RUN_DAYS"] = "-1"
    assert "PIPELINE_RETENTION_RUN_DAYS cannot be used" in cli.refused("retention")

"""The check that every dataset has: about as many rows as the last successes stored."""

from collections.abc import Callable

import dagster as dg
import sqlalchemy as sa

from pipeline_assets.assets.attempt import ROW_COUNT_CHECK, Attempt, Check, Outcome
from pipeline_assets.control.projector import project

Run = Callable[..., dg.ExecuteInProcessResult]


def store(records: int) -> Callable[[Attempt], Outcome]:
    def compute(attempt: Attempt) -> Outcome:
        """Tells of so many rows."""
        return Outcome(records=records, checks={"fine": Check(True, "Fine.")})

    return compute


def row_count(result: dg.ExecuteInProcessResult) -> dg.AssetCheckEvaluation:
    (check,) = [
        each for each in result.get_asset_check_evaluations() if each.check_name == ROW_COUNT_CHECK
    ]
    return check


def test_half_of_what_is_usual_is_the_fewest(
    run: Run, instance: dg.DagsterInstance, engine: sa.Engine
) -> None:
    for records in (100, 400, 100, 100):  # one odd sync moves a mean, and no median
        assert row_count(run(creatives=store(records))).passed
        project(instance, engine)
    assert row_count(run(creatives=store(50))).passed
    few = row_count(run(creatives=store(49)))
    assert not few.passed
    assert few.severity is dg.AssetCheckSeverity.WARN
    assert few.partition == "acme"
    assert few.description == "49 rows, where the last 4 syncs had 100 (median)."
    assert row_count(run(creatives=store(0), brand="globex")).passed, "another brand's history"


def test_a_young_or_small_dataset_is_not_judged(
    run: Run, instance: dg.DagsterInstance, engine: sa.Engine
) -> None:
    for records in (100, 100, 9, 9, 9):
        check = row_count(run(creatives=store(records)))
        project(instance, engine)
    assert not check.passed, "the median of four is 54.5"
    for records in (9, 9, 0):
        check = row_count(run(creatives=store(records)))
        project(instance, engine)
    assert check.passed, "9 is usual by now, and may become 0"

"""Dagster schedules: the beat by which cadences become requests."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import dagster as dg

from pipeline_assets.resources.installation import Installation

if TYPE_CHECKING:
    from pipeline_assets.control.cadences import DueSummary

_SHOWN_SKIPS = 10  # a tick's text is read in a list of ticks; the table of cadences has them all


@dg.schedule(
    name="cadences",
    cron_schedule="* * * * *",
    execution_timezone="UTC",
    target=dg.AssetSelection.all(),
    default_status=dg.DefaultScheduleStatus.RUNNING,
    required_resource_keys={"installation"},
    description=(
        "Each minute, stores a request for every brand's job whose cadence is due. It starts no "
        "run itself: launch_requests does. `pipeline-assets cadences list` shows the cadences."
    ),
)
def cadences(context: dg.ScheduleEvaluationContext) -> dg.SkipReason:
    """What is due stands in our table, so beats that were missed or come twice do no harm.

    Dagster wants a target of every schedule, also of one that never starts a run. It is all assets,
    because they are what this schedule moves, and Dagster's UI shows it beside each of them.
    """
    from pipeline_assets.clock import utcnow  # noqa: PLC0415 - keeps imports light
    from pipeline_assets.control.cadences import store_due  # noqa: PLC0415

    installation: Installation = context.resources.installation
    return dg.SkipReason(describe(store_due(installation.engine, now=utcnow())))


def describe(summary: "DueSummary") -> str:
    """What a beat did, for the list of ticks in Dagster's UI."""
    parts = [
        f"{len(targets)} {word}"
        for word, targets in (
            ("requested", summary.requested),
            ("joined a request that is active", summary.joined),
            ("moved back from a clock that was far ahead", summary.realigned),
            ("skipped", summary.skipped),
        )
        if targets
    ]
    skips = [f"{target} ({reason})" for target, reason in summary.skipped.items()]
    if len(skips) > _SHOWN_SKIPS:
        skips = [*skips[:_SHOWN_SKIPS], "…"]
    text = ", ".join(parts) or "No cadence is due"
    return f"{text}: {', '.join(skips)}." if skips else f"{text}."


def build_schedules() -> Sequence[dg.ScheduleDefinition]:
    """All schedules that turn cadences into requests."""
    return [cadences]

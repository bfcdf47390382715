"""The daily job that keeps Dagster's history and ours from growing without end."""

import dagster as dg

from pipeline_assets.resources.installation import Installation


@dg.op(required_resource_keys={"installation"})
def clear_history(context: dg.OpExecutionContext) -> None:
    """Delete runs, attempts, requests and audit entries that are older than the settings say.

    What a status rests on stays, however old. `pipeline-assets retention` tells what would go.
    """
    from pipeline_assets.clock import utcnow  # noqa: PLC0415 - keeps imports light
    from pipeline_assets.control.retention import (  # noqa: PLC0415
        apply_retention,
        plan_retention,
    )

    installation: Installation = context.resources.installation
    settings, engine, now = installation.settings, installation.engine, utcnow()
    plan = plan_retention(context.instance, engine, settings, now=now)
    for item in plan.expired:
        rule = f"older than {item.days} days" if item.days else "kept for ever"
        context.log.info("%s (%s): %d to clear", item.part, rule, item.count)
    for reason, count in plan.kept_runs.items():
        context.log.info("%d old runs stay: %s", count, reason)

    def tell(part: str, done: int) -> None:
        context.log.info("%s: %d cleared", part, done)

    apply_retention(context.instance, engine, settings, actor="schedule", now=now, progress=tell)


@dg.job(executor_def=dg.in_process_executor)
def retention() -> None:
    """Clears old history once a day."""
    clear_history()


def build_retention() -> tuple[dg.JobDefinition, dg.ScheduleDefinition]:
    """The job and its schedule, at night in UTC, when the fewest cadences are due."""
    schedule = dg.ScheduleDefinition(
        name="retention_daily",
        job=retention,
        cron_schedule="30 3 * * *",
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Clears old history once a day; the settings PIPELINE_RETENTION_* say how old.",
    )
    return retention, schedule

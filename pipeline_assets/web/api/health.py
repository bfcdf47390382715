"""Is the installation well? At a glance for everybody who polls, in full for its admins."""

from datetime import datetime

from dagster import DagsterInstance
from fastapi import APIRouter

from pipeline_assets.automation.jobs import build_jobs
from pipeline_assets.automation.retention import build_retention
from pipeline_assets.automation.schedules import build_schedules
from pipeline_assets.automation.sensors import build_sensors
from pipeline_assets.control.health import HealthCheck, check_health
from pipeline_assets.errors import PipelineError
from pipeline_assets.people.roles import Role
from pipeline_assets.web.api.shapes import Row, Shape
from pipeline_assets.web.background import Pulse
from pipeline_assets.web.context import Context, Web
from pipeline_assets.web.identity import Admin, Viewer, check_role

router = APIRouter(tags=["health"])


class PulseView(Shape):
    """What was last seen of the machinery behind these answers."""

    seen_at: datetime | None
    """When the status was last brought up to date."""
    is_daemon_alive: bool | None
    """Whether Dagster's daemon runs: without it nothing is started. Null: not known yet."""
    trouble: str
    """Why the status cannot be brought up to date; empty when it can."""


class CheckView(Shape):
    """One organ of the installation."""

    name: str
    is_ok: bool | None
    """Null: not looked at, and `detail` says why."""
    detail: str
    fix: str
    """What to do when it is wrong."""


class HealthView(Shape):
    """What an examination found."""

    is_ok: bool
    checked_at: datetime
    checks: list[CheckView]


@router.get("/health/live", response_model=PulseView)
def get_pulse(_: Viewer, web: Web) -> Pulse:
    """Tell at a glance whether the machinery works; asks nothing, so poll it."""
    return web.background.pulse


@router.get("/health", response_model=HealthView)
def get_health(principal: Admin, web: Web) -> Row:
    """Examine the installation, but not the brands' sources; takes some seconds.

    It takes an admin of every organization.
    """
    check_role(principal, Role.ADMIN, None)
    checks = examine(web)
    is_ok = not any(check.is_ok is False for check in checks)
    return {"is_ok": is_ok, "checked_at": web.now(), "checks": checks}


def examine(web: Context) -> list[HealthCheck]:
    """What `pipeline-assets doctor --offline` finds."""
    dagster: DagsterInstance | PipelineError
    try:
        dagster = web.background.instance
    except PipelineError as error:
        dagster = error
    return check_health(
        web.installation,
        dagster,
        automation=_automation(),
        now=web.now(),
        is_offline=True,
    )


def _automation() -> list[str]:
    """The names of all sensors and schedules."""
    _, retention = build_retention()
    sensors = [sensor.name for sensor in build_sensors(build_jobs(), ())]
    return [*sensors, *(each.name for each in (*build_schedules(), retention))]

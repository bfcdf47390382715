"""A running installation is well; what somebody stopped and what fails in it is told."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest
from dagster._core.scheduler.instigation import TickData, TickStatus
from dagster._utils.error import SerializableErrorInfo

from pipeline_assets.cli.processes import LOCATION
from pipeline_assets.clock import utcnow
from pipeline_assets.control.health import check_health
from pipeline_assets.resources.installation import Installation
from pipeline_assets.settings import Settings

if TYPE_CHECKING:
    from conftest import Session

COMMAND = Path(sys.executable).with_name("pipeline-assets")
MACHINES = {"disk", "open files"}
"""What says more of the machine that runs the tests."""

_SENSOR = """
query ($selector: SensorSelector!) {
  sensorOrError(sensorSelector: $selector) { ... on Sensor { sensorState { id } } }
}"""
_STOP = """
mutation ($id: String!) {
  stopSensor(id: $id) { ... on StopSensorMutationResult { instigationState { status } } }
}"""


def wrong(session: Session) -> dict[str, str]:
    """What `doctor` finds wrong, by name."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("DAGSTER_", "PIPELINE_"))}
    command = [COMMAND, "doctor", "--json"]
    done = subprocess.run(
        command, cwd=session.folder, env=inherited, capture_output=True, check=False, text=True
    )
    answers: list[dict[str, Any]] = json.loads(done.stdout)
    return {
        answer["name"]: answer["detail"]
        for answer in answers
        if answer["is_ok"] is False and answer["name"] not in MACHINES
    }


def automation_after(seconds: float, session: Session) -> list[str]:
    """What is said of sensors and schedules if so much later nothing more has happened."""
    installation = Installation(
        Settings(database_url=f"sqlite:///{session.home}/pipeline_assets.db")
    )
    with dg.DagsterInstance.from_config(str(session.home)) as instance:
        answers = check_health(
            installation,
            instance,
            automation=["launch_requests", "project_status", "recover_runs", "sync_brands"],
            now=utcnow() + timedelta(seconds=seconds),
            is_offline=True,
        )
    return [answer.detail for answer in answers if answer.name == "automation"]


def test_a_running_installation_is_well_until_a_sensor_is_stopped_or_a_schedule_fails(
    open_session: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_session("acme") as session, session.dagster:
        session.wait_for(lambda: wrong(session) == {})

        monkeypatch.setenv("DAGSTER_HOME", str(session.home))
        well = ["4 sensors and schedules, none stopped, none failing."]
        assert automation_after(0, session) == well
        (silent,) = automation_after(70, session)
        assert silent.startswith("Dagster's daemon runs, but has evaluated nothing since")
        assert automation_after(1000, session) == well  # the daemon has stopped: that is told

        selector = {
            "repositoryLocationName": LOCATION,
            "repositoryName": "__repository__",
            "sensorName": "sync_brands",
        }
        sensor = session.ask(_SENSOR, selector=selector)
        session.ask(_STOP, id=sensor["sensorState"]["id"])
        assert wrong(session) == {"automation": "Stopped by somebody: sync_brands."}

        with dg.DagsterInstance.from_config(str(session.home)) as instance:
            daily = next(
                state
                for state in instance.all_instigator_state()
                if state.instigator_name == "retention_daily"
            )
            instance.create_tick(
                TickData(
                    instigator_origin_id=daily.instigator_origin_id,
                    instigator_name=daily.instigator_name,
                    instigator_type=daily.instigator_type,
                    status=TickStatus.FAILURE,
                    timestamp=utcnow().timestamp(),
                    selector_id=daily.selector_id,
                    error=SerializableErrorInfo("It broke\nat line 1", [], None),
                )
            )
        assert wrong(session) == {"automation": "The last tick of retention_daily failed: It broke"}

from collections.abc import Callable
from typing import Any

import pytest

from pipeline_assets.simulator.faults import Fault, FaultKind
from pipeline_assets.simulator.server import SimulatorServer

ACCOUNT = "act_1001"
ASKED = {"level": "ad", "time_increment": "1", "fields": "ad_id,impressions,actions"}


@pytest.fixture
def start_run(client: Any) -> Callable[..., str]:
    def start(**params: Any) -> str:
        answer = client.post(f"{ACCOUNT}/insights", **{**ASKED, **params}).json()
        return str(answer["report_run_id"])

    return start


def test_a_run_goes_through_its_states_and_is_done_only_when_completed(
    client: Any, clock: Any, start_run: Callable[..., str]
) -> None:
    run, seen = start_run(), []
    for moment in (0.0, 0.029, 0.031, 0.059, 0.061, 0.15, 0.299, 0.301):
        clock.advance(moment - clock.monotonic())
        state = client.get(run).json()
        seen.append((state["async_status"], state["async_percent_completion"]))
    assert seen == [
        ("Job Not Started", 0),
        ("Job Not Started", 0),
        ("Job Started", 0),
        ("Job Started", 0),
        ("Job Running", 21),
        ("Job Running", 52),
        ("Job Running", 100),
        ("Job Completed", 100),
    ]
    assert (state["account_id"], state["is_running"]) == ("1001", False)


def test_a_run_shows_100_percent_a_moment_before_it_is_completed(
    client: Any, clock: Any, start_run: Callable[..., str]
) -> None:
    run = start_run()
    clock.advance(0.299)
    state = client.get(run).json()
    assert (state["async_status"], state["async_percent_completion"]) == ("Job Running", 100)
    assert client.error(f"{run}/insights") == (400, 2601, 1815107)
    clock.advance(0.001)
    assert client.get(f"{run}/insights").status_code == 200


def test_a_runs_rows_are_those_of_the_same_question_at_once(
    client: Any, clock: Any, start_run: Callable[..., str]
) -> None:
    run = start_run()
    clock.advance(1)
    assert client.data(f"{run}/insights", limit=50) == client.data(f"{ACCOUNT}/insights", **ASKED)


@pytest.mark.parametrize(
    ("fault", "codes"),
    [
        (Fault(kind=FaultKind.REPORT_FAILED), (-2, 2490547)),
        (Fault(kind=FaultKind.REPORT_TOO_LARGE, rows=100), (-3, 1504045)),
        (Fault(kind=FaultKind.TOO_MANY_ROWS, rows=100), (100, 1487534)),
        (Fault(kind=FaultKind.FIELD_FAILS, field="actions"), (2, 1504044)),
    ],
)
def test_a_failed_run_says_why(
    client: Any, clock: Any, start_run: Callable[..., str], fault: Fault, codes: tuple[int, int]
) -> None:
    client.server.faults.add(fault)
    run = start_run()
    assert client.get(run).json()["async_status"] == "Job Not Started"
    clock.advance(1)
    state = client.get(run).json()
    assert state["async_status"] == "Job Failed"
    assert (state["error_code"], state["error_subcode"]) == codes
    assert state["error_user_msg"]


def test_conditions_spare_runs_that_do_not_meet_them(
    client: Any, server: SimulatorServer, clock: Any, start_run: Callable[..., str]
) -> None:
    server.faults.add(
        Fault(kind=FaultKind.REPORT_TOO_LARGE, rows=1000),
        Fault(kind=FaultKind.FIELD_FAILS, field="spend"),
    )
    run = start_run()
    clock.advance(1)
    assert client.get(run).json()["async_status"] == "Job Completed"


def test_runs_can_be_skipped_or_stand_still(
    client: Any, server: SimulatorServer, clock: Any, start_run: Callable[..., str]
) -> None:
    server.faults.add(
        Fault(kind=FaultKind.REPORT_SKIPPED, count=1), Fault(kind=FaultKind.REPORT_STUCK, count=1)
    )
    skipped, stuck, good = start_run(), start_run(), start_run()
    clock.advance(3600)
    states = [client.get(run).json() for run in (skipped, stuck, good)]
    assert [state["async_status"] for state in states] == [
        "Job Skipped",
        "Job Started",
        "Job Completed",
    ]
    assert states[1]["async_percent_completion"] == 0


def test_a_new_run_may_be_unknown_for_a_moment(
    client: Any, server: SimulatorServer, clock: Any, start_run: Callable[..., str]
) -> None:
    server.faults.add(
        Fault(kind=FaultKind.REPORT_RACE, count=2),
        Fault(kind=FaultKind.REPORT_SUMMARY_RACE, count=1),
    )
    run = start_run()
    clock.advance(1)
    assert [client.get(run).status_code for _ in range(3)] == [400, 400, 200]
    assert client.error(f"{run}/insights") == (400, 100, None)
    assert client.get(f"{run}/insights").status_code == 200


def test_a_run_that_nobody_started_does_not_exist(
    client: Any, server: SimulatorServer, start_run: Callable[..., str]
) -> None:
    run = start_run()
    server.reset()
    assert client.error(run) == (400, 100, 33)


def test_the_time_a_run_takes_can_be_set(
    client: Any, server: SimulatorServer, clock: Any, start_run: Callable[..., str]
) -> None:
    server.report_seconds = 30
    run = start_run()
    clock.advance(29.9)
    assert client.get(run).json()["async_status"] == "Job Running"
    clock.advance(0.1)
    assert client.get(run).json()["async_status"] == "Job Completed"

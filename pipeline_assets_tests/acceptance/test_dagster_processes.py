"""Who may run Dagster on a DAGSTER_HOME, and what happens to what a killed process left."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline_assets.cli.dagster_processes import DagsterDevelopment
from pipeline_assets.cli.demo import interrupted_by
from pipeline_assets.errors import PipelineError

WAITING = "import time; print('ready', flush=True); time.sleep(120)"


def waiting_process(home: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", WAITING],
        start_new_session=True,
        env={**os.environ, "DAGSTER_HOME": str(home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_a_second_dagster_on_the_same_home_is_refused_while_the_first_lives(
    tmp_path: Path,
) -> None:
    first = DagsterDevelopment(home=tmp_path)
    first.take_over()
    with pytest.raises(PipelineError, match="another terminal"):
        DagsterDevelopment(home=tmp_path).take_over()
    first.stop()
    again = DagsterDevelopment(home=tmp_path)
    again.take_over()
    again.stop()


def test_what_a_killed_process_left_running_is_ended_first(tmp_path: Path) -> None:
    with waiting_process(tmp_path) as left:
        (tmp_path / "dagster-dev.lock").write_text(str(left.pid))
        dagster = DagsterDevelopment(home=tmp_path)
        dagster.take_over()
        assert left.wait(20) != 0
        dagster.stop()


def test_a_process_that_only_got_the_same_number_is_left_alone(tmp_path: Path) -> None:
    with waiting_process(tmp_path / "another home") as other:
        (tmp_path / "dagster-dev.lock").write_text(str(other.pid))
        dagster = DagsterDevelopment(home=tmp_path)
        dagster.take_over()
        assert other.poll() is None
        dagster.stop()
        other.kill()


@pytest.mark.parametrize("each", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_closed_terminal_and_kill_end_the_work_as_ctrl_c_does(each: signal.Signals) -> None:
    before = signal.getsignal(each)
    with pytest.raises(KeyboardInterrupt), interrupted_by(each):
        signal.raise_signal(each)
    assert signal.getsignal(each) is before

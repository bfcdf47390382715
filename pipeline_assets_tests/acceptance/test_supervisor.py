"""Processes are started in order, started again when they die, and stopped so that none is left."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
import pytest

from pipeline_assets.cli import supervisor
from pipeline_assets.cli.supervisor import (
    HOST,
    Service,
    Supervisor,
    free_port,
    interrupted_by,
    is_port_free,
    restart_delay,
)
from pipeline_assets.errors import PipelineError

MARK = "SUPERVISED_BY_PIPELINE_ASSETS"
WAITING = "import time; print('ready', flush=True); time.sleep(120)"
STUBBORN = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN);" + WAITING
NOTES_ITS_END = """
import sys, time
print('ready', flush=True)
try:
    time.sleep(120)
except KeyboardInterrupt:
    open(sys.argv[1], 'a').write(sys.argv[2] + ' ')
"""
WRITES_ON_DEMAND = """
import os, sys, time
print('ready' + 'a' * 100, flush=True)
while not os.path.exists(sys.argv[1]):
    time.sleep(0.01)
print('b', flush=True)
time.sleep(120)
"""
LISTENING = """
import socket, sys, time
server = socket.create_server(('127.0.0.1', int(sys.argv[1])))
time.sleep(120)
"""


class Clock:
    """Time that passes when a test says so."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def service(name: str, code: str, *arguments: str) -> Service:
    """A process of this code, ready when it has said so."""
    return Service(name, lambda: [sys.executable, "-c", code, *arguments])


def supervise(home: Path, *stages: list[Service], **options: Any) -> Supervisor:
    return Supervisor(stages, home=home, folder=home, **options)


def said_ready(file: Path) -> Callable[[datetime], bool]:
    return lambda _: "ready" in file.read_text()


def ready_service(home: Path, name: str, code: str, *arguments: str) -> Service:
    made = service(name, code, *arguments)
    made.is_ready = said_ready(home / "process-logs" / f"{name}.log")
    return made


def marked(home: Path) -> list[int]:
    """The living processes that carry the mark of this home."""
    found = []
    for process in psutil.process_iter():
        try:
            deadline = time.monotonic() + 20
            while is_being_started(process):
                assert time.monotonic() < deadline, f"process {process.pid} never gets on"
                time.sleep(0.001)
            if process.environ().get(MARK) == str(home) and process.status() != "zombie":
                found.append(process.pid)
        except psutil.Error:
            continue
    return found


def is_being_started(process: psutil.Process) -> bool:
    """Whether this child is so new that it has no environment yet: some ms on a busy machine."""
    is_living_child = process.ppid() == os.getpid() and process.status() != "zombie"
    return is_living_child and not process.environ()


def waiting_process(environment: Mapping[str, str]) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", WAITING],
        start_new_session=True,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def end(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    while psutil.Process(pid).status() != "zombie":
        time.sleep(0.01)


def test_a_second_one_on_the_same_home_is_refused_while_the_first_lives(tmp_path: Path) -> None:
    with supervise(tmp_path, [ready_service(tmp_path, "it", WAITING)]):
        before = marked(tmp_path)
        second = supervise(tmp_path)
        with pytest.raises(PipelineError, match="another terminal"), second:
            pass
        second.stop()
        assert marked(tmp_path) == before != []
    with supervise(tmp_path):
        pass


def test_what_a_killed_one_left_running_is_ended_first(tmp_path: Path) -> None:
    with waiting_process({MARK: str(tmp_path)}) as left, supervise(tmp_path):
        assert left.wait(20) != 0


def test_processes_of_another_home_and_those_started_by_hand_are_left_alone(
    tmp_path: Path,
) -> None:
    theirs, by_hand = {MARK: str(tmp_path / "other")}, {"DAGSTER_HOME": str(tmp_path)}
    with waiting_process(theirs) as one, waiting_process(by_hand) as other:
        with supervise(tmp_path):
            assert (one.poll(), other.poll()) == (None, None)
        assert (one.poll(), other.poll()) == (None, None)
        one.kill()
        other.kill()


def test_a_stage_starts_when_the_one_before_is_ready_and_stops_before_it(tmp_path: Path) -> None:
    ends, told = tmp_path / "ends", list[str]()
    stages = [
        [ready_service(tmp_path, name, NOTES_ITS_END, str(ends), name) for name in names]
        for names in (("first",), ("second",), ("third",))
    ]
    seen_by_second = list[bool]()
    stages[1][0].environment = lambda: {
        "UNUSED": str(seen_by_second.append(said_ready(tmp_path / "process-logs/first.log")(NOW)))
    }
    with supervise(tmp_path, *stages, announce=told.append):
        assert len(marked(tmp_path)) == 3
        assert seen_by_second == [True]
    assert ends.read_text() == "third second first "
    assert marked(tmp_path) == []
    assert [line.partition(":")[0] for line in told] == ["first", "second", "third"]


NOW = datetime.fromisoformat("2026-01-01T00:00:00+00:00")


def test_what_dies_is_started_again_at_once_and_then_later_and_later(tmp_path: Path) -> None:
    clock, told = Clock(), list[str]()
    it = ready_service(tmp_path, "it", WAITING)
    with supervise(tmp_path, [it], monotonic=clock, announce=told.append) as supervised:
        for delay in (0, 1, 2):
            (pid,) = marked(tmp_path)
            end(pid)
            supervised.tend()
            if delay:
                assert marked(tmp_path) == []
                clock.now += delay - 0.01
                supervised.tend()
                assert marked(tmp_path) == []
                clock.now += 0.01
                supervised.tend()
            (again,) = marked(tmp_path)
            assert again != pid
        assert [line for line in told if "SIGKILL" in line] == [
            f"it: was ended by SIGKILL after 0 s; starting it again {when} (its output: "
            f"{tmp_path}/process-logs/it.log)"
            for when in ("now", "in 1 s", "in 2 s")
        ]

        clock.now += 60
        end(again)
        supervised.tend()
        assert len(marked(tmp_path)) == 1, "after a minute of living the count begins anew"


def test_what_cannot_be_started_again_is_tried_again_later(tmp_path: Path) -> None:
    clock, told = Clock(), list[str]()
    it = ready_service(tmp_path, "it", WAITING)
    command = it.command
    with supervise(tmp_path, [it], monotonic=clock, announce=told.append) as supervised:
        it.command = lambda: [str(tmp_path / "absent")]
        end(*marked(tmp_path))
        supervised.tend()
        assert told[-1].startswith("it: cannot be started (No such file or directory) after 0 s;")
        assert "again in 1 s" in told[-1]
        it.command = command
        clock.now += 1
        supervised.tend()
        assert len(marked(tmp_path)) == 1


def test_the_delays_double_up_to_half_a_minute() -> None:
    delays = [restart_delay(deaths) for deaths in range(1, 10)]
    assert delays == [0, 1, 2, 4, 8, 16, 30, 30, 30]
    assert all(shorter <= longer for shorter, longer in pairwise(delays))
    assert restart_delay(5000) == 30


def test_a_start_that_fails_tells_the_end_of_the_output_and_leaves_nothing(tmp_path: Path) -> None:
    good = ready_service(tmp_path, "good", WAITING)
    bad = service("bad", "import sys; sys.exit('No database here.')")
    bad.is_ready = lambda _: False
    with (
        pytest.raises(PipelineError, match=r"bad ended by itself: No database here\.") as failed,
        supervise(tmp_path, [good, bad]),
    ):
        pass
    assert failed.value.advice == f"All of its output is in {tmp_path}/process-logs/bad.log."
    assert marked(tmp_path) == []


def test_what_does_not_get_ready_in_time_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "_START_TIMEOUT_SECONDS", 0.5)
    slow = service("slow", WAITING)
    slow.is_ready = lambda _: 1 / 0 > 0  # as a server's answer may be while it starts
    with (
        pytest.raises(PipelineError, match="slow did not start within"),
        supervise(tmp_path, [slow]),
    ):
        pass
    assert marked(tmp_path) == []


def test_what_does_not_heed_ctrl_c_is_ended_by_force_when_its_time_is_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "_STOP_TIMEOUT_SECONDS", 0.5)
    with supervise(tmp_path, [ready_service(tmp_path, "stubborn", STUBBORN)]):
        (pid,) = marked(tmp_path)
        began = time.monotonic()
    assert time.monotonic() - began >= 0.5
    assert not psutil.pid_exists(pid)


def test_a_second_ctrl_c_ends_everything_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    supervised = supervise(tmp_path, [ready_service(tmp_path, "stubborn", STUBBORN)])
    supervised.__enter__()
    (pid,) = marked(tmp_path)

    def another_ctrl_c(*arguments: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(supervisor, "_interrupt", another_ctrl_c)
    supervised.stop()
    assert not psutil.pid_exists(pid)


def listening_service(port: int) -> Service:
    made = Service("server", lambda: [sys.executable, "-c", LISTENING, str(made.port)], port=port)
    return made


def test_a_port_of_another_program_is_left_to_it_unless_it_is_fixed(tmp_path: Path) -> None:
    with socket.create_server((HOST, 0)) as theirs:
        port = theirs.getsockname()[1]
        assert not is_port_free(port)
        it = listening_service(port)
        with supervise(tmp_path, [it]):
            assert it.port not in {port, 0}
        fixed = listening_service(port)
        fixed.is_port_fixed = True
        with (
            pytest.raises(PipelineError, match=f"Port {port} of 127.0.0.1, set for the server"),
            supervise(tmp_path, [fixed]),
        ):
            pass
    assert is_port_free(port)
    assert free_port(port) == port


def test_a_port_that_is_taken_while_it_starts_is_left_to_the_other_program(tmp_path: Path) -> None:
    thieves = list[socket.socket]()
    it = listening_service(0)

    def command_of_an_unlucky_one() -> list[str]:
        if not thieves:
            assert it.port is not None
            thieves.append(socket.create_server((HOST, it.port)))
        return [sys.executable, "-c", LISTENING, str(it.port)]

    it.command = command_of_an_unlucky_one
    with supervise(tmp_path, [it]):
        (thief,) = thieves
        assert it.port != thief.getsockname()[1]
        thief.close()


def test_an_address_that_is_not_this_machines_is_an_error() -> None:
    with pytest.raises(PipelineError, match=r"Nothing can listen on 192\.0\.2\.1:8400"):
        is_port_free(8400, host="192.0.2.1")


def test_the_output_of_the_time_before_is_kept_beside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for word in ("one", "two", "three"):
        code = f"print('ready', {word!r}, flush=True); import time; time.sleep(120)"
        with supervise(tmp_path, [ready_service(tmp_path, "it", code)]) as supervised:
            pass
    logs = {file.name: file.read_text() for file in supervised.logs.iterdir()}
    assert logs.keys() == {"it.log", "it.previous.log"}
    assert logs["it.log"].startswith("ready three\n")
    assert logs["it.previous.log"].startswith("ready two\n")


def test_an_output_that_gets_long_is_put_aside_while_the_process_goes_on_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "_MAX_LOG_BYTES", 100)
    it = ready_service(tmp_path, "it", WRITES_ON_DEMAND, str(tmp_path / "demand"))
    with supervise(tmp_path, [it]) as supervised:
        supervised.tend()
        file = supervised.logs / "it.log"
        assert file.with_suffix(".previous.log").read_text() == "ready" + "a" * 100 + "\n"
        (tmp_path / "demand").touch()
        while not file.read_text():
            time.sleep(0.01)
        assert file.read_text() == "b\n"


@pytest.mark.parametrize("each", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_closed_terminal_and_kill_end_the_work_as_ctrl_c_does(each: signal.Signals) -> None:
    before = signal.getsignal(each)
    with pytest.raises(KeyboardInterrupt), interrupted_by(each):
        signal.raise_signal(each)
    assert signal.getsignal(each) is before

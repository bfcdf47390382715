"""The command as the process that shells and schedulers see: streams, exit codes, signals."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import CommandLine

BOTH = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}


def test_a_demo_beside_a_dagster_that_runs_is_refused_and_changes_nothing(
    cli: CommandLine,
) -> None:
    with (cli.home / "supervisor.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        process = cli.start("demo", **BOTH)
        _, err = process.communicate()
    assert process.returncode == 1
    assert b"is running" in err
    assert cli.done("brands", "list", "--json").json == []
    assert not (cli.home / "demo").exists()


def test_json_alone_is_on_standard_output(cli: CommandLine) -> None:
    cli.done("brands", "add", "acme", "--name", "Käse \N{DUCK}", "--timezone", "UTC")
    cli.settings["PYTHONIOENCODING"] = "latin-1"  # JSON is UTF-8 even so
    process = cli.start("brands", "list", "--json", **BOTH)
    out, err = process.communicate()
    assert (process.returncode, err) == (0, b"")
    assert [brand["name"] for brand in json.loads(out.decode())] == ["Käse \N{DUCK}"]


def test_an_error_is_on_standard_error(cli: CommandLine) -> None:
    process = cli.start("brands", "show", "nobody", "--json", **BOTH)
    out, err = process.communicate()
    assert (process.returncode, out) == (1, b"")
    assert err.startswith(b"Error: There is no brand 'nobody'.\n")


def test_a_terminal_without_the_marks_gets_question_marks(cli: CommandLine) -> None:
    cli.done(
        "brands",
        "add",
        "acme",
        "--timezone",
        "UTC",
        "--no-cadences",
        "--ad-account",
        "1",
        "--token",
        "env:X",
    )
    cli.settings["PYTHONIOENCODING"] = "ascii"
    process = cli.start("status", **BOTH)
    out, err = process.communicate()
    assert (process.returncode, err) == (0, b"")
    assert b"? never" in out


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_when_the_reader_has_gone_the_command_ends_without_a_word(
    cli: CommandLine, options: tuple[str, ...]
) -> None:
    cli.done("brands", "add", "acme", "--timezone", "UTC")
    read_end, write_end = os.pipe()
    os.close(read_end)  # as `| head -1` does, only sooner
    process = cli.start("brands", "list", *options, stdout=write_end, stderr=subprocess.PIPE)
    os.close(write_end)
    assert process.communicate()[1] == b""
    assert process.returncode == 1


def test_ctrl_c_ends_a_command_that_waits_at_once(cli: CommandLine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        cli.settings["PIPELINE_GRAPH_URL"] = f"http://127.0.0.1:{silent.getsockname()[1]}"
        cli.settings["META_TOKEN"] = "EAAtokenOfAWaitingCommand"
        options = ("--timezone", "UTC", "--ad-account", "1", "--token", "env:META_TOKEN")
        cli.done("brands", "add", "acme", *options)
        process = cli.start("brands", "test", "acme", **BOTH)
        silent.settimeout(60)
        waiting, _ = silent.accept()
        with waiting:
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (130, b"")
    assert err.strip() == b""

"""Running a command as a child and reading what it cost: wall, CPU and peak memory."""

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Cost:
    """What a process (all of its threads) cost; `output` is its standard output."""

    wall_seconds: float
    cpu_seconds: float
    peak_mb: float
    output: str


def run_python(arguments: Sequence[str], *, environment: Mapping[str, str] | None = None) -> Cost:
    """Run `python ARGUMENTS`; a failure ends the benchmark with the child's error shown."""
    began = time.perf_counter()
    child = subprocess.Popen(
        [sys.executable, *arguments],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **(environment or {})},
    )
    assert child.stdout is not None
    output = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    wall = time.perf_counter() - began
    if child.returncode:
        sys.exit(f"{' '.join(arguments)} failed with exit code {child.returncode}")
    return Cost(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, output)

"""Rows per CPU second and peak memory, ours beside Meta's SDK, in the same minutes.

`python -m benchmarks.ingest.run` starts the project's simulator; `--graph-url` reads another Graph
server instead (its account act_10000001 needs ads on every day).
"""

import argparse
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.measure import Cost, run_python

ADS = 1_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--graph-url")
    parser.add_argument("--days", type=int, nargs="+", default=[50, 250])
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    print(
        f"{'tool -> sink':34} {'rows':>8} {'wall s':>7} {'CPU s':>7} {'rows/CPU s':>11} {'MB':>5}"
    )
    with _server(arguments.graph_url) as url:
        best: dict[str, float] = {}
        for days in arguments.days:
            rounds = arguments.rounds if days == arguments.days[0] else 1
            for _ in range(rounds):
                for label, command in _commands(url, days).items():
                    cost = run_python(command)
                    rate = _show(label, cost)
                    best[label] = max(rate, best.get(label, 0))
    rival = best["SDK -> JSON lines"]
    for label, rate in best.items():
        print(f"best {label}: {rate:,.0f} rows per CPU second, {rate / rival:.2f} x the SDK")


def _commands(url: str, days: int) -> dict[str, list[str]]:
    ours = ["-m", "benchmarks.ingest.ours", url, "--days", str(days)]
    return {
        "SDK -> JSON lines": ["-m", "benchmarks.ingest.sdk", url, str(days)],
        "ours, same fields -> SQLite": ours,
        "ours, our own fields -> SQLite": [*ours, "--fields", "product"],
    }


def _show(label: str, cost: Cost) -> float:
    rows = int(cost.output)
    rate = rows / cost.cpu_seconds
    print(
        f"{label:34} {rows:8,} {cost.wall_seconds:7.1f} {cost.cpu_seconds:7.1f} "
        f"{rate:11,.0f} {cost.peak_mb:5.0f}",
        flush=True,
    )
    return rate


@contextmanager
def _server(given: str | None) -> Iterator[str]:
    if given:
        yield given
        return
    command = [sys.executable, "-m", "benchmarks.ingest.server", str(ADS)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True)
    assert server.stdout is not None
    try:
        yield server.stdout.readline().strip()
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    main()

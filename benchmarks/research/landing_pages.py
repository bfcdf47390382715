"""How long many pages on slow hosts take, and whether any host was asked for two things at once.

`python -m benchmarks.research.landing_pages [--hosts 50] [--pages 500]`

The hosts are names that lead to one local server, whose every answer takes a second, robots.txt
included: of ten pages on each host, eleven seconds are the least that politeness takes. The rival
is the plain loop, `requests.get` and trafilatura page after page; ten of its pages are timed and
the rest is reckoned.
"""

import argparse
import resource
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import requests
import trafilatura

from pipeline_assets.sources.public_http import PublicHttp
from pipeline_assets.sources.web_pages import visit_pages

_RIVAL_PAGES = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hosts", type=int, default=50)
    parser.add_argument("--pages", type=int, default=500)
    options = parser.parse_args()
    _import_once()
    with _slow_shops() as port:
        hosts = [f"shop{n}.test:{port}" for n in range(options.hosts)]
        urls = [f"http://{hosts[n % len(hosts)]}/products/{n}" for n in range(options.pages)]
        began, cpu_began = time.perf_counter(), _cpu_seconds()
        with PublicHttp(allow_private_hosts=hosts, resolve=lambda _: ["127.0.0.1"]) as http:
            visits = list(visit_pages(http, urls))
        seconds, cpu = time.perf_counter() - began, _cpu_seconds() - cpu_began
        counts = requests.get(f"http://127.0.0.1:{port}/__most", timeout=10).json()
        rival = _rival_seconds(port)
    states = Counter(visit.state.value for visit in visits)
    print(f"{options.pages} pages on {options.hosts} hosts, a second each: {dict(states)}")
    print(f"{'seconds':>32}{seconds:10.1f}")
    print(f"{'CPU seconds':>32}{cpu:10.1f}")
    print(f"{'peak MB':>32}{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:10.0f}")
    print(f"{'requests in all':>32}{counts['total']:10}")
    print(f"{'most at once on one host':>32}{counts['most']:10}")
    print(f"{'a plain loop, reckoned, seconds':>32}{rival * options.pages:10.0f}")
    print(f"{'times as long':>32}{rival * options.pages / seconds:10.0f}")


def _import_once() -> None:
    """What the first page of a process loads is paid before the clock starts."""
    trafilatura.extract("<p>Soap</p>")


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _rival_seconds(port: int) -> float:
    """Seconds a page of the plain loop, the median."""
    taken = []
    for n in range(_RIVAL_PAGES):
        began = time.perf_counter()
        answer = requests.get(f"http://127.0.0.1:{port}/products/{n}", timeout=30)
        trafilatura.extract(answer.text)
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


@contextmanager
def _slow_shops() -> Iterator[int]:
    """The server as a process of its own; its port."""
    server = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.research.slow_shops"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdin is not None
    assert server.stdout is not None
    try:
        yield int(server.stdout.readline())
    finally:
        server.stdin.close()
        server.wait()


if __name__ == "__main__":
    main()

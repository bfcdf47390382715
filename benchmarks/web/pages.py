"""What the Health page takes at 10 and at 1,000 brands, beside what Dagster's webserver takes.

`python -m benchmarks.web.pages [--brands 1000] [--rounds 100]`

One person, one request at a time, on a connection that stays open; our server is a process of its
own, started as `pipeline-assets up` does. The rival is asked by GraphQL for what its asset pages
ask to show how the partitions of the same assets are, each brand a partition that was materialized
once.
"""

import argparse
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from benchmarks.web.rival import QUERIES, ask, open_rival
from benchmarks.web.site import (
    POLL,
    Answer,
    Browser,
    brand_names,
    databases,
    fill,
    new_database,
    percentile,
    poll_path,
    serve,
)


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    label: str
    answers: list[Answer]

    @property
    def p50(self) -> float:
        """The median, ms."""
        return statistics.median(each.milliseconds for each in self.answers)

    def __str__(self) -> str:
        p95 = percentile([each.milliseconds for each in self.answers], 0.95)
        kilobytes = len(self.answers[-1].body) / 1_000
        queries = self.answers[-1].headers.get("x-queries", "")
        return f"{self.label:52}{self.p50:8.1f}{p95:8.1f}{kilobytes:8.0f}{queries:>9}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--brands", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=100)
    options = parser.parse_args()
    print(f"{'':52}{'p50 ms':>8}{'p95 ms':>8}{'KB':>8}{'queries':>9}   ({options.rounds} rounds)")
    firsts: dict[str, Row] = {}
    with databases() as urls:
        for kind, url in urls.items():
            for count in (10, options.brands):
                with new_database(url, f"brands{count}") as database_url:
                    fill(database_url, brand_count=count)
                    with serve(database_url) as server:
                        rows = _rows(server.sign_in(), f"{kind}, {count:,} brands", count, options)
                        for row in rows:
                            print(row, flush=True)
                            firsts.setdefault(row.label, row)
    _measure_rival(firsts[f"SQLite, {options.brands:,} brands: Health"], options)


def _rows(
    browser: Browser, about: str, brand_count: int, options: argparse.Namespace
) -> Iterable[Row]:
    cell = f"{brand_names(brand_count)[0]}:meta_ads_performance"
    views: Mapping[str, tuple[str, Mapping[str, str]]] = {
        "Health": ("/", {}),
        "a filter": ("/?state=failing", POLL),
        "a search": ("/?q=brand+00007", POLL),
        "page 2": ("/?page=2", POLL),
        "a drawer": (f"/?open={cell}", POLL),
        "a poll": (poll_path(browser), POLL),
    }
    for label, (path, headers) in views.items():
        for _ in range(3):
            browser.get(path, **headers)
        answers = [browser.get(path, **headers) for _ in range(options.rounds)]
        yield Row(f"{about}: {label}", answers)


def _measure_rival(ours: Row, options: argparse.Namespace) -> None:
    rounds = max(3, options.rounds // 10)  # each takes the rival seconds
    print(f"\nbeside it, {options.brands:,} partitions of the same datasets, SQLite")
    with open_rival(brand_names(options.brands)) as browser:
        for label, query in QUERIES.items():
            ask(browser, query)  # it keeps what it has found for the next time
            row = Row(label, [ask(browser, query) for _ in range(rounds)])
            print(f"{row}   {row.p50 / ours.p50:.1f} times our Health page", flush=True)


if __name__ == "__main__":
    main()

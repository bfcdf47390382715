"""The job `scorecard` beside plain pandas: seconds and peak memory, on SQLite and PostgreSQL.

`python -m benchmarks.analysis.scorecard [--rounds 3]`

Ours is the job as Dagster runs it in a process of its own: it reads, scores, stores both tables and
checks. The seconds are those of the run without imports; its CPU seconds are longer by nothing else
that the machine does, and leave out those of the database server; the megabytes are those of the
whole process. The rival reads all of the brand's rows into a frame and groups them; it finds
neither fatigue nor labels, checks nothing and stores nothing.
"""

import argparse

from benchmarks.analysis.scorecard_rows import Case, fill
from benchmarks.measure import run_python
from benchmarks.web.site import databases, new_database

COMPARED = (Case(10_000, 100), Case(35_715, 28))
"""A million stored ad-days, of which the last 28 days are scored: some, or all."""

GROWING = (Case(2_500, 28), Case(5_000, 28), Case(10_000, 28))

Figures = tuple[float, ...]  # seconds, CPU seconds, megabytes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    print(f"{'':54}{'seconds':>9}{'CPU s':>9}{'peak MB':>9}   (best of {rounds})")
    with databases() as urls:
        for kind, folder_url in urls.items():
            with new_database(folder_url, "scorecard") as url:
                fill(url, (*COMPARED, *GROWING))
                for case in COMPARED:
                    ours, rival = _measure(url, case, ("ours", "rival"), rounds=rounds)
                    _show(f"{kind}, {case}, ours", ours)
                    _show(f"{kind}, {case}, pandas", rival)
                    ratios = (theirs / mine for theirs, mine in zip(rival, ours, strict=True))
                    _show("pandas / ours", tuple(ratios))
                for case in GROWING:
                    (ours,) = _measure(url, case, ("ours",), rounds=rounds)
                    _show(f"{kind}, {case}, ours", ours)


def _measure(url: str, case: Case, programs: tuple[str, ...], *, rounds: int) -> list[Figures]:
    """The lowest figures of each program, run by turns."""
    found: dict[str, list[Figures]] = {program: [] for program in programs}
    for _ in range(rounds):
        for program in programs:
            module = f"benchmarks.analysis.scorecard_{program}"
            cost = run_python(["-m", module, url, case.brand_id])
            found[program].append((*map(float, cost.output.split()), cost.peak_mb))
    return [tuple(map(min, zip(*each, strict=True))) for each in found.values()]


def _show(label: str, figures: Figures) -> None:
    print(f"{label:54}" + "".join(f"{figure:9.1f}" for figure in figures), flush=True)


if __name__ == "__main__":
    main()

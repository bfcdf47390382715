"""What our server holds in memory while a Health page is open for an hour: it must not grow.

`python -m benchmarks.web.memory [--brands 1000] [--polls 1200]`

A page polls every 3 s, so an hour is 1,200 polls; they are made here as fast as they are answered.
"""

import argparse
import itertools

from benchmarks.web.site import POLL, databases, fill, new_database, poll_path, serve

FIRST_POLLS = 100
"""What the server allocates once, it has by then."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--brands", type=int, default=1_000)
    parser.add_argument("--polls", type=int, default=1_200)
    options = parser.parse_args()
    steps = [0, FIRST_POLLS, *(options.polls * quarter // 4 for quarter in range(1, 5))]
    print(f"{'MB after so many polls':24}" + "".join(f"{step:8,}" for step in steps))
    with databases() as urls:
        for kind, url in urls.items():
            with new_database(url, "memory") as database_url:
                fill(database_url, brand_count=options.brands)
                with serve(database_url) as server:
                    browser = server.sign_in()
                    held = [server.resident_mb]
                    path = poll_path(browser)
                    for before, after in itertools.pairwise(steps):
                        for _ in range(after - before):
                            browser.get(path, **POLL)
                        held.append(server.resident_mb)
            line = f"{kind:24}" + "".join(f"{each:8.0f}" for each in held)
            print(
                f"{line}   {held[-1] - held[1]:+.0f} MB since the first {FIRST_POLLS}", flush=True
            )


if __name__ == "__main__":
    main()

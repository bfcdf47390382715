"""What the readiness of a brand's page takes an application that asks, many at a time and few.

`python -m benchmarks.web.readiness [--brands 1000] [--requests 2000] [--app MODULE:FACTORY]`

Each request is for another brand, with a token. "At a time": so many connections, each of which
asks again as soon as it has its answer; "a second": asked so often, whatever the answers take.
`healthz` reads nothing: it is what the way through the server takes by itself. Server and client
share the machine's cores; their CPU for one request stands beside.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence

from benchmarks.web.load import Load, closed_loop, get_request, open_loop
from benchmarks.web.site import OUR_APP, Server, brand_names, databases, fill, new_database, serve

PAGE = "ad_performance"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--brands", type=int, default=1_000)
    parser.add_argument("--requests", type=int, default=2_000)
    parser.add_argument("--app", default=OUR_APP)
    options = parser.parse_args()
    print(
        f"{'':44}{'p50 ms':>8}{'p95 ms':>8}{'a second':>10}{'server CPU ms':>15}"
        f"{'client CPU ms':>15}   ({options.requests:,} requests)"
    )
    with databases() as urls:
        for kind, url in urls.items():
            with new_database(url, "readiness") as database_url:
                secret = fill(database_url, brand_count=options.brands)
                with serve(database_url, app=options.app) as server:
                    _measure(kind, server, secret, options)


def _measure(kind: str, server: Server, secret: str, options: argparse.Namespace) -> None:
    paths = [f"/api/v1/brands/{name}/readiness/{PAGE}" for name in brand_names(options.brands)]
    token = {"Authorization": f"Bearer {secret}"}
    asking = _cycled([get_request(path, **token) for path in paths], options.requests)
    closed_loop(server.port, asking[:500], connections=50)  # the first ones open connections
    tags = _tags(server, paths, token)
    knowing = [
        get_request(path, **token, **{"If-None-Match": tag})
        for path, tag in zip(paths, tags, strict=True)
    ]
    healthz = [get_request("/healthz")] * options.requests
    measured: Mapping[str, Callable[[], Load]] = {
        "healthz, 50 at a time": lambda: closed_loop(server.port, healthz, connections=50),
        "readiness, 50 at a time": lambda: closed_loop(server.port, asking, connections=50),
        "with If-None-Match, 50 at a time": lambda: closed_loop(
            server.port, _cycled(knowing, options.requests), connections=50
        ),
        "readiness, 5 at a time": lambda: closed_loop(server.port, asking, connections=5),
        "readiness, 50 a second": lambda: open_loop(server.port, asking[:500], per_second=50),
    }
    for label, run in measured.items():
        before = server.cpu_seconds
        load = run()
        cpu_ms = (server.cpu_seconds - before) * 1_000 / len(load.milliseconds)
        print(_line(f"{kind}: {label}", load, cpu_ms), flush=True)


def _line(label: str, load: Load, cpu_ms: float) -> str:
    statuses = "" if load.statuses == {200} else f"   answers {sorted(load.statuses)}"
    return (
        f"{label:44}{load.p50:8.1f}{load.p95:8.1f}{load.per_second:10.0f}{cpu_ms:15.2f}"
        f"{load.client_ms:15.2f}{statuses}"
    )


def _tags(server: Server, paths: Sequence[str], token: dict[str, str]) -> list[str]:
    browser = server.browse()
    return [browser.get(path, **token).headers["etag"] for path in paths]


def _cycled(requests: Sequence[bytes], count: int) -> list[bytes]:
    return [requests[number % len(requests)] for number in range(count)]


if __name__ == "__main__":
    main()

"""The simulator with one big account, until its standard input closes."""

import sys
from datetime import timedelta

from benchmarks.ingest.fields import ACCOUNT
from pipeline_assets.clock import utcnow
from pipeline_assets.simulator.server import SimulatorServer
from pipeline_assets.simulator.world import AccountSpec, TokenSpec, World


def main() -> None:
    account = AccountSpec(
        id=ACCOUNT,
        name="Benchmark",
        currency="USD",
        timezone="America/New_York",
        ad_count=int(sys.argv[1]),
    )
    world = World(
        accounts=(account,),
        tokens=(TokenSpec("benchmark-token"),),
        anchor=(utcnow() - timedelta(days=400)).date(),
    )
    with SimulatorServer(world) as server:
        print(server.url, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()

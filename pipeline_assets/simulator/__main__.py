"""`python -m pipeline_assets.simulator --port 8399`: serve the demo world until SIGTERM or Ctrl-C.

Prints one line with its address when it answers.
"""

import argparse
import signal
import threading

from pipeline_assets.clock import utcnow
from pipeline_assets.simulator.demo import DEMO_FAULTS, build_demo_world
from pipeline_assets.simulator.server import SimulatorServer


def main() -> None:
    """Serve until told to stop."""
    parser = argparse.ArgumentParser(prog="python -m pipeline_assets.simulator")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=8399, help="port; 0 picks a free one")
    parser.add_argument("--world", choices=["demo"], default="demo", help="what to serve")
    options = parser.parse_args()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    world = build_demo_world(utcnow().date())
    with SimulatorServer(world, host=options.host, port=options.port, faults=DEMO_FAULTS) as server:
        print(f"Simulated Graph API at {server.url}", flush=True)  # noqa: T201  its one line
        stop.wait()


if __name__ == "__main__":
    main()

"""The rival in our own Dagster: an asset that does nothing, started by a plain sensor.

It is written as Dagster's documentation writes a sensor that watches a file: each new line of it
is a run, a cursor says which lines are known.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import dagster as dg

JOB = "plain"
TRIGGERS = "triggers"
"""The file in DAGSTER_HOME."""
TRIGGER = "benchmark/trigger"
"""The run tag that holds the line."""


@dg.asset
def nothing() -> None: ...


plain = dg.define_asset_job(
    JOB, dg.AssetSelection.assets(nothing), executor_def=dg.in_process_executor
)


@dg.sensor(job=plain, minimum_interval_seconds=5, default_status=dg.DefaultSensorStatus.RUNNING)
def watch_triggers(context: dg.SensorEvaluationContext) -> Iterator[dg.RunRequest]:
    file = Path(os.environ["DAGSTER_HOME"], TRIGGERS)
    lines = file.read_text().splitlines() if file.exists() else []
    for line in lines[int(context.cursor or 0) :]:
        yield dg.RunRequest(run_key=line, tags={TRIGGER: line})
    context.update_cursor(str(len(lines)))


defs = dg.Definitions(assets=[nothing], jobs=[plain], sensors=[watch_triggers])
"""The rival's code location."""


def pull_triggers(home: Path, names: list[str]) -> None:
    """Write the lines at once."""
    with (home / TRIGGERS).open("a") as file:
        file.write("".join(f"{name}\n" for name in names))

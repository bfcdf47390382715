"""Dagster's own webserver on its own log: the same datasets, each brand a partition of them.

Each partition was materialized once. What is asked is what its asset pages ask (`PartitionHealth`),
and what tells when each partition was last materialized, which they ask for one at a time; both
for all assets in one request, which spares the rival thirteen.
"""

import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import dagster as dg

from benchmarks.web.rival_assets import PARTITIONS
from benchmarks.web.site import HOST, Answer, Browser, free_port, python_module, run_server
from pipeline_assets.datasets import DATASETS
from pipeline_assets.errors import PipelineError

_ASSETS = "{ repositoriesOrError { ... on RepositoryConnection { nodes { name } } } }"

_ASK = "query($assetKeys: [AssetKeyInput!]!) { assetNodes(assetKeys: $assetKeys) { id %s } }"
_STATES = (
    "partitionKeysByDimension { name type partitionKeys } assetPartitionStatuses {"
    " ... on DefaultPartitionStatuses"
    " { materializedPartitions materializingPartitions failedPartitions } }"
)
_TIMES = "latestMaterializationByPartition { partition timestamp runId }"

QUERIES = {
    "Dagster: state of each partition": _ASK % _STATES,
    "Dagster: last materialization of each partition": _ASK % _TIMES,
}


@contextmanager
def open_rival(brands: Sequence[str]) -> Iterator[Browser]:
    """A connection to Dagster's webserver once it has loaded the assets of these brands."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home:
        (Path(home) / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
        _materialize(home, brands)
        port = free_port()
        command = python_module("dagster_webserver", "--module-name", "benchmarks.web.rival_assets")
        command += ["--host", HOST, "--port", str(port)]
        with run_server(command, port, {"DAGSTER_HOME": home}, folder=home):
            browser = Browser(port)
            deadline = time.monotonic() + 60
            while not ask(browser, _ASSETS).body.count(b'"name"'):
                if time.monotonic() > deadline:
                    raise PipelineError("Dagster's webserver has loaded no code.")
                time.sleep(0.5)
            yield browser


def ask(browser: Browser, query: str) -> Answer:
    """The answer to a GraphQL query about all assets.

    Raises:
        PipelineError: GraphQL refuses it.
    """
    keys = [{"path": [name]} for name in DATASETS]
    variables = {"assetKeys": keys} if query != _ASSETS else {}
    body = json.dumps({"query": query, "variables": variables}).encode()
    answer = browser.post_json("/graphql", body)
    if answer.status != 200 or b'"errors"' in answer.body[-2_000:]:
        raise PipelineError(f"GraphQL answered {answer.status}: {answer.body[-500:]!r}")
    return answer


def _materialize(home: str, brands: Sequence[str]) -> None:
    with dg.DagsterInstance.from_config(home) as instance:
        instance.add_dynamic_partitions(PARTITIONS, list(brands))
        for name in DATASETS:
            for brand in brands:
                event = dg.AssetMaterialization(asset_key=name, partition=brand)
                instance.report_runless_asset_event(event)

"""Five assets in a row that do nothing: what Dagster itself costs a run."""

import dagster as dg


def _asset_after(name: str, upstream: str | None) -> dg.AssetsDefinition:
    @dg.asset(name=name, deps=[upstream] if upstream else [])
    def nothing() -> None: ...

    return nothing


_NAMES = [f"nothing_{number}" for number in range(5)]

defs = dg.Definitions(
    assets=[_asset_after(n, u) for n, u in zip(_NAMES, [None, *_NAMES], strict=False)],
    jobs=[dg.define_asset_job("trivial", executor_def=dg.in_process_executor)],
    executor=dg.in_process_executor,
)
"""The rival's code location."""

"""The edge around every asset: it opens an attempt, beats the heart and translates errors.

An asset's own function is given an `Attempt` and returns an `Outcome`; it knows nothing of Dagster.
Everything that Dagster should know of a dataset comes from the catalogue and its schema.
"""

import inspect
import traceback
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

import dagster as dg

from pipeline_assets.assets.partitions import brand_partitions
from pipeline_assets.clock import utcnow
from pipeline_assets.control.dagster_log import INCOMPLETE
from pipeline_assets.datasets import DATASETS, Dataset
from pipeline_assets.errors import InvalidConfigError, PipelineError, TransientError
from pipeline_assets.redaction import redact
from pipeline_assets.resources.installation import Installation
from pipeline_assets.schemas import SCHEMAS, TableSchema

if TYPE_CHECKING:
    from pipeline_assets.brands.models import Brand
    from pipeline_assets.control.heartbeats import Heartbeat

OWNERS = ["team:ad-data"]


class Window(dg.Config):
    """Days to sync instead of the usual ones, both included, in the ad account's time zone."""

    since: str | None = None
    until: str | None = None

    def parse(self) -> tuple[date, date] | None:
        """The window as dates; None for the usual one.

        Raises:
            InvalidConfigError: only one end is given, an end is no date, or they are swapped.
        """
        if self.since is None and self.until is None:
            return None
        try:
            since, until = (
                date.fromisoformat(self.since or ""),
                date.fromisoformat(self.until or ""),
            )
        except ValueError:
            raise InvalidConfigError(
                f"The window since={self.since!r}, until={self.until!r} is not two dates.",
                advice="Give both, written like 2026-01-31.",
            ) from None
        if since > until:
            raise InvalidConfigError(f"The window begins on {since}, after its end on {until}.")
        return since, until


@dataclass(frozen=True)
class Check:
    """What the dataset's own check found; `metadata` holds the figures behind it."""

    is_passed: bool
    description: str
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What an attempt stored: rows and distinct ads are two different numbers.

    `incomplete`: why a part of the brand (an ad account) could not be read though the rest is
    stored. Such an attempt does not count as a success, but what it stored flows on.
    """

    records: int
    distinct_ads: int
    check: Check
    metadata: Mapping[str, Any] = field(default_factory=dict)
    incomplete: PipelineError | None = None


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One try at one dataset for one brand: what an asset's function works with."""

    brand: "Brand"
    dataset: Dataset
    schema: TableSchema
    run_id: str
    started_at: datetime
    window: tuple[date, date] | None
    installation: Installation
    heartbeat: "Heartbeat"
    log: Callable[[str], None]


def dataset_asset(
    key: str, *, check: str
) -> Callable[[Callable[[Attempt], Outcome]], dg.AssetsDefinition]:
    """Make a function the asset of a dataset of the catalogue; its docstring is shown in Dagster.

    `check` names the asset check that the function's outcome answers.
    """
    dataset, schema = DATASETS[key], SCHEMAS[key]
    has_window = schema.window_column is not None

    def decorate(compute: Callable[[Attempt], Outcome]) -> dg.AssetsDefinition:
        # Dagster reads the return annotation and knows only the plain class.
        def run_windowed(context: dg.AssetExecutionContext, config: Window) -> dg.MaterializeResult:  # type: ignore[type-arg]
            return _run(context, dataset, compute, config)

        def run(context: dg.AssetExecutionContext) -> dg.MaterializeResult:  # type: ignore[type-arg]
            return _run(context, dataset, compute, Window())

        return dg.asset(
            name=key,
            partitions_def=brand_partitions,
            deps=[upstream for upstream in dataset.upstream if upstream in SCHEMAS],
            group_name=dataset.group,
            kinds=set(dataset.kinds),
            owners=OWNERS,
            description=_description(dataset, compute),
            freshness_policy=_freshness_policy(dataset),
            metadata=_definition_metadata(schema),
            check_specs=[_check_spec(key, check, compute)],
            required_resource_keys={"installation"},
        )(run_windowed if has_window else run)

    return decorate


def _run(
    context: dg.AssetExecutionContext,
    dataset: Dataset,
    compute: Callable[[Attempt], Outcome],
    window: Window,
) -> dg.MaterializeResult[Any]:
    try:
        outcome = _compute(context, dataset, compute, window)
    except PipelineError as error:
        raise _failure(error) from None
    except Exception as error:  # noqa: BLE001 - the edge: a bug is shown as one, without secrets
        context.log.error(redact(traceback.format_exc()))  # noqa: TRY400 - redacted by hand
        raise _failure(error) from None
    if outcome.incomplete is not None:
        context.log.error(redact(f"Stored in part. {outcome.incomplete}"))
    return _result(outcome, SCHEMAS[dataset.key])


def _compute(
    context: dg.AssetExecutionContext,
    dataset: Dataset,
    compute: Callable[[Attempt], Outcome],
    window: Window,
) -> Outcome:
    from pipeline_assets.brands.registry import get_brand  # noqa: PLC0415 - keeps imports light
    from pipeline_assets.control.heartbeats import Heartbeat  # noqa: PLC0415

    started_at = utcnow()
    installation: Installation = context.resources.installation
    brand = get_brand(installation.engine, context.partition_key)
    heartbeat = Heartbeat(
        installation.engine,
        run_id=context.run.run_id,
        brand_id=brand.id,
        dataset=dataset.key,
        on_error=lambda error: context.log.warning(redact(f"A heartbeat was missed: {error}")),
    )
    with heartbeat:
        return compute(
            Attempt(
                brand=brand,
                dataset=dataset,
                schema=SCHEMAS[dataset.key],
                run_id=context.run.run_id,
                started_at=started_at,
                window=window.parse(),
                installation=installation,
                heartbeat=heartbeat,
                log=lambda text: context.log.info(redact(text)),
            )
        )


def _result(outcome: Outcome, schema: TableSchema) -> dg.MaterializeResult[Any]:
    metadata = {
        "dagster/partition_row_count": outcome.records,
        "records": outcome.records,
        "distinct_ads": outcome.distinct_ads,
        "dagster/column_schema": _column_schema(schema),
        **outcome.metadata,
    }
    is_passed, description = outcome.check.is_passed, outcome.check.description
    if outcome.incomplete is not None:
        metadata |= metadata_of_error(outcome.incomplete, prefix=f"{INCOMPLETE}_")
        metadata[f"{INCOMPLETE}_error_message"] = redact(str(outcome.incomplete))
        is_passed, description = False, redact(str(outcome.incomplete))
    check = dg.AssetCheckResult(
        passed=is_passed,
        severity=dg.AssetCheckSeverity.ERROR,
        description=description,
        metadata=dict(outcome.check.metadata),
    )
    return dg.MaterializeResult(metadata=metadata, check_results=[check])


def _failure(error: Exception) -> dg.Failure:
    message = redact(str(error)) or type(error).__name__
    return dg.Failure(description=message, metadata=metadata_of_error(error), allow_retries=False)


def metadata_of_error(error: Exception, *, prefix: str = "") -> dict[str, Any]:
    """What the projector reads back of an error: class, advice and the time to come back."""
    metadata: dict[str, Any] = {f"{prefix}error_class": _class_of(error)}
    if isinstance(error, PipelineError):
        if error.advice:
            metadata[f"{prefix}advice"] = redact(error.advice)
    else:
        metadata[f"{prefix}advice"] = (
            "This is a bug in the pipeline: the run's log has the details."
        )
    if isinstance(error, TransientError) and error.retry_after_seconds is not None:
        metadata[f"{prefix}retry_after_seconds"] = float(error.retry_after_seconds)
    return metadata


def _class_of(error: Exception) -> str:
    """The error's class; of a source's own errors the one of the tree that says what to do."""
    in_tree = (each for each in type(error).__mro__ if each.__module__ == PipelineError.__module__)
    return next(in_tree, type(error)).__name__


def _description(dataset: Dataset, compute: Callable[[Attempt], Outcome]) -> str:
    readers = ", ".join(reader.value for reader in dataset.readers)
    return (
        f"{inspect.getdoc(compute) or dataset.title}\n\n"
        f"Read by: {readers}. Dagster's freshness here means any brand; "
        "`pipeline-assets status` tells each brand's."
    )


def _check_spec(key: str, check: str, compute: Callable[[Attempt], Outcome]) -> dg.AssetCheckSpec:
    """A check per brand. Without partitions each brand's result would hide the one before it."""
    with warnings.catch_warnings():
        # Partitioned checks are a preview of Dagster; the contract test of the log covers them.
        warnings.simplefilter("ignore", category=dg.PreviewWarning)
        return dg.AssetCheckSpec(
            check, asset=key, description=inspect.getdoc(compute), partitions_def=brand_partitions
        )


def _freshness_policy(dataset: Dataset) -> dg.FreshnessPolicy | None:
    """Dagster judges an asset as a whole: fresh when any brand is. Per brand, ask our status."""
    if dataset.fail_after is None:
        return None
    return dg.FreshnessPolicy.time_window(
        fail_window=dataset.fail_after, warn_window=dataset.warn_after
    )


def _definition_metadata(schema: TableSchema) -> dict[str, Any]:
    return {
        "dagster/column_schema": _column_schema(schema),
        "dagster/table_name": schema.name,
        "key_columns": ", ".join(schema.key),
    }


def _column_schema(schema: TableSchema) -> dg.TableSchema:
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                name=column.name,
                type=column.type.value,
                description=column.description,
                constraints=dg.TableColumnConstraints(nullable=column.nullable),
            )
            for column in schema.columns
        ]
    )

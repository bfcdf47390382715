"""The edge around every asset: it opens an attempt, beats the heart and translates errors.

An asset's own function is given an `Attempt` and returns an `Outcome`; it knows nothing of Dagster.
Everything that Dagster should know of a dataset comes from the catalogue and its schema. A run over
several brands calls the function once for each: one brand's trouble never stops the others.
"""

import inspect
import statistics
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any

import dagster as dg

from pipeline_assets.assets.partitions import brand_partitions
from pipeline_assets.clock import utcnow
from pipeline_assets.control.dagster_log import FAILED_BRANDS, INCOMPLETE, has_materialization
from pipeline_assets.datasets import DATASETS, JOBS, Dataset, home_job
from pipeline_assets.errors import InvalidConfigError, PipelineError, TransientError, UpstreamFailed
from pipeline_assets.redaction import redact
from pipeline_assets.resources.installation import Installation
from pipeline_assets.schemas import SCHEMAS, TableSchema

if TYPE_CHECKING:
    import pandas as pd
    from sqlalchemy import ColumnElement

    from pipeline_assets.brands.models import Brand
    from pipeline_assets.control.heartbeats import Heartbeat

OWNERS = ["team:ad-data"]

ROW_COUNT_CHECK = "row_count_is_usual"
ROW_COUNT_DESCRIPTION = "At least half as many rows as the brand's last successes had (median)."

_CHUNK_ROWS = 1_000

_COMPARED_SYNCS = 10
_FEWEST_SYNCS = 3
_FEWEST_ROWS = 10  # of fewer, half can go in the ordinary course of things
_FEWEST_USUAL_RATIO = 0.5


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


class Brands(dg.Config):
    """The brands that a run over several works on, and those that it leaves out with why.

    Without any, all of its partitions: a person has chosen them in Dagster.
    """

    brands: list[str] | None = None
    left_out: dict[str, str] | None = None


@dataclass(frozen=True)
class Check:
    """What a check of the dataset found; `metadata` holds the figures behind it.

    `is_warning`: not passed, it warns that somebody should look; the data may be right.
    """

    is_passed: bool
    description: str
    metadata: Mapping[str, Any] = field(default_factory=dict)
    is_warning: bool = False


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What an attempt stored: rows and distinct ads (None: it has none) are different numbers.

    `checks` answers each check that the asset declares, by name. `incomplete`: why a part of the
    brand (an ad account) could not be read though the rest is stored. Such an attempt does not
    count as a success, but what it stored flows on.
    """

    records: int
    checks: Mapping[str, Check]
    distinct_ads: int | None = None
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

    @property
    def max_runtime(self) -> timedelta:
        """How long a run of the dataset's job may take for the brand before it is ended."""
        return self.brand.max_runtime(home_job(self.dataset.key))

    def read_rows(
        self,
        schema: TableSchema | None = None,
        *,
        columns: Sequence[str] | None = None,
        where: "Sequence[ColumnElement[bool]]" = (),
    ) -> list[dict[str, Any]]:
        """The brand's stored rows, of this dataset if none is named; as `storage` reads them."""
        from pipeline_assets.storage.windows import read_rows  # noqa: PLC0415

        return read_rows(
            self.installation.engine,
            schema or self.schema,
            brand_id=self.brand.id,
            columns=columns,
            where=where,
        )

    def read_frame(
        self,
        schema: TableSchema,
        *,
        columns: Sequence[str],
        where: "Sequence[ColumnElement[bool]]" = (),
    ) -> "pd.DataFrame":
        """The rows of `read_rows` as a frame whose dtypes come from the schema."""
        from pipeline_assets.storage.windows import read_frame  # noqa: PLC0415

        return read_frame(
            self.installation.engine, schema, brand_id=self.brand.id, columns=columns, where=where
        )

    def replace_rows(
        self, rows: Iterable[Mapping[str, Any]], *, schema: TableSchema | None = None
    ) -> int:
        """Make these, each with every column, the brand's only rows; how many there are then.

        They are read while nobody else can write. Of this dataset if no other table is named.
        Raises: PipelineError, as `storage` does.
        """
        from pipeline_assets.storage.windows import Scope, replace_rows  # noqa: PLC0415

        table = schema or self.schema
        names = table.column_names
        tuples = (tuple(row[name] for name in names) for row in rows)
        return replace_rows(
            self.installation.engine,
            table,
            brand_id=self.brand.id,
            scopes=[Scope()],
            chunks=iter(lambda: list(islice(tuples, _CHUNK_ROWS)), []),
            attempt_started_at=self.started_at,
            run_id=self.run_id,
        ).written


def dataset_asset(
    key: str, *, checks: tuple[str, ...]
) -> Callable[[Callable[[Attempt], Outcome]], dg.AssetsDefinition]:
    """Make a function the asset of a dataset of the catalogue; its docstring is shown in Dagster.

    `checks` names the asset checks that the function's outcome answers; how many rows there are is
    checked of every dataset. Where the dataset's job does all brands of an organization at once,
    the asset does too, as well as one brand like any other.
    """
    dataset, schema = DATASETS[key], SCHEMAS[key]
    is_across = home_job(key).across_brands
    is_companion = any(key in each.companions for each in DATASETS.values())

    def decorate(compute: Callable[[Attempt], Outcome]) -> dg.AssetsDefinition:
        # Dagster reads the return annotation and knows only the plain class.
        def run_windowed(context: dg.AssetExecutionContext, config: Window) -> dg.MaterializeResult:  # type: ignore[type-arg]
            return _run(context, dataset, compute, config.parse)

        def run(context: dg.AssetExecutionContext) -> dg.MaterializeResult:  # type: ignore[type-arg]
            return _run(context, dataset, compute)

        def run_across(context: dg.AssetExecutionContext, config: Brands) -> Iterator[Any]:
            if context.has_partition_key:
                yield _run(context, dataset, compute)
            else:
                yield from _run_across(context, dataset, compute, config)

        run_windowed_or_not = run_windowed if schema.window_column else run
        with warnings.catch_warnings():
            # Backfill policies are a beta of Dagster; the test with a real daemon covers them.
            warnings.simplefilter("ignore", category=dg.BetaWarning)
            decorator = dg.multi_asset(
                name=_op_name(key),
                partitions_def=brand_partitions,
                specs=[
                    dg.AssetSpec(
                        key,
                        deps=dataset.upstream,
                        group_name=dataset.group,
                        kinds=set(dataset.kinds),
                        owners=OWNERS,
                        description=_description(dataset, compute),
                        freshness_policy=_freshness_policy(dataset),
                        metadata=_definition_metadata(schema),
                        # Dagster takes an output for all of a run's partitions: a run over several
                        # brands has none.
                        skippable=is_across,
                    )
                ],
                check_specs=[
                    *(_check_spec(key, name, inspect.getdoc(compute)) for name in checks),
                    _check_spec(key, ROW_COUNT_CHECK, ROW_COUNT_DESCRIPTION),
                ],
                required_resource_keys={"installation"},
                # Among deps, a companion that fails would keep the dataset from being tried.
                op_tags={"dagster/priority": "1"} if is_companion else {},
                backfill_policy=dg.BackfillPolicy.single_run() if is_across else None,
            )
        return decorator(run_across if is_across else run_windowed_or_not)

    return decorate


def _op_name(key: str) -> str:
    """The dataset's own name, unless a job has it too: Dagster wants both kinds unique together."""
    return f"{key}_dataset" if key in JOBS else key


def _run_across(
    context: dg.AssetExecutionContext,
    dataset: Dataset,
    compute: Callable[[Attempt], Outcome],
    chosen: Brands,
) -> Iterator[dg.AssetMaterialization | dg.AssetCheckEvaluation | dg.Output[None]]:
    """Run each brand and tell of it by itself; at the end the step fails if any brand did."""
    for brand_id, reason in (chosen.left_out or {}).items():
        context.log.info("%s is left out: %s", brand_id, reason)
    brand_ids = list(context.partition_keys) if chosen.brands is None else chosen.brands
    failures: dict[str, dg.Failure] = {}
    for number, brand_id in enumerate(brand_ids, start=1):
        context.log.info("%s, %d of %d brands", brand_id, number, len(brand_ids))
        try:
            result = _run(context, dataset, compute, brand_id=brand_id)
        except dg.Failure as failure:
            context.log.error("%s: %s", brand_id, failure.description)  # noqa: TRY400 - in the log
            failures[brand_id] = failure
        else:
            yield from _events_of_brand(dataset.key, brand_id, result)
    if failures:
        raise _failure_of_brands(failures, brand_count=len(brand_ids))
    for check in context.assets_def.check_specs:  # Dagster wants an output of each
        yield dg.Output(None, output_name=check.get_python_identifier())


def _events_of_brand(
    key: str, brand_id: str, result: dg.MaterializeResult[Any]
) -> Iterator[dg.AssetMaterialization | dg.AssetCheckEvaluation]:
    yield dg.AssetMaterialization(key, partition=brand_id, metadata=result.metadata)
    for check in result.check_results:
        yield dg.AssetCheckEvaluation(
            asset_key=dg.AssetKey(key),
            check_name=str(check.check_name),
            passed=check.passed,
            severity=check.severity,
            description=check.description,
            metadata=check.metadata,
            partition=brand_id,
        )


def _failure_of_brands(failures: Mapping[str, dg.Failure], *, brand_count: int) -> dg.Failure:
    """One failure that tells the projector each brand's own."""
    plain = {
        brand_id: {
            "error_message": failure.description,
            **{name: each.value for name, each in failure.metadata.items()},
        }
        for brand_id, failure in failures.items()
    }
    names = ", ".join(plain)
    return dg.Failure(
        description=f"{len(failures)} of {brand_count} brands failed: {names}.",
        metadata={FAILED_BRANDS: plain},
        allow_retries=False,
    )


def _run(
    context: dg.AssetExecutionContext,
    dataset: Dataset,
    compute: Callable[[Attempt], Outcome],
    read_window: Callable[[], tuple[date, date] | None] = lambda: None,
    *,
    brand_id: str | None = None,
) -> dg.MaterializeResult[Any]:
    """One attempt for the brand, that of the run's partition if none is named."""
    try:
        outcome, row_count = _compute(
            context, dataset, compute, read_window, brand_id or context.partition_key
        )
    except PipelineError as error:
        raise _failure(error) from None
    except Exception as error:  # noqa: BLE001 - the edge: a bug is shown as one, without secrets
        context.log.error(redact(traceback.format_exc()))  # noqa: TRY400 - redacted by hand
        raise _failure(error) from None
    if outcome.incomplete is not None:
        context.log.error(redact(f"Stored in part. {outcome.incomplete}"))
    return _result(outcome, SCHEMAS[dataset.key], row_count)


def _compute(
    context: dg.AssetExecutionContext,
    dataset: Dataset,
    compute: Callable[[Attempt], Outcome],
    read_window: Callable[[], tuple[date, date] | None],
    brand_id: str,
) -> tuple[Outcome, Check]:
    from pipeline_assets.brands.registry import get_brand  # noqa: PLC0415 - keeps imports light
    from pipeline_assets.control.heartbeats import Heartbeat  # noqa: PLC0415

    started_at = utcnow()
    installation: Installation = context.resources.installation
    brand = get_brand(installation.engine, brand_id)
    _check_upstream(context.instance, installation, brand, dataset)
    heartbeat = Heartbeat(
        installation.engine,
        run_id=context.run.run_id,
        brand_id=brand.id,
        dataset=dataset.key,
        on_error=lambda error: context.log.warning(redact(f"A heartbeat was missed: {error}")),
    )
    attempt = Attempt(
        brand=brand,
        dataset=dataset,
        schema=SCHEMAS[dataset.key],
        run_id=context.run.run_id,
        started_at=started_at,
        window=read_window(),
        installation=installation,
        heartbeat=heartbeat,
        log=lambda text: context.log.info(redact(text)),
    )
    with heartbeat:
        outcome = compute(attempt)
        return outcome, _check_row_count(attempt, outcome.records)


def _check_upstream(
    instance: dg.DagsterInstance, installation: Installation, brand: "Brand", dataset: Dataset
) -> None:
    """Refuse what would be made from nothing: an empty result would pass for a success.

    Dagster's log knows what the projection has yet to learn, of this very run too, and what was
    stored in part; the projection outlives the log.

    Raises:
        UpstreamFailed: nothing was ever stored of a dataset that this one is made from.
    """
    from pipeline_assets.control.attempts import datasets_with_success  # noqa: PLC0415

    needed = [key for key in dataset.upstream if brand.sources.has(DATASETS[key].source)]
    known = datasets_with_success(installation.engine, brand.id) if needed else set()
    missing = [
        key
        for key in needed
        if key not in known and not has_materialization(instance, key, brand.id)
    ]
    if missing:
        names = ", ".join(missing)
        syncs = dict.fromkeys(
            f"`pipeline-assets sync {brand.id} {home_job(key).name}`" for key in missing
        )
        raise UpstreamFailed(
            f"Not tried because {names} {'has' if len(missing) == 1 else 'have'} never been synced "
            "well.",
            advice=f"Sync that first: {', '.join(syncs)}.",
        )


def _check_row_count(attempt: Attempt, records: int) -> Check:
    """Whether there are about as many rows as the last successes stored."""
    from pipeline_assets.control.attempts import recent_record_counts  # noqa: PLC0415

    if attempt.window is not None:
        return Check(True, "A window that somebody chose is not compared.", {"rows": records})
    before = recent_record_counts(
        attempt.installation.engine, attempt.brand.id, attempt.dataset.key, limit=_COMPARED_SYNCS
    )
    usual = statistics.median(before) if before else 0
    figures = {"rows": records, "usual_rows": usual, "compared_syncs": len(before)}
    if len(before) < _FEWEST_SYNCS or usual < _FEWEST_ROWS:
        return Check(True, f"{records} rows; too little is known to say what is usual.", figures)
    return Check(
        records >= _FEWEST_USUAL_RATIO * usual,
        f"{records} rows, where the last {len(before)} syncs had {usual:g} (median).",
        figures,
        is_warning=True,
    )


def _result(outcome: Outcome, schema: TableSchema, row_count: Check) -> dg.MaterializeResult[Any]:
    metadata = {
        "dagster/partition_row_count": outcome.records,
        "records": outcome.records,
        "dagster/column_schema": _column_schema(schema),
        **outcome.metadata,
    }
    if outcome.distinct_ads is not None:
        metadata["distinct_ads"] = outcome.distinct_ads
    checks = dict(outcome.checks)
    if outcome.incomplete is not None:
        metadata |= metadata_of_error(outcome.incomplete, prefix=f"{INCOMPLETE}_")
        reason = redact(str(outcome.incomplete))
        metadata[f"{INCOMPLETE}_error_message"] = reason
        checks = {name: Check(False, reason, each.metadata) for name, each in checks.items()}
    checks[ROW_COUNT_CHECK] = row_count
    return dg.MaterializeResult(
        metadata=metadata,
        check_results=[_check_result(name, each) for name, each in checks.items()],
    )


def _check_result(name: str, check: Check) -> dg.AssetCheckResult:
    severity = dg.AssetCheckSeverity
    return dg.AssetCheckResult(
        check_name=name,
        passed=check.is_passed,
        severity=severity.WARN if check.is_warning else severity.ERROR,
        description=check.description,
        metadata=dict(check.metadata),
    )


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


def _check_spec(key: str, name: str, description: str | None) -> dg.AssetCheckSpec:
    """A check per brand. Without partitions each brand's result would hide the one before it."""
    with warnings.catch_warnings():
        # Partitioned checks are a preview of Dagster; the contract test of the log covers them.
        warnings.simplefilter("ignore", category=dg.PreviewWarning)
        return dg.AssetCheckSpec(
            name, asset=key, description=description, partitions_def=brand_partitions
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

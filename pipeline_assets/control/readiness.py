"""Reads what a page's readiness rests on, in one query however many datasets and brands."""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from itertools import groupby
from operator import attrgetter
from typing import Any

import orjson
import sqlalchemy as sa

from pipeline_assets.brands.models import allowed_age
from pipeline_assets.brands.registry import get_brand
from pipeline_assets.control.requests import IS_ACTIVE, Trigger
from pipeline_assets.datasets import DATASETS, JOBS
from pipeline_assets.errors import InvalidConfigError
from pipeline_assets.freshness.pages import Need, Page
from pipeline_assets.freshness.readiness import (
    Activity,
    BrandsReadiness,
    Facts,
    Pause,
    Readiness,
    judge_brands,
    judge_page,
)
from pipeline_assets.storage.tables import brands, dataset_status, requests


def read_readiness(
    engine: sa.Engine,
    brand_id: str,
    page: Page,
    *,
    now: datetime,
    organization_ids: Collection[str] | None = None,
) -> Readiness:
    """Whether the page may show this brand's data.

    Raises:
        InvalidConfigError: as of `get_brand`, for an unknown brand and for a forbidden one.
    """
    with engine.connect() as connection:
        rows = connection.execute(_OF_BRAND, {**_parameters(page), "brand_id": brand_id}).all()
    if not rows or (
        organization_ids is not None and rows[0].organization_id not in organization_ids
    ):
        get_brand(engine, brand_id, organization_ids=organization_ids)
        raise InvalidConfigError(f"There is no brand {brand_id!r}.")  # added in between
    return _judge(page, rows, now=now)


def read_readiness_across(
    engine: sa.Engine,
    page: Page,
    *,
    now: datetime,
    organization_ids: Collection[str] | None = None,
) -> BrandsReadiness:
    """Whether the page may show the data of all brands, or all of these organizations."""
    judged = read_each_readiness(engine, page, now=now, organization_ids=organization_ids)
    return judge_brands(page, judged, now=now)


def read_each_readiness(
    engine: sa.Engine,
    page: Page,
    *,
    now: datetime,
    organization_ids: Collection[str] | None = None,
) -> list[Readiness]:
    """Which of all brands, or all of these organizations, the page may show."""
    query = _OF_ALL
    if organization_ids is not None:
        query = query.where(brands.c.organization_id.in_(organization_ids))
    with engine.connect() as connection:
        rows = connection.execute(query, _parameters(page)).all()
    by_brand = groupby(rows, key=attrgetter("id"))
    return [_judge(page, list(of_brand), now=now) for _, of_brand in by_brand]


def etag_of(readiness: Readiness | BrandsReadiness) -> str:
    """A tag of what is shown: it changes with any state, time or word, not with each second.

    The words tell ages to the minute at the finest, and hours after the first 90 minutes.
    """
    shown = orjson.dumps(_without_seconds(readiness.as_row()), option=orjson.OPT_SORT_KEYS)
    return f'"{hashlib.sha256(shown).hexdigest()[:32]}"'


def _without_seconds(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _without_seconds(v) for k, v in value.items() if k not in _EACH_SECOND}
    return [_without_seconds(each) for each in value] if isinstance(value, list) else value


_EACH_SECOND = {"checked_at", "age_seconds"}

_STATUS = dataset_status.c
_REQUEST = requests.c

# As the unique index of active wishes has it, so that no request of the past is read. What a person
# started in Dagster itself stands in the status as soon as it is at a dataset.
_IS_ACTIVE_WISH = (
    IS_ACTIVE
    & _REQUEST.resync_id.is_(None)
    & (_REQUEST.trigger != sa.literal(Trigger.DAGSTER, literal_execute=True))
)

# Every (dataset of the page, active request) of each brand; at least one row for each brand.
_OF_ALL = (
    sa.select(
        brands.c.id,
        brands.c.organization_id,
        brands.c.sources,
        brands.c.windows,
        brands.c.paused_at,
        brands.c.paused_reason,
        brands.c.paused_until,
        _STATUS.dataset,
        _STATUS.last_success_at,
        _STATUS.last_attempt_run_id,
        _STATUS.last_attempt_started_at,
        _STATUS.last_attempt_ended_at,
        _STATUS.last_attempt_outcome,
        _STATUS.error_class,
        _STATUS.error_message,
        _STATUS.advice,
        _REQUEST.id.label("request_id"),
        _REQUEST.job,
        _REQUEST.datasets,
        _REQUEST.state,
        _REQUEST.not_before,
        _REQUEST.requested_at,
        _REQUEST.run_id,
    )
    .select_from(brands)
    .outerjoin(
        dataset_status,
        (_STATUS.brand_id == brands.c.id)
        & _STATUS.dataset.in_(sa.bindparam("datasets", expanding=True)),
    )
    .outerjoin(
        requests,
        (_REQUEST.brand_id == brands.c.id) & _IS_ACTIVE_WISH,
    )
    .order_by(brands.c.id)
)
_OF_BRAND = _OF_ALL.where(brands.c.id == sa.bindparam("brand_id"))


def _parameters(page: Page) -> dict[str, list[str]]:
    return {"datasets": [need.dataset for need in page.needs]}


def _judge(page: Page, rows: Sequence[Any], *, now: datetime) -> Readiness:
    brand = rows[0]
    statuses = {row.dataset: row for row in rows if row.dataset is not None}
    active = {row.request_id: row for row in rows if row.request_id is not None}.values()
    facts = {
        need.dataset: _facts(need, brand, statuses.get(need.dataset), active, now=now)
        for need in page.needs
    }
    return judge_page(page, facts, brand_id=brand.id, pause=_pause(brand, now), now=now)


def _pause(brand: Any, now: datetime) -> Pause | None:
    is_over = brand.paused_until is not None and now >= brand.paused_until
    if brand.paused_at is None or is_over:
        return None
    return Pause(at=brand.paused_at, reason=brand.paused_reason, until=brand.paused_until)


def _facts(
    need: Need, brand: Any, status: Any | None, active: Collection[Any], *, now: datetime
) -> Facts:
    dataset = DATASETS[need.dataset]
    allowed = need.max_age if need.max_age is not None else allowed_age(dataset, brand.windows)
    is_configured = bool(brand.sources.get(dataset.source.value))
    activity = _activity(need.dataset, status, active, now=now)
    if status is None:
        return Facts(allowed_age=allowed, is_configured=is_configured, **activity)
    return Facts(
        allowed_age=allowed,
        is_configured=is_configured,
        last_success_at=status.last_success_at,
        failed_at=status.last_attempt_ended_at,
        error_class=status.error_class,
        error_message=status.error_message,
        advice=status.advice,
        **activity,
    )


def _activity(
    key: str, status: Any | None, active: Collection[Any], *, now: datetime
) -> dict[str, Any]:
    """What is furthest on its way to refresh the dataset: its attempt, or an active request."""
    if status is not None and status.last_attempt_outcome is None:
        since = status.last_attempt_started_at
        return {"activity": Activity.RUNNING, "activity_since": since}
    run_id = status.last_attempt_run_id if status is not None else None
    wanted = [row for row in active if key in _datasets_of(row)]
    due_since = [
        max(row.requested_at, row.not_before)
        for row in wanted
        # Its run may be at the next dataset while this one is done.
        if row.not_before <= now and (run_id is None or row.run_id != run_id)
    ]
    if due_since:
        return {"activity": Activity.QUEUED, "activity_since": min(due_since)}
    waiting = [row.not_before for row in wanted if row.not_before > now]
    return {"activity": Activity.WAITING, "next_try_at": min(waiting)} if waiting else {}


def _datasets_of(request: Any) -> Collection[str]:
    of_job = JOBS[request.job].datasets if request.job in JOBS else ()
    return set(request.datasets or of_job)

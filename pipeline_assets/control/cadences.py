"""The table of cadences: when which job runs for which brand, and the requests of those due.

Belongs here: setting, pausing and finding cadences, and storing what is due. When a tick is, is
worked out in `cadence_ticks.py`; a stored request starts as any other does.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from pipeline_assets.brands.models import Brand, parse_brand
from pipeline_assets.control.cadence_ticks import (
    Preset,
    clock_warning,
    cron_of,
    describe,
    next_tick,
    preset_of,
    read_zone,
)
from pipeline_assets.control.requests import (
    StoredWish,
    Trigger,
    Wish,
    check_wish,
    store_wishes,
)
from pipeline_assets.control.targets import (
    AllBrands,
    Target,
    all_brands_id,
    in_words,
    organization_of,
    parse_target,
    read_owners,
    read_target,
    read_target_rows,
)
from pipeline_assets.datasets import JOBS
from pipeline_assets.errors import InvalidConfigError
from pipeline_assets.storage import audit
from pipeline_assets.storage.engine import dialect_insert, write_transaction
from pipeline_assets.storage.tables import brands, cadences

Row = dict[str, Any]

MAX_DUE_AT_ONCE = 1000
"""How many due cadences one call takes: about a second's work; the next beat takes the others."""

_CLOCK_TOLERANCE = timedelta(hours=1)
"""A clock set back by no more than this only makes the next tick wait for it."""

_BROKEN_WAIT = timedelta(hours=1)
"""A cadence whose ticks cannot be worked out any more is looked at again after this."""

_NO_PAUSE: Row = {"paused_at": None, "paused_reason": None, "paused_until": None}

_TICK_COLUMNS = (
    *("next_run_at", "checked_at", "last_tick_at", "last_tick_result", "last_request_id"),
    *_NO_PAUSE,
)


@dataclass(frozen=True, kw_only=True)
class Cadence:
    """When a job runs for a brand, or all brands of an organization; the table's columns.

    `checked_at` is when `next_run_at` was worked out; `last_tick_at` is the latest tick that was
    taken, `last_tick_result` what came of it.
    """

    brand_id: str
    job: str
    cron: str
    timezone: str
    next_run_at: datetime
    checked_at: datetime
    last_tick_at: datetime | None
    last_tick_result: str | None
    last_request_id: str | None
    paused_at: datetime | None
    paused_reason: str | None
    paused_until: datetime | None
    updated_at: datetime
    updated_by: str

    @property
    def target(self) -> str:
        """What it is called in the audit log and in messages."""
        return f"{self.brand_id}:{self.job}"

    @property
    def preset(self) -> Preset | None:
        """The preset that its cron is, if it is one."""
        return preset_of(self.cron, self.brand_id, self.job)

    @property
    def in_words(self) -> str:
        """Such as `daily: at 05:17 every day (Europe/Paris)`."""
        return _in_words(self.cron, self.timezone, self.preset)

    def as_row(self) -> Row:
        """The columns, the preset and the words as plain values."""
        return asdict(self) | {"preset": self.preset, "in_words": self.in_words}

    def is_paused(self, now: datetime) -> bool:
        """Whether a person's pause holds at this instant; it ends at `paused_until` by itself."""
        return self.paused_at is not None and (self.paused_until is None or now < self.paused_until)


@dataclass(frozen=True, kw_only=True)
class CadencePreview:
    """What a cadence would be: its next ticks in UTC, and what changes of the clock do to it."""

    cron: str
    timezone: str
    in_words: str
    ticks: tuple[datetime, ...]
    clock_warning: str

    @property
    def local_times(self) -> list[str]:
        """The ticks for people, such as `Mon 2026-03-09 05:17 CET`."""
        zone = read_zone(self.timezone)
        return [f"{tick.astimezone(zone):%a %Y-%m-%d %H:%M %Z}" for tick in self.ticks]


@dataclass(frozen=True, kw_only=True)
class DueSummary:
    """What came of the cadences that were due, each named as `brand:job`, in that order.

    `skipped` holds each one's reason; `realigned` are those whose next tick stood far ahead because
    the clock had been there.
    """

    requested: tuple[str, ...] = ()
    joined: tuple[str, ...] = ()
    skipped: Mapping[str, str] = field(default_factory=dict)
    realigned: tuple[str, ...] = ()


def preview_cadence(
    target: Target,
    job: str,
    cadence: str,
    *,
    timezone: str | None = None,
    now: datetime,
    count: int = 3,
) -> CadencePreview:
    """What `set_cadence` would store; stores nothing.

    Raises:
        InvalidConfigError: as of `set_cadence`.
    """
    cron, zone = _cron_and_zone(target, job, cadence, timezone)
    ticks: list[datetime] = []
    while len(ticks) < count:
        ticks.append(next_tick(cron, zone, ticks[-1] if ticks else now))
    return CadencePreview(
        cron=cron,
        timezone=zone,
        in_words=_in_words(cron, zone, preset_of(cron, target.id, job)),
        ticks=tuple(ticks),
        clock_warning=clock_warning(cron, zone, now),
    )


def _cron_and_zone(target: Target, job: str, cadence: str, timezone: str | None) -> tuple[str, str]:
    """The cron expression and time zone of a cadence that the brand, or brands, can have."""
    check_wish(target, _wish(target.id, job))
    if timezone is not None:  # by the rule that holds for a brand's own
        brand = target.brands[0] if isinstance(target, AllBrands) else target
        parse_brand({**dict(brand), "timezone": timezone})
    return cron_of(cadence, target.id, job), timezone or target.timezone


def _in_words(cron: str, timezone: str, preset: Preset | None) -> str:
    words = describe(cron, timezone)
    return f"{preset}: {words[0].lower()}{words[1:]}" if preset else words


def set_cadence(
    engine: sa.Engine,
    brand_id: str,
    job: str,
    cadence: str,
    *,
    timezone: str | None = None,
    actor: str,
    now: datetime,
) -> Cadence:
    """Add or change when the job runs for the brand: a preset's name or five cron fields.

    It starts no run: the next tick is the first one after now. The time zone is the brand's own
    unless one is given. A pause stays. `brand_id` may be `*<organization>`.

    Raises:
        InvalidConfigError: the brand, job, cadence or time zone is unknown or cannot work, or the
            brand lacks a source that the job needs.
    """
    cron, zone = _cron_and_zone(read_target(engine, brand_id), job, cadence, timezone)
    changes = {
        "cron": cron,
        "timezone": zone,
        "next_run_at": next_tick(cron, zone, now),
        "checked_at": now,
        "updated_at": now,
        "updated_by": actor,
    }
    with write_transaction(engine) as connection:
        before = connection.execute(_query(brand_id=brand_id, job=job)).mappings().first()
        row = connection.execute(
            dialect_insert(connection, cadences)
            .values(brand_id=brand_id, job=job, **changes)
            .on_conflict_do_update(index_elements=["brand_id", "job"], set_=changes)
            .returning(*cadences.c)
        ).mappings()
        was = {name: before[name] for name in ("cron", "timezone")} if before else None
        detail = {"cron": cron, "timezone": zone, "was": was}
        return _audited(connection, Cadence(**row.one()), "cadence.set", detail)


def pause_cadence(
    engine: sa.Engine,
    brand_id: str,
    job: str,
    *,
    reason: str,
    until: datetime | None = None,
    actor: str,
    now: datetime,
) -> Cadence:
    """Let no tick make a request until an instant, or until it is resumed.

    A second pause replaces the first. What was requested before runs on.

    Raises:
        InvalidConfigError: there is no such cadence, the reason is empty, or `until` is over.
    """
    if not reason.strip():
        raise InvalidConfigError("The reason is empty.", advice="Say why, for those who wonder.")
    if until is not None and until <= now:
        raise InvalidConfigError(
            f"The cadence cannot be paused until {until.isoformat()}: that is over.",
            advice="Give a time to come, or none to pause until somebody resumes it.",
        )
    pause = {"paused_at": now, "paused_reason": reason, "paused_until": until}
    with write_transaction(engine) as connection:
        paused = _change(connection, brand_id, job, pause, actor=actor, now=now)
        return _audited(connection, paused, "cadence.pause", {"reason": reason, "until": until})


def resume_cadence(
    engine: sa.Engine, brand_id: str, job: str, *, actor: str, now: datetime
) -> Cadence:
    """End a cadence's pause; it starts no run: the next tick is the first one after now.

    Nothing happens to one that is not paused.

    Raises:
        InvalidConfigError: there is no such cadence.
    """
    with write_transaction(engine) as connection:
        cadence = _read(connection, brand_id, job)
        if cadence.paused_at is None:
            return cadence
        next_run_at = next_tick(cadence.cron, cadence.timezone, now)
        changes = {**_NO_PAUSE, "next_run_at": next_run_at, "checked_at": now}
        resumed = _change(connection, brand_id, job, changes, actor=actor, now=now)
        return _audited(connection, resumed, "cadence.resume", {})


def list_cadences(
    engine: sa.Engine,
    *,
    organization_ids: Collection[str] | None = None,
    brand_id: str | None = None,
    job: str | None = None,
) -> list[Cadence]:
    """All cadences, or those of these organizations, one brand or job; by brand and job."""
    query = _query(brand_id=brand_id, job=job)
    if organization_ids is not None:
        theirs = sa.select(brands.c.id).where(brands.c.organization_id.in_(organization_ids))
        for_all = [all_brands_id(organization_id) for organization_id in organization_ids]
        query = query.where(cadences.c.brand_id.in_(theirs) | cadences.c.brand_id.in_(for_all))
    with engine.connect() as connection:
        return _cadences(connection, query)


def upcoming(cadence: Cadence, now: datetime, count: int) -> list[datetime]:
    """The cadence's next ticks after now, in UTC. A pause changes none: it only lets them pass.

    None when its cron or time zone cannot be read any more: `last_tick_result` says what is wrong.
    """
    ticks: list[datetime] = []
    try:
        while len(ticks) < count:
            ticks.append(next_tick(cadence.cron, cadence.timezone, ticks[-1] if ticks else now))
    except InvalidConfigError:
        return []
    return ticks


def store_due(engine: sa.Engine, *, now: datetime) -> DueSummary:
    """Store a request for each cadence that is due and move each to its next tick after now.

    All in one transaction: a tick is taken once, whoever else calls at the same time, and whatever
    happens. However many ticks have gone by, a cadence makes one request. A tick that makes none
    (paused, no source any more, unreadable) moves on as well and says why in `last_tick_result`. At
    most `MAX_DUE_AT_ONCE` are taken, the longest due first.

    When the clock is set back, ticks wait for it, so that none comes twice. One that was worked out
    more than an hour ahead of now is worked out anew: nothing would run until the clock is there.
    """
    with engine.connect() as connection:  # waits for nobody's write when nothing is due
        if connection.execute(_due_query(now).limit(1)).first() is None:
            return DueSummary()
    with write_transaction(engine) as connection:
        due = _take_due(connection, now)
        brand_rows = read_target_rows(connection, {cadence.brand_id for cadence in due})
        ticks = [_tick(each, brand_rows.get(each.brand_id, ()), now=now) for each in due]
        if ticks:  # else another scheduler has been faster
            ticks = _request(connection, ticks, now=now)
            _write_ticks(connection, ticks)
    return _summary(ticks)


@dataclass(frozen=True, kw_only=True)
class _Tick:
    """What came of one due cadence: its new columns, and the reason if it makes no request."""

    cadence: Cadence
    changes: Row
    is_new: bool = False
    skipped: str | None = None
    is_realigned: bool = False


def _tick(cadence: Cadence, brand_rows: Sequence[Row], *, now: datetime) -> _Tick:
    next_run_at, problem = _next_run_at(cadence, now)
    moved: Row = {"next_run_at": next_run_at, "checked_at": now}
    if cadence.next_run_at > now:  # the clock was far ahead
        return _Tick(cadence=cadence, changes=moved, is_realigned=True)
    moved["last_tick_at"] = cadence.next_run_at
    if not cadence.is_paused(now):
        moved |= _NO_PAUSE
    skipped = problem or _reason_to_skip(cadence, brand_rows, now)
    if skipped is not None:
        moved["last_tick_result"] = skipped
    return _Tick(cadence=cadence, changes=moved, skipped=skipped)


def _request(connection: sa.Connection, ticks: Sequence[_Tick], *, now: datetime) -> list[_Tick]:
    """The ticks with the request of each that makes one."""
    asking = [tick for tick in ticks if tick.skipped is None and not tick.is_realigned]
    wishes = [
        _wish(tick.cadence.brand_id, tick.cadence.job, reason=tick.cadence.in_words)
        for tick in asking
    ]
    stored = dict(
        zip(
            (tick.cadence.target for tick in asking),
            store_wishes(connection, wishes, now=now),
            strict=True,
        )
    )
    return [_with_request(tick, stored.get(tick.cadence.target)) for tick in ticks]


def _with_request(tick: _Tick, stored: StoredWish | None) -> _Tick:
    if stored is None:
        return tick
    result = "requested" if stored.is_new else f"joined request {stored.request_id}"
    changes = {"last_tick_result": result, "last_request_id": stored.request_id}
    return replace(tick, changes={**tick.changes, **changes}, is_new=stored.is_new)


def _next_run_at(cadence: Cadence, now: datetime) -> tuple[datetime, str | None]:
    """The next tick; or a later look and what is wrong with the cadence."""
    try:
        return next_tick(cadence.cron, cadence.timezone, now), None
    except Exception as error:  # noqa: BLE001 - whatever it is, the other brands' ticks go on
        return now + _BROKEN_WAIT, f"broken: {error}"


def _reason_to_skip(cadence: Cadence, brand_rows: Sequence[Row], now: datetime) -> str | None:
    if cadence.is_paused(now):
        return f"paused: {cadence.paused_reason}"
    try:
        target = parse_target(cadence.brand_id, brand_rows)
        if isinstance(target, Brand) and target.is_paused(now):
            return f"paused with its brand: {target.paused_reason}"
        check_wish(target, _wish(cadence.brand_id, cadence.job))
        if isinstance(target, AllBrands):
            target.choose(JOBS[cadence.job], now=now)  # at least one is not paused
    except InvalidConfigError as error:
        return f"refused: {error}"
    return None


def _wish(brand_id: str, job: str, *, reason: str = "") -> Wish:
    return Wish(
        brand_id=brand_id,
        job=job,
        trigger=Trigger.SCHEDULE,
        requested_by="schedule",
        reason=reason,
    )


def _due_query(now: datetime) -> sa.Select[Any]:
    columns = cadences.c
    is_due = columns.next_run_at <= now
    was_far_ahead = columns.checked_at > now + _CLOCK_TOLERANCE
    return sa.select(cadences).where(is_due | was_far_ahead).order_by(columns.next_run_at)


def _take_due(connection: sa.Connection, now: datetime) -> list[Cadence]:
    """Those due, locked: another scheduler passes over them (on SQLite it waits for our end)."""
    query = _due_query(now).limit(MAX_DUE_AT_ONCE).with_for_update(skip_locked=True)
    return sorted(_cadences(connection, query), key=lambda cadence: cadence.target)


def _write_ticks(connection: sa.Connection, ticks: Sequence[_Tick]) -> None:
    statement = (
        cadences.update()
        .where(cadences.c.brand_id == sa.bindparam("key_brand_id"))
        .where(cadences.c.job == sa.bindparam("key_job"))
        .values({name: sa.bindparam(name) for name in _TICK_COLUMNS})
    )
    connection.execute(
        statement,
        [
            {
                **{name: getattr(tick.cadence, name) for name in _TICK_COLUMNS},
                **tick.changes,
                "key_brand_id": tick.cadence.brand_id,
                "key_job": tick.cadence.job,
            }
            for tick in ticks
        ],
    )


def _summary(ticks: Sequence[_Tick]) -> DueSummary:
    made = [tick for tick in ticks if tick.skipped is None and not tick.is_realigned]
    return DueSummary(
        requested=tuple(tick.cadence.target for tick in made if tick.is_new),
        joined=tuple(tick.cadence.target for tick in made if not tick.is_new),
        skipped={tick.cadence.target: tick.skipped for tick in ticks if tick.skipped is not None},
        realigned=tuple(tick.cadence.target for tick in ticks if tick.is_realigned),
    )


def _query(*, brand_id: str | None = None, job: str | None = None) -> sa.Select[Any]:
    query = sa.select(cadences)
    if brand_id is not None:
        query = query.where(cadences.c.brand_id == brand_id)
    if job is not None:
        query = query.where(cadences.c.job == job)
    return query


def _cadences(connection: sa.Connection, query: sa.Select[Any]) -> list[Cadence]:
    found = [Cadence(**row) for row in connection.execute(query).mappings()]
    return sorted(found, key=lambda cadence: (cadence.brand_id, cadence.job))


def _read(connection: sa.Connection, brand_id: str, job: str) -> Cadence:
    found = _cadences(connection, _query(brand_id=brand_id, job=job).with_for_update())
    if not found:
        raise _unknown(brand_id, job)
    return found[0]


def _change(
    connection: sa.Connection,
    brand_id: str,
    job: str,
    changes: Row,
    *,
    actor: str,
    now: datetime,
) -> Cadence:
    statement = (
        cadences.update()
        .where(cadences.c.brand_id == brand_id, cadences.c.job == job)
        .values(**changes, updated_at=now, updated_by=actor)
        .returning(*cadences.c)
    )
    row = connection.execute(statement).mappings().one_or_none()
    if row is None:
        raise _unknown(brand_id, job)
    return Cadence(**row)


def _unknown(brand_id: str, job: str) -> InvalidConfigError:
    whose = in_words(brand_id) if organization_of(brand_id) else f"brand {brand_id}"
    return InvalidConfigError(
        f"There is no cadence of {job} for {whose}.",
        advice="`pipeline-assets cadences list` shows all, `cadences set` adds one.",
    )


def _audited(connection: sa.Connection, cadence: Cadence, action: str, detail: Row) -> Cadence:
    """The cadence, its latest change recorded in the same transaction."""
    audit.record(
        connection,
        at=cadence.updated_at,
        actor=cadence.updated_by,
        action=action,
        target=cadence.target,
        organization_id=read_owners(connection, [cadence.brand_id]).get(cadence.brand_id),
        detail=detail,
    )
    return cadence

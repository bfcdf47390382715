"""Is this installation well? One answer per organ, each with what to do when it is not.

A check looks and changes nothing; one that fails itself is a failed check. Whether a brand's data
is fresh is not asked here: `status.py` tells.
"""

import resource
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import cached_property
from pathlib import Path
from typing import Protocol

import dagster as dg
import requests as http
import sqlalchemy as sa

from pipeline_assets.brands.models import Brand
from pipeline_assets.brands.registry import list_with_unreadable
from pipeline_assets.clock import utcnow
from pipeline_assets.control import dagster_log
from pipeline_assets.control.brand_access import examine_brands
from pipeline_assets.control.dagster_log import AutomationState
from pipeline_assets.control.projector import read_projected_until
from pipeline_assets.control.requests import IS_ACTIVE, RequestState
from pipeline_assets.control.retries import policies_of
from pipeline_assets.errors import DatabaseUnavailableError, InvalidConfigError, PipelineError
from pipeline_assets.redaction import redact
from pipeline_assets.settings import Settings
from pipeline_assets.sources.meta import Finding, GraphClient
from pipeline_assets.storage.engine import build_engine, write_transaction
from pipeline_assets.storage.migrations import check_revision
from pipeline_assets.storage.tables import projection_cursors, requests

_SILENT_AFTER = timedelta(seconds=60)
"""Three sensors are evaluated every 5 to 15 s; an evaluation may take as long as a minute."""
_BEHIND_AFTER = timedelta(minutes=2)
"""The projection runs every 5 s."""
_WAITING_TOO_LONG = timedelta(minutes=30)
_MAX_CLOCK_SKEW = timedelta(seconds=60)
_MIN_FREE_RATIO, _MIN_FREE_BYTES = 0.10, 2_000_000_000
_MIN_OPEN_FILES = 1024
"""A sync with 8 downloads needs some 100; the web server one per follower of a page."""
_HTTP_SECONDS = 10.0

_GB = 1_000_000_000


@dataclass(frozen=True)
class HealthCheck:
    """One answer; `fix` is the next step when something is wrong.

    `is_ok` None: not looked at, and `detail` says why.
    """

    name: str
    is_ok: bool | None
    detail: str
    fix: str = ""


class Opened(Protocol):
    """What of an installation is examined; each part is opened when it is first used."""

    @property
    def settings(self) -> Settings:
        """Its settings."""

    @property
    def engine(self) -> sa.Engine:
        """Its database."""

    def graph_client(self, brand: Brand) -> GraphClient:
        """The client of a brand's token."""


@dataclass(frozen=True)
class _Subject:
    installation: Opened
    instance: dg.DagsterInstance | PipelineError
    automation: Collection[str]
    now: datetime

    @property
    def dagster(self) -> dg.DagsterInstance:
        if isinstance(self.instance, PipelineError):
            raise self.instance
        return self.instance

    @cached_property
    def registry(self) -> tuple[list[Brand], dict[str, InvalidConfigError]]:
        """The brands that can be read, and what is wrong with each other, by its id."""
        return list_with_unreadable(self.installation.engine)


_Answers = Iterator[HealthCheck]


@dataclass(frozen=True)
class _Check:
    """`ask` is not asked while one of `needs` is wrong: it would only say the same again."""

    name: str
    ask: Callable[[_Subject], _Answers]
    needs: tuple[str, ...] = ()
    is_online: bool = False


def check_health(
    installation: Opened,
    instance: dg.DagsterInstance | PipelineError,
    *,
    automation: Collection[str],
    now: datetime,
    is_offline: bool = False,
) -> list[HealthCheck]:
    """Examine everything; no failure of any kind is raised, each is an answer.

    `instance` is Dagster's, or why it cannot be opened; `automation` names our sensors and
    schedules; `is_offline` leaves out what asks the brands' sources.
    """
    subject = _Subject(installation, instance, automation, now)
    answers: list[HealthCheck] = []
    for check in _CHECKS:
        wrong = {answer.name for answer in answers if answer.is_ok is not True}
        missing = [name for name in check.needs if name in wrong]
        if missing:
            because = f"Not looked at, because of: {', '.join(missing)}."
            answers.append(HealthCheck(check.name, None, because))
        elif check.is_online and is_offline:
            answers.append(HealthCheck(check.name, None, "Not looked at: offline."))
        else:
            answers += _ask(check, subject)
    return answers


def _ask(check: _Check, subject: _Subject) -> list[HealthCheck]:
    try:
        return list(check.ask(subject))
    except Exception as error:  # noqa: BLE001 - the edge: whatever breaks a check is its answer
        return [_failed(check.name, error)]


def _failed(name: str, error: Exception) -> HealthCheck:
    if isinstance(error, PipelineError):
        return HealthCheck(name, False, redact(str(error)), error.advice)
    detail = redact(f"The check failed: {type(error).__name__}: {_first_line(str(error))}")
    return HealthCheck(name, False, detail, "Look again; if it stays, report it as a bug.")


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0]


def _check_settings(subject: _Subject) -> _Answers:
    settings = subject.installation.settings
    policies_of(settings)
    yield HealthCheck("settings", True, f"Valid; DAGSTER_HOME is {settings.dagster_home}.")


def _check_database(subject: _Subject) -> _Answers:
    engine = build_engine(subject.installation.settings.resolved_database_url())
    try:
        is_sqlite = engine.dialect.name == "sqlite"
        kind, size = _look_at_sqlite(engine) if is_sqlite else _look_at_postgresql(engine)
    finally:
        engine.dispose()
    yield HealthCheck("database", True, f"{kind}, {size / 1_000_000:,.1f} MB.")


def _look_at_sqlite(engine: sa.Engine) -> tuple[str, int]:
    file = Path(engine.url.database or "")
    if not file.is_file():  # connecting would make an empty one
        raise DatabaseUnavailableError(
            f"There is no database file {file}.", advice="Run `pipeline-assets setup`."
        )
    with write_transaction(engine) as connection:  # raises when it is locked …
        version = connection.exec_driver_sql("SELECT sqlite_version()").scalar_one()
        if sa.inspect(connection).has_table(projection_cursors.name):  # … and this if read-only
            connection.execute(projection_cursors.delete().where(sa.false()))
    parts = [file.with_name(file.name + suffix) for suffix in ("", "-wal")]
    return f"SQLite {version}, {file}", sum(part.stat().st_size for part in parts if part.exists())


def _look_at_postgresql(engine: sa.Engine) -> tuple[str, int]:
    with write_transaction(engine) as connection:
        version = connection.exec_driver_sql("SHOW server_version").scalar_one()
        query = "SELECT pg_database_size(current_database())"
        return f"PostgreSQL {version}", connection.exec_driver_sql(query).scalar_one()


def _check_migrations(subject: _Subject) -> _Answers:
    check_revision(subject.installation.engine)
    yield HealthCheck("migrations", True, "The tables are of this version.")


def _check_dagster_storage(subject: _Subject) -> _Answers:
    newest = subject.dagster.get_run_records(limit=1)
    said = f"its newest run is of {_time(newest[0].create_timestamp)}" if newest else "no run yet"
    yield HealthCheck("dagster storage", True, f"Can be read; {said}.")


def _check_daemon(subject: _Subject) -> _Answers:
    states = dagster_log.daemon_states(subject.dagster)
    start = "Start it: `pipeline-assets up` in the project's folder, or the service that does so."
    last = max((state.beat_at for state in states if state.beat_at), default=None)
    if last is None or subject.now - last > dagster_log.DAEMON_SILENCE:
        since = f"its last sign of life is of {_time(last)}" if last else "it has never run"
        yield HealthCheck("daemon", False, f"Dagster's daemon is not running: {since}.", start)
        return
    silent = [
        s.name
        for s in states
        if s.beat_at is None or subject.now - s.beat_at > dagster_log.DAEMON_SILENCE
    ]
    if silent:
        detail = f"Without a sign of life for 3 minutes: {', '.join(silent)}."
        yield HealthCheck("daemon", False, detail, "Restart the daemon; its log says why.")
        return
    troubled = [f"{s.name}: {redact(_first_line(s.error))}" for s in states if s.error]
    if troubled:
        fix = "It tries again by itself; if it goes on, look at the daemon's log."
        yield HealthCheck("daemon", False, f"Errors just now. {' '.join(troubled)}", fix)
        return
    yield HealthCheck("daemon", True, f"Running; {len(states)} parts, the last beat {_time(last)}.")


def _check_automation(subject: _Subject) -> _Answers:
    states = {s.name: s for s in dagster_log.automation_states(subject.dagster)}
    ours = [states[name] for name in subject.automation if name in states]
    stopped = [state.name for state in ours if state.is_stopped]
    if stopped:
        yield HealthCheck(
            "automation",
            False,
            f"Stopped by somebody: {', '.join(stopped)}.",
            "Start them in Dagster's UI, on the page Automation.",
        )
    failing = [state for state in ours if state.error and not state.is_stopped]
    for state in failing:
        yield HealthCheck(
            "automation",
            False,
            f"The last tick of {state.name} failed: {redact(_first_line(state.error or ''))}",
            "Its ticks in Dagster's UI, on the page Automation, show the whole error.",
        )
    silent_since = _silent_since(subject, ours)
    if silent_since is not None:
        yield HealthCheck(
            "automation",
            False,
            f"Dagster's daemon runs, but has evaluated nothing since {_time(silent_since)}: its "
            "code server is gone or does not answer.",
            "`pipeline-assets up` starts it again by itself; otherwise restart Dagster.",
        )
    if not stopped and not failing and silent_since is None:
        detail = f"{len(subject.automation)} sensors and schedules, none stopped, none failing."
        yield HealthCheck("automation", True, detail)


def _silent_since(subject: _Subject, ours: Sequence[AutomationState]) -> datetime | None:
    """When the newest tick was, if that is too long ago though the daemon runs."""
    ticks = [s.ticked_at for s in ours if s.ticked_at is not None and not s.is_stopped]
    if not ticks or subject.now - max(ticks) <= _SILENT_AFTER:
        return None
    return max(ticks) if dagster_log.is_daemon_alive(subject.dagster, now=subject.now) else None


def _check_projection(subject: _Subject) -> _Answers:
    known_until = read_projected_until(subject.installation.engine)
    waiting = dagster_log.first_change_after(subject.dagster, known_until)
    if waiting is not None and subject.now - waiting > _BEHIND_AFTER:
        detail = f"Status does not know yet what happened in Dagster at {_time(waiting)}."
        fix = "The sensor project_status does it while the daemon runs; so does `status`."
        yield HealthCheck("projection", False, detail, fix)
        return
    yield HealthCheck("projection", True, "Status knows all that happened in Dagster.")


def _check_registry(subject: _Subject) -> _Answers:
    _, unreadable = subject.registry
    for error in unreadable.values():
        yield _failed("registry", error)
    if not unreadable:
        yield HealthCheck("registry", True, "Every brand can be read.")


def _check_requests(subject: _Subject) -> _Answers:
    due_at = sa.case(
        (requests.c.not_before > requests.c.requested_at, requests.c.not_before),
        else_=requests.c.requested_at,
    )
    waiting = [RequestState.QUEUED, RequestState.LAUNCHED]
    query = (
        sa.select(requests.c.brand_id, requests.c.job, due_at.label("due_at"))
        .where(IS_ACTIVE, requests.c.state.in_(waiting), due_at < subject.now - _WAITING_TOO_LONG)
        .order_by("due_at")
    )
    with subject.installation.engine.connect() as connection:
        late = connection.execute(query).all()
    if not late:
        yield HealthCheck("requests", True, "None waits for longer than 30 minutes.")
        return
    oldest = f"{late[0].brand_id}:{late[0].job}, since {_time(late[0].due_at)}"
    verb = "waits" if len(late) == 1 else "wait"
    detail = f"{len(late)} {verb} for longer than 30 minutes; the oldest, {oldest}."
    fix = (
        "See that the daemon runs and launch_requests is not stopped; when all run slots are taken,"
        " raise max_concurrent_runs in dagster.yaml."
    )
    yield HealthCheck("requests", False, detail, fix)


def _check_disk(subject: _Subject) -> _Answers:
    settings = subject.installation.settings
    folders = {
        "DAGSTER_HOME": settings.dagster_home,
        "temporary files": Path(tempfile.gettempdir()),
    }
    media = settings.resolved_media_url().removeprefix("file://")
    if "://" not in media:
        folders["media"] = Path(media)
    by_device: dict[int, list[str]] = {}
    places: dict[int, Path] = {}
    for name, folder in folders.items():
        place = next(path for path in (folder, *folder.absolute().parents) if path.exists())
        by_device.setdefault(place.stat().st_dev, []).append(name)
        places.setdefault(place.stat().st_dev, place)
    for device, names in by_device.items():
        usage = shutil.disk_usage(places[device])
        ratio = usage.free / usage.total
        is_ok = ratio >= _MIN_FREE_RATIO and usage.free >= _MIN_FREE_BYTES
        detail = (
            f"{usage.free / _GB:,.1f} of {usage.total / _GB:,.1f} GB ({ratio:.0%}) are free for"
            f" {', '.join(names)}."
        )
        fix = "Free some room, or keep less: see PIPELINE_RETENTION_* in docs/settings.md."
        yield HealthCheck("disk", is_ok, detail, "" if is_ok else fix)


def _check_open_files(subject: _Subject) -> _Answers:  # noqa: ARG001 - a check's signature
    limit, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit in {-1, resource.RLIM_INFINITY} or limit >= _MIN_OPEN_FILES:
        yield HealthCheck("open files", True, f"A process may open {limit} at a time.")
        return
    fix = f"Raise the limit where Dagster is started: ulimit -n {min(4096, most)}."
    yield HealthCheck("open files", False, f"A process may open only {limit} at a time.", fix)


def _check_database_clock(subject: _Subject) -> _Answers:
    engine = subject.installation.engine
    if engine.dialect.name != "postgresql":
        yield HealthCheck("database clock", None, "SQLite has no clock of its own.")
        return
    with engine.connect() as connection:
        its_time = connection.exec_driver_sql("SELECT clock_timestamp()").scalar_one()
    yield _judge_clock("database clock", "the database's", its_time - utcnow())


def _judge_clock(name: str, whose: str, ahead: timedelta) -> HealthCheck:
    if abs(ahead) <= _MAX_CLOCK_SKEW:
        return HealthCheck(name, True, f"Agrees with {whose}.")
    way = "behind" if ahead > timedelta() else "ahead of"
    detail = f"This machine's clock is {abs(ahead).total_seconds():.0f} s {way} {whose}."
    return HealthCheck(name, False, detail, "Let a time service such as chrony set the clocks.")


def _check_source_clocks(subject: _Subject) -> _Answers:
    settings = subject.installation.settings
    brands, _ = subject.registry
    sources = [brand.sources.meta for brand in brands if brand.sources.meta]
    addresses = sorted({source.graph_url or settings.graph_url for source in sources})
    if not addresses:
        yield HealthCheck("graph api", None, "Not looked at: no brand has ad accounts.")
    for address in addresses:
        try:
            answer = http.get(f"{address}/", timeout=_HTTP_SECONDS, allow_redirects=False)
        except http.RequestException as error:
            detail = f"{address} cannot be reached: {type(error).__name__}."
            fix = "Check this machine's way to the internet (DNS, proxy, firewall)."
            yield HealthCheck("graph api", False, detail, fix)
            continue
        date = answer.headers.get("Date")
        if date is None:
            yield HealthCheck("graph api", True, f"{address} answers; it does not tell the time.")
            continue
        yield _judge_clock(
            "graph api", f"that of {address}", parsedate_to_datetime(date) - utcnow()
        )


def _check_brands(subject: _Subject) -> _Answers:
    brands, _ = subject.registry
    asked = [each for each in brands if each.sources.meta and not each.is_paused(subject.now)]
    found = examine_brands(asked, subject.installation.graph_client)
    bad = [answer for brand in asked if (answer := _judge_brand(brand.id, found[brand.id]))]
    yield from bad
    if len(bad) < len(asked):
        detail = f"Tokens and accounts of {len(asked) - len(bad)} of {len(asked)} brands work."
        yield HealthCheck("brands", True, detail)
    if not asked:
        yield HealthCheck("brands", None, "Not looked at: no brand with ad accounts is active.")


def _judge_brand(brand_id: str, result: Sequence[Finding] | Exception) -> HealthCheck | None:
    """What is wrong with a brand's access; None when nothing is."""
    name = f"brand {brand_id}"
    if isinstance(result, Exception):
        return _failed(name, result)
    bad = [finding for finding in result if not finding.ok]
    if not bad:
        return None
    detail = " ".join(f"{finding.subject}: {finding.message}" for finding in bad)
    return HealthCheck(name, False, redact(detail), bad[0].advice)


def _time(instant: datetime) -> str:
    return f"{instant.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


_CHECKS: tuple[_Check, ...] = (
    _Check("settings", _check_settings),
    _Check("database", _check_database),
    _Check("migrations", _check_migrations, needs=("database",)),
    _Check("dagster storage", _check_dagster_storage),
    _Check("daemon", _check_daemon, needs=("dagster storage",)),
    _Check("automation", _check_automation, needs=("dagster storage",)),
    _Check("projection", _check_projection, needs=("migrations", "dagster storage")),
    _Check("registry", _check_registry, needs=("migrations",)),
    _Check("requests", _check_requests, needs=("migrations",)),
    _Check("disk", _check_disk),
    _Check("open files", _check_open_files),
    _Check("database clock", _check_database_clock, needs=("migrations",)),
    _Check("graph api", _check_source_clocks, needs=("migrations",), is_online=True),
    _Check("brands", _check_brands, needs=("migrations",), is_online=True),
)

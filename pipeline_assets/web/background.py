"""What runs beside the routes: the projection of Dagster's log, and the daemon's sign of life.

Pages only read tables. This loop keeps those up to date between the beats of Dagster's own sensor,
so that a page shows a run's end a second later.
"""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

import dagster as dg
import sqlalchemy as sa

from pipeline_assets.control import dagster_log
from pipeline_assets.control.projector import project
from pipeline_assets.control.requests import IS_ACTIVE
from pipeline_assets.control.retries import policies_of
from pipeline_assets.errors import DatabaseUnavailableError, PipelineError
from pipeline_assets.redaction import redact
from pipeline_assets.resources.installation import Installation
from pipeline_assets.storage.tables import requests

_log = logging.getLogger(__name__)

_BUSY_SECONDS = 1.0
"""While something is under way: its end shows within seconds."""
_IDLE_SECONDS = 5.0
"""As often as Dagster's sensor does the same."""


@dataclass(frozen=True)
class Pulse:
    """What was last seen of the machinery. `trouble` is empty while the loop works.

    `is_daemon_alive` None: not known yet.
    """

    seen_at: datetime | None = None
    is_daemon_alive: bool | None = None
    trouble: str = ""


class Background:
    """The loop, in a thread of its own; survives whatever fails and says so in `pulse`."""

    def __init__(self, installation: Installation, *, now: Callable[[], datetime]) -> None:
        self._installation = installation
        self._now = now
        self._instance: dg.DagsterInstance | None = None
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self.pulse = Pulse()

    def start(self) -> None:
        """Begin to loop."""
        self._thread = threading.Thread(target=self._run, name="projection", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the loop; returns when it has ended."""
        self._stop.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout=30)
        with self._lock:
            if self._instance is not None:
                self._instance.dispose()
                self._instance = None

    def hurry(self) -> None:
        """Look again at once: somebody has just changed something."""
        self._wake.set()

    @property
    def instance(self) -> dg.DagsterInstance:
        """Dagster's instance, opened when it is first needed.

        Raises:
            PipelineError: its storage cannot be opened.
        """
        with self._lock:
            if self._instance is None:
                self._instance = _open_dagster()
            return self._instance

    def beat(self) -> bool:
        """Project once and look for the daemon; returns whether something is under way."""
        now = self._now()
        try:
            instance, engine = self.instance, self._installation.engine
            project(instance, engine, policies=policies_of(self._installation.settings))
            is_alive = dagster_log.is_daemon_alive(instance, now=now)
            is_busy = _is_busy(engine)
        except Exception as error:  # noqa: BLE001 - the edge of the loop: it tells, and tries again
            if not isinstance(error, PipelineError):
                _log.exception("The projection failed")
            self.pulse = replace(self.pulse, trouble=redact(str(error)).partition("\n")[0])
            return False
        self.pulse = Pulse(seen_at=now, is_daemon_alive=is_alive)
        return is_busy

    def _run(self) -> None:
        while not self._stop.is_set():
            is_busy = self.beat()
            self._wake.wait(_BUSY_SECONDS if is_busy else _IDLE_SECONDS)
            self._wake.clear()


def _open_dagster() -> dg.DagsterInstance:
    try:
        return dg.DagsterInstance.get()
    except Exception as error:  # noqa: BLE001 - a storage's driver may raise anything
        first_line = redact(str(error)).strip().partition("\n")[0]
        raise DatabaseUnavailableError(
            f"Dagster's storage cannot be used: {first_line}",
            advice="`pipeline-assets doctor` tells what is wrong.",
        ) from None


def _is_busy(engine: sa.Engine) -> bool:
    with engine.connect() as connection:
        found = connection.execute(sa.select(requests.c.id).where(IS_ACTIVE).limit(1))
        return found.first() is not None

"""The sign of life of each running dataset: how far it is, and which process is at it.

A dataset's row stays when the dataset has ended, without a stage: until its run ends too, it says
which process the run lives in. `recovery` reads it, and removes it after the run.
"""

import socket
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil
import sqlalchemy as sa

from pipeline_assets.clock import utcnow
from pipeline_assets.storage.engine import write_transaction
from pipeline_assets.storage.tables import run_heartbeats

BEAT_SECONDS = 5.0
"""Often enough to tell slow from dead within a minute, seldom enough to cost nothing."""

NEWS_SECONDS = 1.0
"""Progress goes out this soon after it changed: somebody may be watching."""


_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def birth_of(process: psutil.Process) -> str:
    """In which boot of the machine, and when in it, a process began, as opaque text.

    Two processes that ever have the same number differ in it, and setting the clock changes nothing
    about it where the system names its boots (Linux); elsewhere it is the time of the start.
    """
    if not _BOOT_ID.exists():
        return f"{process.create_time():.2f}"
    seconds = process.create_time() - psutil.boot_time()  # both move with the clock when it is set
    return f"{_BOOT_ID.read_text().strip()}+{seconds:.2f}"


class Heartbeat:
    """Beats for one dataset of one run while the `with` block lasts.

    `progress(done, total, stage)` may be called from any thread and as often as one likes; what it
    says goes out within a second.
    """

    def __init__(
        self,
        engine: sa.Engine,
        *,
        run_id: str,
        brand_id: str,
        dataset: str,
        on_error: Callable[[Exception], None],
    ) -> None:
        self._engine = engine
        self._run_id, self._dataset, self._brand_id = run_id, dataset, brand_id
        self._on_error = on_error
        process = psutil.Process()
        self._identity = {
            "run_id": run_id,
            "dataset": dataset,
            "host": socket.gethostname(),
            "boot_id": birth_of(process),
            "pid": process.pid,
            "process_started_at": datetime.fromtimestamp(process.create_time(), UTC),
        }
        self._done: int | None = 0
        self._total: int | None = None
        self._stage: str | None = "starting"
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, name=f"beat-{dataset}", daemon=True)

    def progress(self, done: int, total: int | None = None, stage: str = "") -> None:
        """Say how many items of how many are done; total None: not known yet."""
        self._done, self._total = done, total
        self._stage = stage or self._stage

    def __enter__(self) -> Self:
        self._write()
        self._thread.start()
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._done, self._total, self._stage = None, None, None
        try:
            self._write()
        except Exception as error:  # noqa: BLE001 - must not hide how the work itself ended
            self._on_error(error)

    def _beat(self) -> None:
        written, written_at = self._said(), time.monotonic()
        while not self._stop.wait(NEWS_SECONDS):
            said = self._said()
            if said == written and time.monotonic() - written_at < BEAT_SECONDS:
                continue
            try:
                self._write()
            except Exception as error:  # noqa: BLE001 - a missed beat must not end the work it tells of
                self._on_error(error)
            written, written_at = said, time.monotonic()

    def _said(self) -> dict[str, int | str | None]:
        return {"done": self._done, "total": self._total, "stage": self._stage}

    def _write(self) -> None:
        # A run over several brands has one row, which tells of the brand that it is at.
        now = {**self._said(), "brand_id": self._brand_id, "beat_at": utcnow()}
        with write_transaction(self._engine) as connection:
            updated = connection.execute(run_heartbeats.update().where(*self._mine()).values(now))
            if not updated.rowcount:
                connection.execute(run_heartbeats.insert().values(**self._identity, **now))

    def _mine(self) -> tuple[sa.ColumnElement[bool], ...]:
        columns = run_heartbeats.c
        return (columns.run_id == self._run_id, columns.dataset == self._dataset)

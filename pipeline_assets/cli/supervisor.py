"""Keeping processes running: start them in order, restart what dies, stop all, leave nothing.

It knows nothing of what the processes do; `processes.py` names those of an installation. Nothing
happens behind the caller's back: whoever holds a `Supervisor` calls `tend` in its own loop.
"""

import errno
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

import psutil

from pipeline_assets.clock import utcnow
from pipeline_assets.errors import PipelineError

HOST = "127.0.0.1"
POLL_SECONDS = 0.2
"""How often to call `tend`."""

_MARK = "SUPERVISED_BY_PIPELINE_ASSETS"
"""In the environment of every process of ours, with DAGSTER_HOME as its value: whoever holds the
home's lock may end those that carry it. Started by hand, nothing does."""
_START_TIMEOUT_SECONDS = 120  # some 15 s on a laptop; the rest is for a busy one
_STOP_TIMEOUT_SECONDS = 30
_LONGEST_DELAY_SECONDS = 30
_STEADY_SECONDS = 60
"""Whatever lived so long is well: its next death counts as the first."""
_MAX_LOG_BYTES = 50_000_000


@dataclass
class Service:
    """A process to be kept running.

    `is_ready` is given the instant of its start, and asked while the process listens on its port,
    or while it lives if it has none; an exception of any kind means not yet. `command` is asked at
    each start and may read the port, which gives way to a free one if another program has it when
    the supervisor starts, unless it is fixed.
    """

    name: str
    command: Callable[[], Sequence[str]]
    is_ready: Callable[[datetime], bool] = lambda started_at: True  # noqa: ARG005
    host: str = HOST
    port: int | None = None
    is_port_fixed: bool = False
    environment: Callable[[], Mapping[str, str]] = dict


@dataclass
class _Kept:
    """A service and its process."""

    service: Service
    log_file: Path
    process: subprocess.Popen[bytes] | None = None
    started_at: datetime = field(default_factory=utcnow)
    born: float = 0.0  # these two by the monotonic clock
    restart_at: float = 0.0
    deaths: int = 0

    @property
    def is_alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def last_words(self, count: int) -> str:
        """The end of its output."""
        lines = self.log_file.read_text(errors="replace").strip().split("\n")
        return " ".join(line.strip() for line in lines[-count:])


class Supervisor:
    """Services of one DAGSTER_HOME (`home`) while the `with` block lasts.

    `stages` start one after the other, the services of a stage together; they stop in the opposite
    order. Each one's output is in `logs`, that of the time before beside it. One supervisor at a
    time per home: two daemons would do everything twice. What a killed one left running is ended
    first. `announce` is told every start, death and restart in one line.
    """

    def __init__(
        self,
        stages: Sequence[Sequence[Service]],
        *,
        home: Path,
        folder: Path,
        announce: Callable[[str], None] = lambda line: None,  # noqa: ARG005
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.logs = home / "process-logs"  # Dagster empties a folder "logs" of its own
        self._home = home
        self._folder = folder
        self._announce = announce
        self._monotonic = monotonic
        self._stages = [
            [
                _Kept(each, self.logs / f"{each.name.lower().replace(' ', '-')}.log")
                for each in stage
            ]
            for stage in stages
        ]
        self._lock: TextIO | None = None

    def __enter__(self) -> Self:
        deadline = time.monotonic() + _START_TIMEOUT_SECONDS
        try:
            self.take_over()
            for stage in self._stages:
                for kept in stage:
                    self._choose_port(kept.service)
                    _put_aside(kept.log_file)
                    self._start(kept)
                for kept in stage:
                    self._await_ready(kept, deadline)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def take_over(self) -> None:
        """Make sure that nobody else supervises this DAGSTER_HOME, from here to `stop`.

        The lock goes with its process, however that ends.

        Raises:
            PipelineError: somebody does, and lives.
        """
        if self._lock is not None:
            return
        lock = (self._home / "supervisor.lock").open("a")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            raise PipelineError(
                f"Dagster is running for {self._home} already, started in another terminal.",
                advice="Use that one, or end it with Ctrl-C.",
            ) from None
        self._lock = lock
        for process in self._processes():
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGINT)
        self._await_nothing_left(time.monotonic() + _STOP_TIMEOUT_SECONDS)

    def tend(self) -> None:
        """Restart what has died: at once, then after 1, 2, 4 … 30 s; call it every moment."""
        now = self._monotonic()
        for kept in self._all():
            if kept.process is not None and not kept.is_alive:
                self._note_death(kept, _how_it_ended(kept.process), now)
            if kept.process is None and now >= kept.restart_at:
                try:
                    self._start(kept)
                except OSError as error:  # the machine has no room for a process or a file
                    self._note_death(kept, f"cannot be started ({error.strerror})", now)
            _keep_short(kept.log_file)

    def raise_if_ended(self) -> None:
        """Notice that a service has ended by itself.

        Raises:
            PipelineError: one has; the message holds the end of its output.
        """
        for kept in self._all():
            if kept.process is not None and not kept.is_alive:
                raise _ended(kept)

    def stop(self) -> None:
        """Ask everything to end, as Ctrl-C does; end by force what does not. Then nothing runs.

        The first stage comes last, with the processes that it has started itself: a run in progress
        may end by then. Another Ctrl-C meanwhile ends everything by force.
        """
        if self._lock is None:
            return  # nothing of this home is ours
        deadline = time.monotonic() + _STOP_TIMEOUT_SECONDS
        try:
            for stage in reversed(self._stages):
                _interrupt(stage, deadline)
            self._await_nothing_left(deadline)
        except KeyboardInterrupt:
            self._await_nothing_left(deadline=0)
        for kept in self._all():
            if kept.process is not None:
                kept.process.wait()
                kept.process = None
        self._lock.close()
        self._lock = None

    def _all(self) -> Iterator[_Kept]:
        return (kept for stage in self._stages for kept in stage)

    @staticmethod
    def _choose_port(service: Service) -> None:
        if service.port is None:
            return
        if not service.is_port_fixed:
            service.port = free_port(service.port, host=service.host)
        elif not is_port_free(service.port, host=service.host):
            raise _taken(service)

    def _start(self, kept: _Kept) -> None:
        service = kept.service
        kept.started_at, kept.born = utcnow(), self._monotonic()
        self.logs.mkdir(exist_ok=True)
        with kept.log_file.open("ab") as log:
            kept.process = subprocess.Popen(  # noqa: S603 - our own fixed commands
                list(service.command()),
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                cwd=self._folder,
                start_new_session=True,  # Ctrl-C reaches us alone, and we stop it in good order
                env={
                    **os.environ,
                    "DAGSTER_HOME": str(self._home),
                    "PYTHONUNBUFFERED": "1",
                    **service.environment(),
                    _MARK: str(self._home),
                },
            )
        self._announce(f"{service.name}: started, process {kept.process.pid}")

    def _note_death(self, kept: _Kept, how: str, now: float) -> None:
        lived = now - kept.born
        kept.deaths = 1 if lived >= _STEADY_SECONDS else kept.deaths + 1
        delay = restart_delay(kept.deaths)
        kept.process, kept.restart_at = None, now + delay
        when = f"in {delay:.0f} s" if delay else "now"
        self._announce(
            f"{kept.service.name}: {how} after {lived:.0f} s; starting it again {when} (its output:"
            f" {kept.log_file})"
        )

    def _await_ready(self, kept: _Kept, deadline: float) -> None:
        """Wait until it works; another port for it if a program took that one meanwhile.

        Raises:
            PipelineError: it or another one ended, or it did not get ready in time.
        """
        service = kept.service
        while not self._is_ready(kept):
            if not kept.is_alive and self._has_lost_its_port(service):
                if service.is_port_fixed:
                    raise _taken(service)
                service.port = free_port(0, host=service.host)
                self._start(kept)
            self.raise_if_ended()
            if time.monotonic() > deadline:
                raise PipelineError(
                    f"{service.name} did not start within {_START_TIMEOUT_SECONDS} s.",
                    advice=f"Its output is in {kept.log_file}.",
                )
            time.sleep(POLL_SECONDS)

    def _is_ready(self, kept: _Kept) -> bool:
        if not kept.is_alive or not self._is_listening(kept):
            return False
        try:
            return kept.service.is_ready(kept.started_at)
        except Exception:  # noqa: BLE001 - whatever the answer of a server that starts breaks
            return False

    @staticmethod
    def _has_lost_its_port(service: Service) -> bool:
        return service.port is not None and not is_port_free(service.port, host=service.host)

    @staticmethod
    def _is_listening(kept: _Kept) -> bool:
        """Whether the process itself listens on its port: an answer there may be another's."""
        if kept.service.port is None:
            return True
        assert kept.process is not None
        with suppress(psutil.Error):  # it ended meanwhile
            return any(
                each.status == psutil.CONN_LISTEN and each.laddr.port == kept.service.port
                for each in psutil.Process(kept.process.pid).net_connections(kind="tcp")
            )
        return False

    def _await_nothing_left(self, deadline: float) -> None:
        """Wait until nothing of ours runs any more; end by force what takes too long."""
        while left := self._processes():
            if time.monotonic() > deadline:
                for process in left:
                    with suppress(psutil.NoSuchProcess):
                        process.kill()
            for kept in self._all():
                if kept.process is not None:
                    kept.process.poll()
            time.sleep(0.1)

    def _processes(self) -> list[psutil.Process]:
        """The living processes that a supervisor of this DAGSTER_HOME, or they, have started."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):  # ended meanwhile, or somebody else's
                if process.status() == psutil.STATUS_ZOMBIE:
                    continue
                if process.environ().get(_MARK) == str(self._home):
                    found.append(process)
        return found


def restart_delay(deaths: int) -> float:
    """Seconds until what has died so many times in a row is started again."""
    if deaths <= 1:
        return 0.0
    return min(2.0 ** min(deaths - 2, 10), _LONGEST_DELAY_SECONDS)


def free_port(preferred: int, *, host: str = HOST) -> int:
    """The preferred port if nobody listens on it, else any free one."""
    if preferred and is_port_free(preferred, host=host):
        return preferred
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def is_port_free(port: int, *, host: str = HOST) -> bool:
    """Whether a server could listen there.

    Raises:
        PipelineError: not because of another program: the address is not this machine's, or the
            port is for the administrator only.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return False
            raise PipelineError(
                f"Nothing can listen on {host}:{port}: {error.strerror}.",
                advice="Set an address of this machine and a port above 1023.",
            ) from None
    return True


@contextmanager
def interrupted_by(*signals: signal.Signals) -> Iterator[None]:
    """Make these signals end the work as Ctrl-C does, in good order: a closed terminal, `kill`."""
    before = {each: signal.signal(each, signal.default_int_handler) for each in signals}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _interrupt(stage: Sequence[_Kept], deadline: float) -> None:
    """Ask a stage to end, its last service first; returns when it has, or the time is up."""
    for kept in reversed(stage):
        if kept.is_alive:
            assert kept.process is not None
            kept.process.send_signal(signal.SIGINT)
    for kept in stage:
        if kept.process is not None:
            with suppress(subprocess.TimeoutExpired):
                kept.process.wait(max(0.0, deadline - time.monotonic()))


def _put_aside(log_file: Path) -> None:
    if log_file.exists():
        log_file.replace(log_file.with_suffix(".previous.log"))


def _keep_short(log_file: Path) -> None:
    """Put aside what a long life has written; the process goes on writing to the same file."""
    if log_file.exists() and log_file.stat().st_size > _MAX_LOG_BYTES:
        with suppress(OSError):  # on a full disk, room is worth more than what was written
            shutil.copyfile(log_file, log_file.with_suffix(".previous.log"))
        os.truncate(log_file, 0)


def _how_it_ended(process: subprocess.Popen[bytes]) -> str:
    code = process.returncode
    if code >= 0:
        return f"ended with exit code {code}"
    with suppress(ValueError):
        return f"was ended by {signal.Signals(-code).name}"
    return f"was ended by signal {-code}"


def _ended(kept: _Kept) -> PipelineError:
    return PipelineError(
        f"{kept.service.name} ended by itself: {kept.last_words(5)}",
        advice=f"All of its output is in {kept.log_file}.",
    )


def _taken(service: Service) -> PipelineError:
    return PipelineError(
        f"Port {service.port} of {service.host}, set for the {service.name}, is another program's.",
        advice="End that program, or set another port.",
    )

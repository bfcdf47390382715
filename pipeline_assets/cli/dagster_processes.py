"""Starting and stopping Dagster's own processes: webserver, daemon and code server."""

import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

import psutil
import requests

from pipeline_assets.errors import PipelineError

HOST = "127.0.0.1"
"""Dagster's web UI has no login: it stays on this machine."""

LOCATION = "pipeline_assets"
_START_TIMEOUT_SECONDS = 120  # some 20 s on a laptop; the rest is for a busy one
_STOP_TIMEOUT_SECONDS = 30
_LOADED = "{ repositoriesOrError { ... on RepositoryConnection { nodes { name } } } }"


class DagsterDevelopment:
    """`dagster dev` for a folder's workspace.yaml while the `with` block lasts.

    Its output goes to a file in DAGSTER_HOME (`home`). `port` and `url` hold once it has started:
    whoever takes the preferred port first, keeps it. One at a time per DAGSTER_HOME: two daemons
    would do everything twice. What a killed process left running is ended first.
    """

    def __init__(
        self, *, home: Path, folder: Path | None = None, preferred_port: int = 3000
    ) -> None:
        self._folder = folder or Path.cwd()
        self.port = free_port(preferred_port)
        self.log_file = home / "dagster-dev.log"
        self._home = home
        self._lock: TextIO | None = None
        self._start_deadline = 0.0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The address of its web UI and GraphQL."""
        return f"http://{HOST}:{self.port}"

    def __enter__(self) -> Self:
        self._start_deadline = time.monotonic() + _START_TIMEOUT_SECONDS
        try:
            self.take_over()
            self._start()
            while not self._is_loaded():
                self._end()
                self.port = free_port(0)
                self._start()
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

    def stop(self) -> None:
        """Ask it to end, as Ctrl-C does; end by force what does not. Afterwards nothing runs.

        Dagster's own end comes before that of its code server and of runs in progress.
        """
        self._end()
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _end(self) -> None:
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
        self._await_end(self._process.pid)
        self._process.wait()
        self._process = None

    def raise_if_ended(self) -> None:
        """Notice that Dagster has ended by itself.

        Raises:
            PipelineError: it has; the message holds the end of its output.
        """
        assert self._process is not None
        if self._process.poll() is not None:
            tail = self.log_file.read_text(errors="replace").strip().split("\n")[-5:]
            raise PipelineError(
                "Dagster ended by itself: " + " ".join(line.strip() for line in tail),
                advice=f"All of its output is in {self.log_file}.",
            )

    def take_over(self) -> None:
        """Make sure that nobody else runs Dagster on this DAGSTER_HOME, from here to `stop`.

        The lock goes with its process, however that ends; the file names the session it began.

        Raises:
            PipelineError: somebody does, and lives.
        """
        if self._lock is not None:
            return
        lock = (self._home / "dagster-dev.lock").open("a+")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            raise PipelineError(
                f"Dagster is running for {self._home} already, started in another terminal.",
                advice="Use that one, or end it with Ctrl-C.",
            ) from None
        self._lock = lock
        lock.seek(0)
        left_behind = lock.read().strip()
        if left_behind.isdecimal():
            for process in self._processes(int(left_behind)):
                with suppress(psutil.NoSuchProcess):
                    process.send_signal(signal.SIGINT)
            self._await_end(int(left_behind))

    def _start(self) -> None:
        command = [
            *(sys.executable, "-m", "dagster", "dev"),
            *("--workspace", "workspace.yaml", "--host", HOST, "--port", str(self.port)),
        ]
        with self.log_file.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own fixed command
                command,
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                cwd=self._folder,
                start_new_session=True,  # Ctrl-C reaches us alone, and we stop it in good order
                # Its home is also how its processes are told from others'.
                env={**os.environ, "DAGSTER_HOME": str(self._home), "PYTHONUNBUFFERED": "1"},
            )
        assert self._lock is not None
        self._lock.truncate(0)
        self._lock.write(str(self._process.pid))
        self._lock.flush()

    def _is_loaded(self) -> bool:
        """Wait until it has loaded our code; False: another program took its port meanwhile.

        Raises:
            PipelineError: it ended, or did not load in time.
        """
        while time.monotonic() < self._start_deadline:
            self.raise_if_ended()
            try:
                answer = requests.post(f"{self.url}/graphql", json={"query": _LOADED}, timeout=5)
                # The port was free when it was chosen, seconds ago: this may be another Dagster.
                if not self._is_listening():
                    return False
                if answer.json()["data"]["repositoriesOrError"].get("nodes"):
                    return True
            except (requests.RequestException, ValueError, KeyError, TypeError):
                pass  # not up yet
            time.sleep(0.3)
        raise PipelineError(
            f"Dagster did not start within {_START_TIMEOUT_SECONDS} s.",
            advice=f"Its output is in {self.log_file}.",
        )

    def _is_listening(self) -> bool:
        """Whether one of its processes listens on the port."""
        assert self._process is not None
        for process in self._processes(self._process.pid):
            with suppress(psutil.NoSuchProcess):
                for each in process.net_connections(kind="tcp"):
                    if each.status == psutil.CONN_LISTEN and each.laddr.port == self.port:
                        return True
        return False

    def _await_end(self, session: int) -> None:
        """Wait until nothing of a session runs any more; end by force what takes too long."""
        deadline = time.monotonic() + _STOP_TIMEOUT_SECONDS
        while left := self._processes(session):
            if time.monotonic() > deadline:
                for process in left:
                    with suppress(psutil.NoSuchProcess):
                        process.kill()
            if self._process is not None:
                self._process.poll()
            time.sleep(0.1)

    def _processes(self, session: int) -> list[psutil.Process]:
        """The living processes of a session that `_start` began, for this DAGSTER_HOME."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):  # ended meanwhile, or somebody else's
                if os.getsid(process.pid) != session or process.status() == psutil.STATUS_ZOMBIE:
                    continue
                if process.environ().get("DAGSTER_HOME") == str(self._home):
                    found.append(process)
        return found


def free_port(preferred: int) -> int:
    """The preferred port if nobody listens on it, else any free one."""
    for port in (preferred, 0):
        with socket.socket() as probe:
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise PipelineError(f"No port is free on {HOST}.")

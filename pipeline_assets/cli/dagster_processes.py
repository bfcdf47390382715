"""Starting and stopping Dagster's own processes: webserver, daemon and code server."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

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

    Its output goes to a file in DAGSTER_HOME (`home`).
    """

    def __init__(
        self, *, home: Path, folder: Path | None = None, preferred_port: int = 3000
    ) -> None:
        self._folder = folder or Path.cwd()
        self.port = free_port(preferred_port)
        self.url = f"http://{HOST}:{self.port}"
        self.log_file = home / "dagster-dev.log"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
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
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )
        try:
            self._wait_until_loaded()
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
        """Ask it to end, as Ctrl-C does; end it by force only when it does not."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(_STOP_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

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

    def _wait_until_loaded(self) -> None:
        deadline = time.monotonic() + _START_TIMEOUT_SECONDS
        while time.monotonic() < deadline:
            self.raise_if_ended()
            try:
                answer = requests.post(f"{self.url}/graphql", json={"query": _LOADED}, timeout=5)
                if answer.json()["data"]["repositoriesOrError"].get("nodes"):
                    return
            except (requests.RequestException, ValueError, KeyError, TypeError):
                pass  # not up yet
            time.sleep(0.3)
        raise PipelineError(
            f"Dagster did not start within {_START_TIMEOUT_SECONDS} s.",
            advice=f"Its output is in {self.log_file}.",
        )


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

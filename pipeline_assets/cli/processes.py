"""The processes of an installation: Dagster's code server, daemon and webserver, and our web pages.

Dagster's daemon and webserver do not start code servers of their own, as `dagster dev` has them do:
they are told of one that is a process like the others, so that it is started again when it dies.
"""

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import requests
import yaml

from pipeline_assets.cli.supervisor import HOST, Service, Supervisor
from pipeline_assets.settings import Settings

LOCATION = "pipeline_assets"
"""The name of our code location, as in workspace.yaml."""

_MODULES = {LOCATION: "pipeline_assets.definitions"}
_WORKSPACE_FILE = "workspace.supervised.yaml"
_LOADED = "{ repositoriesOrError { ... on RepositoryConnection { nodes { name } } } }"
_HEARTBEATS = "{ instance { daemonHealth { allDaemonStatuses { lastHeartbeatTime } } } }"
_PUBLIC_URL = "PIPELINE_DAGSTER_PUBLIC_URL"


@dataclass(frozen=True)
class Address:
    """Where a server listens; a fixed port does not give way to a free one."""

    port: int
    host: str = HOST
    is_fixed: bool = False


class Processes(Supervisor):
    """An installation's processes while the `with` block lasts; see `Supervisor`.

    `modules` are the code locations by name, `web` is where our pages are served, if they are.
    `environment` is what runs' workers find in theirs besides.
    Addresses hold once everything has started. Dagster's UI has no login: it is on loopback.
    """

    def __init__(
        self,
        *,
        home: Path,
        folder: Path | None = None,
        dagster: Address = Address(0),
        dagster_path_prefix: str = "",
        web: Address | None = None,
        modules: Mapping[str, str] = _MODULES,
        environment: Mapping[str, str] = {},
        announce: Callable[[str], None] = lambda line: None,  # noqa: ARG005
    ) -> None:
        self._http = requests.Session()
        self._http.trust_env = False  # this machine is not reached through a proxy
        self._workspace = home / _WORKSPACE_FILE
        self._path_prefix = dagster_path_prefix
        self._code_servers = {
            location: _code_server(location, module, environment)
            for location, module in modules.items()
        }
        self._webserver = Service(
            "Dagster webserver",
            self._webserver_command,
            self._is_webserver_ready,
            port=dagster.port,
            is_port_fixed=dagster.is_fixed,
        )
        self._daemon = Service("Dagster daemon", self._daemon_command, self._is_daemon_ready)
        self._web = None if web is None else self._web_server(web)
        stages = [list(self._code_servers.values()), [self._daemon, self._webserver]]
        super().__init__(
            [*stages, [self._web]] if self._web else stages,
            home=home,
            folder=folder or Path.cwd(),
            announce=announce,
        )

    @property
    def port(self) -> int:
        """The port of Dagster's webserver."""
        assert self._webserver.port is not None
        return self._webserver.port

    @property
    def url(self) -> str:
        """The address of Dagster's web UI and GraphQL."""
        return f"http://{HOST}:{self.port}{self._path_prefix}"

    @property
    def web_url(self) -> str | None:
        """The address of our pages, if they are served."""
        return f"http://{self._web.host}:{self._web.port}" if self._web else None

    def _workspace_file(self) -> str:
        """A workspace that names the code servers, written anew; its path."""
        servers = [
            {"grpc_server": {"host": HOST, "port": server.port, "location_name": location}}
            for location, server in self._code_servers.items()
        ]
        partial = self._workspace.with_suffix(".partial")
        partial.write_text(yaml.safe_dump({"load_from": servers}))
        partial.replace(self._workspace)
        return str(self._workspace)

    def _webserver_command(self) -> list[str]:
        prefix = ["--path-prefix", self._path_prefix] if self._path_prefix else []
        return [
            *_script("dagster-webserver"),
            *("--workspace", self._workspace_file()),
            *("--host", HOST, "--port", str(self.port), *prefix),
        ]

    def _daemon_command(self) -> list[str]:
        return [*_script("dagster-daemon"), "run", "--workspace", self._workspace_file()]

    def _web_server(self, address: Address) -> Service:
        service = Service(
            "web",
            lambda: web_command(address.host, service.port),
            lambda _: self._http.get(f"{self.web_url}/healthz", timeout=5).ok,
            host=address.host,
            port=address.port,
            is_port_fixed=address.is_fixed,
            environment=lambda: {_PUBLIC_URL: os.environ.get(_PUBLIC_URL, self.url)},
        )
        return service

    def _is_webserver_ready(self, started_at: datetime) -> bool:  # noqa: ARG002
        return bool(self._ask(_LOADED)["repositoriesOrError"]["nodes"])

    def _is_daemon_ready(self, started_at: datetime) -> bool:
        """Whether it beats: an older beat is its predecessor's."""
        daemons = self._ask(_HEARTBEATS)["instance"]["daemonHealth"]["allDaemonStatuses"]
        beats = [each["lastHeartbeatTime"] or 0.0 for each in daemons]
        return max(beats) >= started_at.timestamp()

    def _ask(self, query: str) -> Any:
        answer = self._http.post(f"{self.url}/graphql", json={"query": query}, timeout=5)
        return answer.json()["data"]


def processes_of(
    settings: Settings,
    *,
    has_web: bool,
    environment: Mapping[str, str] = {},
    announce: Callable[[str], None] = lambda line: None,  # noqa: ARG005
) -> Processes:
    """An installation's processes as its settings want them; a port that is set is fixed."""
    is_set = settings.model_fields_set
    return Processes(
        home=settings.dagster_home,
        dagster=Address(settings.dagster_port, is_fixed="dagster_port" in is_set),
        dagster_path_prefix=settings.dagster_path_prefix,
        web=Address(settings.web_port, settings.web_host, is_fixed="web_port" in is_set)
        if has_web
        else None,
        environment=environment,
        announce=announce,
    )


def _code_server(location: str, module: str, environment: Mapping[str, str]) -> Service:
    """The server of a code location; it listens once it has loaded the code.

    Not `dagster code-server start`: that is a proxy which outlives the server that it starts, and
    serves nothing from then on.
    """
    name = "code server" if location == LOCATION else f"code server {location}"
    service = Service(
        name,
        lambda: [
            *_script("dagster"),
            *("api", "grpc", "--module-name", module, "--location-name", location),
            *("--host", HOST, "--port", str(service.port)),
        ],
        port=0,
        environment=lambda: environment,
    )
    return service


def web_command(host: str, port: int | None) -> list[str]:
    """How the server of our pages is started."""
    return [
        *(sys.executable, "-m", "uvicorn", "--factory", "pipeline_assets.web.app:build_app"),
        *("--host", host, "--port", str(port), "--no-server-header"),
        "--no-access-log",  # pages poll: a proxy logs better, and at a tenth of the cost
        # Who forwards requests, a proxy, is on this machine: nobody else is believed.
        *("--proxy-headers", "--forwarded-allow-ips", HOST),
        *("--timeout-graceful-shutdown", "5"),
    ]


def _script(name: str) -> list[str]:
    """A command of Dagster's, from the environment that we run in."""
    return [sys.executable, str(Path(sys.executable).with_name(name))]

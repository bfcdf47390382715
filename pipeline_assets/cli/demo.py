"""`pipeline-assets demo`: three brands of a simulated Meta, synced as every brand is."""

import secrets
import shlex
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
import sqlalchemy as sa
from rich.live import Live
from rich.table import Table

from pipeline_assets.brands import registry
from pipeline_assets.brands.models import parse_brand
from pipeline_assets.cli.installation import open_dagster
from pipeline_assets.cli.output import json_option, print_json, progress_console
from pipeline_assets.cli.processes import Processes, processes_of
from pipeline_assets.cli.setup import prepare
from pipeline_assets.cli.status import print_matrix
from pipeline_assets.cli.supervisor import interrupted_by, is_port_free
from pipeline_assets.cli.up import announce, tend_until_interrupted
from pipeline_assets.clock import utcnow
from pipeline_assets.control.brand_partitions import sync_partitions
from pipeline_assets.control.cadences import list_cadences, set_cadence
from pipeline_assets.control.projector import project
from pipeline_assets.control.requests import (
    Request,
    Trigger,
    Wish,
    cancel_request,
    get_request,
    request_sync,
)
from pipeline_assets.control.retries import policies_of
from pipeline_assets.control.status import DatasetState, read_states
from pipeline_assets.datasets import FULL_SYNC
from pipeline_assets.errors import InvalidConfigError, PipelineError
from pipeline_assets.freshness.evaluate import State
from pipeline_assets.people.roles import EVERY, Role
from pipeline_assets.people.users import add_user, is_password, list_users, set_password
from pipeline_assets.resources.installation import Installation
from pipeline_assets.simulator.demo import (
    DEMO_BRANDS,
    DEMO_FAULTS,
    SECRETS,
    DemoBrand,
    build_demo_world,
)
from pipeline_assets.simulator.server import SimulatorServer
from pipeline_assets.storage.rate_budgets import RateBudgetTable
from pipeline_assets.storage.tables import dataset_attempts

EXPIRED_BRAND = "initech"
_OTHER_SERVICES = ("PIPELINE_APIFY_URL", "PIPELINE_REDDIT_URL", "PIPELINE_REDDIT_LOGIN_URL")
_SIMULATOR_PORT = "simulator-port"
EMAIL = "demo@example.com"
ACTOR = "demo"
_SYNC_TIMEOUT_SECONDS = 600
_CANCEL_TIMEOUT_SECONDS = 20


@dataclass(frozen=True)
class _Demo:
    """What runs while the demo does."""

    installation: Installation
    processes: Processes
    request_ids: Mapping[str, str]

    def requests(self) -> dict[str, Request]:
        """The demo's requests as they are now, by brand."""
        engine = self.installation.engine
        return {brand: get_request(engine, each) for brand, each in self.request_ids.items()}


@click.command()
@click.option("--stay", is_flag=True, help="Stay up until Ctrl-C, to look around.")
@json_option
def demo(*, stay: bool, as_json: bool) -> None:
    """Sync three demo brands end to end and show how fresh they are.

    One is healthy, one is throttled by Meta for some seconds, one has an expired token. Exit code 0
    only if that is the outcome.
    """
    console = progress_console()
    console.print("Setting up the database and Dagster's storage …")
    installation = prepare()
    with ExitStack() as running:
        running.enter_context(interrupted_by(signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
        world = build_demo_world(utcnow().date())
        port = _simulator_port(installation)
        simulator = running.enter_context(SimulatorServer(world, faults=DEMO_FAULTS, port=port))
        processes = processes_of(
            installation.settings,
            has_web=stay,
            environment=dict.fromkeys(_OTHER_SERVICES, simulator.url),
            announce=announce,
        )
        running.callback(processes.stop)
        processes.take_over()  # before anything is changed under a Dagster that runs
        _register_brands(installation, simulator)
        if stay:
            _keep_syncing(installation)
            password = _prepare_login(installation)
        console.print("Starting Dagster …")
        running.enter_context(processes)
        console.print(f"Syncing {', '.join(brand.slug for brand in DEMO_BRANDS)} …")
        current = _Demo(installation, processes, _request_syncs(installation))
        try:
            states = _watch(current)
        except KeyboardInterrupt:
            console.print("Stopping; the syncs in progress are cancelled …")
            _cancel(current)
            raise
        if as_json:
            print_json([state.as_row() for state in states])
        else:
            print_matrix(states)
        problems = _unexpected(current, states)
        for problem in problems:
            click.echo(f"Unexpected: {problem}", err=True)
        if stay:
            _say_where_to_look(current, simulator.url, password)
            tend_until_interrupted(processes)
            click.echo("\nStopping …", err=True)
    if problems and not stay:
        sys.exit(1)


def _simulator_port(installation: Installation) -> int:
    """That of the time before, because what was synced then leads there; 0: any that is free."""
    file = _secrets_folder(installation) / _SIMULATOR_PORT
    port = int(file.read_text()) if file.exists() else 0
    return port if is_port_free(port) else 0


def _register_brands(installation: Installation, simulator: SimulatorServer) -> None:
    """Put the demo brands into the registry; their tokens lie in files, as a vault would do it.

    A token that somebody has put there is replaced: each demo shows the same.
    """
    folder = _secrets_folder(installation)
    folder.mkdir(exist_ok=True, mode=0o700)
    for name, secret in SECRETS.items():
        _write_secret(folder / f"{name}.token", secret)
    _write_secret(folder / _SIMULATOR_PORT, str(urlsplit(simulator.url).port))
    brands = []
    for brand in DEMO_BRANDS:
        token_file = folder / f"{brand.slug}.token"
        _write_secret(token_file, brand.token)
        if brand.fresh_token:
            _write_secret(token_file.with_suffix(".fresh-token"), brand.fresh_token)
        brands.append(_as_brand(brand, token_file, simulator))
    registry.apply_brands(
        installation.engine,
        [parse_brand(brand) for brand in brands],
        actor=ACTOR,
        now=utcnow(),
    )
    with open_dagster(installation.settings) as instance:
        sync_partitions(instance, registry.list_brand_ids(installation.engine))


def _secrets_folder(installation: Installation) -> Path:
    return installation.settings.dagster_home / "demo"


def _write_secret(file: Path, text: str) -> None:
    file.touch(mode=0o600)
    file.write_text(text)


def _keep_syncing(installation: Installation) -> None:
    """Give each demo brand that has no cadence an hourly one."""
    engine = installation.engine
    with_cadence = {each.brand_id for each in list_cadences(engine) if each.job == FULL_SYNC}
    for brand in DEMO_BRANDS:
        if brand.slug not in with_cadence:
            set_cadence(engine, brand.slug, FULL_SYNC, "hourly", actor=ACTOR, now=utcnow())


def _prepare_login(installation: Installation) -> str:
    """See that the demo's own user can sign in; returns the password, made at the first start.

    One that somebody has changed is set anew: each demo shows the same.
    """
    engine, file = installation.engine, _secrets_folder(installation) / "password"
    if not file.exists():
        _write_secret(file, secrets.token_urlsafe(12))
    password = file.read_text()
    user = next((each for each in list_users(engine) if each.email == EMAIL), None)
    if user is None:
        add_user(
            engine,
            email=EMAIL,
            name="Demo",
            password=password,
            roles={EVERY: Role.ADMIN},
            actor=ACTOR,
            now=utcnow(),
        )
    elif not is_password(engine, user.id, password):
        set_password(engine, user.id, password, actor=ACTOR, now=utcnow())
    return password


def _as_brand(brand: DemoBrand, token_file: Path, simulator: SimulatorServer) -> dict[str, Any]:
    source = {
        "ad_accounts": list(brand.ad_accounts),
        "token": f"file:{token_file}",
        "graph_url": simulator.url,
        "app_id": simulator.world.app.id,
    }
    return {
        "id": brand.slug,
        "name": brand.name,
        "timezone": brand.timezone,
        "sources": {"meta": source, **_with_places(brand.other_sources, token_file.parent)},
    }


def _with_places(source: Any, folder: Path) -> Any:
    """A source with the places of its secrets where their names stand."""
    if not isinstance(source, dict):
        return source
    return {
        key: f"file:{folder / value}.token"
        if key in {"token", "client_secret"}
        else _with_places(value, folder)
        for key, value in source.items()
    }


def _request_syncs(installation: Installation) -> dict[str, str]:
    """Ask for a sync of each demo brand, as `pipeline-assets sync` does; request ids by brand."""
    wishes = [
        Wish(brand_id=brand.slug, job=FULL_SYNC, trigger=Trigger.MANUAL, requested_by=ACTOR)
        for brand in DEMO_BRANDS
    ]
    return {
        wish.brand_id: request_sync(installation.engine, wish, now=utcnow())[0].id
        for wish in wishes
    }


def _watch(current: _Demo) -> list[DatasetState]:
    """Show the syncs' progress until all have ended; returns the demo brands' final states."""
    installation, engine = current.installation, current.installation.engine
    policies = policies_of(installation.settings)
    deadline = time.monotonic() + _SYNC_TIMEOUT_SECONDS
    console = progress_console()
    with (
        open_dagster(installation.settings) as instance,
        Live(console=console, transient=True) as live,
    ):
        while True:
            project(instance, engine, policies=policies)
            requests = current.requests()
            states = read_states(engine, now=utcnow(), brand_ids=set(requests))
            outcomes = _outcomes(engine, requests)
            live.update(_progress_table(states, outcomes, requests, _limits(engine)))
            if not any(request.state.is_active for request in requests.values()):
                return states
            current.processes.tend()
            if time.monotonic() > deadline:
                raise PipelineError(
                    f"The demo's syncs did not end within {_SYNC_TIMEOUT_SECONDS} s.",
                    advice=f"Look at them in {current.processes.url}/runs.",
                )
            time.sleep(0.5)


def _cancel(current: _Demo) -> None:
    """End the syncs, so that their history says what happened: somebody stopped them."""
    engine = current.installation.engine
    policies = policies_of(current.installation.settings)
    for request in current.requests().values():
        if request.state.is_active:
            with suppress(InvalidConfigError):  # it has ended meanwhile
                cancel_request(engine, request.id, actor=ACTOR, now=utcnow())
    deadline = time.monotonic() + _CANCEL_TIMEOUT_SECONDS
    with open_dagster(current.installation.settings) as instance:
        while time.monotonic() < deadline and any(
            request.state.is_active for request in current.requests().values()
        ):
            project(instance, engine, policies=policies)
            time.sleep(0.2)


def _outcomes(
    engine: sa.Engine, requests: Mapping[str, Request]
) -> dict[tuple[str, str], str | None]:
    """The outcome of each dataset's attempt for these requests; absent: not planned yet."""
    columns = dataset_attempts.c
    query = sa.select(columns.brand_id, columns.dataset, columns.outcome).where(
        columns.request_id.in_([request.id for request in requests.values()])
    )
    with engine.connect() as connection:
        return {(row.brand_id, row.dataset): row.outcome for row in connection.execute(query)}


def _limits(engine: sa.Engine) -> dict[str, str]:
    """What brands wait for just now: Meta's limits, by brand."""
    now = utcnow()
    keys = {f"account:{each}": brand.slug for brand in DEMO_BRANDS for each in brand.ad_accounts}
    blocked = RateBudgetTable(engine).read_blocked_until(list(keys))
    return {
        keys[key]: f"waits {(until - now).total_seconds():.0f} s for Meta's limit"
        for key, until in blocked.items()
        if until > now
    }


def _progress_table(
    states: Sequence[DatasetState],
    outcomes: Mapping[tuple[str, str], str | None],
    requests: Mapping[str, Request],
    limits: Mapping[str, str],
) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in ("brand", "done", "now"):
        table.add_column(column)
    for brand_id, request in requests.items():
        of_brand = [state for state in states if state.brand_id == brand_id]
        ended = sum(1 for (brand, _), outcome in outcomes.items() if brand == brand_id and outcome)
        doing = [_doing(state) for state in of_brand if state.progress]
        if brand_id in limits:
            doing.append(limits[brand_id])
        table.add_row(
            brand_id,
            f"{ended} of {len(of_brand)} datasets",
            "; ".join(doing) or ("" if ended else request.state.value),
        )
    return table


def _doing(state: DatasetState) -> str:
    progress = state.progress or {}
    total = f" of {progress['total']}" if progress.get("total") else ""
    return f"{state.dataset}: {progress.get('stage')} {progress.get('done')}{total}"


def _unexpected(current: _Demo, states: Sequence[DatasetState]) -> list[str]:
    """Everything that differs from the outcome which the demo is made to have."""
    problems = []
    outcomes = _outcomes(current.installation.engine, current.requests())
    for state in states:
        outcome = outcomes.get((state.brand_id, state.dataset))
        if state.state is State.NOT_CONFIGURED:
            continue
        if state.brand_id != EXPIRED_BRAND:
            if outcome != "succeeded" or state.state is not State.FRESH:
                problems.append(f"{state.brand_id} {state.dataset} is {state.state}, {outcome}.")
        elif outcome == "succeeded":
            problems.append(f"{state.dataset} of {EXPIRED_BRAND} succeeded with an expired token.")
    errors = {
        (state.error_class, bool(state.advice))
        for state in states
        if state.brand_id == EXPIRED_BRAND and state.last_attempt_outcome == "failed"
    }
    if errors != {("CredentialError", True)}:
        problems.append(f"{EXPIRED_BRAND} should fail with CredentialError and advice: {errors}.")
    return problems


def _say_where_to_look(current: _Demo, simulator_url: str, password: str) -> None:
    processes = current.processes
    tokens = [
        _secrets_folder(current.installation) / f"{EXPIRED_BRAND}{suffix}"
        for suffix in (".fresh-token", ".token")
    ]
    click.echo(
        f"\nPages and API:      {processes.web_url}\n"
        f"  Sign in as {EMAIL} with the password {password} (this demo's own).\n"
        f"Dagster's web UI:   {processes.url}\n"
        f"Simulated Meta API: {simulator_url}\n"
        "Freshness:          .venv/bin/pipeline-assets status, in a second terminal\n\n"
        f"Fix {EXPIRED_BRAND}: {shlex.join(['cp', *map(_shown, tokens)])}, then Sync now on its"
        f" page\n  or .venv/bin/pipeline-assets sync {EXPIRED_BRAND} {FULL_SYNC} --wait\n\n"
        "Ctrl-C stops everything.",
        err=True,  # standard output is for the matrix
    )


def _shown(path: Path) -> str:
    """A path as a person in the project's folder would type it."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)

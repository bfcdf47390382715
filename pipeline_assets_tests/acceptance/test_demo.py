"""`pipeline-assets demo` as a person runs it: a process of its own in a folder of its own."""

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

import psutil
import pytest
import sqlalchemy as sa
from playwright.sync_api import Browser, Locator, Page

from pipeline_assets.cli.supervisor import free_port
from pipeline_assets.clock import utcnow
from pipeline_assets.datasets import DATASETS, Reader
from pipeline_assets.freshness.pages import PAGES
from pipeline_assets.people.roles import EVERY, Role
from pipeline_assets.people.sign_in import SignInRefused, read_session, sign_in
from pipeline_assets.simulator.demo import DEMO_BRANDS, SECRETS
from pipeline_assets.storage.tables import brands, dataset_attempts, dataset_status

PROJECT = Path(__file__).parents[2]
COMMAND = Path(sys.executable).with_name("pipeline-assets")
TOKENS = [
    token.encode()
    for brand in DEMO_BRANDS
    for token in (brand.token, brand.fresh_token)
    if token is not None
] + [secret.encode() for secret in SECRETS.values()]
SECONDS = 700  # half a minute on a quiet machine; more than the command's own limit for its runs
HEALTHY = ("acme", "globex")
EXPIRED = "initech"
CONFIGURED = {
    brand.slug: [
        key
        for key, dataset in DATASETS.items()
        if dataset.source == "meta" or dataset.source in brand.other_sources
    ]
    for brand in DEMO_BRANDS
}
"""The datasets of each demo brand."""

Row = dict[str, Any]


class Postgres(Protocol):
    def fresh_database(self, template: str) -> Any: ...


class Demo:
    """A demo started in a fresh folder; every process that descends from it carries its mark."""

    def __init__(self, folder: Path, *arguments: str, **settings: str) -> None:
        self.folder, self.home = folder, folder / ".dagster"
        for name in ("dagster.yaml", "workspace.yaml"):
            (folder / name).write_bytes((PROJECT / name).read_bytes())
        self._mark = {"TEST_DEMO": uuid4().hex}
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("DAGSTER_", "PIPELINE_"))}
        self.environment = {**kept, **settings, **self._mark}
        self._files = [folder.with_suffix(suffix) for suffix in (".stdout", ".stderr")]
        with (
            self._files[0].open("wb") as stdout,
            self._files[1].open("wb") as stderr,
        ):
            self.process = subprocess.Popen(
                [COMMAND, "demo", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                cwd=folder,
                env=self.environment,
                start_new_session=True,
            )

    @property
    def stdout(self) -> str:
        return self._files[0].read_text()

    @property
    def stderr(self) -> str:
        return self._files[1].read_text()

    @property
    def log(self) -> str:
        """What all its processes have written."""
        files = sorted((self.home / "process-logs").glob("*.log"))
        return "\n".join(file.read_text() for file in files)

    def wait_for(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + SECONDS
        while not condition():
            assert self.process.poll() is None, f"it has ended: {self.stdout}{self.stderr}"
            assert time.monotonic() < deadline, f"too slow: {self.stdout}{self.stderr}"
            time.sleep(0.1)

    def wait(self) -> int:
        return self.process.wait(SECONDS)

    def run(self, *arguments: str) -> str:
        """Another command in the demo's folder; its standard output."""
        command = [str(COMMAND), *arguments]
        return subprocess.run(
            command, check=True, cwd=self.folder, env=self.environment, stdout=subprocess.PIPE
        ).stdout.decode()

    def processes(self) -> list[psutil.Process]:
        """All living processes that it started, itself included."""
        return [process for process in psutil.process_iter() if self._is_ours(process)]

    def _is_ours(self, process: psutil.Process) -> bool:
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                return False
            return self._mark.items() <= process.environ().items()
        except psutil.Error:  # somebody else's, or gone meanwhile
            return False

    def written(self) -> Iterator[tuple[str, bytes]]:
        """Everything that it has written: all files but the tokens' own, and its output."""
        for file in [*self.folder.rglob("*"), *self._files]:
            if file.is_file() and file.suffix not in {".token", ".fresh-token"}:
                yield str(file), file.read_bytes()

    def kill(self) -> None:
        for process in self.processes():
            process.kill()


@dataclass(frozen=True)
class Ended:
    """A demo that has ended, and the addresses that it had."""

    demo: Demo
    exit_code: int
    left_over: list[str]
    is_dagster_listening: bool
    dagster_url: str
    engine: sa.Engine

    @property
    def simulator_url(self) -> str:
        with self.engine.connect() as connection:
            sources = connection.execute(sa.select(brands.c.sources)).scalars().all()
        (url,) = {source["meta"]["graph_url"] for source in sources}
        return str(url)

    def rows(self, table: sa.Table) -> list[Row]:
        with self.engine.connect() as connection:
            return [dict(row) for row in connection.execute(sa.select(table)).mappings()]


@contextmanager
def started(folder: Path, *arguments: str, **settings: str) -> Iterator[Demo]:
    folder.mkdir(exist_ok=True)
    demo = Demo(folder, *arguments, **settings)
    try:
        yield demo
    finally:
        demo.kill()  # none is left, unless a test has failed
        demo.process.wait()


def after(demo: Demo, engine: sa.Engine) -> Ended:
    exit_code = demo.wait()
    left_over = [" ".join(process.cmdline()) for process in demo.processes()]
    found = re.search(r"Serving dagster-webserver on (http://127\.0\.0\.1:\d+)", demo.log)
    assert found is not None
    # Asked at once: soon another test's Dagster may have the port.
    return Ended(demo, exit_code, left_over, is_listening(found[1]), found[1], engine)


def is_listening(url: str) -> bool:
    host, port = url.removeprefix("http://").split(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


def assert_outcome(states: list[Row]) -> None:
    """Healthy brands are fresh in every dataset, the expired one says what to do."""
    by_cell = {(state["brand_id"], state["dataset"]): state for state in states}
    assert set(by_cell) == {(brand, key) for brand in CONFIGURED for key in DATASETS}
    for (brand, key), state in by_cell.items():
        if key not in CONFIGURED[brand]:
            assert state["state"] == "not_configured", (brand, key)
        elif brand in HEALTHY:
            assert state["state"] == "fresh", (brand, key)
            assert state["records_affected"] > 0, (brand, key)
    for key in ("meta_ads_performance", "meta_ad_creatives"):
        state = by_cell[EXPIRED, key]
        assert (state["state"], state["error_class"]) == ("failing", "CredentialError")
        assert "190/463" in state["error_message"]
        assert state["advice"].startswith("Make a new token")
        assert state["last_success_at"] is None


def assert_matrix(printed: str) -> None:
    lines = printed.split("\n")
    for brand in HEALTHY:
        (line,) = [line for line in lines if line.startswith(f"{brand} ")]
        assert line.count("● fresh") == len(CONFIGURED[brand])
    (line,) = [line for line in lines if line.startswith(f"{EXPIRED} ")]
    assert line.count("✗ failing") == len(CONFIGURED[EXPIRED])
    problem = lines.index(f"{EXPIRED}: CredentialError in meta_ads_performance, meta_ad_creatives")
    assert "it has expired (code 190/463)" in lines[problem + 1]
    assert lines[problem + 2].startswith("  What to do: Make a new token")


def assert_nothing_is_left(ended: Ended) -> None:
    assert ended.left_over == []
    assert not ended.is_dagster_listening
    assert not is_listening(ended.simulator_url)


def assert_no_token_is_written(demo: Demo) -> None:
    read = dict(demo.written())
    assert any(name.endswith("process-logs/code-server.log") for name in read)
    for name, content in read.items():
        assert not [token for token in TOKENS if token in content], name
    for brand in DEMO_BRANDS:  # the search would find it: this is where it does stand
        file = demo.home / "demo" / f"{brand.slug}.token"
        assert file.read_text() in {brand.token, brand.fresh_token}
        assert file.stat().st_mode & 0o077 == 0


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory, postgres_server: Postgres) -> Iterator[Ended]:
    """A demo run to its end, with our tables and Dagster's own storage in PostgreSQL."""
    folder = tmp_path_factory.mktemp("postgres") / "project"
    with postgres_server.fresh_database("template0") as url:
        engine = sa.create_engine(url)
        with started(folder, PIPELINE_DATABASE_URL=url) as demo:
            yield after(demo, engine)
        engine.dispose()


def test_it_ends_well_and_shows_what_it_is_made_to_show(ended: Ended) -> None:
    assert ended.exit_code == 0, ended.demo.stderr
    assert "Unexpected" not in ended.demo.stderr
    assert_matrix(ended.demo.stdout)


def test_the_status_command_says_the_same_afterwards(ended: Ended) -> None:
    assert_outcome(json.loads(ended.demo.run("status", "--json")))


def test_our_tables_and_dagsters_are_in_the_database(ended: Ended) -> None:
    assert {row["id"] for row in ended.rows(brands)} == {*HEALTHY, EXPIRED}
    attempts = ended.rows(dataset_attempts)
    assert len(attempts) == sum(map(len, CONFIGURED.values()))
    with ended.engine.connect() as connection:
        runs = connection.execute(sa.text("SELECT run_id, status FROM runs")).all()
        events = connection.execute(sa.text("SELECT count(*) FROM event_logs")).scalar_one()
        ticks = connection.execute(sa.text("SELECT count(*) FROM job_ticks")).scalar_one()
    assert {run.run_id for run in runs} == {row["run_id"] for row in attempts}
    assert sorted(run.status for run in runs) == ["FAILURE", "SUCCESS", "SUCCESS"]
    assert events > 100
    assert ticks > 0
    assert not list(ended.demo.home.rglob("*.db"))


def test_nothing_of_it_runs_or_listens_afterwards(ended: Ended) -> None:
    assert_nothing_is_left(ended)


def test_no_token_is_in_a_file_in_the_output_or_in_the_database(ended: Ended) -> None:
    assert_no_token_is_written(ended.demo)
    tables = sa.inspect(ended.engine).get_table_names()
    assert {"runs", "event_logs", "brands", "run_heartbeats"} <= set(tables)
    with ended.engine.connect() as connection:
        for table in tables:
            rows = connection.execute(sa.text(f'SELECT t::text FROM "{table}" t')).scalars()  # noqa: S608
            content = "\n".join(rows).encode()
            assert not [token for token in TOKENS if token in content], table


@dataclass(frozen=True)
class Stayed:
    """A demo that stayed until Ctrl-C, and what there was to see before.

    `fixed` are the states of the brand without a valid token once its printed remedy was followed.
    """

    addresses: dict[str, str]
    answering: list[bool]
    states: list[Row]
    process_count: int
    password: str
    sessions: list[str | None]
    cadences: list[Row]
    fixed: list[Row]
    seen: "Seen | None"
    ended: Ended
    answering_afterwards: list[bool]


@dataclass(frozen=True)
class Seen:
    """What somebody saw in a browser who signed in, mended the broken brand and watched it."""

    cells: dict[str, str]
    drawer: str
    partition_page: str
    run_page: str
    log: str
    is_log_open: bool
    cells_afterwards: dict[str, str]
    reader_pages: "dict[Reader, ReaderPage]"


@dataclass(frozen=True)
class ReaderPage:
    """What a page that reads the datasets shows: its banner, its rows, and parts without any."""

    banner: str
    row_count: int
    empty: list[str]


def mend_in_browser(browser: Browser, url: str, password: str, mend: Callable[[], None]) -> Seen:
    window = browser.new_context()
    window.set_default_timeout(SECONDS * 1000)
    page, other = window.new_page(), window.new_page()
    page.goto(url)
    page.get_by_label("Email").fill("demo@example.com")
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()
    cell = page.locator(f"#cell-{EXPIRED}-meta_ads_performance")
    cell.wait_for()
    cells = labels(page)
    cell.click()
    drawer = page.get_by_role("complementary")
    drawer.wait_for()
    told = drawer.inner_text()
    reader_pages = {reader: read_page(other, f"{url}{path_of(reader)}") for reader in Reader}
    partition_page = seen_in_dagster(other, drawer, "This partition in Dagster", EXPIRED)
    run_page = seen_in_dagster(other, drawer, "its last run", "STEP_FAILURE")
    mend()
    drawer.get_by_role("button", name="All that is not fresh").click()
    page.locator("#toasts").get_by_text(f"Sync of {EXPIRED} is queued.").wait_for()
    cell.get_by_text("syncing").wait_for()
    other.goto(f"{url}/history?brand={EXPIRED}")
    other.locator("a.toggle").first.click()
    log = other.locator("details.run-log")
    log.locator("summary").click()
    log.get_by_text("RUN_SUCCESS").wait_for()  # its lines come by themselves
    for key in CONFIGURED[EXPIRED]:
        page.locator(f"#cell-{EXPIRED}-{key}.fresh").wait_for()
    seen = Seen(
        cells,
        told,
        partition_page,
        run_page,
        log.inner_text(),
        log.get_attribute("open") is not None,
        labels(page),
        reader_pages,
    )
    window.close()
    return seen


def path_of(reader: Reader) -> str:
    name = reader.replace("_", "-")
    return f"/{name}" if PAGES[reader].across_brands else f"/brands/{HEALTHY[0]}/{name}"


def read_page(page: Page, url: str) -> ReaderPage:
    page.goto(url)
    return ReaderPage(
        page.locator(".freshness-banner").inner_text(),
        page.locator("main tbody tr, main [data-item], main .tile").count(),
        page.locator("main .empty").all_inner_texts(),
    )


def labels(page: Page) -> dict[str, str]:
    """What the grid's cells are called for those who cannot see them, by id."""
    script = "cells => Object.fromEntries(cells.map(c => [c.id, c.getAttribute('aria-label')]))"
    return dict(page.locator("[data-cell]").evaluate_all(script))


def seen_in_dagster(page: Page, drawer: Locator, link: str, awaited: str) -> str:
    """Where a link of the drawer leads in Dagster's own pages, once they show what is awaited."""
    page.goto(str(drawer.get_by_role("link", name=link).get_attribute("href")))
    page.get_by_text(awaited).first.wait_for()
    return page.locator("body").inner_text()


@pytest.fixture(scope="module")
def stayed(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Stayed]:
    """On SQLite."""
    has_browser = shutil.which("chromium") or os.environ.get("CI")
    browser = request.getfixturevalue("chromium") if has_browser else None
    with started(tmp_path_factory.mktemp("sqlite") / "project", "--stay") as demo:
        demo.wait_for(lambda: "Ctrl-C stops everything." in demo.stderr)
        addresses = dict(re.findall(r"^(.+):\s+(http://\S+)$", demo.stderr, re.MULTILINE))
        answering = [is_listening(url) for url in addresses.values()]
        states = json.loads(demo.run("status", "--json"))
        process_count = len(demo.processes())
        engine = sa.create_engine(f"sqlite:///{demo.home / 'pipeline_assets.db'}")
        password = printed(r"with the password (\S+) \(this demo's own\)", demo)
        sessions = [sign_in_with(engine, each) for each in (password, password + "!")]
        remedy = printed(rf"^Fix {EXPIRED}: (cp .+), then Sync now", demo)

        def mend() -> None:
            subprocess.run(shlex.split(remedy), check=True, cwd=demo.folder)

        seen = None
        if browser is not None:
            seen = mend_in_browser(browser, addresses["Pages and API"], password, mend)
        else:
            mend()
            demo.run("sync", EXPIRED, "full_sync", "--wait")
        fixed = json.loads(demo.run("status", "--brand", EXPIRED, "--json"))
        cadences = json.loads(demo.run("cadences", "list", "--json"))
        demo.process.send_signal(signal.SIGINT)
        yield Stayed(
            addresses,
            answering,
            states,
            process_count,
            password,
            sessions,
            cadences,
            fixed,
            seen,
            after(demo, engine),
            [is_listening(url) for url in addresses.values()],
        )
        engine.dispose()


def printed(pattern: str, demo: Demo) -> str:
    found = re.search(pattern, demo.stderr, re.MULTILINE)
    assert found is not None, demo.stderr
    return found[1]


def sign_in_with(engine: sa.Engine, password: str) -> str | None:
    """The actor of the session that the demo's login begins; None: it is refused."""
    try:
        session = sign_in(
            engine,
            email="demo@example.com",
            password=password,
            address="127.0.0.1",
            user_agent="test",
            now=utcnow(),
        )
    except SignInRefused:
        return None
    found = read_session(engine, session.token, now=utcnow())
    assert found is not None
    assert found.principal.roles == {EVERY: Role.ADMIN}
    return found.principal.actor


def test_it_stays_and_prints_addresses_that_answer(stayed: Stayed) -> None:
    assert list(stayed.addresses) == ["Pages and API", "Dagster's web UI", "Simulated Meta API"]
    assert stayed.answering == [True, True, True]
    assert stayed.process_count >= 5, "itself, code server, daemon, webserver, web"
    assert_matrix(stayed.ended.demo.stdout)


def test_its_own_login_signs_in_as_an_admin_of_everything(stayed: Stayed) -> None:
    assert stayed.sessions == ["user:demo@example.com", None]
    file = stayed.ended.demo.home / "demo" / "password"
    assert file.read_text() == stayed.password
    assert file.stat().st_mode & 0o777 == 0o600


def test_the_printed_remedy_turns_every_dataset_of_the_broken_brand_fresh(stayed: Stayed) -> None:
    found = {state["dataset"]: state["state"] for state in stayed.fixed}
    assert {key: found[key] for key in CONFIGURED[EXPIRED]} == dict.fromkeys(
        CONFIGURED[EXPIRED], "fresh"
    )


@pytest.fixture
def seen(stayed: Stayed) -> Seen:
    if stayed.seen is None:
        pytest.skip("Chromium is not installed (Debian: apt-get install chromium)")
    return stayed.seen


def test_the_pages_show_the_truth_of_the_three_brands(seen: Seen) -> None:
    for brand in HEALTHY:
        for key in CONFIGURED[brand]:
            assert ": fresh, synced " in seen.cells[f"cell-{brand}-{key}"]
    for key in CONFIGURED[EXPIRED]:
        assert seen.cells[f"cell-{EXPIRED}-{key}"].endswith(": failing")
    assert "CredentialError" in seen.drawer
    assert "it has expired" in seen.drawer
    assert "What to do: Make a new token" in seen.drawer


def test_every_reader_page_shows_the_fresh_data(seen: Seen) -> None:
    for reader, page in seen.reader_pages.items():
        assert page.banner.startswith(("Data fresh", "1 of 3", "2 of 3")), reader
        assert page.row_count > 0, reader
        assert page.empty == [], reader


def test_the_links_lead_to_the_partition_and_the_run_in_dagsters_own_pages(seen: Seen) -> None:
    assert "meta_ads_performance" in seen.partition_page
    assert EXPIRED in seen.partition_page
    assert "full_sync" in seen.run_page


def test_sync_now_turns_the_mended_brand_fresh_before_ones_eyes(seen: Seen) -> None:
    for key in CONFIGURED[EXPIRED]:
        assert ": fresh, synced " in seen.cells_afterwards[f"cell-{EXPIRED}-{key}"]


def test_an_open_log_grows_with_the_run_and_stays_open(seen: Seen) -> None:
    assert seen.is_log_open
    for kind in ("STEP_START", "ASSET_MATERIALIZATION", "RUN_SUCCESS"):
        assert kind in seen.log


def test_each_brand_is_synced_hourly_from_then_on(stayed: Stayed) -> None:
    assert {row["brand_id"]: row["job"] for row in stayed.cadences} == dict.fromkeys(
        (*HEALTHY, EXPIRED), "full_sync"
    )


def test_the_status_command_says_the_same_in_a_second_terminal(stayed: Stayed) -> None:
    assert_outcome(stayed.states)


def test_ctrl_c_stops_everything_in_good_order(stayed: Stayed) -> None:
    assert stayed.ended.exit_code == 0, stayed.ended.demo.stderr
    assert stayed.ended.demo.stderr.rstrip().endswith("Stopping …")
    assert "Unexpected" not in stayed.ended.demo.stderr
    assert "Traceback" not in stayed.ended.demo.log
    assert_nothing_is_left(stayed.ended)
    assert list(stayed.addresses.values())[1:] == [
        stayed.ended.dagster_url,
        stayed.ended.simulator_url,
    ]
    assert stayed.answering_afterwards == [False, False, False]


def test_no_token_is_in_a_file_or_in_the_output_of_a_demo_that_stayed(stayed: Stayed) -> None:
    assert_no_token_is_written(stayed.ended.demo)


@pytest.fixture(scope="module")
def without_media(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ended]:
    """A demo whose media folder cannot be made, on SQLite."""
    folder = tmp_path_factory.mktemp("broken")
    (folder / "occupied").write_text("a file where the media folder should be")
    media = str(folder / "occupied" / "media")
    kept = folder / "project" / ".dagster" / "demo" / "simulator-port"
    kept.parent.mkdir(parents=True)
    (folder / "port").write_text(str(free_port(0)))
    shutil.copy(folder / "port", kept)
    with started(folder / "project", PIPELINE_MEDIA_URL=media) as demo:
        engine = sa.create_engine(f"sqlite:///{demo.home / 'pipeline_assets.db'}")
        yield after(demo, engine)
        engine.dispose()


def test_the_simulator_is_where_the_last_demo_had_it(without_media: Ended) -> None:
    port = (without_media.demo.folder.parent / "port").read_text()
    assert without_media.simulator_url == f"http://127.0.0.1:{port}"


def test_another_outcome_ends_it_with_1_and_is_named(without_media: Ended) -> None:
    assert without_media.exit_code == 1
    unexpected = re.findall(r"^Unexpected: (.+)$", without_media.demo.stderr, re.MULTILINE)
    assert sorted(unexpected) == [
        f"{brand} {key} is failing, {outcome}."
        for brand in HEALTHY
        for key, outcome in (
            ("ad_assets", "failed"),
            ("ad_creations", "skipped"),  # it rests on the pictures
            ("ad_thumbnails", "failed"),
        )
    ]
    assert_nothing_is_left(without_media)


def test_what_did_not_need_the_folder_is_fresh_and_the_rest_says_what_to_do(
    without_media: Ended,
) -> None:
    status = without_media.rows(dataset_status)
    succeeded = {
        (row["brand_id"], row["dataset"])
        for row in status
        if row["last_attempt_outcome"] == "succeeded"
    }
    without = {"ad_assets", "ad_creations", "ad_thumbnails"}
    assert succeeded == {
        (brand, key) for brand in HEALTHY for key in CONFIGURED[brand] if key not in without
    }
    for row in status:
        if row["brand_id"] in HEALTHY and row["dataset"] == "ad_thumbnails":
            assert "occupied" in row["error_message"]
            assert row["advice"]

"""deploy/ as it is installed: a real nginx with our site before real processes of ours."""

import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest
import requests

from pipeline_assets.cli.processes import Address, Processes
from pipeline_assets.cli.supervisor import HOST, free_port, interrupted_by
from pipeline_assets.clock import utcnow
from pipeline_assets.people.roles import EVERY, Role
from pipeline_assets.people.users import add_user
from pipeline_assets.storage.engine import build_engine

PROJECT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
SITE = PROJECT / "deploy" / "nginx" / "pipeline-assets.conf"
PASSWORD = "a password of the tests"
ROLES = {"admin": {EVERY: Role.ADMIN}, "operator": {EVERY: Role.OPERATOR}}
NOT_ENOUGH = {"viewer": {EVERY: Role.VIEWER}, "tenant": {"default": Role.ADMIN}}
DEEP = "/dagster/assets/meta_ads_performance?view=partitions&partition=acme"

# What nginx needs besides the site's file: one process, as whoever runs the tests.
_MAIN = """
daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 64; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/1; uwsgi_temp_path {folder}/2; scgi_temp_path {folder}/3;
    include {folder}/site.conf;
}}
"""


@pytest.fixture(scope="module")
def nginx() -> str:
    found = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if found is None:
        assert "CI" not in os.environ, "nginx is not installed; .ci/run does that"
        pytest.skip("nginx is not installed")
    return found


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    """What `up` runs with the README's settings, and people to sign in."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("dagster.yaml", "workspace.yaml"):
        shutil.copy(PROJECT / name, folder)
    with pytest.MonkeyPatch.context() as patch:
        for name in [n for n in os.environ if n.startswith(("DAGSTER_", "PIPELINE_"))]:
            patch.delenv(name)
        subprocess.run([BIN / "pipeline-assets", "setup"], check=True, cwd=folder)
        home = folder / ".dagster"
        engine = build_engine(f"sqlite:///{home / 'pipeline_assets.db'}")
        for name, roles in {**ROLES, **NOT_ENOUGH}.items():
            email = f"{name}@agency.example"
            add_user(
                engine,
                email=email,
                name=name,
                password=PASSWORD,
                roles=roles,
                actor="test",
                now=utcnow(),
            )
        engine.dispose()
        made = Processes(
            home=home, folder=folder, dagster_path_prefix="/dagster", web=Address(free_port(0))
        )
        with interrupted_by(signal.SIGINT), made:
            yield made


@dataclass(frozen=True)
class Site:
    """The site that nginx serves."""

    url: str
    plain_url: str
    certificate: Path

    def browser(self, name: str | None = None) -> requests.Session:
        """A browser; signed in, if a person's name is given."""
        browser = requests.Session()
        browser.trust_env = False  # it may name other certificates
        browser.verify = str(self.certificate)
        if name is not None:
            form = {"email": f"{name}@agency.example", "password": PASSWORD}
            answer = browser.post(f"{self.url}/sign-in", form, allow_redirects=False, timeout=30)
            assert answer.status_code == 303, answer.text
        return browser

    def get(self, path: str, name: str | None = None, **headers: str) -> requests.Response:
        return self.browser(name).get(
            self.url + path, allow_redirects=False, timeout=30, headers=headers
        )

    def open_websocket(self, name: str | None = None, **headers: str) -> str:
        """The first line that a handshake with Dagster's live updates is answered with."""
        cookies = self.browser(name).cookies.get_dict()
        lines = {
            "Host": self.url.removeprefix("https://"),
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
            "Sec-WebSocket-Protocol": "graphql-ws",
            "Cookie": "; ".join(f"{key}={value}" for key, value in cookies.items()),
            **headers,
        }
        asked = "".join(f"{key}: {value}\r\n" for key, value in lines.items())
        context = ssl.create_default_context(cafile=str(self.certificate))
        port = int(self.url.rpartition(":")[2])
        with (
            socket.create_connection((HOST, port), timeout=30) as plain,
            context.wrap_socket(plain, server_hostname=HOST) as connection,
        ):
            connection.sendall(f"GET /dagster/graphql HTTP/1.1\r\n{asked}\r\n".encode())
            return connection.recv(4096).decode().partition("\r\n")[0]


def site_text(processes: Processes, certificate: Path, ports: tuple[int, int]) -> str:
    """The site's file with the test's ports, host and certificate, and nothing else changed."""
    text = SITE.read_text()
    assert processes.web_url is not None
    for before, after in (
        ("127.0.0.1:8400", processes.web_url.removeprefix("http://")),
        ("127.0.0.1:3000", f"127.0.0.1:{processes.port}"),
        ("listen 80;", f"listen 127.0.0.1:{ports[0]};"),
        ("listen 443 ", f"listen 127.0.0.1:{ports[1]} "),
        ("/etc/letsencrypt/live/pipeline.example.com/fullchain.pem", str(certificate)),
        (
            "/etc/letsencrypt/live/pipeline.example.com/privkey.pem",
            str(certificate.with_name("key.pem")),
        ),
        ("server_name pipeline.example.com;", "server_name 127.0.0.1;"),
    ):
        assert before in text, before
        text = text.replace(before, after)
    return text


def make_certificate(folder: Path) -> Path:
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    command += ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    command += ["-keyout", "key.pem", "-out", "certificate.pem"]
    subprocess.run(command, check=True, cwd=folder, capture_output=True)
    return folder / "certificate.pem"


@contextmanager
def serving(nginx: str, folder: Path, port: int) -> Iterator[None]:
    command = [nginx, "-e", str(folder / "error.log"), "-c", str(folder / "nginx.conf")]
    process = subprocess.Popen([*command, "-p", str(folder)], stderr=subprocess.PIPE)
    try:
        while True:
            with socket.socket() as probe:
                if probe.connect_ex((HOST, port)) == 0:
                    break
            assert process.poll() is None, (folder / "error.log").read_text()
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.communicate()


@pytest.fixture(scope="module")
def site(
    nginx: str, processes: Processes, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("nginx")
    certificate = make_certificate(folder)
    ports = free_port(0), free_port(0)
    (folder / "site.conf").write_text(site_text(processes, certificate, ports))
    (folder / "nginx.conf").write_text(_MAIN.format(folder=folder))
    with serving(nginx, folder, ports[1]):
        yield Site(f"https://{HOST}:{ports[1]}", f"http://{HOST}:{ports[0]}", certificate)


def test_without_tls_one_is_sent_to_the_same_page_with_it(site: Site) -> None:
    browser, address = site.browser(), f"{site.plain_url}/health?state=stale"
    answer = browser.get(address, allow_redirects=False, timeout=30)
    assert (answer.status_code, answer.headers["Location"]) == (
        301,
        f"https://{HOST}/health?state=stale",
    )


def test_our_pages_are_at_the_root_and_know_that_they_are_served_with_tls(site: Site) -> None:
    assert site.get("/healthz").text == "ok"
    first = site.get("/")
    assert first.status_code == 303
    assert first.headers["Location"].startswith((f"{site.url}/sign-in", "/sign-in"))
    signed_in = site.browser("viewer")
    (cookie,) = signed_in.cookies
    assert cookie.secure
    page = site.get("/sign-in")
    assert page.status_code == 200
    assert page.headers["Strict-Transport-Security"] == "max-age=31536000; includeSubDomains"
    assert "Content-Security-Policy" in page.headers


def test_whoever_is_not_signed_in_is_sent_to_sign_in_and_back_to_what_was_asked_for(
    site: Site,
) -> None:
    answer = site.get(DEEP)
    assert answer.status_code == 303
    assert answer.headers["Location"] == (
        "/sign-in?next=%2Fdagster%2Fassets%2Fmeta_ads_performance%3Fview%3Dpartitions"
        "%26partition%3Dacme"
    )
    query = site.browser().post(
        f"{site.url}/dagster/graphql", json={"query": "{ version }"}, timeout=30
    )
    assert dg.__version__ not in query.text
    assert "Sign in" in query.text


@pytest.mark.parametrize("name", NOT_ENOUGH)
def test_who_may_not_see_all_brands_gets_our_page_that_says_so(site: Site, name: str) -> None:
    for path in ("/dagster/", DEEP, "/dagster/graphql?query={version}", "/dagster/server_info"):
        answer = site.get(path, name)
        assert answer.status_code == 403, path
        assert "the brands of all organizations" in answer.text
        assert dg.__version__ not in answer.text
    answer = site.browser(name).post(
        f"{site.url}/dagster/graphql", json={"query": "{ version }"}, timeout=30
    )
    assert answer.status_code == 403
    assert site.open_websocket(name).split()[1] == "403"


@pytest.mark.parametrize("name", ROLES)
def test_an_operator_and_an_admin_of_everything_use_dagsters_pages(site: Site, name: str) -> None:
    page = site.get("/dagster/", name)
    assert page.status_code == 200
    assert '"assetPrefix":"/dagster"' in page.text
    script = re.search(r'src="(/dagster/[^"]+\.js)"', page.text)
    assert script is not None
    assert (
        site.get(script[1], name)
        .headers["Content-Type"]
        .startswith(("text/javascript", "application/javascript"))
    )
    assert site.get(DEEP, name).status_code == 200
    assert site.get("/dagster", name).headers["Location"].endswith("/dagster/")
    answer = site.browser(name).post(
        f"{site.url}/dagster/graphql", json={"query": "{ version }"}, timeout=30
    )
    assert answer.json()["data"] == {"version": dg.__version__}
    for header in ("Strict-Transport-Security", "X-Frame-Options", "Referrer-Policy"):
        assert header in answer.headers
    assert site.open_websocket(name) == "HTTP/1.1 101 Switching Protocols"


def test_live_updates_are_for_who_is_signed_in(site: Site) -> None:
    assert site.open_websocket().split()[1] == "303"


@pytest.mark.parametrize("origin", ["cross-site", "same-site"])
def test_what_another_sites_page_sends_is_refused_but_a_link_from_there_is_not(
    site: Site, origin: str
) -> None:
    theirs = {"Sec-Fetch-Site": origin}
    link = site.get("/dagster/", "admin", **theirs, **{"Sec-Fetch-Mode": "navigate"})
    assert link.status_code == 200
    for mode, method in (("cors", "GET"), ("no-cors", "POST"), ("navigate", "POST")):
        headers = {**theirs, "Sec-Fetch-Mode": mode}
        answer = site.browser("admin").request(
            method, f"{site.url}/dagster/graphql", headers=headers, timeout=30
        )
        assert answer.status_code == 400, (mode, method)
    handshake = site.open_websocket("admin", **theirs, **{"Sec-Fetch-Mode": "websocket"})
    assert handshake.split()[1] == "400"


def test_nobody_gets_at_the_sub_request_and_a_body_has_a_limit(site: Site) -> None:
    assert site.get("/.pipeline-assets/dagster", "admin").status_code == 404
    body = b"x" * 1_100_000
    answer = site.browser("admin").post(f"{site.url}/dagster/graphql", data=body, timeout=30)
    assert answer.status_code == 413


def test_the_services_commands_are_there() -> None:
    unit = (PROJECT / "deploy" / "systemd" / "pipeline-assets.service").read_text()
    commands = re.findall(r"^Exec\w+=\S+/\.venv/bin/pipeline-assets (\S+)$", unit, re.MULTILINE)
    assert commands == ["setup", "up"]
    for command in commands:
        subprocess.run(
            [BIN / "pipeline-assets", command, "--help"], check=True, capture_output=True
        )

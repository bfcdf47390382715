"""The client for other programs, against a real HTTP server; and the Streamlit example on it."""

import json
import runpy
import socket
import struct
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from pipeline_assets.client import BannerLine, PageReadiness, ReadinessClient, ReadinessError

TOKEN = "pa_tokenOfTheClientTests"
EXAMPLE = Path(__file__).parents[2] / "examples" / "streamlit_page.py"
READY = {
    "page": "ad_performance",
    "brand": "acme",
    "answer": "ready",
    "checked_at": "2026-11-21T12:00:00Z",
    "datasets": [
        {
            "dataset": "meta_ads_performance",
            "title": "Ad performance",
            "state": "fresh",
            "last_success_at": "2026-11-21T11:55:00+00:00",
            "error_class": None,
            "error_message": None,
            "is_refreshing": False,
            "action": "",
            "something_new": 1,
        }
    ],
    "lines": [{"kind": "ok", "text": "Data fresh: Ad performance synced 5 min ago"}],
}
OK = (BannerLine(kind="ok", text="Data fresh: Ad performance synced 5 min ago"),)


class Server:
    """Answers with `row` and `status`, and notes what it was asked."""

    def __init__(self) -> None:
        self.row: Any = READY
        self.status = 200
        self.etag = '"one"'
        self.resets = 0
        self.silence = threading.Event()
        self.silence.set()
        self.seen: list[tuple[str, dict[str, str]]] = []
        ours = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                ours.answer(self)

            def log_message(self, *_: Any) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,))
        self._thread.start()

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        self.seen.append((handler.path, dict(handler.headers)))
        self.silence.wait(10)
        if self.resets:
            self.resets -= 1
            linger = struct.pack("ii", 1, 0)  # closing sends a reset
            handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            handler.close_connection = True
            handler.connection.close()
            return
        is_same = self.status == 200 and handler.headers.get("If-None-Match") == self.etag
        body = b"" if is_same else json.dumps(self.row).encode()
        handler.send_response(304 if is_same else self.status)
        handler.send_header("ETag", self.etag)
        handler.send_header("Content-Length", str(len(body)))
        if self.status == 302:
            handler.send_header("Location", "/sign-in")
        handler.end_headers()
        handler.wfile.write(body)

    def close(self) -> None:
        self.silence.set()
        self.resets = sys.maxsize  # for connections that are kept open
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


@pytest.fixture
def client(server: Server) -> Iterator[ReadinessClient]:
    with ReadinessClient(server.url + "/", TOKEN) as client:
        yield client


def test_an_answer_is_read_whole_and_the_token_is_sent(
    server: Server, client: ReadinessClient
) -> None:
    readiness = client.readiness("acme", "ad_performance")
    assert (readiness.page, readiness.brand, readiness.answer) == (
        "ad_performance",
        "acme",
        "ready",
    )
    assert readiness.is_usable
    assert readiness.checked_at == datetime(2026, 11, 21, 12, tzinfo=UTC)
    (dataset,) = readiness.datasets
    assert (dataset.dataset, dataset.state) == ("meta_ads_performance", "fresh")
    assert dataset.last_success_at == datetime(2026, 11, 21, 11, 55, tzinfo=UTC)
    assert readiness.lines == OK
    ((path, headers),) = server.seen
    assert path == "/api/v1/brands/acme/readiness/ad_performance"
    assert headers["Authorization"] == f"Bearer {TOKEN}"
    assert "If-None-Match" not in headers


def test_an_answer_that_has_not_changed_is_the_one_it_has(
    server: Server, client: ReadinessClient
) -> None:
    first = client.readiness("acme", "ad_performance")
    second = client.readiness("acme", "ad_performance")
    assert server.seen[1][1]["If-None-Match"] == '"one"'
    assert second.checked_at is not None
    assert abs(datetime.now(UTC) - second.checked_at) < timedelta(minutes=1)
    assert replace(second, checked_at=first.checked_at) == first
    server.etag, server.row = '"two"', READY | {"answer": "withhold"}
    assert not client.readiness("acme", "ad_performance").is_usable
    client.readiness("globex", "ad_performance")
    assert "If-None-Match" not in server.seen[-1][1], "another brand's tag says nothing of it"


def test_a_page_across_brands_is_asked_without_a_brand(
    server: Server, client: ReadinessClient
) -> None:
    server.row = {name: READY[name] for name in ("page", "answer", "checked_at", "lines")}
    server.row |= {"brand": None, "counts": {}, "brands": []}
    readiness = client.readiness(None, "template_queue")
    assert (readiness.brand, readiness.datasets) == (None, ())
    assert server.seen[0][0] == "/api/v1/readiness/template_queue"


def test_names_cannot_leave_their_place_in_the_address(
    server: Server, client: ReadinessClient
) -> None:
    client.readiness("../x?y", "a/b")
    assert server.seen[0][0] == "/api/v1/brands/..%2Fx%3Fy/readiness/a%2Fb"


def test_a_connection_that_was_reset_is_tried_once_more(
    server: Server, client: ReadinessClient
) -> None:
    server.resets = 1
    assert client.banner("acme", "ad_performance") == OK
    server.resets = 2
    assert client.readiness("acme", "ad_performance").answer == "unknown"
    assert len(server.seen) == 4


def test_a_server_that_is_away_gives_an_unknown_answer_with_what_was_known(
    server: Server, client: ReadinessClient
) -> None:
    known = client.readiness("acme", "ad_performance")
    url = server.url
    server.close()
    before = datetime.now(UTC)
    away = [client.readiness("acme", "ad_performance") for _ in range(2)]
    assert {each.answer for each in away} == {"unknown"}
    assert not away[0].is_usable
    assert (away[0].datasets, away[0].checked_at) == (known.datasets, known.checked_at)
    since = away[0].unknown_since
    assert since is not None
    assert since >= before
    assert away[1].unknown_since == since, "since the first time"
    (line,) = away[1].lines
    assert line.kind == "warning"
    assert line.text == (
        f"Freshness unknown since {since:%Y-%m-%d %H:%M} UTC: {url} cannot be reached."
        " At 2026-11-21 12:00 UTC the answer was ready."
    )
    never_known = client.readiness("globex", "ad_performance")
    assert (never_known.datasets, never_known.checked_at) == ((), None)
    assert never_known.lines[0].text.endswith(f"{url} cannot be reached.")


def test_a_server_that_comes_back_is_believed_at_once(
    server: Server, client: ReadinessClient
) -> None:
    server.status, server.row = 503, {"error": {"message": "No database.", "advice": "Wait."}}
    down = client.readiness("acme", "ad_performance")
    assert (down.answer, down.lines[0].text[-20:]) == ("unknown", ": No database. Wait.")
    server.status, server.row = 200, READY
    assert client.readiness("acme", "ad_performance").unknown_since is None


@pytest.mark.parametrize(
    ("status", "row", "said"),
    [
        (401, {"error": {"message": "Not signed in.", "advice": ""}}, "Not signed in."),
        (404, {"error": {"message": "There is no brand 'x'.", "advice": None}}, "no brand 'x'."),
        (302, {}, "The server answered 302."),
        (500, [], "The server answered 500."),
        (200, {"page": "x"}, "does not answer like a pipeline."),
        (200, [1], "does not answer like a pipeline."),
        (200, READY | {"checked_at": "noon"}, "does not answer like a pipeline."),
        (200, READY | {"lines": None}, "does not answer like a pipeline."),
    ],
)
def test_whatever_is_no_answer_is_unknown_and_raises_only_when_asked_to(
    server: Server, client: ReadinessClient, status: int, row: Any, said: str
) -> None:
    server.status, server.row = status, row
    readiness = client.readiness("x", "ad_performance")
    assert readiness.answer == "unknown"
    assert readiness.lines[0].text.endswith(said)
    with (
        ReadinessClient(server.url, TOKEN, raises=True) as strict,
        pytest.raises(ReadinessError) as caught,
    ):
        strict.readiness("x", "ad_performance")
    assert str(caught.value).endswith(said)


def test_a_server_that_is_too_slow_is_not_waited_for_and_not_asked_twice(server: Server) -> None:
    server.silence.clear()
    with ReadinessClient(server.url, TOKEN, timeout=0.05) as client:
        text = client.banner("acme", "ad_performance")[0].text
    assert text.endswith(f"{server.url} did not answer within 0.05 s.")
    assert len(server.seen) == 1


def test_an_address_that_is_none_is_unknown() -> None:
    with ReadinessClient("nowhere", TOKEN) as client:
        assert client.readiness("acme", "ad_performance").answer == "unknown"


def test_the_token_is_in_no_text_of_the_client(client: ReadinessClient) -> None:
    assert TOKEN not in repr(client) + repr(client.readiness("acme", "ad_performance"))


# The Streamlit example


class _StoppedError(Exception):
    """What Streamlit's stop does: the page ends here."""


class _Streamlit(ModuleType):
    """As much of the module as the example uses; notes what is shown."""

    def __init__(self) -> None:
        super().__init__("streamlit")
        self.shown: list[tuple[str, str]] = []
        for name in ("title", "success", "info", "warning", "error", "write"):
            setattr(self, name, lambda text, name=name: self.shown.append((name, text)))
        self.cache_resource = lambda function: function
        self.selectbox = lambda _, options: options[0]

    def stop(self) -> None:
        raise _StoppedError


@pytest.fixture
def streamlit(server: Server, monkeypatch: pytest.MonkeyPatch) -> _Streamlit:
    module = _Streamlit()
    monkeypatch.setitem(sys.modules, "streamlit", module)
    monkeypatch.setenv("PIPELINE_URL", server.url)
    monkeypatch.setenv("PIPELINE_TOKEN", TOKEN)
    return module


def test_the_streamlit_page_shows_figures_below_a_green_line(streamlit: _Streamlit) -> None:
    runpy.run_path(str(EXAMPLE))
    assert streamlit.shown == [
        ("title", "Ad performance"),
        ("success", r"Data fresh\: Ad performance synced 5 min ago"),
        ("write", "Here come the figures of acme."),
    ]


def test_the_streamlit_page_withholds_figures_and_shows_why_as_plain_text(
    server: Server, streamlit: _Streamlit
) -> None:
    line = {"kind": "error", "text": "Not shown: failed: **x** [a](http://b) <b>."}
    server.row = READY | {"answer": "withhold", "lines": [line]}
    with pytest.raises(_StoppedError):
        runpy.run_path(str(EXAMPLE))
    assert streamlit.shown[1:] == [
        ("error", r"Not shown\: failed\: \*\*x\*\* \[a\]\(http\://b\) \<b\>\.")
    ]


def test_the_streamlit_page_withholds_figures_when_nobody_can_tell(
    server: Server, streamlit: _Streamlit
) -> None:
    server.status = 500
    with pytest.raises(_StoppedError):
        runpy.run_path(str(EXAMPLE))
    assert [kind for kind, _ in streamlit.shown] == ["title", "warning"]


def test_the_client_needs_nothing_else_of_the_package() -> None:
    source = (Path(__file__).parents[2] / "pipeline_assets" / "client.py").read_text()
    assert "import pipeline_assets" not in source
    assert "from pipeline_assets" not in source
    assert PageReadiness.__module__ == "pipeline_assets.client"

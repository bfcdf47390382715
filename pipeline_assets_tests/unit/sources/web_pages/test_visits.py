"""Visiting pages: politeness, redirects, states; the bytes of every answer are the test's own."""

import gzip
import os
import threading
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from pipeline_assets.sources.public_http import PublicHttp
from pipeline_assets.sources.web_pages import PageState, requesting, visit_pages
from pipeline_assets.sources.web_pages.requesting import MAX_PAGE_BYTES
from pipeline_assets.sources.web_pages.robots import MAX_ROBOTS_BYTES

HTML = "text/html; charset=utf-8"
WORDS = "Soap that is made by hand from olive oil and nothing else, since 1920, in one small town."
PAGE = f"<html lang=en><title>Soap</title><h1>Olive soap</h1><p>{WORDS}</p></html>".encode()
SCRIPT = b"<script src=/app.js></script>"


def redirect_to(url: str, status: int = 302) -> bytes:
    return f"HTTP/1.1 {status} X\r\nLocation: {url}\r\nContent-Length: 0\r\n\r\n".encode()


def answer(body: bytes = b"", status: int = 200, **headers: str) -> bytes:
    fields = {"Content-Type": HTML, "Content-Length": str(len(body))}
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {status} X\r\n{head}\r\n".encode() + body


def asked_for(server) -> list[str]:
    return [path for path in server.paths if path != "/robots.txt"]


def about(*seconds: float):
    """The naps that were wanted, less what a busy machine took of them already."""
    return pytest.approx(list(seconds), abs=0.9)


# ---- robots.txt ----

KEEP_OUT = b"User-agent: *\nDisallow: /"


@pytest.mark.parametrize(
    ("robots", "state"),
    [
        (answer(b"", 404), "ok"),
        (answer(b"", 403), "ok"),
        (answer(b"", 401), "ok"),
        (answer(b"", 200), "ok"),
        (answer(b"<html>Not found, with 200</html>"), "ok"),
        (answer(b"\xff\xfe\x00 no text"), "ok"),
        (answer(b"", 302), "ok"),
        (answer(KEEP_OUT), "disallowed"),
        (answer(b"\xef\xbb\xbf" + KEEP_OUT), "disallowed"),
        (answer(b"user-agent: Pipeline-Assets\r\ndisallow: /page\r\n"), "disallowed"),
        (answer(b"User-agent: *\nDisallow: /\nAllow: /page"), "ok"),
        (answer(b"User-agent: *\nDisallow: /*ge$"), "disallowed"),
        (answer(b"User-agent: Googlebot\nDisallow: /"), "ok"),
        (answer(KEEP_OUT + b"\nUser-agent: pipeline-assets\nAllow: /"), "ok"),
        (answer(b"#" * MAX_ROBOTS_BYTES + b"\n" + KEEP_OUT), "ok"),
        (answer(b"", 500), "disallowed"),
        (answer(b"", 503), "disallowed"),
        (answer(b"", 429), "disallowed"),
        (lambda _: None, "failed"),
        (b"no HTTP at all\r\n\r\n", "failed"),
        (redirect_to("http://169.254.169.254/robots.txt"), "ok"),
        (redirect_to("/robots.txt"), "ok"),
    ],
)
def test_robots_txt_is_obeyed_as_rfc_9309_says(scripted_server, visit, robots, state):
    scripted_server.script("/robots.txt", robots)
    scripted_server.script("/page", answer(PAGE))
    found = visit("/page")["/page"]
    assert found.state == state
    assert (found.reason is None) == (state == "ok")
    assert asked_for(scripted_server) == (["/page"] if state == "ok" else [])


def test_robots_txt_is_asked_for_once_for_all_pages_of_a_host(scripted_server, visit):
    paths = [f"/{n}" for n in range(5)]
    for path in paths:
        scripted_server.script(path, answer(PAGE))
    assert {each.state for each in visit(*paths).values()} == {PageState.OK}
    assert scripted_server.paths == ["/robots.txt", *paths]


def test_a_redirect_leads_only_where_that_hosts_robots_txt_allows(scripted_server, visit):
    target = f"http://other.test:{scripted_server.port}/secret"
    scripted_server.script("/robots.txt", answer(b"User-agent: *\nDisallow: /secret"))
    scripted_server.script("/page", redirect_to(target))
    scripted_server.script("/secret", answer(PAGE))
    found = visit("/page", hosts=("other.test",))["/page"]
    assert found.state is PageState.DISALLOWED
    assert found.redirect_count == 1
    assert "robots.txt of other.test" in found.reason
    assert scripted_server.paths == ["/robots.txt", "/page", "/robots.txt"]


@pytest.mark.parametrize(
    ("wanted", "kept"), [("2", 2.0), ("1.5", 1.5), ("600", 5.0), ("-1", 0), ("soon", 0)]
)
def test_a_crawl_delay_is_kept_between_requests_and_is_at_most_five_seconds(
    scripted_server, visit, naps, wanted, kept
):
    robots = f"User-agent: *\nCrawl-delay: {wanted}".encode()
    scripted_server.script("/robots.txt", answer(robots))
    for path in "/a", "/b", "/c":
        scripted_server.script(path, answer(PAGE))
    visit("/a", "/b", "/c")
    assert naps.seconds == about(*([kept] * 2 if kept else []))


# ---- pauses and tries ----


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_host_is_asked_again_after_the_pause_that_it_wants(
    scripted_server, visit, naps, status
):
    scripted_server.script("/page", answer(b"", status, Retry_After="3"), answer(PAGE))
    assert visit("/page")["/page"].state is PageState.OK
    assert naps.seconds == about(3)
    assert asked_for(scripted_server) == ["/page", "/page"]


def test_a_host_that_is_busy_twice_rests_before_its_next_page(scripted_server, visit, naps):
    busy = answer(b"", 503, Retry_After="4")
    scripted_server.script("/a", busy)
    scripted_server.script("/b", answer(PAGE))
    found = visit("/a", "/b")
    assert (found["/a"].state, found["/b"].state) == (PageState.FAILED, PageState.OK)
    assert "503" in found["/a"].reason
    assert naps.seconds == about(4, 4)


NEXT_HOUR = format_datetime(datetime.now(UTC) + timedelta(hours=1))


@pytest.mark.parametrize(
    "wanted", ["11", "3600", "9" * 400, NEXT_HOUR], ids=["short", "long", "absurd", "date"]
)
def test_a_host_that_wants_a_long_pause_is_left_alone_for_the_run(
    scripted_server, visit, naps, wanted
):
    scripted_server.script("/a", answer(b"", 429, Retry_After=wanted))
    scripted_server.script("/b", answer(PAGE))
    found = visit("/a", "/b")
    assert {each.state for each in found.values()} == {PageState.FAILED}
    assert found["/a"].status_code == 429
    assert "The host answered 429 and wants" in found["/b"].reason
    assert asked_for(scripted_server) == ["/a"]
    assert naps.seconds == []


@pytest.mark.parametrize("wanted", ["", "soon", "Mon, 99 Foo", "-5"])
def test_a_pause_that_cannot_be_read_is_a_second(scripted_server, visit, naps, wanted):
    scripted_server.script("/page", answer(b"", 503, Retry_After=wanted), answer(PAGE))
    assert visit("/page")["/page"].state is PageState.OK
    assert naps.seconds == about(1)


def test_an_answer_that_breaks_off_is_asked_for_once_more(scripted_server, visit, naps):
    def break_off(connection) -> None:
        connection.sendall(answer(PAGE)[:-9])

    scripted_server.script("/page", break_off, answer(PAGE))
    assert visit("/page")["/page"].state is PageState.OK
    assert naps.seconds == about(1)


def test_a_host_that_stays_silent_is_left_alone(scripted_server, visit):
    paths = [f"/{n}" for n in range(6)]
    for path in paths:
        scripted_server.script(path, b"no HTTP\r\n\r\n")
    found = visit(*paths)
    assert {each.state for each in found.values()} == {PageState.FAILED}
    assert all(each.is_silence for each in found.values())
    assert "no answer 3 times in a row" in found["/5"].reason
    assert len(asked_for(scripted_server)) == 3


# ---- addresses ----


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:22/",
        "http://127.1:22/",
        "http://2130706433:22/",
        "http://0x7f.1:22/",
        "http://017700000001:22/",
        "http://localhost:22/",
        "http://[::1]:22/",
        "http://[::ffff:127.0.0.1]:22/",
        "http://[::ffff:a9fe:a9fe]/",
        "http://[64:ff9b::7f00:1]/",
        "http://10.0.0.1/",
        "http://172.16.0.1/",
        "http://192.168.0.1/",
        "http://100.64.0.1/",
        "http://169.254.169.254/latest/meta-data/",
        "http://[fd00:ec2::254]/",
        "http://[fe80::1]/",
        "http://0.0.0.0/",
        "http://user:secret@shop.example/",
    ],
)
def test_no_page_at_an_address_that_is_not_public_is_asked_for(scripted_server, visit, url):
    scripted_server.script("/page", redirect_to(url))
    with PublicHttp() as http:
        (direct,) = visit_pages(http, [url])
    redirected = visit("/page")["/page"]
    for found in (direct, redirected):
        assert found.state is PageState.REFUSED
        assert found.status_code is None
        assert "secret" not in found.reason
    assert (direct.redirect_count, redirected.redirect_count) == (0, 1)


def test_a_name_that_leads_elsewhere_for_the_second_request_is_refused(scripted_server):
    """DNS rebinding: robots.txt comes from an allowed address, the page would come from another."""
    looks = iter(["127.0.0.1", "169.254.169.254"])
    scripted_server.script("/robots.txt", answer(b"", 404, Connection="close"))
    scripted_server.script("/page", answer(PAGE))
    host = f"rebound.test:{scripted_server.port}"
    with PublicHttp(resolve=lambda _: [next(looks)], allow_private_hosts={host}) as http:
        (found,) = visit_pages(http, [f"http://{host}/page"])
    assert found.state is PageState.REFUSED
    assert "169.254.169.254" in found.reason
    assert scripted_server.paths == ["/robots.txt"]


# ---- states ----


@pytest.mark.parametrize(
    ("given", "state", "reason"),
    [
        (answer(PAGE), "ok", None),
        (answer(PAGE, 203), "ok", None),
        (answer(PAGE, Content_Type="application/xhtml+xml"), "ok", None),
        (answer(PAGE, Content_Type="text/html; charset=hex"), "ok", None),
        (answer(PAGE + SCRIPT + b"<p>Cooking oil becomes soap.</p>" * 9), "ok", None),
        (answer(b"<h1>Coming soon</h1>"), "ok", None),
        (answer(b"<div id=root></div>" + SCRIPT), "needs_js", "0 words"),
        (answer(b"<p>Loading your shop</p>" + SCRIPT), "needs_js", "3 words"),
        (answer(b'<meta http-equiv=Refresh content="0;url=/x"><p>Wait'), "needs_js", "1 words"),
        (answer(b"", 401), "blocked", "401"),
        (answer(PAGE, 403), "blocked", "403"),
        (answer(PAGE, 403, cf_mitigated="challenge"), "blocked", "Cloudflare"),
        (answer(b"<p>captcha" + b"captcha-delivery.com", 403), "blocked", "DataDome"),
        (answer(b"", 429, x_datadome="protected", Retry_After="0"), "blocked", "DataDome"),
        (answer(b"<p>Checking your browser", 503, Retry_After="0"), "blocked", "proof of a person"),
        (answer(b"<p>Verify you are human" + SCRIPT), "blocked", "proof of a person"),
        (answer(PAGE * 9 + b"/cdn-cgi/challenge-platform/" + SCRIPT), "ok", None),
        (answer(b"", 404), "not_found", "404"),
        (answer(PAGE, 410), "not_found", "410"),
        (answer(b"%PDF", Content_Type="application/pdf"), "not_html", "application/pdf"),
        (answer(b"%PDF", Content_Type="application/pdf", Content_Encoding="br"), "not_html", "pdf"),
        (answer(b"{}", Content_Type="application/json; charset=utf-8"), "not_html", "json"),
        (answer(b"plain", Content_Type="text/plain"), "not_html", "text/plain"),
        (answer(gzip.compress(PAGE), Content_Encoding="gzip"), "ok", None),
        (answer(PAGE, Content_Encoding="UTF-8"), "ok", None),
        (answer(os.urandom(2_000), Content_Encoding="br"), "failed", "not asked for: br"),
        (answer(os.urandom(2_000), Content_Encoding="gzip, ZSTD"), "failed", "not asked for: zstd"),
        (answer(os.urandom(2_000), 403, Content_Encoding="br"), "blocked", "403"),
        (answer(b""), "failed", "empty"),
        (answer(b"   \n "), "failed", "empty"),
        (answer(b"\0\0"), "failed", "empty"),
        (answer(b"", 400), "failed", "400"),
        (answer(b"", 429, Retry_After="0"), "failed", "429"),
        (answer(b"", 500), "failed", "500"),
        (answer(b"", 503, Retry_After="0"), "failed", "503"),
        (answer(b"", 302), "failed", "302"),
        (redirect_to("/page"), "failed", "redirects more than 5 times"),
        (redirect_to("intent://shop#Intent;end"), "refused", "neither http nor https"),
        (answer(b"x" * 9, Content_Length=str(MAX_PAGE_BYTES + 1)), "failed", "larger than"),
    ],
)  # fmt: skip
def test_a_page_is_found_in_one_state_with_its_reason(scripted_server, visit, given, state, reason):
    scripted_server.script("/page", given)
    found = visit("/page")["/page"]
    assert found.state == state, found.reason
    assert (found.content is not None) == (state == "ok")
    if reason is None:
        assert found.reason is None
    else:
        assert reason in found.reason


def test_redirects_are_counted_and_the_final_address_is_told(scripted_server, visit):
    scripted_server.script("/old", redirect_to("/older", 301))
    scripted_server.script("/older", redirect_to("/new", 308))
    scripted_server.script("/new", answer(PAGE))
    found = visit("/old")["/old"]
    assert (found.state, found.redirect_count) == (PageState.OK, 2)
    assert found.final_url == scripted_server.url("/new")
    assert found.status_code == 200


# ---- many hosts ----


class Crowd:
    """Pages that take a moment, and how many were asked for at once: of each host, and in all."""

    def __init__(self) -> None:
        self.most: Counter[str] = Counter()
        self._now: Counter[str] = Counter()
        self._lock = threading.Lock()

    def page(self, host: str):
        def write(connection) -> None:
            for name in (host, "all"):
                self._count(name, 1)
            time.sleep(0.05)
            for name in (host, "all"):
                self._count(name, -1)
            connection.sendall(answer(PAGE, Connection="close"))

        return write

    def _count(self, name: str, step: int) -> None:
        with self._lock:
            self._now[name] += step
            self.most[name] = max(self.most[name], self._now[name])


def test_hosts_are_visited_together_and_each_host_one_page_after_the_other(scripted_server, visit):
    crowd = Crowd()
    hosts = tuple(f"shop{n}.test" for n in range(6))
    urls = []
    for host in hosts:
        for n in range(3):
            scripted_server.script(f"/{host}/{n}", crowd.page(host))
            urls.append(f"http://{host}:{scripted_server.port}/{host}/{n}")
    found = visit(*urls, hosts=hosts)
    assert {each.state for each in found.values()} == {PageState.OK}
    assert all(each.seconds >= 0.05 for each in found.values())
    assert {crowd.most[host] for host in hosts} == {1}
    assert crowd.most["all"] > 1


def test_redirects_to_one_host_wait_for_their_turn_there(scripted_server, visit):
    crowd = Crowd()
    hosts = tuple(f"link{n}.test" for n in range(6))
    target = f"http://shop.test:{scripted_server.port}/page"
    scripted_server.script("/page", crowd.page("shop.test"))
    scripted_server.script("/go", redirect_to(target))
    urls = [f"http://{host}:{scripted_server.port}/go" for host in hosts]
    found = visit(*urls, hosts=(*hosts, "shop.test"))
    assert {each.state for each in found.values()} == {PageState.OK}
    assert crowd.most["shop.test"] == 1


def test_to_wait_for_a_turn_after_a_redirect_is_no_silence_of_the_host(
    scripted_server, visit, monkeypatch
):
    monkeypatch.setattr(requesting, "TOTAL_SECONDS", 1.6)  # less than all turns together
    target = f"http://shop.test:{scripted_server.port}/page"

    def write_late(connection) -> None:
        time.sleep(0.25)
        connection.sendall(answer(PAGE, Connection="close"))

    scripted_server.script("/page", write_late)
    scripted_server.script("/go", redirect_to(target))
    hosts = tuple(f"link{n}.test" for n in range(8))
    urls = [f"http://{host}:{scripted_server.port}/go" for host in hosts]
    found = visit(*urls, hosts=(*hosts, "shop.test"))
    assert {(each.state, each.reason) for each in found.values()} == {(PageState.OK, None)}
    assert asked_for(scripted_server).count("/page") == len(hosts)


def test_the_same_address_is_visited_once(scripted_server):
    url = scripted_server.script("/page", answer(PAGE))
    with PublicHttp(allow_private_hosts={scripted_server.host_and_port}) as http:
        assert len(list(visit_pages(http, [url, url]))) == 1
        assert list(visit_pages(http, [])) == []


def test_whoever_stops_listening_ends_the_visits(scripted_server, naps):
    urls = [scripted_server.script(f"/{n}", answer(PAGE)) for n in range(50)]
    with PublicHttp(allow_private_hosts={scripted_server.host_and_port}) as http:
        visits = visit_pages(http, urls, sleep=naps)
        next(visits)
        visits.close()
        count = len(scripted_server.paths)
        assert count < 50
    assert len(scripted_server.paths) == count

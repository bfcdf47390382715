import gzip
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pipeline_assets.errors import InvalidConfigError, PermanentError, SourceUnavailableError
from pipeline_assets.sources.public_addresses import AddressRefusedError, system_addresses
from pipeline_assets.sources.public_http import (
    BodyTooLargeError,
    PublicHttp,
    TooManyRedirectsError,
    shown_url,
)

# Public by its number, in a block that IANA has given to nobody: nothing ever answers there.
UNROUTED_PUBLIC_ADDRESS = "2d00::1"


def read(http: PublicHttp, url: str, *, total_seconds: float = 5, max_bytes: int = 10**6) -> bytes:
    with http.open(url, total_seconds=total_seconds) as response:
        return b"".join(response.chunks(max_bytes=max_bytes))


@pytest.fixture
def http(scripted_server):
    with PublicHttp(allow_private_hosts={scripted_server.host_and_port}) as http:
        yield http


# ---- addresses ----


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.0.0.2",
        "127.1",
        "2130706433",
        "017700000001",
        "0177.0.0.1",
        "0x7f000001",
        "0x7f.1",
        "127.0.0.1.",
        "localhost",
        "LOCALHOST",
        "localhost.",
        "①②⑦.⓪.⓪.①",
        "127。0。0。1",
        "0.0.0.0",  # noqa: S104 - an address to refuse
        "0",
        "[::1]",
        "[::]",
        "[0:0:0:0:0:0:0:1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[64:ff9b:1::7f00:1]",
        "[2002:7f00:1::]",
        "[2001:0:7f00:1::1]",
        "[fe80::1]",
        "[fc00::1]",
        "[fd00:ec2::254]",
        "[fec0::1]",
        "[ff02::1]",
        "[::ffff:8.8.8.8]",
        "10.0.0.1",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.0.1",
        "100.64.0.1",
        "100.127.255.255",
        "100.100.100.200",
        "169.254.169.254",
        "169.254.170.2",
        "168.63.129.16",
        "192.0.0.192",
        "198.18.0.1",
        "203.0.113.7",
        "224.0.0.1",
        "239.255.255.250",
        "240.0.0.1",
        "255.255.255.255",
        "public.test@127.0.0.1",
        "public.test:80@127.0.0.1",
        "127.0.0.1\\@public.test",
        "public.test\\@127.0.0.1",
        "leads-to-loopback.test",
    ],
)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_no_spelling_of_an_address_that_is_not_public_gets_through(scripted_server, host, scheme):
    def resolve(name: str) -> list[str]:
        return ["127.0.0.1"] if ".test" in name else system_addresses(name.rstrip("."))

    with PublicHttp(resolve=resolve) as http, pytest.raises(AddressRefusedError):
        read(http, f"{scheme}://{host}:{scripted_server.port}/")
    assert scripted_server.connection_count == 0


@given(address=st.ip_addresses())
@settings(max_examples=300, deadline=None)
def test_every_address_that_the_standard_library_does_not_call_global_is_refused(address):
    assume(not address.is_global or address.is_multicast or address.is_reserved)
    with (
        PublicHttp(resolve=lambda _: [str(address)]) as http,
        pytest.raises(AddressRefusedError, match="only public addresses"),
    ):
        read(http, "http://somewhere.test/")


def test_a_public_address_is_not_refused_and_merely_fails_to_answer():
    with (
        PublicHttp(
            resolve=lambda _: [UNROUTED_PUBLIC_ADDRESS], connect_timeout_seconds=0.1
        ) as http,
        pytest.raises(SourceUnavailableError, match=r"http://shop\.test/ gave no answer"),
    ):
        read(http, "http://shop.test/?secret=1")


def test_one_private_address_among_public_ones_refuses_the_host():
    with (
        PublicHttp(resolve=lambda _: [UNROUTED_PUBLIC_ADDRESS, "10.0.0.5"]) as http,
        pytest.raises(AddressRefusedError, match=r"shop\.test:80 leads to 10\.0\.0\.5, a private"),
    ):
        read(http, "http://shop.test/")


def test_a_name_that_changes_its_answer_is_looked_up_once_per_connection(scripted_server):
    answers = iter([[UNROUTED_PUBLIC_ADDRESS], ["127.0.0.1"], ["169.254.169.254"]])
    asked: list[str] = []

    def resolve(host: str) -> Iterable[str]:
        asked.append(host)
        return next(answers)

    url = f"http://rebinding.test:{scripted_server.port}/"
    with PublicHttp(resolve=resolve, connect_timeout_seconds=0.1) as http:
        with pytest.raises(SourceUnavailableError):  # the checked address, which is not there
            read(http, url)
        assert asked == ["rebinding.test"]
        for address in ("127.0.0.1", "169.254.169.254"):
            with pytest.raises(AddressRefusedError, match=address):
                read(http, url)
    assert scripted_server.connection_count == 0


def test_the_address_that_was_checked_is_the_one_that_is_connected_to(scripted_server):
    with (
        PublicHttp(
            resolve=lambda _: [UNROUTED_PUBLIC_ADDRESS], connect_timeout_seconds=0.1
        ) as http,
        pytest.raises(SourceUnavailableError),
    ):
        read(http, f"http://localhost:{scripted_server.port}/")  # the system knows it as loopback
    assert scripted_server.connection_count == 0


def test_an_allowed_host_may_be_private_and_only_as_it_is_written(scripted_server):
    scripted_server.answers("/a", b"bytes")
    port = scripted_server.port
    with PublicHttp(allow_private_hosts={f"127.0.0.1:{port}", "cdn.test:80"}) as http:
        assert read(http, f"http://127.0.0.1:{port}/a") == b"bytes"
        for other in (f"localhost:{port}", f"127.1:{port}", "127.0.0.1:1", "127.0.0.1"):
            with pytest.raises(AddressRefusedError):
                read(http, f"http://{other}/a")


@pytest.mark.parametrize("address", ["169.254.169.254", "fd00:ec2::254", "100.100.100.200", "::"])
def test_an_allowed_host_is_still_no_metadata_service(address):
    with (
        PublicHttp(allow_private_hosts={"cdn.test:80"}, resolve=lambda _: [address]) as http,
        pytest.raises(AddressRefusedError),
    ):
        read(http, "http://cdn.test/latest/meta-data/")


@pytest.mark.parametrize(
    "entry", ["127.0.0.1", "", ":80", "http://a:80", "a:80/b", "u@a:80", "a:x", "a:99999", "[::1"]
)
def test_an_entry_that_names_no_host_and_port_is_an_error(entry):
    with pytest.raises(InvalidConfigError, match="host that may be private"):
        PublicHttp(allow_private_hosts={entry})


@pytest.mark.parametrize(
    "url",
    [
        "",
        "shop.test",
        "//shop.test/",
        "file:///etc/passwd",
        "ftp://shop.test/",
        "gopher://shop.test/",
        "javascript:alert(1)",
        "data:text/html,hello",
        "httpx://shop.test/",
        "http://",
        "http:///path",
        "http://[::1",
        "http://shop.test:99999/",
        "http://" + "a" * 300 + ".test/",
        "http://..../",
        "http://a\x00b/",
        "https://somebody:hidden@shop.test/",
    ],
)
def test_what_is_no_plain_web_address_is_refused(url):
    with PublicHttp() as http, pytest.raises(AddressRefusedError) as caught:
        read(http, url)
    assert "hidden" not in str(caught.value)


def test_proxies_of_the_environment_are_not_used(http, scripted_server, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert read(http, scripted_server.answers("/a", b"direct")) == b"direct"


def test_an_address_is_shown_without_user_query_and_fragment():
    assert (
        shown_url("https://me:secret@cdn.test:8443/v/a.jpg?oh=secret&oe=1#secret")
        == "https://cdn.test:8443/v/a.jpg"
    )
    assert shown_url("http://[::1]:80/a") == "http://[::1]:80/a"
    assert "parsed" in shown_url("http://[::1")


# ---- redirects ----


def test_redirects_are_followed_and_told(http, scripted_server):
    scripted_server.answers("/1", b"moved", 301, Location="/2?x=1")
    scripted_server.answers("/2", b"", 302, Location=scripted_server.url("/3"))
    scripted_server.answers("/3", b"", 308, Location="caf%C3%A9")
    scripted_server.answers("/caf%C3%A9", b"here")
    with http.open(scripted_server.url("/1"), total_seconds=5) as response:
        assert b"".join(response.chunks(max_bytes=10)) == b"here"
    assert response.url == scripted_server.url("/caf%C3%A9")
    assert response.redirects == tuple(map(scripted_server.url, ("/1", "/2?x=1", "/3")))


def test_the_time_that_the_caller_takes_at_a_redirect_is_not_counted(http, scripted_server):
    start = scripted_server.answers("/1", b"", 302, Location="/2")
    scripted_server.answers("/2", b"here")
    with http.open(start, total_seconds=2, on_redirect=lambda _: time.sleep(2.1)) as response:
        assert b"".join(response.chunks(max_bytes=10)) == b"here"


def test_five_redirects_are_followed_and_a_sixth_is_not(http, scripted_server):
    for number in range(1, 7):
        scripted_server.answers(f"/{number}", b"", 302, Location=f"/{number - 1}")
    scripted_server.answers("/0", b"here")
    assert read(http, scripted_server.url("/5")) == b"here"
    with pytest.raises(TooManyRedirectsError, match=r"/6 redirects more than 5 times"):
        read(http, scripted_server.url("/6"))


@pytest.mark.parametrize(
    "location",
    [
        "http://169.254.169.254/latest/meta-data/",
        "http://[::ffff:169.254.169.254]/",
        "//localhost:{port}/secret",
        "http://localhost:{port}/secret",
        "http://2130706433:{port}/secret",
        "http://name-of-loopback.test:{port}/secret",
        "https://127.0.0.1:1/secret",
        "http://user@127.0.0.1:{port}/secret",
        "file:///etc/passwd",
        "http://[::1",
    ],
)
def test_a_redirect_leads_nowhere_that_its_start_could_not(scripted_server, location):
    port = scripted_server.port
    scripted_server.answers("/secret", b"secret")
    start = scripted_server.answers("/start", b"", 302, Location=location.format(port=port))

    def resolve(name: str) -> list[str]:
        return ["127.0.0.1"] if name.endswith(".test") else system_addresses(name)

    with (
        PublicHttp(allow_private_hosts={f"127.0.0.1:{port}"}, resolve=resolve) as http,
        pytest.raises(AddressRefusedError),
    ):
        read(http, start)
    assert scripted_server.paths == ["/start"]


def test_the_body_of_a_redirect_is_not_read(http, scripted_server):
    endless = scripted_server.trickle(b"HTTP/1.1 302 Found\r\nLocation: /b\r\n\r\n", b"x" * 1000)
    scripted_server.script("/a", endless)
    scripted_server.answers("/b", b"here")
    assert read(http, scripted_server.url("/a"), total_seconds=5) == b"here"


def test_cookies_last_for_one_chain_of_redirects(http, scripted_server):
    scripted_server.answers("/a", b"", 302, Location="/b", Set_Cookie="visit=1")
    scripted_server.answers("/b", b"here")
    for path in ("/a", "/b"):
        assert read(http, scripted_server.url(path)) == b"here"
    assert scripted_server.paths == ["/a", "/b", "/b"]
    assert scripted_server.cookies == ["visit=1"]


# ---- bodies, sizes and time ----


def test_any_status_is_the_readers_to_judge(http, scripted_server):
    url = scripted_server.answers("/a", b"gone", 410, X_Why="sold out")
    with http.open(url, total_seconds=5) as response:
        assert response.status_code == 410
        assert response.headers["x-why"] == "sold out"
        assert b"".join(response.chunks(max_bytes=4)) == b"gone"


def test_a_body_of_just_the_accepted_size_is_read_and_one_byte_more_is_not(http, scripted_server):
    assert read(http, scripted_server.answers("/a", b"x" * 1000), max_bytes=1000) == b"x" * 1000
    with pytest.raises(BodyTooLargeError, match="999 bytes") as caught:
        read(http, scripted_server.url("/a"), max_bytes=999)
    assert isinstance(caught.value, PermanentError)


@pytest.mark.parametrize("head", [b"", b"Content-Length: oops\r\n"])
def test_an_endless_body_without_a_length_is_cut_at_the_accepted_size(http, scripted_server, head):
    endless = scripted_server.trickle(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n", b"x" * 10_000)
    with pytest.raises(BodyTooLargeError):
        read(http, scripted_server.script("/a", endless), max_bytes=50_000)


def test_gzip_is_undone_and_counted_as_what_it_becomes(http, scripted_server):
    bomb = gzip.compress(b"\0" * 50_000_000)
    assert len(bomb) < 60_000
    url = scripted_server.answers("/a", bomb, Content_Encoding="gzip")
    with pytest.raises(BodyTooLargeError):
        read(http, url, max_bytes=1_000_000)
    url = scripted_server.answers("/b", gzip.compress(b"hello"), Content_Encoding="gzip")
    assert read(http, url) == b"hello"


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\nonly this",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nonly\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nwhat\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nwhat",
    ],
)
def test_a_body_that_breaks_off_is_an_error(http, scripted_server, answer):
    url = scripted_server.script("/a", lambda connection: connection.sendall(answer))
    with pytest.raises(SourceUnavailableError, match="broke off its answer"):
        read(http, url)


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1", b"what is this\r\n\r\n", b"\0" * 100])
def test_an_answer_that_is_no_http_is_an_error(http, scripted_server, answer):
    url = scripted_server.script("/a", lambda connection: connection.sendall(answer))
    with pytest.raises(SourceUnavailableError, match="gave no answer"):
        read(http, f"{url}?secret=1")


def test_a_tls_handshake_that_does_not_come_is_given_up_when_the_time_is_over(
    http, scripted_server
):
    with pytest.raises(SourceUnavailableError, match="timed out"):
        read(http, f"https://{scripted_server.host_and_port}/", total_seconds=0.2)


@pytest.mark.parametrize(
    ("head", "drip"),
    [
        (b"", b"H"),
        (b"HTTP/1.1 200 OK\r\nX-Long: ", b"x"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", b"x"),
        (b"HTTP/1.1 200 OK\r\n\r\n", b"x"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"0"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"a: b\r\n"),
        # A gzip header with a file name that never ends: bytes come, nothing comes out.
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n\x1f\x8b\x08\x08" + b"\0" * 6, b"x"),
    ],
)
def test_a_trickle_is_cut_off_when_the_time_is_over(http, scripted_server, head, drip):
    url = scripted_server.script("/a", scripted_server.trickle(head, drip))
    started = time.monotonic()
    with pytest.raises(SourceUnavailableError):
        read(http, url, total_seconds=0.3)
    assert 0.2 < time.monotonic() - started < 2


def test_a_silent_server_is_given_up_after_the_read_time_out(scripted_server):
    url = scripted_server.script("/a", lambda _: scripted_server.closing.wait(10) and None)
    with (
        PublicHttp(
            allow_private_hosts={scripted_server.host_and_port}, read_timeout_seconds=0.1
        ) as http,
        pytest.raises(SourceUnavailableError, match="timed out"),
    ):
        read(http, url, total_seconds=10)


def test_threads_share_kept_connections(http, scripted_server):
    bodies: dict[str, Any] = {
        scripted_server.answers(f"/{number}", b"%d" % number): b"%d" % number
        for number in range(200)
    }
    with ThreadPoolExecutor(8) as executor:
        assert list(executor.map(lambda url: read(http, url), bodies)) == list(bodies.values())
    assert scripted_server.connection_count <= 16

"""Pages: who is given their tokens, and what only those may read."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from pipeline_assets.simulator.demo import DEMO_BRANDS, build_demo_world
from pipeline_assets.simulator.faults import Endpoint, Fault, FaultKind
from pipeline_assets.simulator.server import SimulatorServer
from pipeline_assets.simulator.world import (
    PAGES_SCOPE,
    Account,
    AccountSpec,
    AdKind,
    ObjectKind,
    TokenSpec,
    World,
)

FIRST, SECOND = "act_31", "act_32"
READER = TokenSpec("EAAreadsEveryPage", scopes=("ads_read", PAGES_SCOPE))
HALF = TokenSpec("EAAreadsOnePage", scopes=("ads_read", PAGES_SCOPE), pages=(FIRST,))
PLAIN = TokenSpec("EAAreadsNoPage")
POST_FIELDS = "message,attachments{title,unshimmed_url,url},call_to_action"


@pytest.fixture
def pages_server(start_server: Callable[..., SimulatorServer]) -> SimulatorServer:
    kinds = (AdKind.VIDEO, AdKind.BOOSTED_POST, AdKind.DYNAMIC)
    accounts = [
        AccountSpec(id=each, name=each, ad_count=6, kinds=kinds) for each in (FIRST, SECOND)
    ]
    return start_server(World(accounts, tokens=[READER, HALF, PLAIN]))


@pytest.fixture
def as_holder(
    pages_server: SimulatorServer, connect: Callable[..., Any]
) -> Callable[[TokenSpec], Any]:
    return lambda spec: connect(pages_server, token=spec.value)


@pytest.fixture
def first(pages_server: SimulatorServer) -> Account:
    return pages_server.world.accounts[FIRST]


def page_of(account: Account) -> str:
    return account.object_id(ObjectKind.PAGE, 0)


def video_of(account: Account) -> str:
    return account.object_id(ObjectKind.VIDEO, account.video_indexes[0])


def post_of(account: Account, index: int = 1) -> str:
    return f"{page_of(account)}_{account.object_id(ObjectKind.POST, index)}"


def test_a_page_gives_its_token_to_who_has_the_scope_and_the_page(
    as_holder: Callable[[TokenSpec], Any], pages_server: SimulatorServer, first: Account
) -> None:
    page, other = page_of(first), page_of(pages_server.world.accounts[SECOND])
    given = as_holder(READER).get(page, fields="access_token").json()
    assert given == {"access_token": READER.of_page(FIRST).value, "id": page}
    assert as_holder(READER).get(page).json() == {"id": page}
    assert as_holder(HALF).get(page, fields="access_token").json() != given, "each its own"
    assert as_holder(HALF).error(other, fields="access_token") == (403, 10, None)
    assert as_holder(PLAIN).error(page, fields="access_token") == (403, 283, None)
    assert as_holder(READER).error(page[:-1] + "1") == (400, 100, 33)


def test_a_page_token_is_as_good_as_the_token_it_came_from(
    start_server: Callable[..., SimulatorServer], connect: Callable[..., Any]
) -> None:
    dead = replace(READER, error_subcode=460)
    server = start_server(World([AccountSpec(id=FIRST, name="One")], tokens=[dead]))
    page = connect(server, token=dead.of_page(FIRST).value)
    assert page.error(page_of(server.world.accounts[FIRST])) == (400, 190, 460)


def test_only_its_page_reads_the_file_of_a_withheld_video(
    as_holder: Callable[[TokenSpec], Any], pages_server: SimulatorServer, first: Account
) -> None:
    page, video = as_holder(READER.of_page(FIRST)), video_of(first)
    assert "source" not in as_holder(READER).get(video, fields="source,picture").json()
    source = page.get(video, fields="source,picture").json()["source"]
    assert page.session.get(source, timeout=10).headers["Content-Type"] == "video/mp4"
    other = video_of(pages_server.world.accounts[SECOND])
    assert page.error(other, fields="source") == (403, 10, None)


def test_a_post_is_read_with_its_pages_token_alone(
    as_holder: Callable[[TokenSpec], Any], pages_server: SimulatorServer, first: Account
) -> None:
    page, post = as_holder(READER.of_page(FIRST)), post_of(first)
    told = page.get(post, fields=POST_FIELDS).json()
    (attachment,) = told["attachments"]["data"]
    assert set(attachment) == {"title", "unshimmed_url", "url"}
    assert attachment["unshimmed_url"] == told["call_to_action"]["value"]["link"]
    assert attachment["url"].startswith("https://l.facebook.com/l.php?u=https%3A%2F%2Fshop.example")
    assert told["message"]
    for refused in (READER, PLAIN, READER.of_page(SECOND)):
        assert as_holder(refused).error(post) == (403, 10, None)
    assert page.error(post_of(first, 2)) == (400, 100, 33), "a dynamic creative is no one post"
    assert page.error(post[:-1] + "9") == (400, 100, 33)


def test_a_page_token_reads_no_ads(
    as_holder: Callable[[TokenSpec], Any], pages_server: SimulatorServer, first: Account
) -> None:
    page = as_holder(READER.of_page(FIRST))
    for path in (FIRST, f"{FIRST}/ads", f"{FIRST}/advideos", first.ads[0].id):
        assert page.error(path) == (403, 200, None), path
    app = pages_server.world.app
    page.session.headers["Authorization"] = f"Bearer {app.id}|{app.secret}"
    data = page.get("debug_token", input_token=READER.of_page(FIRST).value).json()["data"]
    assert (data["type"], data["scopes"]) == ("PAGE", [PAGES_SCOPE])


def test_calls_with_a_page_token_work_in_a_batch_and_count_for_the_account(
    as_holder: Callable[[TokenSpec], Any], pages_server: SimulatorServer, first: Account
) -> None:
    token = READER.of_page(FIRST).value
    reads = [video_of(first), post_of(first), post_of(pages_server.world.accounts[SECOND])]
    batch = [{"method": "GET", "relative_url": f"v26.0/{each}?fields=id"} for each in reads]
    answers = as_holder(READER.of_page(FIRST)).post("", batch=json.dumps(batch)).json()
    assert [answer["code"] for answer in answers] == [200, 200, 403]
    assert [(call.endpoint, call.account) for call in pages_server.calls] == [
        (Endpoint.VIDEO, FIRST),
        (Endpoint.POST, FIRST),
        (Endpoint.POST, SECOND),
        (Endpoint.BATCH, None),
    ]
    assert token not in repr(pages_server.calls)
    assert token not in repr(READER.of_page(FIRST))


def test_a_fault_lets_a_video_be_refused_instead_of_being_without_a_file(
    as_holder: Callable[[TokenSpec], Any], pages_server: SimulatorServer, first: Account
) -> None:
    pages_server.faults.add(Fault(kind=FaultKind.MISSING_PAGE_PERMISSION, account=FIRST, count=1))
    assert as_holder(READER).get(FIRST).status_code == 200
    assert as_holder(READER).error(video_of(first)) == (403, 283, None)
    assert as_holder(READER).get(video_of(first)).status_code == 200


def test_stills_of_a_video_show_what_was_asked_of_them(
    as_holder: Callable[[TokenSpec], Any], first: Account
) -> None:
    video = as_holder(READER).get(video_of(first), fields="thumbnails{uri,is_preferred}").json()
    (still,) = video["thumbnails"]["data"]
    assert set(still) == {"uri", "is_preferred"}


def test_of_the_demos_two_accounts_one_lets_its_page_be_read(
    start_server: Callable[..., SimulatorServer], connect: Callable[..., Any]
) -> None:
    server = start_server(build_demo_world(date(2026, 11, 21)))
    acme = connect(server, token=DEMO_BRANDS[0].token)
    given = {}
    for account_id in DEMO_BRANDS[0].ad_accounts:
        account = server.world.accounts[account_id]
        assert "source" not in acme.get(video_of(account), fields="source").json()
        given[account_id] = acme.get(page_of(account), fields="access_token").status_code
    assert given == {"act_1001": 200, "act_1002": 403}

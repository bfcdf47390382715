"""What needs a page's token, against a Graph API that knows whose token it is asked with."""

import hashlib
import hmac
import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import pytest

from pipeline_assets.errors import RateLimitedError, SourceUnavailableError
from pipeline_assets.redaction import MASK, redact
from pipeline_assets.schemas import META_AD_CREATIVES
from pipeline_assets.sources.meta import (
    GraphClient,
    fetch_creative_rows,
    fetch_page_ids,
    fetch_video_addresses,
)

Make = Callable[..., Any]
OWN_TOKEN = "EAAtokenThatMustNeverBeSeen1234567890"
PAGE_TOKEN = "EAApageTokenThatMustNeverBeSeen0987654321"
OTHER_PAGE_TOKEN = "another page's token, shaped like nothing"
FETCHED = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
REFUSED_AS_TOKEN = {"error": {"message": "x", "type": "OAuthException", "code": 190}}


def refusal(code: int, subcode: int | None = None) -> dict[str, Any]:
    return {"error": {"message": "x", "code": code, "error_subcode": subcode}}


class Pages:
    """Answers nodes by (token, path); what it does not know is refused with code 10."""

    def __init__(self, graph: Any, reply: Make) -> None:
        self.nodes: dict[tuple[str, str], dict[str, Any]] = {}
        self.asked: list[tuple[str, str]] = []
        self.graph = graph
        self._reply = reply
        graph.script = self._answer

    def tell_tokens(self, **tokens: str) -> None:
        for page, token in tokens.items():
            self.nodes[OWN_TOKEN, page.removeprefix("page")] = {"access_token": token}

    def _answer(self, call: Any) -> Any:
        token = call.headers["Authorization"].removeprefix("Bearer ")
        if "batch" not in call.params:
            return self._as_reply(self._node(token, call.path))
        paths = [urlsplit(each["relative_url"]).path for each in json.loads(call.params["batch"])]
        bodies = [self._node(token, path.removeprefix("v26.0/")) for path in paths]
        whole = self.nodes.get((token, "batch"))
        if whole is not None:
            return self._as_reply(whole)
        return self._reply(
            [
                {"code": 403 if "error" in body else 200, "headers": [], "body": json.dumps(body)}
                for body in bodies
            ]
        )

    def _node(self, token: str, path: str) -> dict[str, Any]:
        self.asked.append((token, path))
        return self.nodes.get((token, path), refusal(10))

    def _as_reply(self, body: dict[str, Any]) -> Any:
        return self._reply(body, status=403 if "error" in body else 200)

    def paths_with(self, token: str) -> list[str]:
        return [path for asked_with, path in self.asked if asked_with == token]


@pytest.fixture
def pages(graph: Any, reply: Make) -> Pages:
    return Pages(graph, reply)


def fetch_videos(client: GraphClient, **page_ids: str) -> dict[str, Any]:
    known = {video.removeprefix("video"): page for video, page in page_ids.items()}
    return fetch_video_addresses(
        client,
        "act_1",
        list(known),
        find_page_ids=lambda lacking: {k: v for k, v in known.items() if k in lacking},
    )


def creative(number: int, **more: Any) -> dict[str, Any]:
    return {"id": str(number), "effective_object_story_id": f"7_{number}", **more}


def show_creatives(pages: Pages, *creatives: dict[str, Any]) -> None:
    ads = [{"id": f"1{each['id']}", "creative": {"id": each["id"]}} for each in creatives]
    pages.nodes[OWN_TOKEN, "act_1/ads"] = {"data": ads}
    for each in creatives:
        pages.nodes[OWN_TOKEN, each["id"]] = each


def rows_of(client: GraphClient) -> dict[str, dict[str, Any]]:
    chunks = fetch_creative_rows(client, "act_1", brand_id="acme", fetched_at=FETCHED)
    rows = [
        dict(zip(META_AD_CREATIVES.column_names, row, strict=True))
        for chunk in chunks
        for row in chunk.rows
    ]
    return {row["creative_id"]: row for row in rows}


# Page tokens


def test_a_page_is_asked_once_for_its_token_whatever_it_answers(
    client: GraphClient, pages: Pages
) -> None:
    pages.tell_tokens(page7=PAGE_TOKEN)
    for _ in range(2):
        assert client.for_page("7", account_id="act_1") is not None
        assert client.for_page("8", account_id="act_1") is None
    assert pages.asked == [(OWN_TOKEN, "7"), (OWN_TOKEN, "8")]


@pytest.mark.parametrize(
    "answer",
    [refusal(10), refusal(283), refusal(100), refusal(100, 33), refusal(190, 2069032), {"id": "7"}],
    ids=str,
)
def test_a_page_that_gives_no_token_is_closed_and_our_own_token_stays_good(
    client: GraphClient, pages: Pages, answer: dict[str, Any]
) -> None:
    pages.nodes[OWN_TOKEN, "7"] = answer
    assert client.for_page("7", account_id="act_1") is None
    pages.nodes[OWN_TOKEN, "act_1"] = {"id": "act_1"}
    assert client.get("act_1") == {"id": "act_1"}


def test_a_hiccup_is_not_remembered_as_a_refusal(client: GraphClient, pages: Pages) -> None:
    pages.nodes[OWN_TOKEN, "7"] = refusal(2)
    with pytest.raises(SourceUnavailableError):
        client.for_page("7", account_id="act_1")
    pages.tell_tokens(page7=PAGE_TOKEN)
    assert client.for_page("7", account_id="act_1") is not None


def test_a_pages_calls_carry_its_own_proof(
    graph: Any, pages: Pages, clock: Any, store: Any
) -> None:
    pages.tell_tokens(page7=PAGE_TOKEN)
    pages.nodes[PAGE_TOKEN, "1"] = {"id": "1"}
    secret = "app-secret-that-must-never-be-seen"
    with GraphClient(
        token=OWN_TOKEN,
        app_id="5",
        app_secret=secret,
        base_url=graph.base_url,
        budgets=store,
        now=clock.now,
        sleep=clock.sleep,
    ) as client:
        page = client.for_page("7", account_id="act_1")
        assert page is not None
        page.get("1")
    proofs = [call.params["appsecret_proof"] for call in graph.calls]
    assert proofs == [
        hmac.new(secret.encode(), token.encode(), hashlib.sha256).hexdigest()
        for token in (OWN_TOKEN, PAGE_TOKEN)
    ]


def test_a_pages_token_is_in_no_address_log_or_error(
    client: GraphClient, pages: Pages, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    pages.tell_tokens(page7=OTHER_PAGE_TOKEN)
    pages.nodes[OTHER_PAGE_TOKEN, "1"] = {
        "error": {"message": f"no rights for {OTHER_PAGE_TOKEN}", "code": 10}
    }
    page = client.for_page("7", account_id="act_1")
    assert page is not None
    with pytest.raises(Exception, match="no rights") as caught:
        page.get("1")
    assert pages.asked[-1] == (OTHER_PAGE_TOKEN, "1")
    assert OTHER_PAGE_TOKEN not in str(caught.value) + repr(caught.value) + caplog.text
    assert all(OTHER_PAGE_TOKEN not in call.address for call in pages.graph.calls)
    assert redact(f"<{OTHER_PAGE_TOKEN}>") == f"<{MASK}>"


def test_a_pages_calls_wait_for_the_limits_of_the_account(
    client: GraphClient, pages: Pages, store: Any
) -> None:
    pages.tell_tokens(page7=PAGE_TOKEN)
    page = client.for_page("7", account_id="act_1")
    assert page is not None
    pages.nodes[PAGE_TOKEN, "1"] = refusal(32)
    with pytest.raises(RateLimitedError):
        page.get("1", account_id="act_1")
    assert "account:act_1" in store.read_blocked_until(["account:act_1"])
    with pytest.raises(RateLimitedError):
        client.get("act_1", account_id="act_1")
    assert pages.asked[-1] == (PAGE_TOKEN, "1"), "the account's call was not sent"


# Videos


def test_videos_without_a_file_are_read_with_their_pages_tokens(
    client: GraphClient, pages: Pages
) -> None:
    pages.tell_tokens(page7=PAGE_TOKEN, page8=OTHER_PAGE_TOKEN)
    pages.nodes[OWN_TOKEN, "1"] = {"source": "https://cdn/1"}
    pages.nodes[OWN_TOKEN, "2"] = {"title": "no source", "picture": "https://cdn/p2"}
    pages.nodes[OWN_TOKEN, "3"] = refusal(283)
    pages.nodes[OWN_TOKEN, "4"] = refusal(100)
    pages.nodes[PAGE_TOKEN, "2"] = {"source": "https://cdn/2", "length": 4}
    pages.nodes[PAGE_TOKEN, "3"] = {"source": "https://cdn/3", "picture": "https://cdn/p3"}
    pages.nodes[OTHER_PAGE_TOKEN, "4"] = {"source": "https://cdn/4"}
    found = fetch_videos(client, video1="7", video2="7", video3="7", video4="8")
    assert {key: video.source_url for key, video in found.items()} == {
        n: f"https://cdn/{n}" for n in "1234"
    }
    assert [video.problem for video in found.values()] == [None] * 4
    assert (found["2"].poster_url, found["2"].length_seconds) == ("https://cdn/p2", 4.0)
    assert pages.paths_with(PAGE_TOKEN) == ["2", "3"], "and not what had its file already"
    assert pages.paths_with(OTHER_PAGE_TOKEN) == ["4"]
    assert (OWN_TOKEN, "act_1/advideos") not in pages.asked
    assert len(pages.graph.calls) == 5  # three batches, two tokens


def test_what_the_page_withholds_too_is_looked_for_in_the_account_and_keeps_the_first_reason(
    client: GraphClient, pages: Pages
) -> None:
    pages.tell_tokens(page7=PAGE_TOKEN)
    pages.nodes[OWN_TOKEN, "1"] = refusal(283)
    pages.nodes[OWN_TOKEN, "2"] = refusal(283)
    pages.nodes[OWN_TOKEN, "3"] = refusal(100, 33)
    pages.nodes[PAGE_TOKEN, "1"] = {"picture": "https://cdn/p1"}
    pages.nodes[OWN_TOKEN, "act_1/advideos"] = {"data": [{"id": "2", "source": "https://cdn/2"}]}
    found = fetch_videos(client, video1="7", video2="7", video3="8")
    assert (found["1"].source_url, found["1"].poster_url) == (None, "https://cdn/p1")
    assert "283" in found["1"].problem
    assert found["2"].source_url == "https://cdn/2"
    assert "100/33" in found["3"].problem
    assert pages.paths_with(PAGE_TOKEN) == ["1", "2"]


@pytest.mark.parametrize("where", ["batch", "1"])
def test_a_page_token_that_meta_refuses_closes_the_page_and_leaves_ours_alone(
    client: GraphClient, pages: Pages, where: str
) -> None:
    pages.tell_tokens(page7=PAGE_TOKEN)
    pages.nodes[OWN_TOKEN, "1"] = {"picture": "https://cdn/p1"}
    pages.nodes[PAGE_TOKEN, where] = REFUSED_AS_TOKEN
    for _ in range(2):
        found = fetch_videos(client, video1="7")
        assert (found["1"].source_url, found["1"].poster_url) == (None, "https://cdn/p1")
    assert pages.paths_with(PAGE_TOKEN) == ["1"], "a dead token is not sent twice"
    assert pages.paths_with(OWN_TOKEN).count("1") == 2


def test_pages_are_not_looked_for_when_every_video_has_its_file(
    client: GraphClient, pages: Pages
) -> None:
    pages.nodes[OWN_TOKEN, "1"] = {"source": "https://cdn/1"}

    def fail(lacking: object) -> dict[str, str]:
        raise AssertionError(lacking)

    assert fetch_video_addresses(client, "act_1", ["1"], find_page_ids=fail)["1"].source_url
    assert pages.asked == [(OWN_TOKEN, "1")]


def test_creatives_tell_their_page_by_their_post_or_their_story(
    client: GraphClient, pages: Pages
) -> None:
    pages.nodes[OWN_TOKEN, "1"] = {"effective_object_story_id": "7_1"}
    pages.nodes[OWN_TOKEN, "2"] = {"object_story_spec": {"page_id": "8"}}
    pages.nodes[OWN_TOKEN, "3"] = {"id": "3"}
    assert fetch_page_ids(client, "act_1", ["1", "2", "3", "4"]) == {"1": "7", "2": "8"}


# Boosted posts

POST = {
    "message": "Text of the post",
    "attachments": {
        "data": [
            {
                "title": "Title of the link",
                "unshimmed_url": "https://shop.example/a",
                "url": "https://l.facebook.com/l.php?u=https%3A%2F%2Fshop.example%2Fa",
            }
        ]
    },
    "call_to_action": {"type": "SHOP_NOW", "value": {"link": "https://shop.example/b"}},
}


def test_a_boosted_post_says_where_a_click_leads_and_what_the_creative_does_not(
    client: GraphClient, pages: Pages
) -> None:
    pages.tell_tokens(page7=PAGE_TOKEN)
    pages.nodes[PAGE_TOKEN, "7_1"] = pages.nodes[PAGE_TOKEN, "7_2"] = POST
    show_creatives(pages, creative(1, url_tags="utm=1"), creative(2, body="Own", title="Own title"))
    rows = rows_of(client)
    assert rows["1"]["destination_urls"] == [
        "https://shop.example/a?utm=1",
        "https://shop.example/b?utm=1",
    ]
    assert rows["1"]["destination_url"] == "https://shop.example/a?utm=1"
    assert (rows["1"]["title"], rows["1"]["body"]) == ("Title of the link", "Text of the post")
    assert rows["1"]["call_to_action_type"] == "SHOP_NOW"
    assert (rows["2"]["titles"], rows["2"]["bodies"]) == (["Own title"], ["Own"])
    assert rows["2"]["destination_url"] == "https://shop.example/a"
    assert len(pages.graph.calls) == 4  # ads, creatives, the page's token, both posts


def test_only_posts_that_are_needed_are_read_and_each_once(
    client: GraphClient, pages: Pages
) -> None:
    pages.tell_tokens(page7=PAGE_TOKEN)
    form = {"value": {"lead_gen_form_id": "9"}}
    show_creatives(
        pages,
        creative(1, link_url="https://shop.example/"),
        creative(2, object_story_spec={"link_data": {"call_to_action": form}}),
        {"id": "3"},
        creative(4),
        {**creative(4), "id": "5"},
    )
    pages.nodes[PAGE_TOKEN, "7_4"] = POST
    rows = rows_of(client)
    assert pages.paths_with(PAGE_TOKEN) == ["7_4"]
    found = {key for key, row in rows.items() if row["destination_url"]}
    assert found == {"1", "4", "5"}
    assert [row["error"] for row in rows.values()] == [None] * 5


def test_a_photo_or_a_form_in_a_post_is_no_destination(client: GraphClient, pages: Pages) -> None:
    pages.tell_tokens(page7=PAGE_TOKEN)
    photo = {"title": "Timeline photos", "url": "https://www.facebook.com/7/photos/1"}
    pages.nodes[PAGE_TOKEN, "7_1"] = {"attachments": {"data": [photo]}}
    form = {"type": "SIGN_UP", "value": {"lead_gen_form_id": "9", "link": "https://shop.example/"}}
    pages.nodes[PAGE_TOKEN, "7_2"] = {"call_to_action": form}
    show_creatives(pages, creative(1), creative(2))
    rows = rows_of(client)
    assert (rows["1"]["destination_urls"], rows["1"]["titles"]) == ([], [])
    assert (rows["2"]["destination_urls"], rows["2"]["call_to_action_type"]) == ([], "SIGN_UP")


@pytest.mark.parametrize(
    "answer",
    [refusal(10), refusal(100, 33), refusal(100, 2446289), REFUSED_AS_TOKEN],
    ids=str,
)
def test_a_post_that_is_closed_to_us_leaves_a_good_row_without_destination(
    client: GraphClient, pages: Pages, answer: dict[str, Any]
) -> None:
    pages.tell_tokens(page7=PAGE_TOKEN)
    pages.nodes[PAGE_TOKEN, "7_1"] = answer
    show_creatives(pages, creative(1, body="B"))
    row = rows_of(client)["1"]
    assert (row["body"], row["destination_url"], row["error"]) == ("B", None, None)
    assert pages.paths_with(PAGE_TOKEN) == ["7_1"]


def test_a_page_that_is_closed_to_us_leaves_good_rows_without_destination(
    client: GraphClient, pages: Pages
) -> None:
    show_creatives(pages, creative(1, body="B"), creative(2, body="C"))
    rows = rows_of(client)
    assert [(row["body"], row["error"]) for row in rows.values()] == [("B", None), ("C", None)]
    assert pages.paths_with(OWN_TOKEN).count("7") == 1


def test_a_post_that_meta_cannot_give_just_now_is_an_error_of_the_row_and_so_read_again(
    client: GraphClient, pages: Pages
) -> None:
    pages.tell_tokens(page7=PAGE_TOKEN)
    pages.nodes[PAGE_TOKEN, "7_1"] = refusal(2)
    show_creatives(pages, creative(1, body="B"))
    row = rows_of(client)["1"]
    assert row["body"] == "B"
    assert "post 7_1" in row["error"]


def test_batches_of_posts_hold_fifty(client: GraphClient, pages: Pages) -> None:
    pages.tell_tokens(page7=PAGE_TOKEN)
    show_creatives(pages, *(creative(100 + n) for n in range(51)))
    rows_of(client)
    sizes = [
        len(json.loads(call.params["batch"]))
        for call in pages.graph.calls
        if call.headers["Authorization"].endswith(PAGE_TOKEN)
    ]
    assert sizes == [50, 1]

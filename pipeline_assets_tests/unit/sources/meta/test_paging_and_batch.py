import json
from collections.abc import Callable
from typing import Any

import pytest

from pipeline_assets.errors import CredentialError, RateLimitedError, SourceUnavailableError
from pipeline_assets.sources.meta import GraphClient
from pipeline_assets.sources.meta.batch import BatchRead, fetch_batched
from pipeline_assets.sources.meta.graph_failures import TooMuchDataError
from pipeline_assets.sources.meta.paging import PageSize, fetch_pages

Make = Callable[..., Any]


def _page(ids: list[int], after: str | None = None, *, more: bool = True) -> dict[str, Any]:
    body: dict[str, Any] = {"data": [{"id": str(each)} for each in ids]}
    if after is not None:
        body["paging"] = {"cursors": {"before": "B", "after": after}}
        if more:
            # Were it followed, the call would go to a host that does not exist.
            body["paging"]["next"] = "https://nowhere.invalid/?access_token=EAAleaked1234567"
    return body


def _ids(client: GraphClient, size: int = 2) -> list[str]:
    pages = fetch_pages(client, "act_1/ads", {"fields": "id"}, page_size=PageSize(size))
    return [row["id"] for rows in pages for row in rows]


def test_pages_follow_the_cursor_until_there_is_no_next(
    graph: Any, client: GraphClient, reply: Make
) -> None:
    graph.replies = [
        reply(_page([1, 2], "A")),
        reply(_page([], "B")),  # an empty page with a next is not the end
        reply(_page([3], "C", more=False)),
    ]
    assert _ids(client) == ["1", "2", "3"]
    assert [call.params.get("after") for call in graph.calls] == [None, "A", "B"]
    assert all(call.params["limit"] == "2" for call in graph.calls)


def test_an_answer_without_paging_is_the_last(graph: Any, client: GraphClient, reply: Make) -> None:
    graph.replies = [reply({"data": []})]
    assert _ids(client) == []


@pytest.mark.parametrize("cursors", [["A", "A"], ["A", "B", "A"], [""]])
def test_a_cursor_that_does_not_move_on_is_an_error_and_no_endless_loop(
    graph: Any, client: GraphClient, reply: Make, cursors: list[str]
) -> None:
    graph.replies = [reply(_page([1], cursor)) for cursor in cursors]
    with pytest.raises(SourceUnavailableError, match="cursor"):
        _ids(client)


def test_an_answer_without_data_is_an_error(graph: Any, client: GraphClient, reply: Make) -> None:
    graph.replies = [reply({"id": "act_1"})]
    with pytest.raises(SourceUnavailableError, match="data"):
        _ids(client)


def test_a_page_that_is_too_big_is_halved_and_later_pages_stay_small(
    graph: Any, client: GraphClient, reply: Make, make_error: Make
) -> None:
    def script(call: Any) -> Any:
        if int(call.params["limit"]) > 25:
            return make_error(1, status=500)
        first = "after" not in call.params
        return reply(_page([1], "A", more=True) if first else _page([2], "B", more=False))

    graph.script = script
    assert _ids(client, size=100) == ["1", "2"]
    limits = [call.params["limit"] for call in graph.calls]
    assert limits == ["100", "100", "50", "50", "25", "25"]


def test_a_page_of_one_that_fails_is_too_much(
    graph: Any, client: GraphClient, make_error: Make
) -> None:
    graph.script = lambda _: make_error(1, status=500)
    with pytest.raises(TooMuchDataError):
        _ids(client, size=4)
    assert [call.params["limit"] for call in graph.calls] == ["4", "4", "2", "2", *["1"] * 4]


def test_the_page_size_grows_back_after_twenty_good_pages() -> None:
    size = PageSize(500)
    assert size.shrink_below(500)
    for _ in range(19):
        size.note_good_page()
    assert size.size == 250
    size.note_good_page()
    assert size.size == 500
    assert not size.shrink_below(1)


def _reads(count: int) -> list[BatchRead]:
    return [BatchRead(str(n), str(n), {"fields": "id,name"}) for n in range(count)]


def _item(body: Any, code: int = 200, headers: dict[str, str] | None = None) -> dict[str, Any]:
    listed = [{"name": name, "value": value} for name, value in (headers or {}).items()]
    return {"code": code, "headers": listed, "body": json.dumps(body)}


def _asked(call: Any) -> list[str]:
    return [
        each["relative_url"].split("?")[0].removeprefix("v26.0/")
        for each in json.loads(call.params["batch"])
    ]


def _error(code: int, subcode: int | None = None) -> dict[str, Any]:
    return {"error": {"message": "x", "code": code, "error_subcode": subcode}}


def test_reads_go_out_fifty_at_a_time_and_come_back_by_id(
    graph: Any, client: GraphClient, reply: Make
) -> None:
    graph.script = lambda call: reply([_item({"id": each}) for each in _asked(call)])
    found = list(fetch_batched(client, _reads(101), account_id="act_1"))
    assert [result.item_id for result in found] == [str(n) for n in range(101)]
    assert all(result.body == {"id": result.item_id} for result in found)
    assert [len(_asked(call)) for call in graph.calls] == [50, 50, 1]
    first = json.loads(graph.calls[0].params["batch"])[0]
    assert first == {"method": "GET", "relative_url": "v26.0/0?fields=id%2Cname"}


def test_items_left_out_or_hit_by_a_blip_are_sent_again_and_others_keep_their_errors(
    graph: Any, client: GraphClient, reply: Make
) -> None:
    graph.replies = [
        reply([_item({"id": "0"}), None, _item(_error(2), 500), _item(_error(100, 33), 400)]),
        reply([_item({"id": "1"}), _item({"id": "2"})]),
    ]
    found = {each.item_id: each for each in fetch_batched(client, _reads(4), account_id="act_1")}
    assert _asked(graph.calls[1]) == ["1", "2"]
    assert [found[n].body for n in "012"] == [{"id": "0"}, {"id": "1"}, {"id": "2"}]
    assert found["3"].failure is not None
    assert found["3"].failure.codes == "100/33"


def test_an_item_never_answered_ends_with_its_failure(
    graph: Any, client: GraphClient, reply: Make
) -> None:
    graph.script = lambda call: reply([None] * len(_asked(call)))
    found = list(fetch_batched(client, _reads(1), account_id="act_1"))
    assert found[0].failure is not None
    assert len(graph.calls) == 4


def test_a_batch_that_times_out_as_a_whole_is_sent_in_smaller_ones(
    graph: Any, client: GraphClient, reply: Make, make_error: Make
) -> None:
    def script(call: Any) -> Any:
        asked = _asked(call)
        if len(asked) > 25:
            return make_error(960)
        return reply([_item({"id": each}) for each in asked])

    graph.script = script
    found = list(fetch_batched(client, _reads(50), account_id="act_1"))
    assert [result.body for result in found] == [{"id": str(n)} for n in range(50)]
    assert [len(_asked(call)) for call in graph.calls] == [50, 25, 25]


def test_an_items_headers_and_limits_feed_the_budget(
    graph: Any, client: GraphClient, clock: Any, reply: Make
) -> None:
    entry = {"type": "ads_management", "call_count": 100, "estimated_time_to_regain_access": 1}
    headers = {"X-Business-Use-Case-Usage": json.dumps({"1": [entry]})}
    graph.replies = [
        reply([_item({"id": "0"}), _item(_error(80004), 400, headers)]),
        reply([_item({"id": "1"})]),
    ]
    found = list(fetch_batched(client, _reads(2), account_id="act_1"))
    assert [result.body for result in found] == [{"id": "0"}, {"id": "1"}]
    assert 59 <= sum(clock.slept) <= 62


def test_an_items_long_limit_is_raised(graph: Any, client: GraphClient, reply: Make) -> None:
    graph.replies = [reply([_item(_error(17), 400)])]
    with pytest.raises(RateLimitedError):
        list(fetch_batched(client, _reads(1), account_id="act_1"))


def test_an_items_dead_token_ends_everything(graph: Any, client: GraphClient, reply: Make) -> None:
    graph.replies = [reply([_item(_error(190, 467), 400), _item({"id": "1"})])]
    with pytest.raises(CredentialError, match="act_1"):
        list(fetch_batched(client, _reads(2), account_id="act_1"))
    with pytest.raises(CredentialError, match="act_2"):
        client.get("act_2", account_id="act_2")
    assert len(graph.calls) == 1


def test_a_batch_answered_with_too_few_items_is_an_error(
    graph: Any, client: GraphClient, reply: Make
) -> None:
    graph.replies = [reply([])]
    with pytest.raises(SourceUnavailableError, match="item by item"):
        list(fetch_batched(client, _reads(2), account_id="act_1"))

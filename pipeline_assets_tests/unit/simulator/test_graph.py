import hmac
import json
from collections.abc import Callable
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from pipeline_assets.simulator.server import SimulatorServer
from pipeline_assets.simulator.world import (
    AccountSpec,
    AdKind,
    AppSpec,
    ObjectKind,
    TokenSpec,
    World,
)

ACCOUNT = "act_1001"
NARROW_TOKEN = "EAATestTokenThatSeesOneAccount00000002"
EXPIRED_TOKEN = "EAATestTokenThatExpiredYesterday000003"


def test_a_token_lists_the_accounts_it_was_granted(
    client: Any, connect: Callable[..., Any]
) -> None:
    fields = "account_id,currency,timezone_name,timezone_offset_hours_utc,account_status"
    accounts = client.data("me/adaccounts", fields=fields)
    assert accounts[0] == {
        "id": "act_1001",
        "account_id": "1001",
        "currency": "EUR",
        "timezone_name": "Europe/Paris",
        "timezone_offset_hours_utc": 1.0,
        "account_status": 1,
    }
    narrow = connect(token=NARROW_TOKEN)
    assert [each["id"] for each in narrow.data("me/adaccounts")] == ["act_2002"]
    assert narrow.error(ACCOUNT) == (403, 200, None)


@pytest.mark.parametrize(
    ("token", "expected"),
    [("EAAnobody", (400, 190, None)), (EXPIRED_TOKEN, (400, 190, 463)), ("", (400, 104, None))],
)
def test_a_bad_token_gets_metas_code(
    connect: Callable[..., Any], token: str, expected: tuple[int, int, int | None]
) -> None:
    assert connect(token=token).error("me") == expected


def test_debug_token_tells_of_good_and_bad_tokens(client: Any, server: SimulatorServer) -> None:
    app = server.world.app
    client.session.headers["Authorization"] = f"Bearer {app.id}|{app.secret}"
    bad = client.get("debug_token", input_token=EXPIRED_TOKEN).json()["data"]
    good = client.get("debug_token", input_token=NARROW_TOKEN).json()["data"]
    assert (bad["is_valid"], bad["error"]["subcode"]) == (False, 463)
    assert (good["is_valid"], good["expires_at"], good["scopes"]) == (True, 0, ["ads_read"])


def test_an_app_may_demand_a_proof_and_a_wrong_one_is_always_refused(
    start_server: Callable[..., SimulatorServer], connect: Callable[..., Any]
) -> None:
    token, app = "EAAproof", AppSpec(proof_required=True)
    account = AccountSpec(id="act_5", name="Five")
    client = connect(
        start_server(World([account], tokens=[TokenSpec(token)], app=app)), token=token
    )
    proof = hmac.new(app.secret.encode(), token.encode(), sha256).hexdigest()
    assert client.error("act_5") == (400, 100, None)
    assert client.error("act_5", appsecret_proof="0" * 64) == (400, 100, None)
    assert client.get("act_5", appsecret_proof=proof).json()["id"] == "act_5"


@pytest.mark.parametrize(
    ("version", "expected"),
    [("v20.0", (400, 2635, None)), ("v99.0", (400, 2500, None))],
)
def test_an_ended_version_is_refused(
    client: Any, server: SimulatorServer, version: str, expected: tuple[int, int, int | None]
) -> None:
    response = client.session.get(f"{server.url}/{version}/me")
    assert client.read_error(response) == expected


def test_living_versions_answer_and_say_which_they_are(
    client: Any, server: SimulatorServer
) -> None:
    for path, version in (("/v21.0/me", "v21.0"), ("/v25.0/me", "v25.0"), ("/me", "v26.0")):
        response = client.session.get(server.url + path)
        assert response.status_code == 200
        assert response.headers["facebook-api-version"] == version


def test_every_answer_has_the_four_rate_headers(client: Any) -> None:
    for response in (client.get("me"), client.get(f"{ACCOUNT}/ads"), client.get("act_404")):
        app = json.loads(response.headers["x-app-usage"])
        account = json.loads(response.headers["x-ad-account-usage"])
        (business,) = json.loads(response.headers["x-business-use-case-usage"]).values()
        insights = json.loads(response.headers["x-fb-ads-insights-throttle"])
        assert 0 <= app["call_count"] <= 60
        assert account["reset_time_duration"] == 0
        assert business[0]["type"] == "ads_insights"
        assert insights["acc_id_util_pct"] >= 0


def test_unknown_objects_fields_and_syntax_get_metas_codes(client: Any) -> None:
    assert client.error("act_404") == (400, 100, 33)
    assert client.error("1234567890123456789") == (400, 100, 33)
    assert client.error(ACCOUNT, fields="id,shoe_size") == (400, 100, None)
    assert client.error(f"{ACCOUNT}/ads", fields="id,creative{id") == (400, 2500, None)
    assert client.error("", ids="1,2") == (400, 100, None)
    assert client.error("120_99") == (403, 10, None)
    body = client.get("act_404").json()["error"]
    assert body["type"] == "GraphMethodException"
    assert body["fbtrace_id"]


def test_lists_hide_archived_and_deleted_ads_unless_asked(client: Any) -> None:
    def statuses(**params: Any) -> list[str]:
        ads = client.data(f"{ACCOUNT}/ads", fields="effective_status", limit=5, **params)
        return [ad["effective_status"] for ad in ads]

    assert statuses() == ["ACTIVE"] * 11 + ["PAUSED"]
    everything = json.dumps(["ACTIVE", "PAUSED", "ARCHIVED", "DELETED"])
    assert statuses(effective_status=everything)[-3:] == ["PAUSED", "ARCHIVED", "DELETED"]
    named = [{"field": "ad.effective_status", "operator": "IN", "value": ["DELETED"]}]
    assert statuses(filtering=json.dumps(named)) == ["DELETED"]


def test_summary_counts_all_pages(client: Any) -> None:
    page = client.get(f"{ACCOUNT}/ads", limit=2, summary="total_count").json()
    assert len(page["data"]) == 2
    assert page["summary"] == {"total_count": 12}


def test_an_ad_shows_its_dates_and_expands_its_creative(client: Any) -> None:
    fields = "name,created_time,adset{name},campaign{objective},creative{id,title}"
    ad = client.data(f"{ACCOUNT}/ads", fields=fields)[0]
    assert ad["created_time"].startswith("2026-07-19T09:00:00+0200")
    assert ad["campaign"] == {
        "objective": "OUTCOME_SALES",
        "id": ad["campaign"]["id"],
    }
    assert ad["creative"]["title"] == "Why is your skin dry by noon?"
    assert client.get(ad["id"], fields="name").json() == {"name": ad["name"], "id": ad["id"]}


def creatives_by_kind(client: Any, server: SimulatorServer) -> dict[str, dict[str, Any]]:
    fields = (
        "object_type,image_hash,video_id,object_story_spec,asset_feed_spec,"
        "effective_object_story_id,call_to_action_type,url_tags"
    )
    shown = client.data(f"{ACCOUNT}/adcreatives", fields=fields, limit=50)
    account = server.world.accounts[ACCOUNT]
    kinds = {account.creative(i).id: account.creative(i).kind for i in account.creative_indexes}
    return {kinds[each["id"]]: each for each in reversed(shown)}


def test_each_kind_of_creative_keeps_its_link_where_meta_keeps_it(
    client: Any, server: SimulatorServer
) -> None:
    shown = creatives_by_kind(client, server)
    link = "https://shop.example/products/"
    story = {kind: each.get("object_story_spec", {}) for kind, each in shown.items()}
    assert story[AdKind.IMAGE]["link_data"]["link"].startswith(link)
    assert "link" not in story[AdKind.VIDEO]["video_data"]
    value = story[AdKind.VIDEO]["video_data"]["call_to_action"]["value"]
    assert value["link"].startswith(link)
    cards = story[AdKind.CAROUSEL]["link_data"]["child_attachments"]
    assert len({card["link"] for card in cards}) == 3
    feed = shown[AdKind.DYNAMIC]["asset_feed_spec"]
    assert feed["link_urls"][0]["website_url"].startswith(link)
    assert (len(feed["titles"]), len(feed["bodies"]), len(feed["images"])) == (3, 3, 2)
    assert story[AdKind.LEAD_FORM]["link_data"]["call_to_action"]["value"]["lead_gen_form_id"]
    assert "object_story_spec" not in shown[AdKind.BOOSTED_POST]
    assert "_" in shown[AdKind.BOOSTED_POST]["effective_object_story_id"]


def test_images_are_found_by_hash_in_their_own_account_only(client: Any) -> None:
    everything = client.data(f"{ACCOUNT}/adimages", fields="hash,url,width,height,permalink_url")
    wanted = [everything[3]["hash"], everything[0]["hash"]]
    found = client.data(f"{ACCOUNT}/adimages", hashes=json.dumps(wanted))
    assert [each["hash"] for each in found] == wanted
    assert found[0]["id"] == f"1001:{wanted[0]}"
    assert client.data("act_2002/adimages", hashes=json.dumps(wanted)) == []


def test_the_first_video_has_no_source_but_a_poster(client: Any, server: SimulatorServer) -> None:
    fields = "source,picture,length,status,thumbnails{uri,is_preferred}"
    videos = client.data(f"{ACCOUNT}/advideos", fields=fields)
    assert "source" not in videos[0]
    assert all("source" in video for video in videos[1:])
    assert all(video["picture"] and video["status"]["video_status"] == "ready" for video in videos)
    assert client.get(videos[1]["id"], fields="length").json()["length"] == videos[1]["length"]


def test_thumbnails_are_64_wide_unless_another_size_is_asked(client: Any) -> None:
    def size(creative: dict[str, Any]) -> str:
        return parse_qs(urlsplit(creative["thumbnail_url"]).query)["stp"][0]

    ad = client.data(f"{ACCOUNT}/ads", fields="creative{thumbnail_url}", limit=50)[0]
    assert size(ad["creative"]) == "dst-jpg_p64x64"
    asked = {"fields": "thumbnail_url", "thumbnail_width": 400, "thumbnail_height": 300}
    assert size(client.get(ad["creative"]["id"], **asked).json()) == "dst-jpg_p400x300"
    assert size(client.data(f"{ACCOUNT}/adcreatives", **asked)[0]) == "dst-jpg_p400x300"
    modified = "creative.thumbnail_width(200).thumbnail_height(100){thumbnail_url}"
    ad = client.data(f"{ACCOUNT}/ads", fields=modified)[0]
    assert size(ad["creative"]) == "dst-jpg_p200x100"


def test_a_campaign_lists_its_ad_sets_and_ads(client: Any, server: SimulatorServer) -> None:
    account = server.world.accounts[ACCOUNT]
    campaign = account.object_id(ObjectKind.CAMPAIGN, 0)
    adsets = client.data(f"{campaign}/adsets", fields="campaign_id,attribution_spec")
    assert [each["campaign_id"] for each in adsets] == [campaign, campaign]
    assert adsets[0]["attribution_spec"] == [
        {"event_type": "CLICK_THROUGH", "window_days": 7},
        {"event_type": "VIEW_THROUGH", "window_days": 1},
    ]
    assert len(client.data(f"{campaign}/ads")) == 8
    assert len(client.data(f"{adsets[0]['id']}/ads")) == 4
    assert len(client.data(f"{ACCOUNT}/campaigns", fields="name,objective")) == 2


def test_a_batch_answers_in_order_and_judges_each_item(client: Any) -> None:
    items = [
        {"method": "GET", "relative_url": f"v26.0/{ACCOUNT}?fields=currency"},
        {"method": "GET", "relative_url": "act_404"},
        {"method": "POST", "relative_url": f"{ACCOUNT}/insights", "body": "level=ad"},
    ]
    response = client.post("", batch=json.dumps(items), include_headers="false")
    answers = response.json()
    assert [answer["code"] for answer in answers] == [200, 400, 200]
    assert "headers" not in answers[0]
    assert json.loads(answers[0]["body"]) == {"currency": "EUR", "id": ACCOUNT}
    assert json.loads(answers[1]["body"])["error"]["code"] == 100
    assert "report_run_id" in json.loads(answers[2]["body"])
    with_headers = client.post("", batch=json.dumps(items[:1])).json()[0]["headers"]
    assert "x-app-usage" in {header["name"] for header in with_headers}


def test_a_batch_holds_50_items_and_not_51(client: Any) -> None:
    item = {"method": "GET", "relative_url": "me"}
    assert len(client.post("", batch=json.dumps([item] * 50)).json()) == 50
    assert client.read_error(client.post("", batch=json.dumps([item] * 51)))[1] == 100


def test_a_long_get_may_travel_as_a_post(client: Any) -> None:
    answer = client.post(f"{ACCOUNT}/insights", method="get", level="account").json()
    assert answer["data"][0]["impressions"]


def test_the_log_names_calls_without_their_secrets(client: Any, server: SimulatorServer) -> None:
    token = client.session.headers.pop("Authorization").removeprefix("Bearer ")
    client.get(f"{ACCOUNT}/ads", fields="id", access_token=token)
    client.post("", access_token=token, batch='[{"method":"GET","relative_url":"me"}]')
    log = requests.get(f"{server.url}/__control/calls", timeout=5)
    shown = log.json()["calls"]
    assert [(each["endpoint"], each["status"], each["in_batch"]) for each in shown] == [
        ("ads", 200, False),
        ("me", 200, True),
        ("batch", 200, False),
    ]
    assert shown[0]["params"] == {"fields": "id"}
    assert shown[0]["account"] == ACCOUNT
    assert shown[0]["token_hash"] == sha256(token.encode()).hexdigest()[:12]
    assert token not in log.text


def test_two_servers_answer_alike(
    start_server: Callable[..., SimulatorServer],
    make_world: Callable[..., World],
    connect: Callable[..., Any],
) -> None:
    texts = []
    for server in (start_server(make_world()), start_server(make_world())):
        client = connect(server)
        paths = (f"{ACCOUNT}/adcreatives?fields=thumbnail_url,body", f"{ACCOUNT}/insights?level=ad")
        texts.append([client.get(path).text.replace(server.url, "") for path in paths])
    assert texts[0] == texts[1]

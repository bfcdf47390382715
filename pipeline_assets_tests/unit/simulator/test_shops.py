"""The shops behind the ads: where ads lead, and what stands there."""

import re
from collections.abc import Iterator

import pytest
import requests

from pipeline_assets.simulator.server import SimulatorServer
from pipeline_assets.simulator.shops import Condition
from pipeline_assets.simulator.world import AccountSpec, AdKind, TokenSpec, World

TOKEN = "EAATestTokenOfTheShops0000000000001"
HOST = "skin.example"


@pytest.fixture(scope="module")
def server() -> Iterator[SimulatorServer]:
    account = AccountSpec(
        id="act_5",
        name="Acme Skin",
        currency="EUR",
        ad_count=22,
        kinds=(AdKind.IMAGE, AdKind.VIDEO, AdKind.CAROUSEL, AdKind.DYNAMIC),
        has_shop=True,
        landing_host=HOST,
    )
    with SimulatorServer(World((account,), tokens=(TokenSpec(TOKEN),))) as server:
        yield server


def get(server: SimulatorServer, path: str) -> requests.Response:
    return requests.get(f"{server.url}{path}", timeout=5, allow_redirects=False)


def page(server: SimulatorServer, path: str) -> str:
    answer = get(server, f"/shops/{HOST}{path}")
    assert answer.status_code == 200
    return answer.text


def creative(server: SimulatorServer, index: int) -> dict[str, object]:
    found = server.world.accounts["act_5"].creative(index)
    answer = requests.get(
        f"{server.url}/v26.0/{found.id}",
        params={"fields": "object_story_spec,asset_feed_spec", "access_token": TOKEN},
        timeout=5,
    )
    return answer.json()


def test_the_ads_of_an_account_with_a_shop_lead_to_this_server(server):
    root = f"{server.url}/shops/{HOST}"
    story = {index: creative(server, index)["object_story_spec"] for index in range(3)}
    assert story[0]["link_data"]["link"] == f"{root}/c/0/dew-serum"
    action = story[1]["video_data"]["call_to_action"]
    assert action["value"]["link"] == f"{root}/c/1/barrier-cream"
    assert [card["link"] for card in story[2]["link_data"]["child_attachments"]] == [
        f"{root}/c/2/mineral-spf",
        f"{root}/products/overnight-mask",
        f"{root}/products/dew-serum",
    ]
    feed = creative(server, 3)["asset_feed_spec"]
    assert [link["website_url"] for link in feed["link_urls"]] == [
        f"{root}/c/3/overnight-mask",
        f"{root}/products/dew-serum",
    ]
    members = creative(server, 16)["object_story_spec"]
    assert members["link_data"]["link"] == f"{root}/members/16/dew-serum"


def test_a_page_keeps_what_its_ad_promises(server):
    text = page(server, "/c/13/dew-serum")
    assert "<h1>20% off your first order</h1>" in text
    assert '<p class="price"><s class="was">42,00 €</s> <span>34,00 €</span></p>' in text
    assert '"price": "34.00", "priceCurrency": "EUR"' in text


@pytest.mark.parametrize(
    ("condition", "there", "not_there"),
    [
        (Condition.CONGRUENT, "Why is your skin dry by noon?", "application/pdf"),
        (Condition.PLAIN, "34,00 €", "ld+json"),
        (Condition.OTHER_PRICE, "42,00 €", "34,00 €"),
        (Condition.NO_DISCOUNT, "34,00 €", 'class="was"'),
        (Condition.OTHER_PRODUCT, "Barrier Cream", "Dew Serum"),
        (Condition.OTHER_LANGUAGE, "In den Warenkorb", "Add to cart"),
        (Condition.CHALLENGE, "Just a moment", "Dew Serum"),
        (Condition.NEEDS_JS, '<div id="root">', "Dew Serum"),
        (Condition.LATIN1, "crème", "�"),
    ],
)
def test_each_condition_shows_what_it_is_named_for(server, condition, there, not_there):
    text = page(server, f"/as/{condition}/dew-serum")
    assert there in text
    assert not_there not in text


def test_a_charset_is_named_by_the_header_or_by_the_page_alone(server):
    by_header = get(server, f"/shops/{HOST}/as/latin1/dew-serum")
    assert by_header.headers["Content-Type"] == "text/html; charset=ISO-8859-15"
    assert "€" in by_header.content.decode("iso-8859-15")
    by_page = get(server, f"/shops/{HOST}/as/windows1252/dew-serum")
    assert by_page.headers["Content-Type"] == "text/html"
    assert '<meta charset="windows-1252">' in by_page.content.decode("cp1252")


@pytest.mark.parametrize(
    ("path", "status", "location"),
    [
        ("/as/blocked/dew-serum", 403, None),
        ("/as/missing/dew-serum", 404, None),
        ("/as/moved/dew-serum", 301, f"/shops/{HOST}/as/moved_again/dew-serum"),
        ("/as/moved_again/dew-serum", 302, f"/shops/{HOST}/products/dew-serum"),
        ("/as/to_loopback/dew-serum", 302, "http://127.0.0.1:22/"),
        ("/as/to_metadata/dew-serum", 302, "http://169.254.169.254/latest/meta-data/"),
        ("/products/no-such-thing", 404, None),
        ("/as/no-such-condition/dew-serum", 404, None),
        ("/", 404, None),
    ],
)
def test_what_stands_in_a_pages_place(server, path, status, location):
    answer = get(server, f"/shops/{HOST}{path}")
    assert answer.status_code == status
    found = answer.headers.get("Location")
    assert (found and found.removeprefix(server.url)) == location


def test_a_host_without_a_shop_has_no_page(server):
    assert get(server, "/shops/other.example/products/dew-serum").status_code == 404


def test_robots_txt_keeps_readers_out_of_the_members_pages(server):
    answer = get(server, "/robots.txt")
    assert answer.status_code == 200
    assert "Disallow: /shops/*/members/" in answer.text


def test_two_loads_differ_in_their_tokens_and_an_edition_in_its_prices(server):
    path = "/products/dew-serum"
    first, second = page(server, path), page(server, path)
    assert first != second
    tokens = re.compile(r"[0-9a-f]{20,}|\d\d:\d\d:\d\d|oe=\w+|oh=\w+|_nc_ohc=\w+")
    assert tokens.sub("", first) == tokens.sub("", second)
    server.shops.edition = 1
    try:
        assert "35,00 €" in page(server, path)
    finally:
        server.shops.edition = 0

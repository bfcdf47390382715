"""The page "Template queue" over HTTP: the templates of all brands that one may see."""

import csv
import io
import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from pipeline_assets.control.item_decisions import decide
from pipeline_assets.control.requests import list_requests
from pipeline_assets.people.features import set_feature
from pipeline_assets.people.roles import Role
from pipeline_assets.schemas import TEMPLATE_APPROVALS, TEMPLATES_SCRAPED
from pipeline_assets.storage.engine import write_transaction
from pipeline_assets.storage.tables import brands, dataset_status

if TYPE_CHECKING:
    from conftest import Client, Site

PATH = "/template-queue"
CSV = f"{PATH}.csv"
SOURCES = {"templates": {"page_ids": ["1"], "approve_from": 70.0, "reject_below": 30.0}}
PARTS = [
    {"name": "days_running", "points": 20.0, "most": 30.0, "why": "it ran for 64 days"},
    {"name": "eu_reach", "points": 0, "most": 0, "why": "its reach is not known"},
    {"name": "copies", "points": 10.0, "most": 20.0, "why": "2 copies of it run at once"},
]


def configure(site: "Site", brand_id: str, sources: dict[str, Any] = SOURCES) -> None:
    with write_transaction(site.engine) as connection:
        is_it = brands.c.id == brand_id
        connection.execute(sa.update(brands).where(is_it).values(sources=sources))


def put(site: "Site", template_id: str, brand_id: str = "acme", **values: Any) -> None:
    """A template that waits for a person, with its ad."""
    names = {each.name for each in TEMPLATE_APPROVALS.columns}
    judged = {"state": "pending", "rule_state": "pending", "decided_by": "rules", "score": 50.0}
    judged |= {"score_parts": PARTS, "reasons": ["Its score is 50."]}
    ad = {"page_name": "Advertiser", "title": f"Headline {template_id}", "source": "ad_library"}
    site.store_rows(
        TEMPLATE_APPROVALS,
        {"template_id": template_id} | judged | {k: v for k, v in values.items() if k in names},
        brand_id=brand_id,
    )
    site.store_rows(
        TEMPLATES_SCRAPED,
        {"library_ad_id": template_id} | ad | {k: v for k, v in values.items() if k not in names},
        brand_id=brand_id,
    )


def prepare(site: "Site") -> "Site":
    """Every brand has a source, and its templates were judged an hour ago."""
    for brand_id in ("acme", "globex", "rival"):
        configure(site, brand_id)
        site.store_status(brand_id, "template_approvals")
        site.store_status(brand_id, "templates_scraped")
    return site


@pytest.fixture
def queue(sqlite_site: "Site") -> "Site":
    return prepare(sqlite_site)


@pytest.fixture
def viewer(queue: "Site") -> "Client":
    return queue.person(Role.VIEWER)


def cards(page: str) -> list[str]:
    """The templates' `brand/id`, in the page's order."""
    return re.findall(r'<li id="item-([^"]+)" class="template"', page)


def tabs(page: str) -> dict[str, int]:
    return {name: int(n) for name, n in re.findall(r">(\w+) <b>(\d+)</b></a>", page)}


def test_filters_tabs_order_and_csv_agree_on_each_database(site: "Site") -> None:
    prepare(site)
    put(site, "low", score=40.0)
    put(site, "none", score=None)
    put(site, "other", "globex", score=60.0, source="some/actor", body="Free RETURNS")
    put(site, "yes", state="approved", score=99.0, decided_by="user:ann@example.com")
    put(site, "no", "globex", state="rejected", score=10.0, page_name="Ünlü 50%")
    put(site, "theirs", "rival", score=99.0)
    actor = {"actor": {"actor": "some/actor", "token": "env:TOKEN_OF_TESTS"}}
    configure(site, "globex", {"templates": SOURCES["templates"] | actor})
    viewer = site.person(Role.VIEWER)
    page = viewer.page(PATH)
    assert cards(page) == ["globex/other", "acme/low", "acme/none"]
    assert tabs(page) == {"Pending": 3, "Approved": 1, "Rejected": 1, "Any": 5}
    assert '<option value="globex">Globex (1)</option>' in page
    assert '<option value="some/actor">some/actor</option>' in page
    everything = ["globex/other", "acme/low", "acme/none", "acme/yes", "globex/no"]
    for asked, found in {
        "state=any": everything,
        "state=any&brand=globex": ["globex/other", "globex/no"],
        "state=any&decided_by=user:ann@example.com": ["acme/yes"],
        "state=any&decided_by=nobody": [],
        "source=some/actor": ["globex/other"],
        "q=free returns": ["globex/other"],
        "q=headline LOW": ["acme/low"],
        "q=none": ["acme/none"],
        "q=50%&state=any": ["globex/no"],
        "q=ünlü&state=any": ["globex/no"],
        "brand=rival&state=any": [],
    }.items():
        page = viewer.page(f"{PATH}?{asked}")
        assert cards(page) == found, asked
        answer = viewer.get(f"{CSV}?{asked}")
        rows = list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"))))
        assert [f"{row['brand_id']}/{row['template_id']}" for row in rows] == found, asked
    assert "Look in any state" not in page
    assert "Clear the filter" in page
    assert 'filename="template-queue.csv"' in answer.headers["content-disposition"]


def test_a_card_tells_what_is_needed_for_deciding(queue: "Site", viewer: "Client") -> None:
    put(
        queue,
        "1",
        body="Lose weight fast. We CURE slow weight.",
        policy_words=["lose weight", "cure"],
        duplicate_of="22",
        preview_sha256="a" * 64,
        days_running=64,
        is_active=True,
        titles=["Another headline"],
        library_url="https://www.facebook.com/ads/library/?id=1",
    )
    decide(
        queue.engine,
        brand_id="acme",
        dataset="template_approvals",
        item_id="1",
        decision="rejected",
        reason="Too bold",
        actor="user:ann@example.com",
        now=queue.clock.now - timedelta(hours=3),
    )
    page = viewer.page(PATH, state="any")
    assert "<mark>Lose weight</mark> fast. We <mark>CURE</mark> slow weight." in page
    assert f'<img src="/brands/acme/media/{"a" * 64}"' in page
    assert "64 days, still running" in re.sub(r" since [\d-]+", "", page)
    assert "All 3 texts" in page
    assert "by <bdi>ann@example.com</bdi>, <time" in page
    assert "Too bold" in page
    assert "Its score is 50." in page
    assert "rejected below 30, approved from 70" in page
    assert 'x="0.00" width="40.00"' in page
    assert 'x="40.00" width="20.00"' in page
    assert re.findall(r"swatch [^>]*></span>([^<]+?) *<", page) == [each["why"] for each in PARTS]
    assert 'href="/template-queue?state=any&amp;brand=acme&amp;q=22"' in page
    assert 'target="_blank" rel="noopener noreferrer"' in page
    assert 'name="one"' not in page, "a viewer decides nothing"
    assert 'id="decide"' not in page
    decider = queue.person(Role.OPERATOR).page(PATH, state="rejected")
    assert re.findall(r'name="one" value="([^"]+)" data-key="(.)"', decider) == [
        ("approved acme/1", "a"),
        ("pending acme/1", "u"),
    ]
    assert '<option value="Too bold">' in decider


def test_what_is_asked_beyond_the_last_page_is_the_last_page(
    queue: "Site", viewer: "Client"
) -> None:
    for number in range(26):
        put(queue, f"t{number:02}")
    assert len(cards(viewer.page(PATH))) == 24
    page = viewer.page(PATH, page=9)
    assert cards(page) == ["acme/t24", "acme/t25"]
    assert "Page 2 of 2, 26 templates" in page


def test_a_queue_that_is_empty_because_gathering_failed_says_so(
    queue: "Site", viewer: "Client"
) -> None:
    with write_transaction(queue.engine) as connection:
        failed = {"error_class": "CredentialError", "error_message": "It is expired."}
        connection.execute(
            dataset_status.update()
            .where(dataset_status.c.brand_id == "acme")
            .where(dataset_status.c.dataset == "templates_scraped")
            .values(failed | {"last_attempt_outcome": "failed", "advice": "Renew it."})
        )
    page = viewer.page(PATH)
    assert "The sync went well" not in page
    said = "Gathering the templates of <bdi>acme</bdi> failed: <bdi>It is expired.</bdi>"
    assert said in page
    assert said not in viewer.page(PATH, brand="globex")
    with write_transaction(queue.engine) as connection:
        judged = dataset_status.c.dataset == "template_approvals"
        connection.execute(dataset_status.delete().where(judged))
    page = viewer.page(PATH)
    assert "Templates are not shown" in page
    assert said in page


def test_each_kind_of_emptiness_has_its_words(queue: "Site", viewer: "Client") -> None:
    assert "The sync went well: no ads were found" in viewer.page(PATH)
    put(queue, "1", state="approved")
    assert "All is decided" in viewer.page(PATH)
    assert "No template is rejected" in viewer.page(PATH, state="rejected")
    page = viewer.page(PATH, q="approved by nobody")
    assert "No pending template matches the filter" in page
    for brand_id in ("acme", "globex"):
        configure(queue, brand_id, {})
    page = viewer.page(PATH)
    assert "No brand has a source of templates" in page
    assert "approve_from: 70" in page
    assert "Sync now" not in page


def test_a_brand_that_is_too_old_is_left_out_and_named(queue: "Site", viewer: "Client") -> None:
    put(queue, "1")
    put(queue, "2", "globex")
    seen = re.search(r'hx-get="([^"]+)" hx-trigger="poll"', viewer.page(PATH))
    assert seen is not None
    poll = seen[1].replace("&amp;", "&")
    assert viewer.get(poll).status_code == 204
    set_success(queue, "globex", queue.clock.now - timedelta(days=3))
    page = viewer.page(poll)
    assert cards(page) == ["acme/1"]
    assert "Left out until they are synced: <bdi>globex</bdi>" in page
    assert "1 of 2 brands not ready" in page
    assert "Templates are not shown" in viewer.page(PATH, brand="globex")
    assert viewer.get(f"{CSV}?brand=globex").status_code == 409
    for asked, name in (
        ("", "template-queue_without_1_of_2_brands.csv"),
        ("?brand=acme", "template-queue.csv"),
    ):
        answer = viewer.get(CSV + asked)
        assert answer.headers["content-disposition"] == f'attachment; filename="{name}"'
    set_success(queue, "acme", None)
    page = viewer.page(PATH)
    assert cards(page) == []
    assert "Templates are not shown" in page
    assert viewer.get(CSV).status_code == 409


def set_success(site: "Site", brand_id: str, at: Any) -> None:
    columns = dataset_status.c
    is_it = (columns.brand_id == brand_id) & (columns.dataset == "template_approvals")
    with write_transaction(site.engine) as connection:
        connection.execute(sa.update(dataset_status).where(is_it).values(last_success_at=at))


def test_a_decision_is_news_for_a_poll(queue: "Site", viewer: "Client") -> None:
    put(queue, "1", rule_state="approved")
    said = {"brand_id": "acme", "dataset": "template_approvals", "item_id": "1"}
    said |= {"reason": "Good", "actor": "user:ann@example.com"}
    for decision in ("approved", "rejected", "pending"):
        seen = re.search(r'hx-get="([^"]+)" hx-trigger="poll"', viewer.page(PATH, state="any"))
        assert seen is not None
        poll = seen[1].replace("&amp;", "&")
        assert viewer.get(poll).status_code == 204
        queue.clock.pass_by(seconds=1)
        decide(queue.engine, decision=decision, now=queue.clock.now, **said)
        assert viewer.get(poll).status_code == 200


def test_a_sync_is_asked_for_all_brands_of_an_organization(queue: "Site") -> None:
    operator = queue.person(Role.OPERATOR)
    (form,) = re.findall(r'action="(/brands/[^"]+/sync)"', operator.page(PATH))
    assert form == "/brands/*north/sync"
    assert 'name="job" value="template_approval"' in operator.page(PATH)
    assert operator.post(form, data={"job": "template_approval"}).status_code == 303
    (request,) = list_requests(queue.engine)
    assert (request.brand_id, request.job) == ("*north", "template_approval")
    everywhere = queue.person(Role.OPERATOR, "*").page(PATH)
    assert re.findall(r'action="/brands/(.*?)/sync"', everywhere) == ["*north", "*south"]
    assert "Sync now" not in queue.person(Role.VIEWER).page(PATH)


def test_the_queue_of_an_organization_that_hides_it_is_not_there(
    queue: "Site", viewer: "Client"
) -> None:
    put(queue, "1")
    put(queue, "2", "rival")
    assert 'href="/template-queue"' in viewer.page("/brands")
    hide = {"is_shown": False, "actor": "test", "now": queue.clock.now}
    set_feature(queue.engine, "north", "template_queue", **hide)
    assert viewer.get(PATH).status_code == viewer.get(CSV).status_code == 404
    assert 'href="/template-queue"' not in viewer.page("/brands")
    everywhere = queue.person(Role.OPERATOR, "*")
    assert cards(everywhere.page(PATH)) == ["rival/2"]


def test_whatever_was_read_is_text(queue: "Site", viewer: "Client", nasty: str) -> None:
    texts = dict.fromkeys(("page_name", "title", "body", "description", "source"), nasty)
    lists: Any = ("titles", "bodies", "platforms", "reasons", "policy_words")
    lists = {name: [nasty] for name in lists}
    parts = [PARTS[0] | {"name": nasty, "why": nasty}]
    put(queue, nasty[:100], **texts, **lists, score_parts=parts, library_url="javascript:alert(1)")
    put(queue, "=1+1", title="=A1", duplicate_of=nasty, decided_by=nasty, body="")
    page = viewer.page(PATH)
    assert len(cards(page)) == 2
    assert "<script>alert" not in page
    assert " style=" not in page
    assert 'href="javascript' not in page
    assert "'=A1" in viewer.page(CSV)


def test_an_address_that_means_nothing_is_refused_in_words(viewer: "Client") -> None:
    for path in (PATH, CSV):
        for query in ("state=up", f"brand={'x' * 10_000}", "page=0", "page=x", "q=%00"):
            answer = viewer.get(f"{path}?{query}")
            assert answer.status_code == 422, query
            assert "bug" not in answer.text

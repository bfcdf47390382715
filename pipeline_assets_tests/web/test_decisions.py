"""What people and programs decide over HTTP: of templates, of drafts, of many at once."""

from typing import TYPE_CHECKING, Any

import httpx
import pytest
import sqlalchemy as sa

from pipeline_assets.people.features import set_feature
from pipeline_assets.people.roles import Role
from pipeline_assets.schemas import AD_CREATIONS, TEMPLATE_APPROVALS
from pipeline_assets.storage.audit import read_audit
from pipeline_assets.storage.tables import DATASET_TABLES, item_decisions
from pipeline_assets.web.identity import CSRF_HEADER

if TYPE_CHECKING:
    from conftest import Site

TEMPLATES, DRAFTS = "/decisions/template_approvals", "/decisions/ad_creations"
HTMX = {"HX-Request": "true"}


@pytest.fixture
def site(sqlite_site: "Site") -> "Site":
    """Templates t1 and t2 and a draft d1 of each brand, judged by rules alone."""
    for brand_id in ("acme", "globex", "rival"):
        judged = {"state": "pending", "rule_state": "pending", "decided_by": "rules"}
        judged |= {"reasons": ["Its score is 50."]}
        templates = [{"template_id": each} | judged for each in ("t1", "t2")]
        sqlite_site.store_rows(TEMPLATE_APPROVALS, *templates, brand_id=brand_id)
        draft = {"draft_id": "d1", "review_state": "draft"}
        sqlite_site.store_rows(AD_CREATIONS, draft, brand_id=brand_id)
    return sqlite_site


@pytest.fixture
def operator(site: "Site") -> httpx.Client:
    return site.person(Role.OPERATOR)


def states(site: "Site", dataset: str = "template_approvals") -> dict[str, str]:
    """The state of each item, by `brand/id`."""
    table = DATASET_TABLES[dataset].c
    is_draft = dataset == "ad_creations"
    columns = (table.draft_id, table.review_state) if is_draft else (table.template_id, table.state)
    with site.engine.connect() as connection:
        rows = connection.execute(sa.select(table.brand_id, *columns)).all()
    return {f"{brand_id}/{item_id}": state for brand_id, item_id, state in rows}


def count_decisions(site: "Site") -> int:
    with site.engine.connect() as connection:
        return connection.execute(
            sa.select(sa.func.count()).select_from(item_decisions)
        ).scalar_one()


def test_one_button_decides_of_one_item_and_the_audit_log_has_it(
    site: "Site", operator: httpx.Client
) -> None:
    said = {"one": "approved acme/t1", "reason": " It fits. ", "item": "acme/t2", "decision": "x"}
    answer = operator.post(TEMPLATES, data=said, headers=HTMX)
    assert (answer.status_code, answer.headers["HX-Trigger"]) == (
        204,
        '{"told": {"text": "1 approved."}}',
    )
    assert states(site)["acme/t1"] == "approved"
    assert states(site)["acme/t2"] == "pending"
    (entry,) = read_audit(site.engine, target="acme:template_approvals:t1", limit=9)
    assert (entry.actor, entry.action) == ("user:operator@north.example", "template.approved")
    assert entry.detail == {"reason": "It fits.", "was": "pending"}
    said = {"one": "approved acme/d1", "reason": "Good"}
    answer = operator.post(DRAFTS, data=said, headers={"Referer": f"{site.url}/account"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/account")
    assert states(site, "ad_creations")["acme/d1"] == "approved"


def test_all_that_is_ticked_is_decided_and_what_is_gone_holds_up_no_other(
    site: "Site", operator: httpx.Client
) -> None:
    ticked = ["acme/t1", "globex/t2", "acme/gone", "acme/t1"]
    said = {"item": ticked, "decision": "rejected", "reason": "Too bold"}
    answer = operator.post(TEMPLATES, data=said, headers=HTMX)
    assert "2 rejected. 1 is gone from the source." in answer.headers["HX-Trigger"]
    rejected = {name for name, state in states(site).items() if state == "rejected"}
    assert rejected == {"acme/t1", "globex/t2"}
    answer = operator.post(TEMPLATES, data=said | {"decision": "pending"}, headers=HTMX)
    assert "2 given back to the rules." in answer.headers["HX-Trigger"]
    assert set(states(site).values()) == {"pending"}
    assert count_decisions(site) == 0
    said = {"one": "approved acme/gone", "reason": "Good"}
    answer = operator.post(TEMPLATES, data=said, headers=HTMX)
    assert "Nothing was decided. 1 is gone" in answer.headers["HX-Trigger"]


def test_taking_back_what_nobody_has_decided_is_told_and_not_recorded(
    site: "Site", operator: httpx.Client
) -> None:
    operator.post(TEMPLATES, data={"one": "approved acme/t1", "reason": "Good"})
    said = {"item": ["acme/t1", "acme/t2"], "decision": "pending", "reason": "The rules know"}
    for text in (
        "1 given back to the rules. 1 stays: nobody had decided.",
        "Nothing was decided. 2 stay: nobody had decided.",
    ):
        answer = operator.post(TEMPLATES, data=said, headers=HTMX)
        assert text in answer.headers["HX-Trigger"]
    answer = operator.post(DRAFTS, data={"one": "draft acme/d1", "reason": "x"}, headers=HTMX)
    assert "Nothing was decided. 1 stays" in answer.headers["HX-Trigger"]
    actions = [each.action for each in read_audit(site.engine, target="acme", limit=9)]
    assert actions[:2] == ["template.pending", "template.approved"]
    assert "draft.draft" not in actions


def test_more_than_a_page_holds_is_refused_whole(site: "Site", operator: httpx.Client) -> None:
    said = {"decision": "approved", "reason": "Good"}
    ticked = ["acme/t1", *(f"acme/gone{n}" for n in range(49))]
    answer = operator.post(TEMPLATES, data=said | {"item": [*ticked, "acme/t2"]}, headers=HTMX)
    assert answer.status_code == 422
    assert answer.text.startswith("51 are ticked, and nothing was decided: 50 can be at once.")
    assert count_decisions(site) == 0
    assert operator.post(TEMPLATES, data=said | {"item": ticked}, headers=HTMX).status_code == 204
    assert states(site)["acme/t1"] == "approved"


def test_a_browser_that_does_not_tell_where_it_was_goes_back_to_the_items_page(
    operator: httpx.Client,
) -> None:
    for path, one, page in (
        (TEMPLATES, "approved acme/t1", "/template-queue"),
        (DRAFTS, "approved acme/d1", "/brands/acme/creations-review"),
    ):
        answer = operator.post(path, data={"one": one, "reason": "Good"})
        assert (answer.status_code, answer.headers["location"]) == (303, page)


def test_one_item_of_another_organization_refuses_them_all(
    site: "Site", operator: httpx.Client
) -> None:
    said = {"item": ["acme/t1", "rival/t1"], "decision": "approved", "reason": "Good"}
    forbidden = operator.post(TEMPLATES, data=said, headers=HTMX)
    unknown = operator.post(TEMPLATES, data=said | {"item": ["acme/t1", "x/t1"]}, headers=HTMX)
    assert forbidden.status_code == unknown.status_code == 404
    assert forbidden.text == unknown.text
    viewer = site.person(Role.VIEWER)
    assert viewer.post(TEMPLATES, data=said | {"item": "acme/t1"}).status_code == 403
    del operator.headers[CSRF_HEADER]
    assert operator.post(TEMPLATES, data=said | {"item": "acme/t1"}).status_code == 403
    assert count_decisions(site) == 0


def test_what_an_organization_hides_is_not_decided(site: "Site", operator: httpx.Client) -> None:
    for feature in ("template_queue", "creations_review"):
        hide = {"is_shown": False, "actor": "test", "now": site.clock.now}
        set_feature(site.engine, "north", feature, **hide)
    said = {"decision": "approved", "reason": "Good"}
    for path, item in ((TEMPLATES, "acme/t1"), (DRAFTS, "acme/d1")):
        assert operator.post(path, data=said | {"item": item}).status_code == 404
    assert count_decisions(site) == 0


def test_a_form_that_means_nothing_is_refused_in_words(
    site: "Site", operator: httpx.Client
) -> None:
    good = {"item": "acme/t1", "decision": "approved", "reason": "Good"}
    for status, change in (
        (422, {"reason": "  "}),
        (422, {"reason": "x" * 10_000}),
        (422, {"reason": "\x00"}),
        (422, {"decision": "published"}),
        (422, {"decision": ""}),
        (422, {"item": []}),
        (422, {"item": "acme/" + "x" * 10_000}),
        (204, {"item": "acme"}),  # which has no item without a name
        (404, {"item": "/t1"}),
        (404, {"item": "<b>/t1"}),
        (404, {"one": "approved"}),
        (422, {"item": "acme@yesterday/t1"}),
        (204, {"item": "acme@2026-03-10T12:00:00/t1"}),  # of no draft
        (404, {"one": "acme/t1"}),
    ):
        answer = operator.post(TEMPLATES, data=good | change, headers=HTMX)
        assert answer.status_code == status, (change, answer.text)
        assert "bug" not in answer.text
    assert operator.post("/decisions/scorecard", data=good).status_code == 404
    assert count_decisions(site) == 0


def test_a_program_decides_of_one_template_and_of_one_draft(site: "Site") -> None:
    program = site.program(Role.OPERATOR)
    of_template = "/api/v1/brands/acme/templates/t1/decision"
    answer = program.post(of_template, json={"decision": "approved", "reason": "Good"})
    assert answer.status_code == 200
    assert answer.json() == {
        "brand_id": "acme",
        "template_id": "t1",
        "state": "approved",
        "rule_state": "pending",
        "is_overruled": False,
        "decided_by": "token:operator-north",
        "decided_at": "2026-03-10T12:00:00Z",
        "reasons": ["Good", "Its score is 50."],
    }
    of_draft = "/api/v1/brands/acme/creations/d1/decision"
    answer = program.post(of_draft, json={"decision": "rejected", "reason": "Bad"})
    assert answer.json() == {
        "brand_id": "acme",
        "draft_id": "d1",
        "review_state": "rejected",
        "reviewed_by": "token:operator-north",
        "review_reason": "Bad",
        "reviewed_at": "2026-03-10T12:00:00Z",
        "drafted_at": "2026-03-10T12:00:00Z",
    }
    again = program.post(of_draft, json={"decision": "draft", "reason": "Look again"})
    assert (again.json()["review_state"], again.json()["reviewed_at"]) == ("draft", None)
    idle = {"decision": "pending", "reason": "Nobody has decided"}
    answer = program.post("/api/v1/brands/acme/templates/t2/decision", json=idle)
    assert (answer.status_code, answer.json()["decided_by"]) == (200, "rules")
    assert states(site, "ad_creations")["acme/d1"] == "draft"


def test_a_program_is_refused_what_it_may_not_or_cannot_decide(site: "Site") -> None:
    program, viewer = site.program(Role.OPERATOR), site.program(Role.VIEWER)
    good: dict[str, Any] = {"decision": "approved", "reason": "Good"}
    for kind, item in (("templates", "t1"), ("creations", "d1")):
        path = f"/api/v1/brands/acme/{kind}/{item}/decision"
        assert viewer.post(path, json=good).status_code == 403
        for name in (f"acme/{kind}/gone", f"rival/{kind}/{item}", f"x/{kind}/{item}"):
            answer = program.post(f"/api/v1/brands/{name}/decision", json=good)
            assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")
        for change in (
            {"decision": "published"},
            {"reason": ""},
            {"reason": "  "},
            {"reason": "x" * 10_000},
            {"reason": "\x00"},
            {"more": 1},
        ):
            answer = program.post(path, json=good | change)
            assert answer.status_code == 422, (change, answer.text)
    assert count_decisions(site) == 0

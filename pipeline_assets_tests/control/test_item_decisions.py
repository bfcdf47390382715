"""What people decide of templates and drafts: stored, shown at once, recorded, and never lost."""

import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from pipeline_assets.brands.models import parse_brand
from pipeline_assets.brands.registry import add_brand
from pipeline_assets.control.item_decisions import decide, read_decisions, with_decision
from pipeline_assets.errors import InvalidConfigError
from pipeline_assets.schemas import AD_CREATIONS, TEMPLATE_APPROVALS, TableSchema
from pipeline_assets.storage.audit import read_audit
from pipeline_assets.storage.windows import Scope, read_rows, replace_rows

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
ANN, BOB = "user:ann@example.com", "user:bob@example.com"
SECONDS = 30  # every wait ends as soon as what it waits for is there

Row = dict[str, Any]


def template(**fields: Any) -> Row:
    return {
        "brand_id": "acme",
        "template_id": "t1",
        "state": "pending",
        "decided_by": "rules",
        "reasons": ["Its score is 50.", "“cures”: it claims to cure."],
        "decided_at": NOW - timedelta(days=1),
        "score": 50.0,
        "score_parts": [],
        "rule_state": "pending",
        "policy_words": ["cures"],
        "duplicate_of": None,
        "is_overruled": False,
        "rules_version": "1",
        "fetched_at": NOW,
        **fields,
    }


def draft(**fields: Any) -> Row:
    row: Row = dict.fromkeys(AD_CREATIONS.column_names)
    texts = ("template_id", "product_name", "product_url", "headline", "primary_text", "cta")
    return {
        **row,
        **dict.fromkeys((*texts, "drafter", "drafter_version"), "x"),
        **dict.fromkeys(("pictures", "lineage"), ()),
        **dict.fromkeys(("drafted_at", "fetched_at"), NOW),
        "brand_id": "acme",
        "draft_id": "d1",
        "review_state": "draft",
        **fields,
    }


def store(engine: sa.Engine, schema: TableSchema, rows: Sequence[Row]) -> None:
    replace_rows(
        engine,
        schema,
        brand_id="acme",
        scopes=[Scope()],
        chunks=[[tuple(row[name] for name in schema.column_names) for row in rows]],
        attempt_started_at=NOW,
    )


@pytest.fixture(autouse=True)
def acme(engine: sa.Engine) -> None:
    brand = parse_brand({"id": "acme", "name": "Acme", "timezone": "UTC"})
    add_brand(engine, brand, actor="test", now=NOW)
    store(engine, TEMPLATE_APPROVALS, [template(), template(template_id="t2")])
    store(engine, AD_CREATIONS, [draft()])


def say(engine: sa.Engine, decision: str, **more: Any) -> Row:
    said = {
        "brand_id": "acme",
        "dataset": "template_approvals",
        "item_id": "t1",
        "reason": "It suits us.",
        "actor": ANN,
        "now": NOW,
    }
    return decide(engine, decision=decision, **said | more).row


def stored(engine: sa.Engine, schema: TableSchema = TEMPLATE_APPROVALS) -> Row:
    return read_rows(engine, schema, brand_id="acme")[0]


def test_a_decision_shows_at_once_with_its_reason_and_who_made_it(engine: sa.Engine) -> None:
    row = say(engine, "approved")
    assert row == stored(engine)
    assert (row["state"], row["decided_by"], row["decided_at"]) == ("approved", ANN, NOW)
    assert row["reasons"] == ["It suits us.", *template()["reasons"]]
    assert not row["is_overruled"]  # the rules had left it to a person
    decisions = read_decisions(engine, brand_id="acme", dataset="template_approvals")
    assert list(decisions) == ["t1"]
    assert (decisions["t1"].decision, decisions["t1"].decided_by) == ("approved", ANN)
    (entry,) = [each for each in read_audit(engine, limit=9) if each.actor == ANN]
    assert (entry.action, entry.target) == (
        "template.approved",
        "acme:template_approvals:t1",
    )
    assert entry.detail == {"reason": "It suits us.", "was": "pending"}
    assert entry.organization_id == "default"


def test_a_later_decision_replaces_an_earlier_one_and_the_log_has_both(engine: sa.Engine) -> None:
    say(engine, "approved")
    row = say(engine, "rejected", actor=BOB, reason="It does not.", now=NOW + timedelta(hours=1))
    assert row["reasons"] == ["It does not.", *template()["reasons"]]
    assert (row["state"], row["decided_by"]) == ("rejected", BOB)
    assert [each.action for each in read_audit(engine, target="acme", limit=2)] == [
        "template.rejected",
        "template.approved",
    ]


@pytest.mark.parametrize(
    ("rule_state", "decision", "is_overruled"),
    [
        ("rejected", "approved", True),
        ("approved", "rejected", True),
        ("approved", "approved", False),
        ("pending", "rejected", False),
    ],
)
def test_overruled_is_what_the_rules_had_decided_otherwise(
    engine: sa.Engine, rule_state: str, decision: str, is_overruled: bool
) -> None:
    store(engine, TEMPLATE_APPROVALS, [template(state=rule_state, rule_state=rule_state)])
    assert say(engine, decision)["is_overruled"] is is_overruled


def test_what_is_given_back_is_the_rules_again(engine: sa.Engine) -> None:
    store(engine, TEMPLATE_APPROVALS, [template(state="rejected", rule_state="rejected")])
    say(engine, "approved")
    row = say(engine, "pending", reason="I was wrong.", now=NOW + timedelta(hours=1))
    assert (row["state"], row["decided_by"], row["is_overruled"]) == ("rejected", "rules", False)
    assert row["reasons"] == template()["reasons"]
    assert read_decisions(engine, brand_id="acme", dataset="template_approvals") == {}


@pytest.mark.parametrize(
    ("schema", "item_id", "decision"),
    [(TEMPLATE_APPROVALS, "t1", "pending"), (AD_CREATIONS, "d1", "draft")],
)
def test_taking_back_what_nobody_has_decided_changes_and_records_nothing(
    engine: sa.Engine, schema: TableSchema, item_id: str, decision: str
) -> None:
    before, log = stored(engine, schema), read_audit(engine, limit=9)
    later = NOW + timedelta(days=9)
    assert say(engine, decision, dataset=schema.name, item_id=item_id, now=later) == before
    assert stored(engine, schema) == before
    assert read_audit(engine, limit=9) == log


def test_a_draft_is_reviewed_and_the_review_taken_back(engine: sa.Engine) -> None:
    said = {"dataset": "ad_creations", "item_id": "d1"}
    row = say(engine, "approved", **said)
    assert row == stored(engine, AD_CREATIONS)
    assert (row["review_state"], row["reviewed_by"], row["review_reason"], row["reviewed_at"]) == (
        "approved", ANN, "It suits us.", NOW,
    )  # fmt: skip
    row = say(engine, "draft", **said)
    assert (row["review_state"], row["reviewed_by"], row["reviewed_at"]) == ("draft", None, None)
    actions = [each.action for each in read_audit(engine, target="acme:ad_creations", limit=9)]
    assert actions == ["draft.draft", "draft.approved"]


def test_a_sync_puts_decisions_on_its_new_rows(engine: sa.Engine) -> None:
    say(engine, "approved")
    made = read_decisions(engine, brand_id="acme", dataset="template_approvals")
    fresh = template(state="rejected", rule_state="rejected", reasons=["It stopped."])
    row = with_decision("template_approvals", fresh, made["t1"])
    assert (row["state"], row["is_overruled"]) == ("approved", True)
    assert row["reasons"] == ["It suits us.", "It stopped."]
    assert with_decision("template_approvals", fresh, None) == fresh


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"decision": "maybe"}, "'maybe' is no decision about a template."),
        ({"decision": "draft"}, "'draft' is no decision about a template."),
        ({"reason": "  "}, "The reason is empty."),
        ({"item_id": "t9"}, "Brand acme has no template 't9'."),
        ({"brand_id": "globex"}, "There is no brand 'globex'."),
        ({"dataset": "scorecard"}, "Nobody decides about scorecard."),
    ],
)
def test_what_cannot_be_decided_is_refused_and_nothing_stored(
    engine: sa.Engine, wrong: Row, said: str
) -> None:
    with pytest.raises(InvalidConfigError) as refused:
        say(engine, **{"decision": "approved"} | wrong)
    assert str(refused.value) == said
    assert stored(engine) == template()
    assert read_decisions(engine, brand_id="acme", dataset="template_approvals") == {}


def test_a_decision_waits_for_a_write_that_has_begun_and_counts_on_its_rows(
    engine: sa.Engine,
) -> None:
    """As in the asset: decisions are read while the write goes on, the person comes a bit later."""
    has_read, decided = threading.Event(), threading.Event()

    def chunks() -> Iterator[Sequence[tuple[Any, ...]]]:
        made = read_decisions(engine, brand_id="acme", dataset="template_approvals")
        has_read.set()
        assert not decided.wait(0.3), "a decision came in between and would be lost"
        row = with_decision("template_approvals", template(score=60.0), made.get("t1"))
        yield [tuple(row[name] for name in TEMPLATE_APPROVALS.column_names)]

    def person() -> None:
        assert has_read.wait(SECONDS)
        say(engine, "approved")
        decided.set()

    thread = threading.Thread(target=person)
    thread.start()
    replace_rows(
        engine,
        TEMPLATE_APPROVALS,
        brand_id="acme",
        scopes=[Scope()],
        chunks=chunks(),
        attempt_started_at=NOW,
    )
    thread.join(SECONDS)
    assert decided.is_set()
    row = stored(engine)
    assert (row["state"], row["score"]) == ("approved", 60.0)

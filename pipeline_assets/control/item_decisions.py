"""What people decide of single items: that a template may be used, that a draft is good.

A decision stands in `item_decisions`, and at once in the dataset's own row. A sync writes the rows
anew and must not lose one, nor write over one that was made meanwhile: it reads `read_decisions`
within its write (`replace_rows` takes its chunks then), which waits for a decision that is just
being stored, and puts `with_decision` on its rows.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from pipeline_assets.brands.registry import get_brand
from pipeline_assets.errors import InvalidConfigError
from pipeline_assets.storage import audit
from pipeline_assets.storage.engine import dialect_insert, write_transaction
from pipeline_assets.storage.tables import DATASET_TABLES, item_decisions
from pipeline_assets.storage.window_guard import lock_windows

Row = dict[str, Any]

RULES = "rules"
"""Who has decided when nobody has."""

_DECISIONS = ("approved", "rejected")
_MAX_REASON = 500


class UnknownItemError(InvalidConfigError):
    """The brand has no such template or draft (any more)."""


class RedraftedError(InvalidConfigError):
    """The draft is not what it was when it was shown: another text or another picture."""


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What a person has decided of an item, and why."""

    item_id: str
    decision: str
    reason: str
    decided_by: str
    decided_at: datetime


@dataclass(frozen=True)
class Decided:
    """The dataset's row as it is from now on.

    `is_changed` is false where a decision was to be taken back and nobody had made one.
    """

    row: Row
    is_changed: bool


@dataclass(frozen=True)
class _Kind:
    """How a dataset's rows show decisions: its item's column, and how a decision shows.

    `undecided` is the word for taking a decision back.
    """

    noun: str
    id_column: str
    undecided: str
    shown: Callable[[Row, Decision], Row]
    hidden: Callable[[Row, datetime], Row]


def _shown_on_template(row: Row, decision: Decision) -> Row:
    """A template's row keeps the rules' reasons behind the person's: they may count again."""
    return {
        "state": decision.decision,
        "decided_by": decision.decided_by,
        "decided_at": decision.decided_at,
        "reasons": [decision.reason, *_reasons_of_rules(row)],
        "is_overruled": row["rule_state"] not in {decision.decision, "pending"},
    }


def _hidden_on_template(row: Row, now: datetime) -> Row:
    return {
        "state": row["rule_state"],
        "decided_by": RULES,
        "decided_at": now,
        "reasons": _reasons_of_rules(row),
        "is_overruled": False,
    }


def _reasons_of_rules(row: Row) -> list[str]:
    return list(row["reasons"] if row["decided_by"] == RULES else row["reasons"][1:])


def _shown_on_draft(row: Row, decision: Decision) -> Row:  # noqa: ARG001 - as for templates
    return {
        "review_state": decision.decision,
        "reviewed_by": decision.decided_by,
        "review_reason": decision.reason,
        "reviewed_at": decision.decided_at,
    }


def _hidden_on_draft(row: Row, now: datetime) -> Row:  # noqa: ARG001 - as for templates
    reviewed = dict.fromkeys(("reviewed_by", "review_reason", "reviewed_at"))
    return {"review_state": "draft", **reviewed}


_KINDS: Mapping[str, _Kind] = {
    "template_approvals": _Kind(
        noun="template",
        id_column="template_id",
        undecided="pending",
        shown=_shown_on_template,
        hidden=_hidden_on_template,
    ),
    "ad_creations": _Kind(
        noun="draft",
        id_column="draft_id",
        undecided="draft",
        shown=_shown_on_draft,
        hidden=_hidden_on_draft,
    ),
}


def decide(
    engine: sa.Engine,
    *,
    brand_id: str,
    dataset: str,
    item_id: str,
    decision: str,
    reason: str,
    actor: str,
    now: datetime,
    drafted_at: datetime | None = None,
) -> Decided:
    """Store what a person decides of an item.

    template_approvals: `approved`, `rejected`, or `pending` to give it back to the rules;
    ad_creations: `approved`, `rejected`, or `draft` to take the review back. A later decision
    replaces an earlier one; the audit log has all of them. Syncs keep it. Taking back what nobody
    has decided changes and records nothing.

    `drafted_at` is that of the draft which the person saw: a sync may have drafted it anew since.
    Without it the decision is about what is stored now.

    Raises:
        UnknownItemError: the brand has no such item.
        RedraftedError: the draft is of another time than `drafted_at`.
        InvalidConfigError: there is no such brand, the decision is none of these, or the reason is
            empty.
    """
    kind = _kind(dataset)
    made = Decision(
        item_id=item_id,
        decision=_checked_decision(kind, decision),
        reason=_checked_reason(reason),
        decided_by=actor,
        decided_at=now,
    )
    brand = get_brand(engine, brand_id)
    table = DATASET_TABLES[dataset]
    is_it = (table.c.brand_id == brand_id) & (table.c[kind.id_column] == item_id)
    with write_transaction(engine) as connection:
        lock_windows(connection, brand_id=brand_id, dataset=dataset)
        found = connection.execute(sa.select(table).where(is_it)).mappings().one_or_none()
        if found is None:
            raise _unknown(kind, brand_id, item_id)
        row = dict(found)
        if drafted_at is not None and row.get("drafted_at") != drafted_at:
            raise _redrafted(kind, brand_id, item_id)
        if decision != kind.undecided:
            _store(connection, brand_id, dataset, made)
            changes = kind.shown(row, made)
        elif _take_back(connection, brand_id, dataset, item_id):
            changes = kind.hidden(row, now)
        else:
            return Decided(row, is_changed=False)
        connection.execute(table.update().where(is_it).values(changes))
        audit.record(
            connection,
            at=now,
            actor=actor,
            action=f"{kind.noun}.{decision}",
            target=f"{brand_id}:{dataset}:{item_id}",
            organization_id=brand.organization_id,
            detail={"reason": made.reason, "was": row[_state_column(changes)]},
        )
    return Decided(row | changes, is_changed=True)


def _unknown(kind: _Kind, brand_id: str, item_id: str) -> UnknownItemError:
    return UnknownItemError(
        f"Brand {brand_id} has no {kind.noun} {item_id!r}.",
        advice="It may be gone from its source since the page was shown: reload it.",
    )


def _redrafted(kind: _Kind, brand_id: str, item_id: str) -> RedraftedError:
    return RedraftedError(
        f"The {kind.noun} {item_id!r} of brand {brand_id} has changed since it was shown.",
        advice="Look at it again, and decide of what it says now.",
    )


def _checked_decision(kind: _Kind, decision: str) -> str:
    if decision not in {*_DECISIONS, kind.undecided}:
        raise InvalidConfigError(
            f"{decision!r} is no decision about a {kind.noun}.",
            advice=f"Give {', '.join(_DECISIONS)} or {kind.undecided}.",
        )
    return decision


def _checked_reason(reason: str) -> str:
    reason = reason.strip()[:_MAX_REASON]
    if not reason:
        raise InvalidConfigError("The reason is empty.", advice="Say why, for those who wonder.")
    return reason


def read_decisions(engine: sa.Engine, *, brand_id: str, dataset: str) -> dict[str, Decision]:
    """What people have decided of a brand's items, by item."""
    columns = item_decisions.c
    query = sa.select(*(columns[name] for name in Decision.__dataclass_fields__)).where(
        columns.brand_id == brand_id, columns.dataset == dataset
    )
    with engine.connect() as connection:
        return {row["item_id"]: Decision(**row) for row in connection.execute(query).mappings()}


def read_tag(engine: sa.Engine, *, brand_ids: Collection[str], dataset: str) -> str:
    """A text that changes with every decision about these brands' items."""
    # A decision that is taken back is not there any more: the last one's instant alone may stay.
    found = sa.select(sa.func.count(), sa.func.max(item_decisions.c.decided_at))
    with engine.connect() as connection:
        count, last_at = connection.execute(found.where(*_are(brand_ids, dataset))).one()
    return f"{count} {last_at}"


def read_last_reasons(
    engine: sa.Engine, *, brand_ids: Collection[str], dataset: str, limit: int
) -> Sequence[str]:
    """What people said last when they decided of these brands' items, each once, latest first."""
    reason, at = item_decisions.c.reason, sa.func.max(item_decisions.c.decided_at)
    found = sa.select(reason).where(*_are(brand_ids, dataset)).group_by(reason)
    with engine.connect() as connection:
        return connection.execute(found.order_by(at.desc(), reason).limit(limit)).scalars().all()


def with_decision(dataset: str, row: Row, decision: Decision | None) -> Row:
    """A row that nobody has decided on yet, with what a person has decided of its item."""
    return row if decision is None else row | _kind(dataset).shown(row, decision)


def _kind(dataset: str) -> _Kind:
    if dataset not in _KINDS:
        raise InvalidConfigError(
            f"Nobody decides about {dataset}.", advice=f"Decisions are about {', '.join(_KINDS)}."
        )
    return _KINDS[dataset]


def _state_column(changes: Row) -> str:
    return next(iter(changes))


def _store(connection: sa.Connection, brand_id: str, dataset: str, decision: Decision) -> None:
    values = asdict(decision)
    insert = dialect_insert(connection, item_decisions).values(
        brand_id=brand_id, dataset=dataset, **values
    )
    connection.execute(
        insert.on_conflict_do_update(
            index_elements=["brand_id", "dataset", "item_id"],
            set_={name: values[name] for name in values if name != "item_id"},
        )
    )


def _take_back(connection: sa.Connection, brand_id: str, dataset: str, item_id: str) -> bool:
    """Forget what a person has decided of the item; False when nobody has."""
    is_it = (*_are([brand_id], dataset), item_decisions.c.item_id == item_id)
    return connection.execute(item_decisions.delete().where(*is_it)).rowcount > 0


def _are(brand_ids: Collection[str], dataset: str) -> tuple[sa.ColumnElement[bool], ...]:
    return item_decisions.c.brand_id.in_(brand_ids), item_decisions.c.dataset == dataset

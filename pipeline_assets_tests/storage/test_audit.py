"""The audit log: part of the change's own transaction, masked, read page by page."""

from datetime import UTC, date, datetime, timedelta

import pytest
from sqlalchemy import Engine

from pipeline_assets.redaction import MASK, register_secret
from pipeline_assets.storage.audit import AuditEntry, read_audit, record
from pipeline_assets.storage.engine import write_transaction

NOON = datetime(2026, 7, 25, 12, 0, tzinfo=UTC)


def store(
    engine: Engine,
    target: str,
    *,
    at: datetime = NOON,
    organization_id: str | None = None,
    **detail: object,
) -> None:
    with write_transaction(engine) as connection:
        record(
            connection,
            at=at,
            actor="cli:alice",
            action="brand.pause",
            target=target,
            organization_id=organization_id,
            detail=detail,
        )


def targets(entries: list[AuditEntry]) -> list[str]:
    return [entry.target for entry in entries]


def test_an_entry_is_read_back_as_it_was_recorded(engine: Engine) -> None:
    with write_transaction(engine) as connection:
        record(
            connection,
            at=NOON,
            actor="token:reporting",
            action="request.cancel",
            target="acme:meta_sync",
            organization_id="north",
            request_id="r1",
            detail={"since": date(2026, 7, 1), "until": NOON, "datasets": ("a", "b"), "tries": 2},
        )
    [entry] = read_audit(engine, limit=10)
    assert len(entry.id) == 32
    assert entry.as_row() == {
        "id": entry.id,
        "at": NOON,
        "actor": "token:reporting",
        "action": "request.cancel",
        "target": "acme:meta_sync",
        "organization_id": "north",
        "request_id": "r1",
        "detail": {
            "since": "2026-07-01",
            "until": "2026-07-25T12:00:00+00:00",
            "datasets": ["a", "b"],
            "tries": 2,
        },
    }


def test_an_entry_goes_with_the_change_that_was_rolled_back(engine: Engine) -> None:
    def change_and_fail() -> None:
        with write_transaction(engine) as connection:
            record(connection, at=NOON, actor="cli:alice", action="brand.add", target="acme")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        change_and_fail()
    assert read_audit(engine, limit=10) == []


def test_secrets_are_masked_however_deep_they_stand(engine: Engine) -> None:
    register_secret("planted-secret-1234")
    store(engine, "acme", reason="for planted-secret-1234", more=[{"url": "x?access_token=abc"}])
    [entry] = read_audit(engine, limit=1)
    assert entry.detail == {"reason": f"for {MASK}", "more": [{"url": f"x?access_token={MASK}"}]}


def test_pages_follow_each_other_without_gap_or_repetition(engine: Engine) -> None:
    for number in range(7):  # several at one instant
        store(engine, f"brand-{number}", at=NOON + timedelta(seconds=number // 3))
    whole = read_audit(engine, limit=10)
    first = read_audit(engine, limit=4)
    second = read_audit(engine, limit=4, before=first[-1].position)
    assert first + second == whole
    assert targets(whole)[0] == "brand-6"
    assert set(targets(whole)) == {f"brand-{number}" for number in range(7)}
    assert read_audit(engine, limit=4, before=second[-1].position) == []


def test_a_target_brings_what_belongs_to_it_and_no_namesakes(engine: Engine) -> None:
    for target in ("a_b", "a_b:meta_sync", "axb:meta_sync", "a_b-2", "a_b-2:meta_sync"):
        store(engine, target)
    assert sorted(targets(read_audit(engine, target="a_b", limit=10))) == ["a_b", "a_b:meta_sync"]


def test_an_organization_sees_its_own_entries_only(engine: Engine) -> None:
    store(engine, "acme", organization_id="north")
    store(engine, "globex", organization_id="south")
    store(engine, "installation")
    assert targets(read_audit(engine, organization_ids=["north"], limit=10)) == ["acme"]

"""What a test of access keeps when Meta does not answer; a server that does is in the web tests."""

import threading
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from pipeline_assets.brands.models import Brand, parse_brand
from pipeline_assets.control.access_tests import read_last_access, try_access
from pipeline_assets.errors import CredentialError
from pipeline_assets.sources.meta import GraphClient

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)


def brand(brand_id: str = "acme") -> Brand:
    meta = {"ad_accounts": ["act_1"], "token": "env:NOT_SET_ANYWHERE"}
    fields = {"id": brand_id, "name": brand_id, "timezone": "UTC", "sources": {"meta": meta}}
    return parse_brand(fields)


def test_what_kept_us_from_asking_is_a_finding_and_is_kept(engine: sa.Engine) -> None:
    def client_of(_: Brand) -> GraphClient:
        raise CredentialError("The secret is missing.", advice="Set it.")

    test = try_access(engine, brand(), client_of, actor="user:bob", now=NOW)
    assert [(each.subject, each.ok, each.message, each.advice) for each in test.findings] == [
        ("token", False, "The secret is missing.", "Set it.")
    ]
    assert not test.is_ok
    assert read_last_access(engine, brand()) == test
    assert read_last_access(engine, brand("globex")) is None


def test_an_answer_that_does_not_come_in_time_is_a_finding_and_the_newest_one_counts(
    engine: sa.Engine,
) -> None:
    forever = threading.Event()

    def hang(_: Brand) -> GraphClient:
        forever.wait()
        raise CredentialError("Too late.")

    def refuse(_: Brand) -> GraphClient:
        raise CredentialError("The secret is missing.")

    try_access(engine, brand(), refuse, actor="user:bob", now=NOW)
    later = NOW + timedelta(seconds=1)
    test = try_access(engine, brand(), hang, actor="user:eve", now=later, timeout_seconds=0.1)
    forever.set()
    assert "within 0.1 s" in test.findings[0].message
    assert read_last_access(engine, brand()) == test


def test_a_bug_is_not_taken_for_a_finding(engine: sa.Engine) -> None:
    def client_of(_: Brand) -> GraphClient:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        try_access(engine, brand(), client_of, actor="user:bob", now=NOW)
    assert read_last_access(engine, brand()) is None

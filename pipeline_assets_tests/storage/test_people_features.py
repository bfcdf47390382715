"""Feature switches, on both databases: what an organization hides, and who still sees it."""

from collections.abc import Collection
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine

from pipeline_assets.brands.models import Organization
from pipeline_assets.brands.registry import add_organization
from pipeline_assets.datasets import Reader
from pipeline_assets.errors import InvalidConfigError
from pipeline_assets.people.features import (
    FEATURES,
    FeatureSwitch,
    hidden_features,
    is_hidden,
    list_features,
    set_feature,
)
from pipeline_assets.people.roles import EVERY
from pipeline_assets.storage import tables
from pipeline_assets.storage.audit import read_audit

NOON = datetime(2026, 7, 25, 12, 0, tzinfo=UTC)
PAGE = "ad_performance"


@pytest.fixture
def tenants(engine: Engine) -> Engine:
    """The database with the organizations default and north."""
    north = Organization(id="north", name="North")
    add_organization(engine, north, actor="cli:me", now=NOON - timedelta(days=1))
    return engine


def switch(
    engine: Engine,
    organization_id: str,
    *,
    is_shown: bool,
    feature: str = PAGE,
    at: datetime = NOON,
) -> FeatureSwitch:
    return set_feature(engine, organization_id, feature, is_shown=is_shown, actor="cli:me", now=at)


def test_the_pipeline_manager_and_each_readers_page_can_be_hidden() -> None:
    assert ("pipeline_manager", *Reader) == FEATURES
    assert PAGE in FEATURES


@pytest.mark.parametrize("organization_ids", [None, {"default"}, ["default", "north"]])
def test_everything_is_shown_until_somebody_hides_it(
    tenants: Engine, organization_ids: Collection[str] | None
) -> None:
    assert hidden_features(tenants, organization_ids) == frozenset()
    assert not is_hidden(tenants, "north", PAGE)


def test_a_page_is_hidden_from_those_whose_every_organization_hides_it(tenants: Engine) -> None:
    switch(tenants, "north", is_shown=False)
    assert hidden_features(tenants, ["north"]) == {PAGE}
    assert hidden_features(tenants, ["default"]) == frozenset()
    assert hidden_features(tenants, ["default", "north"]) == frozenset()
    assert hidden_features(tenants, None) == frozenset()
    switch(tenants, "default", is_shown=False)
    switch(tenants, "default", is_shown=False, feature="pipeline_manager")
    assert hidden_features(tenants, ["default"]) == {PAGE, "pipeline_manager"}
    assert hidden_features(tenants, ["default", "north"]) == {PAGE}
    assert hidden_features(tenants, None) == {PAGE}
    switch(tenants, "north", is_shown=True)
    assert hidden_features(tenants, None) == frozenset()
    assert hidden_features(tenants, ["default"]) == {PAGE, "pipeline_manager"}


def test_the_page_of_a_brand_is_hidden_by_its_own_organization_only(tenants: Engine) -> None:
    switch(tenants, "north", is_shown=False)
    assert is_hidden(tenants, "north", PAGE)
    assert not is_hidden(tenants, "north", "pipeline_manager")
    assert not is_hidden(tenants, "default", PAGE)


def test_who_belongs_to_no_organization_sees_nothing(tenants: Engine) -> None:
    assert hidden_features(tenants, []) == frozenset(FEATURES)


def test_a_switch_of_a_page_that_no_longer_exists_is_ignored(engine: Engine) -> None:
    old = {"organization_id": "default", "feature": "old_page", "is_shown": False}
    with engine.begin() as connection:
        insertion = tables.feature_switches.insert()
        connection.execute(insertion.values(**old, updated_at=NOON, updated_by="cli:me"))
    assert hidden_features(engine, ["default"]) == frozenset()
    assert [found.feature for found in list_features(engine)] == list(FEATURES)


def test_a_list_holds_a_switch_for_every_page_of_every_organization(tenants: Engine) -> None:
    set_ = switch(tenants, "north", is_shown=False)
    assert set_ == FeatureSwitch(
        "north", PAGE, is_shown=False, updated_at=NOON, updated_by="cli:me"
    )
    expected = [
        FeatureSwitch(organization_id, feature)
        for organization_id in ("default", "north")
        for feature in FEATURES
    ]
    assert all(found.is_shown and found.updated_by is None for found in expected)
    expected[expected.index(FeatureSwitch("north", PAGE))] = set_
    assert list_features(tenants) == expected
    assert list_features(tenants, organization_ids={"north"}) == expected[len(FEATURES) :]
    assert list_features(tenants, organization_ids=[]) == []


def test_a_switch_is_changed_and_each_change_is_in_the_audit_log(tenants: Engine) -> None:
    later = NOON + timedelta(hours=1)
    switch(tenants, "north", is_shown=False)
    shown = switch(tenants, "north", is_shown=True, at=later)
    assert shown in list_features(tenants)
    newest, before, *_ = read_audit(tenants, limit=9)
    assert (newest.at, before.at) == (later, NOON)
    for entry, is_shown in ((newest, True), (before, False)):
        assert (entry.actor, entry.action) == ("cli:me", "feature.set")
        assert (entry.target, entry.organization_id) == ("feature/ad_performance", "north")
        assert entry.detail == {"is_shown": is_shown}


@pytest.mark.parametrize(
    ("organization_id", "feature", "message"),
    [
        ("nowhere", PAGE, "There is no organization 'nowhere'"),
        (EVERY, PAGE, r"There is no organization '\*'"),
        ("default", "no_page", "There is no feature 'no_page'"),
    ],
)
def test_an_unknown_organization_or_page_is_refused(
    engine: Engine, organization_id: str, feature: str, message: str
) -> None:
    with pytest.raises(InvalidConfigError, match=message):
        switch(engine, organization_id, is_shown=False, feature=feature)
    assert read_audit(engine, limit=9) == []

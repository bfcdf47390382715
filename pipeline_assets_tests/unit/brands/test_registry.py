"""The registry on both databases: add, apply, pause, find, and the brands file."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, select

from pipeline_assets.brands.models import Brand
from pipeline_assets.brands.registry import (
    AppliedBrands,
    Organization,
    add_brand,
    add_organization,
    apply_brands,
    get_brand,
    list_brand_ids,
    list_brands,
    list_organizations,
    list_with_unreadable,
    load_brands_file,
    pause_brand,
    resume_brand,
)
from pipeline_assets.errors import InvalidConfigError
from pipeline_assets.storage.audit import read_audit
from pipeline_assets.storage.engine import write_transaction
from pipeline_assets.storage.tables import brands

NOW = datetime(2026, 7, 25, 12, 0, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)


def make_brand(brand_id: str, **changes: object) -> Brand:
    data = {
        "id": brand_id,
        "name": brand_id.title(),
        "timezone": "Europe/Berlin",
        "sources": {"meta": {"ad_accounts": ["act_1", "act_2"], "token": "env:META_TOKEN"}},
        "windows": {"scorecard": 48},
        "max_runtime_minutes": {"meta_sync": 90},
    }
    return Brand.model_validate(data | changes)


def refusal(error: pytest.ExceptionInfo[InvalidConfigError]) -> tuple[str, str]:
    return str(error.value), error.value.advice


def test_a_brand_is_read_back_as_it_was_added(engine: Engine) -> None:
    brand = make_brand("acme", name="Ä" * 200, paused_at=NOW, paused_reason="no budget")
    add_brand(engine, brand, actor="test", now=NOW)
    assert get_brand(engine, "acme") == brand
    assert list_brands(engine) == [brand]


def test_an_actors_input_is_stored_to_its_limits(engine: Engine) -> None:
    deepest: list[object] = []
    for _ in range(30):
        deepest = [deepest]
    given = {"deepest": deepest, "numbers": [2**63 - 1, 1 - 2**63, 1e-300], "day": NOW.date()}
    actor = {"actor": "me/reviews", "token": "env:X", "input": given}
    sources = {"amazon": {"asins": ["B0ABCDEFGH"], "actor": actor}}
    add_brand(engine, make_brand("acme", sources=sources), actor="test", now=NOW)
    amazon = get_brand(engine, "acme").sources.amazon
    assert amazon is not None
    assert amazon.actor.input == given | {"day": "2026-07-25"}


def test_a_row_that_cannot_be_read_is_left_aside_named_and_mended_by_applying(
    engine: Engine,
) -> None:
    templates = {"templates": {"search_terms": ["shoes"], "approve_from": 70}}
    wanted = [make_brand("bad", sources=templates), make_brand("good")]
    apply_brands(engine, wanted, actor="test", now=NOW)
    pause_brand(engine, "bad", reason="holiday", actor="test", now=NOW)
    wrong = {"templates": {"search_terms": ["shoes"], "approve_from": -5}}
    with write_transaction(engine) as connection:
        connection.execute(brands.update().where(brands.c.id == "bad").values(sources=wrong))
    assert [brand.id for brand in list_brands(engine)] == ["good"]
    assert list_brand_ids(engine) == ["bad", "good"]
    readable, unreadable = list_with_unreadable(engine)
    assert ([brand.id for brand in readable], list(unreadable)) == (["good"], ["bad"])
    problem = unreadable["bad"]
    with pytest.raises(InvalidConfigError) as caught:
        get_brand(engine, "bad")
    assert refusal(caught) == (str(problem), problem.advice)
    assert refusal(caught) == (
        (
            "Brand bad: sources.templates.approve_from is -5: input should be greater than or equal"
            " to 0. So it stands in the registry."
        ),
        "Write the brand into a file as it shall be, and `pipeline-assets brands apply FILE`.",
    )
    applied = apply_brands(engine, wanted, actor="test", now=LATER)
    assert applied == AppliedBrands(added=(), changed=("bad",), unchanged=("good",))
    assert get_brand(engine, "bad").paused_reason == "holiday"
    assert list_with_unreadable(engine)[1] == {}
    assert audited(engine)[-1][1:] == ("brand.change", "bad", "default", {"fields": ["sources"]})


def test_brands_are_listed_by_id_and_organization(engine: Engine) -> None:
    add_organization(engine, Organization(id="agency", name="The Agency"), actor="test", now=NOW)
    assert [found.id for found in list_organizations(engine)] == ["agency", "default"]
    for brand_id, organization_id in {"b": "agency", "a_1": "default", "a-2": "agency"}.items():
        add_brand(
            engine, make_brand(brand_id, organization_id=organization_id), actor="test", now=NOW
        )
    assert [brand.id for brand in list_brands(engine)] == ["a-2", "a_1", "b"]
    agency = list_brands(engine, organization_ids=["agency"])
    assert [brand.id for brand in agency] == ["a-2", "b"]


def test_an_unknown_brand_is_told_with_what_is_close(engine: Engine) -> None:
    add_brand(engine, make_brand("acme-shoes"), actor="test", now=NOW)
    with pytest.raises(InvalidConfigError) as caught:
        get_brand(engine, "acme-shoe")
    assert refusal(caught) == (
        "There is no brand 'acme-shoe'.",
        "Did you mean acme-shoes? pipeline-assets brands list shows all.",
    )


def test_a_brand_of_another_organization_looks_like_an_unknown_one(engine: Engine) -> None:
    add_organization(engine, Organization(id="agency", name="The Agency"), actor="test", now=NOW)
    add_brand(engine, make_brand("acme", organization_id="agency"), actor="test", now=NOW)
    assert get_brand(engine, "acme", organization_ids=["agency"]).id == "acme"
    refusals = []
    for brand_id in ("acme", "acmf"):
        with pytest.raises(InvalidConfigError) as caught:
            get_brand(engine, brand_id, organization_ids=["default"])
        refusals.append((str(caught.value).replace(brand_id, "_"), caught.value.advice))
    assert refusals[0] == refusals[1]
    assert "acme" not in refusals[1][1]


def test_an_id_that_is_taken_is_refused(engine: Engine) -> None:
    add_brand(engine, make_brand("acme"), actor="test", now=NOW)
    with pytest.raises(InvalidConfigError, match="There is a brand acme already"):
        add_brand(engine, make_brand("acme", name="Other"), actor="test", now=NOW)
    with pytest.raises(InvalidConfigError, match="There is an organization default already"):
        add_organization(engine, Organization(id="default", name="Other"), actor="test", now=NOW)
    assert get_brand(engine, "acme").name == "Acme"


def test_a_brand_needs_an_organization_that_is_there(engine: Engine) -> None:
    with pytest.raises(InvalidConfigError, match="there is no organization 'nobody'"):
        add_brand(engine, make_brand("acme", organization_id="nobody"), actor="test", now=NOW)


def test_applying_adds_changes_and_leaves_the_rest(engine: Engine) -> None:
    for brand_id in ("same", "other", "unnamed"):
        add_brand(engine, make_brand(brand_id), actor="test", now=NOW)
    wanted = [make_brand("new"), make_brand("other", timezone="Asia/Tokyo"), make_brand("same")]
    assert apply_brands(engine, wanted, actor="test", now=LATER) == AppliedBrands(
        added=("new",), changed=("other",), unchanged=("same",)
    )
    assert get_brand(engine, "other").timezone == "Asia/Tokyo"
    with engine.connect() as connection:
        times = select(brands.c.id, brands.c.created_at, brands.c.updated_at)
        assert sorted(connection.execute(times).tuples()) == [
            ("new", LATER, LATER),
            ("other", NOW, LATER),
            ("same", NOW, NOW),
            ("unnamed", NOW, NOW),
        ]
    assert apply_brands(engine, wanted, actor="test", now=LATER).unchanged == (
        "new",
        "other",
        "same",
    )


def test_applying_is_all_or_nothing(engine: Engine) -> None:
    wanted = [make_brand("good"), make_brand("bad", organization_id="nobody")]
    with pytest.raises(InvalidConfigError, match="Brand bad: there is no organization 'nobody'"):
        apply_brands(engine, wanted, actor="test", now=NOW)
    assert list_brands(engine) == []
    with pytest.raises(InvalidConfigError, match="Named more than once: twice"):
        apply_brands(engine, [make_brand("twice"), make_brand("twice")], actor="test", now=NOW)


def test_applying_leaves_a_pause_and_an_organization_alone(engine: Engine) -> None:
    add_brand(engine, make_brand("acme"), actor="test", now=NOW)
    pause_brand(engine, "acme", reason="holiday", actor="test", now=NOW)
    apply_brands(engine, [make_brand("acme", name="New name")], actor="test", now=LATER)
    assert get_brand(engine, "acme").paused_reason == "holiday"
    add_organization(engine, Organization(id="agency", name="The Agency"), actor="test", now=NOW)
    with pytest.raises(InvalidConfigError, match="belongs to organization default, not to agency"):
        apply_brands(
            engine, [make_brand("acme", organization_id="agency")], actor="test", now=LATER
        )


def test_a_pause_holds_until_it_ends_or_somebody_resumes(engine: Engine) -> None:
    add_brand(engine, make_brand("acme"), actor="test", now=NOW)
    paused = pause_brand(engine, "acme", reason="holiday", until=LATER, actor="test", now=NOW)
    assert paused == get_brand(engine, "acme")
    assert (paused.paused_at, paused.paused_until) == (NOW, LATER)
    assert (paused.is_paused(NOW), paused.is_paused(LATER)) == (True, False)
    assert pause_brand(engine, "acme", reason="longer", actor="test", now=NOW).is_paused(LATER)
    for _ in range(2):
        assert resume_brand(engine, "acme", actor="test", now=LATER) == make_brand("acme")


def test_a_pause_into_the_past_and_of_nobody_is_refused(engine: Engine) -> None:
    add_brand(engine, make_brand("acme"), actor="test", now=NOW)
    with pytest.raises(InvalidConfigError, match="that is over"):
        pause_brand(engine, "acme", reason="late", until=NOW, actor="test", now=NOW)
    with pytest.raises(InvalidConfigError, match="There is no brand 'nobody'"):
        pause_brand(engine, "nobody", reason="?", actor="test", now=NOW)
    assert get_brand(engine, "acme") == make_brand("acme")


def audited(engine: Engine) -> list[tuple[str, str, str, str | None, object]]:
    """The entries, oldest first, without the time."""
    return [
        (entry.actor, entry.action, entry.target, entry.organization_id, dict(entry.detail))
        for entry in reversed(read_audit(engine, limit=100))
    ]


def test_every_change_is_in_the_audit_log_with_who_made_it(engine: Engine) -> None:
    steps = iter(NOW + timedelta(minutes=n) for n in range(10))
    add_organization(engine, Organization(id="north", name="N"), actor="cli:a", now=next(steps))
    brand = make_brand("acme", organization_id="north")
    add_brand(engine, brand, actor="cli:b", now=next(steps))
    changed = make_brand(
        "acme",
        organization_id="north",
        timezone="Asia/Tokyo",
        sources={"meta": {"ad_accounts": ["act_1"], "token": "env:OTHER_PLACE"}},
    )
    apply_brands(engine, [changed], actor="cli:c", now=next(steps))
    pause_brand(engine, "acme", reason="holiday", until=LATER, actor="cli:d", now=next(steps))
    resume_brand(engine, "acme", actor="cli:e", now=next(steps))
    assert audited(engine) == [
        ("cli:a", "organization.add", "organization/north", "north", {}),
        ("cli:b", "brand.add", "acme", "north", {}),
        ("cli:c", "brand.change", "acme", "north", {"fields": ["timezone", "sources"]}),
        (
            *("cli:d", "brand.pause", "acme", "north"),
            {"reason": "holiday", "until": "2026-07-25T13:00:00+00:00"},
        ),
        ("cli:e", "brand.resume", "acme", "north", {}),
    ]
    newest = read_audit(engine, limit=1)[0]
    assert newest.at == NOW + timedelta(minutes=4)


def test_what_changed_nothing_is_not_in_the_audit_log(engine: Engine) -> None:
    add_brand(engine, make_brand("acme"), actor="cli:a", now=NOW)
    apply_brands(engine, [make_brand("acme")], actor="cli:b", now=LATER)
    resume_brand(engine, "acme", actor="cli:c", now=LATER)
    wanted = [make_brand("new"), make_brand("bad", organization_id="nobody")]
    with pytest.raises(InvalidConfigError):
        apply_brands(engine, wanted, actor="cli:d", now=LATER)
    assert audited(engine) == [("cli:a", "brand.add", "acme", "default", {})]


def test_a_brands_file_is_read(tmp_path: Path) -> None:
    file = tmp_path / "brands.yaml"
    file.write_text(
        "brands:\n"
        "  - id: acme\n"
        "    name: Acme\n"
        "    timezone: Europe/Berlin\n"
        "    sources: {meta: {ad_accounts: [1, act_2], token: env:META_TOKEN}}\n"
        "    windows: {scorecard: 48}\n"
        "    max_runtime_minutes: {meta_sync: 90}\n"
    )
    assert load_brands_file(file) == [make_brand("acme")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("brands: [}", "cannot be read: expected the node content, but found '}' in line 1."),
        ("- id: acme", "must hold `brands:` and nothing else."),
        ("", "must hold `brands:` and nothing else."),
        ("brands: []\nbrand: []", "must hold `brands:` and nothing else."),
        ("brands: acme", "must be a list."),
        ("brands: [acme]", "entry 1 of `brands:` must hold id, name, …."),
        (
            "brands: [{id: acme, name: Acme, timezone: Mars}]",
            "entry 1: Brand acme: timezone is 'Mars': it must be an IANA time zone such as",
        ),
        ("brands: [{name: Acme}]", "entry 1: Brand ?: id is missing."),
        ("x: \0", "cannot be read: unacceptable character #x0000: special characters are not"),
        ("[" * 3_000, "cannot be read: it is nested too deep."),
        ("x: 2026-02-31", "a value in it is not the date or number that it looks like."),
        ("x: !!bool 7", "a value in it is not the date or number that it looks like."),
        ("x: !!float ''", "a value in it is not the date or number that it looks like."),
        ("x: !!timestamp y", "a value in it is not the date or number that it looks like."),
        ('x: "\\UFFFFFFFF"', "a value in it is not the date or number that it looks like."),
    ],
)
def test_what_is_wrong_with_a_file_is_told(tmp_path: Path, content: str, message: str) -> None:
    file = tmp_path / "brands.yaml"
    file.write_text(content)
    with pytest.raises(InvalidConfigError) as caught:
        load_brands_file(file)
    assert str(file) in str(caught.value)
    assert message in str(caught.value)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfigError, match="cannot be read: No such file or directory"):
        load_brands_file(tmp_path / "none.yaml")

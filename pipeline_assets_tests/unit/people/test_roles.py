"""Roles and principals: who may do what, for every combination."""

import pytest

from pipeline_assets.people.roles import EVERY, Principal, Role

ORDER = [Role.EMBED, Role.VIEWER, Role.OPERATOR, Role.ADMIN]


def principal(**roles: Role) -> Principal:
    return Principal(actor="user:a@x.example", name="A", roles=roles)


def everywhere(role: Role) -> Principal:
    return Principal(actor="user:a@x.example", name="A", roles={EVERY: role})


@pytest.mark.parametrize("held", ORDER)
@pytest.mark.parametrize("asked", ORDER)
def test_a_role_includes_itself_and_those_before_it(held: Role, asked: Role) -> None:
    assert list(Role) == ORDER
    assert held.includes(asked) is (ORDER.index(held) >= ORDER.index(asked))


@pytest.mark.parametrize("held", ORDER)
@pytest.mark.parametrize("asked", ORDER)
def test_a_role_holds_in_its_own_organization_and_nowhere_else(held: Role, asked: Role) -> None:
    north = principal(north=held)
    assert north.may(asked, "north") is held.includes(asked)
    assert north.may_anywhere(asked) is held.includes(asked)
    assert not north.may(asked, "south")
    assert not north.may(asked, None)
    assert not north.may(asked, EVERY)


@pytest.mark.parametrize("held", ORDER)
@pytest.mark.parametrize("asked", ORDER)
def test_a_role_for_every_organization_holds_in_each_and_for_the_installation(
    held: Role, asked: Role
) -> None:
    for organization_id in ("north", "south", None, EVERY):
        assert everywhere(held).may(asked, organization_id) is held.includes(asked)
    assert everywhere(held).may_anywhere(asked) is held.includes(asked)


@pytest.mark.parametrize("general", ORDER)
@pytest.mark.parametrize("special", ORDER)
@pytest.mark.parametrize("asked", ORDER)
def test_of_a_general_and_a_special_role_the_higher_one_counts(
    general: Role, special: Role, asked: Role
) -> None:
    both = Principal(actor="user:a", name="A", roles={EVERY: general, "north": special})
    assert both.may(asked, "north") is (general.includes(asked) or special.includes(asked))
    assert both.may(asked, "south") is general.includes(asked)
    assert both.may(asked, None) is general.includes(asked)


@pytest.mark.parametrize("asked", ORDER)
def test_nobody_without_a_role_may_do_anything(asked: Role) -> None:
    assert not principal().may(asked, "north")
    assert not principal().may(asked, None)
    assert not principal().may_anywhere(asked)
    assert principal().organizations_with(asked) == frozenset()


def test_organizations_are_those_where_the_role_is_enough() -> None:
    person = principal(north=Role.ADMIN, south=Role.VIEWER, east=Role.EMBED)
    assert person.organizations_with(Role.EMBED) == {"north", "south", "east"}
    assert person.organizations_with(Role.VIEWER) == person.organization_ids == {"north", "south"}
    assert person.organizations_with(Role.OPERATOR) == {"north"}
    assert person.organizations_with(Role.ADMIN) == {"north"}


def test_all_organizations_are_told_by_none() -> None:
    assert everywhere(Role.VIEWER).organization_ids is None
    assert everywhere(Role.EMBED).organization_ids == frozenset()
    roles = {EVERY: Role.VIEWER, "north": Role.ADMIN}
    general = Principal(actor="user:a", name="A", roles=roles)
    assert general.organization_ids is None
    assert general.organizations_with(Role.ADMIN) == {"north"}


def test_only_an_admin_of_all_that_a_person_reaches_may_administer_them() -> None:
    both = {"north": Role.VIEWER, "south": Role.VIEWER}
    assert principal(north=Role.ADMIN).may_administer({"north": Role.ADMIN})
    assert principal(north=Role.ADMIN, south=Role.ADMIN).may_administer(both)
    assert not principal(north=Role.ADMIN).may_administer(both)
    assert not principal(north=Role.OPERATOR).may_administer({"north": Role.VIEWER})
    assert not principal(north=Role.ADMIN).may_administer({EVERY: Role.VIEWER})
    assert everywhere(Role.ADMIN).may_administer({EVERY: Role.ADMIN, **both})


def test_a_person_without_any_role_is_a_matter_of_the_whole_installation() -> None:
    assert not principal(north=Role.ADMIN).may_administer({})
    assert everywhere(Role.ADMIN).may_administer({})

"""Account over HTTP: one's own password and sessions, and nobody else's."""

import re
from typing import TYPE_CHECKING

import httpx
import pytest

from pipeline_assets.people.roles import Role
from pipeline_assets.people.sign_in import SignInRefused, sign_in
from pipeline_assets.storage.audit import read_audit

if TYPE_CHECKING:
    from conftest import Site

OLD, NEW = "a password for tests", "another password for tests"
EMAIL = "viewer@north.example"
HTMX = {"HX-Request": "true"}


def change(client: httpx.Client, old: str, new: str, again: str = "") -> httpx.Response:
    fields = {"old": old, "new": new, "again": again or new}
    return client.post("/account/password", data=fields, headers=HTMX)


def enter(site: "Site", password: str) -> None:
    sign_in(
        site.engine,
        email=EMAIL,
        password=password,
        address="127.0.0.1",
        user_agent="",
        now=site.clock.now,
    )


def session_ids(page: str) -> list[str]:
    return re.findall(r'<tr id="session-([0-9a-f]{64})"', page)


def test_the_page_shows_who_one_is_and_where_one_is_signed_in(site: "Site") -> None:
    viewer = site.person(Role.VIEWER)
    site.browser(EMAIL)
    page = viewer.get("/account").text
    assert EMAIL in page
    assert "viewer of north" in page
    assert len(session_ids(page)) == 2
    assert page.count("<b>this one</b>") == 1


def test_a_new_password_takes_the_old_one_and_ends_all_sessions(site: "Site") -> None:
    viewer, elsewhere = site.person(Role.VIEWER), site.browser(EMAIL)
    answer = change(viewer, OLD, NEW)
    assert answer.status_code == 204
    assert answer.headers["HX-Redirect"] == "/sign-in?next=/account"
    assert viewer.get("/account").status_code == 303
    assert elsewhere.get("/account").status_code == 303
    enter(site, NEW)
    with pytest.raises(SignInRefused):
        enter(site, OLD)
    actions = [entry.action for entry in read_audit(site.engine, target=EMAIL, limit=10)]
    assert "user.password" in actions


def test_without_scripts_the_answer_leads_to_the_sign_in(sqlite_site: "Site") -> None:
    viewer = sqlite_site.person(Role.VIEWER)
    answer = viewer.post("/account/password", data={"old": OLD, "new": NEW, "again": NEW})
    assert answer.status_code == 303
    assert answer.headers["location"] == "/sign-in?next=/account"


@pytest.mark.parametrize(
    ("old", "new", "again", "said"),
    [
        ("wrong password", NEW, NEW, "The old password is wrong. Nothing was changed."),
        (OLD, "short", "short", "new cannot be used"),
        (OLD, NEW, NEW + "!", "The new password and its repetition differ."),
        (OLD, "n" * 10_000, "n" * 10_000, "cannot be used"),
    ],
)
def test_what_cannot_be_is_refused_and_changes_nothing(
    sqlite_site: "Site", old: str, new: str, again: str, said: str
) -> None:
    viewer = sqlite_site.person(Role.VIEWER)
    answer = change(viewer, old, new, again)
    assert answer.status_code == 422
    assert said in answer.text
    assert len(session_ids(viewer.get("/account").text)) == 1
    enter(sqlite_site, OLD)


def test_somebody_at_an_open_screen_cannot_try_many_passwords(sqlite_site: "Site") -> None:
    viewer = sqlite_site.person(Role.VIEWER)
    statuses = [change(viewer, f"guess number {n}", NEW).status_code for n in range(12)]
    assert statuses[0] == 422
    assert statuses[-1] == 429


def test_one_revokes_ones_own_sessions_and_no_one_elses(site: "Site") -> None:
    viewer, elsewhere = site.person(Role.VIEWER), site.browser(EMAIL)
    other = site.person(Role.OPERATOR)
    [theirs] = session_ids(other.get("/account").text)
    fields = {"session_id": theirs}
    assert viewer.post("/account/sessions/revoke", data=fields, headers=HTMX).status_code == 404
    page = viewer.get("/account").text
    own = re.findall(r'session-([0-9a-f]{64})"><td>(?:(?!</td>).)*this one', page)
    [second] = set(session_ids(page)) - set(own)
    fields = {"session_id": second}
    assert viewer.post("/account/sessions/revoke", data=fields, headers=HTMX).status_code == 204
    assert elsewhere.get("/account").status_code == 303
    assert viewer.post("/account/sessions/revoke", headers=HTMX).status_code == 204
    assert viewer.get("/account").status_code == 303
    assert other.get("/account").status_code == 200


def test_an_account_is_a_persons(sqlite_site: "Site") -> None:
    assert sqlite_site.anonymous().get("/account").status_code == 303
    assert sqlite_site.program(Role.ADMIN).get("/account").status_code == 403
    program = sqlite_site.program(Role.VIEWER)
    assert change(program, OLD, NEW).status_code == 403
    viewer = sqlite_site.person(Role.VIEWER)
    del viewer.headers["X-CSRF-Token"]
    assert change(viewer, OLD, NEW).status_code == 403

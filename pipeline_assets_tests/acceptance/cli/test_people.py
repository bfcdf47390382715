"""`pipeline-assets users`, `tokens` and `features`: who may sign in, and what they see."""

from __future__ import annotations

import getpass
import io
import os
import pty
import re
import subprocess
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from pipeline_assets.clock import utcnow
from pipeline_assets.people.features import FEATURES
from pipeline_assets.people.roles import EVERY, Role
from pipeline_assets.people.sign_in import SignInRefused, sign_in
from pipeline_assets.people.tokens import read_token
from pipeline_assets.storage.engine import build_engine

if TYPE_CHECKING:
    from conftest import CommandLine, Outcome

ME = f"cli:{getpass.getuser()}"
PASSWORD = "correct horse battery"


@pytest.fixture
def piped(cli: CommandLine, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs a command with a text on its standard input."""

    def run(text: str, *arguments: str) -> Outcome:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
        return cli(*arguments, "--password-stdin")

    return run


def may_sign_in(cli: CommandLine, email: str, password: str = PASSWORD) -> bool:
    engine = build_engine(f"sqlite:///{cli.home / 'pipeline_assets.db'}")
    try:
        sign_in(engine, email=email, password=password, address="::1", user_agent="", now=utcnow())
    except SignInRefused:
        return False
    finally:
        engine.dispose()
    return True


def test_a_person_is_added_listed_changed_disabled_and_enabled(
    cli: CommandLine, piped: Any
) -> None:
    told = "No user yet. `pipeline-assets users add --help` shows how to add one.\n"
    assert cli.done("users", "list").out == told
    cli.done("organizations", "add", "north")
    cli.done("organizations", "add", "south")
    add = ("users", "add", "Alice@X.example", "--name", "Alice", "--role", "operator")
    added = piped(PASSWORD + "\n", *add, "--organization", "north", "--organization", "south")
    assert (added.code, added.out, added.err) == (0, "Added alice@x.example.\n", "")
    root = piped(PASSWORD, "users", "add", "root@x.example", "--role", "admin", "--json")
    assert root.json["roles"] == {EVERY: "admin"}
    assert root.json["name"] == "root@x.example"

    [alice, _] = cli.done("users", "list", "--json").json
    assert alice["roles"] == {"north": "operator", "south": "operator"}
    assert (alice["name"], alice["has_password"], alice["disabled_at"]) == ("Alice", True, None)
    assert "password_hash" not in alice
    assert "north=operator, south=operator" in cli.done("users", "list").out
    assert may_sign_in(cli, "alice@x.example")

    changed = cli.done("users", "set-roles", "alice@x.example", "--role", "viewer")
    assert changed.out == "alice@x.example is now viewer of all organizations.\n"
    to_north = ("--role", "viewer", "--organization", "north")
    changed = cli.done("users", "set-roles", "alice@x.example", *to_north)
    assert changed.out == "alice@x.example is now viewer of north.\n"

    disabled = cli.done("users", "disable", "ALICE@x.example")
    assert disabled.out == "alice@x.example can no longer sign in.\n"
    assert not may_sign_in(cli, "alice@x.example")
    enabled = cli.done("users", "enable", "alice@x.example", "--json").json
    assert enabled["disabled_at"] is None

    other = piped("another password\n", "users", "set-password", "alice@x.example")
    assert (other.code, other.out) == (0, "alice@x.example has another password.\n")
    assert not may_sign_in(cli, "alice@x.example")
    assert may_sign_in(cli, "alice@x.example", "another password")

    entries = cli.done("audit", "--target", "alice@x.example", "--json").json
    assert [(entry["action"], entry["actor"]) for entry in reversed(entries)] == [
        ("user.add", ME),
        ("sign_in", "user:alice@x.example"),
        ("user.roles", ME),
        ("user.roles", ME),
        ("user.disable", ME),
        ("user.enable", ME),
        ("user.password", ME),
        ("sign_in", "user:alice@x.example"),
    ]
    for command in (("users", "list"), ("audit",), ("users", "list", "--json")):
        assert PASSWORD not in cli.done(*command).out


def test_without_a_terminal_and_without_a_pipe_it_is_said_how_to_give_a_password(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(PASSWORD))  # no terminal
    said = cli.refused("users", "add", "alice@x.example", "--role", "viewer")
    assert "There is no terminal at which to ask for the password." in said
    assert "--password-stdin" in said
    assert cli.done("users", "list", "--json").json == []


@pytest.mark.parametrize("repeated", [PASSWORD, "something else"])
def test_at_a_terminal_the_password_is_asked_for_twice_and_not_shown(
    cli: CommandLine, repeated: str
) -> None:
    ours, theirs = pty.openpty()
    streams = {"stdin": theirs, "stdout": theirs, "stderr": theirs, "start_new_session": True}
    process = cli.start("users", "add", "alice@x.example", "--role", "viewer", **streams)
    os.close(theirs)
    shown = answer(ours, "Password: ", PASSWORD)
    shown += answer(ours, "Repeat for confirmation: ", repeated)
    if repeated != PASSWORD:
        shown += answer(ours, "Password: ", PASSWORD)
        shown += answer(ours, "Repeat for confirmation: ", PASSWORD)
    shown += read_until(ours, "Added alice@x.example.")
    assert process.wait(timeout=30) == 0
    os.close(ours)
    assert PASSWORD not in shown
    assert ("do not match" in shown) is (repeated != PASSWORD)
    assert may_sign_in(cli, "alice@x.example")


def answer(terminal: int, question: str, text: str) -> str:
    """Wait for a question and type an answer; what the terminal showed."""
    shown = read_until(terminal, question)
    os.write(terminal, text.encode() + b"\n")
    return shown


def read_until(terminal: int, end: str) -> str:
    shown = b""
    while end.encode() not in shown:
        shown += os.read(terminal, 4096)
    return shown.decode()


def test_a_password_that_is_no_text_is_refused(cli: CommandLine) -> None:
    process = cli.start(
        *("users", "add", "alice@x.example", "--role", "viewer", "--password-stdin"),
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    _, said = process.communicate(b"\xff" * 20, timeout=30)
    assert process.returncode == 1
    assert said == b"Error: The password on standard input is no text in UTF-8.\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("users", "add", "alice", "--role", "viewer"), "'alice' is not an email address."),
        (
            ("users", "add", "a@x", "--role", "viewer", "--organization", "nowhere"),
            "There is no organization 'nowhere'.",
        ),
        (("users", "set-password", "bob@x.example"), "There is no user 'bob@x.example'."),
    ],
)
def test_what_cannot_be_done_for_a_person_is_said(
    cli: CommandLine, piped: Any, arguments: tuple[str, ...], message: str
) -> None:
    refused = piped(PASSWORD, *arguments)
    assert (refused.code, refused.out) == (1, "")
    assert f"Error: {message}" in refused.err


def test_the_last_admin_of_everything_stays(cli: CommandLine, piped: Any) -> None:
    assert piped(PASSWORD, "users", "add", "root@x.example", "--role", "admin").code == 0
    for change in (("disable", "root@x.example"), ("set-roles", "root@x.example", "--role=viewer")):
        said = cli.refused("users", *change)
        assert "root@x.example is the last admin of all organizations." in said
        assert "Make somebody else an admin" in said


def test_a_short_password_is_refused_and_not_shown(cli: CommandLine, piped: Any) -> None:
    refused = piped("too short!\n", "users", "add", "alice@x.example", "--role", "viewer")
    assert refused.code == 1
    assert "The password has 10 characters." in refused.err
    assert "too short!" not in refused.err


@pytest.mark.parametrize("role", ["embed", "owner"])
def test_a_person_gets_one_of_three_roles(cli: CommandLine, role: str) -> None:
    refused = cli("users", "add", "alice@x.example", "--role", role)
    assert refused.code == 2
    assert "'viewer', 'operator', 'admin'" in refused.err


def test_a_tokens_secret_stands_alone_on_standard_output(cli: CommandLine) -> None:
    assert "No token yet." in cli.done("tokens", "list").out
    created = cli("tokens", "create", "reporting", "--role", "viewer")
    assert created.code == 0
    assert re.fullmatch(r"pa_[A-Za-z0-9_-]{43}\n", created.out)
    secret = created.out.strip()
    [token] = cli.done("tokens", "list", "--json").json
    assert created.err == (
        f"Token reporting ({token['id']}): viewer of all organizations, valid for ever.\n"
        "Keep it now, it is not shown again:\n"
    )
    assert (token["created_by"], token["organization_id"]) == (ME, EVERY)
    assert token["expires_at"] is None
    for command in (("tokens", "list"), ("tokens", "list", "--json"), ("audit", "--json")):
        assert secret not in cli.done(*command).out
    assert opens(cli, secret) == {EVERY: Role.VIEWER}

    revoked = cli.done("tokens", "revoke", token["id"])
    assert revoked.out == f"Token reporting ({token['id']}) opens nothing any more.\n"
    assert opens(cli, secret) is None
    assert cli.done("tokens", "list", "--json").json[0]["revoked_at"] is not None
    entries = cli.done("audit", "--target", "token/reporting", "--json").json
    assert [entry["action"] for entry in entries] == ["token.revoke", "token.create"]


def opens(cli: CommandLine, secret: str) -> dict[str, Role] | None:
    engine = build_engine(f"sqlite:///{cli.home / 'pipeline_assets.db'}")
    principal = read_token(engine, secret, now=utcnow())
    engine.dispose()
    return dict(principal.roles) if principal else None


def test_a_token_is_bound_to_an_organization_and_expires(cli: CommandLine) -> None:
    before = utcnow()
    create = ("tokens", "create", "page", "--role", "embed", "--organization", "default")
    token = cli.done(*create, "--expires-in-days", "30", "--json").json
    assert opens(cli, token.pop("secret")) == {"default": Role.EMBED}
    [listed] = cli.done("tokens", "list", "--json").json
    assert token["expires_at"] == listed["expires_at"]
    lasts = utcnow() + timedelta(days=30)
    assert f"{before + timedelta(days=30):%Y-%m-%dT%H:%M}" <= token["expires_at"][:16]
    assert token["expires_at"][:16] <= f"{lasts:%Y-%m-%dT%H:%M}"
    said = cli(*create[:-1], "default", "--expires-in-days", "30").err
    assert f"embed of default, valid until {lasts:%Y-%m-%d}" in said


def test_what_cannot_be_done_with_a_token_is_said(cli: CommandLine) -> None:
    create = ("tokens", "create", "reporting", "--role", "viewer")
    said = cli.refused(*create, "--organization", "nowhere")
    assert "There is no organization 'nowhere'." in said
    assert "There is no token with the id 'x'." in cli.refused("tokens", "revoke", "x")
    assert cli(*create, "--expires-in-days", "0").code == 2


def test_pages_are_listed_hidden_and_shown(cli: CommandLine) -> None:
    cli.done("organizations", "add", "north")
    rows = cli.done("features", "list", "--json").json
    assert {row["feature"] for row in rows} == set(FEATURES)
    assert len(rows) == 2 * len(FEATURES), "of the organization that is always there, too"
    assert all(row["is_shown"] for row in rows)
    hidden = cli.done("features", "set", "north", "ad_performance", "hidden")
    assert hidden.out == "ad_performance is hidden for north.\n"
    changed = [row for row in cli.done("features", "list", "--json").json if not row["is_shown"]]
    assert [(row["organization_id"], row["feature"]) for row in changed] == [
        ("north", "ad_performance")
    ]
    assert re.search(rf"north +ad_performance +hidden .* {ME}", cli.done("features", "list").out)
    shown = cli.done("features", "set", "north", "ad_performance", "shown", "--json").json
    assert (shown["is_shown"], shown["updated_by"]) == (True, ME)
    assert "There is no feature 'x'." in cli.refused("features", "set", "north", "x", "shown")
    said = cli.refused("features", "set", "nowhere", "ad_performance", "shown")
    assert "There is no organization 'nowhere'." in said

"""`pipeline-assets users`, `tokens` and `features`: who may sign in, and what they see."""

import sys
from dataclasses import asdict
from datetime import timedelta

import click

from pipeline_assets.cli.installation import actor, open_installation
from pipeline_assets.cli.output import json_option, print_json, print_table
from pipeline_assets.clock import utcnow
from pipeline_assets.errors import InvalidConfigError
from pipeline_assets.people import features as switches
from pipeline_assets.people import tokens as api_tokens
from pipeline_assets.people import users as people
from pipeline_assets.people.roles import EVERY, Role
from pipeline_assets.people.users import User

_STATES = {True: "shown", False: "hidden"}

_role_option = click.option(
    "--role",
    type=click.Choice([role.value for role in Role if role is not Role.EMBED]),
    required=True,
    help="What the person may do.",
)
_organizations_option = click.option(
    "--organization",
    "organization_ids",
    multiple=True,
    metavar="ORG",
    help="Where (repeatable); everywhere if left out.",
)
_password_option = click.option(
    "--password-stdin",
    is_flag=True,
    help="Read the password from standard input instead of asking for it.",
)


@click.group()
def users() -> None:
    """Users: the people who sign in to the pages."""


@users.command("add")
@click.argument("email")
@click.option("--name", help="Name for people; the address if left out.")
@_role_option
@_organizations_option
@_password_option
@json_option
def add_user(
    *,
    email: str,
    name: str | None,
    role: str,
    organization_ids: tuple[str, ...],
    password_stdin: bool,
    as_json: bool,
) -> None:
    """Add a person who may sign in; asks for the password.

    \b
    pipeline-assets users add alice@agency.example --role operator --organization north
    """
    engine = open_installation().engine
    added = people.add_user(
        engine,
        email=email,
        name=name or email,
        password=_read_password(from_stdin=password_stdin),
        roles=_roles(role, organization_ids),
        actor=actor(),
        now=utcnow(),
    )
    _print_user(added, f"Added {added.email}.", as_json=as_json)


@users.command("list")
@json_option
def list_users(*, as_json: bool) -> None:
    """List the people and their roles."""
    rows = [asdict(user) for user in people.list_users(open_installation().engine)]
    if as_json:
        print_json(rows)
    elif rows:
        print_table(["email", "name", "roles", "last_sign_in_at", "disabled_at"], rows)
    else:
        click.echo("No user yet. `pipeline-assets users add --help` shows how to add one.")


@users.command("disable")
@click.argument("email")
@json_option
def disable_user(*, email: str, as_json: bool) -> None:
    """Keep a person out at once, sessions included; their history stays."""
    engine = open_installation().engine
    user_id = people.get_user_by_email(engine, email).id
    disabled = people.disable_user(engine, user_id, actor=actor(), now=utcnow())
    _print_user(disabled, f"{disabled.email} can no longer sign in.", as_json=as_json)


@users.command("enable")
@click.argument("email")
@json_option
def enable_user(*, email: str, as_json: bool) -> None:
    """Let a disabled person sign in again."""
    engine = open_installation().engine
    user_id = people.get_user_by_email(engine, email).id
    enabled = people.enable_user(engine, user_id, actor=actor(), now=utcnow())
    _print_user(enabled, f"{enabled.email} can sign in again.", as_json=as_json)


@users.command("set-password")
@click.argument("email")
@_password_option
@json_option
def set_password(*, email: str, password_stdin: bool, as_json: bool) -> None:
    """Give a person another password; their sessions end."""
    engine = open_installation().engine
    user_id = people.get_user_by_email(engine, email).id
    password = _read_password(from_stdin=password_stdin)
    changed = people.set_password(engine, user_id, password, actor=actor(), now=utcnow())
    _print_user(changed, f"{changed.email} has another password.", as_json=as_json)


@users.command("set-roles")
@click.argument("email")
@_role_option
@_organizations_option
@json_option
def set_roles(*, email: str, role: str, organization_ids: tuple[str, ...], as_json: bool) -> None:
    """Give a person this role, in place of all that they had."""
    engine = open_installation().engine
    user_id = people.get_user_by_email(engine, email).id
    roles = _roles(role, organization_ids)
    changed = people.set_roles(engine, user_id, roles, actor=actor(), now=utcnow())
    words = ", ".join(f"{role} of {_where(where)}" for where, role in changed.roles.items())
    _print_user(changed, f"{changed.email} is now {words}.", as_json=as_json)


@click.group()
def tokens() -> None:
    """API tokens: how programs show who they are."""


@tokens.command("create")
@click.argument("name")
@click.option(
    "--organization",
    "organization_id",
    default=EVERY,
    metavar="ORG",
    help="What it is bound to; all organizations if left out.",
)
@click.option(
    "--role",
    type=click.Choice([role.value for role in Role]),
    required=True,
    help="What its holder may do; embed reads only whether data is ready.",
)
@click.option("--expires-in-days", type=click.IntRange(1, 3650), help="Valid for ever if left out.")
@json_option
def create_token(
    *, name: str, organization_id: str, role: str, expires_in_days: int | None, as_json: bool
) -> None:
    """Create a token; its secret goes to standard output, this once.

    \b
    pipeline-assets tokens create reporting --role viewer --organization north > token.txt
    """
    now = utcnow()
    token, secret = api_tokens.create_token(
        open_installation().engine,
        name=name,
        organization_id=organization_id,
        role=Role(role),
        expires_at=None if expires_in_days is None else now + timedelta(days=expires_in_days),
        actor=actor(),
        now=now,
    )
    if as_json:
        print_json(asdict(token) | {"secret": secret})
        return
    until = f"until {token.expires_at:%Y-%m-%d %H:%M} UTC" if token.expires_at else "for ever"
    click.echo(
        f"Token {token.name} ({token.id}): {role} of {_where(organization_id)}, valid {until}.\n"
        "Keep it now, it is not shown again:",
        err=True,
    )
    click.echo(secret)


@tokens.command("list")
@json_option
def list_tokens(*, as_json: bool) -> None:
    """List the tokens, without their secrets."""
    rows = [asdict(token) for token in api_tokens.list_tokens(open_installation().engine)]
    if as_json:
        print_json(rows)
    elif rows:
        print_table(
            ["id", "name", "organization_id", "role", "last_used_at", "expires_at", "revoked_at"],
            rows,
        )
    else:
        click.echo("No token yet. `pipeline-assets tokens create --help` shows how to make one.")


@tokens.command("revoke")
@click.argument("token_id", metavar="ID")
@json_option
def revoke_token(*, token_id: str, as_json: bool) -> None:
    """Make a token useless at once."""
    engine = open_installation().engine
    revoked = api_tokens.revoke_token(engine, token_id, actor=actor(), now=utcnow())
    if as_json:
        print_json(asdict(revoked))
    else:
        click.echo(f"Token {revoked.name} ({revoked.id}) opens nothing any more.")


@click.group()
def features() -> None:
    """Features: which pages the people of an organization see."""


@features.command("list")
@json_option
def list_features(*, as_json: bool) -> None:
    """List every organization's pages, and whether they are shown."""
    rows = [asdict(switch) for switch in switches.list_features(open_installation().engine)]
    if as_json:
        print_json(rows)
    else:
        columns = ["organization_id", "feature", "state", "updated_at", "updated_by"]
        print_table(columns, [row | {"state": _STATES[row["is_shown"]]} for row in rows])


@features.command("set")
@click.argument("organization_id", metavar="ORG")
@click.argument("feature")
@click.argument("state", type=click.Choice(list(_STATES.values())))
@json_option
def set_feature(*, organization_id: str, feature: str, state: str, as_json: bool) -> None:
    """Show a page to an organization's people, or hide it from them.

    \b
    pipeline-assets features set north ad_performance hidden
    """
    switch = switches.set_feature(
        open_installation().engine,
        organization_id,
        feature,
        is_shown=state == _STATES[True],
        actor=actor(),
        now=utcnow(),
    )
    if as_json:
        print_json(switch)
    else:
        click.echo(f"{feature} is {state} for {organization_id}.")


def _read_password(*, from_stdin: bool) -> str:
    """The password from standard input, without the line's end, or as asked for twice."""
    if from_stdin:
        return _read_text().removesuffix("\n")
    if not sys.stdin.isatty():
        raise InvalidConfigError(
            "There is no terminal at which to ask for the password.",
            advice="Pipe it in with --password-stdin: `… --password-stdin < file`.",
        )
    password: str = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    return password


def _read_text() -> str:
    try:
        return sys.stdin.buffer.read().decode()  # whatever the locale: browsers send UTF-8
    except UnicodeDecodeError:
        raise InvalidConfigError("The password on standard input is no text in UTF-8.") from None


def _roles(role: str, organization_ids: tuple[str, ...]) -> dict[str, Role]:
    return dict.fromkeys(organization_ids or (EVERY,), Role(role))


def _where(organization_id: str) -> str:
    return "all organizations" if organization_id == EVERY else organization_id


def _print_user(user: User, sentence: str, *, as_json: bool) -> None:
    if as_json:
        print_json(user)
    else:
        click.echo(sentence)

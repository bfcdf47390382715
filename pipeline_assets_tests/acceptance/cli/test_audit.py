"""`pipeline-assets audit`: every change that a person makes with a command, and who it was."""

from __future__ import annotations

import getpass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conftest import CommandLine

ME = f"cli:{getpass.getuser()}"


def test_every_changing_command_leaves_an_entry_with_its_actor(cli: CommandLine) -> None:
    assert cli.done("audit").out == "Nothing has been changed yet.\n"
    assert cli.done("audit", "--json").json == []
    add = ("brands", "add", "acme", "--timezone", "UTC", "--no-cadences", "--ad-account", "1")
    cli.done("organizations", "add", "north", "--name", "North")
    cli.done(*add, "--token", "env:NOT_SET_ANYWHERE")
    cli.done("brands", "pause", "acme", "--reason", "Contract ended.")
    cli.done("brands", "resume", "acme")
    cli.done("cadences", "set", "acme", "meta_sync", "daily")
    cli.done("cadences", "pause", "acme", "meta_sync", "--reason", "Freeze.")
    cli.done("cadences", "resume", "acme", "meta_sync")
    assert cli("sync", "acme", "--reason", "Client calls.").code == 0
    request_id = cli.done("requests", "list", "--json").json[0]["id"]
    cli.done("requests", "cancel", request_id)
    cli.done("resync", "acme", "--since", "2026-06-01", "--until", "2026-06-10")
    entries = cli.done("audit", "--json").json
    assert {entry["actor"] for entry in entries} == {ME}
    assert [(entry["action"], entry["target"]) for entry in reversed(entries)] == [
        ("organization.add", "organization/north"),
        ("brand.add", "acme"),
        ("brand.pause", "acme"),
        ("brand.resume", "acme"),
        ("cadence.set", "acme:meta_sync"),
        ("cadence.pause", "acme:meta_sync"),
        ("cadence.resume", "acme:meta_sync"),
        ("request.create", "acme:meta_sync"),
        ("request.cancel", "acme:meta_sync"),
        ("resync.start", "acme:meta_sync"),
    ]
    assert "Client calls." in cli.done("audit", "--target", "acme:meta_sync").out
    told = cli.done("audit", "--target", "north").out
    assert told == "Nothing of north has been changed yet.\n"
    assert len(cli.done("audit", "--limit", "3", "--json").json) == 3

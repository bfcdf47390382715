"""`pipeline-assets cadences`: what is stored and what people and programs get back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pytest

if TYPE_CHECKING:
    from conftest import CommandLine

COLUMNS = {
    *("brand_id", "job", "cron", "timezone", "next_run_at", "checked_at"),
    *("last_tick_at", "last_tick_result", "last_request_id"),
    *("paused_at", "paused_reason", "paused_until", "updated_at", "updated_by"),
    *("preset", "in_words"),
}
PARIS = ZoneInfo("Europe/Paris")


def add_brand(cli: CommandLine, brand_id: str, timezone: str = "Europe/Paris") -> None:
    source = ("--ad-account", "act_1", "--token", "env:NOT_SET_ANYWHERE")
    cli.done("brands", "add", brand_id, "--timezone", timezone, "--no-cadences", *source)


def instant(text: str) -> datetime:
    assert text.endswith("Z")
    return datetime.fromisoformat(text)


def test_a_preset_becomes_a_cron_in_the_brands_zone_and_both_are_given_back(
    on_each_database: CommandLine,
) -> None:
    cli = on_each_database
    add_brand(cli, "acme")
    made = cli.done("cadences", "set", "acme", "meta_sync", "daily", "--json").json
    assert made.keys() == COLUMNS | {"upcoming"}
    minute = made["cron"].split()[0]
    assert (made["preset"], made["cron"]) == ("daily", f"{minute} 7 * * *")
    assert made["timezone"] == "Europe/Paris"
    assert made["in_words"] == f"daily: at 07:{int(minute):02} every day (Europe/Paris)"
    assert made["updated_by"].startswith("cli")
    assert made["last_tick_at"] is None

    times = [instant(time) for time in made["upcoming"]]
    assert instant(made["next_run_at"]) == times[0] > datetime.now(UTC) - timedelta(minutes=1)
    walls = [time.astimezone(PARIS) for time in times]
    assert {(wall.hour, wall.minute) for wall in walls} == {(7, int(minute))}
    assert all(later.date() - wall.date() == timedelta(days=1) for wall, later in pairwise(walls))

    del made["upcoming"]
    assert cli.done("cadences", "list", "--json").json == [made]


def test_people_see_preset_cron_and_times_in_the_cadences_zone(cli: CommandLine) -> None:
    add_brand(cli, "acme")
    set_ = ("cadences", "set", "acme", "meta_sync")
    shown = cli.done(*set_, "30 6 * * mon-fri", "--timezone", "Asia/Tokyo").out
    for text in ("30 6 * * mon-fri", "At 06:30 on Monday through Friday (Asia/Tokyo)", "06:30 JST"):
        assert text in shown
    line = cli.done("cadences", "list").out.splitlines()[1]
    assert line.split()[:3] == ["acme", "meta_sync", "own"]
    assert "06:30 JST" in line
    cli.done(*set_, "weekly")
    assert cli.done("cadences", "list").out.splitlines()[1].split()[2] == "weekly"


def test_a_pause_has_a_reason_and_an_end_and_is_over_when_resumed(cli: CommandLine) -> None:
    add_brand(cli, "acme")
    cli.done("cadences", "set", "acme", "meta_sync", "hourly")
    pause = ("cadences", "pause", "acme", "meta_sync", "--reason", "no [budget]")
    paused = cli.done(*pause, "--until", "2099-01-31T08:00+02:00", "--json").json
    assert (paused["paused_reason"], paused["paused_until"]) == (
        "no [budget]",
        "2099-01-31T06:00:00Z",
    )
    assert "no [budget] (until 2099-01-31 06:00 UTC)" in cli.done("cadences", "list").out
    assert {row["is_paused"] for row in cli.done("cadences", "next", "--json").json} == {True}

    resumed = cli.done("cadences", "resume", "acme", "meta_sync", "--json").json
    assert {resumed[name] for name in ("paused_at", "paused_reason", "paused_until")} == {None}
    assert {row["is_paused"] for row in cli.done("cadences", "next", "--json").json} == {False}


def test_the_next_times_are_the_soonest_of_all_or_of_one(cli: CommandLine) -> None:
    for brand_id, timezone in (("acme", "Europe/Paris"), ("globex", "Asia/Tokyo")):
        add_brand(cli, brand_id, timezone)
        cli.done("cadences", "set", brand_id, "meta_sync", "hourly")
    cli.done("cadences", "set", "acme", "asset_download", "daily")
    cli.done("brands", "pause", "globex", "--reason", "sold")

    rows = cli.done("cadences", "next", "--json").json
    assert len(rows) == 5
    times = [instant(row["at"]) for row in rows]
    assert times == sorted(times)
    assert {row["is_paused"] for row in rows if row["brand_id"] == "globex"} == {True}
    assert {row["is_paused"] for row in rows if row["brand_id"] == "acme"} == {False}

    one = ("cadences", "next", "acme", "asset_download", "--count", "2")
    assert [(row["brand_id"], row["job"]) for row in cli.done(*one, "--json").json] == [
        ("acme", "asset_download")
    ] * 2
    _, first, second = cli.done(*one).out.splitlines()
    assert all(
        "07:" in line and " CE" in line and line.split()[-2] == "UTC" for line in (first, second)
    )
    assert "paused" in cli.done("cadences", "next", "globex").out.splitlines()[1]


def test_lists_are_of_a_brand_or_an_organization_or_say_how_to_begin(cli: CommandLine) -> None:
    assert "cadences set --help" in cli.done("cadences", "list").out
    assert "cadences set --help" in cli.done("cadences", "next").out
    assert cli.done("cadences", "list", "--json").json == []
    add_brand(cli, "acme")
    cli.done("cadences", "set", "acme", "meta_sync", "hourly")
    for option, name, count in (
        ("--brand", "acme", 1),
        ("--brand", "globex", 0),
        ("--organization", "default", 1),
        ("--organization", "agency", 0),
    ):
        assert len(cli.done("cadences", "list", option, name, "--json").json) == count


@pytest.mark.parametrize(
    ("arguments", "problem", "advice"),
    [
        (("set", "acmee", "meta_sync", "daily"), "no brand 'acmee'", "Did you mean acme?"),
        (("set", "acme", "meta_synk", "daily"), "no job 'meta_synk'", "Did you mean meta_sync?"),
        (
            ("set", "acme", "meta_sync", "nightly"),
            "'nightly' is no cadence",
            "Give hourly, every_6",
        ),
        (("set", "acme", "meta_sync", "0 0 5 * * *"), "is no cadence", "five cron fields"),
        (("set", "acme", "meta_sync", "* * * * *"), "1 min apart", "at most every 5 minutes"),
        (
            ("set", "acme", "meta_sync", "daily", "--timezone", "Europe/Pari"),
            "timezone is 'Europe/Pari'",
            "",
        ),
        (
            ("pause", "acme", "meta_sync", "--reason", "x"),
            "no cadence of meta_sync",
            "cadences set",
        ),
        (("resume", "acme", "meta_sync"), "no cadence of meta_sync", "cadences list"),
        (
            ("pause", "acme", "meta_sync", "--reason", "x", "--until", "soon"),
            "'soon' is not a time",
            "",
        ),
        (("next", "acmee"), "no brand 'acmee'", "Did you mean acme?"),
    ],
)
def test_what_cannot_work_is_refused_and_says_what_would(
    cli: CommandLine, arguments: tuple[str, ...], problem: str, advice: str
) -> None:
    add_brand(cli, "acme")
    said = cli.refused("cadences", *arguments)
    assert problem in said
    assert advice in said


def test_every_command_shows_an_example(cli: CommandLine) -> None:
    for command in ("set", "list", "pause", "resume", "next"):
        usage = cli.done("cadences", command, "--help").out
        assert f"pipeline-assets cadences {command} " in usage.partition("\n")[2]

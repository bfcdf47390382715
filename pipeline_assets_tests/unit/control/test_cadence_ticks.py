"""Ticks of cadences, compared with a plain walk over the minutes where clocks change."""

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline_assets.control.cadence_ticks import (
    Preset,
    check_cron,
    clock_warning,
    cron_of,
    describe,
    next_tick,
    preset_cron,
    preset_of,
)
from pipeline_assets.errors import InvalidConfigError

MINUTE = timedelta(minutes=1)

# A day about which the zone's clock changes: forward, back, by how much and at which hour.
CHANGES = [
    ("Europe/Paris", "2025-03-30"),
    ("Europe/Paris", "2025-10-26"),
    ("America/New_York", "2025-03-09"),
    ("America/New_York", "2025-11-02"),
    ("America/Asuncion", "2023-10-01"),  # at midnight, to 01:00
    ("America/Asuncion", "2024-03-24"),  # at midnight, to 23:00 of the day before
    ("Asia/Beirut", "2025-03-30"),
    ("Asia/Beirut", "2025-10-26"),
    ("America/Santiago", "2025-09-07"),
    ("America/Santiago", "2025-04-06"),
    ("Africa/Cairo", "2025-04-25"),
    ("Africa/Cairo", "2025-10-31"),
    ("America/Havana", "2025-03-09"),
    ("America/Havana", "2025-11-02"),  # at 01:00, to midnight
    ("Australia/Lord_Howe", "2025-10-05"),  # by half an hour
    ("Australia/Lord_Howe", "2025-04-06"),
    ("Antarctica/Casey", "2010-03-05"),  # back by three hours
    ("Africa/Casablanca", "2025-02-23"),
    ("Africa/Casablanca", "2025-04-06"),
    ("Pacific/Apia", "2011-12-30"),  # a day that the zone never had
    ("Asia/Kathmandu", "1986-01-01"),  # by a quarter of an hour
    ("UTC", "2025-03-30"),
]


@dataclass(frozen=True)
class Field:
    """One cron field: its text and what it means."""

    text: str
    values: frozenset[int]


def fields(low: int, high: int, *, steps: tuple[int, ...]) -> st.SearchStrategy[Field]:
    values = st.integers(low, high)
    return st.one_of(
        st.just(Field("*", frozenset(range(low, high + 1)))),
        st.sampled_from(steps).map(
            lambda step: Field(f"*/{step}", frozenset(range(low, high + 1, step)))
        ),
        values.map(lambda value: Field(str(value), frozenset({value}))),
        st.sets(values, min_size=2, max_size=4).map(
            lambda some: Field(",".join(map(str, sorted(some))), frozenset(some))
        ),
        st.tuples(values, values).map(
            lambda ends: Field(
                f"{min(ends)}-{max(ends)}", frozenset(range(min(ends), max(ends) + 1))
            )
        ),
    )


MINUTES = st.one_of(
    st.sampled_from([5, 10, 15, 20, 30]).map(
        lambda step: Field(f"*/{step}", frozenset(range(0, 60, step)))
    ),
    st.integers(0, 59).map(lambda minute: Field(str(minute), frozenset({minute}))),
    st.integers(0, 29).map(
        lambda minute: Field(f"{minute},{minute + 30}", frozenset({minute, minute + 30}))
    ),
)
WEEKDAYS = fields(0, 6, steps=(2, 3))
ANY_DAY = Field("*", frozenset(range(7)))
SUNDAY = Field("0", frozenset({0}))
EVERY_HOUR = Field("*", frozenset(range(24)))


@dataclass(frozen=True)
class Cron:
    """An expression over minutes, hours and weekdays, and what it means on a clock."""

    minute: Field
    hour: Field
    weekday: Field

    @property
    def text(self) -> str:
        return f"{self.minute.text} {self.hour.text} * * {self.weekday.text}"

    def matches(self, wall: datetime) -> bool:
        return (
            wall.minute in self.minute.values
            and wall.hour in self.hour.values
            and wall.isoweekday() % 7 in self.weekday.values
        )

    @property
    def follows_the_clock(self) -> bool:
        return self.minute.text.startswith("*") or self.hour.text.startswith("*")

    def ticks(self, zone: ZoneInfo, since: datetime, until: datetime) -> list[datetime]:
        """All ticks in (since, until], by looking at each minute there is."""
        if self.follows_the_clock:
            return [at for at in minutes(since, until) if self.matches(at.astimezone(zone))]
        margin = timedelta(days=2)
        walls = minutes(*(at.replace(tzinfo=None) for at in (since - margin, until + margin)))
        found = {first_instant(wall, zone) for wall in walls if self.matches(wall)}
        return sorted(at for at in found if since < at <= until)


def minutes(since: datetime, until: datetime) -> list[datetime]:
    count = (until - since) // MINUTE
    return [since + step * MINUTE for step in range(1, count + 1)]


def first_instant(wall: datetime, zone: ZoneInfo) -> datetime:
    """When a clock in the zone first shows this time, or the next one that it shows at all."""
    at = wall.replace(tzinfo=zone, fold=0).astimezone(UTC)
    while at.astimezone(zone).replace(tzinfo=None) != wall:
        wall += MINUTE
        at = wall.replace(tzinfo=zone, fold=0).astimezone(UTC)
    return at


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def field(text: str, *values: int) -> Field:
    return Field(text, frozenset(values))


def walk(cron: str, timezone: str, since: datetime, until: datetime) -> list[datetime]:
    ticks = [next_tick(cron, timezone, since)]
    while ticks[-1] <= until:
        ticks.append(next_tick(cron, timezone, ticks[-1]))
    return ticks[:-1]


@settings(deadline=None, max_examples=150)
@given(
    change=st.sampled_from(CHANGES),
    minute=MINUTES,
    hour=fields(0, 23, steps=(2, 3, 6)),
    weekday=st.one_of(st.just(ANY_DAY), WEEKDAYS),
)
# Those that cronsim by itself gets wrong: half an hour, and a midnight that does not exist.
@example(("Australia/Lord_Howe", "2025-10-05"), field("30", 30), EVERY_HOUR, ANY_DAY)
@example(
    ("Australia/Lord_Howe", "2025-04-06"), field("0", 0), field("*/2", *range(0, 24, 2)), ANY_DAY
)
@example(("America/Havana", "2025-03-09"), field("0", 0), field("*/6", 0, 6, 12, 18), SUNDAY)
def test_ticks_are_those_of_a_walk_over_every_minute(
    change: tuple[str, str], minute: Field, hour: Field, weekday: Field
) -> None:
    timezone, day = change
    cron = Cron(minute, hour, weekday)
    since = instant(day) - timedelta(hours=30)
    until = instant(day) + timedelta(hours=48)
    expected = cron.ticks(ZoneInfo(timezone), since, until)
    assert walk(cron.text, timezone, since, until) == expected


@settings(deadline=None, max_examples=200)
@given(
    change=st.sampled_from(CHANGES),
    cron=st.sampled_from(
        [
            "17 5 * * *",
            "30 2 * * *",
            "0 0 * * *",
            "45 0,1,2,3,23 * * *",
            "30 * * * *",
            "*/20 * * * *",
        ]
    ),
    seconds=st.floats(-86_400, 2 * 86_400),
)
def test_the_next_tick_is_the_first_one_after_any_instant_whatever(
    change: tuple[str, str], cron: str, seconds: float
) -> None:
    timezone, day = change
    after = instant(day) + timedelta(seconds=seconds)
    tick = next_tick(cron, timezone, after)
    assert after < tick
    assert tick.tzinfo is UTC
    ticks = walk(cron, timezone, instant(day) - timedelta(days=2), tick)
    assert ticks[-1] == tick
    assert len(ticks) < 2 or ticks[-2] <= after


@pytest.mark.parametrize(
    ("cron", "timezone", "since", "ticks"),
    [
        # Paris goes from 02:00 to 03:00: right after the gap, then as always.
        (
            "30 2 * * *",
            "Europe/Paris",
            "2025-03-29T12:00",
            ["2025-03-30T01:00", "2025-03-31T00:30"],
        ),
        # Paris goes from 03:00 to 02:00: the first of two.
        (
            "30 2 * * *",
            "Europe/Paris",
            "2025-10-25T12:00",
            ["2025-10-26T00:30", "2025-10-27T01:30"],
        ),
        # … also when asked within the second of two.
        ("45 2 * * *", "Europe/Paris", "2025-10-26T01:15", ["2025-10-27T01:45"]),
        (
            "0 * * * *",
            "America/New_York",
            "2025-11-02T04:30",
            ["2025-11-02T05:00", "2025-11-02T06:00", "2025-11-02T07:00"],  # 01:00 twice
        ),
        ("0 * * * *", "America/New_York", "2025-03-09T06:30", ["2025-03-09T07:00"]),  # 03:00
        # Midnight does not exist: an hour later by the clock, no time lost.
        ("0 0 * * *", "America/Santiago", "2025-09-06T12:00", ["2025-09-07T04:00"]),
        (
            "30 0 * * *",
            "America/Havana",
            "2025-11-01T12:00",
            ["2025-11-02T04:30", "2025-11-03T05:30"],
        ),
        # Samoa went from the 29th to the 31st: one run for the day there never was.
        (
            "30 5 * * *",
            "Pacific/Apia",
            "2011-12-29T12:00",
            ["2011-12-29T15:30", "2011-12-30T10:00", "2011-12-30T15:30", "2011-12-31T15:30"],
        ),
    ],
)
def test_where_clocks_change_nothing_is_left_out_or_done_twice(
    cron: str, timezone: str, since: str, ticks: list[str]
) -> None:
    expected = [instant(tick) for tick in ticks]
    assert walk(cron, timezone, instant(since), expected[-1]) == expected


def test_a_tick_follows_an_instant_and_is_never_that_instant() -> None:
    tick = instant("2026-07-01T03:17")
    cron, timezone = "17 5 * * *", "Europe/Paris"
    assert next_tick(cron, timezone, tick - timedelta(microseconds=1)) == tick
    assert next_tick(cron, timezone, tick) == tick + timedelta(days=1)
    assert next_tick(cron, timezone, tick + timedelta(microseconds=1)) == tick + timedelta(days=1)


def test_rare_days_are_found() -> None:
    leap_sunday = next_tick("*/30 12 29 2 */7", "Europe/Paris", instant("2026-01-01"))
    assert leap_sunday == instant("2032-02-29T11:00")
    assert next_tick("0 6 L * *", "UTC", instant("2026-02-03")) == instant("2026-02-28T06:00")
    first_monday = next_tick("0 6 * * mon#1", "UTC", instant("2026-02-03"))
    assert first_monday == instant("2026-03-02T06:00")


@pytest.mark.parametrize(
    ("preset", "hours", "weekdays"),
    [
        (Preset.HOURLY, set(range(24)), set(range(7))),
        (Preset.EVERY_6_HOURS, {5, 11, 17, 23}, set(range(7))),
        (Preset.DAILY, {7}, set(range(7))),
        (Preset.TWICE_WEEKLY, {6}, {0, 3}),
        (Preset.WEEKLY, {13}, {0}),
    ],
)
def test_a_presets_ticks_are_at_its_hours_in_the_cadences_zone(
    preset: Preset, hours: set[int], weekdays: set[int]
) -> None:
    cron = preset_cron(preset, "acme", "meta_sync")
    start = instant("2025-03-01")
    ticks = walk(cron, "America/Havana", start, start + timedelta(days=28))  # the clock changes
    walls = [tick.astimezone(ZoneInfo("America/Havana")) for tick in ticks]
    assert {wall.hour for wall in walls} == hours
    assert {wall.weekday() for wall in walls} == weekdays
    assert len({wall.minute for wall in walls}) == 1


def test_a_presets_minute_stays_the_same_for_a_brand_and_job() -> None:
    assert preset_cron(Preset.DAILY, "acme", "meta_sync") == "35 7 * * *"
    assert cron_of(" Daily ", "acme", "meta_sync") == "35 7 * * *"
    assert preset_of("35 7 * * *", "acme", "meta_sync") is Preset.DAILY
    assert preset_of("35 7 * * *", "acme", "scorecard") is None


def test_a_thousand_brands_spread_over_the_hour() -> None:
    crons = [preset_cron(Preset.DAILY, f"brand-{number}", "meta_sync") for number in range(1000)]
    per_minute = Counter(cron.split()[0] for cron in crons)
    assert len(per_minute) == 60
    assert max(per_minute.values()) <= 40  # 17 on average


@pytest.mark.parametrize(
    ("cron", "problem"),
    [
        ("", "'' is no cadence."),
        ("nightly", "'nightly' is no cadence."),
        ("@daily", "'@daily' is no cadence."),
        ("0 5 * *", "'0 5 * *' is no cadence."),
        ("0 0 5 * * *", "'0 0 5 * * *' is no cadence."),  # with seconds
        ("61 5 * * *", "The cadence '61 5 * * *' cannot be used: its minute is wrong."),
        ("0 25 * * *", "The cadence '0 25 * * *' cannot be used: its hour is wrong."),
        ("0 5 * * noday", "The cadence '0 5 * * noday' cannot be used: its day-of-week is wrong."),
        ("0 5 31 2 *", "The cadence '0 5 31 2 *' cannot be used: its day-of-month is wrong."),
        ("0 0 */29 2 mon#5", "The cadence '0 0 */29 2 mon#5' never comes."),
        ("* * * * *", "The cadence '* * * * *' has ticks 1 min apart."),
        ("*/4 5 * * *", "The cadence '*/4 5 * * *' has ticks 4 min apart."),
        ("0,58 * * * *", "The cadence '0,58 * * * *' has ticks 2 min apart."),
        ("0,58 0,23 * * *", "The cadence '0,58 0,23 * * *' has ticks 2 min apart."),  # at midnight
    ],
)
def test_a_cadence_that_cannot_work_is_refused_and_the_advice_says_what_is_allowed(
    cron: str, problem: str
) -> None:
    with pytest.raises(InvalidConfigError) as refused:
        cron_of(cron, "acme", "meta_sync")
    assert str(refused.value) == problem
    assert refused.value.advice == (
        "Give hourly, every_6_hours, daily, twice_weekly, weekly, or five cron fields (minute hour "
        "day month weekday) such as `30 6 * * mon-fri`, at most every 5 minutes."
    )


def test_five_minutes_are_the_shortest_gap_and_spaces_do_not_matter() -> None:
    assert check_cron("  */5   * * * MON ") == "*/5 * * * MON"
    assert check_cron("0,55 5 * * *") == "0,55 5 * * *"


@settings(deadline=None, max_examples=300)
@given(st.text(alphabet="0123456789*/-,#L WMONSUNJAé²\n", max_size=120))
@example("9" * 5000)
@example("0 0 * * " + "9" * 80)
def test_whatever_people_write_is_refused_or_has_a_next_tick(text: str) -> None:
    try:
        cron = check_cron(text)
    except InvalidConfigError:
        return
    assert next_tick(cron, "Europe/Paris", instant("2026-01-01")) > instant("2026-01-01")
    assert describe(cron, "Europe/Paris").endswith(" (Europe/Paris)")


@pytest.mark.parametrize("timezone", ["", "Europe", "Europe/Pari", "../etc/passwd", "UTC\0"])
def test_an_unknown_time_zone_is_refused(timezone: str) -> None:
    with pytest.raises(InvalidConfigError, match="There is no time zone"):
        next_tick("0 5 * * *", timezone, instant("2026-01-01"))


def test_a_cadence_is_described_in_words() -> None:
    assert describe("17 5 * * 1", "Asia/Tokyo") == "At 05:17 on Monday (Asia/Tokyo)"
    assert describe("rubbish", "Nowhere") == "rubbish (Nowhere)"


JUMP = "On 2026-03-29 the clock in Europe/Paris jumps from 02:00 to 03:00: "
BACK = "On 2026-10-25 the clock in Europe/Paris goes back from 03:00 to 02:00: "


@pytest.mark.parametrize(
    ("cron", "warning"),
    [
        (
            "30 2 * * *",
            JUMP
            + "the run of 02:30 comes at 03:00 instead. "
            + BACK
            + "02:30 is shown twice, it runs only the first time.",
        ),
        (
            "0 */2 * * *",
            f"{JUMP}the run of 02:00 is left out. {BACK}02:00 is shown twice, it runs both times.",
        ),
        ("0 3 * * *", ""),
        ("59 1 * * *", ""),
        ("30 2 * * 1", ""),  # clocks change on Sundays
        ("5 * * * *", ""),
    ],
)
def test_a_warning_tells_what_changes_of_the_clock_do_within_a_year(
    cron: str, warning: str
) -> None:
    assert clock_warning(cron, "Europe/Paris", instant("2026-01-01")) == warning
    assert clock_warning(cron, "UTC", instant("2026-01-01")) == ""


def test_a_warning_says_what_the_ticks_then_do() -> None:
    before = instant("2026-03-28T12:00")
    assert next_tick("30 2 * * *", "Europe/Paris", before) == instant("2026-03-29T01:00")
    assert next_tick("0 */2 * * *", "Europe/Paris", instant("2026-03-29T00:30")) == (
        instant("2026-03-29T02:00")  # 04:00 there: 02:00 is left out
    )
    first = next_tick("30 2 * * *", "Europe/Paris", instant("2026-10-24T12:00"))
    assert first == instant("2026-10-25T00:30")
    assert next_tick("30 2 * * *", "Europe/Paris", first) == instant("2026-10-26T01:30")


def test_a_warning_names_the_first_times_of_many_and_half_hours_too() -> None:
    assert "the run of 02:00, 02:05, 02:10 … is left out." in clock_warning(
        "*/5 2 * * *", "Europe/Paris", instant("2026-01-01")
    )
    assert clock_warning("*/10 2 * * *", "Australia/Lord_Howe", instant("2026-09-01")) == (
        "On 2026-10-04 the clock in Australia/Lord_Howe jumps from 02:00 to 02:30: "
        "the run of 02:00, 02:10, 02:20 is left out."
    )
    with pytest.raises(InvalidConfigError, match="There is no time zone"):
        clock_warning("30 2 * * *", "Moon/Base", instant("2026-01-01"))

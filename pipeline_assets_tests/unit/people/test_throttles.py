"""The rule of wrong tries: how many, for how long, when it is forgotten."""

from datetime import UTC, datetime, timedelta

import pytest

from pipeline_assets.people.throttles import Throttle, address_key, email_key

NOON = datetime(2026, 7, 25, 12, 0, tzinfo=UTC)
INSTANT = timedelta(microseconds=1)
EMAIL = email_key("alice@x.example")
ADDRESS = address_key("192.0.2.7")


def fresh(key: str) -> Throttle:
    return Throttle(key=key, failures=0, first_failed_at=NOON, blocked_until=None)


def after(failures: int, key: str, *, at: datetime = NOON) -> Throttle:
    throttle = fresh(key)
    for _ in range(failures):
        throttle = throttle.after_failure(at)
    return throttle


@pytest.mark.parametrize(("key", "tries"), [(EMAIL, 5), (ADDRESS, 20)])
def test_the_last_of_the_allowed_wrong_tries_blocks(key: str, tries: int) -> None:
    assert after(tries - 1, key).blocked_until is None
    assert after(tries, key) == Throttle(
        key=key,
        failures=tries,
        first_failed_at=NOON,
        blocked_until=NOON + timedelta(minutes=1),
    )


def test_a_block_ends_at_its_instant() -> None:
    blocked = after(5, EMAIL)
    end = NOON + timedelta(minutes=1)
    assert blocked.is_blocked(end - INSTANT)
    assert not blocked.is_blocked(end)
    assert not blocked.is_blocked(end + INSTANT)
    assert not after(4, EMAIL).is_blocked(NOON)


def test_each_further_wrong_try_blocks_twice_as_long_up_to_an_hour() -> None:
    throttle = after(4, EMAIL)
    minutes = []
    now = NOON
    for _ in range(9):
        throttle = throttle.after_failure(now)
        assert throttle.blocked_until is not None
        minutes.append((throttle.blocked_until - now) / timedelta(minutes=1))
        now = throttle.blocked_until
    assert minutes == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_a_year_of_wrong_tries_is_counted() -> None:
    throttle = Throttle(key=EMAIL, failures=10_000, first_failed_at=NOON, blocked_until=NOON)
    after_one_more = throttle.after_failure(NOON)
    assert after_one_more.failures == 10_001
    assert after_one_more.blocked_until == NOON + timedelta(hours=1)


def test_wrong_tries_are_forgotten_a_quarter_of_an_hour_after_the_first() -> None:
    throttle = after(4, EMAIL)
    end = NOON + timedelta(minutes=15)
    assert not throttle.is_forgotten(end - INSTANT)
    assert throttle.after_failure(end - INSTANT).failures == 5
    for instant in (end, end + INSTANT):
        assert throttle.is_forgotten(instant)
        assert throttle.after_failure(instant) == Throttle(
            key=EMAIL, failures=1, first_failed_at=instant, blocked_until=None
        )


def test_a_block_is_remembered_for_a_quarter_of_an_hour_after_its_end() -> None:
    throttle = after(5, EMAIL)
    end = NOON + timedelta(minutes=16)
    assert throttle.after_failure(end - INSTANT).failures == 6
    assert throttle.after_failure(end).failures == 1


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("192.0.2.7", "address:192.0.2.7"),
        ("2001:db8:0:1::7", "address:2001:db8:0:1::/64"),
        ("2001:db8:0:1:ffff::1", "address:2001:db8:0:1::/64"),
        ("2001:db8:0:2::7", "address:2001:db8:0:2::/64"),
        ("testclient", "address:testclient"),
        ("", "address:"),
        ("x" * 10_000, "address:" + "x" * 100),
    ],
)
def test_an_address_counts_for_itself_and_an_ipv6_one_for_its_network(
    address: str, key: str
) -> None:
    assert address_key(address) == key

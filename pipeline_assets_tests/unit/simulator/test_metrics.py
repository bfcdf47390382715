from datetime import UTC, date, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from pipeline_assets.simulator.metrics import Metrics, add_up, split
from pipeline_assets.simulator.world import AccountSpec, TokenSpec, World

NOW = datetime(2026, 11, 21, 15, 7, tzinfo=UTC)
ADDITIVE = [name for name in Metrics._fields if name != "peak_reach"]


def world(**spec: object) -> World:
    account = AccountSpec(id="act_7", name="Seven", **spec)  # type: ignore[arg-type]
    return World([account], tokens=[TokenSpec("EAAx")], anchor=date(2026, 11, 16))


@given(
    st.integers(0, 500_000),
    st.integers(0, 40),
    st.integers(0, 900_000),
    st.lists(st.integers(1, 100), min_size=1, max_size=18),
)
def test_the_cells_of_a_breakdown_add_up_to_the_whole(
    impressions: int, purchases: int, value: int, shares: list[int]
) -> None:
    whole = Metrics(
        impressions=impressions, purchases=purchases, purchase_value=value if purchases else 0
    )
    parts = split(whole, shares)
    total = add_up(parts)
    assert [getattr(total, name) for name in ADDITIVE] == [getattr(whole, n) for n in ADDITIVE]
    assert not any(part.purchase_value and not part.purchases for part in parts)


def test_a_days_figures_move_until_it_is_28_days_old_and_then_stand_still() -> None:
    account = world(ad_count=12).accounts["act_7"]
    day = date(2026, 10, 20)

    def purchases(age_days: int) -> int:
        now = datetime(2026, 10, 20, 18, tzinfo=UTC) + timedelta(days=age_days)
        found = [account.metrics(ad, day, now=now) for ad in account.ads]
        return add_up(each for each in found if each).purchases

    assert purchases(1) < purchases(7) < purchases(28)
    assert purchases(28) == purchases(29) == purchases(300)


def test_impressions_shrink_a_little_in_the_first_days() -> None:
    account = world().accounts["act_7"]
    ad, day = account.ads[0], date(2026, 11, 3)
    young = account.metrics(ad, day, now=datetime(2026, 11, 4, 18, tzinfo=UTC))
    old = account.metrics(ad, day, now=datetime(2026, 11, 9, 18, tzinfo=UTC))
    assert young is not None
    assert old is not None
    assert 0.98 < old.impressions / young.impressions < 1


def test_today_begins_at_midnight_of_the_accounts_zone_and_grows_by_quarters_of_an_hour() -> None:
    account = world(timezone="Asia/Tokyo", ad_count=9).accounts["act_7"]
    ad, today = account.ads[4], date(2026, 11, 22)
    midnight = datetime(2026, 11, 21, 15, 0, tzinfo=UTC)
    before = account.metrics(ad, today, now=midnight - timedelta(minutes=1))
    noon = account.metrics(ad, today, now=midnight + timedelta(hours=12))
    same_quarter = account.metrics(ad, today, now=midnight + timedelta(hours=12, minutes=14))
    next_quarter = account.metrics(ad, today, now=midnight + timedelta(hours=12, minutes=15))
    assert before is None
    assert noon == same_quarter
    assert noon is not None
    assert next_quarter is not None
    assert next_quarter.impressions > noon.impressions


def test_two_worlds_of_one_seed_are_alike_and_another_seed_differs() -> None:
    specs = [AccountSpec(id="act_7", name="Seven")]
    first, second = (World(specs, tokens=[], seed=3) for _ in range(2))
    other = World(specs, tokens=[], seed=4)
    ad_id, day = first.accounts["act_7"].ads[2].id, date(2026, 11, 4)

    def truth(world: World) -> Metrics | None:
        return world.metrics("act_7", ad_id, day, now=NOW)

    assert truth(first) == truth(second) != truth(other)


def test_the_last_ads_are_paused_archived_and_deleted_and_stop_delivering() -> None:
    account = world(ad_count=6, paused_count=1, archived_count=2, deleted_count=1).accounts["act_7"]
    assert [ad.status for ad in account.ads] == [
        "ACTIVE",
        "ACTIVE",
        "PAUSED",
        "ARCHIVED",
        "ARCHIVED",
        "DELETED",
    ]
    ended = account.ads[-1]
    assert ended.ends is not None
    assert account.metrics(ended, ended.ends, now=NOW) is None


def test_a_huge_account_is_made_without_its_rows() -> None:
    account = world(ad_count=20_000, history_days=100).accounts["act_7"]
    assert len({ad.id for ad in account.ads}) == 20_000
    assert all(int(ad.id) > 2**53 for ad in account.ads[:10])

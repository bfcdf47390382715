"""Writing windows: exact values, all or nothing, idempotent, the later attempt's rows stay."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, delete, select

from pipeline_assets.errors import SupersededError
from pipeline_assets.schemas import AD_CLASSIFICATIONS, AD_THUMBNAILS, META_ADS_PERFORMANCE
from pipeline_assets.storage.engine import build_engine, write_transaction
from pipeline_assets.storage.tables import DATASET_TABLES, window_writes
from pipeline_assets.storage.windows import (
    RowSpool,
    Scope,
    WriteResult,
    count_rows,
    read_frame,
    read_rows,
    replace_rows,
)

MakeRow = Callable[..., tuple[Any, ...]]
ATTEMPT_AT = datetime(2026, 7, 25, 6, 0, tzinfo=UTC)
JULY = Scope(values={"ad_account_id": "act_1"}, since=date(2026, 7, 1), until=date(2026, 7, 31))
JUNE = Scope(values={"ad_account_id": "act_1"}, since=date(2026, 6, 1), until=date(2026, 6, 30))
TABLE = DATASET_TABLES["meta_ads_performance"]


def replace(
    engine: Engine,
    *rows: tuple[Any, ...],
    brand_id: str = "acme",
    scopes: tuple[Scope, ...] = (JULY,),
    attempt_started_at: datetime = ATTEMPT_AT,
    run_id: str | None = None,
) -> WriteResult:
    return replace_rows(
        engine,
        META_ADS_PERFORMANCE,
        brand_id=brand_id,
        scopes=scopes,
        chunks=[rows],
        attempt_started_at=attempt_started_at,
        run_id=run_id,
    )


def read(engine: Engine, brand_id: str = "acme") -> list[tuple[object, ...]]:
    rows = read_rows(
        engine, META_ADS_PERFORMANCE, brand_id=brand_id, columns=["date", "ad_id", "impressions"]
    )
    return [tuple(row.values()) for row in rows]


def test_every_value_is_read_back_as_it_was_written(
    engine: Engine, performance_row: MakeRow
) -> None:
    name = "Größe „M“ 👟\n%s $1 '\" \\ " * 500  # over 10,000 characters
    values = {
        "ad_id": "120200000000000001",
        "ad_name": name,
        "impressions": 9_000_000_000,
        "spend": Decimal("1234567.10"),
        "purchases": Decimal("0.1"),
        "purchase_value": Decimal("123456789012.345"),
        "actions": [{"action_type": name, "value": "1"}, {"nested": [1, None, True, {"a": 1.5}]}],
        "action_values": None,
        "fetched_at": datetime(2026, 7, 25, 8, 0, 0, 5, tzinfo=timezone(timedelta(hours=2))),
    }
    row = performance_row(**values)
    replace(engine, row)
    [stored] = read_rows(engine, META_ADS_PERFORMANCE, brand_id="acme")
    assert stored == dict(zip(META_ADS_PERFORMANCE.column_names, row, strict=True))
    assert stored["fetched_at"].tzinfo is UTC
    assert stored["fetched_at"].isoformat() == "2026-07-25T06:00:00.000005+00:00"
    assert isinstance(stored["purchases"], Decimal)
    assert stored["provisional"] is True


@given(
    value=st.decimals(
        allow_nan=False, allow_infinity=False, places=6, min_value=-(10**9), max_value=10**9
    )
)
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_money_is_exact(engine: Engine, performance_row: MakeRow, value: Decimal) -> None:
    replace(engine, performance_row(spend=value))
    [stored] = read_rows(engine, META_ADS_PERFORMANCE, brand_id="acme", columns=["spend"])
    assert stored == {"spend": value}


def test_a_number_that_sqlite_would_round_is_refused(
    sqlite_url: str, performance_row: MakeRow
) -> None:
    engine = build_engine(sqlite_url)
    with pytest.raises(ValueError, match=r"SQLite cannot store 0\.1234567890123456789 exactly"):
        replace(engine, performance_row(spend=Decimal("0.1234567890123456789")))
    replace(engine, performance_row(spend=Decimal("1319.6000000000001")))  # computed in doubles
    [stored] = read_rows(engine, META_ADS_PERFORMANCE, brand_id="acme", columns=["spend"])
    assert stored == {"spend": Decimal("1319.6000000000001")}
    engine.dispose()


@pytest.mark.parametrize("value", [Decimal("NaN"), Decimal("Infinity")])
def test_what_is_not_a_number_is_refused(
    engine: Engine, performance_row: MakeRow, value: Decimal
) -> None:
    with pytest.raises(ValueError, match="is not a number that can be stored"):
        replace(engine, performance_row(spend=value))


def test_money_as_float_and_instants_without_zone_are_refused(
    engine: Engine, performance_row: MakeRow
) -> None:
    with pytest.raises(TypeError, match="takes a Decimal"):
        replace(engine, performance_row(spend=1.1))
    with pytest.raises(ValueError, match="has no time zone"):
        replace(engine, performance_row(fetched_at=datetime(2026, 7, 25)))  # noqa: DTZ001
    assert read(engine) == []


def test_writing_the_same_rows_again_changes_nothing(
    engine: Engine, performance_row: MakeRow
) -> None:
    rows = [performance_row(ad_id=ad_id) for ad_id in "123"]
    assert replace(engine, *rows) == WriteResult(written=3, deleted=0)
    before = read_rows(engine, META_ADS_PERFORMANCE, brand_id="acme")
    assert replace(engine, *rows) == WriteResult(written=3, deleted=3)
    assert read_rows(engine, META_ADS_PERFORMANCE, brand_id="acme") == before


def test_rows_that_vanished_at_the_source_vanish_here(
    engine: Engine, performance_row: MakeRow
) -> None:
    replace(engine, performance_row(ad_id="1"), performance_row(ad_id="2"))
    assert replace(engine, performance_row(ad_id="2")) == WriteResult(written=1, deleted=2)
    assert read(engine) == [(date(2026, 7, 1), "2", 1000)]
    assert replace(engine) == WriteResult(written=0, deleted=1)
    assert read(engine) == []


def test_a_key_that_comes_twice_is_stored_once_the_last_wins(
    engine: Engine, performance_row: MakeRow
) -> None:
    def chunk(*impressions: int) -> list[tuple[Any, ...]]:
        return [performance_row(impressions=count) for count in impressions]

    result = replace_rows(
        engine,
        META_ADS_PERFORMANCE,
        brand_id="acme",
        scopes=[JULY],
        chunks=[chunk(1, 2), [], chunk(3), chunk(4, 5)],
        attempt_started_at=ATTEMPT_AT,
    )
    assert result == WriteResult(written=1, deleted=0)
    assert read(engine) == [(date(2026, 7, 1), "1", 5)]


def test_other_brands_scopes_and_days_are_left_alone(
    engine: Engine, performance_row: MakeRow
) -> None:
    other_account = Scope(values={"ad_account_id": "act_2"})
    replace(engine, performance_row(brand_id="globex"), brand_id="globex")
    replace(engine, performance_row(ad_account_id="act_2"), scopes=(other_account,))
    replace(engine, performance_row(date=date(2026, 6, 30)), scopes=(JUNE,))
    replace(engine, performance_row(date=date(2026, 7, 31)))
    assert replace(engine) == WriteResult(written=0, deleted=1)
    assert count_rows(engine, META_ADS_PERFORMANCE, brand_id="globex") == 1
    assert [row[0] for row in read(engine)] == [date(2026, 6, 30), date(2026, 7, 1)]


@pytest.mark.parametrize(
    "values",
    [
        {"brand_id": "globex"},
        {"ad_account_id": "act_2"},
        {"date": date(2026, 6, 30)},
        {"date": date(2026, 8, 1)},
    ],
)
def test_a_row_outside_of_brand_or_scopes_is_a_bug_and_writes_nothing(
    engine: Engine, performance_row: MakeRow, values: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match="is outside of acme, ad_account_id act_1, 2026-07-01"):
        replace(engine, performance_row(), performance_row(**values))
    assert read(engine) == []


def test_a_scope_that_the_schema_does_not_have_is_a_bug(engine: Engine) -> None:
    for scope in (Scope(values={"ad_account_id": "act_1"}), Scope(since=date(2026, 7, 1))):
        with pytest.raises(ValueError, match="ad_thumbnails has no"):
            replace_rows(
                engine,
                AD_THUMBNAILS,
                brand_id="acme",
                scopes=[scope],
                chunks=[],
                attempt_started_at=ATTEMPT_AT,
            )


def test_rows_of_the_wrong_width_are_a_bug(engine: Engine, performance_row: MakeRow) -> None:
    with pytest.raises(ValueError, match="A row of meta_ads_performance has 31 values"):
        replace(engine, performance_row()[:-1])
    with pytest.raises(ValueError, match=r"is shorter than"):
        replace(engine, performance_row(), performance_row()[:-1])


def test_an_error_while_rows_come_leaves_the_old_ones(
    engine: Engine, performance_row: MakeRow
) -> None:
    replace(engine, performance_row(impressions=1))

    def chunks() -> Iterator[list[tuple[Any, ...]]]:
        yield [performance_row(impressions=2)]
        raise OSError("the source went away")

    with pytest.raises(OSError, match="went away"):
        replace_rows(
            engine,
            META_ADS_PERFORMANCE,
            brand_id="acme",
            scopes=[JULY],
            chunks=chunks(),
            attempt_started_at=ATTEMPT_AT,
        )
    assert read(engine) == [(date(2026, 7, 1), "1", 1)]


def test_a_writer_killed_between_delete_and_insert_leaves_the_old_rows(
    database_url: str, performance_row: MakeRow
) -> None:
    engine = build_engine(database_url)
    replace(engine, performance_row(impressions=1))
    script = (
        "import sys, time\n"
        "from datetime import UTC, date, datetime\n"
        "from pipeline_assets.schemas import META_ADS_PERFORMANCE\n"
        "from pipeline_assets.storage.engine import build_engine\n"
        "from pipeline_assets.storage.windows import Scope, replace_rows\n"
        "def chunks():\n"
        "    print('deleted', flush=True)\n"
        "    time.sleep(600)\n"
        "    yield []\n"
        "scope = Scope(values={'ad_account_id': 'act_1'})\n"
        "replace_rows(build_engine(sys.argv[1]), META_ADS_PERFORMANCE, brand_id='acme',"
        " scopes=[scope], chunks=chunks(), attempt_started_at=datetime.now(UTC))\n"
    )
    writer = subprocess.Popen(
        [sys.executable, "-c", script, database_url], stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout is not None
    assert writer.stdout.readline() == "deleted\n"
    os.kill(writer.pid, signal.SIGKILL)
    writer.wait()
    writer.stdout.close()
    assert read(engine) == [(date(2026, 7, 1), "1", 1)]
    assert replace(engine, performance_row(impressions=3)) == WriteResult(written=1, deleted=1)
    engine.dispose()


def test_an_older_attempt_may_not_write_what_a_later_one_has_written(
    engine: Engine, performance_row: MakeRow
) -> None:
    second = timedelta(seconds=1)
    replace(engine, performance_row(impressions=2), run_id="run-2")
    with pytest.raises(SupersededError) as caught:
        replace(engine, performance_row(impressions=1), attempt_started_at=ATTEMPT_AT - second)
    assert str(caught.value) == (
        "meta_ads_performance of acme: the attempt started at 2026-07-25T05:59:59+00:00 may not"
        " write, because run run-2, started later at 2026-07-25T06:00:00+00:00, has written"
        " ad_account_id act_1, 2026-07-01 to 2026-07-31."
    )
    assert read(engine) == [(date(2026, 7, 1), "1", 2)]
    for attempt_at in (ATTEMPT_AT, ATTEMPT_AT + second):  # the same one again, and a later one
        assert replace(engine, attempt_started_at=attempt_at).written == 0


def test_a_refused_scope_refuses_the_whole_write(engine: Engine, performance_row: MakeRow) -> None:
    replace(engine, performance_row())
    with pytest.raises(SupersededError):
        replace(engine, scopes=(JUNE, JULY), attempt_started_at=ATTEMPT_AT - timedelta(hours=1))
    earlier = replace(engine, scopes=(JUNE,), attempt_started_at=ATTEMPT_AT - timedelta(hours=2))
    assert earlier == WriteResult(written=0, deleted=0)


@pytest.mark.parametrize(
    ("scope", "refused"),
    [
        (JUNE, False),
        (Scope(values={"ad_account_id": "act_2"}), False),
        (Scope(values=JULY.values, since=date(2026, 8, 1)), False),
        (Scope(values=JULY.values, since=date(2026, 7, 31)), True),
        (Scope(values=JULY.values, until=date(2026, 7, 1)), True),
        (Scope(values=JULY.values, until=date(2026, 6, 30)), False),
        (Scope(values=JULY.values), True),
        (Scope(), True),
    ],
)
def test_only_an_overlapping_window_is_refused(
    engine: Engine, performance_row: MakeRow, scope: Scope, refused: bool
) -> None:
    replace(engine, performance_row())
    earlier = ATTEMPT_AT - timedelta(hours=1)
    if refused:
        with pytest.raises(SupersededError):
            replace(engine, scopes=(scope,), attempt_started_at=earlier)
    else:
        replace(engine, scopes=(scope,), attempt_started_at=earlier)
    assert len(read(engine)) == 1


def test_another_brand_and_another_dataset_are_never_refused(
    engine: Engine, performance_row: MakeRow
) -> None:
    replace(engine, performance_row())
    earlier = ATTEMPT_AT - timedelta(hours=1)
    replace(engine, brand_id="globex", attempt_started_at=earlier)
    replace_rows(
        engine,
        AD_THUMBNAILS,
        brand_id="acme",
        scopes=[Scope()],
        chunks=[],
        attempt_started_at=earlier,
    )


def test_the_memory_of_windows_stays_small(engine: Engine) -> None:
    def remembered() -> int:
        with engine.connect() as connection:
            return len(connection.execute(select(window_writes.c.windows)).scalar_one())

    for hour in range(5):  # the same window again and again is one memory
        replace(engine, attempt_started_at=ATTEMPT_AT + timedelta(hours=hour))
    assert remembered() == 1
    replace(engine, scopes=(JUNE,), attempt_started_at=ATTEMPT_AT + timedelta(hours=5))
    assert remembered() == 2
    replace(engine, scopes=(Scope(),), attempt_started_at=ATTEMPT_AT + timedelta(hours=6))
    assert remembered() == 1
    replace(engine, attempt_started_at=ATTEMPT_AT + timedelta(days=7, hours=5))
    assert remembered() == 2  # the wide one is 6 days and 23 hours old
    replace(engine, attempt_started_at=ATTEMPT_AT + timedelta(days=7, hours=6))
    assert remembered() == 1


def test_a_frame_has_the_schemas_dtypes_also_when_empty(
    engine: Engine, performance_row: MakeRow
) -> None:
    columns = ["date", "ad_id", "reach", "spend", "provisional", "actions", "fetched_at"]
    expected = ["object", "str", "Int64", "object", "boolean", "object", "datetime64[us, UTC]"]

    def frame() -> Any:
        return read_frame(engine, META_ADS_PERFORMANCE, brand_id="acme", columns=columns)

    assert [str(dtype) for dtype in frame().dtypes] == expected
    replace(engine, performance_row(), performance_row(ad_id="2", reach=7))
    assert [str(dtype) for dtype in frame().dtypes] == expected
    assert frame()["reach"].isna().tolist() == [True, False]
    assert frame().iloc[1].to_dict() == {
        "date": date(2026, 7, 1),
        "ad_id": "2",
        "reach": 7,
        "spend": Decimal("12.34"),
        "provisional": True,
        "actions": [{"action_type": "purchase", "value": "2"}],
        "fetched_at": ATTEMPT_AT,
    }


def test_reading_is_narrowed_by_conditions(engine: Engine, performance_row: MakeRow) -> None:
    replace(
        engine,
        performance_row(ad_id="1", spend=Decimal("9.5")),
        performance_row(ad_id="2", spend=Decimal("10.5")),
        performance_row(ad_id="3", spend=Decimal(100), date=date(2026, 7, 2)),
    )
    expensive = [TABLE.c.spend > Decimal(10), TABLE.c.date <= date(2026, 7, 1)]
    found = read_rows(
        engine, META_ADS_PERFORMANCE, brand_id="acme", columns=["ad_id"], where=expensive
    )
    assert found == [{"ad_id": "2"}]
    assert count_rows(engine, META_ADS_PERFORMANCE, brand_id="acme", where=expensive) == 1
    recent = [TABLE.c.fetched_at >= ATTEMPT_AT, TABLE.c.fetched_at < ATTEMPT_AT + timedelta(1)]
    assert count_rows(engine, META_ADS_PERFORMANCE, brand_id="acme", where=recent) == 3


def test_more_rows_than_one_batch_are_written_from_a_spool(
    engine: Engine, performance_row: MakeRow
) -> None:
    with RowSpool(META_ADS_PERFORMANCE) as spool:
        for day in (1, 2):
            spool.append(
                [performance_row(ad_id=str(ad), date=date(2026, 7, day)) for ad in range(600)]
            )
        for _ in range(2):  # a spool can be read again
            result = replace_rows(
                engine,
                META_ADS_PERFORMANCE,
                brand_id="acme",
                scopes=[JULY],
                chunks=spool,
                attempt_started_at=ATTEMPT_AT,
            )
    assert result == WriteResult(written=1200, deleted=1200)
    [stored] = read_rows(
        engine,
        META_ADS_PERFORMANCE,
        brand_id="acme",
        where=[TABLE.c.ad_id == "599", TABLE.c.date == date(2026, 7, 2)],
    )
    row = performance_row(ad_id="599", date=date(2026, 7, 2))
    assert stored == dict(zip(META_ADS_PERFORMANCE.column_names, row, strict=True))


Place = tuple[str, int, str]  # ad account, day of July, ad id

PLACES = st.tuples(st.sampled_from(["act_1", "act_2"]), st.integers(1, 6), st.sampled_from("ab"))
WRITES = st.lists(
    st.tuples(
        st.sampled_from(["acme", "globex"]),
        st.sampled_from([{}, {"ad_account_id": "act_1"}, {"ad_account_id": "act_2"}]),
        st.integers(1, 6) | st.none(),
        st.integers(1, 6) | st.none(),
        st.lists(st.lists(st.tuples(PLACES, st.integers(0, 99)), max_size=6), max_size=3),
    ),
    max_size=6,
)


@given(writes=WRITES)
@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_history_of_writes_ends_as_in_a_simple_model(
    engine: Engine, performance_row: MakeRow, writes: list[Any]
) -> None:
    model: dict[str, dict[Place, int]] = {"acme": {}, "globex": {}}
    with write_transaction(engine) as connection:
        connection.execute(delete(TABLE))
        connection.execute(delete(window_writes))

    def inside(place: Place, values: dict[str, str], since: int | None, until: int | None) -> bool:
        return values.get("ad_account_id", place[0]) == place[0] and (since or 0) <= place[1] <= (
            until or 31
        )

    for brand_id, values, since, until, all_chunks in writes:
        chunks = [
            [(place, value) for place, value in chunk if inside(place, values, since, until)]
            for chunk in all_chunks
        ]
        model[brand_id] = {
            place: value
            for place, value in model[brand_id].items()
            if not inside(place, values, since, until)
        } | {place: value for chunk in chunks for place, value in chunk}
        scope = Scope(
            values=values,
            since=date(2026, 7, since) if since else None,
            until=date(2026, 7, until) if until else None,
        )
        replace_rows(
            engine,
            META_ADS_PERFORMANCE,
            brand_id=brand_id,
            scopes=[scope],
            chunks=[
                [
                    performance_row(
                        brand_id=brand_id,
                        ad_account_id=account,
                        date=date(2026, 7, day),
                        ad_id=ad_id,
                        impressions=value,
                    )
                    for (account, day, ad_id), value in chunk
                ]
                for chunk in chunks
            ],
            attempt_started_at=ATTEMPT_AT,
        )
    for brand_id, rows in model.items():
        columns = ["ad_account_id", "date", "ad_id", "impressions"]
        stored = read_rows(engine, META_ADS_PERFORMANCE, brand_id=brand_id, columns=columns)
        assert {
            (row["ad_account_id"], row["date"].day, row["ad_id"]): row["impressions"]
            for row in stored
        } == rows


def test_a_dataset_without_scopes_is_replaced_whole(engine: Engine) -> None:
    def row(creative_id: str) -> tuple[Any, ...]:
        values = dict.fromkeys(AD_CLASSIFICATIONS.column_names, "x") | {
            "brand_id": "acme",
            "creative_id": creative_id,
            "tags": {"emotion": {"value": "joy", "confidence": 0.9, "evidence": ["yay"]}},
            "classified_at": ATTEMPT_AT,
            "fetched_at": ATTEMPT_AT,
        }
        return tuple(values.values())

    for creative_ids in ("ab", "bc"):
        result = replace_rows(
            engine,
            AD_CLASSIFICATIONS,
            brand_id="acme",
            scopes=[Scope()],
            chunks=[[row(creative_id) for creative_id in creative_ids]],
            attempt_started_at=ATTEMPT_AT,
        )
    assert result == WriteResult(written=2, deleted=2)
    stored = read_rows(engine, AD_CLASSIFICATIONS, brand_id="acme", columns=["creative_id", "tags"])
    assert [entry["creative_id"] for entry in stored] == ["b", "c"]
    assert stored[0]["tags"]["emotion"]["evidence"] == ["yay"]

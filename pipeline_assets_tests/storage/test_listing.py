"""Lists of a dataset's rows: narrowed, searched, sorted, paged and counted in the database."""

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa

from pipeline_assets.schemas import LANDING_PAGES
from pipeline_assets.storage.engine import write_transaction
from pipeline_assets.storage.json_lists import Held, holds
from pipeline_assets.storage.listing import (
    BRAND,
    Beside,
    Listing,
    Selection,
    count_held,
    count_values,
    iterate_listing,
    read_groups,
    read_listing,
)
from pipeline_assets.storage.tables import DATASET_TABLES

AT = datetime(2026, 7, 25, 6, 0, tzinfo=UTC)
PAGES = DATASET_TABLES["landing_pages"]
ASSETS = DATASET_TABLES["ad_assets"]
LONG = "x" * 9_990 + " the end"
HEBREW = "נעלי ריצה \u202eהפוך\u202c 100 ₪"
Store = Callable[..., None]


@pytest.fixture
def store(engine: sa.Engine) -> Store:
    """Stores a landing page, from the values that matter."""

    def store(url: str, brand_id: str = "acme", **values: object) -> None:
        row = {
            "brand_id": brand_id,
            "url": url,
            "host": "shop.example",
            "ad_count": 1,
            "state": "ok",
            "versions": [],
            "first_seen_at": AT,
            "fetched_at": AT,
        }
        with write_transaction(engine) as connection:
            connection.execute(sa.insert(PAGES).values(row | values))

    return store


def pages(**values: Any) -> Selection:
    return Selection(schema=LANDING_PAGES, brand_id="acme", **values)


def read(engine: sa.Engine, selection: Selection, **cut: int) -> Listing:
    return read_listing(engine, selection, **{"limit": 50, **cut})


def urls(engine: sa.Engine, selection: Selection, **cut: int) -> str:
    return "".join(row["url"] for row in read(engine, selection, **cut).rows)


def test_rows_come_as_python_values(engine: sa.Engine, store: Store) -> None:
    versions = [{"content_hash": "h", "seen_at": "2026-07-01", "price": None}]
    store("a", price=Decimal("19.90"), versions=versions, product_names=[HEBREW])
    listing = read(engine, pages())
    (row,) = listing.rows
    assert listing.total == 1
    assert tuple(row) == LANDING_PAGES.column_names
    assert (row["price"], row["versions"], row["product_names"]) == (
        Decimal("19.90"),
        versions,
        [HEBREW],
    )
    assert row["fetched_at"] == AT
    (few,) = read(engine, pages(columns=("url", "price"))).rows
    assert few == {"url": "a", "price": Decimal("19.90")}


def test_another_brands_rows_are_not_there(engine: sa.Engine, store: Store) -> None:
    store("a", brand_id="globex")
    assert read(engine, pages()) == Listing([], 0)
    assert list(iterate_listing(engine, pages())) == []
    assert count_values(engine, pages(), "state") == {}


def test_rows_without_a_value_come_last_either_way(engine: sa.Engine, store: Store) -> None:
    for url, price in (("a", None), ("b", "2"), ("c", "10"), ("d", None)):
        store(url, price=price and Decimal(price))
    assert urls(engine, pages(sort="price")) == "bcad"
    assert urls(engine, pages(sort="price", is_descending=True)) == "cbad"


def test_texts_sort_without_regard_to_case_and_alike_rows_by_key(
    engine: sa.Engine, store: Store
) -> None:
    for url, title in (("d", "beta"), ("c", "Alpha"), ("b", "beta"), ("a", "gamma")):
        store(url, title=title)
    assert urls(engine, pages(sort="title")) == "cbda"
    assert urls(engine, pages(sort="title", is_descending=True)) == "abdc"


def test_pages_cut_the_rows_without_overlap(engine: sa.Engine, store: Store) -> None:
    for url in "edcba":
        store(url)
    found = [urls(engine, pages(sort="state"), limit=2, offset=at) for at in (0, 2, 4, 6)]
    assert found == ["ab", "cd", "e", ""]
    assert read(engine, pages(), limit=2, offset=6).total == 5
    assert [row["url"] for row in iterate_listing(engine, pages(sort="state"))] == list("abcde")


def test_a_search_finds_long_and_right_to_left_texts_whatever_their_case(
    engine: sa.Engine, store: Store
) -> None:
    store("a", title=LONG)
    store("b", h1=HEBREW)
    store("c", title="100 % Ökologisch_")
    found = {"searched": ("title", "h1")}
    assert urls(engine, pages(text="THE END", **found)) == "a"
    assert urls(engine, pages(text=HEBREW[:9], **found)) == "b"
    assert urls(engine, pages(text="ökologisch", **found)) == "c"
    assert urls(engine, pages(text="100 ", **found)) == "bc"
    assert urls(engine, pages(text="%", **found)) == "c"  # no wildcards
    assert urls(engine, pages(text="h_", **found)) == "c"
    assert read(engine, pages(text="c" * 10_000, **found)).total == 0
    assert read(engine, pages(text="100", **found)).total == 2


def test_conditions_narrow_rows_and_counts(engine: sa.Engine, store: Store) -> None:
    for url, state, language in (("a", "ok", "en"), ("b", "ok", None), ("c", "blocked", None)):
        store(url, state=state, language=language)
    is_ok = pages(where=(PAGES.c.state == "ok",))
    assert urls(engine, is_ok) == "ab"
    assert list(count_values(engine, pages(), "state").items()) == [("ok", 2), ("blocked", 1)]
    assert list(count_values(engine, pages(), "language").items()) == [("en", 1), (None, 2)]
    assert count_values(engine, is_ok, "language") == {"en": 1, None: 1}


def test_what_lists_hold_narrows_and_is_counted_once_a_row(engine: sa.Engine, store: Store) -> None:
    store("a", product_names=[HEBREW, 'Shoe "A"', HEBREW], versions=[{"title": "T"}] * 2)
    store("b", product_names=["A"], versions=[{"title": "T"}, {"title": "é"}, {}])
    store("c", product_names=[])
    store("d", product_names=["A"], brand_id="globex")
    names, titles = PAGES.c.product_names, PAGES.c.versions
    assert urls(engine, pages(where=(holds(names, HEBREW),))) == "a"
    assert urls(engine, pages(where=(holds(names, "A"),))) == "b"
    assert urls(engine, pages(where=(holds(names, None),))) == "c"
    assert urls(engine, pages(where=(holds(titles, "é", "title"),))) == "b"
    assert urls(engine, pages(where=(holds(titles, "%", "title"),))) == ""
    counts = count_held(engine, pages(), Held("versions", "title"))
    assert list(counts.items()) == [("T", 2), ("é", 1), (None, 2)]
    found = count_held(engine, pages(where=(PAGES.c.url != "b",)), Held("product_names"))
    assert found == {HEBREW: 1, 'Shoe "A"': 1, None: 1}


def test_what_another_table_knows_stands_beside_each_row(engine: sa.Engine, store: Store) -> None:
    for url, host in (("a", "k1"), ("b", "k2"), ("c", "k3")):
        store(url, host=host)
    for brand_id, media_id, host, size in (
        ("acme", "m1", "k2", 7),
        ("acme", "m2", "k2", 5),
        ("acme", "m3", "k3", 3),
        ("globex", "m1", "k1", 100),
    ):
        put_asset(engine, brand_id=brand_id, media_id=media_id, creative_id=host, byte_count=size)
    sizes = (
        sa.select(ASSETS.c.creative_id.label("host"), sa.func.sum(ASSETS.c.byte_count).label("all"))
        .where(ASSETS.c.brand_id == BRAND)
        .group_by(ASSETS.c.creative_id)
        .subquery()
    )
    beside = Beside(rows=sizes, on=("host",), columns={"byte_count": "all"})
    selection = pages(columns=("url",), besides=(beside,), sort="byte_count", is_descending=True)
    assert [tuple(row.values()) for row in read(engine, selection).rows] == [
        ("b", 12),
        ("c", 3),
        ("a", None),
    ]
    big = pages(besides=(beside,), where=(selection.column("byte_count") > 5,))
    assert (urls(engine, big), read(engine, big).total) == ("b", 1)
    hidden = Beside(rows=sizes, on=("host",), columns=beside.columns, is_withheld=True)
    assert {row["byte_count"] for row in read(engine, pages(besides=(hidden,))).rows} == {None}


def put_asset(engine: sa.Engine, **values: object) -> None:
    row = {"media_type": "image", "ad_account_id": "act_1", "state": "stored", "fetched_at": AT}
    with write_transaction(engine) as connection:
        connection.execute(sa.insert(ASSETS).values(row | values))


def test_groups_put_rows_together(engine: sa.Engine, store: Store) -> None:
    for url, state, count in (("a", "ok", 1), ("b", "ok", 2), ("c", "blocked", 4)):
        store(url, state=state, ad_count=count)
    found = read_groups(
        engine, pages(), by=("state",), figures={"ads": sa.func.sum(PAGES.c.ad_count)}
    )
    assert [(row["state"], int(row["ads"])) for row in found] == [("blocked", 4), ("ok", 3)]


def test_a_column_that_is_not_there_is_named(engine: sa.Engine) -> None:
    with pytest.raises(KeyError, match="nonsense"):
        read(engine, pages(sort="nonsense"))

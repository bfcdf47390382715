"""Reviews: every product's, once, with what people say; earlier ones stay."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import dagster as dg
import pytest
import sqlalchemy as sa

from pipeline_assets.clock import utcnow
from pipeline_assets.schemas import SCHEMAS
from pipeline_assets.simulator import apify, review_copy
from pipeline_assets.simulator.faults import Endpoint, Fault, FaultKind
from pipeline_assets.simulator.server import SimulatorServer
from pipeline_assets.storage.tables import METADATA
from pipeline_assets.storage.windows import read_rows

APIFY_TOKEN = "apify_api_PlantedTokenOfTheTests0123456789"
JUNGLEE = "junglee/amazon-reviews-scraper"
AXESSO = "axesso_data/amazon-reviews-scraper"
ASINS = ("B0ABCDEFGH", "B0IJKLMNOP")

BOTH_DATABASES = pytest.mark.parametrize("database_url", ["sqlite", "postgresql"], indirect=True)

Row = dict[str, Any]
Gather = Callable[[str], dg.ExecuteInProcessResult]
Metadata = Callable[[dg.ExecuteInProcessResult, str], Row]
Checks = Callable[[dg.ExecuteInProcessResult], dict[str, dg.AssetCheckEvaluation]]
Failure = Callable[[dg.ExecuteInProcessResult], tuple[str, str, Row]]


def rows_of(engine: sa.Engine) -> dict[tuple[str, str], Row]:
    rows = read_rows(engine, SCHEMAS["amazon_reviews"], brand_id="acme")
    return {(row["asin"], row["review_id"]): row for row in rows}


def newest_reviews(
    asin: str, count: int, *, ahead: timedelta = timedelta()
) -> dict[tuple[str, str], review_copy.ForeignReview]:
    newest = review_copy.reviews_of(asin, (utcnow() + ahead).date())[:count]
    return {(asin, review.id): review for review in newest}


@pytest.fixture
def sell(
    configure: Callable[..., None], make_actor: Callable[..., dict[str, Any]]
) -> Callable[..., None]:
    """Configure products, an actor, and how many reviews of each."""

    def apply(*, actor: str = JUNGLEE, **changes: Any) -> None:
        source = {"asins": ASINS, "max_reviews": 30, "actor": make_actor(actor), **changes}
        configure({"amazon": source})

    return apply


@BOTH_DATABASES
@pytest.mark.parametrize("actor", [JUNGLEE, AXESSO])
def test_every_products_reviews_are_typed_and_none_of_another_product(
    gather: Gather,
    engine: sa.Engine,
    sell: Callable[..., None],
    metadata_of: Metadata,
    checks_of: Checks,
    simulator: SimulatorServer,
    actor: str,
) -> None:
    sell(actor=actor)
    result = gather("amazon_reviews")
    assert result.success
    assert {name: check.passed for name, check in checks_of(result).items()} == {
        "rows_are_readable": True,
        "products_have_reviews": True,
        "ids_name_one_review_each": True,
        "row_count_is_usual": True,
    }
    rows = rows_of(engine)
    truth = newest_reviews(ASINS[0], 30) | newest_reviews(ASINS[1], 30)
    assert set(rows) == set(truth)
    for key, review in truth.items():
        row = rows[key]
        assert (row["rating"], row["title"]) == (review.stars, review.title)
        assert (row["reviewed_on"], row["country"]) == (review.day, "US")
        assert (row["is_verified"], row["helpful_votes"]) == (review.is_verified, review.helpful)
        assert (row["product_title"], row["variant"]) == (review.product_title, review.variant)
        assert "<" not in row["body"]
        assert "&amp;" not in row["body"]
        assert row["raw"]
        assert row["error"] is None
    assert any("😅" in row["body"] for row in rows.values())
    metadata = metadata_of(result, "amazon_reviews")
    assert metadata["records"] == metadata["found"] == len(rows)
    assert metadata["of_other_products"] >= 1
    assert len(simulator.apify.inputs) == 1, "one run for all products"
    assert simulator.apify.inputs[0]["asins"] == list(ASINS)


def test_reviews_of_a_shop_that_speaks_another_language_have_their_days(
    gather: Gather,
    engine: sa.Engine,
    sell: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    metadata_of: Metadata,
) -> None:
    months = "Januar Februar März April Mai Juni Juli August September Oktober November Dezember"
    show = apify._axesso_review

    def show_in_german(review: review_copy.ForeignReview) -> Row:
        month = months.split()[review.day.month - 1]
        return {
            **show(review),
            "date": f"Rezension aus Deutschland vom {review.day.day}. {month} {review.day.year}",
            "rating": f"{review.stars},0 von 5 Sternen",
            "verified": "Verifizierter Kauf" if review.is_verified else "vielleicht",
        }

    monkeypatch.setattr(apify, "_axesso_review", show_in_german)
    sell(actor=AXESSO, country="DE", asins=ASINS[:1])
    result = gather("amazon_reviews")
    assert result.success
    rows, truth = rows_of(engine), newest_reviews(ASINS[0], 30)
    assert set(rows) == set(truth)
    for key, review in truth.items():
        row = rows[key]
        assert (row["reviewed_on"], row["rating"], row["country"]) == (
            review.day,
            review.stars,
            "DE",
        )
        assert row["is_verified"] is review.is_verified
        problem = None if review.is_verified else "Left out as unreadable: verified 'vielleicht'."
        assert row["error"] == problem
    unsure = sum(not review.is_verified for review in truth.values())
    assert unsure
    assert metadata_of(result, "amazon_reviews")["partly_read"] == unsure


def test_people_are_quoted_in_their_own_words(
    gather: Gather, engine: sa.Engine, sell: Callable[..., None]
) -> None:
    sell(max_reviews=100)
    gather("amazon_reviews")
    rows = rows_of(engine).values()
    phrases = [(phrase["kind"], phrase["text"], row) for row in rows for phrase in row["phrases"]]
    assert {kind for kind, _, _ in phrases} >= {"pain", "desire", "objection", "praise"}
    for _, text, row in phrases:
        said = f"{row['title']} {row['body']}".casefold()
        assert all(word.strip(".,!?").casefold() in said for word in text.split())


@BOTH_DATABASES
def test_an_actor_that_gives_only_the_newest_loses_none_of_the_older(
    gather: Gather, engine: sa.Engine, clock: Any, sell: Callable[..., None]
) -> None:
    sell(max_reviews=10)
    gather("amazon_reviews")
    before = rows_of(engine)
    clock.ahead = timedelta(days=30)
    result = gather("amazon_reviews")
    assert result.success
    newest = {key for asin in ASINS for key in newest_reviews(asin, 10, ahead=clock.ahead)}
    assert newest - set(before)
    assert set(before) - newest
    after = rows_of(engine)
    assert set(after) == set(before) | newest
    for key, row in before.items():
        assert after[key]["first_seen_at"] == row["first_seen_at"]
        assert after[key]["body"] == row["body"]


def test_a_product_that_is_no_longer_configured_goes(
    gather: Gather, engine: sa.Engine, sell: Callable[..., None]
) -> None:
    sell()
    gather("amazon_reviews")
    sell(asins=ASINS[:1])
    gather("amazon_reviews")
    assert {asin for asin, _ in rows_of(engine)} == {ASINS[0]}


def test_a_product_without_reviews_is_named_by_a_warning(
    gather: Gather, sell: Callable[..., None], checks_of: Checks
) -> None:
    sell(asins=[*ASINS, review_copy.WITHOUT_REVIEWS])
    result = gather("amazon_reviews")
    assert result.success
    check = checks_of(result)["products_have_reviews"]
    assert not check.passed
    assert check.severity is dg.AssetCheckSeverity.WARN
    assert "1 of 3 products gave no review: B000000000" in (check.description or "")


@pytest.mark.parametrize(
    ("kind", "error_class", "said"),
    [
        (FaultKind.APIFY_EMPTY, "InvalidConfigError", "gave no review of B0ABCDEFGH, B0IJKLMNOP"),
        (FaultKind.APIFY_SCHEMA_CHANGED, "InvalidConfigError", "missing or wrong: ratingScore ("),
        (FaultKind.APIFY_ROWS_BROKEN, "InvalidConfigError", "reviewId"),
    ],
)
def test_rows_that_are_no_reviews_fail_the_dataset_and_keep_what_was_stored(
    gather: Gather,
    engine: sa.Engine,
    simulator: SimulatorServer,
    sell: Callable[..., None],
    failure_of: Failure,
    kind: FaultKind,
    error_class: str,
    said: str,
) -> None:
    sell()
    gather("amazon_reviews")
    before = rows_of(engine)
    simulator.faults.add(Fault(kind=kind))
    seen_class, message, metadata = failure_of(gather("amazon_reviews"))
    assert seen_class == error_class
    assert said in message
    assert metadata["advice"]
    assert rows_of(engine) == before
    simulator.faults.clear()
    assert gather("amazon_reviews").success
    assert len(simulator.apify.inputs) == 3, "a run that was of no use is not read again"


def test_an_id_that_stands_for_many_reviews_fails_its_check(
    gather: Gather, simulator: SimulatorServer, sell: Callable[..., None], checks_of: Checks
) -> None:
    sell()
    simulator.faults.add(Fault(kind=FaultKind.APIFY_KEYS_COLLIDE))
    check = checks_of(gather("amazon_reviews"))["ids_name_one_review_each"]
    assert not check.passed
    assert check.severity is dg.AssetCheckSeverity.ERROR


@BOTH_DATABASES
def test_a_failed_attempts_run_is_gone_on_with_and_no_token_is_written(
    gather: Gather,
    engine: sa.Engine,
    instance: dg.DagsterInstance,
    simulator: SimulatorServer,
    sell: Callable[..., None],
    metadata_of: Metadata,
) -> None:
    sell()
    simulator.faults.add(Fault(kind=FaultKind.APIFY_ERROR, endpoint=Endpoint.APIFY_ITEMS, count=4))
    failed = gather("amazon_reviews")
    assert not failed.success
    result = gather("amazon_reviews")
    assert result.success
    assert metadata_of(result, "amazon_reviews")["actor_run_was_resumed"]
    assert len(simulator.apify.inputs) == 1
    written = "".join(str(log) for r in (failed, result) for log in instance.all_logs(r.run_id))
    with engine.connect() as connection:
        for table in METADATA.sorted_tables:
            written += str(connection.execute(sa.select(table)).all())
    assert "run0000000000001" in written
    assert APIFY_TOKEN not in written


def test_a_brand_without_products_is_told_so(
    gather: Gather, configure: Callable[..., None], failure_of: Failure
) -> None:
    configure({})
    error_class, message, metadata = failure_of(gather("amazon_reviews"))
    assert error_class == "InvalidConfigError"
    assert "'acme' names no products" in message
    assert "ASINs" in metadata["advice"]

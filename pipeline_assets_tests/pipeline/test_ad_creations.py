"""The asset ad_creations over stored rows: what is drafted, rendered, kept and dropped."""

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from io import BytesIO
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import sqlalchemy as sa
from PIL import Image

from pipeline_assets.brands.models import parse_brand
from pipeline_assets.brands.registry import add_brand
from pipeline_assets.clock import utcnow
from pipeline_assets.control.brand_partitions import BRAND_PARTITIONS
from pipeline_assets.control.item_decisions import decide
from pipeline_assets.control.projector import project
from pipeline_assets.definitions import build_definitions
from pipeline_assets.resources.installation import Installation
from pipeline_assets.schemas import (
    AD_ASSETS,
    AD_CLASSIFICATIONS,
    AD_CREATIONS,
    LANDING_PAGES,
    META_AD_CREATIVES,
    REDDIT_POSTS,
    SCORECARD,
    TEMPLATE_APPROVALS,
    TEMPLATES_SCRAPED,
    ColumnType,
    TableSchema,
)
from pipeline_assets.settings import Settings
from pipeline_assets.storage.engine import write_transaction
from pipeline_assets.storage.tables import DATASET_TABLES, brands, dataset_status
from pipeline_assets.storage.windows import Scope, read_rows, replace_rows

BRAND, DATASET = "acme", "ad_creations"
ACTOR = "user:ann@example.com"
SERUM, CREAM = "https://shop.example/serum", "https://shop.example/cream"
RATIOS = {"1:1": (1080, 1080), "4:5": (1080, 1350), "9:16": (1080, 1920), "1.91:1": (1200, 628)}

BOTH_DATABASES = pytest.mark.parametrize("database_url", ["sqlite", "postgresql"], indirect=True)

Row = dict[str, Any]
Draft = Callable[[], dg.ExecuteInProcessResult]
HaveSynced = Callable[..., None]


_NEUTRAL: dict[ColumnType, Any] = {
    ColumnType.TEXT: "unknown",
    ColumnType.INTEGER: 0,
    ColumnType.FLOAT: 0.0,
    ColumnType.DECIMAL: Decimal(0),
    ColumnType.BOOLEAN: False,
    ColumnType.DATE: date(2026, 1, 1),
    ColumnType.TIMESTAMP: datetime(2026, 1, 1, tzinfo=UTC),
    ColumnType.JSON: [],
}


def store(engine: sa.Engine, schema: TableSchema, *rows: Row) -> None:
    """Make these the brand's only rows; columns that are not given are empty, 0 or unknown."""
    blank = {
        each.name: None if each.nullable else _NEUTRAL[each.type] for each in schema.columns
    } | {"brand_id": BRAND}
    scopes = [Scope(values={name: row[name] for name in schema.scope}) for row in rows] or [Scope()]
    replace_rows(
        engine,
        schema,
        brand_id=BRAND,
        scopes=scopes[:1],
        chunks=[[tuple((blank | row)[name] for name in schema.column_names) for row in rows]],
        attempt_started_at=utcnow(),
    )


def template(name: str, **fields: Any) -> Row:
    return {
        "library_ad_id": name,
        "page_name": "Lumen Labs",
        "title": "Tired of cold coffee?",
        "body": "Is your coffee cold by ten? The Lumen mug keeps it hot. Save 30% today.",
        "cta": "Shop now",
    } | fields


def approval(name: str, state: str = "approved") -> Row:
    return {"template_id": name, "state": state, "decided_by": "rules", "score": 82.0}


def page(url: str, product: str, **fields: Any) -> Row:
    return {
        "url": url,
        "ad_count": 2,
        "state": "ok",
        "language": "en",
        "title": f"{product} – Acme",
        "h1": f"{product} for every day",
        "description": f"{product} is made in small batches. It sinks in within a minute.",
        "main_text": "Loved by people with dry skin. You can send it back.",
        "price": Decimal(34),
        "currency": "USD",
        "product_names": [product],
    } | fields


def creative(number: int, url: str, body: str) -> Row:
    return {
        "ad_account_id": "act_1",
        "ad_id": f"ad{number}",
        "ad_name": f"Ad {number}",
        "creative_id": f"c{number}",
        "effective_status": "ACTIVE",
        "title": "Acme",
        "body": body,
        "destination_urls": [f"{url}?utm_source=fb"],
        "call_to_action_type": "LEARN_MORE",
    }


def score(number: int, **fields: Any) -> Row:
    return {
        "creative_key": f"image:{number}",
        "creative_id": f"c{number}",
        "currency": "USD",
        "ad_name": f"Ad {number}",
        "hook_type": "question",
        "hook_percentile": 90.0 - number,
        "confidence": "high",
        "label": "winner",
        "label_reason": "Its ROAS beats that of all.",
    } | fields


def png(color: tuple[int, int, int]) -> bytes:
    buffer = BytesIO()
    Image.new("RGB", (800, 600), color).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def installation(database_url: str, engine: sa.Engine, tmp_path: Path) -> Installation:
    data = {
        "id": BRAND,
        "name": "Acme",
        "timezone": "UTC",
        "sources": {"templates": {"search_terms": ["skin"], "max_drafts": 4}},
    }
    add_brand(engine, parse_brand(data), actor="test", now=datetime(2026, 1, 1, tzinfo=UTC))
    return Installation(Settings(database_url=database_url, media_url=str(tmp_path / "media")))


@pytest.fixture
def known(engine: sa.Engine, installation: Installation) -> None:
    """Two products, two approved templates and a rejected one, two winners and a loser."""
    store(engine, TEMPLATES_SCRAPED, template("t1"), template("t2", title="Mugs"), template("t3"))
    store(engine, TEMPLATE_APPROVALS, approval("t1"), approval("t2"), approval("t3", "rejected"))
    store(
        engine,
        LANDING_PAGES,
        page(SERUM, "Dew Serum", discount="-20%"),
        page(CREAM, "Barrier Cream", h1="A calmer day", description="Calm for cheeks and hands."),
        page("https://shop.example/gone", "Old Soap", state="not_found"),
    )
    store(
        engine,
        META_AD_CREATIVES,
        creative(1, SERUM, "Is your skin dry by noon? Try it."),
        creative(2, CREAM, "Cheeks that sting in the wind are no fun."),
        creative(3, SERUM, "Never lose water again."),
    )
    store(
        engine,
        SCORECARD,
        score(1),
        score(2, hook_type="problem"),
        score(3, label="loser", hook_percentile=99.0),
    )
    picture = installation.media.put_bytes(png((200, 80, 20)))
    store(
        engine,
        AD_ASSETS,
        {
            "creative_id": "c1",
            "media_type": "image",
            "media_id": "h1",
            "ad_account_id": "act_1",
            "state": "stored",
            "sha256": picture.sha256,
            "content_type": "image/png",
            "width": 800,
            "height": 600,
        },
    )


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions(BRAND_PARTITIONS, [BRAND])
        yield instance


@pytest.fixture
def draft(
    installation: Installation, instance: dg.DagsterInstance, have_synced: HaveSynced
) -> Draft:
    have_synced("template_approvals", brand_id=BRAND)
    job = build_definitions(installation).resolve_job_def("ad_creation")
    return lambda: job.execute_in_process(
        instance=instance, partition_key=BRAND, raise_on_error=False
    )


def drafts(engine: sa.Engine) -> dict[str, Row]:
    return {row["draft_id"]: row for row in read_rows(engine, AD_CREATIONS, brand_id=BRAND)}


def without_times(rows: dict[str, Row]) -> dict[str, Row]:
    return {name: row | {"fetched_at": None} for name, row in rows.items()}


def checks(result: dg.ExecuteInProcessResult) -> dict[str, bool]:
    evaluations = result.get_asset_check_evaluations()
    return {each.check_name: each.passed for each in evaluations}


def metadata(result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    (event,) = result.get_asset_materialization_events()
    return {name: each.value for name, each in event.materialization.metadata.items()}


def review(engine: sa.Engine, draft_id: str, decision: str) -> None:
    decide(
        engine,
        brand_id=BRAND,
        dataset=DATASET,
        item_id=draft_id,
        decision=decision,
        reason="Said by a person.",
        actor=ACTOR,
        now=utcnow(),
    )


@BOTH_DATABASES
def test_drafts_are_spread_over_products_and_tell_where_they_come_from(
    engine: sa.Engine, known: None, draft: Draft
) -> None:
    result = draft()
    assert result.success
    rows = list(drafts(engine).values())
    assert len(rows) == 4
    assert {row["product_name"] for row in rows} == {"Dew Serum", "Barrier Cream"}
    assert {row["template_id"] for row in rows} == {"t1", "t2"}
    assert {row["creative_key"] for row in rows} == {"image:1", "image:2"}
    assert {row["review_state"] for row in rows} == {"draft"}
    for row in rows:
        assert len(row["headline"]) <= 40
        assert len(row["primary_text"]) <= 125
        assert len(row["description"]) <= 30
        said = f"{row['headline']} {row['primary_text']} {row['description']}"
        assert "Lumen" not in said
        assert "30%" not in said
        assert ("20%" in said) <= (row["product_name"] == "Dew Serum")
        lineage = row["lineage"]
        assert lineage["template"]["template_id"] == row["template_id"]
        assert lineage["hook"]["creative_key"] == row["creative_key"]
        assert lineage["product"]["url"] == row["product_url"]
        assert {each["field"] for each in lineage["texts"]} >= {"headline", "primary_text"}
        assert all(each["source"] and each["why"] for each in lineage["texts"])
    assert checks(result) == {
        "texts_fit": True,
        "drafts_are_not_copies": True,
        "approved_offers_hold": True,
        "row_count_is_usual": True,
    }
    assert metadata(result)["rendered"] == 4


def test_every_draft_has_a_png_of_each_ratio_with_the_products_own_picture_behind(
    engine: sa.Engine, installation: Installation, known: None, draft: Draft
) -> None:
    assert draft().success
    for row in drafts(engine).values():
        shapes = {each["ratio"]: (each["width"], each["height"]) for each in row["pictures"]}
        assert shapes == RATIOS
        for each in row["pictures"]:
            with installation.media.open(each["sha256"]) as file, Image.open(file) as image:
                assert (image.format, image.size) == ("PNG", shapes[each["ratio"]])
                corner = image.getpixel((0, 0))
            is_serum = row["product_name"] == "Dew Serum"
            assert (corner == (200, 80, 20)) == is_serum
        origin = row["lineage"]["picture"]
        assert (origin["creative_id"] == "c1") == (row["product_name"] == "Dew Serum")
        assert "plain ground" in origin["why"] or "the product alone" in origin["why"]


@pytest.mark.parametrize(
    ("url", "is_used"), [("https://shop.example/", True), ("https://shop.example/sale", False)]
)
def test_a_picture_that_shows_no_product_stands_behind_any(
    engine: sa.Engine, known: None, draft: Draft, url: str, *, is_used: bool
) -> None:
    store(engine, META_AD_CREATIVES, creative(1, url, "Is your skin dry by noon? Try it."))
    assert draft().success
    origins = {row["lineage"]["picture"]["creative_id"] for row in drafts(engine).values()}
    assert origins == ({"c1"} if is_used else {None})


def test_an_ad_with_an_offer_in_it_gives_no_background(
    engine: sa.Engine, known: None, draft: Draft
) -> None:
    store(engine, AD_CLASSIFICATIONS, {"creative_id": "c1", "offer_type": "discount"})
    assert draft().success
    assert {row["lineage"]["picture"]["creative_id"] for row in drafts(engine).values()} == {None}


def test_a_picture_of_the_product_alone_comes_before_others(
    engine: sa.Engine, installation: Installation, known: None, draft: Draft
) -> None:
    stored = read_rows(engine, AD_ASSETS, brand_id=BRAND)[0]
    other = installation.media.put_bytes(png((1, 2, 3))).sha256
    product_shot = {"creative_id": "c2", "media_id": "h2", "sha256": other}
    store(engine, AD_ASSETS, stored, stored | product_shot)
    adverts = [creative(number, SERUM, f"Is it dry? {number}") for number in (1, 2)]
    store(engine, META_AD_CREATIVES, *adverts)
    classes = {"offer_type": "none", "asset_type": "product_shot", "creative_id": "c2"}
    store(engine, AD_CLASSIFICATIONS, classes)
    assert draft().success
    used = {
        row["lineage"]["picture"]["creative_id"]
        for row in drafts(engine).values()
        if row["product_name"] == "Dew Serum"
    }
    assert used == {"c2"}


def test_without_a_picture_a_headline_that_cannot_be_drawn_gives_none(
    engine: sa.Engine, known: None, draft: Draft
) -> None:
    store(engine, AD_ASSETS)
    store(engine, LANDING_PAGES, page(SERUM, "潤いセラム", h1="潤い", main_text="A serum."))
    result = draft()
    assert result.success
    assert checks(result)["texts_fit"] is False
    undrawn = [
        (row["pictures"], row["lineage"]["picture"]["is_headline_whole"])
        for row in drafts(engine).values()
        if row["lineage"]["picture"]["left_out"]
    ]
    assert undrawn
    assert all(each == ([], False) for each in undrawn)


def test_a_picture_that_is_gone_or_no_picture_gives_way_to_a_plain_ground(
    engine: sa.Engine, installation: Installation, known: None, draft: Draft
) -> None:
    garbage = installation.media.put_bytes(b"no picture")
    row = {"media_type": "image", "ad_account_id": "act_1", "state": "stored"}
    row |= {"width": 800, "height": 600}
    for sha256 in (garbage.sha256, "0" * 64):
        store(engine, AD_ASSETS, row | {"creative_id": "c1", "media_id": "x", "sha256": sha256})
        assert draft().success
        whys = {each["lineage"]["picture"]["why"] for each in drafts(engine).values()}
        assert "a plain ground: it cannot be read" in whys


@BOTH_DATABASES
def test_nothing_changed_is_not_rendered_again_and_keeps_its_time(
    engine: sa.Engine, known: None, draft: Draft
) -> None:
    assert draft().success
    first = drafts(engine)
    again = draft()
    assert metadata(again)["rendered"] == 0
    assert without_times(drafts(engine)) == without_times(first)
    store(engine, LANDING_PAGES, page(SERUM, "Dew Serum", discount="-25%"))
    changed = draft()
    assert changed.success
    rows = drafts(engine)
    assert {row["description"] for row in rows.values()} >= {"-25%"}
    assert any(row["drafted_at"] > first[name]["drafted_at"] for name, row in rows.items())


def test_words_with_another_picture_are_drafted_anew(
    engine: sa.Engine, installation: Installation, known: None, draft: Draft
) -> None:
    assert draft().success
    first = drafts(engine)
    other = installation.media.put_bytes(png((20, 80, 200)))
    with write_transaction(engine) as connection:
        connection.execute(DATASET_TABLES[AD_ASSETS.name].update().values(sha256=other.sha256))
    assert draft().success
    is_new = {
        (row["product_name"], row["drafted_at"] > first[name]["drafted_at"])
        for name, row in drafts(engine).items()
    }
    assert is_new == {("Dew Serum", True), ("Barrier Cream", False)}


def test_lost_bytes_are_rendered_again(
    engine: sa.Engine, installation: Installation, known: None, draft: Draft, tmp_path: Path
) -> None:
    assert draft().success
    name = next(iter(drafts(engine).values()))["pictures"][0]["sha256"]
    (tmp_path / "media" / name[:2] / name).unlink()
    assert metadata(draft())["rendered"] == 1
    assert installation.media.has(name)


@BOTH_DATABASES
def test_reviewed_drafts_stay_when_nothing_else_does_and_make_room_for_others(
    engine: sa.Engine, known: None, draft: Draft
) -> None:
    assert draft().success
    approved, rejected, *_ = drafts(engine)
    review(engine, approved, "approved")
    review(engine, rejected, "rejected")
    before = drafts(engine)
    assert draft().success
    after = drafts(engine)
    assert {after[approved]["review_state"], after[rejected]["review_state"]} == {
        "approved",
        "rejected",
    }
    assert after[approved] | {"fetched_at": None} == before[approved] | {"fetched_at": None}
    store(engine, TEMPLATE_APPROVALS, approval("t1", "rejected"))
    result = draft()
    assert result.success
    assert set(drafts(engine)) == {approved, rejected}
    assert metadata(result)["missing"] == "Nothing new is drafted: no template is approved."
    review(engine, rejected, "draft")
    assert draft().success
    assert set(drafts(engine)) == {approved}


@BOTH_DATABASES
def test_a_review_made_while_a_run_renders_is_not_lost(
    engine: sa.Engine, known: None, draft: Draft, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline_assets.analysis import drafting  # noqa: PLC0415

    assert draft().success
    name = next(iter(drafts(engine)))
    draft_ads = drafting.draft_ads

    def draft_while_a_person_decides(**inputs: Any) -> Any:
        review(engine, name, "approved")
        return draft_ads(**inputs)

    monkeypatch.setattr(drafting, "draft_ads", draft_while_a_person_decides)
    assert draft().success
    row = drafts(engine)[name]
    assert (row["review_state"], row["reviewed_by"]) == ("approved", ACTOR)


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        (TEMPLATE_APPROVALS, "no template is approved"),
        (LANDING_PAGES, "no landing page that could be read names a product"),
        (SCORECARD, "the scorecard has no creative whose hook could be used"),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_what_is_missing_is_said_and_is_no_failure(
    engine: sa.Engine, known: None, draft: Draft, schema: TableSchema, reason: str
) -> None:
    store(engine, schema)
    result = draft()
    assert result.success
    assert drafts(engine) == {}
    assert metadata(result)["missing"] == f"Nothing new is drafted: {reason}."
    assert metadata(result)["records"] == 0


def test_customers_words_are_used_where_the_page_speaks_of_the_same(
    engine: sa.Engine, known: None, draft: Draft
) -> None:
    said = {"kind": "pain", "text": "my dry skin itches all day"}
    store(engine, REDDIT_POSTS, {"post_id": "t3_1", "phrases": [said]})
    assert draft().success
    used = [row for row in drafts(engine).values() if row["lineage"]["phrases"]]
    assert used
    assert all("my dry skin itches all day" in row["primary_text"] for row in used)
    assert used[0]["lineage"]["phrases"][0]["kind"] == "pain"


def test_an_approved_draft_whose_page_has_another_price_fails_its_check(
    engine: sa.Engine, known: None, draft: Draft
) -> None:
    assert draft().success
    for name in drafts(engine):
        review(engine, name, "approved")
    assert checks(draft())["approved_offers_hold"] is True
    store(
        engine,
        LANDING_PAGES,
        page(SERUM, "Dew Serum", discount="-20%"),
        page(CREAM, "Barrier Cream", price=Decimal(35)),
    )
    result = draft()
    assert result.success
    assert checks(result)["approved_offers_hold"] is False


def test_letters_that_the_font_lacks_fail_the_check_of_texts(
    engine: sa.Engine, known: None, draft: Draft
) -> None:
    store(engine, LANDING_PAGES, page(SERUM, "潤いセラム", h1="潤い", main_text="A serum."))
    result = draft()
    assert result.success
    assert checks(result)["texts_fit"] is False
    row = next(iter(drafts(engine).values()))
    assert set(row["lineage"]["picture"]["left_out"]) <= set("潤いセラム")


def test_approved_drafts_that_say_the_same_fail_the_check_of_copies(
    engine: sa.Engine, known: None, draft: Draft
) -> None:
    assert draft().success
    for name in drafts(engine):
        review(engine, name, "approved")
    with write_transaction(engine) as connection:
        same = {"headline": "One", "primary_text": "And the same."}
        connection.execute(DATASET_TABLES[DATASET].update().values(**same))
    assert checks(draft())["drafts_are_not_copies"] is False


def test_a_brand_without_the_source_is_told_what_to_configure(
    engine: sa.Engine, known: None, instance: dg.DagsterInstance, draft: Draft
) -> None:
    with write_transaction(engine) as connection:
        connection.execute(brands.update().values(sources={}))
    assert not draft().success
    project(instance, engine)
    with engine.connect() as connection:
        is_it = dataset_status.c.dataset == DATASET
        status = connection.execute(sa.select(dataset_status).where(is_it)).mappings().one()
    assert status["error_class"] == "InvalidConfigError"
    assert "brands apply" in status["advice"]

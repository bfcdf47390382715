"""What a brand may look like, and what people are told when it does not."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pipeline_assets.brands.models import (
    _SHAPES,
    Brand,
    parse_brand,
    parse_organization,
    resolve_secret,
)
from pipeline_assets.datasets import DATASETS, JOBS, Source
from pipeline_assets.errors import CredentialError, InvalidConfigError
from pipeline_assets.redaction import MASK, redact

NOW = datetime(2026, 7, 25, 12, 0, tzinfo=UTC)
TOKEN = "EAABsbCS1234567890abcdefghij"


def brand_data(**changes: object) -> dict[str, Any]:
    return {
        "id": "acme",
        "name": "Acme Shoes",
        "timezone": "Europe/Berlin",
        "currency": "EUR",
        "sources": {"meta": meta_data()},
    } | changes


def meta_data(**changes: object) -> dict[str, Any]:
    return {"ad_accounts": ["act_1"], "token": "env:META_TOKEN_ACME"} | changes


def refusal(**changes: object) -> str:
    with pytest.raises(InvalidConfigError) as caught:
        parse_brand(brand_data(**changes))
    assert TOKEN not in f"{caught.value!r} {caught.value.__cause__!r}"
    return str(caught.value)


def test_a_brand_is_read_with_its_accounts_normalised() -> None:
    accounts = ["act_12", "34", 56]  # YAML reads bare digits as a number
    brand = parse_brand(brand_data(sources={"meta": meta_data(ad_accounts=accounts, app_id=7)}))
    assert brand.sources.meta is not None
    assert brand.sources.meta.ad_accounts == ("act_12", "act_34", "act_56")
    assert brand.sources.meta.app_id == "7"
    assert brand.organization_id == "default"


def test_a_source_counts_as_configured_when_it_is_there() -> None:
    assert parse_brand(brand_data()).sources.has(Source.META)
    assert not parse_brand(brand_data()).sources.has(Source.REDDIT)
    assert not parse_brand(brand_data(sources={})).sources.has(Source.META)


@pytest.mark.parametrize("brand_id", ["a", "0", "acme-shoes_2", "a" * 63])
def test_a_slug_is_taken(brand_id: str) -> None:
    assert parse_brand(brand_data(id=brand_id)).id == brand_id


@pytest.mark.parametrize(
    "brand_id", ["", "acme,inc", "Acme", "-acme", "_acme", "a" * 64, "acme/..", "größe", "a\n b"]
)
def test_another_id_is_refused_with_the_value_and_what_is_allowed(brand_id: str) -> None:
    message = refusal(id=brand_id)
    assert f"id is {brand_id!r}: it must be 1 to 63 characters of a-z, 0-9, - and _" in message


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"timezone": "europe/berln"},
            (
                "Brand acme: timezone is 'europe/berln':"
                " it must be an IANA time zone such as Europe/Berlin."
            ),
        ),
        (
            {"timezone": "New_York"},
            (
                "Brand acme: timezone is 'New_York':"
                " it must be an IANA time zone such as America/New_York."
            ),
        ),
        (
            {"currency": "euro"},
            "Brand acme: currency is 'euro': it must be an ISO 4217 code such as EUR.",
        ),
        (
            {"windows": {"meta_ads_performence": 12}},
            (
                "Brand acme: windows cannot be used: it must be hours by dataset key such as"
                " meta_ads_performance; meta_ads_performence is no dataset."
            ),
        ),
        (
            {"windows": {"scorecard": 0}},
            "Brand acme: windows.scorecard is 0: input should be greater than 0.",
        ),
        (
            {"max_runtime_minutes": {"meta_snyc": 90}},
            (
                "Brand acme: max_runtime_minutes cannot be used: it must be minutes by job such as"
                " meta_sync; meta_snyc is no job."
            ),
        ),
        (
            {"max_runtime_minutes": {"scorecard": 0}},
            "Brand acme: max_runtime_minutes.scorecard is 0: input should be greater than 0.",
        ),
        (
            {"max_runtime_minutes": {"scorecard": 7 * 24 * 60 + 1}},
            (
                "Brand acme: max_runtime_minutes.scorecard is 10081:"
                " input should be less than or equal to 10080."
            ),
        ),
        (
            {"colour": "red"},
            (
                "Brand acme: colour is not known; known are id, organization_id, name, timezone,"
                " currency, sources, windows, max_runtime_minutes, paused_at, paused_reason,"
                " paused_until."
            ),
        ),
        (
            {"sources": {"mata": {}}},
            (
                "Brand acme: sources.mata is not known; known are meta, templates, competitors, "
                "reddit, amazon, language_model."
            ),
        ),
        (
            {"sources": {"meta": {"token": "env:X"}}},
            "Brand acme: sources.meta.ad_accounts is missing.",
        ),
        (
            {"sources": {"meta": meta_data(ad_accounts=["act_1", "1"])}},
            (
                "Brand acme: sources.meta.ad_accounts cannot be used:"
                " it must be a list without doubles (act_1 comes twice)."
            ),
        ),
        (
            {"sources": {"meta": meta_data(ad_accounts=["act_1", "abc"])}},
            (
                "Brand acme: sources.meta.ad_accounts.1 is 'abc':"
                " it must be an ad account id such as act_1234567890."
            ),
        ),
        (
            {"sources": {"meta": meta_data(graph_url="ftp://x")}},
            (
                "Brand acme: sources.meta.graph_url is 'ftp://x':"
                " it must be an http(s) address without user, query or fragment."
            ),
        ),
        (
            {"paused_at": datetime(2026, 7, 25)},  # noqa: DTZ001
            "Brand acme: paused_at cannot be used: input should have timezone info.",
        ),
    ],
)
def test_one_clear_sentence_says_what_is_wrong(changes: dict[str, Any], message: str) -> None:
    assert refusal(**changes) == message


def templates(**changes: object) -> dict[str, Any]:
    return {"templates": {"search_terms": ["shoes"]} | changes}


def reddit(**changes: object) -> dict[str, Any]:
    names = {"client_id": "aBc", "client_secret": "env:X", "username": "me"}
    return {"reddit": {**names, "subreddits": ["running"], "search_terms": ["shoes"]} | changes}


def amazon(**changes: object) -> dict[str, Any]:
    actor = {"actor": "me/reviews", "token": "env:X"}
    return {"amazon": {"asins": ["B0ABCDEFGH"], "actor": actor} | changes}


@pytest.mark.parametrize(
    ("sources", "message"),
    [
        (
            templates(approve_from=0),
            (
                "templates cannot be used: it must be given a reject_below (30 if left out, now 30)"
                " that is not above approve_from (70 if left out, now 0)."
            ),
        ),
        (
            templates(countries=["fr"]),
            "templates.countries.0 is 'fr': it must be a country's two capital letters such as FR.",
        ),
        (
            templates(search_terms="running shoes"),
            (
                "templates.search_terms is 'running shoes':"
                " it must be a list such as [one, another]."
            ),
        ),
        (
            templates(countries=[]),
            "templates.countries cannot be used: it must be a list of at least one.",
        ),
        (
            {"templates": "shoes"},
            (
                "templates cannot be used:"
                " it must hold names and their values such as {name: value}."
            ),
        ),
        (
            reddit(username="u/me"),
            (
                "reddit.username is 'u/me':"
                " it must be an account's name without u/ such as shoes_team."
            ),
        ),
        (
            amazon(asins=["b0abc"]),
            (
                "amazon.asins.0 is 'b0abc':"
                " it must be ten capital letters and digits such as B0ABCDEFGH."
            ),
        ),
    ],
)
def test_what_is_wrong_with_a_source_is_told_by_an_example(
    sources: dict[str, Any], message: str
) -> None:
    assert refusal(sources=sources) == f"Brand acme: sources.{message}"


@pytest.mark.parametrize(
    "sources",
    [
        templates(page_ids=["7", 7]),
        templates(search_terms=["shoes", "shoes"]),
        templates(countries=["FR", "DE", "FR"]),
        templates(policy_words=["cure", "cure"]),
        reddit(subreddits=["running", "running"]),
        reddit(search_terms=["shoes", "shoes"]),
        amazon(asins=["B0ABCDEFGH", "B0ABCDEFGH"]),
    ],
)
def test_a_list_with_doubles_is_refused_like_that_of_ad_accounts(sources: dict[str, Any]) -> None:
    assert "it must be a list without doubles (" in refusal(sources=sources)


MODEL = {"model": "openai:a\0b", "input_usd_per_million": 1, "output_usd_per_million": 1}


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"name": "a\0b"}, "name is 'a\\x00b'"),
        ({"paused_reason": "a\0b"}, "paused_reason is 'a\\x00b'"),
        ({"sources": {"meta": meta_data(token="file:/a\0b")}}, "sources.meta.token cannot be used"),
        ({"sources": {"meta": meta_data(graph_url="http://a\0b")}}, "sources.meta.graph_url is"),
        (
            {"sources": templates(search_terms=["shoes", "a\0b"])},
            "sources.templates.search_terms cannot be used",
        ),
        ({"sources": {"language_model": MODEL}}, "sources.language_model.model is"),
    ],
)
def test_text_with_a_nul_is_refused_with_the_fields_name(
    changes: dict[str, Any], field: str
) -> None:
    rule = "it must be text without NUL and other characters that cannot be stored."
    assert refusal(**changes).startswith(f"Brand acme: {field}")
    assert refusal(**changes).endswith(rule)


def test_a_name_has_at_most_200_characters() -> None:
    assert parse_brand(brand_data(name="ä" * 200)).name == "ä" * 200
    assert "name is 'ä" in refusal(name="ä" * 201)
    assert parse_organization({"id": "north", "name": "ä" * 200}).name == "ä" * 200
    for name, rule in (("ä" * 201, "at most 200 characters"), ("a\0b", "text without NUL")):
        with pytest.raises(InvalidConfigError, match=f"Organization north: name is .*{rule}"):
            parse_organization({"id": "north", "name": name})


def with_input(value: object) -> dict[str, Any]:
    actor = {"actor": "me/reviews", "token": "env:X", "input": {"x": value}}
    return amazon(actor=actor)


def nested(depth: int) -> list[Any]:
    """An empty list in as many lists as make this depth."""
    value: list[Any] = []
    for _ in range(depth - 1):
        value = [value]
    return value


def holding_itself() -> dict[str, Any]:
    value: dict[str, Any] = {}
    value["again"] = value
    return value


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        (holding_itself(), "nested at most 32 deep"),
        (nested(32), "nested at most 32 deep"),
        (nested(300), "nested at most 32 deep"),
        (b"bytes", "of texts, numbers, lists and mappings"),
        ({"a", "set"}, "of texts, numbers, lists and mappings"),
        (float("nan"), "of numbers below 2^63, which 64 bits hold"),
        (-float("inf"), "of numbers below 2^63, which 64 bits hold"),
        (2**63, "of numbers below 2^63, which 64 bits hold"),
        ([16**5000], "of numbers below 2^63, which 64 bits hold"),
        (f"{TOKEN}\0", "text without NUL and other characters that cannot be stored"),
        ({f"{TOKEN}\0": 1}, "text without NUL and other characters that cannot be stored"),
        (f"{TOKEN}\ud800", "text without NUL and other characters that cannot be stored"),
    ],
)
def test_an_actors_input_that_cannot_be_stored_is_refused_and_not_shown(
    value: object, rule: str
) -> None:
    assert refusal(sources=with_input(value)) == (
        f"Brand acme: sources.amazon.actor.input cannot be used: it must be {rule}."
    )


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        (nested(31), nested(31)),
        ([2**63 - 1, 2.5, True, None, "é"], [2**63 - 1, 2.5, True, None, "é"]),
        ({"from": date(2026, 7, 1)}, {"from": "2026-07-01"}),  # as YAML reads it without quotes
    ],
)
def test_an_actors_input_is_kept_as_json_has_it(value: object, stored: object) -> None:
    brand = parse_brand(brand_data(sources=with_input(value)))
    assert brand.model_dump(mode="json")["sources"]["amazon"]["actor"]["input"] == {"x": stored}


def patterns_in(schema: object) -> set[str]:
    if isinstance(schema, list):
        return set().union(*map(patterns_in, schema))
    if not isinstance(schema, dict):
        return set()
    own = schema.get("pattern")
    return set().union(*map(patterns_in, schema.values())) | ({own} if own else set())


def test_no_field_is_explained_by_a_bare_regular_expression() -> None:
    assert patterns_in(Brand.model_json_schema()) == set(_SHAPES)


def test_an_empty_list_of_accounts_is_refused() -> None:
    assert "sources.meta.ad_accounts" in refusal(sources={"meta": meta_data(ad_accounts=[])})


@pytest.mark.parametrize(
    "sources",
    [
        {"meta": meta_data(token=TOKEN)},
        {"meta": meta_data(app_secret=TOKEN)},
        {"meta": meta_data(token={"value": TOKEN})},
        {"meta": TOKEN},
        TOKEN,
        {"meta": [TOKEN]},
    ],
)
def test_a_literal_secret_is_refused_and_not_shown(sources: object) -> None:
    assert "cannot be used" in refusal(sources=sources)


def test_the_refusal_of_a_literal_token_says_what_to_write_instead() -> None:
    assert refusal(sources={"meta": meta_data(token=TOKEN)}) == (
        "Brand acme: sources.meta.token cannot be used: it must be the place of the secret,"
        " env:NAME or file:/path, never the secret itself."
    )


@pytest.mark.parametrize(
    ("paused_at", "paused_until", "paused"),
    [
        (None, None, False),
        (NOW, None, True),
        (NOW, NOW + timedelta(seconds=1), True),
        (NOW, NOW, False),
        (NOW, NOW - timedelta(seconds=1), False),
    ],
)
def test_a_pause_ends_at_its_time(
    paused_at: datetime | None, paused_until: datetime | None, paused: bool
) -> None:
    brand = Brand(**brand_data(paused_at=paused_at, paused_until=paused_until))
    assert brand.is_paused(NOW) is paused


def test_a_brands_own_window_comes_before_the_catalogues() -> None:
    brand = parse_brand(brand_data(windows={"scorecard": 12.5}))
    assert brand.fail_after(DATASETS["scorecard"]) == timedelta(hours=12.5)
    assert brand.fail_after(DATASETS["meta_ads_performance"]) == timedelta(hours=24)
    assert brand.fail_after(DATASETS["ad_creations"]) is None


def test_a_brands_own_maximum_runtime_comes_before_the_catalogues() -> None:
    brand = parse_brand(brand_data(max_runtime_minutes={"meta_sync": 7 * 24 * 60}))
    assert brand.max_runtime(JOBS["meta_sync"]) == timedelta(days=7)
    assert brand.max_runtime(JOBS["scorecard"]) == timedelta(minutes=30)


def test_a_secret_is_read_when_it_is_needed_and_masked_from_then_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("META_TOKEN_ACME", " a-secret-of-acme\n")
    file = tmp_path / "token"
    file.write_text("another-secret-of-acme\n")
    assert resolve_secret("env:META_TOKEN_ACME") == "a-secret-of-acme"
    assert resolve_secret(f"file:{file}") == "another-secret-of-acme"
    assert redact("a-secret-of-acme another-secret-of-acme") == f"{MASK} {MASK}"


def test_a_missing_secret_is_named_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("META_TOKEN_EMPTY", " ")
    (tmp_path / "empty").write_text("\n")
    references = ("env:META_TOKEN_NONE", "env:META_TOKEN_EMPTY")
    files = (f"file:{tmp_path}/none", f"file:{tmp_path}/empty")
    for reference in references + files:
        with pytest.raises(CredentialError) as caught:
            resolve_secret(reference)
        assert str(caught.value) == f"The secret {reference} is missing or empty."
        assert caught.value.advice != ""


def test_a_secret_that_cannot_be_used_is_never_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("META_TOKEN_TWO", f"{TOKEN} {TOKEN}")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    for reference, reason in {
        "env:META_TOKEN_TWO": "holds more than one word",
        f"file:{tmp_path}": "Is a directory",
        f"file:{tmp_path}/binary": "it is not text",
    }.items():
        with pytest.raises(CredentialError, match=reason) as caught:
            resolve_secret(reference)
        assert TOKEN not in f"{caught.value!r} {caught.value.__cause__!r}"
    with pytest.raises(InvalidConfigError) as refused:
        resolve_secret(TOKEN)
    assert TOKEN not in repr(refused.value)

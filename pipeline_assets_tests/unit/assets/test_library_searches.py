"""Which search has found an actor's ad, and which searches have found nothing."""

from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from pipeline_assets.assets.actor_runs import RowReader
from pipeline_assets.assets.attempt import Check
from pipeline_assets.assets.library_ads import _Findings, _searches_behind, _searches_check
from pipeline_assets.assets.library_rows import FoundAd
from pipeline_assets.brands.models import LibrarySource
from pipeline_assets.errors import SourceUnavailableError
from pipeline_assets.sources.library_ads import LibraryAd, read_actor_row

SOURCE = LibrarySource(page_ids=("42",), search_terms=("cold brew", "serum"))


def ad(body: str, **changes: Any) -> LibraryAd:
    row = {"id": "1234567890", "pageName": "Lumen", "body": body}
    return replace(read_actor_row(row, today=date(2026, 1, 1)), **changes)


def checked(*matches: str, **findings: Any) -> Check:
    ads = [FoundAd(ad("x"), {}, source="a/b", matched_by=match) for match in matches]
    reader = RowReader("the actor a/b", read_actor_row)
    found = _Findings(ads=ads, rows=reader, metadata={}, **{"limited": (), **findings})
    return _searches_check(SOURCE, found)


def check(*matches: str, **findings: Any) -> tuple[bool, list[str]]:
    found = checked(*matches, **findings)
    return found.is_passed, found.metadata["without_ads"]


@pytest.mark.parametrize(
    ("found", "searches"),
    [
        (ad("Serum!", page_id="42"), ["page:42", "term:serum"]),
        (ad("A COLD one: brew it"), ["term:cold brew"]),
        (ad("Buy it", found_by="Serum"), ["term:serum"]),
        (ad("Buy it", titles=("The serum",)), ["term:serum"]),
        (ad("Buy it"), []),
    ],
)
def test_an_ad_is_found_by_its_page_or_by_a_term_that_it_speaks_of(
    found: LibraryAd, searches: list[str]
) -> None:
    assert _searches_behind(found, SOURCE) == searches


def test_with_a_single_term_there_is_nothing_else_that_can_have_found_it() -> None:
    assert _searches_behind(ad("Buy it"), LibrarySource(search_terms=("serum",))) == ["term:serum"]


def test_each_page_and_term_that_found_nothing_is_named() -> None:
    assert check("page:42", "term:serum", "term:cold brew") == (True, [])
    assert check("page:42") == (False, ["term:cold brew", "term:serum"])
    assert check() == (False, ["page:42", "term:cold brew", "term:serum"])


def test_a_term_is_not_blamed_while_it_may_have_found_something() -> None:
    assert check("page:42", "actor") == (True, [])
    assert check("actor") == (False, ["page:42"])
    assert checked("page:42", "actor").description == (
        "1 of 3 pages and terms found ads. Of some ads it cannot be told which term found them."
    )


def test_a_search_that_was_not_read_to_its_end_is_not_said_to_have_no_ads() -> None:
    assert check("page:42", "term:serum", limited=["term:cold brew"]) == (True, [])
    failed = {"term:serum": SourceUnavailableError("It is down.")}
    assert check("page:42", failed=failed) == (False, ["term:cold brew"])
    found = checked("page:42", limited=["page:42", "term:cold brew"], failed=failed)
    assert found.description == (
        "2 of 3 pages and terms found ads. At their limit (`max_ads` is 500), so there may be "
        "more: page:42, term:cold brew. Failed: term:serum."
    )
    assert (found.metadata["reached_limit"], found.metadata["failed"]) == (
        ["page:42", "term:cold brew"],
        ["term:serum"],
    )

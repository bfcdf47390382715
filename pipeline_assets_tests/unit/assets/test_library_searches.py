"""Which search has found an actor's ad, and which searches have found nothing."""

from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from pipeline_assets.assets.library_ads import _matched_by, _searches_check
from pipeline_assets.assets.library_rows import FoundAd
from pipeline_assets.brands.models import LibrarySource
from pipeline_assets.sources.library_ads import LibraryAd, read_actor_row

SOURCE = LibrarySource(page_ids=("42",), search_terms=("cold brew", "serum"))


def ad(body: str, **changes: Any) -> LibraryAd:
    row = {"id": "1234567890", "pageName": "Lumen", "body": body}
    return replace(read_actor_row(row, today=date(2026, 1, 1)), **changes)


def check(*matches: str) -> tuple[bool, list[str]]:
    ads = [FoundAd(ad("x"), {}, source="a/b", matched_by=match) for match in matches]
    found = _searches_check(SOURCE, ads)
    return found.is_passed, found.metadata["without_ads"]


@pytest.mark.parametrize(
    ("found", "matched_by"),
    [
        (ad("Serum!", page_id="42"), "page:42"),
        (ad("A COLD one: brew it"), "term:cold brew"),
        (ad("Buy it", found_by="Serum"), "term:serum"),
        (ad("Buy it", titles=("The serum",)), "term:serum"),
        (ad("Buy it"), "actor"),
    ],
)
def test_an_ad_is_found_by_its_page_or_by_a_term_that_it_speaks_of(
    found: LibraryAd, matched_by: str
) -> None:
    assert _matched_by(found, SOURCE) == matched_by


def test_with_a_single_term_there_is_nothing_else_that_can_have_found_it() -> None:
    assert _matched_by(ad("Buy it"), LibrarySource(search_terms=("serum",))) == "term:serum"


def test_each_page_and_term_that_found_nothing_is_named() -> None:
    assert check("page:42", "term:serum", "term:cold brew") == (True, [])
    assert check("page:42") == (False, ["term:cold brew", "term:serum"])
    assert check() == (False, ["page:42", "term:cold brew", "term:serum"])


def test_a_term_is_not_blamed_while_it_may_have_found_something() -> None:
    assert check("page:42", "actor") == (True, [])
    assert check("actor") == (False, ["page:42"])

"""Which pages there are, and what an installation's pages file may say."""

from datetime import timedelta
from pathlib import Path

import pytest

from pipeline_assets.datasets import DATASETS, Reader
from pipeline_assets.errors import InvalidConfigError
from pipeline_assets.freshness.pages import PAGES, Need, Page, find_page, load_pages

WEEKLY = """
pages:
  - name: weekly_report
    title: Weekly report
    action: Ask the data team.
    needs:
      - {dataset: meta_ads_performance, max_age_hours: 6, withhold: true}
      - {dataset: ad_thumbnails}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "pages.yaml"


def refused(file: Path, text: str | bytes) -> str:
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InvalidConfigError) as caught:
        load_pages(file)
    message = str(caught.value)
    assert message.startswith(f"The pages file {file}")
    assert message.endswith(".")
    assert "\n" not in message
    return message.removeprefix(f"The pages file {file}")


def test_every_reader_of_the_catalogue_is_a_page() -> None:
    assert set(PAGES) == {reader.value for reader in Reader}
    assert all(page.name == name for name, page in PAGES.items())


@pytest.mark.parametrize("reader", Reader)
def test_a_page_is_about_its_first_dataset_and_does_without_the_others(
    reader: Reader,
) -> None:
    leading, *others = PAGES[reader].needs
    assert leading.withhold
    assert not any(need.withhold for need in others)
    read = {key for key, dataset in DATASETS.items() if reader in dataset.readers}
    assert leading.dataset in read
    assert {need.dataset for need in others} == read - {leading.dataset}
    assert all(need.max_age is None for need in PAGES[reader].needs)


def test_only_the_template_queue_belongs_to_no_brand() -> None:
    assert [name for name, page in PAGES.items() if page.across_brands] == ["template_queue"]


def test_ad_performance_needs_its_figures_and_shows_the_rest_when_it_is_there() -> None:
    assert PAGES["ad_performance"] == Page(
        name="ad_performance",
        title="Ad performance",
        needs=(
            Need(dataset="meta_ads_performance", withhold=True),
            Need(dataset="meta_ad_creatives"),
            Need(dataset="ad_thumbnails"),
            Need(dataset="scorecard"),
        ),
    )


def test_a_pages_file_adds_pages_and_keeps_the_others(file: Path) -> None:
    file.write_text(WEEKLY)
    pages = load_pages(file)
    assert pages["weekly_report"] == Page(
        name="weekly_report",
        title="Weekly report",
        action="Ask the data team.",
        needs=(
            Need(dataset="meta_ads_performance", max_age=timedelta(hours=6), withhold=True),
            Need(dataset="ad_thumbnails"),
        ),
    )
    assert {name: page for name, page in pages.items() if name != "weekly_report"} == PAGES


def test_a_pages_file_may_replace_a_page_by_its_name(file: Path) -> None:
    file.write_text(WEEKLY.replace("weekly_report", "ad_performance"))
    pages = load_pages(file)
    assert set(pages) == set(PAGES)
    assert pages["ad_performance"].title == "Weekly report"


def test_without_a_pages_file_the_pages_are_the_readers() -> None:
    assert load_pages(None) is PAGES


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "meta_ads_performance",
            "meta_ad_performance",
            (
                ": pages.0.needs.0.dataset: there is no dataset 'meta_ad_performance'; did you mean"
                " meta_ads_performance."
            ),
        ),
        (
            "max_age_hours: 6",
            "max_age_hours: 0",
            ": pages.0.needs.0.max_age_hours: input should be greater than 0.",
        ),
        ("title: Weekly report", "", ": pages.0.title: field required."),
        ("title:", "titel:", ": pages.0.title: field required."),
        (
            "withhold: true",
            "hide: true",
            ": pages.0.needs.0.hide: extra inputs are not permitted.",
        ),
        (
            "ad_thumbnails",
            "meta_ads_performance",
            ": pages.0.needs: named more than once: meta_ads_performance.",
        ),
        (
            "weekly_report",
            "Weekly/Report",
            ": pages.0.name: string should match pattern '^[a-z0-9][a-z0-9_-]{0,62}$'.",
        ),
    ],
)
def test_what_is_wrong_with_a_page_is_said_in_one_sentence(
    file: Path, old: str, new: str, said: str
) -> None:
    assert refused(file, WEEKLY.replace(old, new)) == said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("pages: [", " cannot be read: "),
        (b"\xff\xfe", " cannot be read: "),
        ("", ": the whole: "),
        ("[]", ": the whole: "),
        ("pages: 5", ": pages: input should be a valid tuple."),
        (WEEKLY + WEEKLY.replace("\npages:", ""), ": pages: named more than once: weekly_report."),
    ],
)
def test_a_file_that_holds_no_pages_is_named(file: Path, text: str | bytes, said: str) -> None:
    assert refused(file, text).startswith(said)


def test_a_missing_pages_file_is_named(file: Path) -> None:
    with pytest.raises(InvalidConfigError, match="No such file"):
        load_pages(file)


def test_an_unknown_page_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(InvalidConfigError, match="There is no page 'ad_performence'") as caught:
        find_page(PAGES, "ad_performence")
    assert caught.value.advice.startswith("Did you mean ad_performance? Pages are ad_performance, ")
    assert find_page(PAGES, "template_queue").title == "Template queue"

"""Each active ad judged against the page it leads to."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from pipeline_assets.assets.attempt import Attempt, Check, Outcome, dataset_asset

if TYPE_CHECKING:
    import pandas as pd

    from pipeline_assets.analysis.picture_sketches import Sketch

MIN_JUDGED_RATIO = 0.5
"""With fewer judged, what is seen is no picture of the brand's ads."""

MAX_PAGE_PICTURES = 1_000
"""New pages' pictures fetched in one attempt, one at a time per host: well within the job's hour.
What is left is compared the next time."""

_DAYS = timedelta(days=28)

Row = Mapping[str, Any]


@dataset_asset("congruence_analysis", checks=("most_ads_could_be_judged", "every_page_is_known"))
def congruence_analysis(attempt: Attempt) -> Outcome:
    """Each active ad against its landing page: message, offer, visual and tone, 0-10 with reasons.

    Source: the stored ads, pages and figures, judged by rules without a language model; the pages'
    preview pictures are fetched to be compared with the ads' thumbnails, not kept. A severe
    mismatch (a higher price, a missing discount, another product or language, a page that is gone)
    holds the total at 6 at most. Ads and pages that have not changed keep their scores; what clicks
    and purchases of 28 days say is computed anew.

    Check: at least half of the ads could be judged; `landing_pages` has read every page that an
    active ad leads to.
    """
    from pipeline_assets.analysis import congruence  # noqa: PLC0415

    ads, pages, figures = _read_ads(attempt), _read_pages(attempt), _read_figures(attempt)
    kept = _unchanged_rows(attempt, congruence.input_hashes(ads, pages))
    changed = ads.loc[[key not in kept for key in _keys(ads)]]
    pictures = _sketch_pictures(attempt, changed, pages)
    attempt.heartbeat.progress(0, len(changed), "judging ads")
    judged = _records(congruence.judge(changed, pages, figures, pictures=pictures))
    rows = [
        *({**row, "judged_at": attempt.started_at} for row in judged),
        *_refreshed(kept, ads, congruence.judge_outcomes(figures)),
    ]
    places = {"brand_id": attempt.brand.id, "fetched_at": attempt.started_at}
    return Outcome(
        records=attempt.replace_rows({**row, **places} for row in rows),
        distinct_ads=len({row["ad_id"] for row in rows}),
        checks={
            "most_ads_could_be_judged": _judged_check(rows),
            "every_page_is_known": _known_check(rows, not_read=congruence.NOT_READ),
        },
        metadata={
            "judged": len(judged),
            "unchanged": len(rows) - len(judged),
            "severe_mismatches": sum(1 for row in rows if row["mismatches"]),
            "outcomes": dict(Counter(row["outcome"] for row in rows)),
        },
    )


# ----------------------------------------------------------------------------------- reading


def _read_ads(attempt: Attempt) -> pd.DataFrame:
    """A row per active ad and page it leads to, as `judge` reads them."""
    from pipeline_assets.analysis.congruence import AD_COLUMNS  # noqa: PLC0415
    from pipeline_assets.analysis.destinations import INPUT_COLUMNS, destinations  # noqa: PLC0415
    from pipeline_assets.schemas import AD_THUMBNAILS, META_AD_CREATIVES  # noqa: PLC0415
    from pipeline_assets.storage.tables import DATASET_TABLES  # noqa: PLC0415

    table = DATASET_TABLES[META_AD_CREATIVES.name].c
    texts = ["ad_name", "title", "body", "titles", "bodies"]
    creatives = attempt.read_frame(
        META_AD_CREATIVES,
        columns=[*INPUT_COLUMNS, *texts],
        where=[table.error.is_(None), table.creative_id.is_not(None)],
    )
    links = destinations(creatives)
    key = ["ad_account_id", "ad_id"]
    ads = links[links["is_active"]].merge(creatives[[*key, *texts]], on=key)
    thumbnails = attempt.read_rows(AD_THUMBNAILS, columns=["creative_id", "sha256"])
    names = {row["creative_id"]: row["sha256"] for row in thumbnails}
    ads["picture_sha256"] = [names.get(creative_id) for creative_id in ads["creative_id"]]
    ads = ads[list(AD_COLUMNS)].astype("object")
    return ads.where(ads.notna(), None)


def _read_pages(attempt: Attempt) -> pd.DataFrame:
    """The pages as `judge` reads them, and `image_url` as it was last read."""
    from pipeline_assets.analysis.congruence import PAGE_COLUMNS  # noqa: PLC0415
    from pipeline_assets.schemas import LANDING_PAGES  # noqa: PLC0415

    columns = [name for name in PAGE_COLUMNS if name != "picture_key"]
    pages = attempt.read_frame(LANDING_PAGES, columns=[*columns, "image_url"])
    pages["picture_key"] = [
        _picture_key(url) if isinstance(url, str) else None for url in pages["image_url"]
    ]
    return pages


def _picture_key(url: str) -> str:
    """What names a picture, the same however often its address is signed anew."""
    from pipeline_assets.sources.signed_urls import url_source_key  # noqa: PLC0415

    return f"{_host(url)}{url_source_key(url)}"


def _host(url: str) -> str:
    try:
        return urlsplit(url).netloc
    except ValueError:  # half an IPv6 address: fetching it will say so
        return ""


def _read_figures(attempt: Attempt) -> pd.DataFrame:
    """Sums per ad of the 28 days that end with the newest day there is data for."""
    import pandas as pd  # noqa: PLC0415

    from pipeline_assets.analysis.congruence import FIGURE_COLUMNS  # noqa: PLC0415
    from pipeline_assets.storage.ad_performance import (  # noqa: PLC0415
        AdFilter,
        AdOrder,
        read_ads,
        read_stored_days,
    )

    engine, brand_id = attempt.installation.engine, attempt.brand.id
    days = read_stored_days(engine, brand_id)
    if days is None:
        return pd.DataFrame(columns=list(FIGURE_COLUMNS))
    until = days[1]
    since = until - _DAYS + timedelta(days=1)
    found = read_ads(engine, brand_id, since=since, until=until, wanted=AdFilter(), order=AdOrder())
    rows = [(ad.ad_id, *(ad.sums[name] for name in FIGURE_COLUMNS[1:])) for ad in found]
    return pd.DataFrame(rows, columns=list(FIGURE_COLUMNS))


def _unchanged_rows(
    attempt: Attempt, hashes: Mapping[tuple[str, str], str]
) -> dict[tuple[str, str], Row]:
    """The stored rows of this judge whose ad and page are as they were, by ad and url."""
    from pipeline_assets.analysis.congruence import JUDGE, JUDGE_VERSION  # noqa: PLC0415

    return {
        (row["ad_id"], row["url"]): row
        for row in attempt.read_rows()
        if (row["judge"], row["judge_version"]) == (JUDGE, JUDGE_VERSION)
        and hashes.get((row["ad_id"], row["url"])) == row["input_hash"]
    }


def _keys(ads: pd.DataFrame) -> list[tuple[str, str]]:
    return list(zip(ads["ad_id"], ads["url"], strict=True))


def _refreshed(
    kept: Mapping[tuple[str, str], Row], ads: pd.DataFrame, outcomes: Mapping[str, Row]
) -> Iterator[Row]:
    """The kept rows with what is known of their ads now."""
    from pipeline_assets.analysis.congruence import AD_FACTS, NO_OUTCOME  # noqa: PLC0415

    for ad in _records(ads):
        row = kept.get((ad["ad_id"], ad["url"]))
        if row is not None:
            facts = {name: ad[name] for name in AD_FACTS}
            yield {**row, **facts, **outcomes.get(ad["ad_id"], NO_OUTCOME)}


# ---------------------------------------------------------------------------------- pictures


def _sketch_pictures(attempt: Attempt, ads: pd.DataFrame, pages: pd.DataFrame) -> dict[str, Sketch]:
    """Sketches of the pictures that these ads and their pages show, by the names they have there.

    A picture that cannot be had is left out: it says nothing of the ad.
    """
    shown = ads[ads["picture_sha256"].notna()].merge(
        pages.loc[pages["state"].eq("ok") & pages["picture_key"].notna()], on="url"
    )
    addresses = dict(zip(shown["picture_key"], shown["image_url"], strict=True))
    wanted = dict(sorted(addresses.items())[:MAX_PAGE_PICTURES])
    of_pages = _fetch_sketches(attempt, wanted)
    compared = shown[shown["picture_key"].isin(list(of_pages))]
    return of_pages | _stored_sketches(attempt, sorted(set(compared["picture_sha256"])))


def _stored_sketches(attempt: Attempt, hashes: Iterable[str]) -> dict[str, Sketch]:
    from pipeline_assets.analysis.picture_sketches import read_sketch  # noqa: PLC0415

    sketches = {}
    for sha256 in hashes:
        try:
            with attempt.installation.media.open(sha256) as file:
                sketches[sha256] = read_sketch(file)
        except (FileNotFoundError, ValueError) as error:
            attempt.log(f"The thumbnail {sha256} is not compared: {error}")
    return sketches


def _fetch_sketches(attempt: Attempt, addresses: Mapping[str, str]) -> dict[str, Sketch]:
    """Sketches of pictures on the web by name; one request at a time for each host."""
    from pipeline_assets.analysis.picture_sketches import Sketch, read_sketch  # noqa: PLC0415
    from pipeline_assets.errors import (  # noqa: PLC0415
        CredentialError,
        RateLimitedError,
        SourceRejectedError,
    )
    from pipeline_assets.sources.media_files import MediaDownloader  # noqa: PLC0415

    busy = {_host(address): threading.Lock() for address in addresses.values()}
    sketches: dict[str, Sketch] = {}
    if not addresses:
        return sketches
    with (
        attempt.installation.public_http(attempt.brand) as http,
        MediaDownloader(http) as downloader,
    ):

        def fetch(name: str) -> Sketch:
            try:
                with (
                    busy[_host(addresses[name])],
                    downloader.fetch_image(addresses[name]) as file,
                    file.path.open("rb") as data,
                ):
                    return read_sketch(data)
            except (RateLimitedError, CredentialError, ValueError) as error:
                # One shop's refusal is no reason to stop with the others.
                raise SourceRejectedError(str(error)) from error

        for name, result in downloader.download_all(
            addresses,
            fetch,
            concurrency=attempt.installation.settings.download_concurrency,
            on_progress=lambda done: attempt.heartbeat.progress(
                done, len(addresses), "pictures of pages"
            ),
        ):
            if isinstance(result, Sketch):
                sketches[name] = result
            else:
                attempt.log(f"A page's picture is not compared: {result}")
    return sketches


# ------------------------------------------------------------------------------------ checks


def _records(frame: pd.DataFrame) -> list[Row]:
    return cast("list[Row]", frame.to_dict("records"))


def _judged_check(rows: Sequence[Row]) -> Check:
    ads = {row["ad_id"] for row in rows}
    judged = {row["ad_id"] for row in rows if row["total"] is not None}
    states = Counter(row["page_state"] for row in rows if row["total"] is None)
    return Check(
        len(judged) >= MIN_JUDGED_RATIO * len(ads),
        f"{len(judged)} of {len(ads)} ads could be judged.",
        {"ads": len(ads), "judged_ads": len(judged), "pages_not_judged": dict(states)},
    )


def _known_check(rows: Sequence[Row], *, not_read: str) -> Check:
    unknown = sorted({row["url"] for row in rows if row["page_state"] == not_read})
    if not unknown:
        return Check(True, "Every page that an active ad leads to is known.", {"unknown_pages": 0})
    return Check(
        False,
        f"{len(unknown)} pages have not been read yet, for example {unknown[0]}: the job "
        "landing_page_scrape reads them.",
        {"unknown_pages": len(unknown)},
        is_warning=True,
    )

"""Each active ad judged against the page it leads to."""

from __future__ import annotations

import random
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from pipeline_assets.assets.attempt import Attempt, Check, Outcome, dataset_asset
from pipeline_assets.errors import PermanentError, PipelineError, StorageFullError

if TYPE_CHECKING:
    import pandas as pd

    from pipeline_assets.analysis.congruence_scores import NoPicture
    from pipeline_assets.analysis.picture_sketches import Sketch
    from pipeline_assets.sources.media_files import MediaDownloader

    Picture = Sketch | NoPicture

MIN_JUDGED_RATIO = 0.5
"""With fewer judged, what is seen is no picture of the brand's ads."""

MAX_HOST_FAILURES = 3
"""A host that did not give so many pictures in a row is left alone for the run."""

_PICTURE_SECONDS = 30.0  # for one, as for a page
# After that no page's picture is asked for, and the ads are judged without what is missing: half of
# the job's time, of which judging 10,000 ads takes a minute or two.
_PICTURES_SHARE = 0.5

_DAYS = timedelta(days=28)

Row = Mapping[str, Any]


@dataset_asset("congruence_analysis", checks=("most_ads_could_be_judged", "every_page_is_known"))
def congruence_analysis(attempt: Attempt) -> Outcome:
    """Each active ad against its landing page: message, offer, visual and tone, 0-10 with reasons.

    Source: the stored ads, pages and figures, judged by rules without a language model; the pages'
    preview pictures are fetched to be compared with the ads' thumbnails, not kept; one that its
    host does not give is left out, and asked for again by the next run. A severe
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


def _sketch_pictures(
    attempt: Attempt, ads: pd.DataFrame, pages: pd.DataFrame
) -> dict[str, Picture]:
    """What these ads' and their pages' pictures look like, or why nobody knows, by their names."""
    from pipeline_assets.analysis.picture_sketches import Sketch  # noqa: PLC0415

    shown = ads[ads["picture_sha256"].notna()].merge(
        pages.loc[pages["state"].eq("ok") & pages["picture_key"].notna()], on="url"
    )
    of_pages = _fetch_pictures(
        attempt, dict(zip(shown["picture_key"], shown["image_url"], strict=True))
    )
    sketched = [name for name, picture in of_pages.items() if isinstance(picture, Sketch)]
    compared = shown[shown["picture_key"].isin(sketched)]
    return of_pages | _stored_pictures(attempt, sorted(set(compared["picture_sha256"])))


def _stored_pictures(attempt: Attempt, hashes: Iterable[str]) -> dict[str, Picture]:
    from pipeline_assets.analysis.congruence_scores import NoPicture  # noqa: PLC0415
    from pipeline_assets.analysis.picture_sketches import read_sketch  # noqa: PLC0415

    pictures: dict[str, Picture] = {}
    for sha256 in hashes:
        try:
            with attempt.installation.media.open(sha256) as file:
                pictures[sha256] = read_sketch(file)
        except (FileNotFoundError, ValueError) as error:
            attempt.log(f"The thumbnail {sha256} is not compared: {error}")
            reason = "the ad's stored thumbnail cannot be read."
            pictures[sha256] = NoPicture(reason, is_final=isinstance(error, ValueError))
    return pictures


def _fetch_pictures(attempt: Attempt, addresses: Mapping[str, str]) -> dict[str, Picture]:
    """The pictures on the web by name: of each host one after the other, as long as there is time.

    Raises: StorageFullError.
    """
    from pipeline_assets.analysis.congruence_scores import NoPicture  # noqa: PLC0415
    from pipeline_assets.sources.media_examination import MediaLimits  # noqa: PLC0415
    from pipeline_assets.sources.media_files import MediaDownloader  # noqa: PLC0415

    names = list(addresses)
    # In another order each time: three that their host never gives must not always stand first.
    random.Random(attempt.run_id).shuffle(names)  # noqa: S311 - guards nothing
    by_host: dict[str, dict[str, str]] = defaultdict(dict)
    for name in names:
        by_host[_host(addresses[name])][name] = addresses[name]
    pictures: dict[str, Picture] = {}
    deadline = time.monotonic() + _PICTURES_SHARE * attempt.max_runtime.total_seconds()
    limits = MediaLimits(total_seconds=_PICTURE_SECONDS)
    with (
        attempt.installation.public_http(attempt.brand) as http,
        MediaDownloader(http, limits=limits, retry_pauses_seconds=()) as downloader,
    ):
        for host, found in downloader.download_all(
            by_host,
            lambda host: dict(_ask_host(downloader, by_host[host], deadline)),
            concurrency=attempt.installation.settings.download_concurrency,
            on_progress=lambda done: attempt.heartbeat.progress(
                done, len(by_host), "hosts of pages' pictures"
            ),
        ):
            if isinstance(found, PipelineError):
                raise found
            pictures |= found
            missing = [each.reason for each in found.values() if isinstance(each, NoPicture)]
            if missing:
                attempt.log(f"{len(missing)} pictures of {host} are not compared: {missing[0]}")
    return pictures


def _ask_host(
    downloader: MediaDownloader, addresses: Mapping[str, str], deadline: float
) -> Iterator[tuple[str, Picture]]:
    """What one host gives, by name; `deadline` is of `time.monotonic`.

    Raises: StorageFullError.
    """
    from pipeline_assets.analysis.congruence_scores import NoPicture  # noqa: PLC0415

    failures = 0
    for name, address in addresses.items():
        if failures == MAX_HOST_FAILURES:
            reason = f"the host of the page's picture did not give {failures} others in a row."
            yield name, NoPicture(reason, is_final=False)
        elif time.monotonic() >= deadline:
            yield name, NoPicture("there was no time for the page's picture.", is_final=False)
        else:
            picture = _fetch_picture(downloader, address)
            has_failed = isinstance(picture, NoPicture) and not picture.is_final
            failures = failures + 1 if has_failed else 0
            yield name, picture


def _fetch_picture(downloader: MediaDownloader, address: str) -> Picture:
    """The picture, or why it cannot be had. Raises: StorageFullError."""
    from pipeline_assets.analysis.congruence_scores import NoPicture  # noqa: PLC0415
    from pipeline_assets.analysis.picture_sketches import read_sketch  # noqa: PLC0415

    try:
        with downloader.fetch_image(address) as file, file.path.open("rb") as data:
            return read_sketch(data)
    except StorageFullError:
        raise
    except PipelineError as error:
        reason = f"the page's picture cannot be had: {error}"
        return NoPicture(reason, is_final=isinstance(error, PermanentError))
    except ValueError:
        return NoPicture("the page's picture cannot be read.", is_final=True)


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

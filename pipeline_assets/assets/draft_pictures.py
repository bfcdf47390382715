"""The pictures of drafts: which stored picture shows a product, and what is made of it."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from pipeline_assets.assets.attempt import Attempt

if TYPE_CHECKING:
    import pandas as pd
    from PIL import Image

    from pipeline_assets.analysis.drafting import Draft
    from pipeline_assets.analysis.drafting_texts import Product

Row = dict[str, Any]

FEWEST_PIXELS = 400
"""A picture with a shorter side looks coarse when it is as wide as an ad."""

_PLAIN_OFFERS = frozenset({"none", "unknown"})
_WRITTEN_LOOKS = frozenset(
    {"text_overlay", "review_card", "press", "meme", "us_vs_them", "before_after"}
)
"""An ad that speaks of an offer, or whose picture is made of words, gives no background.

So say its classes: those by rules tell of its texts, not of what stands in the picture.
"""

_WITHOUT_WORDS = frozenset({"product_shot", "lifestyle"})
"""Where a product has such pictures, no others are taken."""

_WORDS = "what is written in it is that ad's"

_MOST_PICTURES = 8  # of a product, that its drafts take in turn

_ASSET_COLUMNS = ("creative_id", "media_type", "sha256", "poster_sha256", "width", "height")


class _Usable(NamedTuple):
    """A stored picture, and an ad that shows it."""

    creative_id: str
    sha256: str
    is_without_words: bool


class Background(NamedTuple):
    """The stored picture that a draft shows, and why."""

    sha256: str
    creative_id: str
    why: str


@dataclass(frozen=True, kw_only=True)
class Rendered:
    """What a draft's row holds of its pictures. `is_kept`: nothing had to be rendered."""

    pictures: list[dict[str, Any]]
    lineage: dict[str, Any]
    is_kept: bool


def find_backgrounds(
    attempt: Attempt, products: Sequence[Product], links: pd.DataFrame
) -> dict[str, list[Background]]:
    """By a product's url, the brand's stored pictures that show it, else those that show none.

    An ad shows a product when it leads to its pages and nowhere else, none when it leads to front
    pages. `links` are those of `destinations.destinations`.
    """
    places: dict[str, set[str]] = defaultdict(set)
    for creative_id, url in zip(links["creative_id"], links["url"], strict=True):
        places[creative_id].add(url)
    pictures = [each for each in _usable_pictures(attempt) if places[each.creative_id]]
    own = [each for each in pictures if all(map(_is_front_page, places[each.creative_id]))]
    found: dict[str, list[Background]] = {}
    for product in products:
        its = [each for each in pictures if places[each.creative_id] <= product.urls]
        why = f"an ad that leads to the product alone shows it; {_WORDS}"
        if not its:
            its, why = own, f"an ad of the brand that leads to its front page shows it; {_WORDS}"
        best = [each for each in its if each.is_without_words] or its
        found[product.url] = [
            Background(each.sha256, each.creative_id, why) for each in best[:_MOST_PICTURES]
        ]
    return found


def _is_front_page(url: str) -> bool:
    return urlsplit(url).path == "/"


def _usable_pictures(attempt: Attempt) -> list[_Usable]:
    """Each stored picture, or a video's poster, in a fixed order."""
    from pipeline_assets.schemas import AD_ASSETS, AD_CLASSIFICATIONS  # noqa: PLC0415

    classes = attempt.read_rows(
        AD_CLASSIFICATIONS, columns=["creative_id", "asset_type", "offer_type", "visual_format"]
    )
    wordless = {row["creative_id"] for row in classes if row["asset_type"] in _WITHOUT_WORDS}
    unusable = {
        row["creative_id"]
        for row in classes
        if row["offer_type"] not in _PLAIN_OFFERS or row["visual_format"] in _WRITTEN_LOOKS
    }
    pictures: dict[str, str] = {}  # one that several creatives show counts once
    for row in attempt.read_rows(AD_ASSETS, columns=_ASSET_COLUMNS):
        sha256 = row["sha256"] if row["media_type"] == "image" else row["poster_sha256"]
        is_large = min(row["width"] or 0, row["height"] or 0) >= FEWEST_PIXELS
        if sha256 and is_large and row["creative_id"] not in unusable:
            pictures.setdefault(sha256, row["creative_id"])
    return [_Usable(name, sha256, name in wordless) for sha256, name in pictures.items()]


def render(
    attempt: Attempt,
    draft: Draft,
    before: Row | None,
    backgrounds: Mapping[str, Sequence[Background]],
) -> Rendered:
    """The draft's pictures in the media store; those of its row `before` when nothing changed."""
    choice = backgrounds.get(draft.product.url, ())
    background = choice[int(draft.draft_id[8:16], 16) % len(choice)] if choice else None
    input_hash = _input_hash(draft, background)
    kept = _kept(attempt, before, input_hash)
    return kept or _render(attempt, draft, background, input_hash)


def _kept(attempt: Attempt, before: Row | None, input_hash: str) -> Rendered | None:
    if before is None or before["lineage"]["picture"]["input_hash"] != input_hash:
        return None
    if not all(attempt.installation.media.has(each["sha256"]) for each in before["pictures"]):
        return None
    return Rendered(pictures=before["pictures"], lineage=before["lineage"]["picture"], is_kept=True)


def _render(
    attempt: Attempt, draft: Draft, background: Background | None, input_hash: str
) -> Rendered:
    from pipeline_assets.analysis import ad_pictures  # noqa: PLC0415

    image = _open(attempt, background)
    made = ad_pictures.render(draft.texts.headline, background=image, seed=draft.product.url)
    _, left_out = ad_pictures.drawable_text(draft.texts.headline)
    if background is not None and image is not None:
        origin = background._asdict()
    else:
        why = "no stored picture can be used" if background is None else "it cannot be read"
        origin = {"sha256": None, "creative_id": None, "why": f"a plain ground: {why}"}
    return Rendered(
        pictures=[
            {
                "ratio": picture.ratio.label,
                "width": picture.ratio.width,
                "height": picture.ratio.height,
                "sha256": attempt.installation.media.put_bytes(picture.png).sha256,
            }
            for picture in made
        ],
        lineage={
            **origin,
            "input_hash": input_hash,
            "is_headline_whole": bool(made) and all(each.is_headline_whole for each in made),
            "left_out": left_out or None,
        },
        is_kept=False,
    )


def _open(attempt: Attempt, background: Background | None) -> Image.Image | None:
    from pipeline_assets.analysis.ad_pictures import open_background  # noqa: PLC0415

    if background is None:
        return None
    try:
        with attempt.installation.media.open(background.sha256) as file:
            return open_background(file.read())
    except FileNotFoundError:
        attempt.log(f"The picture {background.sha256} is no longer in the media store.")
        return None


def _input_hash(draft: Draft, background: Background | None) -> str:
    """sha256 of everything that the pictures are made of."""
    from pipeline_assets.analysis.ad_pictures import RENDERER_VERSION  # noqa: PLC0415

    parts = [
        RENDERER_VERSION,
        draft.texts.headline,
        background and background.sha256,
        draft.product.url,
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

"""What drafting costs as creatives grow: CPU seconds and peak memory, each size in its own process.

    python -m benchmarks.analysis.drafting [--rounds 3]

A brand has so many creatives in its scorecard, a hundredth as many products and templates, a phrase
of customers for each product, and asks for 50 drafts. `choose` ranks the hooks and reads pages,
templates and phrases, `draft` words the drafts, `render` draws the four pictures of 10 of them on a
photo-like ground: that is the same work at every size. Prints, asserts nothing.
"""

import argparse
import sys
import time
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from benchmarks.measure import run_python
from pipeline_assets.analysis import drafting
from pipeline_assets.analysis.ad_pictures import render
from pipeline_assets.analysis.destinations import INPUT_COLUMNS, destinations

SIZES = (2_500, 5_000, 10_000)
MAX_DRAFTS, RENDERED = 50, 10

_OPENINGS = ("Still dry by noon?", "Tired of flaky cheeks?", "What if washing took a minute?")
_SCENTS = ("cedar", "lemon", "rose", "sage", "clove", "mint", "tar", "honey", "salt", "fig")

Row = dict[str, Any]


def scorecard(count: int) -> pd.DataFrame:
    draw = np.random.default_rng(7)
    numbers = range(count)
    frame = pd.DataFrame(
        {
            "creative_key": [f"image:{n}" for n in numbers],
            "creative_id": [f"c{n}" for n in numbers],
            "currency": "USD",
            "ad_name": [f"Ad {n}" for n in numbers],
            "hook_type": draw.choice(["question", "problem", "story", "offer"], count),
            "hook_percentile": draw.uniform(0, 100, count),
            "click_percentile": draw.uniform(0, 100, count),
            "roas": draw.uniform(0, 5, count),
            "spend_share": 1 / max(count, 1),
            "confidence": draw.choice(["high", "medium", "low"], count),
            "label": draw.choice(["winner", "middle", "loser", "too_early"], count),
            "label_reason": "Its ROAS beats that of all.",
        }
    )
    return frame.loc[:, list(drafting.SCORECARD_COLUMNS)]


def creatives(count: int, product_count: int) -> pd.DataFrame:
    columns = dict.fromkeys([*INPUT_COLUMNS, *drafting.CREATIVE_COLUMNS])
    rows = [
        {
            "ad_id": f"ad{n}",
            "creative_id": f"c{n}",
            "ad_account_id": "act_1",
            "effective_status": "ACTIVE",
            "destination_urls": [f"https://shop.example/{n % product_count}?utm_source=fb&ad={n}"],
            "title": f"Title {n}",
            "body": f"{_OPENINGS[n % 3]} Number {n} tells of {_SCENTS[n % 10]}. Try it now.",
            "call_to_action_type": "SHOP_NOW",
        }
        for n in range(count)
    ]
    return pd.DataFrame(rows, columns=list(columns))


def pages(count: int) -> list[Row]:
    return [
        {
            "url": f"https://shop.example/{n}",
            "state": "ok",
            "ad_count": n % 9,
            "title": f"Soap {n}",
            "h1": f"Soap {n} for every day",
            "hero_text": f"Soap {n} smells of {_SCENTS[n % 10]} and nothing else.",
            "description": f"Soap {n} is made in small batches near {_SCENTS[n % 7]} fields.",
            "main_text": " ".join([f"It lathers on skin in a minute, says batch {n}."] * 40),
            "price": Decimal(9 + n % 40),
            "currency": "USD",
            "discount": "-20%" if n % 3 == 0 else None,
            "language": "en",
            "product_names": [f"Soap {n}"],
        }
        for n in range(count)
    ]


def templates(count: int) -> tuple[list[Row], list[Row]]:
    rows = [
        {
            "library_ad_id": f"t{n}",
            "page_name": f"Advertiser {n}",
            "title": ("Cold again?", "Save 30% now", "The mug")[n % 3],
            "body": "Is your coffee cold? It keeps it hot. Loved by 900 customers. Save 30% now.",
            "cta": "Shop now",
        }
        for n in range(count)
    ]
    states = {"state": "approved", "score": 80.0, "decided_by": "rules"}
    return rows, [{"template_id": row["library_ad_id"], **states} for row in rows]


def measure(count: int) -> tuple[float, ...]:
    """CPU seconds of choosing, drafting and rendering, and the drafts' number."""
    product_count = max(count // 100, 1)
    scored, ads, shop = scorecard(count), creatives(count, product_count), pages(product_count)
    scraped, approvals = templates(product_count)
    said = [("pain", f"my skin itches after soap {n}", n) for n in range(product_count)]
    top = pd.DataFrame(said, columns=["kind", "phrase", "count"])
    started = time.process_time()
    hooks = drafting.rank_hooks(scored, ads, destinations(ads), most=MAX_DRAFTS)
    products = drafting.read_products(shop)
    known = drafting.read_templates(scraped, approvals)
    phrases = drafting.read_phrases(top)
    chosen = time.process_time()
    drafts = drafting.draft_ads(
        templates=known,
        hooks=hooks,
        products=products,
        phrases=phrases,
        max_drafts=MAX_DRAFTS,
    )
    drafted = time.process_time()
    photo = Image.effect_noise((300, 300), 60).convert("RGB").resize((1600, 1600))
    for draft in drafts[:RENDERED]:
        render(draft.texts.headline, background=photo, seed=draft.product.url)
    rendered = time.process_time()
    return chosen - started, drafted - chosen, rendered - drafted, len(drafts)


def main() -> None:
    if "--measure" in sys.argv:
        print(*measure(int(sys.argv[-1])))
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    print(
        f"{'creatives':>10}{'choose':>9}{'draft':>9}{'render':>9}{'drafts':>9}{'peak MB':>9}"
        f"   (CPU seconds; best of {rounds})"
    )
    for size in SIZES:
        costs = [
            run_python(["-m", "benchmarks.analysis.drafting", "--measure", str(size)])
            for _ in range(rounds)
        ]
        figures = [(*map(float, cost.output.split()), cost.peak_mb) for cost in costs]
        choose, draft, drawn, count, peak = map(min, zip(*figures, strict=True))
        print(f"{size:10,}{choose:9.2f}{draft:9.2f}{drawn:9.2f}{count:9.0f}{peak:9.0f}")


if __name__ == "__main__":
    main()

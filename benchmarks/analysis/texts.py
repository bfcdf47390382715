"""What reading texts costs as there are more of them: CPU seconds and peak memory.

    python -m benchmarks.analysis.texts [--rounds 3]

`classify` tags creatives by the rules, `judge` scores templates, `phrases` finds and counts what
reviews say; each size of each in a process of its own. The texts are those of the labelled ads,
each with its number, so that no two are the same. Prints, asserts nothing.
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime

import pandas as pd

from benchmarks.classification.run import Ad, creatives_frame, read_ads
from benchmarks.measure import run_python
from pipeline_assets.analysis.classification import classify_ads
from pipeline_assets.analysis.template_scoring import Thresholds, judge_templates
from pipeline_assets.analysis.voice_of_customer import find_phrases, top_phrases
from pipeline_assets.schemas import TEMPLATES_SCRAPED

SIZES = (2_500, 5_000, 10_000)

_SEEN = datetime(2026, 11, 1, tzinfo=UTC)
_SAID = ("I am tired of {} after a week.", "I wish {} were easier.", "I love how {} just works.")


def classify(ads: Sequence[Ad]) -> None:
    classify_ads(creatives_frame(list(ads)))


def judge(ads: Sequence[Ad]) -> None:
    templates = [
        {
            **dict.fromkeys(TEMPLATES_SCRAPED.column_names),
            "library_ad_id": ad["id"],
            "source": "ad_library",
            "title": ad["title"],
            "body": ad["body"],
            "titles": [ad["title"]],
            "bodies": [ad["body"]],
            "image_urls": [],
            "video_urls": [],
            "content_hash": ad["id"].partition("-copy-")[0],
            "is_active": True,
            "started_on": date(2026, 8, 1),
            "days_running": 92,
            "first_seen_at": _SEEN,
            "last_seen_at": _SEEN,
        }
        for ad in ads
    ]
    thresholds = Thresholds(approve_from=70, reject_below=30)
    judge_templates(templates, thresholds=thresholds, today=_SEEN.date())


def phrases(ads: Sequence[Ad]) -> None:
    said = [find_phrases(f"{ad['body']} {_said(place)}") for place, ad in enumerate(ads)]
    top_phrases(pd.DataFrame({"phrases": said}))


def _said(place: int) -> str:
    return _SAID[place % 3].format(f"thing {place % 500}")


WORK: dict[str, Callable[[Sequence[Ad]], None]] = {
    "classify": classify,
    "judge": judge,
    "phrases": phrases,
}


def measure(name: str, count: int) -> float:
    """CPU seconds of one piece of work on so many texts."""
    known = read_ads()
    ads = [
        ad | {"id": f"{ad['id']}-copy-{place}", "body": f"{ad['body']} No. {place}"}
        for place, ad in ((place, known[place % len(known)]) for place in range(count))
    ]
    began = time.process_time()
    WORK[name](ads)
    return time.process_time() - began


def main() -> None:
    if "--measure" in sys.argv:
        print(measure(sys.argv[-2], int(sys.argv[-1])))
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    print(f"{'':10}{'texts':>10}{'CPU s':>9}{'peak MB':>9}   (best of {rounds})")
    for name in WORK:
        for size in SIZES:
            arguments = ["-m", "benchmarks.analysis.texts", "--measure", name, str(size)]
            costs = [run_python(arguments) for _ in range(rounds)]
            seconds = min(float(cost.output) for cost in costs)
            peak = min(cost.peak_mb for cost in costs)
            print(f"{name:10}{size:10,}{seconds:9.2f}{peak:9.0f}", flush=True)


if __name__ == "__main__":
    main()

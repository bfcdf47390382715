"""Measures the congruence rules on labelled pairs beside plain word overlap, and their cost.

    python -m benchmarks.analysis.congruence             # agreement, then cost
    python -m benchmarks.analysis.congruence --train     # the pairs that rules are written with

See congruence.md. Prints, asserts nothing.
"""

import json
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from benchmarks.measure import run_python
from pipeline_assets.analysis.congruence import AD_COLUMNS, FIGURE_COLUMNS, PAGE_COLUMNS, judge
from pipeline_assets.analysis.congruence_texts import words_of

PAIRS = Path(__file__).with_name("congruence_pairs.yaml")
DIMENSIONS = ("message", "offer", "tone")
CLASSES = ("bad", "weak", "good")
GOOD, WEAK = 7.0, 4.0
"""A score from GOOD on is good, from WEAK on weak."""
SIZES = (2_500, 5_000, 10_000)

Pair = dict[str, Any]


def read_pairs() -> list[Pair]:
    pairs: list[Pair] = yaml.safe_load(PAIRS.read_text(encoding="utf-8"))
    return pairs


def is_held_back(pair: Pair) -> bool:
    return int(pair["id"][1:]) % 3 == 0


def judge_pairs(pairs: Sequence[Pair]) -> list[dict[str, Any]]:
    """The rows, each pair judged by itself: they are not one brand's."""
    rows: list[dict[str, Any]] = []
    for pair in pairs:
        ads, pages = frames([pair])
        rows += judge(ads, pages, no_figures()).to_dict("records")  # type: ignore[arg-type]
    return rows


def frames(pairs: Sequence[Pair]) -> tuple[pd.DataFrame, pd.DataFrame]:
    ads = [
        dict.fromkeys(AD_COLUMNS)
        | {"ad_id": pair["id"], "url": f"https://shop.example/{pair['id']}"}
        | {"ad_account_id": "act_1", "creative_id": pair["id"], **pair["ad"]}
        for pair in pairs
    ]
    pages = [
        dict.fromkeys(PAGE_COLUMNS)
        | {"url": f"https://shop.example/{pair['id']}", "state": "ok", "status_code": 200}
        | pair["page"]
        for pair in pairs
    ]
    return pd.DataFrame(ads, columns=list(AD_COLUMNS)), pd.DataFrame(pages)


def no_figures() -> pd.DataFrame:
    return pd.DataFrame(columns=list(FIGURE_COLUMNS))


def class_of(score: float | None) -> str:
    if score is None or score != score:  # noqa: PLR0124 - NaN
        return "none"
    return "good" if score >= GOOD else "weak" if score >= WEAK else "bad"


# ------------------------------------------------------------------------------------- rival


def jaccard(pair: Pair) -> float:
    """Shared words / all words of ad and page, nothing else: no stems, no common words left out."""
    page = pair["page"]
    said = set(words_of(f"{pair['ad']['title']} {pair['ad']['body']}"))
    names = ("title", "h1", "hero_text", "discount", "main_text")
    shown = set(words_of(" ".join(str(page.get(name, "")) for name in names)))
    return len(said & shown) / len(said | shown)


def best_thresholds(values: Sequence[float], labels: Sequence[str]) -> tuple[float, float]:
    """The two limits of three classes that agree best with the labels."""
    limits = sorted(set(values))
    pairs = [(low, high) for low in limits for high in limits if low <= high]
    return max(pairs, key=lambda pair: agreement([cut(v, pair) for v in values], labels))


def cut(value: float, limits: tuple[float, float]) -> str:
    return "bad" if value < limits[0] else "weak" if value < limits[1] else "good"


# ----------------------------------------------------------------------------------- measures


def agreement(answers: Sequence[str], labels: Sequence[str]) -> float:
    return sum(a == b for a, b in zip(answers, labels, strict=True)) / len(labels)


def kappa(answers: Sequence[str], labels: Sequence[str]) -> float:
    """Cohen's kappa: agreement beyond what chance gives, 1 is perfect, 0 is chance."""
    observed = agreement(answers, labels)
    ours, theirs = Counter(answers), Counter(labels)
    chance = sum(ours[each] * theirs[each] for each in theirs) / len(labels) ** 2
    return (observed - chance) / (1 - chance) if chance < 1 else 1.0


def rank_correlation(values: Iterable[float], labels: Sequence[str]) -> float:
    """Spearman's, ties as their mean rank."""
    scores = pd.Series(list(values)).rank()
    ranks = pd.Series([CLASSES.index(label) for label in labels]).rank()
    return float(np.corrcoef(scores, ranks)[0, 1])


def print_agreement(title: str, pairs: Sequence[Pair], train: Sequence[Pair]) -> None:
    rows = judge_pairs(pairs)
    print(f"{title}, {len(pairs)} pairs")
    print(
        f"{'':10}{'n':>4}{'rules':>8}{'kappa':>8}{'rank':>8}{'Jaccard':>10}{'kappa':>8}{'rank':>8}"
    )
    for name in DIMENSIONS:
        asked = [
            (pair, row)
            for pair, row in zip(pairs, rows, strict=True)
            if pair["labels"][name] != "none" and class_of(row[name]) != "none"
        ]
        labels = [pair["labels"][name] for pair, _ in asked]
        ours = [class_of(row[name]) for _, row in asked]
        known = [pair for pair in train if pair["labels"][name] != "none"]
        limits = best_thresholds(
            [jaccard(pair) for pair in known], [pair["labels"][name] for pair in known]
        )
        shares = [jaccard(pair) for pair, _ in asked]
        theirs = [cut(share, limits) for share in shares]
        print(
            f"{name:10}{len(asked):4}{agreement(ours, labels):8.0%}{kappa(ours, labels):8.2f}"
            f"{rank_correlation([row[name] for _, row in asked], labels):8.2f}"
            f"{agreement(theirs, labels):10.0%}{kappa(theirs, labels):8.2f}"
            f"{rank_correlation(shares, labels):8.2f}"
        )
    print_severe(pairs, rows, train)


def print_severe(
    pairs: Sequence[Pair], rows: Sequence[dict[str, Any]], train: Sequence[Pair]
) -> None:
    labels = ["yes" if pair["labels"]["severe"] else "no" for pair in pairs]
    ours = ["yes" if row["mismatches"] else "no" for row in rows]
    limit = max(
        sorted({jaccard(pair) for pair in train}),
        key=lambda each: sum((jaccard(pair) < each) == pair["labels"]["severe"] for pair in train),
    )
    theirs = ["yes" if jaccard(pair) < limit else "no" for pair in pairs]
    print(
        f"{'severe':10}{len(pairs):4}{agreement(ours, labels):8.0%}{kappa(ours, labels):8.2f}"
        f"{'':8}{agreement(theirs, labels):10.0%}{kappa(theirs, labels):8.2f}"
    )
    found = sum(a == b == "yes" for a, b in zip(ours, labels, strict=True))
    print(f"severe: {found} of {labels.count('yes')} found, {ours.count('yes') - found} false\n")


def print_errors(pairs: Sequence[Pair]) -> None:
    for pair, row in zip(pairs, judge_pairs(pairs), strict=True):
        labels = pair["labels"]
        wrong = [
            f"{name} {labels[name]} -> {row[name]}"
            for name in DIMENSIONS
            if "none" not in {labels[name], class_of(row[name])}
            and class_of(row[name]) != labels[name]
        ]
        if bool(row["mismatches"]) != labels["severe"]:
            wrong.append(f"severe {labels['severe']} -> {row['mismatches']}")
        if wrong:
            print(pair["id"], "; ".join(wrong))
            print("    ", json.dumps(row["evidence"], ensure_ascii=False))


# -------------------------------------------------------------------------------------- cost


def print_cost() -> None:
    """Each size in a process of its own; peak memory beside that of the imports alone."""
    nothing = judge_in_child(0)[2]
    print(
        f"{'creatives':>10}{'seconds':>9}{'CPU s':>8}{'CPU ms each':>13}{'peak MB':>9}{'own MB':>8}"
    )
    for size in SIZES:
        seconds, cpu_seconds, peak_mb = judge_in_child(size)
        print(
            f"{size:10,}{seconds:9.1f}{cpu_seconds:8.1f}{1000 * cpu_seconds / size:13.2f}"
            f"{peak_mb:9.0f}{peak_mb - nothing:8.0f}"
        )


def judge_in_child(count: int) -> tuple[float, float, float]:
    """Seconds and CPU seconds of judging, and the process's peak memory in MB."""
    cost = run_python(["-m", "benchmarks.analysis.congruence", "--judge", str(count)])
    seconds, cpu_seconds = map(float, cost.output.split())
    return seconds, cpu_seconds, cost.peak_mb


def judge_copies(count: int) -> tuple[float, float]:
    """Judge that many ads, each with a page of its own of 400 words of main text."""
    pairs = read_pairs()
    copies = []
    for number in range(count):
        pair = pairs[number % len(pairs)]
        long_text = " ".join([pair["page"]["main_text"], *(["And one more sentence."] * 90)])
        page = {**pair["page"], "main_text": f"{long_text} Number {number}."}
        copies.append({**pair, "id": f"p{number}", "page": page})
    ads, pages = frames(copies or pairs[:1])
    figures = pd.DataFrame(
        [(ad, 9_000, 120, number % 9) for number, ad in enumerate(ads["ad_id"])],
        columns=list(FIGURE_COLUMNS),
    )
    started, cpu_started = time.perf_counter(), time.process_time()
    judge(ads, pages, figures)
    return time.perf_counter() - started, time.process_time() - cpu_started


def main() -> None:
    if "--judge" in sys.argv:
        print(*judge_copies(int(sys.argv[-1])))
        return
    pairs = read_pairs()
    train = [pair for pair in pairs if not is_held_back(pair)]
    print_agreement("Train", train, train)
    if "--train" in sys.argv:
        print_errors(train)
        return
    print_agreement("Held back", [pair for pair in pairs if is_held_back(pair)], train)
    print_cost()


if __name__ == "__main__":
    main()

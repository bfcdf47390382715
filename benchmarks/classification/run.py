"""Measures the rules classifier on labelled ads beside two rivals; see README.md.

Prints, asserts nothing.
"""

import hashlib
import json
import math
import re
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from pipeline_assets.analysis.classification import INPUT_COLUMNS, Tag, classify_ads

DATA = Path(__file__).with_name("labelled_ads.jsonl")
LABELLED = (
    "hook_type",
    "messaging_angle",
    "awareness_stage",
    "emotion",
    "cta",
    "offer_type",
    "funnel_stage",
)
BANDS = (("unknown", -1.0), ("below 0.4", 0.0), ("0.4-0.6", 0.4), ("0.6-0.8", 0.6), ("0.8+", 0.8))

Ad = dict[str, Any]


class Judged(NamedTuple):
    """One ad's label in one dimension and what the classifier said."""

    label: str
    tag: Tag

    @property
    def is_right(self) -> bool:
        """Whether the value is the label."""
        return self.tag["value"] == self.label


class NaiveBayes:
    """Multinomial naive Bayes over words, add-one smoothing."""

    def __init__(self, examples: list[tuple[list[str], str]]) -> None:
        self._labels = Counter(label for _, label in examples)
        self._words: dict[str, Counter[str]] = defaultdict(Counter)
        for words, label in examples:
            self._words[label].update(words)
        self._vocabulary = len({word for counter in self._words.values() for word in counter})

    def predict(self, words: list[str]) -> str:
        """The most probable label; ties go to the more frequent one."""
        return max(self._labels, key=lambda label: self._log_probability(words, label))

    def _log_probability(self, words: list[str], label: str) -> float:
        counts = self._words[label]
        total = counts.total() + self._vocabulary
        prior = math.log(self._labels[label])
        return prior + sum(math.log((counts[word] + 1) / total) for word in words)


def read_ads() -> list[Ad]:
    return [json.loads(line) for line in DATA.read_text(encoding="utf-8").splitlines()]


def is_held_back(ad: Ad) -> bool:
    return int(hashlib.sha256(ad["id"].encode()).hexdigest(), 16) % 3 == 0


def creatives_frame(ads: list[Ad]) -> pd.DataFrame:
    """The ads as rows of `meta_ad_creatives`."""
    nothing = dict.fromkeys(INPUT_COLUMNS)
    texts = ("ad_name", "title", "body", "call_to_action_type")
    rows = [
        nothing
        | {"creative_id": ad["id"], "ad_account_id": "act_1"}
        | {name: ad[name] for name in texts}
        for ad in ads
    ]
    return pd.DataFrame(rows, columns=list(INPUT_COLUMNS))


def words_of(ad: Ad) -> list[str]:
    texts = (ad["title"], ad["body"], ad["ad_name"].replace("_", " "), ad["call_to_action_type"])
    return re.findall(r"[^\W\d]+|\d+|[%$€£?!]", " ".join(texts).lower())


def judge(ads: list[Ad]) -> dict[str, list[Judged]]:
    tags = classify_ads(creatives_frame(ads)).set_index("creative_id")["tags"]
    return {
        dimension: [
            Judged(ad["labels"][dimension], tags[ad["id"]][dimension])
            for ad in ads
            if dimension in ad["labels"]
        ]
        for dimension in LABELLED
    }


def accuracy(judged: list[Judged]) -> float:
    return sum(one.is_right for one in judged) / len(judged)


def rival_accuracies(dimension: str, train: list[Ad], held_back: list[Ad]) -> tuple[float, float]:
    """Majority and naive Bayes on the held-back ads."""
    examples = [
        (words_of(ad), ad["labels"][dimension]) for ad in train if dimension in ad["labels"]
    ]
    asked = [
        (words_of(ad), ad["labels"][dimension]) for ad in held_back if dimension in ad["labels"]
    ]
    majority = Counter(label for _, label in examples).most_common(1)[0][0]
    bayes = NaiveBayes(examples)
    return (
        sum(label == majority for _, label in asked) / len(asked),
        sum(bayes.predict(words) == label for words, label in asked) / len(asked),
    )


def print_accuracies(
    train: list[Ad], held_back: list[Ad], on_train: dict[str, Any], on_held_back: dict[str, Any]
) -> None:
    print(f"Accuracy (train {len(train)} ads, held back {len(held_back)})")
    print(f"{'':18}{'rules':>8}{'rules':>11}{'answered':>11}{'majority':>11}{'n. Bayes':>11}")
    print(f"{'':18}{'train':>8}" + f"{'held back':>11}" * 4)
    for dimension in LABELLED:
        asked = on_held_back[dimension]
        answered = [one for one in asked if one.tag["value"] != "unknown"]
        majority, bayes = rival_accuracies(dimension, train, held_back)
        print(
            f"{dimension:18}{accuracy(on_train[dimension]):8.0%}{accuracy(asked):11.0%}"
            f"{accuracy(answered):11.0%}{majority:11.0%}{bayes:11.0%}"
        )
    print("answered: accuracy where the rules did not say unknown\n")


def band_of(tag: Tag) -> str:
    if tag["value"] == "unknown":
        return BANDS[0][0]
    return [name for name, floor in BANDS if tag["confidence"] >= floor][-1]


def print_bands(title: str, judged: dict[str, list[Judged]]) -> None:
    print(f"Accuracy by confidence, {title}: right / all")
    print(f"{'':18}" + "".join(f"{name:>15}" for name, _ in BANDS))
    everything = [one for dimension in judged for one in judged[dimension]]
    for name, rows in (*judged.items(), ("all", everything)):
        bands: dict[str, list[bool]] = defaultdict(list)
        for one in rows:
            bands[band_of(one.tag)].append(one.is_right)
        cells = (bands[band] for band, _ in BANDS)
        print(f"{name:18}" + "".join(f"{_ratio(cell):>15}" for cell in cells))
    print()


def _ratio(right: list[bool]) -> str:
    return f"{sum(right) / len(right):.0%} ({sum(right)}/{len(right)})" if right else "-"


def print_confusions(judged: dict[str, list[Judged]]) -> None:
    print("Most frequent confusions on train: label -> answer")
    for dimension, rows in judged.items():
        wrong = Counter((one.label, one.tag["value"]) for one in rows if not one.is_right)
        pairs = ", ".join(f"{a} -> {b} x{count}" for (a, b), count in wrong.most_common(4))
        print(f"{dimension:18}{pairs or '-'}")
    print()


def print_speed(ads: list[Ad]) -> None:
    copies = [ad | {"id": f"{ad['id']}-{copy}"} for copy in range(6) for ad in ads]
    frame = creatives_frame(copies)
    started = time.perf_counter()
    classify_ads(frame)
    seconds = time.perf_counter() - started
    long_text = creatives_frame([ads[0] | {"body": (ads[0]["body"] + " ") * 100}])
    long_text["body"] = long_text["body"].str[:10_000]
    started = time.perf_counter()
    classify_ads(long_text)
    long_milliseconds = 1000 * (time.perf_counter() - started)
    print(
        f"Speed: {len(copies)} creatives in {seconds:.2f} s, {len(copies) / seconds:.0f}/s; "
        f"one of 10,000 characters in {long_milliseconds:.1f} ms"
    )


def main() -> None:
    ads = read_ads()
    train = [ad for ad in ads if not is_held_back(ad)]
    held_back = [ad for ad in ads if is_held_back(ad)]
    on_train, on_held_back = judge(train), judge(held_back)
    print_accuracies(train, held_back, on_train, on_held_back)
    print_bands("train", on_train)
    print_bands("held back", on_held_back)
    print_confusions(on_train)
    print_speed(ads)


if __name__ == "__main__":
    main()

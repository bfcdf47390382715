"""Loads `rules.yaml`: which words and fields speak for which tag, and how strongly.

Belongs here: the file's form, checked against the taxonomy. Does not: weighing what was found
(`classification.py`), searching (`phrases.py`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from pipeline_assets.analysis.phrases import PhraseIndex
from pipeline_assets.analysis.taxonomy import DIMENSIONS

RULES_PATH = Path(__file__).with_name("rules.yaml")

_WEIGHTS = {"strong": 0.8, "medium": 0.5, "weak": 0.3}


class Rule(NamedTuple):
    """What something found speaks for, and how strongly (0-1)."""

    dimension: str
    value: str
    weight: float


@dataclass(frozen=True, kw_only=True)
class Rules:
    """The phrases of texts, of their first words and of ad names; fields' values; conclusions.

    `fields` goes by (column, value), `destinations` by host, `implied` by (dimension, value).
    """

    text: PhraseIndex[Rule]
    opening: PhraseIndex[Rule]
    ad_name: PhraseIndex[Rule]
    fields: Mapping[tuple[str, str], list[Rule]]
    destinations: Mapping[str, list[Rule]]
    implied: Mapping[tuple[str, str], list[Rule]]


@cache
def load_rules() -> Rules:
    """The rules of `rules.yaml`, read once.

    Raises: KeyError or ValueError for a dimension, value or phrase that cannot be.
    """
    document = yaml.safe_load(RULES_PATH.read_text(encoding="utf-8"))
    return Rules(
        text=PhraseIndex(read_phrases(document["text"])),
        opening=PhraseIndex(read_phrases({"hook_type": document["opening"]})),
        ad_name=PhraseIndex(read_phrases(document["ad_name"])),
        fields=_by_pair(document["fields"]),
        destinations={host: _conclusions(tags) for host, tags in document["destinations"].items()},
        implied=_by_pair(document["implies"]),
    )


def read_phrases(section: Mapping[str, Any]) -> list[tuple[str, Rule]]:
    """The phrases of a section (dimension, value, strength, phrases), each with its rule."""
    return [
        (phrase.strip(), _rule(dimension, value, _WEIGHTS[strength]))
        for dimension, values in section.items()
        for value, strengths in values.items()
        for strength, phrases in strengths.items()
        for phrase in phrases.replace("\n", ";").split(";")
        if phrase.strip()
    ]


def _by_pair(section: Mapping[str, Any]) -> dict[tuple[str, str], list[Rule]]:
    return {
        (name, value): _conclusions(tags)
        for name, values in section.items()
        for value, tags in values.items()
    }


def _conclusions(tags: Mapping[str, float]) -> list[Rule]:
    return [_rule(*_dimension_and_value(name), weight) for name, weight in tags.items()]


def _dimension_and_value(name: str) -> tuple[str, str]:
    dimension, value = name.split(".")
    return dimension, value


def _rule(dimension: str, value: str, weight: float) -> Rule:
    return Rule(dimension, str(DIMENSIONS[dimension](value)), weight)

"""Which of the gathered templates may be used: the rules' judgement, and what people decided."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from pipeline_assets.assets.attempt import Attempt, Check, Outcome, dataset_asset
from pipeline_assets.errors import InvalidConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pipeline_assets.analysis.template_scoring import Judgement

Row = dict[str, Any]

LONGEST_WAIT = timedelta(days=7)
"""A template that waits for a person for longer has been forgotten."""

MAX_FORGOTTEN_RATIO = 0.1
"""Some always wait; more than a tenth of all means that nobody comes to the queue."""


@dataset_asset(
    "template_approvals", checks=("every_template_is_judged", "people_come_to_the_queue")
)
def template_approvals(attempt: Attempt) -> Outcome:
    """Whether each gathered template may be used for drafts: approved, rejected, or a person's.

    Source: the stored templates, by rules over how long, how widely and in how many copies they
    run; copies of a decided one are rejected, words that policies forbid keep one from being
    approved by itself. A person's decision always counts more, and stays. One run does all brands
    of an organization; each brand's status is its own.

    Check: every template that is stored has its row.

    Check: at most a tenth of the templates have waited for a person for more than seven days.
    """
    from pipeline_assets.analysis.template_scoring import (  # noqa: PLC0415
        Thresholds,
        judge_templates,
    )
    from pipeline_assets.schemas import TEMPLATES_SCRAPED  # noqa: PLC0415

    source = attempt.brand.sources.templates
    if source is None:
        raise InvalidConfigError(
            f"Brand {attempt.brand.id!r} has no templates source.",
            advice="Say whose ads to gather with `pipeline-assets brands apply`.",
        )
    templates = attempt.read_rows(TEMPLATES_SCRAPED)
    attempt.heartbeat.progress(0, total=len(templates), stage="judging")
    judgements = judge_templates(
        templates,
        thresholds=Thresholds(
            approve_from=source.approve_from,
            reject_below=source.reject_below,
            policy_words=source.policy_words,
        ),
        today=attempt.started_at.date(),
    )
    rows: list[Row] = []  # as stored: known once the write has read what people decided
    records = attempt.replace_rows(_settled(attempt, judgements, rows))
    attempt.heartbeat.progress(len(rows), total=len(rows), stage="stored")
    states = Counter(row["state"] for row in rows)
    return Outcome(
        records=records,
        checks={
            "every_template_is_judged": _check_all_judged(attempt),
            "people_come_to_the_queue": _check_waiting(attempt, rows),
        },
        metadata={
            **{state: states[state] for state in ("approved", "rejected", "pending")},
            "decided_by_people": sum(row["decided_by"] != "rules" for row in rows),
            "overruled": sum(row["is_overruled"] for row in rows),
        },
    )


def _settled(attempt: Attempt, judgements: Sequence[Judgement], rows: list[Row]) -> Iterator[Row]:
    """The rows to store, made while nobody else can write: no decision is lost in between."""
    from pipeline_assets.analysis.template_scoring import settle  # noqa: PLC0415
    from pipeline_assets.control.item_decisions import (  # noqa: PLC0415
        read_decisions,
        with_decision,
    )

    key = attempt.dataset.key
    decisions = read_decisions(attempt.installation.engine, brand_id=attempt.brand.id, dataset=key)
    # As it was before this write: another connection does not see what this one has deleted.
    since = {
        (row["template_id"], row["state"]): row["decided_at"]
        for row in attempt.read_rows()
        if row["decided_by"] == "rules"
    }
    settled = settle(judgements, {item: made.decision for item, made in decisions.items()})
    rows.extend(
        with_decision(key, _row(attempt, each, since), decisions.get(each.template_id))
        for each in settled
    )
    yield from rows


def _row(attempt: Attempt, judgement: Judgement, since: Mapping[tuple[str, str], Any]) -> Row:
    """A template's row as the rules have it; what they say again they have said since then."""
    from pipeline_assets.analysis.template_scoring import RULES_VERSION  # noqa: PLC0415

    state = judgement.state.value
    return {
        "brand_id": attempt.brand.id,
        "template_id": judgement.template_id,
        "state": state,
        "decided_by": "rules",
        "reasons": list(judgement.reasons),
        "decided_at": since.get((judgement.template_id, state), attempt.started_at),
        "score": judgement.score,
        "score_parts": [part._asdict() for part in judgement.parts],
        "rule_state": state,
        "policy_words": list(judgement.policy_words),
        "duplicate_of": judgement.duplicate_of,
        "is_overruled": False,
        "rules_version": RULES_VERSION,
        "fetched_at": attempt.started_at,
    }


def _check_all_judged(attempt: Attempt) -> Check:
    from sqlalchemy import select  # noqa: PLC0415

    from pipeline_assets.schemas import TEMPLATES_SCRAPED  # noqa: PLC0415
    from pipeline_assets.storage.tables import DATASET_TABLES  # noqa: PLC0415
    from pipeline_assets.storage.windows import count_rows  # noqa: PLC0415

    brand_id = attempt.brand.id
    judged = DATASET_TABLES[attempt.schema.name].c
    ids = select(judged.template_id).where(judged.brand_id == brand_id)
    missing = count_rows(
        attempt.installation.engine,
        TEMPLATES_SCRAPED,
        brand_id=brand_id,
        where=[DATASET_TABLES[TEMPLATES_SCRAPED.name].c.library_ad_id.not_in(ids)],
    )
    return Check(
        missing == 0,
        f"{missing} templates came while this run was judging; the next run judges them."
        if missing
        else "Every stored template has its row.",
        {"without_row": missing},
    )


def _check_waiting(attempt: Attempt, rows: Sequence[Row]) -> Check:
    forgotten = sum(
        row["state"] == "pending" and attempt.started_at - row["decided_at"] > LONGEST_WAIT
        for row in rows
    )
    return Check(
        forgotten <= MAX_FORGOTTEN_RATIO * len(rows),
        f"{forgotten} of {len(rows)} templates have waited for a person for more than"
        f" {LONGEST_WAIT.days} days.",
        {"templates": len(rows), "waiting_too_long": forgotten},
        is_warning=True,
    )

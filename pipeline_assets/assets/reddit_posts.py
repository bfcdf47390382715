"""What people write on Reddit about the things that a brand sells."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from pipeline_assets.assets.accounts import combine_errors
from pipeline_assets.assets.attempt import Attempt, Check, Outcome, dataset_asset
from pipeline_assets.assets.bad_items import BadItems
from pipeline_assets.errors import DatabaseUnavailableError, PipelineError, StorageFullError

if TYPE_CHECKING:
    from pipeline_assets.brands.models import RedditSource
    from pipeline_assets.sources.reddit import Post, RedditClient, SearchPage

Row = dict[str, Any]

READ_AGAIN = timedelta(days=3)
"""Votes and comments come in the first days: so far back a search is always read again."""

MAX_ODD_RATIO = 0.05
"""More than one post in twenty that is incomplete, or comes twice, is no accident."""


@dataclass
class _Gathered:
    """What the searches gave: posts by id with the terms that found them, and what was odd."""

    posts: dict[str, Post] = field(default_factory=dict)
    terms: dict[str, set[str]] = field(default_factory=dict)
    finished: list[tuple[str, str]] = field(default_factory=list)
    sent_count: int = 0
    doubled_count: int = 0
    rejected: list[str] = field(default_factory=list)
    cut_off: list[str] = field(default_factory=list)
    errors: list[PipelineError] = field(default_factory=list)

    def add(self, page: SearchPage, subreddit: str, term: str, seen: set[str]) -> None:
        """Take in a page; `seen` are the ids that the same search has already sent."""
        if page.is_cut_off:
            self.cut_off.append(_position_name(subreddit, term))
        self.sent_count += len(page.posts) + len(page.rejected)
        self.rejected += page.rejected
        for post in page.posts:
            self.doubled_count += post.post_id in seen
            seen.add(post.post_id)
            self.posts[post.post_id] = post
            self.terms.setdefault(post.post_id, set()).add(term)


@dataset_asset(
    "reddit_posts",
    checks=("every_term_finds_posts", "posts_are_whole", "post_ids_are_unique_as_sent"),
)
def reddit_posts(attempt: Attempt) -> Outcome:
    """Posts that the brand's searches find in its subreddits, with what people say in them.

    Source: Reddit's API, each subreddit by each search term, newest first. A search goes back to
    three days before it was last read to its end; posts stay for the brand's `keep_days`. No names
    of authors are kept, nor texts that have been removed.

    Check: every search term has found something; at most one post in twenty lacks a field or comes
    twice in the same search.
    """
    with attempt.installation.reddit_client(attempt.brand) as client:
        source = attempt.brand.sources.reddit
        assert source is not None  # there would be no client
        gathered = _gather(attempt, client, source)
    bad = BadItems("posts", total=gathered.sent_count)
    for problem in gathered.rejected:
        bad.add(problem)
    bad.refuse_too_many()
    attempt.heartbeat.progress(0, stage="storing")
    rows = _merge(attempt, source, gathered)
    records = attempt.replace_rows(rows)
    _note_finished(attempt, source, gathered)
    return Outcome(
        records=records,
        checks=_checks(source, gathered, rows),
        metadata={
            **bad.metadata(),
            "searches_finished": len(gathered.finished),
            "searches_with_more_than_reddit_lists": gathered.cut_off,
            "posts_seen": len(gathered.posts),
        },
        incomplete=combine_errors(gathered.errors) if gathered.errors else None,
    )


def _gather(attempt: Attempt, client: RedditClient, source: RedditSource) -> _Gathered:
    """Every search, past the trouble of one search or subreddit, up to other trouble.

    Raises:
        PipelineError: nothing at all could be read, or our own storage failed.
    """
    from pipeline_assets.sources.reddit import SubredditClosedError  # noqa: PLC0415

    gathered = _Gathered()
    for subreddit in source.subreddits:
        try:
            _search_subreddit(attempt, client, source, subreddit, gathered)
        except (DatabaseUnavailableError, StorageFullError):
            raise
        except SubredditClosedError as error:
            attempt.log(str(error))
            gathered.errors.append(error)
        except PipelineError as error:
            attempt.log(f"Reading stopped at r/{subreddit}: {error}")
            gathered.errors.append(error)
            break
    if gathered.errors and not gathered.sent_count and not gathered.finished:
        raise combine_errors(gathered.errors)
    return gathered


def _search_subreddit(
    attempt: Attempt,
    client: RedditClient,
    source: RedditSource,
    subreddit: str,
    gathered: _Gathered,
) -> None:
    from pipeline_assets.sources.reddit import CircularListingError  # noqa: PLC0415

    total = len(source.subreddits) * len(source.search_terms)
    for term in source.search_terms:
        attempt.heartbeat.progress(
            len(gathered.finished), total=total, stage=f"searching r/{subreddit}"
        )
        seen: set[str] = set()
        since = _read_since(attempt, source, subreddit, term)
        try:
            for page in client.search(subreddit, term, since=since):
                gathered.add(page, subreddit, term, seen)
        except CircularListingError as error:
            attempt.log(str(error))
            gathered.errors.append(error)
        else:
            gathered.finished.append((subreddit, term))


def _read_since(attempt: Attempt, source: RedditSource, subreddit: str, term: str) -> datetime:
    """How far back a search is read: all that is kept, or shortly before what is known."""
    from pipeline_assets.storage.fetch_positions import read_position  # noqa: PLC0415

    oldest = attempt.started_at - timedelta(days=source.keep_days)
    position = read_position(
        attempt.installation.engine,
        brand_id=attempt.brand.id,
        dataset=attempt.dataset.key,
        name=_position_name(subreddit, term),
    )
    if position is None or position["keep_days"] < source.keep_days:
        return oldest
    return max(oldest, datetime.fromisoformat(position["read_at"]) - READ_AGAIN)


def _note_finished(attempt: Attempt, source: RedditSource, gathered: _Gathered) -> None:
    """From here the next attempt goes on; after the rows are stored, never before."""
    from pipeline_assets.storage.fetch_positions import store_position  # noqa: PLC0415

    for subreddit, term in gathered.finished:
        store_position(
            attempt.installation.engine,
            brand_id=attempt.brand.id,
            dataset=attempt.dataset.key,
            name=_position_name(subreddit, term),
            position={
                "read_at": attempt.started_at.isoformat(),
                "keep_days": source.keep_days,
            },
            now=attempt.started_at,
        )


def _position_name(subreddit: str, term: str) -> str:
    return f"r/{subreddit.casefold()}: {term}"


def _merge(attempt: Attempt, source: RedditSource, gathered: _Gathered) -> list[Row]:
    """The rows to keep: what is stored, renewed by what was read, less what is no longer wanted."""
    from pipeline_assets.analysis.voice_of_customer import find_phrases  # noqa: PLC0415

    rows: dict[str, Row] = {row["post_id"]: row for row in attempt.read_rows()}
    for post_id, post in gathered.posts.items():
        known = rows.get(post_id)
        rows[post_id] = {
            **_row_of(post),
            "matched_terms": gathered.terms[post_id].union(known["matched_terms"] if known else ()),
            "first_seen_at": known["first_seen_at"] if known else attempt.started_at,
        }
    kept = _wanted(
        rows.values(), source, oldest=attempt.started_at - timedelta(days=source.keep_days)
    )
    for row in kept:
        row["brand_id"], row["fetched_at"] = attempt.brand.id, attempt.started_at
        row["phrases"] = find_phrases(f"{row['title']}\n{row['body'] or ''}")
    return kept


def _wanted(rows: Iterable[Row], source: RedditSource, *, oldest: datetime) -> list[Row]:
    """The rows that the brand's source, as it is now, asks for."""
    subreddits = {subreddit.casefold() for subreddit in source.subreddits}
    terms = set(source.search_terms)
    kept = []
    for row in rows:
        row["matched_terms"] = sorted(terms.intersection(row["matched_terms"]))
        is_new_enough = row["posted_at"] >= oldest
        if row["matched_terms"] and is_new_enough and row["subreddit"].casefold() in subreddits:
            kept.append(row)
    return kept


def _row_of(post: Post) -> Row:
    return {
        "post_id": post.post_id,
        "subreddit": post.subreddit,
        "title": post.title,
        "body": post.body,
        "permalink": post.permalink,
        "link_url": post.link_url,
        "flair": post.flair,
        "score": post.score,
        "comment_count": post.comment_count,
        "upvote_ratio": post.upvote_ratio,
        "is_nsfw": post.is_nsfw,
        "posted_at": post.posted_at,
        "error": "Its text has been removed from Reddit." if post.is_removed else None,
    }


def _checks(source: RedditSource, gathered: _Gathered, rows: list[Row]) -> dict[str, Check]:
    found = dict.fromkeys(source.search_terms, 0)
    for row in rows:
        for term in row["matched_terms"]:
            found[term] += 1
    silent = [term for term, count in found.items() if count == 0]
    most_odd = MAX_ODD_RATIO * gathered.sent_count
    return {
        "every_term_finds_posts": Check(
            not silent,
            f"Nothing is found for {', '.join(map(repr, silent))}."
            if silent
            else f"All {len(found)} terms find posts.",
            {"posts_by_term": found},
            is_warning=True,
        ),
        "posts_are_whole": Check(
            len(gathered.rejected) <= most_odd,
            f"{len(gathered.rejected)} of {gathered.sent_count} posts lack what a post has.",
            {"posts": gathered.sent_count, "rejected": len(gathered.rejected)},
        ),
        "post_ids_are_unique_as_sent": Check(
            gathered.doubled_count <= most_odd,
            f"{gathered.doubled_count} of {gathered.sent_count} posts came twice in one search.",
            {"posts": gathered.sent_count, "doubled": gathered.doubled_count},
        ),
    }

"""The log of a run as people may read it: page by page, or as text, with every secret masked."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import dagster as dg

from pipeline_assets.control.dagster_log import LogEntry, LogPage, log_page
from pipeline_assets.redaction import redact

PAGE_LINES = 500
"""A sync of five datasets writes some fifty: one page holds all but the longest logs."""


def read_log(instance: dg.DagsterInstance, run_id: str, *, after: int = -1) -> LogPage | None:
    """The lines after a position; None when Dagster has deleted the run."""
    page = log_page(instance, run_id, after=after, limit=PAGE_LINES)
    return page and replace(page, entries=[_redacted(entry) for entry in page.entries])


def read_log_text(instance: dg.DagsterInstance, run_ids: Sequence[str]) -> Iterator[str]:
    """The whole logs of these runs, one after the other, a page at a time."""
    for run_id in run_ids:
        yield f"Run {run_id}\n"
        after = -1
        while page := read_log(instance, run_id, after=after):
            yield "".join(f"{as_text(entry)}\n" for entry in page.entries)
            if page.is_last:
                break
            after = page.entries[-1].position
        else:
            yield "Dagster has deleted the run, and its log with it.\n"


def as_text(entry: LogEntry) -> str:
    """A line with its time in UTC; an error's lines follow it, indented."""
    what = " ".join(part for part in (entry.kind, entry.text) if part)
    where = f" [{entry.step}]" if entry.step else ""
    at = entry.at.isoformat(sep=" ", timespec="milliseconds").removesuffix("+00:00")
    return "\n    ".join([f"{at} {entry.level}{where} {what}", *entry.error.splitlines()])


def _redacted(entry: LogEntry) -> LogEntry:
    return replace(entry, text=redact(entry.text), error=redact(entry.error))

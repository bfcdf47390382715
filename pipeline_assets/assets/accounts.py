"""Doing one thing for every ad account of a brand: one bad account does not stop the rest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from pipeline_assets.assets.attempt import Attempt
from pipeline_assets.errors import (
    DatabaseUnavailableError,
    PipelineError,
    StorageFullError,
    TransientError,
)

if TYPE_CHECKING:
    from pipeline_assets.sources.meta import GraphClient

Result = TypeVar("Result")


@dataclass(frozen=True)
class AccountResults(Generic[Result]):
    """What the accounts gave, in the brand's order; `incomplete` tells of those that failed."""

    by_account: dict[str, Result]
    incomplete: PipelineError | None


def for_each_account(
    attempt: Attempt, work: Callable[[GraphClient, str], Result]
) -> AccountResults[Result]:
    """Do `work(client, account_id)` for each of the brand's ad accounts.

    Raises:
        PipelineError: every account failed, or our own storage did.
    """
    client = attempt.installation.graph_client(attempt.brand)
    meta = attempt.brand.sources.meta
    assert meta is not None  # graph_client has refused a brand without it
    done: dict[str, Result] = {}
    errors: list[PipelineError] = []
    for account_id in meta.ad_accounts:
        try:
            done[account_id] = work(client, account_id)
        except (DatabaseUnavailableError, StorageFullError):
            raise
        except PipelineError as error:
            attempt.log(f"Ad account {account_id} failed: {error}")
            errors.append(error)
    if errors and not done:
        raise combine_errors(errors)
    return AccountResults(done, combine_errors(errors) if errors else None)


def combine_errors(errors: Sequence[PipelineError]) -> PipelineError:
    """One error that stands for several: worth a retry if any of them is.

    It keeps the class of the first that decides, says all distinct messages and, for transient
    ones, waits for the longest time that any source asked for.
    """
    transient = [error for error in errors if isinstance(error, TransientError)]
    chosen = transient[0] if transient else errors[0]
    message = " ".join(dict.fromkeys(str(error) for error in errors))
    advice = " ".join(dict.fromkeys(error.advice for error in errors if error.advice))
    if isinstance(chosen, TransientError):
        waits = [e.retry_after_seconds for e in transient if e.retry_after_seconds is not None]
        return type(chosen)(message, advice=advice, retry_after_seconds=max(waits, default=None))
    return type(chosen)(message, advice=advice)

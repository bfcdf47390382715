"""What the datasets of actors share: a run that outlives a killed attempt, rows that may differ."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from pipeline_assets.assets.attempt import Attempt, Check
from pipeline_assets.assets.bad_items import MAX_BAD_RATIO
from pipeline_assets.clock import utcnow
from pipeline_assets.errors import InvalidConfigError

if TYPE_CHECKING:
    from pipeline_assets.brands.models import ApifyActor
    from pipeline_assets.sources.apify import ActorItems

READABLE_CHECK = "rows_are_readable"

_RUNTIME_SHARE = 0.75  # of the job's runtime: the rest is for pictures and storing
_HEADROOM = 1.25  # actors repeat rows, and add what nobody asked for
_RUN = "apify_run"

Item = TypeVar("Item")


def store_rows(attempt: Attempt, rows: Iterable[Mapping[str, Any]]) -> int:
    """Make these the brand's only rows, and let the next attempt start a run of its own.

    Returns the number of rows stored. Raises: PipelineError, as `Attempt.replace_rows` does.
    """
    attempt.heartbeat.progress(0, stage="storing")
    records = attempt.replace_rows(rows)
    _StoredRun(attempt).forget()
    return records


class _StoredRun:
    """The brand's run for a dataset, in the database: a `RunMemory`."""

    def __init__(self, attempt: Attempt) -> None:
        self._engine = attempt.installation.engine
        self._place = {
            "brand_id": attempt.brand.id,
            "dataset": attempt.dataset.key,
            "name": _RUN,
        }

    def read(self) -> Mapping[str, Any] | None:
        from pipeline_assets.storage.fetch_positions import read_position  # noqa: PLC0415

        return read_position(self._engine, **self._place)

    def store(self, position: Mapping[str, Any]) -> None:
        from pipeline_assets.storage.fetch_positions import store_position  # noqa: PLC0415

        store_position(self._engine, **self._place, position=position, now=utcnow())

    def forget(self) -> None:
        from pipeline_assets.storage.fetch_positions import forget_position  # noqa: PLC0415

        forget_position(self._engine, **self._place)


@dataclass
class RowReader(Generic[Item]):
    """Types rows as a source sends them, and counts those that cannot be typed.

    `read` raises UnreadableRowError for such a row.
    """

    source: str
    read: Callable[[Any], Item]
    total: int = 0
    rejected: int = 0
    lacking: Counter[str] = field(default_factory=Counter)

    def read_all(self, rows: Iterable[Any]) -> list[tuple[Item, Any]]:
        """The items, each with its row, both without characters that cannot be stored."""
        from pipeline_assets.sources.actor_rows import (  # noqa: PLC0415
            UnreadableRowError,
            without_nul,
        )

        found = []
        for row in map(without_nul, rows):
            self.total += 1
            try:
                found.append((self.read(row), row))
            except UnreadableRowError as error:
                self.rejected += 1
                self.lacking.update(error.fields)
        return found

    def refuse_changed_schema(self) -> None:
        """Fail the dataset when the rows are no longer what they were.

        Raises:
            InvalidConfigError: more than a fifth of the rows cannot be read.
        """
        if self.rejected > MAX_BAD_RATIO * self.total:
            raise InvalidConfigError(
                f"The rows of {self.source} are not what they should be: {self._description()} "
                "What was stored before is kept.",
                advice="Its rows have changed, or it gathers something else: look at them on its "
                "own pages, and name another one or correct its `input`.",
            )

    def check(self) -> Check:
        """Whether all rows but one in twenty can be read."""
        return Check(
            self.rejected * 20 <= self.total,
            self._description(),
            {"rows": self.total, "rejected": self.rejected, "lacking": dict(self.lacking)},
        )

    def metadata(self) -> dict[str, Any]:
        """The counts for Dagster's page."""
        return {
            "rows_sent": self.total,
            "rows_rejected": self.rejected,
            "fields_lacking": dict(self.lacking),
        }

    def _description(self) -> str:
        lacking = ", ".join(f"{name} ({count})" for name, count in self.lacking.most_common(5))
        because = f"; missing or wrong: {lacking}" if lacking else ""
        return f"{self.rejected} of {self.total} rows cannot be read{because}."


@dataclass(frozen=True, kw_only=True)
class ActorRows(Generic[Item]):
    """What a run gave: the items, each with its row, and all that it was asked for."""

    items: list[tuple[Item, Any]]
    reader: RowReader[Item | None]
    run_input: Mapping[str, Any]
    run: ActorItems

    def metadata(self) -> dict[str, Any]:
        """The run and the counts of its rows for Dagster's page."""
        return {
            **self.reader.metadata(),
            "actor_run": self.run.run_id,
            "actor_run_was_resumed": self.run.is_resumed,
        }


def gather_rows(
    attempt: Attempt,
    actor: ApifyActor,
    run_input: Mapping[str, Any],
    *,
    wanted: int,
    read: Callable[[Any], Item | None],
    nothing: str,
) -> ActorRows[Item]:
    """The rows of a run of the actor; one that an earlier attempt paid for is gone on with.

    There may be a quarter more of them than are wanted, to make up for repeated and foreign ones.
    `read` is `RowReader`'s, or gives None for a row that nobody asked for; `nothing` says what a
    run gave that gave nothing else. The run is forgotten by `store_rows`.

    Raises:
        InvalidConfigError: the rows are of no use, and the next attempt starts another run.
        PipelineError: as `ApifyClient.gather` does.
    """
    asked = {**run_input, **actor.input}
    run = _gather_items(attempt, actor, asked, max_items=math.ceil(_HEADROOM * wanted))
    reader = RowReader(f"the actor {actor.actor}", read)
    items = [(item, row) for item, row in reader.read_all(run.items) if item is not None]
    try:
        reader.refuse_changed_schema()
        _refuse_nothing(items, f"Run {run.run_id} of the actor {actor.actor} gave {nothing}.")
    except InvalidConfigError:
        _StoredRun(attempt).forget()
        raise
    return ActorRows(items=items, reader=reader, run_input=asked, run=run)


def _refuse_nothing(items: Sequence[Any], problem: str) -> None:
    """A run that gives nothing has not done its work: scrapers that are kept out end so too."""
    if not items:
        raise InvalidConfigError(
            f"{problem} What was stored before is kept.",
            advice="Look at the run on Apify: the actor may have been kept out, or what it was "
            "asked for or its `input` may be wrong. The next sync starts another run.",
        )


def _gather_items(
    attempt: Attempt, actor: ApifyActor, run_input: Mapping[str, Any], *, max_items: int
) -> ActorItems:
    from pipeline_assets.sources.apify import Order  # noqa: PLC0415

    attempt.heartbeat.progress(0, stage=f"waiting for {actor.actor}")
    order = Order(
        actor=actor.actor,
        run_input=run_input,
        max_items=max_items,
        deadline=attempt.started_at + _RUNTIME_SHARE * attempt.max_runtime,
        memory=_StoredRun(attempt),
        on_progress=lambda done: attempt.heartbeat.progress(done, stage="rows read"),
    )
    with attempt.installation.apify_client(actor) as client:
        found = client.gather(order)
    how = "an earlier attempt's run" if found.is_resumed else "run"
    attempt.log(f"{len(found.items)} rows of {how} {found.run_id} of {actor.actor}")
    return found

"""Where the clients of sources keep who must not be called until when.

Belongs here: what they ask of such a store. Does not: what a source says of its limits (its client)
and the table (storage).
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol


class BudgetStore(Protocol):
    """Where all threads and processes agree on who is blocked; what a key names, a source says."""

    def read_blocked_until(self, keys: Sequence[str]) -> dict[str, datetime]:
        """The end of the block of each key that has one; ended blocks may be among them."""

    def record(
        self,
        key: str,
        *,
        usage_pct: float,
        detail: Mapping[str, object],
        blocked_until: datetime | None,
        reason: str,
    ) -> None:
        """Keep the reading. A block is only ever extended: None or an earlier end leaves it.

        An answer that was under way when another thread met the limit must not lift the block.
        """

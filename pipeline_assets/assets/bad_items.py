"""The rule for items that cannot be read: one is noted on its row, too many fail the dataset."""

from dataclasses import dataclass, field
from typing import Any

from pipeline_assets.errors import TooManyBadItemsError

MAX_BAD_RATIO = 0.2
"""More than a fifth bad is no longer some bad items but a bad dataset."""

_SHOWN = 3


@dataclass
class BadItems:
    """Counts the bad ones among `total` items of a kind (a plural noun)."""

    kind: str
    total: int
    count: int = 0
    examples: list[str] = field(default_factory=list)

    def add(self, problem: str) -> None:
        """Note one bad item: which, and why."""
        self.count += 1
        if len(self.examples) < _SHOWN:
            self.examples.append(problem)

    def refuse_too_many(self) -> None:
        """Fail the dataset when it is more than its rows can carry.

        Raises:
            TooManyBadItemsError: more than a fifth of the items are bad.
        """
        if self.count > MAX_BAD_RATIO * self.total:
            raise TooManyBadItemsError(
                f"{self.count} of {self.total} {self.kind} could not be read, for example "
                f"{'; '.join(self.examples)}. What was stored before is kept.",
                advice="Look at the examples: when they have one cause, mend that; the next try "
                "reads all of them again.",
            )

    def metadata(self) -> dict[str, Any]:
        """The count and some examples for Dagster's page."""
        return {"bad_items": self.count, "bad_item_examples": list(self.examples)}

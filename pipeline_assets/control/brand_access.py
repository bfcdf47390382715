"""Asks Meta about many brands' tokens and accounts at once; one that hangs holds up nobody."""

import itertools
import threading
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from time import monotonic

from pipeline_assets.brands.models import Brand
from pipeline_assets.errors import SourceUnavailableError
from pipeline_assets.sources.meta import Finding, GraphClient, check_access

_AT_A_TIME = 8
_SECONDS = 45.0
"""For one brand: a second or two when all is well, more for a brand with many accounts."""

Access = Sequence[Finding] | Exception
"""What was found, or what kept us from finding out."""


def examine_brands(
    brands: Sequence[Brand],
    client_of: Callable[[Brand], GraphClient],
    *,
    timeout_seconds: float = _SECONDS,
) -> dict[str, Access]:
    """What `check_access` finds for each brand, by its id; raises nothing.

    A brand without an answer in time gets a SourceUnavailableError. The threads end with the
    process: nothing waits for a call that hangs.
    """
    found: dict[str, Access] = {}
    answers: SimpleQueue[tuple[str, Access]] = SimpleQueue()
    waiting = iter(brands)
    deadlines: dict[str, float] = {}

    def start(count: int) -> None:
        for brand in itertools.islice(waiting, count):
            deadlines[brand.id] = monotonic() + timeout_seconds
            arguments = (brand, client_of, answers)
            threading.Thread(target=_examine, args=arguments, daemon=True).start()

    start(_AT_A_TIME)
    while deadlines:
        first = min(deadlines, key=lambda brand_id: deadlines[brand_id])
        try:
            brand_id, access = answers.get(timeout=max(0.0, deadlines[first] - monotonic()))
        except Empty:
            brand_id, access = first, _too_slow(timeout_seconds)
        if deadlines.pop(brand_id, None) is not None:  # else it answers after its time was up
            found[brand_id] = access
            start(1)
    return found


def _examine(
    brand: Brand,
    client_of: Callable[[Brand], GraphClient],
    answers: SimpleQueue[tuple[str, Access]],
) -> None:
    try:
        accounts = brand.sources.meta.ad_accounts if brand.sources.meta else ()
        answers.put((brand.id, check_access(client_of(brand), accounts)))
    except Exception as error:  # noqa: BLE001 - the edge of one brand: the caller judges it
        answers.put((brand.id, error))


def _too_slow(timeout_seconds: float) -> SourceUnavailableError:
    return SourceUnavailableError(
        f"Meta has not answered within {timeout_seconds:g} s.",
        advice="Try again later, or with `pipeline-assets brands test`.",
    )

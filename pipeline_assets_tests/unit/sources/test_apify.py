"""The Apify client against the simulator: items, resumed runs, and what each trouble means."""

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from pipeline_assets.errors import (
    AccessError,
    CredentialError,
    InvalidConfigError,
    PipelineError,
    RateLimitedError,
    SourceRejectedError,
    SourceUnavailableError,
)
from pipeline_assets.simulator.faults import Endpoint, Fault, FaultKind
from pipeline_assets.simulator.server import SimulatorServer
from pipeline_assets.simulator.world import World
from pipeline_assets.sources.apify import ApifyClient, Order, RunFailedError, RunGoneError

if TYPE_CHECKING:
    from conftest import Clock

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
TOKEN = "apify_api_TokenOfTheUnitTests00000000001"
ACTOR = "junglee/amazon-reviews-scraper"
INPUT = {"asins": ["B0ABCDEFGH"], "maxReviews": 50}


class Memory:
    def __init__(self) -> None:
        self.position: Mapping[str, Any] | None = None

    def read(self) -> Mapping[str, Any] | None:
        return self.position

    def store(self, position: Mapping[str, Any]) -> None:
        self.position = position

    def forget(self) -> None:
        self.position = None


@pytest.fixture(scope="module")
def started() -> Iterator[SimulatorServer]:
    with SimulatorServer(World((), tokens=()), now=lambda: NOON) as server:
        yield server


@pytest.fixture
def simulator(started: SimulatorServer) -> SimulatorServer:
    started.reset()
    started.apify.run_seconds = 0
    return started


@pytest.fixture
def memory() -> Memory:
    return Memory()


@pytest.fixture
def client(simulator: SimulatorServer, clock: "Clock") -> Iterator[ApifyClient]:
    with ApifyClient(
        token=TOKEN, base_url=simulator.url, now=clock.now, sleep=clock.sleep, max_wait_seconds=30
    ) as client:
        yield client


@pytest.fixture
def order(memory: Memory, clock: "Clock") -> Callable[..., Order]:
    deadline = clock.instant + timedelta(seconds=10)

    def make(**changes: Any) -> Order:
        usual: dict[str, Any] = {
            "actor": ACTOR,
            "run_input": INPUT,
            "max_items": 10_000,
            "deadline": deadline,
            "memory": memory,
            "on_progress": lambda _: None,
        }
        return Order(**{**usual, **changes})

    return make


def starts(simulator: SimulatorServer) -> int:
    return sum(1 for call in simulator.calls if call.endpoint is Endpoint.APIFY_START)


def test_every_item_is_read_page_by_page(
    client: ApifyClient, simulator: SimulatorServer, order: Callable[..., Order]
) -> None:
    asins = [f"B0ABCDEF{n:02d}" for n in range(12)]
    progress: list[int] = []
    found = client.gather(
        order(run_input={"asins": asins, "maxReviews": 400}, on_progress=progress.append)
    )
    pages = [call.params for call in simulator.calls if call.endpoint is Endpoint.APIFY_ITEMS]
    assert [page["offset"] for page in pages] == ["0", "1000", "2000"]
    assert progress == [1000, 2000, len(found.items)]
    assert len({row["reviewUrl"] for row in found.items}) > 1500
    assert not found.is_resumed


@pytest.mark.parametrize("max_items", [1, 20, 21])
def test_no_more_items_are_read_than_were_ordered(
    client: ApifyClient, simulator: SimulatorServer, order: Callable[..., Order], max_items: int
) -> None:
    assert len(client.gather(order(max_items=max_items)).items) == max_items
    assert simulator.calls[0].params == {"maxItems": str(max_items)}


def test_the_token_travels_in_a_header_only(
    client: ApifyClient, simulator: SimulatorServer, order: Callable[..., Order]
) -> None:
    client.gather(order())
    assert all(call.token_hash for call in simulator.calls)
    assert TOKEN not in repr(simulator.calls)


def test_a_run_is_remembered_before_it_is_waited_for_and_until_its_items_are_stored(
    client: ApifyClient, simulator: SimulatorServer, order: Callable[..., Order], memory: Memory
) -> None:
    simulator.faults.add(Fault(kind=FaultKind.APIFY_ERROR, endpoint=Endpoint.APIFY_RUN, count=4))
    with pytest.raises(SourceUnavailableError):
        client.gather(order())
    assert memory.position is not None
    run_id = memory.position["run_id"]
    found = client.gather(order())
    assert (found.run_id, found.is_resumed, starts(simulator)) == (run_id, True, 1)
    assert memory.position["run_id"] == run_id


@pytest.mark.parametrize(
    "change", [{"run_input": {**INPUT, "maxReviews": 51}}, {"actor": "axesso/reviews-scraper"}]
)
def test_another_input_or_actor_is_another_run(
    client: ApifyClient,
    simulator: SimulatorServer,
    order: Callable[..., Order],
    change: dict[str, Any],
) -> None:
    first = client.gather(order())
    second = client.gather(order(**change))
    assert second.run_id != first.run_id
    assert (second.is_resumed, starts(simulator)) == (False, 2)


@pytest.mark.parametrize(("seconds", "is_resumed"), [(-1, True), (0, False)])
def test_a_run_is_gone_on_with_for_a_day(
    client: ApifyClient,
    clock: "Clock",
    order: Callable[..., Order],
    seconds: int,
    is_resumed: bool,
) -> None:
    client.gather(order())
    clock.instant += timedelta(hours=24, seconds=seconds)
    later = clock.instant + timedelta(seconds=10)
    assert client.gather(order(deadline=later)).is_resumed is is_resumed


@pytest.mark.parametrize("kind", [FaultKind.APIFY_RUN_GONE, FaultKind.APIFY_DATASET_GONE])
def test_a_run_that_apify_has_forgotten_is_replaced_at_once(
    client: ApifyClient, simulator: SimulatorServer, order: Callable[..., Order], kind: FaultKind
) -> None:
    first = client.gather(order())
    simulator.faults.add(Fault(kind=kind, count=1))
    second = client.gather(order())
    assert second.run_id != first.run_id
    assert second.items == first.items
    assert starts(simulator) == 2


def test_a_run_that_goes_on_past_the_deadline_is_left_to_the_next_attempt(
    client: ApifyClient,
    simulator: SimulatorServer,
    order: Callable[..., Order],
    clock: "Clock",
    memory: Memory,
) -> None:
    simulator.faults.add(Fault(kind=FaultKind.APIFY_RUN_STUCK))
    with pytest.raises(SourceUnavailableError, match="still RUNNING") as caught:
        client.gather(order())
    assert caught.value.retry_after_seconds == 60
    assert sum(clock.slept) == 10
    assert memory.position is not None


def test_a_poll_is_held_back_by_apify_and_no_longer_than_the_deadline(
    client: ApifyClient, simulator: SimulatorServer, order: Callable[..., Order], clock: "Clock"
) -> None:
    client.gather(order(deadline=clock.instant + timedelta(seconds=300)))
    client.gather(order(run_input={**INPUT, "x": 1}, deadline=clock.instant + timedelta(seconds=7)))
    polls = [call.params for call in simulator.calls if call.endpoint is Endpoint.APIFY_RUN]
    assert polls == [{"waitForFinish": "60"}, {"waitForFinish": "7"}]


@pytest.mark.parametrize(
    ("kind", "error_class", "said", "advised"),
    [
        (FaultKind.APIFY_UNAUTHORIZED, CredentialError, "user-or-token-not-found", "settings"),
        (FaultKind.APIFY_PLAN_LIMIT, AccessError, "remaining usage", "billing"),
        (FaultKind.APIFY_ACTOR_MISSING, InvalidConfigError, ACTOR, "user/name"),
        (FaultKind.APIFY_BAD_INPUT, InvalidConfigError, "startUrls", "actor.input"),
        (FaultKind.APIFY_ERROR, SourceUnavailableError, "internal-error", "PIPELINE_APIFY_URL"),
        (FaultKind.APIFY_RUN_FAILED, RunFailedError, "TypeError", "log on Apify"),
        (FaultKind.APIFY_RUN_TIMED_OUT, SourceRejectedError, "TIMED-OUT", "for less"),
        (FaultKind.APIFY_RUN_ABORTED, SourceRejectedError, "ABORTED", "Somebody stopped it"),
        (FaultKind.APIFY_DATASET_GONE, RunGoneError, "no longer has", ""),
        (FaultKind.APIFY_RUN_GONE, RunGoneError, "no longer has", ""),
    ],
)
def test_each_trouble_says_what_to_do_and_leaves_no_run_behind(
    client: ApifyClient,
    simulator: SimulatorServer,
    order: Callable[..., Order],
    memory: Memory,
    kind: FaultKind,
    error_class: type[PipelineError],
    said: str,
    advised: str,
) -> None:
    simulator.faults.add(Fault(kind=kind))
    with pytest.raises(error_class) as caught:
        client.gather(order())
    assert type(caught.value) is error_class
    assert said in str(caught.value)
    assert advised in caught.value.advice
    assert memory.position is None
    if kind in {FaultKind.APIFY_RUN_FAILED, FaultKind.APIFY_RUN_TIMED_OUT}:
        assert "run0000000000001" in str(caught.value)


def test_a_start_whose_fate_is_unknown_is_not_repeated(
    client: ApifyClient, simulator: SimulatorServer, order: Callable[..., Order]
) -> None:
    simulator.faults.add(Fault(kind=FaultKind.BROKEN_BODY, endpoint=Endpoint.APIFY_START, count=1))
    with pytest.raises(SourceUnavailableError):
        client.gather(order())
    assert starts(simulator) == 1


@pytest.mark.parametrize("endpoint", [Endpoint.APIFY_RUN, Endpoint.APIFY_ITEMS])
@pytest.mark.parametrize(
    "kind",
    [
        FaultKind.APIFY_ERROR,
        FaultKind.UNAVAILABLE,
        FaultKind.HTML_OK,
        FaultKind.TRUNCATED_JSON,
        FaultKind.BROKEN_BODY,
        FaultKind.DROPPED_CONNECTION,
    ],
)
def test_a_blip_while_reading_is_sat_out(
    client: ApifyClient,
    simulator: SimulatorServer,
    order: Callable[..., Order],
    clock: "Clock",
    kind: FaultKind,
    endpoint: Endpoint,
) -> None:
    simulator.faults.add(Fault(kind=kind, endpoint=endpoint, count=3))
    assert client.gather(order()).items
    assert clock.slept == [0.5, 1.0, 2.0]


@pytest.mark.parametrize("endpoint", [Endpoint.APIFY_START, Endpoint.APIFY_ITEMS])
def test_a_limit_is_waited_for_when_it_is_short(
    client: ApifyClient,
    simulator: SimulatorServer,
    order: Callable[..., Order],
    clock: "Clock",
    endpoint: Endpoint,
) -> None:
    fault = Fault(kind=FaultKind.APIFY_RATE_LIMIT, endpoint=endpoint, seconds=30, count=1)
    simulator.faults.add(fault)
    assert client.gather(order()).items
    assert clock.slept == [30]


def test_a_limit_that_lasts_longer_is_told_with_its_end(
    client: ApifyClient, simulator: SimulatorServer, order: Callable[..., Order], clock: "Clock"
) -> None:
    simulator.faults.add(Fault(kind=FaultKind.APIFY_RATE_LIMIT, seconds=31))
    with pytest.raises(RateLimitedError) as caught:
        client.gather(order())
    assert (caught.value.retry_after_seconds, clock.slept) == (31, [])


def test_an_address_where_nobody_answers_is_transient(
    order: Callable[..., Order], clock: "Clock"
) -> None:
    with (
        ApifyClient(
            token=TOKEN, base_url="http://127.0.0.1:1", now=clock.now, sleep=clock.sleep
        ) as client,
        pytest.raises(SourceUnavailableError, match=r"127\.0\.0\.1:1") as caught,
    ):
        client.gather(order())
    assert TOKEN not in str(caught.value)

"""Several slow readers, one consumer, few things in flight.

Belongs here: threads that read and a hand-over that holds them back. Does not: what is read.
"""

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Generic, TypeVar

from pipeline_assets.sources.meta.client import StoppedError

Item = TypeVar("Item")


class _HandOver(Generic[Item]):
    """A short queue that both sides can close; a waiting side wakes at once."""

    def __init__(self, *, capacity: int, producers: int, stop: threading.Event) -> None:
        self._capacity = capacity
        self._producers = producers
        self._stop = stop
        self._items: deque[Item] = deque()
        self._error: BaseException | None = None
        self._changed = threading.Condition()

    def put(self, item: Item) -> None:
        """Hand over, waiting for room.

        Raises:
            StoppedError: the consumer has gone.
        """
        with self._changed:
            self._changed.wait_for(lambda: len(self._items) < self._capacity or self._stop.is_set())
            if self._stop.is_set():
                raise StoppedError
            self._items.append(item)
            self._changed.notify_all()

    def finish(self, error: BaseException | None) -> None:
        """One producer has ended; the first error ends the others too."""
        with self._changed:
            self._producers -= 1
            if error is not None and self._error is None:
                self._error = error
                self._stop.set()
            self._changed.notify_all()

    def close(self) -> None:
        """The consumer has gone."""
        with self._changed:
            self._stop.set()
            self._items.clear()
            self._changed.notify_all()

    def drain(self) -> Iterator[Item]:
        """What is handed over until all producers have ended or one has failed.

        Raises:
            BaseException: the error of the producer that failed.
        """
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._items or self._error or not self._producers)
                if self._error is not None:
                    raise self._error
                if not self._items:
                    return
                item = self._items.popleft()
                self._changed.notify_all()
            yield item


def read_parallel(
    tasks: Iterable[Callable[[], Iterator[Item]]],
    *,
    workers: int,
    capacity: int,
    stop: threading.Event,
) -> Generator[Item, None, None]:
    """The items of all tasks, a task per worker at a time; the order across tasks is arbitrary.

    At most `capacity` items wait and one per worker is being made. When the consumer stops or a
    task fails, `stop` is set, nothing more is handed over, and each thread ends after the call it
    is in; the threads are daemons, so they never hold up the end of the process.
    """
    waiting = deque(tasks)
    count = min(workers, len(waiting))
    hand_over: _HandOver[Item] = _HandOver(capacity=capacity, producers=count, stop=stop)

    def work() -> None:
        error: BaseException | None = None
        try:
            while waiting and not stop.is_set():
                for item in _next_task(waiting)():
                    hand_over.put(item)
        except StoppedError:
            pass
        except BaseException as caught:  # noqa: BLE001 - handed to the consumer, who raises it
            error = caught
        hand_over.finish(error)

    threads = [
        threading.Thread(target=work, name=f"meta-reader-{number}", daemon=True)
        for number in range(count)
    ]
    for thread in threads:
        thread.start()
    try:
        yield from hand_over.drain()
    finally:
        hand_over.close()


def _next_task(waiting: deque[Callable[[], Iterator[Item]]]) -> Callable[[], Iterator[Item]]:
    """The next task; none for a thread that another one got ahead of."""
    try:
        return waiting.popleft()
    except IndexError:
        return lambda: iter(())

"""How do items that arrive one by one run in micro-batches, and come back in their order?"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Generic, TypeVar

from .errors import BatchProcessingError, DeviceError

Item = TypeVar("Item")
Result = TypeVar("Result")


class _Batch(Generic[Item, Result]):
    """Items that run together; `results` or `error` is set when they have run."""

    def __init__(self, first: int, items: list[Item], error: BaseException | None = None) -> None:
        self.first = first
        self.items = items
        self.results: Sequence[Result] | None = None
        self.error = error


class MicroBatches(Generic[Item, Result]):
    """Worker threads between a producer, who puts items in, and a consumer, who takes results.

    run(first, items) gives a result for each item; `first` is the place of the first one among all
    items. At most `bound()` items are under way. A batch runs when `batch_size()` items wait, or
    the bound if that is less; when the oldest item has waited for `max_wait` seconds by `clock`
    (None: however long); or when the producer has ended.

    An item is under way from the moment that the producer gets room for it until the consumer has
    been handed the last result of its batch. `batch_size` and `bound` are asked before each batch.

    One thread puts, one thread takes. `notify` is called from any thread when there may be room or
    results, or a thread ends, for those who must not wait.
    """

    def __init__(
        self,
        run: Callable[[int, list[Item]], Sequence[Result]],
        *,
        batch_size: Callable[[], int],
        bound: Callable[[], int],
        max_wait: float | None = None,
        workers: int = 1,
        clock: Callable[[], float] = time.monotonic,
        notify: Callable[[], None] = lambda: None,
    ) -> None:
        self._run = run
        self._batch_size = batch_size
        self._bound = bound
        self._max_wait = max_wait
        self._clock = clock
        self._notify = notify
        self._process = os.getpid()

        self._lock = threading.Lock()
        self._work_came = threading.Condition(self._lock)
        self._room_came = threading.Condition(self._lock)
        self._result_came = threading.Condition(self._lock)
        self._waiting: deque[tuple[float, Item]] = deque()  # when it came, what came
        self._batches: deque[_Batch[Item, Result]] = deque()  # begun, not taken; in order
        self._under_way = 0
        self._begun = 0
        self._size = batch_size()
        self._limit = bound()
        self._ended = False
        self._end_error: BaseException | None = None
        self._cancelled = False
        self._working = workers
        self._threads = [
            threading.Thread(target=self._work, name="tritium-batches", daemon=True)
            for _ in range(workers)
        ]

    def start(self, source: Iterator[Item] | None = None) -> None:
        """Start the workers, and a thread that puts what `source` yields, if there is one."""
        if source is not None:
            self._threads.append(
                threading.Thread(
                    target=self._feed, args=(source,), name="tritium-source", daemon=True
                )
            )
        for thread in self._threads:
            thread.start()

    # The producer ---------------------------------------------------------------------------------

    def has_room(self) -> bool:
        """Whether one more item may come."""
        return self._under_way < self._limit

    def put(self, item: Item) -> None:
        """Add an item; there must be room for it."""
        with self._lock:
            self._under_way += 1
            self._waiting.append((self._clock(), item))
            # Not for every item: waking a thread costs more than running a small sample.
            if self._is_complete() or (len(self._waiting) == 1 and self._max_wait is not None):
                self._work_came.notify()

    def end(self, error: BaseException | None = None) -> None:
        """No more items come. The consumer gets the error after the results of all items."""
        with self._lock:
            self._ended = True
            self._end_error = error
            self._work_came.notify_all()
            self._result_came.notify()
        self._notify()

    def _feed(self, source: Iterator[Item]) -> None:
        try:
            while self._wait_for_room():
                try:
                    item = next(source)
                except StopIteration:
                    break
                self.put(item)
        except BaseException as error:
            self.end(error)
        else:
            self.end()

    def _wait_for_room(self) -> bool:
        """False: nothing more is wanted."""
        if not self.has_room():
            with self._lock:
                while not self._cancelled and not self.has_room():
                    self._room_came.wait()
        return not self._cancelled

    # The workers ----------------------------------------------------------------------------------

    def _work(self) -> None:
        try:
            while (batch := self._next_batch()) is not None:
                try:
                    batch.results = self._run(batch.first, batch.items)
                except BaseException as error:
                    batch.error = error
                batch.items = []
                with self._lock:
                    self._result_came.notify()
                del batch  # its results are the consumer's now
                self._notify()
        except BaseException as error:  # of batch_size, bound or clock
            with self._lock:
                self._batches.append(_Batch(self._begun, [], error))
                self._result_came.notify()
        finally:
            with self._lock:
                self._working -= 1
            self._notify()

    def _next_batch(self) -> _Batch[Item, Result] | None:
        with self._lock:
            while not self._cancelled:
                if self._waiting:
                    self._resize()
                    seconds = self._seconds_to_wait()
                    if seconds is not None and seconds <= 0:
                        return self._begin()
                elif self._ended:
                    return None
                else:
                    seconds = None
                self._work_came.wait(seconds)
        return None

    def _begin(self) -> _Batch[Item, Result]:
        count = min(self._size, len(self._waiting))
        batch: _Batch[Item, Result] = _Batch(
            self._begun, [self._waiting.popleft()[1] for _ in range(count)]
        )
        self._begun += count
        self._batches.append(batch)
        if self._waiting:  # enough for another worker, perhaps
            self._work_came.notify()
        return batch

    def _resize(self) -> None:
        self._size, self._limit = self._batch_size(), self._bound()
        if self.has_room():
            self._room_came.notify()

    def _is_complete(self) -> bool:
        return self._ended or len(self._waiting) >= min(self._size, self._limit)

    def _seconds_to_wait(self) -> float | None:
        if self._is_complete():
            return 0
        if self._max_wait is None:
            return None
        waited = self._clock() - self._waiting[0][0]
        return min(self._max_wait - waited, threading.TIMEOUT_MAX)

    # The consumer ---------------------------------------------------------------------------------

    def take(self) -> Sequence[Result] | None:
        """The results of the next batch, waited for; None after the last one.

        Raises what `run` or the producer raised when its turn comes; BatchProcessingError after
        `close`, DeviceError in the child after fork().
        """
        self._check_process()
        with self._lock:
            while not self._can_take():
                self._result_came.wait()
            return self._take()

    def can_take(self) -> bool:
        """Whether `take` would not wait."""
        with self._lock:
            return self._can_take()

    def _can_take(self) -> bool:
        if self._cancelled:
            return True
        if self._batches:
            return self._batches[0].results is not None or self._batches[0].error is not None
        return self._ended and not self._waiting

    def _take(self) -> Sequence[Result] | None:
        if self._cancelled:
            raise BatchProcessingError("[batches] closed while more results were asked for")
        if not self._batches:
            if self._end_error is not None:
                raise self._end_error
            return None
        batch = self._batches.popleft()
        if batch.error is not None:
            raise batch.error
        return batch.results

    def hand_out(self, results: Sequence[Result]) -> Iterator[Result]:
        """Each of the results that `take` gave. Before the last one, there is room again."""
        last = len(results) - 1
        for place, result in enumerate(results):
            if place == last:
                with self._lock:
                    self._under_way -= len(results)
                    self._room_came.notify()
                self._notify()
            yield result

    def results(self, source: Iterator[Item]) -> Generator[Result, None, None]:
        """Everything at once: what `source` yields, run, in order. Closes at its end."""
        try:
            self.start(source)
            while (results := self.take()) is not None:
                yield from self.hand_out(results)
        finally:
            self.close()

    # The end --------------------------------------------------------------------------------------

    def cancel(self) -> None:
        """Begin no more batches. Threads end after what they are at."""
        with self._lock:
            self._cancelled = True
            self._waiting.clear()
            for condition in (self._work_came, self._room_came, self._result_came):
                condition.notify_all()
        self._notify()

    def has_stopped(self) -> bool:
        """Whether all workers have done their last batch, so that `close` waits for no batch."""
        return self._working == 0

    def close(self) -> None:
        """Cancel, and wait for the threads: for the batches that run, and for the item that the
        source is at. May be called from any thread, and again.
        """
        if os.getpid() != self._process:
            return  # threads and locks stayed with the parent
        self.cancel()
        for thread in self._threads:
            if thread.ident is not None and thread is not threading.current_thread():
                thread.join()

    def _check_process(self) -> None:
        if os.getpid() != self._process:
            raise DeviceError(
                f"[batches] begun in process {self._process}, cannot be used in its child "
                f"{os.getpid()} after fork()"
            )

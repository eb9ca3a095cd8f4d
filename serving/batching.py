"""The queue of one version: requests that wait are run together as soon as the model is free.

There is no timer. While a batch runs, the next one gathers. When the model is free, a batch is sent as soon as the
event loop has nothing more to read: what a loaded front has not read yet would only become the next, smaller batch. So
batches grow with the load, and nobody waits for others.
"""

import asyncio
import collections
import dataclasses
import functools
import time
from collections.abc import Callable, Sequence
from typing import Any

from noria.serving.grpc_status import Code, StatusError
from noria.serving.processes import ModelProcess
from noria.serving.tensors import Tensor, join, split

QUIET_ITERATIONS = 3  # iterations of the event loop without a further request: it has read what there was
MAX_ITERATIONS = 20  # that a batch gathers at most, however many requests come
MAX_RECENT = 16  # kinds of requests whose newest one is kept

Result = tuple[list[Tensor], int]  # the fetched tensors, and the µs that TensorFlow took


@dataclasses.dataclass(frozen=True)
class Limits:
    """Bounds of a queue.

    Args:
      merge: whether requests share a batch.
      max_batch_rows: rows of a batch; a single request may have more.
      max_waiting: requests that wait; the next one is refused, so that none waits without end.
      hang_seconds: a batch that takes longer counts as hanging, and its process is replaced.
    """

    merge: bool = True
    max_batch_rows: int = 1024
    max_waiting: int = 1024
    hang_seconds: float = 60.0


class Call:
    """One request in the queue."""

    __slots__ = ("attempts", "deadline", "feeds", "fetches", "future", "inputs", "key", "rows")

    def __init__(
        self,
        feeds: tuple[str, ...],
        fetches: tuple[str, ...],
        inputs: list[Tensor],
        mergeable: bool,
        deadline: float | None,
    ):
        self.feeds, self.fetches, self.inputs, self.deadline = feeds, fetches, inputs, deadline
        self.future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self.attempts = 0
        self.rows = rows = inputs[0].rows if inputs else 0
        # Calls with an equal key can share a batch; one that must run alone has a unique key.
        self.key: Any = object()
        if mergeable and rows and [each.rows for each in inputs] == [rows] * len(inputs):
            self.key = feeds, fetches, *[(each.dtype, each.shape[1:]) for each in inputs]


class Queue:
    """Requests of one version on their way to its process.

    Args:
      name: of the model, for messages.
      limits: the bounds.
      observe: called with the requests and rows of each batch.
      hung: called when a batch takes too long.

    Attributes:
      recent: the inputs of the newest request that was answered, by the names of what is fed and fetched.
    """

    def __init__(
        self,
        name: str,
        limits: Limits,
        observe: Callable[[int, int], None] = lambda calls, rows: None,
        hung: Callable[[], None] = lambda: None,
    ):
        self.name, self.limits = name, limits
        self._observe, self._hung = observe, hung
        self.recent: dict[tuple[tuple[str, ...], tuple[str, ...]], list[Tensor]] = {}
        self._waiting: collections.OrderedDict[Any, collections.deque[Call]] = collections.OrderedDict()
        self._count = 0
        self._running: list[Call] = []
        self._started = 0.0
        self._process: ModelProcess | None = None
        self._loop = asyncio.get_running_loop()
        self._scheduled = False
        self._watch: asyncio.TimerHandle | None = None
        self._empty: asyncio.Future[None] | None = None

    def __len__(self) -> int:
        """Requests that wait or run."""
        return self._count + len(self._running)

    async def run(
        self,
        feeds: Sequence[str],
        fetches: Sequence[str],
        inputs: list[Tensor],
        mergeable: bool,
        deadline: float | None = None,
    ) -> Result:
        """Computes tensors, with other requests if that is possible.

        Args:
          feeds, fetches: names of tensors in the graph.
          inputs: one for each of `feeds`.
          mergeable: whether rows of other requests may share the batch.
          deadline: on the clock of `time.monotonic`.

        Raises:
          StatusError: TensorFlow's error, the deadline has passed, the queue is full, or the process ends twice.
        """
        if self._count >= self.limits.max_waiting:
            raise StatusError(
                Code.RESOURCE_EXHAUSTED,
                f"the queue of model {self.name} is full: {self._count} requests wait",
            )
        call = Call(tuple(feeds), tuple(fetches), inputs, mergeable and self.limits.merge, deadline)
        self._put(call)
        if self._watch is None:
            self._watch = self._loop.call_later(0.05, self._look)
        return await call.future

    def connect(self, process: ModelProcess) -> None:
        """Sends batches to this process from now on."""
        self._process = process
        self._schedule()

    def disconnect(self) -> None:
        """The process is gone: what it was computing is computed again, once, each request alone."""
        self._process = None
        running, self._running = self._running, []
        for call in running:
            if call.future.done():
                continue
            if call.attempts >= 2:
                self._fail(
                    call, StatusError(Code.UNAVAILABLE, f"the process of model {self.name} ended twice")
                )
            else:
                call.key = object()
                self._put(call)

    def fail(self, error: StatusError) -> None:
        """Refuses everything that waits."""
        for calls in self._waiting.values():
            for call in calls:
                self._fail(call, error)
        for call in self._running:
            self._fail(call, error)
        self._waiting.clear()
        self._count, self._running = 0, []
        self._settle()

    async def drain(self, seconds: float) -> None:
        """Returns when nothing waits or runs any more, or when the time is over."""
        if len(self):
            self._empty = self._loop.create_future()
            await asyncio.wait([self._empty], timeout=seconds)

    def _put(self, call: Call) -> None:
        self._waiting.setdefault(call.key, collections.deque()).append(call)
        self._count += 1
        self._schedule()

    def _schedule(self) -> None:
        if self._waiting and not self._scheduled and not self._running and self._process is not None:
            self._scheduled = True
            self._loop.call_soon(self._gather, 0, 0, 0)

    def _gather(self, count: int, quiet: int, iterations: int) -> None:
        """One iteration of the event loop: `count` requests waited before it, after `quiet` iterations without more."""
        quiet = quiet + 1 if self._count <= count else 0
        if quiet < QUIET_ITERATIONS and iterations < MAX_ITERATIONS:
            self._loop.call_soon(self._gather, self._count, quiet, iterations + 1)
        else:
            self._pump()

    def _pump(self) -> None:
        self._scheduled = False
        process = self._process
        while not self._running and self._waiting and process is not None:
            batch = self._take()
            if not batch:
                continue
            self._running, self._started = batch, time.monotonic()
            first = batch[0]
            inputs = [join([call.inputs[place] for call in batch]) for place in range(len(first.inputs))]
            self._observe(len(batch), sum(call.rows for call in batch))
            process.run(first.feeds, first.fetches, inputs, functools.partial(self._done, batch))
        self._settle()

    def _take(self) -> list[Call]:
        """The next batch: of the key that has waited longest. Requests that nobody waits for any more are dropped."""
        key, calls = next(iter(self._waiting.items()))
        batch: list[Call] = []
        rows, now = 0, time.monotonic()
        while calls:
            call = calls[0]
            if batch and rows + call.rows > self.limits.max_batch_rows:
                break
            calls.popleft()
            self._count -= 1
            if call.future.done():
                continue
            if call.deadline is not None and call.deadline <= now:
                self._fail(call, _too_late())
                continue
            call.attempts += 1
            batch.append(call)
            rows += call.rows
        if calls:
            self._waiting.move_to_end(key)
        else:
            del self._waiting[key]
        return batch

    def _done(self, batch: list[Call], header: list[Any], tensors: list[Tensor]) -> None:
        if batch is not self._running:
            return
        self._running = []
        if header[1]:
            self._failed(batch, StatusError(Code(header[1]), header[2]))
        elif len(batch) == 1:
            self._answer(batch[0], tensors, header[2])
        else:
            sizes = [call.rows for call in batch]
            total = sum(sizes)
            if all(each.shape and each.shape[0] == total for each in tensors):
                parts = [split(each, sizes) for each in tensors]
                for place, call in enumerate(batch):
                    self._answer(call, [each[place] for each in parts], header[2])
            else:  # this signature does not keep rows apart
                self._alone(batch)
        kind = batch[0].feeds, batch[0].fetches
        if not header[1] and (kind in self.recent or len(self.recent) < MAX_RECENT):
            self.recent[kind] = batch[0].inputs
        self._schedule()
        self._settle()

    def _failed(self, batch: list[Call], error: StatusError) -> None:
        if len(batch) == 1:
            self._fail(batch[0], error)
        else:  # one bad request must not fail the others
            self._alone(batch)

    def _alone(self, batch: list[Call]) -> None:
        for call in batch:
            call.key, call.attempts = object(), 0
            self._put(call)

    def _look(self) -> None:
        """Answers those whose deadline has passed, and notices a process that hangs."""
        self._watch = None
        now = time.monotonic()
        for calls in (*self._waiting.values(), self._running):
            for call in calls:
                if call.deadline is not None and call.deadline <= now:
                    self._fail(call, _too_late())
        if self._running and now - self._started > self.limits.hang_seconds:
            running = self._running
            for call in running:
                self._fail(call, StatusError(Code.DEADLINE_EXCEEDED, "the model did not answer in time"))
            self._hung()
        if len(self):
            self._watch = self._loop.call_later(0.05, self._look)

    def _answer(self, call: Call, tensors: list[Tensor], took: int) -> None:
        if not call.future.done():
            call.future.set_result((tensors, took))

    def _fail(self, call: Call, error: StatusError) -> None:
        if not call.future.done():
            call.future.set_exception(error)

    def _settle(self) -> None:
        if self._empty is not None and not len(self) and not self._empty.done():
            self._empty.set_result(None)


def _too_late() -> StatusError:
    return StatusError(Code.DEADLINE_EXCEEDED, "Deadline Exceeded")

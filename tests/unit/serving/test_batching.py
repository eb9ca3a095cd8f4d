"""The queue of a version: what is computed together, what is refused, and what happens when a process ends."""

import asyncio
import time

import pytest

from noria.serving.batching import MAX_ITERATIONS, QUIET_ITERATIONS, Limits, Queue
from noria.serving.grpc_status import Code, StatusError
from noria.serving.tensors import Tensor, pack


class Process:
    """Behaves as a model process that doubles numbers; each batch waits until the test lets it go."""

    def __init__(self):
        self.batches = []

    def run(self, feeds, fetches, inputs, done):
        self.batches.append((inputs, done))

    def answer(self, place=-1):
        inputs, done = self.batches[place]
        done([0, 0, 7], [floats([2 * value for value in each.values()]) for each in inputs])

    def refuse(self, place=-1):
        self.batches[place][1]([0, Code.INVALID_ARGUMENT, "bad"], [])


def floats(values):
    return Tensor("float", (len(values),), pack("float", values))


def ask(queue, *values, deadline=None):
    return asyncio.create_task(queue.run(("x",), ("y",), [floats(values)], True, deadline))


async def turn():
    for _ in range(QUIET_ITERATIONS + 3):
        await asyncio.sleep(0)


def values(task):
    return list(task.result()[0][0].values())


def test_what_waits_is_computed_together():
    """Requests that come while the model works share the next batch, and each gets its own rows."""

    async def main():
        process, queue = Process(), Queue("m", Limits())
        queue.connect(process)
        first = ask(queue, 1)
        await turn()
        others = [ask(queue, 2, 3), ask(queue, 4)]
        await turn()
        process.answer()
        await turn()
        assert [1.0] == list(process.batches[0][0][0].values())
        assert [2.0, 3.0, 4.0] == list(process.batches[1][0][0].values())
        process.answer()
        await turn()
        assert [[2.0], [4.0, 6.0], [8.0]] == [values(task) for task in (first, *others)]
        assert {(("x",), ("y",)): [floats([2, 3])]} == queue.recent

    asyncio.run(main())


def test_a_batch_takes_what_the_event_loop_still_reads():
    """Requests that come turn by turn share a batch; one that comes in each turn does not hold it back for ever."""

    async def main():
        process, queue = Process(), Queue("m", Limits())
        queue.connect(process)
        tasks = []
        for each in range(3):
            tasks.append(ask(queue, each))
            await asyncio.sleep(0)
        await turn()
        assert [[0.0, 1.0, 2.0]] == [list(each[0][0].values()) for each in process.batches]
        process.answer()
        await asyncio.gather(*tasks)
        while len(process.batches) < 2:
            tasks.append(ask(queue, 1))
            await asyncio.sleep(0)
            assert len(tasks) < 3 + 2 * MAX_ITERATIONS
        await turn()
        process.answer()
        await turn()
        process.answer()
        await asyncio.gather(*tasks)

    asyncio.run(main())


def test_one_bad_request_fails_alone():
    """A batch that the model refuses is computed again request by request."""

    async def main():
        process, queue = Process(), Queue("m", Limits())
        queue.connect(process)
        good, bad = ask(queue, 1), ask(queue, 2)
        await turn()
        process.refuse()
        await turn()
        process.answer()
        await turn()
        process.refuse()
        await turn()
        assert [2.0] == values(good)
        assert "INVALID_ARGUMENT: bad" == str(bad.exception())

    asyncio.run(main())


def test_a_process_that_ends_is_survived_once():
    """What a process was computing goes to the next one; a request that ends two processes is refused."""

    async def main():
        process, queue = Process(), Queue("m", Limits())
        queue.connect(process)
        task = ask(queue, 1)
        await turn()
        queue.disconnect()
        queue.connect(process)
        await turn()
        assert 2 == len(process.batches)
        process.answer(0)  # of the process that has ended
        queue.disconnect()
        await turn()
        assert Code.UNAVAILABLE == task.exception().code

    asyncio.run(main())


def test_bounds():
    """A full queue refuses, a passed deadline is answered, and one that nobody awaits is not computed."""

    async def main():
        process, queue = Process(), Queue("m", Limits(max_waiting=2))
        queue.connect(process)
        running = ask(queue, 1)
        await turn()
        late, gone = ask(queue, 2, deadline=time.monotonic()), ask(queue, 3)
        await turn()
        with pytest.raises(StatusError) as error:
            await queue.run(("x",), ("y",), [floats([4])], True)
        assert (Code.RESOURCE_EXHAUSTED, 429) == (error.value.code, error.value.http)
        gone.cancel()
        await turn()
        process.answer()
        with pytest.raises(StatusError) as error:
            await late
        assert Code.DEADLINE_EXCEEDED == error.value.code
        assert ([2.0], 1, 0) == (values(running), len(process.batches), len(queue))

    asyncio.run(main())


def test_a_batch_that_hangs():
    """A batch that takes too long is given up, and its process reported."""

    async def main():
        hung = asyncio.Event()
        queue = Queue("m", Limits(hang_seconds=0.01), hung=hung.set)
        queue.connect(Process())
        with pytest.raises(StatusError) as error:
            await queue.run(("x",), ("y",), [floats([1])], True)
        assert Code.DEADLINE_EXCEEDED == error.value.code
        assert hung.is_set()

    asyncio.run(main())

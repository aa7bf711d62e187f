"""What the tests of FastMap in event loops share."""

import asyncio
import itertools
import time


async def collect(mapped):
    return [result async for result in mapped]


async def waiting(mapped):
    """A task that waits for the next result by now."""
    task = asyncio.ensure_future(mapped.__anext__())
    await asyncio.sleep(0.05)
    assert not task.done()
    return task


async def is_finished(mapped):
    """Once more at the end, in both ways to ask."""
    return await anext(mapped, "end") == next(mapped, "end") == "end"


class Ticker:
    """Another task of the loop, which notes when it runs."""

    def __init__(self):
        self.times, self.cpu_times = [], []

    async def __aenter__(self):
        self._task = asyncio.ensure_future(self._tick())
        await asyncio.sleep(0)
        return self

    async def __aexit__(self, *exc_info):
        self._task.cancel()

    async def _tick(self):
        while True:
            self.times.append(time.monotonic())
            self.cpu_times.append(time.thread_time())
            await asyncio.sleep(0.01)


def longest_gap(times):
    return max(after - before for before, after in itertools.pairwise(times))

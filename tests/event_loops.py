"""What the tests of FastMap in event loops share."""

import asyncio
import itertools
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple


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


def waits_for_cpu():
    """For how long each thread of this process has waited for a CPU so far, in seconds."""
    waits = {}
    for folder in Path("/proc/self/task").iterdir():
        with suppress(OSError):  # it has just ended
            waits[folder.name] = int((folder / "schedstat").read_text().split()[1]) / 1e9
    return waits


class Tick(NamedTuple):
    begin: float
    cpu_time: float  # of the loop's thread
    waits: dict
    end: float


class Ticker:
    """Another task of the loop, which notes when it runs."""

    def __init__(self):
        self.ticks = []

    async def __aenter__(self):
        self._task = asyncio.ensure_future(self._tick())
        await asyncio.sleep(0)
        return self

    async def __aexit__(self, *exc_info):
        self._task.cancel()

    async def _tick(self):
        while True:
            begin, cpu_time, waits = time.monotonic(), time.thread_time(), waits_for_cpu()
            self.ticks.append(Tick(begin, cpu_time, waits, time.monotonic()))
            await asyncio.sleep(0.01)

    def longest_cpu_time(self):
        """What the loop's thread computed at most from one tick to the next, in seconds."""
        pairs = itertools.pairwise(self.ticks)
        return max(after.cpu_time - before.cpu_time for before, after in pairs)

    def longest_block(self):
        """For how long the loop stood still at most, in seconds, beyond what this process's threads
        waited for a CPU meanwhile: one that has the GIL may be the one that waits.
        """
        return max(
            after.begin
            - before.end
            - sum(wait - before.waits.get(thread, 0) for thread, wait in after.waits.items())
            for before, after in itertools.pairwise(self.ticks)
        )

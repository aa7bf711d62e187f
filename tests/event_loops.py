"""What the tests of FastMap in event loops share."""

import asyncio
import itertools
import time
from contextlib import suppress
from pathlib import Path


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


class Ticker:
    """Another task of the loop, which notes when it runs."""

    def __init__(self):
        self.times, self.cpu_times, self.waits, self.ends = [], [], [], []

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
            self.waits.append(waits_for_cpu())
            self.ends.append(time.monotonic())
            await asyncio.sleep(0.01)

    def longest_cpu_time(self):
        """What the loop's thread computed at most from one tick to the next, in seconds."""
        return max(after - before for before, after in itertools.pairwise(self.cpu_times))

    def longest_block(self):
        """For how long the loop stood still at most, in seconds, beyond what this process's threads
        waited for a CPU meanwhile: one that has the GIL may be the one that waits.
        """
        ticks = zip(self.times, self.ends, self.waits, strict=True)
        return max(
            begin - end - sum(wait - had.get(thread, 0) for thread, wait in has.items())
            for (_, end, had), (begin, _, has) in itertools.pairwise(ticks)
        )

"""Use maps without stdin, stdout and stderr, as programs that have become daemons do, while code
that knows nothing of that writes to them."""

import asyncio
import contextlib
import os
import sys
import time

from fast_map import fast_map

ITEMS = range(200)


def write_to_stdio():
    for descriptor in range(3):
        with contextlib.suppress(OSError):
            os.write(descriptor, b"8 bytes\n")  # as much as an eventfd takes


def fn(item):
    write_to_stdio()
    time.sleep(0.001)
    return item


def drain(**options):
    results = []
    for result in fast_map(fn, ITEMS, **options):
        write_to_stdio()
        results.append(result)
    return results


async def drain_in_a_loop():
    results = []
    async for result in fast_map(fn, ITEMS):
        write_to_stdio()
        results.append(result)
    return results


loop = asyncio.new_event_loop()  # has its descriptors from before
for number in range(3):
    os.close(number)
all_results = {
    "plain": drain(),
    "with a nursery": drain(retries=1),
    "with a time limit": drain(task_timeout=10),
    "in threads": drain(procs_limit=0),
    "in a loop": loop.run_until_complete(drain_in_a_loop()),
}
loop.close()
with open(sys.argv[1], "w") as report:
    for way, results in all_results.items():
        print(way, results == list(ITEMS), file=report)

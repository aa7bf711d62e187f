"""Sums numbers behind a bar, in the way that the argument says.

If a path is given too, the second half of the numbers waits for that file.
"""

import asyncio
import sys
import time
from pathlib import Path

from fast_map import fast_map, fast_map_async

HOW = sys.argv[1]


def nap(number):
    time.sleep(600 if HOW == "stuck" and number >= 20 else 0.05)
    if HOW == "fail" and number == 20:
        raise LookupError(number)
    while number >= 20 and not all(Path(path).exists() for path in sys.argv[2:]):
        time.sleep(0.01)
    return number


def start(map_of=fast_map, items=range(40), **options):
    return map_of(nap, items, **{"threads_limit": 4, "progress": "naps", **options})


async def add_up():
    return sum([result async for result in start()])


if HOW == "close":
    with start() as mapped:
        next(mapped)
    print("closed")
elif HOW == "async":
    print(asyncio.run(add_up()))
elif HOW == "callbacks":
    results = []
    start(fast_map_async, on_result=results.append).join()
    print(sum(results))
elif HOW == "pipeline":
    print(sum(start(items=start(), progress="more naps")))
else:
    options = {
        "unordered": {"ordered": False},
        "threads": {"procs_limit": 0},
        "uncounted": {"items": iter(range(40))},
    }
    print(sum(start(**options.get(HOW, {}))))

"""Maps that are in the midst of something, for the scripts that end while one is alive."""

import itertools
import threading
import time

from fast_map import fast_map


def compute(index):
    while index:
        pass


def hold_the_gil(index):
    if index:
        sum(itertools.repeat(0))


def block_after_one():
    yield 0
    threading.Event().wait()


MAPS = {
    "sleeping": lambda: fast_map(time.sleep, [0, *[600] * 50]),
    "computing": lambda: fast_map(compute, [0, 1, 1, 1]),
    "holding the GIL": lambda: fast_map(hold_the_gil, [0, 1, 1, 1]),
    "waiting for its input": lambda: fast_map(abs, block_after_one()),
    "waiting for its consumer": lambda: fast_map(abs, itertools.count(), buffersize=4),
    "full of large results": lambda: fast_map(bytes, itertools.repeat(8 << 20)),
}


def start(state):
    """The map in the given state, its first result taken; says so to whoever runs the script."""
    it = MAPS[state]()
    next(it)
    print("ready", flush=True)
    return it

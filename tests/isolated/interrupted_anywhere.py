"""Be interrupted over and over, wherever that hits the maps. Arguments: how often, and "fork" or
"forkserver".

Says "ready" when the next Ctrl-C may come, and "clean" if nothing of the maps is left at the end.
"""

import itertools
import signal
import sys
import time

from support import identity, leaves_nothing

from fast_map import fast_map


class Pickled:
    pass


def fail(index):
    raise ValueError(index)


def trickle():
    for number in itertools.count():
        time.sleep(0.001)
        yield number


def take(number, it):
    return list(itertools.islice(it, number))


WAYS_TO_FORK = [
    lambda: take(2000, fast_map(identity, itertools.count())),
    lambda: take(10, fast_map(identity, trickle())),
    lambda: list(fast_map(lambda index: Pickled(), range(500))),
    lambda: list(fast_map(fail, range(100), return_exceptions=True)),
    lambda: next(fast_map(time.sleep, [0.003] * 40)),
    lambda: fast_map(time.sleep, [600] * 10).close(),
]
WAYS_TO_ASK_A_SERVER = [
    lambda: list(fast_map(identity, range(10), start_method="forkserver")),
    lambda: fast_map(time.sleep, [600] * 10, start_method="forkserver").close(),
]


def run_until_interrupted(ways):
    try:
        print("ready", flush=True)
        for way in itertools.cycle(ways):
            way()
    except KeyboardInterrupt:
        return


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    ways = WAYS_TO_FORK
    if sys.argv[2] == "forkserver":
        ways = WAYS_TO_ASK_A_SERVER
        ways[0]()  # the server stays
    with leaves_nothing():
        for _ in range(int(sys.argv[1])):
            run_until_interrupted(ways)
    print("clean")

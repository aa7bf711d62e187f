"""Maps in greenlets of gevent, all of whose replacements of the standard library are in force."""

from gevent import monkey

monkey.patch_all()

import os  # noqa: E402
import subprocess  # noqa: E402
import time  # noqa: E402

import gevent  # noqa: E402
from support import SharedInts  # noqa: E402

from fast_map import fast_map  # noqa: E402

COUNT = 40
PLACES = [{}, {"retries": 1}, {"procs_limit": 0}, {"start_method": "forkserver"}]


def naps(number):
    time.sleep(0.01)
    return number


def starts_a_program(number):
    return subprocess.check_output(["echo", str(number)])


def tick(ours, strays, parent):
    while True:
        gevent.sleep(0.001)
        (ours if os.getpid() == parent else strays)[0] += 1


def run_map(options):
    gevent.sleep(0.01)  # so that all others are in the midst of something
    return list(fast_map(naps, range(COUNT), **options))


def main():
    ours, strays = SharedInts(), SharedInts()
    other = gevent.spawn(tick, ours, strays, os.getpid())
    for options in PLACES:
        maps = [gevent.spawn(run_map, options) for _ in range(2)]
        assert [each.get() for each in maps] == [list(range(COUNT))] * 2, options
    assert run_map({}) == list(range(COUNT))
    assert list(fast_map(starts_a_program, range(2), threads_limit=1)) == [b"0\n", b"1\n"]
    assert ours[0] > 0
    assert strays[0] == 0
    other.kill()


if __name__ == "__main__":
    main()

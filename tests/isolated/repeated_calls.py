"""Call fast_map in many ways, N times; print what this process holds before and after.

The report before comes after 70 calls, when what is kept for later use is there. Argument: N.
"""

import itertools
import json
import os
import signal
import sys

from support import Footprint, drain, identity, mappings, resident_bytes, wait_until

from fast_map import WorkerCrashed, fast_map


def finish_a_list():
    assert len(list(fast_map(identity, list(range(20))))) == 20


def finish_a_generator():
    assert len(list(fast_map(identity, iter(range(20)), threads_limit=5))) == 20


def close_an_endless_one():
    it = fast_map(identity, itertools.count())
    assert next(it) == 0
    it.close()


def drop_one_with_large_results():
    assert len(next(fast_map(bytes, [1 << 20] * 5))) == 1 << 20


def fail():
    results, error = drain(fast_map(lambda value: 1 // value, iter([1, 0, 1])))
    assert results == [1]
    assert type(error) is ZeroDivisionError


def leave_the_loop():
    for value in fast_map(identity, itertools.count(), buffersize=100):
        if value == 5:
            break


def die_at_three(value):
    if value == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return value


def crash():
    results, error = drain(fast_map(die_at_three, iter(range(20))))
    assert results == [0, 1, 2]
    assert type(error) is WorkerCrashed


def crash_and_go_on():
    results = list(fast_map(die_at_three, list(range(20)), retries=1, return_exceptions=True))
    assert type(results.pop(3)) is WorkerCrashed
    assert results == [0, 1, 2, *range(4, 20)]


WAYS = [
    finish_a_list,
    finish_a_generator,
    close_an_endless_one,
    drop_one_with_large_results,
    fail,
    leave_the_loop,
    crash,
    crash_and_go_on,
]


def call(times):
    for way in itertools.islice(itertools.cycle(WAYS), times):
        way()


def held(before):
    wait_until(lambda: Footprint.now() == before, timeout=2)
    children, descriptors, threads, shared = Footprint.now()
    return {
        "children": len(children),
        "descriptors": sorted(descriptors.items()),
        "threads": threads,
        "shared mappings": shared,
        "mappings": len(mappings()),
        "resident": resident_bytes(),
    }


start = Footprint.now()
call(70)
report = [held(start)]
call(int(sys.argv[1]))
report.append(held(start))
print(json.dumps(report))

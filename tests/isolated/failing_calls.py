"""Small maps, of which one call to the system fails: each call in turn, the first one, the second
and so on. Needs failing_calls.c preloaded.

Arguments: what is mapped (a name of MAPS), and "parent" or "children". Prints each fault before it
comes to pass, then what became of the map.
"""

import ctypes
import errno
import itertools
import operator
import os
import signal
import sys
import time

from support import SharedInts, leaves_nothing, mappings, wait_until

from fast_map import WorkerCrashed, fast_map

# In the order of enum call.
CALLS = {
    "fork": [errno.EAGAIN, errno.ENOMEM],
    "pthread_create": [errno.EAGAIN],
    "mmap": [errno.ENOMEM],
    "memfd_create": [errno.EMFILE],
    "eventfd": [errno.EMFILE, errno.ENOMEM],
    "pipe2": [errno.EMFILE],
    "socketpair": [errno.EMFILE],
    "poll": [errno.EINTR, errno.ENOMEM],
    "send": [errno.EINTR, errno.ENOMEM],
    "recv": [errno.EINTR, errno.ECONNRESET],
    "waitpid": [errno.EINTR],
    "pidfd_open": [errno.EMFILE],
    "futex_wait": [errno.EINTR, errno.ENOMEM],
    "futex_wake": [errno.ENOMEM],
}
MOST = 4  # of those that are made often, so many are tried
HANG_LIMIT = 15
COUNT = 16

NUMBERS = {name: number for number, name in enumerate(CALLS)}

faults = ctypes.CDLL(None)


def blocks_a_little(number):
    if number == 0:  # else all items may be done before a supervisor is given a CPU
        wait_until(lambda: faults.faults_count(NUMBERS["poll"], True), HANG_LIMIT)
    time.sleep(0.002)
    return number, b"x" * 300


def kills_at_first(runs):
    def fn(number):
        runs[number] += 1
        if number == 5 and runs[number] == 1:
            os._exit(3)
        return blocks_a_little(number)

    return fn


def map_list():
    return fast_map(blocks_a_little, list(range(COUNT)), procs_limit=2, threads_limit=6)


def map_iterator():
    return fast_map(blocks_a_little, iter(range(COUNT)), procs_limit=2, threads_limit=6)


def map_with_retries():
    fn = kills_at_first(SharedInts(COUNT))
    return fast_map(fn, iter(range(COUNT)), procs_limit=2, threads_limit=6, retries=2)


def map_with_everything():
    fn = kills_at_first(SharedInts(COUNT))
    return fast_map(
        fn, list(range(COUNT)), procs_limit=2, retries=2, task_timeout=60, return_exceptions=True
    )


MAPS = {
    "list": map_list,
    "iterator": map_iterator,
    "retries": map_with_retries,
    "everything": map_with_everything,
}


def describe(error):
    code = errno.errorcode.get(getattr(error, "errno", None))
    return f"{type(error).__name__} {code}" if code else type(error).__name__


def run(make_map):
    """What became of the map, in words: "all" results, or which error after how many."""
    taken = 0
    try:
        for taken, result in enumerate(make_map(), start=1):
            if isinstance(result, WorkerCrashed):
                return f"{describe(result)} {taken - 1}"
            assert result == (taken - 1, b"x" * 300), result
    except (OSError, RuntimeError) as error:
        if not isinstance(error, WorkerCrashed) and "fast_map could not" not in str(error):
            raise
        return f"{describe(error)} {taken}"
    assert taken == COUNT
    return "all"


def faults_of(counted):
    """Of a call that is made often, the first ones and some of the others."""
    for call, errors in CALLS.items():
        count = counted[call]
        step = max(1, (count - MOST // 2) // (MOST // 2))
        chosen = [*range(1, min(count, MOST // 2) + 1), *range(MOST // 2 + 1, count + 1, step)]
        for nth in chosen:
            for error in errors:
                yield call, nth, error


def code_of_extension():
    ranges = [line.split()[0].split("-") for line in mappings() if "/_core." in line]
    return min(int(r[0], 16) for r in ranges), max(int(r[1], 16) for r in ranges)


def run_with(make_map, *fault):
    faults.faults_arm(*fault)
    signal.alarm(HANG_LIMIT)
    outcome = run(make_map)
    signal.alarm(0)
    return outcome, faults.faults_disarm()


def main(make_map, in_children):
    faults.faults_init(*map(ctypes.c_void_p, code_of_extension()))
    outcome, _ = run_with(make_map, 0, in_children, 0, 0)
    assert outcome == "all", outcome
    counted = {name: faults.faults_count(NUMBERS[name], in_children) for name in CALLS}
    for call, chosen in itertools.groupby(faults_of(counted), operator.itemgetter(0)):
        with leaves_nothing():
            for _, nth, error in chosen:
                print(call, nth, errno.errorcode[error], end=" ", flush=True)
                outcome, hits = run_with(make_map, NUMBERS[call], in_children, nth, error)
                print(hits, outcome, flush=True)


main(MAPS[sys.argv[1]], sys.argv[2] == "children")

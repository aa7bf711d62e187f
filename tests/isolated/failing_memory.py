"""Small maps, of which one allocation of Python's fails: the first, the second and so on, in the
parent and, as the counting goes on there, in the worker.

Prints the number of the one that fails before it does, then what became of the map.
"""

import _testcapi
import resource
import signal

from support import leaves_nothing

from fast_map import fast_map

HANG_LIMIT = 15
COUNT = 8
# By the end of a map the parent and its worker have allocated some 250 times each.
LAST = 320
AT_A_TIME = 20  # before it is looked, which takes longer than a map, what is left of them


def describe_item(number):
    return number, {"squared": number * number}, b"x" * 300


EXPECTED = [describe_item(number) for number in range(COUNT)]


def run(nth):
    """What became of the map: "all", or the exception's name, and what came before it is right."""
    results = [None] * COUNT
    taken = 0
    outcome = "all"
    _testcapi.set_nomemory(nth, nth + 1)
    try:
        with fast_map(describe_item, range(COUNT), procs_limit=1, threads_limit=2) as mapped:
            for result in mapped:
                results[taken] = result
                taken += 1
    except BaseException as error:
        _testcapi.remove_mem_hooks()
        outcome = type(error).__name__
    finally:
        _testcapi.remove_mem_hooks()
    assert results[:taken] == EXPECTED[:taken], results
    assert taken == COUNT or outcome != "all", taken
    return outcome


def main():
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    list(fast_map(describe_item, range(COUNT), procs_limit=1))
    for first in range(1, LAST, AT_A_TIME):
        with leaves_nothing():
            for nth in range(first, first + AT_A_TIME):
                print(nth, end=" ", flush=True)
                signal.alarm(HANG_LIMIT)
                outcome = run(nth)
                signal.alarm(0)
                print(outcome, flush=True)


main()

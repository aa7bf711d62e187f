"""What goes wrong in coroutines, or ends before its time, stays where it belongs."""

import asyncio
import contextlib
import ctypes
import functools
import itertools
import os
import signal
import sys
import threading
import time

import pytest
from coroutine_functions import identity, never_end, sleep_briefly
from support import RunLog, SharedInts, die, die_of, drain, leaves_nothing

from fast_map import TaskTimeout, WorkerCrashed, fast_map

KINDS = pytest.mark.parametrize("kind", [list, iter], ids=["list", "iterator"])

yielding = functools.partial(fast_map, return_exceptions=True)


# Errors

FAILURES = [
    ValueError("mine"),
    SystemExit(3),
    KeyboardInterrupt(),
    asyncio.CancelledError("mine"),
    GeneratorExit(),
    asyncio.TimeoutError(),
]


@KINDS
@pytest.mark.parametrize("failure", FAILURES, ids=repr)
@pytest.mark.parametrize("when", ["at once", "later", "in a task that it awaits"])
def test_whatever_it_raises_belongs_to_its_item(kind, failure, when):
    async def fail():
        raise failure

    async def fn(number):
        if number == 5:
            if when == "later":
                await asyncio.sleep(0.01)
            await (asyncio.create_task(fail()) if when.startswith("in a task") else fail())
        return await sleep_briefly(number)

    results = list(yielding(fn, kind(range(12))))
    error = results.pop(5)
    assert results == [*range(5), *range(6, 12)]
    assert type(error) is type(failure)
    # Up to 3.10 a task that is awaited does not keep what it was cancelled with.
    if sys.version_info >= (3, 11) or not isinstance(failure, asyncio.CancelledError):
        assert error.args == failure.args
    assert error.seq_index == 5
    assert "in fail" in str(error.__cause__)
    if hasattr(error, "__notes__"):
        assert "item 5, 5" in error.__notes__[0]


def test_an_error_is_raised_after_the_results_before_it():
    async def fn(number):
        await asyncio.sleep(0.02 if number < 3 else 0)
        return 1 // (3 - number)

    results, error = drain(fast_map(fn, range(10)))
    assert results == [0, 0, 1]
    assert isinstance(error, ZeroDivisionError)


def test_one_that_cancels_itself_or_is_cancelled_by_others_is_an_item_that_failed():
    async def fn(number):
        if number == 2:
            asyncio.current_task().cancel()
        if number == 4:
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()
        await asyncio.sleep(600 if number < 4 else 0)
        return number

    results = list(yielding(fn, range(6), procs_limit=1))
    assert [type(result) for result in results] == [asyncio.CancelledError] * 4 + [int] + [
        type(results[5])
    ]
    assert list(fast_map(identity, range(3))) == [0, 1, 2]


def test_one_that_stops_the_loop_stops_nothing():
    async def fn(number):
        if number % 3 == 0:
            asyncio.get_running_loop().stop()
        return await sleep_briefly(number)

    assert list(fast_map(fn, range(30))) == list(range(30))


def test_what_does_not_pickle_is_that_items_error():
    async def fn(number):
        return threading.Lock() if number == 1 else number

    results = list(yielding(fn, range(3)))
    assert "cannot be pickled" in str(results.pop(1))
    assert results == [0, 2]


# Memory


@KINDS
@pytest.mark.parametrize("buffer_bytes", [1, 300_000])
def test_a_full_memory_holds_up_results_and_not_the_loop(kind, buffer_bytes):
    async def fn(number):
        # The first of all, which the others wait for, is the last to end.
        await asyncio.sleep(0.2 if number % 20 == 0 else 0)
        if number == 50:
            raise ValueError("x" * 100_000)
        return bytes([number]) * 100_000

    results = list(yielding(fn, kind(range(100)), buffer_bytes=buffer_bytes, procs_limit=2))
    assert str(results.pop(50)) == "x" * 100_000
    expected = [bytes([number]) * 100_000 for number in range(100) if number != 50]
    assert results == expected


# Crashes


def test_a_crash_takes_all_that_ran_in_that_process_and_no_other():
    started = SharedInts(20)

    async def fn(number):
        started[number] = os.getpid()
        while started.number_set() < 20:
            await asyncio.sleep(0.01)
        if number == 7:
            die_of(signal.SIGKILL)
        await asyncio.sleep(600 if started[number] == started[7] else 0)
        return number

    with yielding(fn, range(20), procs_limit=2) as mapped:
        results = [next(mapped) for _ in range(20)]
    lost = [n for n in range(20) if started[n] == started[7]]
    assert [n for n, result in enumerate(results) if isinstance(result, WorkerCrashed)] == lost
    assert results[lost[0]].items == tuple(lost)


def test_lost_items_are_run_again_one_at_a_time():
    log = RunLog(12)

    async def fn(number):
        with log.run(number) as run:
            while log.runs.number_set() < 12:
                await asyncio.sleep(0.005)
            if number == 5 and run == 1:
                die(lambda: os._exit(3))
            await asyncio.sleep(600 if run == 1 else 0.1)
            return number

    assert list(fast_map(fn, range(12), retries=1, procs_limit=1)) == list(range(12))
    assert [log.runs[number] for number in range(12)] == [2] * 12
    assert [log.together[number] for number in range(12)] == [1] * 12


# Timeouts


async def wait_in_vain(_=None):
    await asyncio.sleep(600)


async def await_a_task():
    await asyncio.create_task(wait_in_vain())


async def block_the_loop():
    time.sleep(600)


async def hog_the_gil():
    sum(range(10**13))


async def sleep_in_c():
    ctypes.CDLL(None).sleep(600)  # a signal cuts it short


STUCK = [wait_in_vain, await_a_task, block_the_loop, hog_the_gil, sleep_in_c]


@KINDS
@pytest.mark.parametrize("get_stuck", STUCK)
def test_an_item_that_runs_too_long_is_ended_and_says_where_it_was(kind, get_stuck):
    async def fn(number):
        await asyncio.sleep(0.01)
        if number == 5:
            await get_stuck()
        return number

    results = list(yielding(fn, kind(range(12)), task_timeout=0.7))
    error = results.pop(5)
    assert results == [*range(5), *range(6, 12)]
    assert isinstance(error, TaskTimeout)
    assert error.item == 5
    assert get_stuck.__name__ in error.stack
    assert error.stack.splitlines()[-1].endswith(" in fn")


def test_the_one_that_blocks_the_loop_is_blamed_and_not_those_that_wait_longer():
    async def fn(number):
        await asyncio.sleep(0.3)
        if number == 9:
            time.sleep(600)
        await asyncio.sleep(0.1)
        return number

    def late():
        yield from range(9)
        time.sleep(0.2)
        yield from range(9, 12)

    results = list(yielding(fn, late(), task_timeout=1, procs_limit=1))
    assert [n for n, result in enumerate(results) if isinstance(result, TaskTimeout)] == [9]


def test_the_time_of_each_item_counts_from_its_own_start():
    async def fn(number):
        await asyncio.sleep(0.3)
        return number

    results = list(fast_map(fn, range(12), task_timeout=1, threads_limit=2, procs_limit=1))
    assert results == list(range(12))  # 1.8 seconds in all


# Ends


def test_close_ends_thousands_at_once():
    started = SharedInts(5000)

    async def start(number):
        started[number] = 1
        await never_end(number)

    with leaves_nothing():
        mapped = fast_map(start, range(5000))
        started.wait_for_number(5000)
        start_of_close = time.monotonic()
        mapped.close()
        assert time.monotonic() - start_of_close < 1


@KINDS
def test_what_they_leave_behind_is_cancelled(kind):
    cleaned = SharedInts(20)

    async def leave_behind(number):
        try:
            await asyncio.sleep(600)
        finally:
            await asyncio.sleep(0.02)
            cleaned[number] = 1

    async def fn(number):
        leftovers.add(asyncio.create_task(leave_behind(number)))
        await asyncio.sleep(0)
        return number

    leftovers = set()
    with leaves_nothing():
        assert list(fast_map(fn, kind(range(20)))) == list(range(20))
        assert cleaned.number_set() == 20


def test_it_keeps_nobody_if_it_is_stubborn():
    async def leave_behind():
        while True:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(600)

    async def fn(number):
        leftovers.add(asyncio.create_task(leave_behind()))
        await asyncio.sleep(0)
        return number

    leftovers = set()
    start = time.monotonic()
    with leaves_nothing():
        assert list(fast_map(fn, [0])) == [0]
        assert time.monotonic() - start < 3


def test_it_is_cancelled_where_the_map_is_left_early_too():
    async def leave_behind(number, item):
        await asyncio.wait([item])
        done[number] = 1
        try:
            await asyncio.sleep(600)
        finally:
            cancelled[number] = 1

    async def fn(number):
        leftovers.add(asyncio.create_task(leave_behind(number, asyncio.current_task())))
        return number

    leftovers = set()
    seconds = []
    for _ in range(3):
        done, cancelled = SharedInts(8), SharedInts(8)
        with leaves_nothing():
            mapped = fast_map(fn, itertools.count(), buffersize=8)
            done.wait_for_number(8)
            start = time.monotonic()
            mapped.close()
            seconds.append(time.monotonic() - start)
        assert cancelled.number_set() == 8
    assert min(seconds) < 0.3  # by force it takes FM_CLOSE_GRACE_MS


def test_asynchronous_generators_are_shut_down():
    shut_down = SharedInts(20)

    async def generate(number):
        try:
            yield 1
            yield 2
        finally:
            await asyncio.sleep(0.02)
            shut_down[number] = 1

    async def fn(number):
        generators.append(generate(number))
        return number + await generators[-1].__anext__()

    generators = []
    assert list(fast_map(fn, range(20))) == list(range(1, 21))
    assert shut_down.number_set() == 20


def test_what_they_print_comes_out_once(capfd):
    async def fn(number):
        await asyncio.sleep(0.01)
        print(f"{number} ", end="")  # in one piece, for pytest's stdout is unbuffered

    list(fast_map(fn, range(20)))
    assert sorted(map(int, capfd.readouterr().out.split())) == list(range(20))

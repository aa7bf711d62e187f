"""Coroutine functions together with the options that concern every kind of function."""

import asyncio
import os
import time

import pytest
from markers import time_limit
from support import PATIENCE, SharedInts

from fast_map import fast_map


async def add(*values, **more):
    await asyncio.sleep(0.001)
    return sum(values) + sum(more.values())


async def wait_and_return(seconds):
    await asyncio.sleep(seconds)
    return seconds


async def process_id(_):
    await asyncio.sleep(0.001)
    return os.getpid()


@pytest.mark.parametrize(
    ("options", "items", "expected"),
    [
        ({"args": (10,)}, [1, 2], [11, 12]),
        ({"star": True}, [(1, 2), (3,)], [3, 3]),
        ({"star": None, "args": (7,)}, [0, 0], [7, 7]),
        ({"kwstar": True, "kwargs": {"k": 100}}, [(1, {}), (2, {"k": 5})], [101, 7]),
        ({"star": True, "kwstar": True}, [((1, 2), {"z": 3})], [6]),
    ],
)
@pytest.mark.parametrize("feed", [list, iter])
def test_items_become_calls(options, items, expected, feed):
    assert list(fast_map(add, feed(items), **options)) == expected


@pytest.mark.parametrize("feed", [list, iter])
def test_unordered_results_come_as_they_are_there(feed):
    taken = SharedInts(3)

    async def wait_for_the_next(number):
        while number < 2 and not taken[number + 1]:
            await asyncio.sleep(0.005)
        return number

    with fast_map(wait_for_the_next, feed(range(3)), ordered=False, procs_limit=1) as mapped:
        for expected in (2, 1, 0):
            assert mapped.next(timeout=PATIENCE) == expected
            taken[expected] = 1
        assert list(mapped) == []


@pytest.mark.parametrize("options", [{}, {"ordered": False}])
def test_large_results_without_room_for_all(options):
    async def large(number):
        await asyncio.sleep(0.001)
        return bytes([number]) * 200_000

    with fast_map(large, range(100), buffer_bytes=500_000, **options) as mapped:
        assert sorted(value[0] for value in mapped) == list(range(100))


@pytest.mark.parametrize("chunksize", [1, 3, 1000])
def test_any_chunksize_lets_all_run_at_once(chunksize):
    started = time.monotonic()
    delays = [0.3] * 500
    assert list(fast_map(wait_and_return, delays, chunksize=chunksize)) == delays
    assert time.monotonic() - started < 5  # one by one it would take 75 s on two CPUs


@time_limit(120)
@pytest.mark.parametrize("feed", [range, lambda count: iter(range(count))])
def test_processes_are_replaced(feed):
    pids = list(fast_map(process_id, feed(60), max_tasks_per_child=10, procs_limit=2))
    assert len(pids) == 60
    assert all(pids.count(pid) <= 10 for pid in pids)


def test_an_initializer_runs_first_and_its_error_is_each_items():
    known = []

    async def look(_):
        return known[0]

    assert list(fast_map(look, range(5), initializer=known.append, initargs=("x",))) == ["x"] * 5
    errors = list(
        fast_map(look, range(5), initializer=int, initargs=("x",), return_exceptions=True)
    )
    assert [type(error) for error in errors] == [ValueError] * 5


def test_threads_of_this_process_are_refused():
    with pytest.raises(ValueError, match=r"procs_limit=0 .* coroutine function"):
        fast_map(add, [1], procs_limit=0)


def test_an_initializer_runs_in_the_loop_and_may_be_awaited():
    loops = []

    def note_loop():
        loops.append(asyncio.get_running_loop())

    async def note_loop_later():
        await asyncio.sleep(0.001)
        note_loop()

    async def is_the_same(_):
        return loops == [asyncio.get_running_loop()]

    for initializer in (note_loop, note_loop_later):
        assert list(fast_map(is_the_same, range(20), initializer=initializer)) == [True] * 20


def test_an_awaited_initializer_that_fails():
    async def fail():
        await asyncio.sleep(0.001)
        raise LookupError("not ready")

    with pytest.raises(LookupError, match="not ready"):
        list(fast_map(add, [1, 2], initializer=fail))


@pytest.mark.parametrize("options", [{}, {"procs_limit": 0}])
def test_nobody_could_await_an_initializer_beside_an_ordinary_function(options):
    async def initializer():
        pass

    with pytest.raises(TypeError, match="initializer must not be a coroutine function"):
        fast_map(abs, [1], initializer=initializer, **options)

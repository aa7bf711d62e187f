"""FastMap in an event loop: results come, the loop goes on, and nobody polls."""

import asyncio
import os
import random
import selectors
import signal
import time

import pytest
from event_loops import Ticker, collect, is_finished, waiting
from markers import measures_time
from support import Gate, SharedInts, identity

from fast_map import fast_map

# Results


@pytest.mark.parametrize("count", [0, 1, 10, 20_000])
def test_all_results_come_in_order(run, count):
    for numbers in (range(count), iter(range(count))):
        mapped = fast_map(identity, numbers)
        assert run(collect(mapped)) == list(range(count))
        assert run(is_finished(mapped))


def test_slow_and_quick_items_in_turns(run):
    def nap(number):
        if number % 50 == 0:
            time.sleep(0.01)
        return number

    for numbers in (range(2000), iter(range(2000))):
        assert run(collect(fast_map(nap, numbers, buffersize=64))) == list(range(2000))


def test_both_ways_to_ask_take_turns(run):
    async def take():
        mapped = fast_map(identity, range(6))
        taken = [next(mapped), await anext(mapped), mapped.next(timeout=20), await anext(mapped)]
        return taken + list(mapped)

    assert run(take()) == list(range(6))


def test_a_map_over_a_map(run):
    inner = fast_map(identity, iter(range(1000)))
    assert run(collect(fast_map(identity, inner))) == list(range(1000))


def test_falsy_and_structured_results(run):
    values = [None, 0, False, "", (), (1, 2), StopIteration(3), [1], {}]
    results = run(collect(fast_map(identity, values)))
    assert [repr(value) for value in results] == [repr(value) for value in values]


def test_one_map_in_several_loops():
    mapped = fast_map(identity, iter(range(5)))

    async def take():
        return await anext(mapped)

    assert [asyncio.run(take()) for _ in range(5)] == list(range(5))
    assert asyncio.run(is_finished(mapped))


def test_maps_that_run_together(run):
    async def take():
        maps = [fast_map(identity, iter(range(n, n + 300)), procs_limit=1) for n in range(4)]
        return await asyncio.gather(*map(collect, maps))

    assert run(take()) == [list(range(n, n + 300)) for n in range(4)]


def test_fn_may_run_a_loop_of_its_own(run):
    async def later(number):
        await asyncio.sleep(0.001)
        return number

    async def take():
        return await collect(fast_map(lambda number: asyncio.run(later(number)), range(5)))

    assert run(take()) == list(range(5))


# The loop


def blocked_items():
    return fast_map(time.sleep, [0.2] * 4, threads_limit=2)


def quick_items():
    return fast_map(identity, range(60_000))


def quick_fed_items():
    return fast_map(identity, (number for number in range(40_000)))


@measures_time
@pytest.mark.parametrize("make", [blocked_items, quick_items, quick_fed_items])
def test_other_tasks_run_every_ten_milliseconds(run, make):
    async def watch():
        async with Ticker() as ticker:
            mapped = make()
            await asyncio.sleep(0.02)
            async for _ in mapped:
                pass
            await asyncio.sleep(0.02)
        assert ticker.longest_cpu_time() < 0.05
        return ticker.longest_block()

    # What a virtual machine's host takes from it nobody counts: one run of three will do.
    blocks = []
    while not blocks or (blocks[-1] > 0.05 and len(blocks) < 3):
        blocks.append(run(watch()))
    assert blocks[-1] < 0.05, blocks


def test_nobody_polls_and_no_thread_helps():
    class CountingSelector(selectors.DefaultSelector):
        looks = 0

        def select(self, timeout=None):
            self.looks += 1
            return super().select(timeout)

    async def wait():
        mapped = fast_map(gate.hold, range(2))
        threads = set(os.listdir("/proc/self/task"))
        task = await waiting(mapped)
        looks = selector.looks
        await asyncio.sleep(0.6)
        assert selector.looks - looks <= 4
        assert set(os.listdir("/proc/self/task")) <= threads
        gate.open()
        assert [await task, *[result async for result in mapped]] == [0, 1]

    gate, selector = Gate(), CountingSelector()
    loop = asyncio.SelectorEventLoop(selector)
    loop.run_until_complete(wait())
    loop.close()


def test_a_wake_up_is_never_lost(run):
    """Nobody looks again by itself, so that the first one that is lost stops this for ever."""

    def work(number):
        time.sleep(random.random() / 5000)
        if number % 300 == 299 and not died[number]:
            died[number] = 1
            os.kill(os.getpid(), signal.SIGKILL)
        return number

    died = SharedInts(1500)
    for numbers in (range(1500), iter(range(1500))):
        mapped = fast_map(work, numbers, threads_limit=4, buffersize=8, retries=3)
        assert run(asyncio.wait_for(collect(mapped), 25)) == list(range(1500))

"""async for, and bars, over maps that are not ordered, run coroutines, or have no processes."""

import asyncio
import threading
import time

import pytest
from coroutine_functions import nap_in_a_loop
from event_loops import collect
from support import PATIENCE, Gate, SharedInts, leaves_nothing, nap

from fast_map import fast_map

KINDS = {
    "unordered": (nap, {"ordered": False, "threads_limit": 6}),
    "unordered threads": (nap, {"ordered": False, "procs_limit": 0}),
    "unordered coroutines": (nap_in_a_loop, {"ordered": False}),
    "threads": (nap, {"procs_limit": 0}),
    "coroutines": (nap_in_a_loop, {}),
    "forkserver": (nap_in_a_loop, {"start_method": "forkserver"}),
}


@pytest.mark.parametrize("feed", [list, iter])
@pytest.mark.parametrize("kind", KINDS)
def test_all_results_come(run, kind, feed):
    fn, options = KINDS[kind]
    delays = [0.3, 0.002, 0.001] * 10
    results = run(collect(fast_map(fn, feed(delays), **options)))
    assert sorted(results) == sorted(delays)
    if options.get("ordered", True):
        assert results == delays


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.startswith("unordered")])
def test_a_quick_result_does_not_wait_for_a_slow_one(run, kind):
    fn, options = KINDS[kind]
    first_is_taken = SharedInts()

    def work(number):
        if number == 0:
            first_is_taken.wait_for()
        return number

    async def work_in_a_loop(number):
        while number == 0 and not first_is_taken[0]:
            await asyncio.sleep(0.005)
        return number

    async def take():
        mapped = fast_map(work_in_a_loop if fn is nap_in_a_loop else work, range(5), **options)
        first = await anext(mapped)
        first_is_taken[0] = 1
        return [first, *await collect(mapped)]

    results = run(take())
    assert results[0] != 0
    assert sorted(results) == list(range(5))


@pytest.mark.parametrize("kind", KINDS)
def test_cancellation_ends_it(run, kind):
    fn, options = KINDS[kind]

    async def cancel():
        mapped = fast_map(fn, [0.3] * 1000, **{**options, "threads_limit": 2})
        task = asyncio.ensure_future(collect(mapped))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return list(mapped)

    assert run(cancel()) == []


def test_the_loop_goes_on_while_threads_that_are_in_fn_are_waited_for(run):
    gate, in_fn = Gate(), threading.Event()

    def hold(_):
        in_fn.set()
        gate.hold()

    async def close():
        mapped = fast_map(hold, range(4), procs_limit=0)
        assert in_fn.wait(PATIENCE)
        closing = asyncio.ensure_future(mapped.aclose())
        await asyncio.sleep(0)  # for its first step, in which a wait would stop the loop
        assert not closing.done()
        gate.open()  # if the loop stood still, nobody would
        await closing

    run(close())


@pytest.mark.parametrize("kind", KINDS)
def test_a_bar_counts_finished_items(kind, monkeypatch):
    shown = []
    monkeypatch.setattr("fast_map._api.make_bar", lambda *_: lambda *what: shown.append(what))
    fn, options = KINDS[kind]
    with leaves_nothing(), fast_map(fn, [0.01] * 20, progress=True, **options) as mapped:
        # Each look takes one result; long before they are all taken, all are finished.
        while (20, False) not in shown:
            time.sleep(0.15)
            next(mapped)
        assert mapped.__length_hint__() > 0
    assert shown[-1] == (20, True)

"""FastMap in an event loop: errors, the end before the end, and who else wants something of it."""

import asyncio
import collections.abc
import ctypes
import gc
import inspect
import os
import signal
import sys
import threading
import time

import pytest
from event_loops import Ticker, collect, is_finished, waiting
from support import Gate, SharedInts, identity, leaves_nothing, wait_until

from fast_map import WorkerCrashed, fast_map

# Errors


def fail_at_three(number):
    if number == 3:
        raise LookupError("three")
    return number


@pytest.mark.parametrize("paused", [False, True])
def test_an_items_error_comes_in_its_place(run, paused):
    """Whether it is waited for or is there already."""

    async def take():
        mapped = fast_map(fail_at_three, range(10))
        if paused:
            await asyncio.sleep(0.1)
        assert [await anext(mapped) for _ in range(3)] == [0, 1, 2]
        with pytest.raises(LookupError, match="three") as caught:
            await anext(mapped)
        assert caught.value.seq_index == 3
        assert await is_finished(mapped)

    run(take())


def test_errors_as_results(run):
    results = run(collect(fast_map(fail_at_three, range(5), return_exceptions=True)))
    assert isinstance(results.pop(3), LookupError)
    assert results == [0, 1, 2, 4]


@pytest.mark.parametrize("error", [StopIteration, StopAsyncIteration])
def test_an_error_that_would_end_the_loop_does_not(run, error):
    def stop(number):
        raise error(number)

    with pytest.raises(RuntimeError, match=f"fn raised {error.__name__}"):
        run(collect(fast_map(stop, [1])))


def test_a_cancelled_error_of_an_item_is_its_error(run):
    def cancel(number):
        raise asyncio.CancelledError("item's own")

    # Up to 3.10 a task that it ends does not keep its arguments.
    text = "item's own" if sys.version_info >= (3, 11) else None
    with pytest.raises(asyncio.CancelledError, match=text):
        run(collect(fast_map(cancel, [1])))


@pytest.mark.parametrize(
    ("error", "expected"),
    [(LookupError("input"), LookupError), (StopAsyncIteration("input"), RuntimeError)],
)
def test_an_error_of_the_input_comes_last(run, error, expected):
    def numbers():
        yield from range(3)
        raise error

    async def take():
        mapped = fast_map(identity, numbers())
        assert [await anext(mapped) for _ in range(3)] == [0, 1, 2]
        with pytest.raises(expected):
            await anext(mapped)
        assert await is_finished(mapped)

    run(take())


def test_a_worker_that_dies_is_noticed(run):
    def die(number):
        time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(WorkerCrashed):
        run(collect(fast_map(die, [1])))


def test_a_result_that_does_not_unpickle(run):
    class Broken:
        def __reduce__(self):
            return int, ("no number",)

    with pytest.raises(Exception, match="no number"):
        run(collect(fast_map(lambda number: Broken(), [1])))


# The end before the end


def test_cancelling_the_task_that_waits_ends_the_map(run):
    async def cancel():
        mapped = fast_map(time.sleep, [600])
        task = await waiting(mapped)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await is_finished(mapped)

    with leaves_nothing():
        run(cancel())


def test_a_timeout_around_one_result_ends_the_map(run):
    async def time_out():
        mapped = fast_map(time.sleep, [0, 600])
        assert await anext(mapped) is None
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(mapped.__anext__(), 0.05)
        assert await is_finished(mapped)

    run(time_out())


async def end_by_aclose(mapped):
    await mapped.aclose()


async def end_by_leaving(mapped):
    async with mapped:
        pass


async def end_by_cancelling(mapped):
    task = await waiting(mapped)
    task.cancel()
    await asyncio.wait([task])


async def end_by_an_error(mapped):
    with pytest.raises(LookupError, match="zero"):
        await anext(mapped)


@pytest.mark.parametrize("end", [end_by_aclose, end_by_leaving, end_by_cancelling, end_by_an_error])
def test_the_loop_goes_on_while_workers_are_ended(run, end):
    """One can't end by itself, so that it is killed after a grace of 0.4 seconds."""

    def work(number):
        if number == 0:
            busy.wait_for()
            time.sleep(0.1)
            if end is end_by_an_error:
                raise LookupError("zero")
        busy[0] = 1
        os.kill(os.getpid(), signal.SIGSTOP)

    async def watch():
        async with Ticker() as ticker:
            mapped = fast_map(work, range(2), procs_limit=2, threads_limit=2)
            while not busy[0]:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.05)  # for the worker to stop
            await end(mapped)
            await asyncio.sleep(0.02)  # for the tick after it
        assert ticker.longest_block() < 0.2
        assert await is_finished(mapped)

    busy = SharedInts()
    run(watch())


def test_cancelling_the_end_leaves_it_to_close(run):
    def hold_the_gil(number):
        begun[number] = 1
        ctypes.PyDLL(None).sleep(600)

    async def cancel_twice():
        mapped = fast_map(hold_the_gil, range(2), procs_limit=2, threads_limit=2)
        while begun.number_set() < 2:
            await asyncio.sleep(0.01)
        task = asyncio.ensure_future(mapped.aclose())
        await asyncio.sleep(0)  # it takes its first step before this task goes on
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await anext(mapped, "end") == "end"
        mapped.close()

    begun = SharedInts(2)
    with leaves_nothing():
        run(cancel_twice())


def test_the_input_is_closed_with_the_map(run):
    closed = []

    def numbers():
        try:
            while True:
                yield 1
        finally:
            closed.append(True)

    async def leave():
        async with fast_map(identity, numbers(), buffersize=10) as mapped:
            async for _ in mapped:
                break
        assert wait_until(lambda: closed)
        assert closed == [True]

    run(leave())


def test_an_input_that_is_stuck_delays_the_end_no_longer_than_in_close(run):
    go_on = threading.Event()

    def stuck():
        yield 1
        go_on.wait(20)

    async def leave():
        mapped = fast_map(identity, stuck())
        assert await anext(mapped) == 1
        await asyncio.wait_for(mapped.aclose(), 10)
        go_on.set()

    run(leave())


@pytest.mark.parametrize("taken", [0, 2, 5])
def test_aclose_may_be_repeated_and_mixed_with_close(run, taken):
    async def close():
        mapped = fast_map(identity, range(5))
        assert [await anext(mapped) for _ in range(taken)] == list(range(taken))
        assert await mapped.aclose() is None
        mapped.close()
        assert await mapped.aclose() is None
        assert await is_finished(mapped)

    run(close())


def test_a_map_that_is_dropped_ends(run):
    async def drop():
        async for _ in fast_map(time.sleep, [0, 600, 600]):
            break

    run(drop())


def test_a_loop_that_is_closed_in_the_middle():
    async def begin():
        task = await waiting(mapped)
        task.add_done_callback(lambda task: None)

    with leaves_nothing():
        mapped = fast_map(time.sleep, [600])
        loop = asyncio.new_event_loop()
        loop.run_until_complete(begin())
        loop.set_exception_handler(lambda loop, context: None)  # "Task was destroyed"
        loop.close()
        gc.collect()
        assert wait_until(lambda: next(mapped, "end") == "end")


# Who else wants something of it


def test_only_one_task_or_thread_is_in_a_map(run):
    async def crowd():
        mapped = fast_map(gate.hold, range(3))
        task = await waiting(mapped)
        with pytest.raises(RuntimeError, match=r"anext\(\): the map is in use"):
            await anext(mapped)
        with pytest.raises(RuntimeError, match=r"aclose\(\): the map is in use"):
            await mapped.aclose()
        for use in (mapped.__next__, mapped.close, lambda: mapped.next(timeout=0)):
            with pytest.raises(ValueError, match="already executing"):
                use()
        gate.open()
        assert [await task, *[result async for result in mapped]] == [0, 1, 2]

    gate = Gate()
    run(crowd())


def test_no_result_is_lost_to_an_awaitable_that_is_not_awaited(run):
    async def take():
        mapped = fast_map(identity, range(3))
        await asyncio.sleep(0.05)
        mapped.__anext__()
        mapped.__anext__().close()
        with pytest.raises(LookupError):
            mapped.__anext__().throw(LookupError("thrown"))
        return await collect(mapped)

    assert run(take()) == [0, 1, 2]


def test_a_step_is_awaited_once(run):
    async def take():
        mapped = fast_map(identity, range(3))
        step = mapped.__anext__()
        assert await step == 0
        with pytest.raises(RuntimeError, match="twice"):
            await step
        await mapped.aclose()

    run(take())


def test_it_needs_a_running_loop():
    mapped = fast_map(identity, range(3))
    with pytest.raises(RuntimeError, match="loop"):
        mapped.__anext__().send(None)
    assert list(mapped) == [0, 1, 2]


def test_a_forked_child_is_told_that_it_is_not_its_map():
    mapped = fast_map(identity, range(3))
    pid = os.fork()
    if pid == 0:
        try:
            asyncio.run(collect(mapped))
        except RuntimeError as error:
            os._exit(7 if "fork" in str(error) else 8)
        os._exit(9)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    assert list(mapped) == [0, 1, 2]


def test_its_types():
    with fast_map(identity, range(3)) as mapped:
        assert isinstance(mapped, collections.abc.AsyncIterator)
        assert aiter(mapped) is mapped
        step = mapped.__anext__()
        assert inspect.isawaitable(step)
        assert step.__await__() is step
        assert gc.is_tracked(step)

"""Coroutine functions: an event loop in each worker runs many items at once."""

import asyncio
import contextvars
import functools
import inspect
import os
import sys
import threading
import time
import warnings

import pytest
from coroutine_functions import identity, never_end, sleep_briefly
from support import SharedInts

from fast_map import fast_map

KINDS = pytest.mark.parametrize("kind", [list, iter], ids=["list", "iterator"])

yielding = functools.partial(fast_map, return_exceptions=True)


# Results


@KINDS
@pytest.mark.parametrize("procs_limit", [1, 2, 4])
def test_results_come_in_the_order_of_the_input(kind, procs_limit):
    results = list(fast_map(sleep_briefly, kind(range(2000)), procs_limit=procs_limit))
    assert results == list(range(2000))


@pytest.mark.slow
@KINDS
def test_a_thousand_that_wait_a_second_take_little_longer_than_one(kind):
    async def wait(number):
        await asyncio.sleep(1)
        return number

    async def wait_in_one_loop():
        await asyncio.gather(*map(wait, range(1000)))

    def measure(run):
        start = time.monotonic()
        run()
        return time.monotonic() - start

    def run():
        assert list(fast_map(wait, kind(range(1000)))) == list(range(1000))

    # One loop that sends nothing tells what this machine can do at the moment.
    least = measure(lambda: asyncio.run(wait_in_one_loop()))
    assert measure(run) < max(1.5, 2 * least)


@KINDS
def test_several_iterables_go_in_step(kind):
    async def add(first, second):
        return first + second

    assert list(fast_map(add, kind([1, 2, 3]), (10, 20, 30, 40))) == [11, 22, 33]


@pytest.mark.parametrize("value", [None, 0, False, "", [], b"x" * 100_000])
def test_any_value_goes_both_ways(value):
    assert list(fast_map(identity, iter([value] * 20))) == [value] * 20


def test_an_endless_input_is_streamed():
    def count():
        number = 0
        while True:
            yield number
            number += 1

    with fast_map(sleep_briefly, count(), buffersize=50) as mapped:
        assert [next(mapped) for _ in range(500)] == list(range(500))


def test_items_that_come_late_are_taken_up():
    def late():
        yield 0
        time.sleep(0.1)
        yield 1

    assert list(fast_map(identity, late())) == [0, 1]


def test_an_empty_input_gives_nothing():
    assert list(fast_map(identity, [])) == list(fast_map(identity, iter([]))) == []


def test_arguments_arrive_as_arrays_and_may_be_kept():
    numpy = pytest.importorskip("numpy")
    kept = []

    async def are_whole(array):
        kept.append(array)
        await asyncio.sleep(0.01)
        return all((each == each[0]).all() for each in kept)

    arrays = (numpy.full(20_000, number) for number in range(40))
    assert all(fast_map(are_whole, arrays, procs_limit=1, buffersize=10))


# What is a coroutine function


class Called:
    async def __call__(self, value):
        return value

    async def method(self, value):
        return value


def marked(mark):
    def fn(value):
        return identity(value)

    return mark(fn)


def asyncio_mark(fn):
    fn._is_coroutine = asyncio.coroutines._is_coroutine
    return fn


FUNCTIONS = [
    pytest.param(functools.partial(identity), id="partial"),
    pytest.param(functools.partial(functools.partial(Called())), id="partial of an object"),
    pytest.param(Called(), id="object"),
    pytest.param(Called().method, id="method"),
]
if sys.version_info < (3, 14):
    FUNCTIONS.append(pytest.param(marked(asyncio_mark), id="marked for asyncio"))
if sys.version_info >= (3, 12):
    FUNCTIONS.append(pytest.param(marked(inspect.markcoroutinefunction), id="marked"))


@pytest.mark.parametrize("fn", FUNCTIONS)
def test_whatever_counts_as_a_coroutine_function_is_awaited(fn):
    assert list(fast_map(fn, range(5))) == list(range(5))


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")
def test_an_ordinary_function_that_returns_a_coroutine_is_told_the_remedy(capfd):
    (error,) = yielding(lambda value: identity(value), [1])
    assert "'coroutine'" in str(error)
    assert "must be a coroutine function (async def)" in str(error)


def test_a_marked_function_may_return_any_awaitable_and_nothing_else():
    class Awaitable:
        def __await__(self):
            yield from asyncio.sleep(0.001).__await__()
            return "awaited"

    fn = functools.partial(lambda value: Awaitable() if value else value)
    asyncio_mark(fn)
    if not asyncio.iscoroutinefunction(fn):
        pytest.skip("no such mark here")
    results = list(yielding(fn, [1, 0]))
    assert results[0] == "awaited"
    assert isinstance(results[1], TypeError)
    assert "int" in str(results[1])


# Where it runs


def test_it_runs_in_a_task_on_the_main_thread_with_the_callers_context():
    variable = contextvars.ContextVar("variable", default="nothing")

    async def look(value):
        before = variable.get()
        variable.set(value)
        task = asyncio.current_task()
        frames = task.get_stack()
        return (
            before,
            threading.current_thread() is threading.main_thread(),
            "look" in repr(task),
            frames[-1].f_code.co_name,
        )

    variable.set("the caller's")
    assert set(map(str, fast_map(look, range(10)))) == {str(("the caller's", True, True, "look"))}


def test_the_callers_own_event_loop_is_not_in_the_way():
    async def call():
        return list(fast_map(sleep_briefly, range(20)))

    assert asyncio.run(call()) == list(range(20))


def test_a_worker_may_be_forked_in_turn():
    async def nest(number):
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # no other thread is in the way there
            return list(fast_map(sleep_briefly, range(number)))

    assert list(fast_map(nest, range(5), procs_limit=1)) == [list(range(n)) for n in range(5)]


@pytest.fixture
def policy():
    before = asyncio.get_event_loop_policy()
    yield
    asyncio.set_event_loop_policy(before)


async def own_loop(_):
    await asyncio.sleep(0.001)
    return type(asyncio.get_running_loop()).__module__


@pytest.mark.usefixtures("policy")
def test_uvloop_is_used_where_it_is_the_policy():
    uvloop = pytest.importorskip("uvloop")
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    assert set(fast_map(own_loop, range(20))) == {"uvloop"}


@pytest.mark.usefixtures("policy")
def test_an_event_loop_that_cannot_be_made_is_no_hang(capfd):
    class Policy(asyncio.DefaultEventLoopPolicy):
        def new_event_loop(self):
            raise ValueError("no loop")

    asyncio.set_event_loop_policy(Policy())
    with pytest.raises(OSError, match="could not set up a worker process"):
        list(fast_map(identity, range(5)))
    assert "no loop" in capfd.readouterr().err


def test_subprocesses_and_threads_can_be_awaited():
    async def fn(number):
        process = await asyncio.create_subprocess_exec(
            "echo", str(number), stdout=asyncio.subprocess.PIPE
        )
        said, _ = await process.communicate()
        return await asyncio.get_running_loop().run_in_executor(None, int, said)

    assert list(fast_map(fn, range(6), procs_limit=1)) == list(range(6))


# How many at once


class Crowd:
    """Counts the coroutines of its process that are inside."""

    def __init__(self, limit):
        self.limit = limit
        self.begun = SharedInts(120)
        self.inside = self.most = 0

    async def __call__(self, number):
        self.inside += 1
        self.most = max(self.most, self.inside)
        self.begun[number] = 1
        while self.begun.number_set() < self.limit:  # the other process may be late
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.01)
        self.inside -= 1
        return os.getpid(), self.most


@KINDS
@pytest.mark.parametrize("limit", [1, 2, 7])
def test_threads_limit_bounds_the_coroutines_of_all_processes(kind, limit):
    crowd = Crowd(limit)
    most = dict(sorted(fast_map(crowd, kind(range(120)), threads_limit=limit, procs_limit=2)))
    assert sum(most.values()) <= limit
    assert max(most.values()) == -(-limit // 2)


@KINDS
def test_without_a_limit_all_run_at_once(kind):
    started = SharedInts(3000)

    async def start(number):
        started[number] = 1
        await never_end(number)

    with fast_map(start, kind(range(3000))):
        started.wait_for_number(3000)


def test_no_threads_are_added_for_coroutines():
    async def count(_):
        await asyncio.sleep(0.05)
        return len(os.listdir("/proc/self/task"))

    few = max(fast_map(count, range(2), procs_limit=1))
    assert max(fast_map(count, range(500), procs_limit=1)) <= few


def test_items_are_spread_evenly():
    started, go = SharedInts(400), SharedInts()

    async def where(number):
        started[number] = 1
        while not go[0]:
            await asyncio.sleep(0.01)
        return os.getpid()

    with fast_map(where, range(400), procs_limit=2) as mapped:
        started.wait_for_number(400)
        go[0] = 1
        pids = list(mapped)
    assert min(pids.count(pid) for pid in set(pids)) >= 100
    assert len(set(pids)) == 2

"""One use of each public name, for the test that none of them leaks (test_leaks.py).

Whoever adds a name, a method or an option adds a case: a function under @leak_case("its name")
that uses it once and lets everything go. The names: "fast_map.X" for what the package exports,
"FastMap.X" for methods, "fast_map(X)" for parameters. What a case passes in should be of PASSED,
whose reference counts are watched.
"""

import asyncio
import copy
import gc
import inspect
import io
import itertools
import os
import pickle
import signal
import time
import weakref
from contextlib import redirect_stderr, suppress

import fast_map as package
from fast_map import (
    FastMap,
    RemoteError,
    RemoteTraceback,
    TaskTimeout,
    WorkerCrashed,
    fast_map,
)

CASES = {}


def leak_case(*names):
    def register(case):
        for name in names:
            assert name not in CASES, name
            CASES[name] = case
        return case

    return register


def public_names():
    """All that should have a case."""
    exported = {f"fast_map.{name}" for name in package.__all__}
    methods = {
        f"FastMap.{name}"
        for name, value in vars(FastMap).items()
        if callable(value) or isinstance(value, classmethod)
    }
    parameters = {f"fast_map({name})" for name in inspect.signature(fast_map).parameters}
    return exported | methods | parameters


# ---- what is passed in ----


def double(value):
    return value + value


class Payload:
    def __init__(self, value):
        self.value = value


ITEMS = [Payload(7), "text" * 50, (1, 2.5, None), b"bytes" * 40_000]
NUMBERS = list(range(50))
SENT = object()
ERROR = LookupError("thrown")
EXTRA = {"end": SENT, "more": 1}
PASSED = [double, ITEMS, *ITEMS, NUMBERS, SENT, ERROR, EXTRA, fast_map, FastMap]


def return_it(value):
    return value


def take_anything(*args, **kwargs):
    return args, kwargs


def crash_at_three(value):
    if value == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return value


def fail_at_three(value):
    if value == 3:
        raise KeyError(value)
    return value


def stand_still_at_three(value):
    time.sleep(600 if value == 3 else 0)
    return value


def consume(results, count=None):
    """Take results up to an end of any kind."""
    with suppress(Exception):
        for _ in itertools.islice(results, count):
            pass


# ---- the call and its parameters ----


@leak_case("fast_map.fast_map", "fast_map(fn)")
def call():
    consume(fast_map(return_it, ITEMS))
    consume(fast_map(return_it, iter(ITEMS)))
    consume(fast_map(double, NUMBERS), 3)
    with suppress(TypeError):
        fast_map(None, NUMBERS)
    consume(fast_map(fail_at_three, NUMBERS))
    consume(fast_map(crash_at_three, NUMBERS))


@leak_case("fast_map(iterables)")
def pass_several_iterables():
    consume(fast_map(lambda *values: values, ITEMS, iter(NUMBERS), range(10**6)))
    consume(fast_map(double, itertools.count()), 5)
    consume(fast_map(double, []))
    consume(fast_map(double, (fail_at_three(value) for value in NUMBERS)))
    with suppress(TypeError):
        fast_map(double, NUMBERS, 3)


def pass_option(name, *values, wrong=(), fn=double, items=NUMBERS):
    """With each value, to the end and not; wrong values are refused."""
    for value in values:
        consume(fast_map(fn, items, **{name: value}))
        consume(fast_map(fn, iter(items), **{name: value}), 2)
    for value in wrong:
        with suppress(TypeError, ValueError):
            fast_map(fn, items, **{name: value})
            raise AssertionError(f"{name}={value!r} was accepted")


@leak_case("fast_map(threads_limit)")
def pass_threads_limit():
    pass_option("threads_limit", 1, 5, None, wrong=[0, "1", True, 1 << 70])


@leak_case("fast_map(procs_limit)")
def pass_procs_limit():
    consume(fast_map(double, iter(NUMBERS), procs_limit=0))
    pass_option("procs_limit", 1, 3, None, wrong=[-1, 1.5])


@leak_case("fast_map(buffersize)")
def pass_buffersize():
    pass_option("buffersize", 1, 7, None, wrong=[0, []])


@leak_case("fast_map(buffer_bytes)")
def pass_buffer_bytes():
    pass_option("buffer_bytes", 1, 1 << 20, None, wrong=[0, "1"])
    consume(fast_map(return_it, iter(ITEMS), buffer_bytes=1))


@leak_case("fast_map(chunksize)")
def pass_chunksize():
    pass_option("chunksize", 1, 7, 1000, None, wrong=[0, 1.5])


@leak_case("fast_map(ordered)")
def pass_ordered():
    pass_option("ordered", True, False, wrong=[1, None])
    consume(fast_map(double, iter(NUMBERS), ordered=False, buffersize=3), 20)


@leak_case("fast_map(star)", "fast_map(kwstar)", "fast_map(args)", "fast_map(kwargs)")
def pass_arguments_along():
    pairs = [((number,), {"end": SENT}) for number in NUMBERS]
    for items in (pairs, iter(pairs)):
        consume(fast_map(take_anything, items, star=True, kwstar=True, args=[SENT], kwargs=EXTRA))
    consume(fast_map(take_anything, NUMBERS, star=True, return_exceptions=True))
    consume(fast_map(take_anything, NUMBERS, star=None, args=(SENT,)))
    for wrong in ({"star": 1}, {"kwstar": 1}, {"args": 1}, {"kwargs": 1}):
        with suppress(TypeError):
            fast_map(take_anything, NUMBERS, **wrong)


@leak_case("fast_map(initializer)", "fast_map(initargs)")
def pass_initializer():
    consume(fast_map(double, NUMBERS, initializer=return_it, initargs=(SENT,)))
    consume(fast_map(double, NUMBERS, initializer=fail_at_three, initargs=(3,)))
    for wrong in ({"initializer": 1}, {"initargs": 1}):
        with suppress(TypeError):
            fast_map(double, NUMBERS, **wrong)


@leak_case("fast_map(max_tasks_per_child)")
def pass_max_tasks_per_child():
    pass_option("max_tasks_per_child", 20, None, wrong=[0, "1"])


@leak_case("fast_map(start_method)")
def pass_start_method():
    pass_option("start_method", "fork", "forkserver", wrong=["spawn", None])


@leak_case("fast_map(task_timeout)")
def pass_task_timeout():
    pass_option("task_timeout", 60, 60.5, None, wrong=[0, "1", float("nan")])
    pass_option("task_timeout", 0.05, fn=stand_still_at_three)


@leak_case("fast_map(retries)")
def pass_retries():
    pass_option("retries", 0, 1, wrong=[-1, None])
    pass_option("retries", 1, fn=crash_at_three)
    consume(fast_map(return_it, iter(ITEMS), retries=1))


@leak_case("fast_map(return_exceptions)")
def pass_return_exceptions():
    pass_option("return_exceptions", True, False, wrong=[1, None])
    pass_option("return_exceptions", True, fn=fail_at_three)
    pass_option("return_exceptions", True, fn=crash_at_three)


# ---- the iterator ----


def start(items=NUMBERS):
    return fast_map(double, items)


@leak_case("fast_map.FastMap", "FastMap.__class_getitem__")
def use_the_class():
    assert isinstance(start(), FastMap)
    with suppress(TypeError):
        FastMap()
    assert FastMap[int].__origin__ is FastMap


@leak_case("FastMap.__iter__", "FastMap.__next__")
def iterate():
    results = start()
    assert iter(results) is results
    assert next(results) == 0
    consume(results)
    assert next(results, SENT) is SENT


@leak_case("FastMap.next")
def take_with_a_timeout():
    results = fast_map(stand_still_at_three, NUMBERS)
    assert [results.next(timeout=60), results.next(), results.next(None)] == [0, 1, 2]
    with suppress(TimeoutError):
        results.next(timeout=0.001)
        raise AssertionError("it had a result")
    with suppress(TypeError):
        results.next("soon")


@leak_case("FastMap.send")
def send():
    results = start()
    with suppress(TypeError):
        results.send(SENT)
    assert [results.send(None), results.send(SENT)] == [0, 2]


@leak_case("FastMap.throw")
def throw():
    for arguments in [(ERROR,), (LookupError,), (LookupError, "text"), (LookupError, ERROR, None)]:
        with suppress(LookupError):
            start().throw(*arguments)
    for arguments in [(), (SENT,), (ERROR, SENT), (LookupError, None, SENT)]:
        with suppress(TypeError):
            start().throw(*arguments)
    ERROR.__traceback__ = None


@leak_case("FastMap.close", "FastMap._shut_down")
def close():
    for items in (NUMBERS, iter(NUMBERS), itertools.count()):
        results = start(items)
        next(results)
        results.close()
        results.close()
    results = start()
    results._shut_down()
    with suppress(RuntimeError):
        consume(results)


@leak_case("FastMap.__enter__", "FastMap.__exit__")
def use_as_context_manager():
    with start() as results:
        next(results)
    with suppress(LookupError), start():
        raise LookupError


@leak_case("FastMap.__len__", "FastMap.__length_hint__", "FastMap.__bool__")
def ask_for_the_length():
    results = start()
    assert (len(results), results.__length_hint__(), bool(results)) == (50, 50, True)
    endless = start(itertools.count())
    assert endless.__length_hint__() is NotImplemented
    with suppress(TypeError):
        len(endless)


@leak_case("FastMap.__repr__")
def represent():
    results = start()
    assert "running" in repr(results)
    results.close()
    assert "finished" in str(results)


@leak_case("FastMap.__del__")
def drop():
    results = start()
    next(results)
    del results
    reference = weakref.ref(start())
    assert reference() is None
    cycle = [start(itertools.count())]
    cycle.append(cycle)
    del cycle
    gc.collect()


@leak_case("FastMap.__reduce__")
def refuse_to_copy():
    results = start()
    for attempt in (pickle.dumps, copy.copy, copy.deepcopy):
        with suppress(TypeError):
            attempt(results)


# ---- exceptions ----


def use_exception(error):
    assert str(error)
    assert repr(error)
    # Often, for only after a hundred times do the caches that this fills grow no more.
    for protocol in [*range(pickle.HIGHEST_PROTOCOL + 1)] * 20:
        twin = pickle.loads(pickle.dumps(error, protocol))
        assert (type(twin), str(twin)) == (type(error), str(error))
    with suppress(type(error)):
        raise error


@leak_case("FastMap.stats", "fast_map.Stats")
def stats_case():
    with fast_map(return_it, ITEMS) as mapped:
        next(mapped)
        first = mapped.stats()
    assert isinstance(first, package.Stats)
    assert len(str(mapped.stats()).splitlines()) > 3


# ---- event loops, callbacks, bars ----


@leak_case("FastMap.__aiter__", "FastMap.__anext__", "FastMap._arm", "FastMap._take")
def async_for_case():
    async def collect():
        return [result async for result in fast_map(return_it, iter(ITEMS))]

    assert len(asyncio.run(collect())) == len(ITEMS)


@leak_case(
    "FastMap.__aenter__", "FastMap.__aexit__", "FastMap.aclose", "FastMap._end", "FastMap._finish"
)
def async_with_case():
    async def leave_early():
        async with fast_map(return_it, iter(ITEMS)) as mapped:
            await anext(mapped)
        mapped = fast_map(return_it, iter(ITEMS))
        await mapped.aclose()

    asyncio.run(leave_early())


@leak_case("fast_map.fast_map_async")
def callbacks_case():
    results = []
    thread = package.fast_map_async(return_it, ITEMS, on_result=results.append)
    thread.join()
    assert len(results) == len(ITEMS)


@leak_case(
    "FastMap._set_progress",
    "fast_map(progress)",
    "fast_map(total)",
    "fast_map(tasks_count_estimate)",
)
def progress_case():
    with redirect_stderr(io.StringIO()) as lines:
        assert len(list(fast_map(return_it, ITEMS, progress="leaks", total=9))) == len(ITEMS)
        with fast_map(return_it, iter(ITEMS), progress=True, tasks_count_estimate=9) as mapped:
            next(mapped)
    assert "leaks" in lines.getvalue()


# ---- errors ----


@leak_case("fast_map.WorkerCrashed")
def use_worker_crashed():
    use_exception(WorkerCrashed(1))
    use_exception(WorkerCrashed(1, exitcode=3, items=tuple(range(20))))
    use_exception(WorkerCrashed(1, signal=9, items=(2,)))
    consume(fast_map(crash_at_three, NUMBERS))


@leak_case("fast_map.TaskTimeout")
def use_task_timeout():
    use_exception(TaskTimeout(1, 2.5))
    use_exception(TaskTimeout(1, 2.5, "a stack"))


@leak_case("fast_map.RemoteError")
def use_remote_error():
    use_exception(RemoteError("told"))

    def raise_local(value):
        class Local(Exception):
            pass

        raise Local(value)

    consume(fast_map(raise_local, NUMBERS))


@leak_case("fast_map.RemoteTraceback")
def use_remote_traceback():
    use_exception(RemoteTraceback("Traceback"))
    consume(fast_map(fail_at_three, iter(NUMBERS)))
